package keeper

import (
	"errors"
	"os"
	"sync"
	"syscall"
)

// reaper waits for every child of the process, ours and the orphans we inherit.
// Nobody else in the process may wait for a child. It is safe for concurrent use.
type reaper struct {
	orphan func() // called for each child that was not started with start

	// Who starts a child holds it for reading until the child is registered; it
	// also keeps the pid of an ended child from being used again.
	births sync.RWMutex
	mu     sync.Mutex
	own    map[int]func(syscall.WaitStatus) // by pid
}

func newReaper(orphan func()) *reaper {
	return &reaper{orphan: orphan, own: map[int]func(syscall.WaitStatus){}}
}

// start forks by fork and calls started, and later, from the reaper's goroutine,
// ended. Both must be quick.
func (p *reaper) start(fork func() (int, error), started func(pid int), ended func(syscall.WaitStatus)) error {
	p.births.RLock()
	defer p.births.RUnlock()
	pid, err := fork()
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.own[pid] = ended
	p.mu.Unlock()
	started(pid)
	return nil
}

// ifRunning calls f while pid, which start returned, cannot be used again. It
// reports false, without calling f, when that child is reaped.
func (p *reaper) ifRunning(pid int, f func() error) (bool, error) {
	p.births.RLock()
	defer p.births.RUnlock()
	p.mu.Lock()
	_, ok := p.own[pid]
	p.mu.Unlock()
	if !ok {
		return false, nil
	}
	return true, f()
}

// loop reaps on each SIGCHLD until done is closed.
func (p *reaper) loop(chld <-chan os.Signal, done <-chan struct{}) {
	for {
		p.reap()
		select {
		case <-chld:
		case <-done:
			return
		}
	}
}

// reap takes every child that has ended.
func (p *reaper) reap() {
	for {
		var status syscall.WaitStatus
		p.births.Lock()
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		p.mu.Lock()
		ended := p.own[pid]
		delete(p.own, pid)
		p.mu.Unlock()
		p.births.Unlock()
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil || pid <= 0:
			return
		case ended != nil:
			ended(status)
		default:
			p.orphan()
		}
	}
}
