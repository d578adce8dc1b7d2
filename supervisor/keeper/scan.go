package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Proc is one process as /proc showed it.
type Proc struct {
	PID, PPID, PGID, SID int
	State                byte   // R, S, D, T, Z …; see Alive
	Start                uint64 // clock ticks since boot; with PID it names the process for ever
	UID                  uint32 // real
	RSSBytes             int64
	CPUTicks             uint64 // user and system, of all its threads; clock ticks
	Threads              int

	uids [3]uint32 // real, effective, saved
}

// Alive reports whether the process can still do anything. One whose first
// thread has ended shows state Z while its other threads run on.
func (p Proc) Alive() bool {
	return p.State != 'Z' && p.State != 'X' || p.Threads > 1
}

// procKey names a process for ever; a pid alone is used again.
type procKey struct {
	pid   int
	start uint64
}

func (p Proc) key() procKey { return procKey{p.PID, p.Start} }

var pageSize = int64(os.Getpagesize())

// Scan reads every process of /proc once. What vanishes meanwhile is skipped.
// It is safe for concurrent use.
func Scan() ([]Proc, error) { return scan(scanStat | scanUsers) }

// scanWhat says which files of each process to read: each costs some 5 µs.
type scanWhat int

const (
	scanStat  scanWhat = 1 << iota // all but the users
	scanUsers                      // users, state and threads
)

func scan(what scanWhat) ([]Proc, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("scan processes: %w", err)
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("scan processes: %w", err)
	}
	procs := make([]Proc, 0, len(names))
	buf := make([]byte, 8192)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		p, err := readProc(int(dir.Fd()), pid, what, buf)
		switch {
		case err == nil:
			procs = append(procs, p)
		case !vanished(err):
			return nil, fmt.Errorf("scan process %d: %w", pid, err)
		}
	}
	return procs, nil
}

// vanished reports whether a process is gone, or hidden from us (hidepid): then
// it is none that we or a program of ours has started.
func vanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) ||
		errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
}

func readProc(proc, pid int, what scanWhat, buf []byte) (Proc, error) {
	p := Proc{PID: pid}
	name := strconv.Itoa(pid)
	if what&scanStat != 0 {
		text, err := readAt(proc, name+"/stat", buf)
		if err != nil {
			return p, err
		}
		if err := p.parseStat(text); err != nil {
			return p, err
		}
	}
	if what&scanUsers != 0 {
		text, err := readAt(proc, name+"/status", buf)
		if err != nil {
			return p, err
		}
		if err := p.parseStatus(text); err != nil {
			return p, err
		}
	}
	return p, nil
}

// readAt reads a small file into buf with three system calls.
func readAt(dir int, path string, buf []byte) ([]byte, error) {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// parseStat reads the fields of proc_pid_stat(5) after the name, which may
// itself hold spaces and brackets.
func (p *Proc) parseStat(text []byte) error {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 22 {
		return fmt.Errorf("stat %.200q: too few fields", text)
	}
	p.State = fields[0][0]
	var utime, stime uint64
	var pages int64
	var errs []error
	number := func(i int, set func(string) error) { errs = append(errs, set(string(fields[i]))) }
	signed := func(to *int) func(string) error {
		return func(s string) (err error) { *to, err = strconv.Atoi(s); return err }
	}
	unsigned := func(to *uint64) func(string) error {
		return func(s string) (err error) { *to, err = strconv.ParseUint(s, 10, 64); return err }
	}
	number(1, signed(&p.PPID))
	number(2, signed(&p.PGID))
	number(3, signed(&p.SID))
	number(11, unsigned(&utime))
	number(12, unsigned(&stime))
	number(17, signed(&p.Threads))
	number(19, unsigned(&p.Start))
	number(21, func(s string) (err error) { pages, err = strconv.ParseInt(s, 10, 64); return err })
	p.CPUTicks, p.RSSBytes = utime+stime, pages*pageSize
	return errors.Join(errs...)
}

// parseStatus reads users, state and threads from proc_pid_status(5).
func (p *Proc) parseStatus(text []byte) error {
	var found int
	p.Threads = 1 // unless told: a very long list of groups pushes it out of the buffer
	for line := range bytes.Lines(text) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		fields := bytes.Fields(value)
		switch {
		case len(fields) == 0:
		case string(name) == "State":
			p.State = fields[0][0]
			found++
		case string(name) == "Threads":
			n, err := strconv.Atoi(string(fields[0]))
			if err != nil {
				return fmt.Errorf("status, Threads: %w", err)
			}
			p.Threads = n
		case string(name) == "Uid" && len(fields) >= 3:
			for i := range p.uids {
				n, err := strconv.ParseUint(string(fields[i]), 10, 32)
				if err != nil {
					return fmt.Errorf("status, Uid: %w", err)
				}
				p.uids[i] = uint32(n)
			}
			p.UID = p.uids[0]
			found++
		}
	}
	if found != 2 {
		return fmt.Errorf("status %.200q: State or Uid is missing", text)
	}
	return nil
}

// startTime returns when a process started, in clock ticks since boot.
func startTime(pid int) (uint64, error) {
	var p Proc
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		err = p.parseStat(text)
	}
	return p.Start, err
}

// marker returns the run id that a process was started with, "" for none or one
// that may not be read.
func marker(pid int) string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	env, err := io.ReadAll(io.LimitReader(f, 4<<20))
	if err != nil {
		return ""
	}
	prefix := []byte(MarkerEnv + "=")
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if value, ok := bytes.CutPrefix(entry, prefix); ok {
			return string(value)
		}
	}
	return ""
}
