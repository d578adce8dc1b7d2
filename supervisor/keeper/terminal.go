package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

// Terminal is what the kernel knows of the input of a run's terminal. It holds
// for the moment it was asked.
type Terminal struct {
	Canonical bool `json:"canonical"` // collects lines; else keys pass as they are pressed
	Echo      bool `json:"echo"`      // shows what is typed by itself
	// Unread is how many bytes a program could read and has not: in a canonical
	// terminal those of finished lines.
	Unread int `json:"unread"`
	Line   int `json:"line"` // bytes of the unfinished line that Input has left in a canonical terminal
	// Flushes counts how often unread input was thrown away (TCSAFLUSH, tcflush, a
	// signal's key). Input that is neither unread nor flushed has been read.
	Flushes int64   `json:"flushes"`
	Reading Reading `json:"reading"`
	Given   *Given  `json:"given,omitempty"` // the input that was asked about, nil unless it is known
}

// Given is an input with an id that went in whole.
type Given struct {
	Flushes int64 `json:"flushes"` // Terminal.Flushes before it
}

// Reading tells whether a program of the terminal's foreground group is blocked
// in a read of the terminal.
type Reading string

// ReadingUnknown is for where the kernel does not show what a process is blocked
// in: an agent of another user, in a container without CAP_SYS_PTRACE.
const (
	ReadingYes     Reading = "yes"
	ReadingNo      Reading = "no"
	ReadingUnknown Reading = "unknown"
)

// watchFlushes makes the kernel tell when input is thrown away (TIOCPKT in
// ioctl_tty(2)): outputReader counts it.
func (t *terminal) watchFlushes() error {
	var err error
	if e := t.control(func(fd uintptr) { err = unix.IoctlSetPointerInt(int(fd), unix.TIOCPKT, 1) }); e != nil {
		return e
	}
	t.packet = err == nil
	return err
}

// outputReader reads what programs print.
type outputReader struct {
	t    *terminal
	conn syscall.RawConn
	buf  []byte
	n    int
	err  error
}

func (t *terminal) newOutputReader() (*outputReader, error) {
	conn, err := t.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &outputReader{t: t, conn: conn, buf: make([]byte, 4096)}, nil // one read of a terminal never returns more
}

// read returns what was printed, in the reader's own buffer, perhaps nothing. In
// packet mode each read begins with a byte that says what it is.
func (o *outputReader) read() ([]byte, error) {
	if err := o.conn.Read(o.once); err != nil {
		return nil, err
	}
	switch {
	case o.err != nil:
		return nil, o.err
	case o.n == 0:
		return nil, io.EOF
	case !o.t.packet:
		return o.buf[:o.n], nil
	case o.buf[0] == unix.TIOCPKT_DATA:
		return o.buf[1:o.n], nil
	}
	return nil, nil
}

// once reads if something is there. That a flush was told and that it is counted
// are one step for whoever holds the lock.
func (o *outputReader) once(fd uintptr) (done bool) {
	o.t.telling.Lock()
	defer o.t.telling.Unlock()
	for {
		o.n, o.err = unix.Read(int(fd), o.buf)
		if !errors.Is(o.err, unix.EINTR) {
			break
		}
	}
	if o.t.packet && o.n > 0 && o.buf[0]&unix.TIOCPKT_FLUSHREAD != 0 {
		o.t.flushes++
	}
	return !errors.Is(o.err, unix.EAGAIN)
}

// flushed returns how often unread input was thrown away.
func (t *terminal) flushed() int64 {
	t.telling.Lock()
	defer t.telling.Unlock()
	return t.flushes
}

// unread returns how many bytes could be read, and how often such bytes were
// thrown away until then. The kernel tells a flush before it shows its effect
// (n_tty.c: both under termios_rwsem), so that input which is gone and not counted
// was read.
func (t *terminal) unread(ctx context.Context) (n int, flushes int64, err error) {
	conn, err := t.slave.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	for {
		told := true
		t.telling.Lock()
		if e := conn.Control(func(fd uintptr) { n, err = unreadOf(int(fd)) }); e != nil {
			err = e
		}
		if err == nil {
			told, err = t.allTold()
		}
		flushes = t.flushes
		t.telling.Unlock()
		if told || err != nil {
			return n, flushes, err
		}
		select { // until live has read it
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return 0, 0, fmt.Errorf("output is not read: %w", town.ErrUnavailable)
		}
	}
}

// unreadOf returns how many bytes could be read from a slave. What was written to
// the master reaches the slave's buffer later, by a worker of the kernel; polling a
// slave with nothing to read waits for that worker (n_tty_poll).
func unreadOf(slave int) (int, error) {
	for range 3 {
		fds := []unix.PollFd{{Fd: int32(slave), Events: unix.POLLIN}}
		ready, err := unix.Poll(fds, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		n, err := unix.IoctlGetInt(slave, unix.TIOCINQ)
		if err != nil || n > 0 || ready == 0 {
			return n, err
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			return 0, unix.EIO // hung up
		}
		// It was read between the two, and more may be on its way; or it is an end
		// of file that nobody has read, which counts as no byte.
	}
	return 1, nil
}

// allTold reports that no flush waits to be read by an outputReader.
func (t *terminal) allTold() (told bool, err error) {
	if e := t.control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		if _, err = unix.Poll(fds, 0); errors.Is(err, unix.EINTR) {
			err = nil
			return // asked again
		}
		told = fds[0].Revents&unix.POLLPRI == 0
	}); e != nil {
		return false, e
	}
	return told, err
}

// foreground returns the process group that the terminal listens to.
func (t *terminal) foreground() (group int, err error) {
	if e := t.control(func(fd uintptr) { group, err = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP) }); e != nil {
		return 0, e
	}
	return group, err
}

