package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/gitmgr/gittest"
	"townd/town"
)

// The tokens of the town for its git remote: the one it is started with, which has
// expired, and the one that it is given for that.
const (
	staleToken = serverCanary + "git-stale-7c20"
	freshToken = serverCanary + "git-fresh-b83e"
)

// newHTTPTown is a town whose remote wants to see freshToken, while it has token.
func newHTTPTown(t *testing.T, token string, env map[string]string) (tt *testTown, remote *gittest.HTTP, host string) {
	t.Helper()
	tt = prepareTown(t, env)
	remote = tt.remote.ServeHTTP("x-access-token", freshToken)
	u, err := url.Parse(remote.URL)
	if err != nil {
		t.Fatal(err)
	}
	tt.env["GIT_TOKENS"] = u.Host + "=" + token
	tt.env["LOG_LEVEL"] = "debug"
	tt.serve()
	return tt, remote, u.Host
}

// httpRequest asks for an agent of remote that runs a script.
func (tt *testTown) httpRequest(id string, remote *gittest.HTTP, script string) town.StartRequest {
	req := tt.request(id, "bash", "-c", script)
	req.GitURL = remote.URL
	return req
}

// hostileGit is what an agent tries to get more than its own branch, each attempt
// with its result.
const hostileGit = `
try() { echo "attempt: $*"; "$@" </dev/null; echo "result: $?"; }
try git push -q origin HEAD:main
try git push -q origin HEAD:refs/heads/polecat/other/bead
try git push -q --delete origin polecat/toast/bead
echo "attempt: git credential fill"
printf 'protocol=http\nhost=%s\n\n' "$REMOTE_HOST" | git credential fill; echo "result: $?"
echo "attempt: git credential fill for the proxy"
printf 'protocol=http\nhost=%s\n\n' "$PROXY_HOST" | git credential fill; echo "result: $?"
`

// F10, F11, W9: an agent fetches and pushes its own branch with no credential
// anywhere, and gets nothing more; a token is changed under it without a restart.
func TestAgentReachesItsRemoteWithoutACredential(t *testing.T) {
	t.Parallel()
	tt, remote, host := newHTTPTown(t, staleToken, nil)
	watch := tt.watchProcesses()
	req := tt.httpRequest("toast", remote, `set -e
git fetch -q && echo fetched
echo work >work.txt; git add work.txt; git commit -qm work
git push -q origin HEAD && echo pushed
set +e`+hostileGit+`echo ready; exec sleep 10000`)
	req.EnvVars = map[string]string{"REMOTE_HOST": host, "PROXY_HOST": tt.address}

	if _, err := tt.Start(tt.context(), req); !errors.Is(err, town.ErrGit) || !strings.Contains(err.Error(), "credential is missing, wrong or expired") {
		t.Fatalf("start with an expired token: %v; want the remote's refusal", err)
	}
	if err := tt.RefreshToken(tt.context(), api.RefreshTokenRequest{Token: freshToken, Host: host}); err != nil {
		t.Fatal(err)
	}
	tt.start(req)
	output := string(tt.follow("toast", func(p []byte) bool { return strings.Contains(string(p), "ready") }))
	t.Logf("the agent printed:\n%s", output)
	for _, want := range []string{"fetched", "pushed", "you may push your own branch only", "you may not delete your branch", "terminal prompts disabled"} {
		if !strings.Contains(output, want) {
			t.Errorf("the agent's output has no %q", want)
		}
	}
	attempts, worked := strings.Count(output, "attempt:"), strings.Count(output, "result: 0")
	if attempts != 5 || worked != 0 {
		t.Errorf("%d of %d attempts worked, want none of 5", worked, attempts)
	}
	if refs := tt.remote.Git("for-each-ref", "--format=%(refname)"); !strings.Contains(refs, "refs/heads/polecat/toast/bead") || strings.Contains(refs, "other") {
		t.Errorf("the remote has %q; want the agent's own branch", refs)
	}
	if got, want := tt.remote.Git("log", "-1", "--format=%s", "polecat/toast/bead"), "work"; got != want {
		t.Errorf("the agent's branch is at %q, want %q", got, want)
	}
	tt.look()
	tt.stop("toast", town.StopRequest{})
	watch.end(t)
	tt.noCanary("servers' log", tt.log.String())
	tt.noCanary("the agent's output", output)
	tt.noCanaryInFiles()
}

