package gitmgr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// orphanGrace is how long git of a dead server may go on before it is ended.
const orphanGrace = 10 * time.Second

// gate is a mutex whose wait ends with a context.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }

// lock is a held lock file. Git children inherit its descriptor, so that it stays
// held while one of them lives, also when its server was killed. It is open for
// reading only: a child that runs as an agent cannot change the holder's record.
type lock struct{ f *os.File }

// holder is the record in a lock file: who took it last.
type holder struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot: a PID alone may be anyone's
}

// lockFile takes the lock at path. A holder that lives is waited for. Git left by
// a holder that was killed gets some time to end, then it is killed: the
// processes that hold the file are found in /proc, so none is missed and none
// other is hit.
func (m *Manager) lockFile(ctx context.Context, path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	var waited time.Duration
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if waited > m.orphans && !holderLives(path) {
			killHolders(f)
			waited = 0
		}
		// flock has no form that ends with a context but one thread per waiter.
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for %s: %w", path, context.Cause(ctx)), f.Close())
		case <-time.After(pause):
			waited += pause
		}
	}
	if err := recordHolder(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &lock{f}, nil
}

// release gives the lock up, unless a child that was left still holds it.
func (l *lock) release() { _ = l.f.Close() }

func recordHolder(path string) error {
	self, err := self()
	if err != nil {
		return err
	}
	record, err := json.Marshal(self)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(record)
	return errors.Join(err, f.Close())
}

// holderLives reports whether the process that took the lock last still runs. A
// record that cannot be read was cut off by a crash.
func holderLives(path string) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	var h holder
	if json.Unmarshal(b, &h) != nil {
		return false
	}
	start, err := startTime(h.PID)
	return err == nil && start == h.Start
}
