package gitmgr

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/gitmgr/gittest"
	"townd/town"
)

// warmed fills the pool of a rig for owners.
func warmed(t testing.TB, m *Manager, owners ...Owner) {
	t.Helper()
	must(t, m.Warm(t.Context(), "rig", owners...))
	if ready, err := m.Ready("rig"); err != nil || len(ready) != len(owners) {
		t.Fatalf("ready are %v, %v, want %v", ready, err, owners)
	}
}

func TestReadyWorktreeIsTakenOver(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 20, Commits: 3})
	r.Commit("side", "s", "1")
	m := newManager(t)
	wantKind(t, m.Warm(t.Context(), "rig", Owner{}), town.ErrNotFound, "has no clone")
	_, err := m.Prepare(t.Context(), "rig", r.URL(), false, nil)
	must(t, err)
	for i, c := range []struct{ branch, start string }{{"polecat/a/1", ""}, {"polecat/b/2", "side"}, {"polecat/c/3", r.Git("rev-parse", "main~2")}, {"side", ""}} {
		tip := r.Commit("main", "moves", fmt.Sprint(i))
		_, err := m.Prepare(t.Context(), "rig", r.URL(), true, nil)
		must(t, err)
		warmed(t, m, Owner{})
		if i%2 == 0 { // one that stands at an older commit is taken too
			tip = r.Commit("main", "moves", "later")
			_, err := m.Prepare(t.Context(), "rig", r.URL(), true, nil)
			must(t, err)
		}
		inode := inodeOf(t, filepath.Join(m.rigs["rig"].path(poolSlot(Owner{}, 0)), "dir000/file00010.txt"))
		s := spec(r, c.branch)
		s.StartPoint = c.start
		w := mustWorktree(t, m, s)
		if inodeOf(t, filepath.Join(w.Dir, "dir000/file00010.txt")) != inode {
			t.Errorf("%s: files were written anew", c.branch)
		}
		want := tip
		switch {
		case c.branch == "side" || c.start == "side":
			want = r.Git("rev-parse", "side")
		case c.start != "":
			want = c.start
		}
		if got := git(t, w.Dir, "rev-parse", "HEAD", c.branch); got != want+"\n"+want || git(t, w.Dir, "status", "--porcelain") != "" || !w.Created {
			t.Errorf("%s: HEAD and branch are %s, want %s", c.branch, got, want)
		}
		if got := git(t, w.Dir, "symbolic-ref", "HEAD"); got != headsPrefix+c.branch {
			t.Errorf("%s: HEAD is %s", c.branch, got)
		}
		git(t, w.Dir, "commit", "--quiet", "--allow-empty", "-m", "work")
		if ready, err := m.Ready("rig"); err != nil || len(ready) != 0 {
			t.Errorf("ready are %v, %v", ready, err)
		}
	}
	sound(t, m)
}

func inodeOf(t testing.TB, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	must(t, syscall.Stat(path, &st))
	return st.Ino
}

func TestReadyWorktreeIsItsOwnersAlone(t *testing.T) {
	m := isolated(t)
	r := gittest.New(t, gittest.Options{Files: 20})
	_, err := m.Prepare(t.Context(), "rig", r.URL(), false, nil)
	must(t, err)
	a, b := Owner{UID: uidA}, Owner{UID: uidB}
	warmed(t, m, a, b)
	gid, err := m.RigGroup("rig")
	must(t, err)
	slot := m.rigs["rig"].path(poolSlot(b, 0))
	if out, err := shellAs(uidA, gid, "/", "", `ls "$1"; echo x > "$1/f"`, slot); err == nil {
		t.Errorf("another user got in: %s", out)
	}
	w := mustWorktree(t, m, ownedSpec(r, "polecat/bob/1", uidB))
	if ready, _ := m.Ready("rig"); len(ready) != 1 || ready[0].UID != uidA {
		t.Errorf("ready are %v", ready)
	}
	out, err := shellAs(uidB, w.GID, w.Dir, "", "git status --porcelain && echo x > n && git add n && git commit -qm n && git log --oneline | wc -l && stat -c %u dir000/file00001.txt .git")
	if err != nil || out != fmt.Sprintf("2\n%d\n%d", uidB, uidB) {
		t.Errorf("bob's work: %s %v", out, err)
	}
	sound(t, m)
}

func TestPoolSurvivesARestartAndForgetsWhatIsBroken(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	_, err := m.Prepare(t.Context(), "rig", r.URL(), false, nil)
	must(t, err)
	warmed(t, m, Owner{})
	inode := inodeOf(t, m.rigs["rig"].path(poolSlot(Owner{}, 0)))
	must(t, m.Close())
	again := newManager(t, home(m.c.Home))
	warmed(t, again, Owner{})
	if inodeOf(t, m.rigs["rig"].path(poolSlot(Owner{}, 0))) != inode {
		t.Error("it was made again")
	}
	must(t, os.Remove(filepath.Join(m.rigs["rig"].admin(poolSlot(Owner{}, 0)), "index")))
	if ready, _ := again.Ready("rig"); len(ready) != 0 {
		t.Errorf("ready are %v", ready)
	}
	warmed(t, again, Owner{})
	mustWorktree(t, again, spec(r, "a"))
	sound(t, again)
}

