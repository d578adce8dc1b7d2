package gitmgr

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"townd/gitmgr/gittest"
	"townd/town"
)

// workbench makes a worktree with changes of every kind and returns what git
// status says of it.
func workbench(t *testing.T, m *Manager, r *gittest.Remote) (w Worktree, status string) {
	t.Helper()
	w = mustWorktree(t, m, spec(r, "polecat/toast/1"))
	write(t, filepath.Join(w.Dir, ".gitignore"), "*.log\n")
	write(t, filepath.Join(w.Dir, "committed.txt"), "committed\n")
	git(t, w.Dir, "add", ".")
	git(t, w.Dir, "commit", "--quiet", "-m", "a commit")
	git(t, w.Dir, "mv", "dir000/file00000.txt", "moved to.txt")
	write(t, filepath.Join(w.Dir, "staged.txt"), "staged\n")
	git(t, w.Dir, "add", "staged.txt")
	write(t, filepath.Join(w.Dir, "staged.txt"), "staged, then changed\n")
	must(t, os.Remove(filepath.Join(w.Dir, "dir000/file00001.txt")))
	write(t, filepath.Join(w.Dir, "dir000/file00002.txt"), "changed\n")
	write(t, filepath.Join(w.Dir, "untracked/bin"), "\x00\x01\xff binary")
	write(t, filepath.Join(w.Dir, "tab\tnew\nline ü"), "odd name\n")
	write(t, filepath.Join(w.Dir, "ignored.log"), "ignored\n")
	write(t, filepath.Join(w.Dir, "empty"), "")
	must(t, os.Symlink("/etc/passwd", filepath.Join(w.Dir, "link")))
	must(t, os.Chmod(filepath.Join(w.Dir, "dir000/file00003.txt"), 0o755))
	return w, git(t, w.Dir, "status", "--porcelain", "-uall")
}

func TestCheckpointSavesEverythingAndTouchesNothing(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	w, before := workbench(t, m, r)
	refs := git(t, w.Dir, "show-ref")
	index := read(t, filepath.Join(m.rigs["rig"].admin(w.Branch), "index"))

	cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent-1", Owner{})
	must(t, err)
	if cp.Ref != "refs/town/checkpoints/agent-1" || cp.Clean || git(t, w.Dir, "rev-parse", cp.Ref) != cp.Commit {
		t.Errorf("Checkpoint = %+v", cp)
	}
	if after := git(t, w.Dir, "status", "--porcelain", "-uall"); after != before {
		t.Errorf("status was\n%s\nand is\n%s", before, after)
	}
	if now := git(t, w.Dir, "show-ref"); now != refs+"\n"+cp.Commit+" "+cp.Ref && !strings.Contains(now, cp.Ref) {
		t.Errorf("refs were\n%s\nand are\n%s", refs, now)
	}
	if read(t, filepath.Join(m.rigs["rig"].admin(w.Branch), "index")) != index {
		t.Error("the index was written")
	}
	if got := git(t, w.Dir, "rev-parse", cp.Commit+"^"); got != git(t, w.Dir, "rev-parse", "HEAD") {
		t.Errorf("its parent is %s", got)
	}
	if got := git(t, w.Dir, "show", "-s", "--format=%an %ae", cp.Commit); got != "Toast toast@example.com" {
		t.Errorf("its author is %s", got)
	}
	if got := git(t, w.Dir, "show", cp.Commit+":staged.txt"); got != "staged, then changed" {
		t.Errorf("staged.txt holds %q", got)
	}
	files := git(t, w.Dir, "ls-tree", "-r", "-z", "--name-only", cp.Commit)
	want := []string{".gitignore", "committed.txt", "dir000/file00002.txt", "dir000/file00003.txt", "dir000/file00004.txt", "empty", "link", "moved to.txt", "staged.txt", "tab\tnew\nline ü", "untracked/bin"}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSuffix(files, "\x00"), "\x00")); diff != "" {
		t.Errorf("its files (-want +got):\n%s", diff)
	}

	again, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent-1", Owner{})
	if err != nil || again.Commit != cp.Commit || again.Ref != cp.Ref {
		t.Errorf("the same again = %+v, %v, want %+v", again, err, cp)
	}
	git(t, w.Dir, "add", "-A")
	git(t, w.Dir, "commit", "--quiet", "-m", "all of it")
	clean, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent-1", Owner{})
	if err != nil || !clean.Clean || clean.Commit != "" {
		t.Errorf("a clean one = %+v, %v", clean, err)
	}
	if left, _ := filepath.Glob(filepath.Join(m.c.Home, "rig/tmp/*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	sound(t, m)
}

// Git compares times by the second, as it is commonly built: what tells it of a change
// of the same second and size is the age of the index.
func TestCheckpointHasAChangeOfTheSameSecondAndSize(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 2})
	m := newManager(t)
	for name, besides := range map[string]func(p place){
		"alone":               func(place) {},
		"beside-one-deleted":  func(p place) { p.remove("dir000/file00000.txt") },
		"beside-one-left-out": func(p place) { p.write("secret", fakeSecrets["github.txt"]); p.git("add", "--intent-to-add", "secret") },
		"all-walked":          func(p place) { p.write("git~1", "") },
	} {
		t.Run(name, func(t *testing.T) {
			w := mustWorktree(t, m, spec(r, name))
			second := func() int64 {
				var st syscall.Stat_t
				must(t, syscall.Stat(filepath.Join(w.Dir, "f"), &st))
				return st.Ctim.Sec
			}
			eventually(t, "a change in the second of the commit", func() bool {
				write(t, filepath.Join(w.Dir, "f"), "old")
				first := second()
				git(t, w.Dir, "add", "f")
				git(t, w.Dir, "commit", "--quiet", "--allow-empty", "-m", "work")
				besides(place{t, w.Dir})
				write(t, filepath.Join(w.Dir, "f"), "new")
				return second() == first
			})
			eventually(t, "the next second, also by the clock of files", func() bool {
				probe := filepath.Join(t.TempDir(), "probe")
				write(t, probe, "")
				fi, err := os.Stat(probe)
				must(t, err)
				return fi.ModTime().Unix() > second()
			})
			cp, err := m.Checkpoint(t.Context(), "rig", name, "agent", Owner{})
			must(t, err)
			if cp.Clean || git(t, w.Dir, "show", cp.Commit+":f") != "new" {
				t.Errorf("Checkpoint() = %+v, it does not hold the change", cp)
			}
		})
	}
}

