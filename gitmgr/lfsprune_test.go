package gitmgr

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// stored reports whether the rig's own store has a file.
func (l *lfsRig) stored(text string) bool {
	sum := sha256.Sum256([]byte(text))
	return l.rigs["rig"].haveLFS(lfsPointer{OID: hex.EncodeToString(sum[:]), Size: int64(len(text))})
}

// ageStore makes all objects of the store ones that were needed last so long ago.
func (l *lfsRig) ageStore(t *testing.T, d time.Duration) {
	t.Helper()
	when := time.Now().Add(-d)
	must(t, filepath.WalkDir(l.rigs["rig"].lfsStore(), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // deleted by a sweep meanwhile
			return nil
		}
		if err == nil && e.Type().IsRegular() {
			if err = os.Chtimes(path, when, when); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
		return err
	}))
}

func (l *lfsRig) prune(t *testing.T, age time.Duration, keep ...string) int {
	t.Helper()
	l.ageStore(t, age)
	return mustSweep(t, l.Manager, Policy{Keep: keepOnly(keep...), OlderThan: 2 * time.Hour, CheckpointsOlderThan: 30 * 24 * time.Hour}).LFS
}

// W12: files of Git LFS that neither a worktree nor a branch is at go from the rig's store, if the
// remote has them, and come again for who goes back.
func TestLargeFilesThatNobodyNeedsGo(t *testing.T) {
	for _, uid := range []uint32{0, uidA} {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			l := newLFSRig(t, uid)
			old := l.worktree(t, "polecat/a/1", uid)
			l.remote.Commit("main", "big.bin", l.lfs.Put("its second version"))
			_, err := l.Prepare(t.Context(), "rig", l.lfs.URL, true, nil)
			must(t, err)
			w := l.worktree(t, "polecat/b/1", uid)
			if n := l.prune(t, 3*time.Hour, old.Branch, w.Branch); n != 0 || !l.stored("the first large file") {
				t.Errorf("%d files were deleted that a worktree is at", n)
			}
			must(t, os.WriteFile(filepath.Join(l.rigs["rig"].lfsStore(), "tmp", "object-1"), nil, 0o600))
			must(t, l.Remove(t.Context(), "rig", old.Branch, true))
			if n := l.prune(t, time.Minute, w.Branch); n != 0 {
				t.Errorf("%d files were deleted that were needed a minute ago", n)
			}
			git(t, l.rigs["rig"].repo, "update-ref", "-d", "refs/heads/polecat/a/1")
			if n := l.prune(t, 3*time.Hour, w.Branch); n != 1 || l.stored("the first large file") || !l.stored("its second version") || !l.stored("the other large file") {
				t.Errorf("%d files were deleted, want the old version of one", n)
			}
			if half, _ := os.ReadDir(filepath.Join(l.rigs["rig"].lfsStore(), "tmp")); len(half) > 0 {
				t.Errorf("what was half there is left: %v", half)
			}
			out, err := l.agent(t, w, "git checkout -q "+old.Base+"; cat big.bin; git checkout -q -; cat big.bin; git status --porcelain")
			if err != nil || out != "the first large fileits second version" {
				t.Errorf("an agent that goes back: %v\n%s", err, out)
			}
			if got := read(t, filepath.Join(l.worktree(t, "polecat/c/1", uid).Dir, "big.bin")); got != "its second version" {
				t.Errorf("a new worktree holds %q", got)
			}
		})
	}
}

