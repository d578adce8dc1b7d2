package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// W1, W13: worktrees that are ready outlive servers that are killed, at any moment of
// their making too, and the next start takes one.
func TestKilledServerLeavesItsReadyWorktrees(t *testing.T) {
	repo := makeRepository(t)
	rig := rigOf("file://" + repo)
	tt := startTownWith(t, map[string]string{"GH_PRECLONE_REPOS": "file://" + repo, "TOWND_POOL_SIZE": "3"})
	figure := fmt.Sprintf("\ntownd_git_pool_ready{rig=%q} 3\n", rig)
	files := filepath.Join(tt.home, "rigs", rig, "worktrees/-pool/*/README.md")
	inodes := func() map[uint64]bool {
		found, err := filepath.Glob(files)
		if err != nil {
			t.Fatal(err)
		}
		all := make(map[uint64]bool)
		for _, path := range found {
			var st syscall.Stat_t
			if err := syscall.Stat(path, &st); err == nil {
				all[st.Ino] = true
			}
		}
		return all
	}
	for n := range 3 { // while the first, the second and the third is made
		waitFor(t, "a ready worktree", func() bool { return len(inodes()) > n })
		tt.kill()
		tt.serve()
	}
	waitFor(t, "the figure of the pool", func() bool { return strings.Contains(tt.metrics(), figure) })
	before := inodes()
	tt.kill()
	tt.serve()
	tt.ok("start", "--repo", repo, "--name", "toast", "--", "sleep", "600")
	made, err := filepath.Glob(filepath.Join(tt.home, "rigs", rig, "worktrees/polecat/toast/*/README.md"))
	if err != nil || len(made) != 1 {
		t.Fatalf("worktrees of the agent: %v, %v", made, err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(made[0], &st); err != nil || !before[st.Ino] {
		t.Errorf("the agent's worktree was made anew: inode %d, ready were %v, %v", st.Ino, before, err)
	}
	if os.Geteuid() == 0 && st.Uid < tt.users {
		t.Errorf("the agent's files are user %d's", st.Uid)
	}
	waitFor(t, "the pool to be filled again", func() bool { return strings.Contains(tt.metrics(), figure) })
}

// metrics returns the server's figures.
func (tt *testTown) metrics() string {
	tt.t.Helper()
	req, err := http.NewRequestWithContext(tt.t.Context(), http.MethodGet, "http://"+tt.listen+"/metrics", nil)
	if err != nil {
		tt.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(tt.ok("token")))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		tt.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		tt.t.Fatalf("metrics: %s, %v", resp.Status, err)
	}
	return string(body)
}