// The capability of an agent opens nothing once it has ended, nor another's rig.
func TestCapabilityOpensTheGitProxyOnlyForItsAgent(t *testing.T) {
	t.Parallel()
	tt, remote, _ := newHTTPTown(t, freshToken, nil)
	tt.start(tt.httpRequest("toast", remote, `echo "cap=$GASTOWN_SESSION_TOKEN;ready"; exec sleep 10000`))
	output := string(tt.follow("toast", func(p []byte) bool { return strings.Contains(string(p), "ready") }))
	_, rest, _ := strings.Cut(output, "cap=")
	capability, _, _ := strings.Cut(rest, ";")
	ask := func(rig string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s/git/%s/info/refs?service=git-upload-pack", tt.address, rig), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("x", capability)
		resp, err := tt.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := ask("rig"); got != 200 {
		t.Errorf("the agent's own rig answers %d, want 200", got)
	}
	if got := ask("other"); got != 404 {
		t.Errorf("another rig answers %d, want 404", got)
	}
	tt.stop("toast", town.StopRequest{})
	if got := ask("rig"); got != 401 {
		t.Errorf("after the agent's end its rig answers %d, want 401", got)
	}
}

// X21, Z5: a server that is killed in the middle of a drain loses nothing: agents
// go on, the next drain saves and pushes all, and the repository is sound.
func TestServerKilledInTheMiddleOfADrainLosesNothing(t *testing.T) {
	t.Parallel()
	tt := newTown(t, map[string]string{"TOWND_PUSH_CHECKPOINTS": "true"})
	ids := make([]string, 6)
	for i := range ids {
		ids[i] = fmt.Sprint("a", i)
		tt.start(tt.request(ids[i], "bash", "-c",
			`seq 500 | while read -r n; do echo "$GASTOWN_AGENT_ID $n" >"work-$n.txt"; done; echo ready; exec sleep 10000`))
		tt.ready(ids[i])
	}
	for _, delay := range []time.Duration{10 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond} {
		cut := make(chan struct{})
		go func() {
			defer close(cut)
			_, _ = tt.Drain(t.Context(), api.DrainRequest{}) // it is cut off, or just made it
		}()
		time.Sleep(delay) // into its middle
		tt.kill()
		<-cut
		tt.serve()
	}
	m, err := tt.Drain(tt.context(), api.DrainRequest{})
	if err != nil || len(m.Agents) != len(ids) {
		t.Fatalf("Drain() = %+v, %v; want %d agents", m, err, len(ids))
	}
	for _, a := range m.Agents {
		if a.Status != town.StatusRunning || a.Error != "" || a.Checkpoint == nil || !a.Checkpoint.Pushed {
			t.Errorf("the manifest has %+v with %+v, want it running, saved and pushed", a, a.Checkpoint)
			continue
		}
		files := strings.Split(tt.remote.Git("ls-tree", "-r", "--name-only", a.Checkpoint.Commit), "\n")
		if want := 500 + 3; len(files) != want {
			t.Errorf("the checkpoint of %s at the remote holds %d files, want %d", a.AgentID, len(files), want)
		}
		if got, want := tt.remote.Git("show", a.Checkpoint.Ref+":work-500.txt"), a.AgentID+" 500"; got != want {
			t.Errorf("the checkpoint of %s holds %q, want %q", a.AgentID, got, want)
		}
	}
	out, err := gittest.Command(filepath.Join(tt.home, "rigs/rig/repo.git"), "fsck", "--strict").CombinedOutput()
	if err != nil {
		t.Errorf("fsck of the clone: %v: %s", err, out)
	}
}

// F8, X20: work that was pushed by a town that is gone is there in another one.
func TestWorkSurvivesTheMachine(t *testing.T) {
	t.Parallel()
	here := newTown(t, map[string]string{"TOWND_PUSH_CHECKPOINTS": "true"})
	here.start(here.request("toast", "bash", "-c", `echo one >one.txt; git add .; git commit -qm one; echo two >two.txt; echo ready; exec sleep 10000`))
	here.ready("toast")
	there := prepareTown(t, nil)
	there.remote = here.remote
	here.end() // SIGTERM: that is all that it is told
	here.server = nil
	there.serve()
	req := there.request("toast", "bash", "-c", `echo "log=$(git log -1 --format=%s);status=$(git status --porcelain);"; cat two.txt; echo ready; exec sleep 10000`)
	req.Resume = true
	there.start(req)
	output := string(there.follow("toast", func(p []byte) bool { return strings.Contains(string(p), "ready") }))
	if !strings.Contains(output, "log=one;status=?? two.txt;") || !strings.Contains(output, "two\r\n") {
		t.Errorf("the agent finds %q, want its commit and its uncommitted file", output)
	}
}

// F23, N10: repositories are there before anyone asks; one that cannot be had stops no other, nor the town.
// Proves W15.
func TestRepositoriesAreClonedAtBoot(t *testing.T) {
	t.Parallel()
	tt := prepareTown(t, nil)
	tt.env["GH_PRECLONE_REPOS"] = "rig=" + tt.remote.URL() + ",gone=file:///nonexistent/gone.git"
	tt.serve()
	states := map[string]string{}
	waitFor(t, "end of the preparations", func() bool {
		h, err := tt.Health(tt.context())
		if err != nil {
			t.Fatal(err)
		}
		for _, rig := range h.Rigs {
			states[rig.RigID] = rig.State
		}
		return states["rig"] == "ready" && states["gone"] == "failed"
	})
	tt.start(tt.request("toast", tt.mode("sleep")...))
}