// F11: what no remote has stays, each version of it, as long as a commit here does, and some time after.
func TestLargeFilesThatTheRemoteLacksStay(t *testing.T) {
	l := newLFSRig(t, uidA)
	w := l.worktree(t, "polecat/a/1", uidA)
	out, err := l.agent(t, w, "printf one >x.bin; git add .; git commit -qm one; printf two >x.bin; git commit -qam two; printf uncommitted >u.bin")
	if err != nil {
		t.Fatal(err, out)
	}
	_, err = l.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{})
	must(t, err)
	must(t, l.Remove(t.Context(), "rig", w.Branch, true))
	if n := l.prune(t, 100*24*time.Hour); n != 0 || !l.stored("one") || !l.stored("two") || !l.stored("uncommitted") {
		t.Errorf("%d files were deleted that are nowhere else", n)
	}
	repo := l.rigs["rig"].repo
	for _, ref := range []string{"refs/heads/polecat/a/1", "refs/town/checkpoints/agent"} {
		git(t, repo, "update-ref", "-d", ref)
	}
	if n := l.prune(t, 29*24*time.Hour); n != 0 || !l.stored("one") {
		t.Errorf("%d files were deleted that the remote lacks", n)
	}
	if n := l.prune(t, 31*24*time.Hour); n != 3 || !l.stored("the first large file") {
		t.Errorf("%d files were deleted, want the three that no commit names any more", n)
	}
}

func TestLargeFilesStayWhileTheRemoteCannotBeAsked(t *testing.T) {
	l := newLFSRig(t, 0)
	w := l.worktree(t, "polecat/a/1", 0)
	l.remote.Commit("main", "big.bin", l.lfs.Put("its second version"))
	_, err := l.Prepare(t.Context(), "rig", l.lfs.URL, true, nil)
	must(t, err)
	must(t, l.Remove(t.Context(), "rig", w.Branch, true))
	git(t, l.rigs["rig"].repo, "update-ref", "-d", headsPrefix+w.Branch)
	l.ageStore(t, 3*time.Hour)
	credential := l.c.Credential
	l.c.Credential = func(context.Context, string, string) (Credential, error) { return Credential{}, nil }
	swept, err := l.Sweep(t.Context(), Policy{Keep: keepOnly(), OlderThan: 2 * time.Hour})
	if !errors.Is(err, ErrAuth) || swept.LFS != 0 || !l.stored("the first large file") {
		t.Errorf("Sweep() = %+v, %v", swept, err)
	}
	l.c.Credential = credential
	over := Policy{Keep: keepOnly(), QuotaBytes: 1} // a rig over its quota does not wait for the age
	if swept := mustSweep(t, l.Manager, over); swept.LFS != 1 || l.stored("the first large file") || !l.stored("the other large file") {
		t.Errorf("Sweep() of a rig over its quota = %+v", swept)
	}
}

// A sweep takes no file from a worktree that is being made, though nobody needed it for long.
func TestLargeFilesOfANewWorktreeAreNotSweptAway(t *testing.T) {
	l := newLFSRig(t, 0)
	var commits []string
	for i := range 3 {
		commits = append(commits, l.remote.Commit("main", "big.bin", l.lfs.Put(fmt.Sprint("version ", i))))
	}
	l.worktree(t, "polecat/first/1", 0)
	stop, done := make(chan struct{}), make(chan error)
	go func() { // ends with stop
		var errs []error
		for {
			select {
			case <-stop:
				done <- errors.Join(errs...)
				return
			default:
			}
			l.ageStore(t, 3*time.Hour)
			_, err := l.Sweep(context.Background(), Policy{Keep: func(_, _ string) bool { return true }, OlderThan: 2 * time.Hour})
			errs = append(errs, err)
		}
	}()
	for i := range 12 {
		s := Spec{RigID: "rig", URL: l.lfs.URL, Branch: fmt.Sprint("polecat/n/", i), StartPoint: commits[i%3], Name: "n", Email: "n@example.com"}
		w := mustWorktree(t, l.Manager, s)
		if got, want := read(t, filepath.Join(w.Dir, "big.bin")), fmt.Sprint("version ", i%3); got != want {
			t.Errorf("worktree %d holds %q, want %q", i, got, want)
		}
		must(t, l.Remove(t.Context(), "rig", w.Branch, true))
		git(t, l.rigs["rig"].repo, "update-ref", "-d", headsPrefix+w.Branch)
	}
	close(stop)
	must(t, <-done)
}
