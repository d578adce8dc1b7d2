package keeper

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"townd/town"
)

// terminal is a pseudo-terminal. We keep its slave open until the tree is gone,
// so that reading the master ends (EIO) then and not each time that nobody of
// the tree happens to have it open.
type terminal struct {
	*os.File // the master: reads, writes, deadlines

	control func(func(fd uintptr)) error // runs on the master's descriptor
	slave   *os.File
	packet  bool // reads begin with a byte that says what they are

	telling sync.Mutex
	flushes int64 // of unread input, as packets told
}

// openTerminal returns a terminal of a size, raw or with the line discipline
// that shells expect, owned by a user when uid is not 0.
func openTerminal(cols, rows uint16, raw bool, uid, gid uint32) (*terminal, error) {
	first, slave, err := pty.Open()
	if err != nil {
		return nil, exhausted("open a terminal", err)
	}
	defer func() { _ = first.Close() }()
	t := &terminal{slave: slave}
	if err := t.prepare(first, cols, rows, raw, uid, gid); err != nil {
		t.close()
		return nil, fmt.Errorf("prepare terminal: %w", err)
	}
	return t, nil
}

func (t *terminal) prepare(first *os.File, cols, rows uint16, raw bool, uid, gid uint32) error {
	// creack/pty calls File.Fd, which makes its file blocking: deadlines would be
	// ignored and Close would not end a Read (creack/pty v1.1.24 ioctl.go). So
	// the master is a file of its own on the same terminal.
	fd, err := unix.FcntlInt(first.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	t.File = os.NewFile(uintptr(fd), first.Name())
	conn, err := t.SyscallConn()
	if err != nil {
		return err
	}
	t.control = conn.Control
	if err := t.resize(cols, rows); err != nil {
		return err
	}
	slave := int(t.slave.Fd()) // blocking from here on, as programs expect it
	if raw {
		if _, err := term.MakeRaw(slave); err != nil {
			return err
		}
	} else if err := editUTF8(slave); err != nil {
		return err
	}
	if uid == 0 {
		return nil
	}
	// Else the program could not open /dev/stdout, and others could open it.
	if err := t.slave.Chown(int(uid), int(gid)); err != nil {
		return err
	}
	return t.slave.Chmod(0o600)
}

// editUTF8 makes the terminal erase whole characters, not bytes.
func editUTF8(fd int) error {
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	mode.Iflag |= unix.IUTF8
	return unix.IoctlSetTermios(fd, unix.TCSETS, mode)
}

func (t *terminal) resize(cols, rows uint16) error {
	var err error
	if e := t.control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: cols, Row: rows})
	}); e != nil {
		return e
	}
	return err
}

// mode returns how the terminal treats what is typed now.
func (t *terminal) mode() (*unix.Termios, error) {
	var mode *unix.Termios
	var err error
	if e := t.control(func(fd uintptr) { mode, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }); e != nil {
		return nil, e
	}
	return mode, err
}

// close hangs the terminal up.
func (t *terminal) close() {
	_ = t.slave.Close()
	if t.File != nil {
		_ = t.Close()
	}
}

// exhausted names what the machine has run out of, as a CapacityError; any other
// error it returns with what was being done.
func exhausted(doing string, err error) error {
	var what string
	switch {
	case errors.Is(err, unix.ENOSPC):
		what = "no pseudo-terminal is left (kernel.pty.max, or the max= of its devpts mount)"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		what = "no file descriptor is left"
	case errors.Is(err, unix.EAGAIN):
		what = "no process may be added (a limit of the user or of the container's pids)"
	case errors.Is(err, unix.ENOMEM):
		what = "no memory is left for a process"
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
	return &town.CapacityError{What: doing + ": " + what, RetryAfter: 5 * time.Second}
}
