package gitmgr

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestLockIsHeldByInheritingChildren(t *testing.T) {
	m := newManager(t)
	path := filepath.Join(t.TempDir(), "lock")
	l, err := m.lockFile(t.Context(), path)
	must(t, err)
	child := exec.Command("cat") // as git of ours: it inherits the lock and outlives us
	in, err := child.StdinPipe()
	must(t, err)
	child.ExtraFiles = []*os.File{l.f}
	must(t, child.Start())
	l.release()

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.lockFile(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("lock of a living child: %v", err)
	}
	// The holder is this process, which lives: its children are waited for, however long.
	m.orphans = 0
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := m.lockFile(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("lock of a living holder: %v", err)
	}
	must(t, in.Close())
	must(t, child.Wait())
	l, err = m.lockFile(t.Context(), path)
	must(t, err)
	l.release()
}

func TestOrphanOfADeadHolderIsKilledAndNobodyElse(t *testing.T) {
	m := newManager(t)
	path := filepath.Join(t.TempDir(), "lock")
	for _, record := range []string{`{"pid":1,"start":1}`, `{"pid":999999999,"start":5}`, "", "{torn"} {
		l, err := m.lockFile(t.Context(), path)
		must(t, err)
		orphan := exec.Command("cat")
		_, err = orphan.StdinPipe() // it waits for input that never comes
		must(t, err)
		orphan.ExtraFiles = []*os.File{l.f}
		must(t, orphan.Start())
		l.release()
		must(t, os.WriteFile(path, []byte(record), 0o600)) // its holder is gone, or its number is another's now

		open, err := os.Open(path) // as one that waits for the lock
		must(t, err)
		bystander := exec.Command("cat")
		stdin, err := bystander.StdinPipe()
		must(t, err)
		bystander.ExtraFiles = []*os.File{open}
		must(t, bystander.Start())
		must(t, open.Close())

		m.orphans = 20 * time.Millisecond
		l, err = m.lockFile(t.Context(), path)
		must(t, err)
		l.release()
		if err := orphan.Wait(); err == nil {
			t.Error("the orphan ended by itself")
		}
		must(t, stdin.Close())
		if err := bystander.Wait(); err != nil {
			t.Errorf("who only waits for the lock was killed: %v", err)
		}
	}
}

func TestWaitForALockEndsWithItsCaller(t *testing.T) {
	m := newManager(t)
	path := filepath.Join(t.TempDir(), "lock")
	l, err := m.lockFile(t.Context(), path)
	must(t, err)
	defer l.release()
	gone := errors.New("caller gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, err := m.lockFile(ctx, path); !errors.Is(err, gone) {
		t.Errorf("error is %v", err)
	}
}