func TestCheckpointInTheMiddleOfAConflict(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	write(t, filepath.Join(w.Dir, "f"), "mine\n")
	git(t, w.Dir, "add", "f")
	git(t, w.Dir, "commit", "--quiet", "-m", "mine")
	git(t, w.Dir, "switch", "--quiet", "-c", "theirs", "HEAD~1")
	write(t, filepath.Join(w.Dir, "f"), "theirs\n")
	git(t, w.Dir, "add", "f")
	git(t, w.Dir, "commit", "--quiet", "-m", "theirs")
	if out, err := gittest.Command(w.Dir, "merge", "a").CombinedOutput(); err == nil {
		t.Fatalf("no conflict: %s", out)
	}
	before := git(t, w.Dir, "status", "--porcelain")
	cp, err := m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	if err != nil || !strings.Contains(git(t, w.Dir, "show", cp.Commit+":f"), "<<<<<<<") {
		t.Errorf("Checkpoint = %+v, %v", cp, err)
	}
	d, err := m.Diff(t.Context(), "rig", "a", w.Base, Owner{}, 1<<20)
	if err != nil || len(d.Files) != 1 || !bytes.Contains(d.Patch, []byte("+<<<<<<<")) {
		t.Errorf("Diff = %+v, %v", d, err)
	}
	if after := git(t, w.Dir, "status", "--porcelain"); after != before || !strings.HasPrefix(after, "AA") {
		t.Errorf("status was %q and is %q", before, after)
	}
}

func TestCheckpointGoesPastWhatCannotBeRead(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	write(t, filepath.Join(w.Dir, "good"), "good")
	git(t, w.Dir, "init", "--quiet", "nested") // a repository without commits cannot be added
	write(t, filepath.Join(w.Dir, "nested/f"), "f")
	cp, err := m.Checkpoint(t.Context(), "rig", "a", "x.lock", Owner{}) // an id that is no ref
	if err != nil || cp.Clean || git(t, w.Dir, "show", cp.Ref+":good") != "good" {
		t.Errorf("Checkpoint = %+v, %v", cp, err)
	}
	if d, err := m.Diff(t.Context(), "rig", "a", "", Owner{}, 1<<20); err != nil || len(d.Files) != 2 {
		t.Errorf("Diff = %+v, %v", d, err)
	}
}

