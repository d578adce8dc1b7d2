package keeper

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// onThread runs f on an operating system thread of its own that ends with it, so
// that f may change what belongs to a thread alone: its users, its privileges.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		// The first thread would not end but stay, with what f did to it. While
		// this goroutine holds it, another one cannot get it.
		if unix.Gettid() == unix.Getpid() {
			err := onThread(f)
			runtime.UnlockOSThread()
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}

// become makes the calling thread's effective user uid, and its others GuardUID:
// its signals reach processes of uid only, and none of them can touch it. The
// plain system call changes this thread only, unlike syscall.Setresuid.
func become(uid uint32) error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, GuardUID, uintptr(uid), GuardUID)
	if errno != 0 {
		return fmt.Errorf("become user %d: %w", uid, errno)
	}
	return nil
}

// signalAll sends each signal to all processes that the calling thread may send
// one to, at once. No process can fork its way out: the kernel holds the list of
// processes meanwhile, and a fork under way fails when its process has a signal
// to take.
func signalAll(signals []syscall.Signal) error {
	for _, sig := range signals {
		if err := syscall.Kill(-1, sig); err != nil && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("%s to all: %w", signalName(sig), err)
		}
	}
	return nil
}

func agentUser(uid uint32) error {
	if uid == 0 || uid == GuardUID || uid == uint32(unix.Getuid()) {
		return fmt.Errorf("signal user %d: it is not an agent's", uid)
	}
	return nil
}

// signalUser sends each signal to every process of the user, from a new thread.
func signalUser(uid uint32, signals ...syscall.Signal) error {
	if err := agentUser(uid); err != nil {
		return err
	}
	return onThread(func() error {
		if err := become(uid); err != nil {
			return err
		}
		return signalAll(signals)
	})
}

// killer does what signalUser does on one thread for all: a new one cannot be had
// when an agent has used up the processes of the container, and Go ends a
// program that needs one then. Of root's powers the thread keeps the one to
// change its user, and not the one to signal everybody.
type killer struct{ jobs chan func() }

// newKiller returns a killer whose thread ends when done is closed.
func newKiller(done <-chan struct{}) (*killer, error) {
	k := &killer{jobs: make(chan func())}
	ready := make(chan error, 1)
	go func() {
		_ = onThread(func() error {
			ready <- keepOnlySetuid()
			for {
				select {
				case job := <-k.jobs:
					job()
				case <-done:
					return nil
				}
			}
		})
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("prepare to signal users: %w", err)
	}
	return k, nil
}

// keepOnlySetuid makes the calling thread GuardUID with CAP_SETUID alone.
func keepOnlySetuid() error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := become(GuardUID); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SETUID, Permitted: 1 << unix.CAP_SETUID}}
	return unix.Capset(&header, &data[0])
}

func (k *killer) signalUser(uid uint32, signals ...syscall.Signal) error {
	if err := agentUser(uid); err != nil {
		return err
	}
	result := make(chan error, 1)
	k.jobs <- func() {
		err := become(uid)
		if err == nil {
			err = errors.Join(signalAll(signals), become(GuardUID))
		}
		result <- err
	}
	return <-result
}

// stockThreads makes the Go runtime have n threads in store, which it never gives
// back: it would end the program if it needed one when none can be made.
func stockThreads(n int) {
	var all, done sync.WaitGroup
	all.Add(n)
	for range n {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		})
	}
	done.Wait()
}

// signalProcess sends each signal to exactly that process, and to none if its
// pid meanwhile belongs to another.
func signalProcess(key procKey, signals ...syscall.Signal) error {
	fd, err := unix.PidfdOpen(key.pid, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if start, err := startTime(key.pid); err != nil || start != key.start {
		return syscall.ESRCH
	}
	for _, sig := range signals {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
			return err
		}
	}
	return nil
}

// chooseRung returns the best rung this process may use, and why it is not
// RungUID if it is not.
func chooseRung() (Rung, string) {
	if unix.Geteuid() != 0 {
		return RungSubreaper, "not root"
	}
	if why := lacksCapability(); why != "" {
		return RungSubreaper, why
	}
	if err := onThread(keepOnlySetuid); err != nil {
		return RungSubreaper, err.Error()
	}
	procs, err := scan(scanUsers)
	if err != nil {
		return RungSubreaper, err.Error()
	}
	for _, p := range procs {
		if p.PID != unix.Getpid() && p.owned(GuardUID) {
			return RungSubreaper, fmt.Sprintf("process %d belongs to user %d", p.PID, GuardUID)
		}
	}
	return RungUID, ""
}

// lacksCapability names a capability that RungUID needs and this process lacks.
func lacksCapability() string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err.Error()
	}
	for _, c := range []struct {
		bit  int
		name string
	}{
		{unix.CAP_SETUID, "CAP_SETUID"}, {unix.CAP_SETGID, "CAP_SETGID"}, {unix.CAP_KILL, "CAP_KILL"}, {unix.CAP_CHOWN, "CAP_CHOWN"},
	} {
		if data[0].Effective&(1<<c.bit) == 0 {
			return "no " + c.name
		}
	}
	return ""
}

// owned reports whether the process can act as the user: by its real, effective
// or saved user.
func (p Proc) owned(uid uint32) bool {
	return p.uids[0] == uid || p.uids[1] == uid || p.uids[2] == uid
}