// TestTakingAReadyWorktreeKilledAnywhere kills git, and what the crash of a server
// between its steps leaves is set up by hand.
func TestTakingAReadyWorktreeKilledAnywhere(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 300})
	old := r.Git("rev-parse", "main")
	for i := range 200 {
		r.Commit("work", fmt.Sprintf("dir000/file%05d.txt", i), "changed")
	}
	m := newManager(t)
	_, err := m.Prepare(t.Context(), "rig", r.URL(), false, nil)
	must(t, err)
	g := m.rigs["rig"]
	s := func(branch string) Spec {
		s := spec(r, branch)
		s.StartPoint = "work"
		return s
	}
	check := func(branch string) {
		t.Helper()
		w := mustWorktree(t, m, s(branch))
		if got := git(t, w.Dir, "rev-parse", branch, "HEAD"); got != r.Git("rev-parse", "work", "work") || git(t, w.Dir, "status", "--porcelain") != "" {
			t.Errorf("%s: %s\n%s", branch, got, git(t, w.Dir, "status", "--porcelain"))
		}
	}
	for i := range 12 {
		warmed(t, m, Owner{})
		branch := fmt.Sprint("killed/", i)
		done := make(chan error)
		go func() {
			_, err := m.Worktree(t.Context(), s(branch))
			done <- err
		}()
		time.Sleep(time.Duration(i) * 2 * time.Millisecond) // the moment is any, nothing is waited for
		for _, pid := range gitsBelow(m.c.Home) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		t.Log(<-done)
		check(branch)
	}
	making := func(branch string) {
		must(t, g.writeFacts(facts{Branch: branch, Base: old, Making: true, Start: r.Git("rev-parse", "work")}))
	}
	warmed(t, m, Owner{}) // the files have moved, the administration has not
	making("half")
	must(t, os.Rename(g.path(poolSlot(Owner{}, 0)), g.path("half")))
	check("half")
	warmed(t, m, Owner{}) // all has moved, nothing was switched yet
	making("whole")
	if g.takeSlot(t.Context(), spec(r, "whole")) == "" {
		t.Fatal("not taken")
	}
	check("whole")
	sound(t, m)
}

// Git compares times by the second: it reads files again that are no older than the index.
func TestFirstStatusOfAReadyWorktreeReadsNoFiles(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 20})
	m := newManager(t)
	_, err := m.Prepare(t.Context(), "rig", r.URL(), false, nil)
	must(t, err)
	warmed(t, m, Owner{})
	made := modified(t, filepath.Join(m.rigs["rig"].admin(poolSlot(Owner{}, 0)), "index"))
	eventually(t, "the second is over", func() bool { return time.Since(made) > time.Second+2*clockSlack })
	w := mustWorktree(t, m, spec(r, "a"))
	file, index := filepath.Join(w.Dir, "dir000/file00001.txt"), filepath.Join(m.rigs["rig"].admin("a"), "index")
	if modified(t, file).Unix() >= modified(t, index).Unix() {
		t.Errorf("a file of %v is no older than the index of %v", modified(t, file), modified(t, index))
	}
	if index := modified(t, index); index.After(time.Now()) {
		t.Errorf("the index is of %v, which is to come", index)
	}
	if got := git(t, w.Dir, "--no-optional-locks", "status", "--porcelain"); got != "" {
		t.Errorf("status %q", got)
	}
	text := read(t, file)
	write(t, file, strings.ToUpper(text)) // as large as it was
	if got := git(t, w.Dir, "status", "--porcelain"); got != "M dir000/file00001.txt" {
		t.Errorf("status %q of a changed file", got)
	}
}

func modified(t testing.TB, path string) time.Time {
	t.Helper()
	fi, err := os.Lstat(path)
	must(t, err)
	return fi.ModTime()
}

func TestFiftyStartsAtOnceWithAPool(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 50})
	m := newManager(t)
	_, err := m.Prepare(t.Context(), "rig", r.URL(), false, nil)
	must(t, err)
	var wg sync.WaitGroup
	for i := range 50 {
		if i%5 == 0 {
			wg.Go(func() {
				if err := m.Warm(t.Context(), "rig", Owner{}, Owner{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if _, err := m.Worktree(t.Context(), spec(r, fmt.Sprint("b", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, m.Close())
	sound(t, m)
}

func TestOwnerHasAsManyReadyWorktreesAsItIsNamed(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	_, err := m.Prepare(t.Context(), "rig", r.URL(), false, nil)
	must(t, err)
	warmed(t, m, Owner{}, Owner{}, Owner{})
	g := m.rigs["rig"]
	inodes := map[uint64]bool{}
	for n := range 3 {
		inodes[inodeOf(t, filepath.Join(g.path(poolSlot(Owner{}, n)), "dir000/file00001.txt"))] = true
	}
	for _, branch := range []string{"a", "b"} {
		w := mustWorktree(t, m, spec(r, branch))
		if !inodes[inodeOf(t, filepath.Join(w.Dir, "dir000/file00001.txt"))] {
			t.Errorf("%s was made anew", branch)
		}
	}
	pools, err := newManager(t, home(m.c.Home)).Pools()
	if err != nil || len(pools) != 1 || len(pools["rig"]) != 1 || pools["rig"][0] != (Owner{}) {
		t.Errorf("Pools() = %v, %v, want one worktree of rig", pools, err)
	}
	warmed(t, m, Owner{}, Owner{}, Owner{})
	for _, keep := range []int{2, 0} {
		must(t, m.DropReady(t.Context(), "rig", Owner{}, keep))
		if ready, err := m.Ready("rig"); err != nil || len(ready) != keep {
			t.Errorf("ready are %v, %v, want %d", ready, err, keep)
		}
	}
	mustWorktree(t, m, spec(r, "c"))
	sound(t, m)
}
