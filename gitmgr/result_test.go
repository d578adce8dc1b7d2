package gitmgr

import (
	"path/filepath"
	"strings"
	"testing"

	"townd/gitmgr/gittest"
	"townd/town"
)

// W10: what a run came to is told from what was saved of it.
func TestResultIsWhatWasSaved(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "polecat/toast/1"))
	m.c.Git = "/bin/false" // where nothing has changed no git runs
	res, err := m.Result(t.Context(), "rig", w.Branch, w.Base, "", 10, 1<<20)
	if m.c.Git = "git"; err != nil || res.Head != w.Base || len(res.Commits)+len(res.Patch) > 0 {
		t.Errorf("Result() of nothing = %+v, %v", res, err)
	}
	for _, subject := range []string{"one", "two", "three"} {
		write(t, filepath.Join(w.Dir, subject), subject)
		git(t, w.Dir, "add", ".")
		git(t, w.Dir, "commit", "-qm", subject)
	}
	write(t, filepath.Join(w.Dir, "four"), "\x00\x01binary")
	write(t, filepath.Join(w.Dir, "key.txt"), "token = ghp_"+strings.Repeat("7aB", 12)+"\n")
	cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{})
	must(t, err)
	res, err = m.Result(t.Context(), "rig", w.Branch, w.Base, cp.Commit, 2, 1<<20)
	must(t, err)
	if len(res.Commits) != 2 || res.Commits[0].Subject != "three" || !res.More || res.Truncated || res.Head != git(t, w.Dir, "rev-parse", "HEAD") {
		t.Errorf("Result() = %+v", res)
	}
	if p := string(res.Patch); !strings.Contains(p, "+++ b/one") || !strings.Contains(p, "GIT binary patch") || strings.Contains(p, "ghp_") {
		t.Errorf("the patch is\n%s", p)
	}
	if res, err = m.Result(t.Context(), "rig", w.Branch, "", cp.Commit, 10, 100); err != nil || !res.Truncated || len(res.Patch) != 100 {
		t.Errorf("Result() of 100 bytes = %+v, %v", res, err)
	}
	if _, err = m.Result(t.Context(), "rig", w.Branch, w.Base, "--output=/x", 1, 1); err == nil {
		t.Error("an option was taken for a commit")
	}
	must(t, m.Remove(t.Context(), "rig", w.Branch, true))
	_, err = m.Result(t.Context(), "rig", w.Branch, w.Base, "", 1, 1)
	wantKind(t, err, town.ErrNotFound, "no worktree")
}
