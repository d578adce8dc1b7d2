package gitmgr

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"townd/gitmgr/gittest"
	"townd/town"
)

func TestSparseTextIsWhatGitWrites(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	for _, dirs := range [][]string{{"a"}, {"a/b/c"}, {"a", "a/b"}, {"b/x", "a", "b/y/z"}, {"dir with space/é"}, {"a-b", "a/b", "a"}} {
		plain := filepath.Join(t.TempDir(), "plain")
		git(t, "", "clone", "--quiet", "--no-checkout", r.URL(), plain)
		git(t, plain, append([]string{"sparse-checkout", "set", "--cone", "--"}, dirs...)...)
		want := strings.TrimSpace(read(t, filepath.Join(plain, ".git/info/sparse-checkout")))
		if got := sparseText(dirs); got != want {
			t.Errorf("sparseText(%q) = %q, want %q", dirs, got, want)
		}
	}
}

func TestSparseWorktreeHoldsItsDirectoriesAndLosesNothing(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 500}) // dir000 to dir004
	r.Commit("main", "top.txt", "top")
	r.Commit("main", "deep/in/side/f", "side")
	r.Commit("main", "deep/in/beside", "beside")
	m := newManager(t)
	must(t, m.SetRig("rig", RigSettings{Sparse: []string{"dir001", "deep/in/side"}}))
	check := func(w Worktree) {
		t.Helper()
		for path, want := range map[string]bool{
			"top.txt": true, "dir001/file00199.txt": true, "deep/in/side/f": true, "deep/in/beside": true, "dir000": false, "dir004": false,
		} {
			if _, err := os.Lstat(filepath.Join(w.Dir, path)); (err == nil) != want {
				t.Errorf("%s is there: %v", path, err == nil)
			}
		}
		if out := git(t, w.Dir, "status", "--porcelain"); out != "" {
			t.Errorf("status says %s", out)
		}
	}
	w := mustWorktree(t, m, spec(r, "cold"))
	check(w)
	warmed(t, m, Owner{})
	check(mustWorktree(t, m, spec(r, "warm")))

	write(t, filepath.Join(w.Dir, "dir001/new"), "new")
	write(t, filepath.Join(w.Dir, "elsewhere/new"), "new")
	cp, err := m.Checkpoint(t.Context(), "rig", "cold", "agent", Owner{})
	must(t, err)
	if got := git(t, w.Dir, "diff", "--name-only", w.Base, cp.Commit); got != "dir001/new\nelsewhere/new" {
		t.Errorf("a checkpoint changes %q", got)
	}
	d, err := m.Diff(t.Context(), "rig", "cold", w.Base, Owner{}, 1<<20)
	if err != nil || len(d.Files) != 2 {
		t.Errorf("Diff = %+v, %v", d.Files, err)
	}
	must(t, m.Remove(t.Context(), "rig", "cold", true))
	res, err := m.Restore(t.Context(), spec(r, "cold"), "agent")
	if err != nil || !res.Applied || read(t, filepath.Join(res.Dir, "dir001/new")) != "new" {
		t.Errorf("Restore = %+v, %v", res, err)
	}
	if _, err := os.Lstat(filepath.Join(res.Dir, "dir000")); err == nil {
		t.Error("the restored worktree is not sparse")
	}
	if got := read(t, filepath.Join(res.Dir, "elsewhere/new")); got != "new" {
		t.Errorf("work beside the sparse directories is %q", got)
	}

	must(t, m.SetRig("rig", RigSettings{}))
	full := mustWorktree(t, m, spec(r, "full"))
	if _, err := os.Lstat(filepath.Join(full.Dir, "dir000/file00000.txt")); err != nil || git(t, full.Dir, "status", "--porcelain") != "" {
		t.Errorf("a whole worktree beside sparse ones: %v", err)
	}
	must(t, m.SetRig("rig", RigSettings{Sparse: []string{"dir001"}}))
	write(t, filepath.Join(full.Dir, "dir000/more"), "more")
	git(t, full.Dir, "add", ".")
	git(t, full.Dir, "commit", "--quiet", "-m", "more")
	mustMerge(t, m, MergeRequest{Branch: "full", Gates: []Gate{{Name: "all", Command: "test -f dir000/file00000.txt"}}}, MergeDone)
	sound(t, m)
}

func TestSparseBloblessRigFetchesOnlyWhatItHolds(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 500})
	r.Commit("main", "deep/in/side/f", "side")
	r.Git("config", "uploadpack.allowFilter", "true")
	r.Git("config", "uploadpack.allowAnySHA1InWant", "true")
	m := newManager(t)
	must(t, m.SetRig("rig", RigSettings{Sparse: []string{"dir001", "deep/in"}, Blobless: true}))
	w := mustWorktree(t, m, spec(r, "a"))
	if out := git(t, w.Dir, "status", "--porcelain"); out != "" || read(t, filepath.Join(w.Dir, "deep/in/side/f")) != "side" {
		t.Errorf("status says %s", out)
	}
	missing := strings.Count(git(t, m.rigs["rig"].repo, "rev-list", "--objects", "--missing=print", "main"), "?")
	if missing != 400 {
		t.Errorf("%d files are not here, want 400", missing)
	}
}

func TestSparseDirectoriesArePlainPaths(t *testing.T) {
	m := newManager(t)
	for _, dir := range []string{"", "/a", "a/", "a//b", "..", "a/../b", "./a", "a*", "!a", "a\nb", "a/.git", "a/.GIT/hooks", "[a]", `a\b`, "#a", "a\u202eb"} {
		wantKind(t, m.SetRig("rig", RigSettings{Sparse: []string{dir}}), town.ErrInvalid, "sparse checkout")
	}
}
