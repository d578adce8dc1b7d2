package container_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/container"
	"townd/gitmgr/gittest"
	"townd/town"
)

func TestTokenOfAHostIsChangedAndNeverShown(t *testing.T) {
	const token = "very-new-token-417"
	set := map[string]string{}
	tt := newTownWith(t, func(c *container.Config) {
		c.SetGitToken = func(host, token string) error {
			if host == "bad host" {
				return &town.InvalidError{Issues: []town.Issue{{Path: "host", Message: "must be a name, not for " + token}}}
			}
			set[host] = token
			return nil
		}
	})
	for _, req := range []api.RefreshTokenRequest{{Token: token, TownID: "t"}, {Token: token, Host: "git.example.com"}} {
		if err := tt.RefreshToken(t.Context(), req); err != nil || set[req.Host] != token {
			t.Errorf("RefreshToken(%q) = %v, set %q", req.Host, err, set[req.Host])
		}
	}
	answer := tt.call(http.MethodPost, "/refresh-token", `{"token":"`+token+`","userId":"u"}`).object(t)
	if answer["refreshed"] != true || answer["agentsRestarted"] != 0.0 || answer["agentsFailed"] != 0.0 || len(asList(answer["results"])) != 0 ||
		len(asList(answer["ignored"])) != 1 {
		t.Errorf("refresh-token answered %v", answer)
	}
	refused(t, tt.call(http.MethodPost, "/refresh-token", `{"token":""}`), http.StatusBadRequest, "token")
	refused(t, tt.callAs("", http.MethodPost, "/refresh-token", `{"token":"x"}`), http.StatusUnauthorized, "token")
	bad := tt.call(http.MethodPost, "/refresh-token", `{"token":"`+token+`","host":"bad host"}`)
	refused(t, bad, http.StatusBadRequest, "host")
	if strings.Contains(string(bad.body)+tt.logs.String(), token) {
		t.Errorf("the token is shown: %s", bad.body)
	}
}

// An agent's git speaks to its proxy on the town's own address, without the town's token.
func TestGitProxyIsServedToCapabilitiesOnly(t *testing.T) {
	tt := newTown(t)
	for _, c := range []struct{ method, path string }{
		{http.MethodGet, "/git/rig/info/refs?service=git-upload-pack"}, {http.MethodPost, "/git/rig/git-receive-pack"},
	} {
		if got := tt.call(c.method, c.path, ""); got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s with the town's token answered %s, want 401", c.method, c.path, got.Status)
		}
	}
}

