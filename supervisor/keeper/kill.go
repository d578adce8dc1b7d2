package keeper

import (
	"errors"
	"fmt"
	"runtime"
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

// signalUser sends each signal to all processes of the user at once. No process
// of it can fork its way out: the kernel holds the list of processes meanwhile,
// and a fork in progress fails when its process has a signal to take.
func signalUser(uid uint32, signals ...syscall.Signal) error {
	if uid == 0 || uid == GuardUID || uid == uint32(unix.Getuid()) {
		return fmt.Errorf("signal user %d: it is not an agent's", uid)
	}
	return onThread(func() error {
		if err := become(uid); err != nil {
			return err
		}
		for _, sig := range signals {
			if err := syscall.Kill(-1, sig); err != nil && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.EPERM) {
				return fmt.Errorf("signal user %d: %w", uid, err)
			}
		}
		return nil
	})
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
	if err := onThread(func() error { return become(GuardUID) }); err != nil {
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