// peer opens the program's side once more, as a file of its own that does not
// block: the flags of the one that programs have are theirs.
func (t *terminal) peer() (int, error) {
	var fd uintptr
	var errno unix.Errno
	if err := t.control(func(master uintptr) {
		fd, _, errno = unix.Syscall(unix.SYS_IOCTL, master, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC)
	}); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

// state returns what is known of the terminal's input, and of the one with an id.
func (in *input) state(ctx context.Context, leader int, id string) (Terminal, error) {
	if in.term == nil {
		return Terminal{}, fmt.Errorf("input is a pipe, not the terminal: %w", town.ErrConflict)
	}
	if err := in.take(ctx); err != nil { // else a write under way would be seen in part
		return Terminal{}, err
	}
	defer in.release()
	st := Terminal{Line: in.unfinished()}
	if g, known := in.find(id); known {
		st.Given = &Given{Flushes: g.flushes}
	}
	for {
		mode, err := in.term.mode()
		if err != nil {
			return Terminal{}, closedInput(err)
		}
		group, err := in.term.foreground()
		if err != nil {
			return Terminal{}, closedInput(err)
		}
		st.Reading = reading(leader, group, in.term.slave.Name())
		// Flushes are counted after that: one before a program began to read is then known.
		if st.Unread, st.Flushes, err = in.term.unread(ctx); errors.Is(err, town.ErrUnavailable) {
			return Terminal{}, err
		} else if err != nil {
			return Terminal{}, closedInput(err)
		}
		after, err := in.term.mode()
		if err != nil {
			return Terminal{}, closedInput(err)
		}
		if after.Lflag == mode.Lflag || ctx.Err() != nil { // else a program may read in the one and not in the other
			st.Canonical, st.Echo = after.Lflag&unix.ICANON != 0, after.Lflag&unix.ECHO != 0
			return st, nil
		}
	}
}

// takeBack takes what no program has read out of the terminal again, the line
// that is unfinished included. Lines and keys are read one call at a time under
// the kernel's lock: what it returns, no program has got or will get.
func (in *input) takeBack(ctx context.Context) ([]byte, error) {
	if in.term == nil {
		return nil, fmt.Errorf("input is a pipe, not the terminal: %w", town.ErrConflict)
	}
	if err := in.take(ctx); err != nil {
		return nil, err
	}
	defer in.release()
	fd, err := in.term.peer()
	if err != nil {
		return nil, closedInput(err)
	}
	defer func() { _ = unix.Close(fd) }()
	var taken []byte
	for buf := make([]byte, 4096); ; {
		n, err := unix.Read(fd, buf)
		switch {
		case n > 0:
			taken = append(taken, buf[:n]...)
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && !errors.Is(err, unix.EAGAIN):
			return taken, closedInput(err)
		}
		return taken, in.eraseLine(ctx)
	}
}

// eraseLine types the key that erases the unfinished line, which nobody can read.
func (in *input) eraseLine(ctx context.Context) error {
	mode, err := in.term.mode()
	if err != nil {
		return closedInput(err)
	}
	if mode.Lflag&unix.ICANON == 0 || in.unfinished() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second) // a canonical terminal takes keys, whoever reads
	defer cancel()
	if err := in.writeAll(ctx, []byte{mode.Cc[unix.VKILL]}); err != nil {
		return err
	}
	in.line = 0
	return nil
}

// unfinished returns the bytes of the line that input has left unfinished. The
// caller has the turn.
func (in *input) unfinished() int {
	if flushes := in.term.flushed(); flushes != in.lineFlushes {
		in.line, in.lineFlushes = 0, flushes
	}
	return in.line
}

// maxReaders bounds the processes that are looked at for a reader.
const maxReaders = 64

// reading looks among the leader and what descends from it.
func reading(leader, group int, tty string) Reading {
	answer := ReadingNo
	queue := []int{leader}
	for looked := 0; looked < len(queue); looked++ {
		if looked == maxReaders {
			return ReadingUnknown
		}
		pid := queue[looked]
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			continue // gone
		}
		inGroup := groupOf(pid) == group
		for _, task := range tasks {
			dir := fmt.Sprintf("/proc/%d/task/%s/", pid, task.Name())
			if children, err := os.ReadFile(dir + "children"); err == nil {
				for child := range bytes.FieldsSeq(children) {
					if n, err := strconv.Atoi(string(child)); err == nil {
						queue = append(queue, n)
					}
				}
			}
			if !inGroup {
				continue
			}
			switch readingTask(dir, pid, tty) {
			case ReadingYes:
				return ReadingYes
			case ReadingUnknown:
				answer = ReadingUnknown
			case ReadingNo:
			}
		}
	}
	return answer
}

func groupOf(pid int) int {
	var p Proc
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || p.parseStat(text) != nil {
		return -1
	}
	return p.PGID
}

// readingTask reports whether a thread is blocked in read(2) of the terminal; see
// proc_pid_syscall(5).
func readingTask(dir string, pid int, tty string) Reading {
	text, err := os.ReadFile(dir + "syscall")
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return ReadingNo // gone meanwhile
		}
		return ReadingUnknown // not ours to see, or a kernel without CONFIG_HAVE_ARCH_TRACEHOOK
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 || fields[0] != strconv.Itoa(unix.SYS_READ) {
		return ReadingNo
	}
	fd, err := strconv.ParseUint(fields[1], 0, 31)
	if err != nil {
		return ReadingNo
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if err != nil {
		return ReadingUnknown
	}
	if name == tty || name == "/dev/tty" {
		return ReadingYes
	}
	return ReadingNo
}
