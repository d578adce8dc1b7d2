package gitmgr

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// self returns the record of this process.
var self = sync.OnceValues(func() (holder, error) {
	start, err := startTime(os.Getpid())
	return holder{PID: os.Getpid(), Start: start}, err
})

// startTime returns when a process began, in clock ticks since boot.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name may hold spaces and parentheses; field 22 counts from its end (proc(5)).
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// clockSlack is more than the clocks of files and of processes are apart: a tick each.
const clockSlack = 100 * time.Millisecond

// began turns what startTime returns into a time. The unit is the same on every
// machine that Go runs on: USER_HZ is 100 there (time(7)).
func began(start uint64) time.Time {
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(start)*10*time.Millisecond - time.Duration(up.Nano()))
}

// pids lists the processes of this machine but our own.
func pids() []int {
	entries, _ := os.ReadDir("/proc") // without /proc there is nobody to find
	var all []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
			all = append(all, pid)
		}
	}
	return all
}

// killHolders kills every other process that holds the lock on f's file. A pidfd is taken
// before the look, so that no process that got the number later is hit.
func killHolders(f *os.File) {
	var want unix.Stat_t
	if unix.Fstat(int(f.Fd()), &want) != nil {
		return
	}
	for _, pid := range pids() {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if holds(pid, want) {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may have ended: as wanted
		}
		_ = unix.Close(fd)
	}
}

// holds reports whether a process has the file open by a descriptor that is
// locked; who waits for the lock has it open too.
func holds(pid int, want unix.Stat_t) bool {
	proc := fmt.Sprintf("/proc/%d/", pid)
	entries, err := os.ReadDir(proc + "fd")
	if err != nil {
		return false // another user's, or gone
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(proc+"fd/"+e.Name(), &st) != nil || st.Dev != want.Dev || st.Ino != want.Ino {
			continue
		}
		info, err := os.ReadFile(proc + "fdinfo/" + e.Name())
		if err == nil && bytes.Contains(info, []byte("FLOCK")) {
			return true
		}
	}
	return false
}

// gitAlive reports whether a git program of a user works below one of dirs that was
// there at some time: it may hold a lock file of that time. What cannot be looked at
// counts as working there.
func gitAlive(uid uint32, at time.Time, dirs []string) bool {
	for _, pid := range pids() {
		proc := fmt.Sprintf("/proc/%d/", pid)
		var st unix.Stat_t
		if unix.Stat(proc, &st) != nil || st.Uid != uid {
			continue
		}
		comm, err := os.ReadFile(proc + "comm")
		if err != nil || !bytes.HasPrefix(comm, []byte("git")) {
			continue
		}
		if start, err := startTime(pid); err != nil || began(start).After(at.Add(clockSlack)) {
			continue // a zombie, or too young
		}
		if worksBelow(proc, dirs) {
			return true
		}
	}
	return false
}

func worksBelow(proc string, dirs []string) bool {
	cwd, err := os.Readlink(proc + "cwd")
	if err != nil {
		return !os.IsNotExist(err)
	}
	env, _ := os.ReadFile(proc + "environ")
	args, _ := os.ReadFile(proc + "cmdline")
	for _, dir := range dirs {
		if cwd == dir || strings.HasPrefix(cwd, dir+"/") || bytes.Contains(env, []byte(dir)) || bytes.Contains(args, []byte(dir)) {
			return true
		}
	}
	return false
}
