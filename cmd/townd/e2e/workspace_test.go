package e2e_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// W2, W4, F11, M9: an agent works on large files of Git LFS without a credential, its
// worktree is collected, and comes back with what it had not pushed.
func TestLargeFilesOfAnAgentComeBackAfterItsWorktreeWasCollected(t *testing.T) {
	if _, err := exec.LookPath("git-lfs"); err != nil {
		t.Skip("git-lfs is not installed")
	}
	t.Parallel()
	tt := prepareTown(t, map[string]string{"TOWND_SWEEP_SECONDS": "1", "WORKSPACE_CLEANUP_TTL_MS": "1500", "LOG_LEVEL": "debug"})
	lfs := tt.remote.ServeLFS("x-access-token", freshToken)
	lfs.Echo = true
	u, err := url.Parse(lfs.URL)
	if err != nil {
		t.Fatal(err)
	}
	tt.env["GIT_TOKENS"] = u.Host + "=" + freshToken
	tt.remote.Commit("main", ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
	tt.remote.Commit("main", "large.bin", lfs.Put("what the remote has"))
	tt.serve()
	if _, err := tt.SyncConfig(tt.context(), api.SyncRequest{Rigs: map[string]town.RigSettings{"rig": {Git: town.GitSettings{LFS: true}}}}); err != nil {
		t.Fatal(err)
	}
	started := func(script string) (workdir, output string) {
		req := tt.request("toast", "bash", "-c", script)
		req.GitURL = lfs.URL
		a := tt.start(req)
		return a.Workdir, string(tt.follow("toast", func(p []byte) bool { return strings.Contains(string(p), "ready") }))
	}
	workdir, output := started(`set -e; cat large.bin; echo
printf pushed >pushed.bin; git add .; git commit -qm pushed; git push -q origin HEAD && echo has pushed
printf kept >kept.bin; echo ready`)
	if !strings.Contains(output, "what the remote has") || !strings.Contains(output, "has pushed") || !lfs.Has("pushed") {
		t.Errorf("the remote has the agent's file: %v; the agent printed\n%s", lfs.Has("pushed"), output)
	}
	for deadline := time.Now().Add(patience); !isGone(workdir); time.Sleep(20 * time.Millisecond) { // a look has no event
		if time.Now().After(deadline) {
			t.Fatalf("the worktree is still there; the log:\n%s", tt.log)
		}
	}
	_, output = started(`cat pushed.bin kept.bin; git status --porcelain; echo ready; exec sleep 10000`)
	if !strings.Contains(output, "pushedkept?? kept.bin") {
		t.Errorf("the agent finds\n%s", output)
	}
	if metrics := tt.metrics(); !strings.Contains(metrics, `townd_collected_total{kind="worktree"} 1`) || !strings.Contains(metrics, `agent_workspace_bytes{rig="rig"}`) {
		t.Errorf("metrics are\n%s", metrics)
	}
	tt.look()
	tt.stop("toast", town.StopRequest{})
	tt.noCanary("servers' log", tt.log.String())
	tt.noCanary("the agent's output", output)
	tt.noCanaryInFiles()
}

func isGone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

func (tt *testTown) metrics() string {
	tt.t.Helper()
	req, err := http.NewRequestWithContext(tt.context(), http.MethodGet, "http://"+tt.address+"/metrics", nil)
	if err != nil {
		tt.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tt.token)
	resp, err := tt.http.Do(req)
	if err != nil {
		tt.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tt.t.Fatal(err)
	}
	return string(body)
}

// Remotes at private addresses are refused where people want that, but for hosts they name.
func TestRemotesAtPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	tt := prepareTown(t, map[string]string{"TOWND_GIT_PUBLIC_ONLY": "true"})
	remote := tt.remote.ServeHTTP("", "")
	tt.serve()
	_, err := tt.SetupRepo(tt.context(), api.SetupRequest{RigID: "rig", GitURL: remote.URL})
	if !errors.Is(err, town.ErrInvalid) || !strings.Contains(err.Error(), "not public") || remote.Requests() != 0 {
		t.Errorf("SetupRepo() = %v after %d requests, want it refused", err, remote.Requests())
	}
	tt.env["TOWND_GIT_ALLOW_HOSTS"] = "127.0.0.1"
	tt.restart()
	if got, err := tt.SetupRepo(tt.context(), api.SetupRequest{RigID: "rig", GitURL: remote.URL}); err != nil || !got.Cloned {
		t.Errorf("SetupRepo() of an allowed host = %+v, %v", got, err)
	}
}