// W10: a branch is merged, or what is in the way is told, as in the contract.
func TestBranchIsMergedOrWhatIsInTheWayIsTold(t *testing.T) {
	tt := newTown(t)
	remote := gittest.New(t, gittest.Options{})
	remote.Git("branch", "work", "main")
	want := remote.Commit("work", "work.txt", "work\n")
	remote.Git("branch", "clash", "main")
	remote.Commit("clash", "work.txt", "clash\n")
	body := `{"townId":"t","rigId":"r","branch":"work","targetBranch":"main","gitUrl":"` + remote.URL() + `","entryId":"e","beadId":"b","agentId":"a",` +
		`"callbackUrl":"http://127.0.0.1:1/x","envVars":{"A":"b"},"gates":[{"command":"test -f work.txt && echo looked"}]}`
	got := tt.call(http.MethodPost, "/git/merge", body).object(t)
	if got["status"] != "merged" || got["commit"] != remote.Git("rev-parse", "main") || got["head"] != want || got["attempts"] != 1.0 {
		t.Errorf("merge answered %v", got)
	}
	if gate := asList(got["gates"])[0].(map[string]any); gate["name"] != "gate 1" || gate["exitCode"] != 0.0 || gate["output"] != "looked\n" {
		t.Errorf("merge answered the gate %v", gate)
	}
	if ignored := asList(got["ignored"]); len(ignored) != 2 || ignored[0] != "callbackUrl" || ignored[1] != "envVars" {
		t.Errorf("merge ignored %v, want callbackUrl and envVars", ignored)
	}
	for _, c := range []struct {
		req    api.MergeRequest
		status string
	}{
		{api.MergeRequest{RigID: "r", Branch: "work"}, "nothing"},
		{api.MergeRequest{RigID: "r", Branch: "clash", TargetBranch: "main"}, "conflict"},
	} {
		res, err := tt.Merge(t.Context(), c.req)
		if err != nil || res.Status != c.status || len(res.Conflicts) > 0 != (c.status == "conflict") {
			t.Errorf("Merge(%+v) = %+v, %v; want %s", c.req, res, err, c.status)
		}
	}
	remote.Commit("late", "late.txt", "late\n")
	res, err := tt.Merge(t.Context(), api.MergeRequest{RigID: "r", Branch: "late", Gates: []api.Gate{{Name: "no", Command: "echo not this; exit 3"}}})
	if err != nil || res.Status != "gates_failed" || res.Gates[0].ExitCode != 3 || res.Gates[0].Output != "not this\n" {
		t.Errorf("Merge() with a gate that fails = %+v, %v", res, err)
	}
	if _, err := tt.Merge(t.Context(), api.MergeRequest{RigID: "r", Branch: "nowhere"}); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("Merge() of no branch = %v, want ErrNotFound", err)
	}
	for body, want := range map[string]string{
		`{"rigId":"r"}`: "branch", `{"rigId":"../r","branch":"b"}`: "rigId", `{"rigId":"r","branch":"-b"}`: "branch",
		`{"rigId":"r","branch":"b","gates":[{}]}`:                                  "gates[0].command",
		`{"rigId":"r","branch":"b","gates":[{"command":"x","timeoutSeconds":-1}]}`: "gates[0].timeoutSeconds",
		`{"rigId":"r","branch":"b","strategy":"octopus"}`:                          "strategy",
		`{"rigId":"r","branch":"b","gitUrl":"https://u:p@example.invalid/x"}`:      "url",
		`{"rigId":"r","branch":"b","targetBranch":"b"}`:                            "target",
	} {
		refused(t, tt.call(http.MethodPost, "/git/merge", body), http.StatusBadRequest, want)
	}
}

// A repository is prepared on request and at boot; one that fails stops no other.
func TestRepositoriesArePreparedAndHealthTells(t *testing.T) {
	tt := newTown(t)
	remote := gittest.New(t, gittest.Options{})
	tip := remote.Git("rev-parse", "main")
	gone := "file://" + filepath.Join(t.TempDir(), "gone.git")
	tt.supervisor.PrepareRigs(map[string]string{"bad": gone, "good": remote.URL()})
	for _, cloned := range []bool{true, false} {
		got, err := tt.SetupRepo(t.Context(), api.SetupRequest{RigID: "asked", GitURL: remote.URL(), DefaultBranch: "main"})
		if err != nil || got.Cloned != cloned || got.DefaultBranch != "main" || got.Commit != tip {
			t.Errorf("SetupRepo() = %+v, %v; want cloned %v at %s", got, err, cloned, tip)
		}
	}
	if got, err := tt.SetupRepo(t.Context(), api.SetupRequest{RigID: "asked2", GitURL: gone}); !errors.Is(err, town.ErrGit) {
		t.Errorf("SetupRepo() of no repository = %+v, %v; want ErrGit", got, err)
	}
	states := map[string]string{}
	for len(states) < 4 || states["bad"] == "preparing" || states["good"] == "preparing" || states["bad"] == "waiting" {
		h, err := tt.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, rig := range h.Rigs {
			states[rig.RigID] = rig.State
			if (rig.State == "failed") != (rig.Error != "") {
				t.Errorf("health tells of the rig as %+v", rig)
			}
		}
		time.Sleep(5 * time.Millisecond) // a preparation has no event
	}
	for rig, want := range map[string]string{"asked": "ready", "asked2": "failed", "good": "ready", "bad": "failed"} {
		if states[rig] != want {
			t.Errorf("rig %s is %s, want %s", rig, states[rig], want)
		}
	}
	for body, want := range map[string]string{
		`{"rigId":"r"}`: "gitUrl", `{"gitUrl":"file:///x"}`: "rigId", `{"rigId":"r","gitUrl":"ext::sh"}`: "gitUrl",
	} {
		refused(t, tt.call(http.MethodPost, "/repos/setup", body), http.StatusBadRequest, want)
	}
}
