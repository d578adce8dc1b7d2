package gitmgr

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"townd/gitmgr/gittest"
	"townd/town"
)

func TestHandOverTellsCommitsAndWhatIsInNone(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 3})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "polecat/toast/1"))
	look := func() town.HandOver {
		t.Helper()
		h, err := m.HandOver(t.Context(), "rig", w.Branch, w.Base, Owner{})
		must(t, err)
		return h
	}
	if h := look(); h.Commits != 0 || h.ChangedCount != 0 || h.Commit != "" || h.Branch != w.Branch {
		t.Errorf("a new worktree: %+v", h)
	}
	write(t, filepath.Join(w.Dir, "one.txt"), "1\n")
	git(t, w.Dir, "add", ".")
	git(t, w.Dir, "commit", "--quiet", "-m", "one")
	write(t, filepath.Join(w.Dir, "dir000/file00000.txt"), "changed\n")
	write(t, filepath.Join(w.Dir, "new ü.txt"), "new\n")
	h := look()
	if want := []string{"dir000/file00000.txt", "new ü.txt"}; h.Commits != 1 || h.Commit != git(t, w.Dir, "rev-parse", "HEAD") || !slices.Equal(h.Changed, want) || h.ChangedCount != 2 {
		t.Errorf("a commit and two changes: %+v", h)
	}
	for i := range 30 {
		write(t, filepath.Join(w.Dir, "many", string(rune('a'+i))), "x\n")
	}
	if h := look(); h.ChangedCount != 32 || len(h.Changed) != maxChangedNames {
		t.Errorf("many changes: %d, %d of them named", h.ChangedCount, len(h.Changed))
	}
	if _, err := m.HandOver(t.Context(), "rig", "polecat/nobody/1", "", Owner{}); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("no worktree: %v", err)
	}
}

// TestPushBranchNeverOverwrites what another has pushed to the branch.
func TestPushBranchNeverOverwrites(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 3})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "polecat/toast/1"))
	commit := func(name string) string {
		t.Helper()
		write(t, filepath.Join(w.Dir, name), name+"\n")
		git(t, w.Dir, "add", ".")
		git(t, w.Dir, "commit", "--quiet", "-m", name)
		return git(t, w.Dir, "rev-parse", "HEAD")
	}
	there := func() string { return r.Git("rev-parse", "refs/heads/"+w.Branch) }
	for _, name := range []string{"one", "two"} {
		tip := commit(name)
		for range 2 { // the second has nothing to do
			must(t, m.PushBranch(t.Context(), "rig", w.Branch))
		}
		if got := there(); got != tip {
			t.Errorf("the remote has %s, want %s", got, tip)
		}
	}
	others := r.Commit(w.Branch, "others.txt", "others\n")
	commit("three")
	if err := m.PushBranch(t.Context(), "rig", w.Branch); err == nil || there() != others {
		t.Errorf("pushed over what others have: %v, the remote has %s", err, there())
	}
	must(t, os.Rename(r.Path, r.Path+".gone"))
	if err := m.PushBranch(t.Context(), "rig", w.Branch); !errors.Is(err, town.ErrGit) {
		t.Errorf("a remote that is gone: %v, want ErrGit", err)
	}
	if err := m.PushBranch(t.Context(), "rig", "polecat/nobody/1"); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("no branch: %v, want ErrNotFound", err)
	}
}