func TestManyCheckpointsAtOnce(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	var wg sync.WaitGroup
	for i := range 20 {
		w := mustWorktree(t, m, spec(r, fmt.Sprint("b", i)))
		write(t, filepath.Join(w.Dir, "f"), fmt.Sprint(i))
		wg.Go(func() {
			if cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, fmt.Sprint("agent", i), Owner{}); err != nil || cp.Clean {
				t.Errorf("%+v %v", cp, err)
			}
		})
	}
	wg.Wait()
	if n := strings.Count(git(t, m.rigs["rig"].repo, "for-each-ref", checkpointPrefix), "\n"); n != 19 {
		t.Errorf("%d checkpoints", n+1)
	}
	sound(t, m)
}

// Proves W7.
func TestDiffIsOnePatchAgainstTheBase(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	w, before := workbench(t, m, r)
	d, err := m.Diff(t.Context(), "rig", w.Branch, w.Base, Owner{}, 1<<20)
	must(t, err)
	if d.Base != w.Base || d.Head != git(t, w.Dir, "rev-parse", "HEAD") || d.Truncated {
		t.Errorf("Base %s, Head %s, Truncated %v", d.Base, d.Head, d.Truncated)
	}
	want := []FileStat{
		{Path: ".gitignore", Status: "A", Added: 1},
		{Path: "committed.txt", Status: "A", Added: 1},
		{Path: "dir000/file00001.txt", Status: "D", Deleted: 7},
		{Path: "dir000/file00002.txt", Status: "M", Added: 1, Deleted: 7},
		{Path: "dir000/file00003.txt", Status: "M"},
		{Path: "empty", Status: "A"},
		{Path: "link", Status: "A", Added: 1},
		{Path: "moved to.txt", OldPath: "dir000/file00000.txt", Status: "R"},
		{Path: "staged.txt", Status: "A", Added: 1},
		{Path: "tab\tnew\nline ü", Status: "A", Added: 1},
		{Path: "untracked/bin", Status: "A", Binary: true},
	}
	if diff := cmp.Diff(want, d.Files); diff != "" {
		t.Errorf("Files (-want +got):\n%s", diff)
	}
	if after := git(t, w.Dir, "status", "--porcelain", "-uall"); after != before {
		t.Errorf("status was\n%s\nand is\n%s", before, after)
	}

	// Applied to the base, the patch gives what the worktree holds.
	other := mustWorktree(t, m, spec(r, "other"))
	write(t, filepath.Join(other.Dir, "../patch"), string(d.Patch))
	git(t, other.Dir, "apply", "--index", "../patch")
	cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{})
	must(t, err)
	if got := git(t, other.Dir, "write-tree"); got != git(t, w.Dir, "rev-parse", cp.Commit+"^{tree}") {
		t.Error("the patch does not give the worktree")
	}
}

func TestDiffIsCutAtItsBound(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	for i := range 20 {
		write(t, filepath.Join(w.Dir, fmt.Sprintf("big%02d", i)), strings.Repeat("line of text\n", 50_000))
	}
	d, err := m.Diff(t.Context(), "rig", "a", w.Base, Owner{}, 100_000)
	if err != nil || !d.Truncated || len(d.Patch) != 100_000 || len(d.Files) != 20 || d.Files[19].Added != 50_000 {
		t.Errorf("Truncated %v, %d bytes, %d files, %v", d.Truncated, len(d.Patch), len(d.Files), err)
	}
	if d, err := m.Diff(t.Context(), "rig", "a", w.Base, Owner{}, 0); err != nil || !d.Truncated || len(d.Patch) != 0 || len(d.Files) != 20 {
		t.Errorf("with no room for a patch: %+v %v", d, err)
	}
	for _, base := range []string{"main", "--output=x", "HEAD", "zz"} {
		_, err := m.Diff(t.Context(), "rig", "a", base, Owner{}, 100)
		wantKind(t, err, town.ErrInvalid, "must be the hash")
	}
	_, err = m.Diff(t.Context(), "rig", "a", strings.Repeat("1", 40), Owner{}, 100)
	wantKind(t, err, town.ErrInvalid, "no such commit")
	_, err = m.Diff(t.Context(), "rig", "unknown", w.Base, Owner{}, 100)
	wantKind(t, err, town.ErrNotFound, "no worktree")
	_, err = m.Diff(t.Context(), "unknown", "a", w.Base, Owner{}, 100)
	wantKind(t, err, town.ErrNotFound, "has no clone")
}

