package gitmgr

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/gitmgr/gittest"
)

// coldWorktree is a worktree made on demand, when the second of its files is over.
func coldWorktree(t *testing.T, m *Manager, s Spec) Worktree {
	t.Helper()
	w := mustWorktree(t, m, s)
	made := time.Now().Add(clockSlack).Unix()
	eventually(t, "the next second", func() bool { return time.Now().Unix() > made })
	return w
}

// racy counts the files that git reads at each look, for it cannot tell them from changed ones.
func racy(t *testing.T, uid uint32, w Worktree, index string) (n int) {
	t.Helper()
	fi, err := os.Stat(index)
	must(t, err)
	for line := range strings.Lines(listed(t, uid, w, "--debug")) {
		var sec, nsec int64
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "mtime: %d:%d", &sec, &nsec); err == nil && sec >= fi.ModTime().Unix() {
			n++
		}
	}
	return n
}

// listed is what git ls-files tells the agent.
func listed(t *testing.T, uid uint32, w Worktree, how string) string {
	t.Helper()
	out, err := gitAs(uid, w.GID, w.Dir, "ls-files", how)
	if err != nil {
		t.Fatal(err, out)
	}
	return out
}

// The first look at a worktree reads what git cannot tell to be unchanged, the later ones do not, and
// what is in the index stays.
func TestALookRenewsTheIndex(t *testing.T) {
	for _, uid := range []uint32{0, uidA} {
		r := gittest.New(t, gittest.Options{Files: 20})
		m := newManager(t)
		if uid != 0 {
			m = isolated(t)
		}
		w := coldWorktree(t, m, ownedSpec(r, "polecat/a/1", uid))
		index := filepath.Join(m.rigs["rig"].admin(w.Branch), "index")
		if n := racy(t, uid, w, index); n == 0 {
			t.Fatal("git can tell all files from changed ones: the test shows nothing")
		}
		staged := listed(t, uid, w, "--stage")
		owner := Owner{UID: uid, GID: w.GID}
		for range 2 {
			if cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", owner); err != nil || !cp.Clean {
				t.Fatalf("Checkpoint() = %+v, %v", cp, err)
			}
			if n := racy(t, uid, w, index); n > 0 || listed(t, uid, w, "--stage") != staged {
				t.Errorf("after a look git still reads %d files", n)
			}
		}
		if o, err := os.ReadDir(filepath.Join(m.rigs["rig"].dir, "tmp")); err != nil || len(o) > 0 {
			t.Errorf("left over: %v, %v", o, err)
		}
		before := modified(t, index)
		write(t, filepath.Join(w.Dir, "dir000/file00000.txt"), "changed\n")
		if cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", owner); err != nil || cp.Clean || modified(t, index) != before {
			t.Errorf("Checkpoint() of a change = %+v, %v; the index was written: %v", cp, err, modified(t, index) != before)
		}
		if out, err := gitAs(uid, w.GID, w.Dir, "commit", "-qam", "x"); err != nil {
			t.Errorf("an agent's commit: %v\n%s", err, out)
		}
	}
}

// A change in the second of the checkout, of the same size, is seen whatever was renewed.
func TestRenewedIndexHidesNoChange(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	for i := range 5 {
		w := mustWorktree(t, m, spec(r, fmt.Sprint("polecat/a/", i)))
		path := filepath.Join(w.Dir, "dir000/file00000.txt")
		text := []byte(read(t, path))
		text[0] ^= 1
		must(t, os.WriteFile(path, text, 0o644))
		for range 2 {
			if cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{}); err != nil || cp.Clean {
				t.Fatalf("Checkpoint() = %+v, %v", cp, err)
			}
		}
		if out := git(t, w.Dir, "status", "--porcelain"); !strings.Contains(out, "file00000.txt") {
			t.Errorf("git status says %q", out)
		}
	}
}

// What an agent's git writes while a look is under way is never lost, and a look that finds
// the index locked leaves it.
func TestLooksLoseNothingOfTheIndex(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 50})
	m := newManager(t)
	w := coldWorktree(t, m, spec(r, "polecat/a/1"))
	admin := m.rigs["rig"].admin(w.Branch)

	index, err := m.rigs["rig"].copyIndex(w.Branch, Owner{})
	must(t, err)
	defer index.discard()
	renewed := gittest.Command(w.Dir, "update-index", "-q", "--refresh")
	renewed.Env = append(renewed.Env, "GIT_INDEX_FILE="+index.path)
	must(t, renewed.Run())
	write(t, filepath.Join(w.Dir, "meanwhile"), "x")
	git(t, w.Dir, "add", "meanwhile")
	index.renew()
	if !strings.Contains(git(t, w.Dir, "ls-files"), "meanwhile") {
		t.Error("a file that was added while a look was under way is not in the index any more")
	}

	write(t, filepath.Join(admin, "index.lock"), "an agent's git is at work")
	before := modified(t, filepath.Join(admin, "index"))
	if _, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{}); err != nil || modified(t, filepath.Join(admin, "index")) != before {
		t.Errorf("a look at a locked index: %v, written: %v", err, modified(t, filepath.Join(admin, "index")) != before)
	}
	must(t, os.Remove(filepath.Join(admin, "index.lock")))

	stop, done := make(chan struct{}), make(chan error)
	go func() { // ends with stop
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{}); err != nil {
				done <- err
				return
			}
		}
	}()
	lockedOut := 0
	for i := range 60 {
		name := fmt.Sprint("added", i)
		write(t, filepath.Join(w.Dir, name), "x")
		for {
			out, err := gittest.Command(w.Dir, "add", name).CombinedOutput()
			if err == nil {
				break
			}
			if lockedOut++; !strings.Contains(string(out), "index.lock") || lockedOut > 5 {
				t.Fatalf("git add: %v\n%s", err, out)
			}
		}
	}
	close(stop)
	must(t, <-done)
	if n := strings.Count(git(t, w.Dir, "ls-files"), "added"); n != 60 {
		t.Errorf("%d of 60 files are in the index", n)
	}
	if _, err := os.Lstat(filepath.Join(admin, "index.lock")); err == nil {
		t.Error("a lock is left")
	}
}

// Where the index cannot be copied, as on a full disk, a look goes by the agent's.
func TestLookWithoutACopyOfTheIndex(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "polecat/a/1"))
	index := filepath.Join(m.rigs["rig"].admin(w.Branch), "index")
	must(t, os.Link(index, index+"2"))
	if _, err := m.rigs["rig"].copyIndex(w.Branch, Owner{}); err == nil {
		t.Fatal("the index can be copied: the test shows nothing")
	}
	if cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{}); err != nil || !cp.Clean {
		t.Errorf("Checkpoint() = %+v, %v", cp, err)
	}
}