// TestDiffReaderTakesAnyCuts feeds git's output in every pair of pieces.
func TestDiffReaderTakesAnyCuts(t *testing.T) {
	out := ":100644 100644 " + strings.Repeat("1", 40) + " " + strings.Repeat("2", 40) + " M\x00a\x00" +
		":100644 100644 " + strings.Repeat("1", 40) + " " + strings.Repeat("2", 40) + " R100\x00b\x00c\x00" +
		"1\t2\ta\x00-\t-\t\x00b\x00c\x00\x00diff --git a/a b/a\n\x00\x00binary"
	want := []FileStat{{Path: "a", Status: "M", Added: 1, Deleted: 2}, {Path: "c", OldPath: "b", Status: "R", Binary: true}}
	for i := range len(out) {
		d := &diffReader{maxPatch: 1000, full: func() {}}
		_, _ = d.Write([]byte(out[:i]))
		_, _ = d.Write([]byte(out[i:]))
		files, err := parseStat(d.stat.Bytes())
		if err != nil || !slices.Equal(files, want) || string(d.patch) != "diff --git a/a b/a\n\x00\x00binary" {
			t.Fatalf("cut at %d: %+v %q %v", i, files, d.patch, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(":100644 100644 1 2 M\x00a\x001\t2\ta\x00"))
	f.Add([]byte(":1 1 1 1 R1\x00a\x00b\x00-\t-\t\x00a\x00b\x00"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := parseStat(b)
		if err == nil && len(files) > len(b) {
			t.Fatal("more files than bytes")
		}
	})
}

func TestRemoveKeepsUnsavedWork(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	w, _ := workbench(t, m, r)
	err := m.Remove(t.Context(), "rig", w.Branch, false)
	wantKind(t, err, town.ErrConflict, "untracked files that are in no commit")
	if _, err := os.Stat(filepath.Join(w.Dir, "staged.txt")); err != nil {
		t.Error(err)
	}
	tip := git(t, w.Dir, "rev-parse", "HEAD")
	must(t, m.Remove(t.Context(), "rig", w.Branch, true))
	must(t, m.Remove(t.Context(), "rig", w.Branch, true)) // again is nothing
	repo := m.rigs["rig"].repo
	if _, err := os.Lstat(w.Dir); err == nil || git(t, repo, "rev-parse", w.Branch) != tip {
		t.Error("the worktree is there or the branch is gone")
	}
	if got := git(t, repo, "worktree", "list", "--porcelain"); strings.Contains(got, "toast") {
		t.Errorf("git lists it: %s", got)
	}
	must(t, m.Close())
	if left, _ := os.ReadDir(filepath.Join(m.c.Home, "rig/worktrees")); len(left) > 0 {
		t.Errorf("worktrees holds %v", left)
	}
	if left, _ := os.ReadDir(filepath.Join(m.c.Home, "rig/trash")); len(left) > 0 {
		t.Errorf("trash holds %v after Close", left)
	}
	sound(t, m)
}

func TestTrashOfADeadServerIsCollected(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	dir := m.rigs["rig"].dir
	write(t, filepath.Join(dir, "trash/old/f"), "x")
	write(t, filepath.Join(dir, "tmp/clone-1/f"), "x")
	write(t, filepath.Join(dir, "tmp/index-1/index"), "x")
	write(t, filepath.Join(dir, "tmp/index-2/index"), "x")
	must(t, os.Chtimes(filepath.Join(dir, "tmp/index-2"), time.Now(), time.Now().Add(-2*indexAge)))
	again := newManager(t, home(m.c.Home))
	mustWorktree(t, again, spec(r, w.Branch))
	must(t, again.Close())
	left, _ := filepath.Glob(filepath.Join(dir, "t*/*"))
	if diff := cmp.Diff([]string{filepath.Join(dir, "tmp/index-1")}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestLogHoldsWhatTheBaseDoesNot(t *testing.T) {
	r := gittest.New(t, gittest.Options{Commits: 30})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	for i := range 3 {
		git(t, w.Dir, "commit", "--quiet", "--allow-empty", "-m", fmt.Sprintf("work %d\n\nbody %d\n", i, i))
	}
	git(t, w.Dir, "switch", "--quiet", "-c", "side", "HEAD~2")
	git(t, w.Dir, "commit", "--quiet", "--allow-empty", "-m", "on the side")
	git(t, w.Dir, "switch", "--quiet", "a")
	git(t, w.Dir, "merge", "--quiet", "--no-ff", "-m", "merged", "side")
	for _, c := range []struct{ base, args string }{
		{w.Base, w.Base + "..a"},
		{"", "a"},
		{git(t, w.Dir, "rev-parse", "a~1"), "a~1..a"},
		{git(t, w.Dir, "rev-parse", "a"), "a..a"},
		{git(t, w.Dir, "rev-parse", "side"), "side..a"},
	} {
		log, err := m.Log("rig", "a", c.base, 1000)
		must(t, err)
		var got []string
		for _, l := range log {
			got = append(got, l.Hash)
		}
		want := strings.Fields(git(t, w.Dir, "rev-list", c.args))
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("Log since %q has %d commits, git says %d", c.base, len(got), len(want))
		}
	}
	log, err := m.Log("rig", "a", w.Base, 2)
	if err != nil || len(log) != 2 || log[0].Subject != "merged" || len(log[0].Parents) != 2 || log[0].Name != "Tester" {
		t.Errorf("Log = %+v, %v", log, err)
	}
	if log, err = m.Log("rig", "side", w.Base, 9); err != nil || log[len(log)-1].Body != "body 0" {
		t.Errorf("Log = %+v, %v", log, err)
	}
	_, err = m.Log("rig", "unknown", "", 1)
	wantKind(t, err, town.ErrNotFound, "no branch")
	_, err = m.Log("rig", "a", strings.Repeat("1", 40), 1)
	wantKind(t, err, town.ErrNotFound, "1111")
}

func TestObserveHearsOfEveryOperation(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	var mu sync.Mutex
	var ops []string
	m := newManager(t, func(c *Config) {
		c.Observe = func(op string, d time.Duration, err error) {
			mu.Lock()
			defer mu.Unlock()
			if d <= 0 {
				t.Errorf("%s took %s", op, d)
			}
			ops = append(ops, fmt.Sprint(op, " ", err == nil))
		}
	})
	mustWorktree(t, m, spec(r, "a"))
	m.rigs["rig"].fetchDue = time.Time{}
	mustWorktree(t, m, spec(r, "b"))
	_, _ = m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	_, _ = m.Diff(t.Context(), "rig", "a", "", Owner{}, 100)
	_ = m.Remove(t.Context(), "rig", "a", false)
	write(t, filepath.Join(m.rigs["rig"].path("b"), "x"), "x")
	_ = m.Remove(t.Context(), "rig", "b", false)
	want := []string{"clone true", "worktree true", "fetch true", "worktree true", "checkpoint true", "diff true", "remove true", "remove false"}
	if diff := cmp.Diff(want, ops); diff != "" {
		t.Errorf("Observe (-want +got):\n%s", diff)
	}
}

// TestSubmodulesAreNotEntered plants a program in the configuration of a
// repository inside the worktree: git status, diff and add would start it there.
func TestSubmodulesAreNotEntered(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	inner, trap := filepath.Join(w.Dir, "in ner"), filepath.Join(t.TempDir(), "trap")
	git(t, w.Dir, "init", "--quiet", inner)
	git(t, inner, "commit", "--quiet", "--allow-empty", "-m", "inner")
	git(t, w.Dir, "-c", "advice.addEmbeddedRepo=false", "add", "in ner")
	git(t, w.Dir, "commit", "--quiet", "-m", "a submodule")
	write(t, filepath.Join(trap+".sh"), "#!/bin/sh\necho ran >> "+trap+"\n")
	must(t, os.Chmod(trap+".sh", 0o755))
	git(t, inner, "config", "core.fsmonitor", trap+".sh")
	write(t, filepath.Join(inner, "unsaved"), "x")
	git(t, w.Dir, "status")
	if _, err := os.Stat(trap); err != nil {
		t.Fatal("the trap does not work")
	}
	must(t, os.Remove(trap))

	err := m.Remove(t.Context(), "rig", "a", false)
	wantKind(t, err, town.ErrConflict, "1 changed")
	write(t, filepath.Join(w.Dir, "f"), "f")
	cp, err := m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	if err != nil || git(t, w.Dir, "ls-tree", cp.Commit, "in ner") == "" {
		t.Errorf("Checkpoint = %+v, %v", cp, err)
	}
	if d, err := m.Diff(t.Context(), "rig", "a", w.Base, Owner{}, 1<<20); err != nil || len(d.Files) != 2 {
		t.Errorf("Diff = %+v, %v", d.Files, err)
	}
	mustWorktree(t, m, spec(r, "a"))
	if _, err := os.Stat(trap); err == nil {
		t.Error("our git ran the agent's program")
	}
}
