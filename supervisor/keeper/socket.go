package keeper

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"townd/sock"
	"townd/town"
)

// lockDir makes dir, private to us, and locks it until the file is closed or the
// process ends. town.ErrConflict means that another keeper has it.
func lockDir(dir string) (*os.File, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("keeper directory %q must be an absolute path: %w", dir, town.ErrInvalid)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeper directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeper directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keeper lock: %w", err)
	}
	if err := writeLock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func writeLock(f *os.File) error {
	err := Flock(f)
	if errors.Is(err, town.ErrConflict) {
		pid, _ := os.ReadFile(f.Name()) // only to be told
		return fmt.Errorf("another keeper (pid %s) runs in %s: %w", strings.TrimSpace(string(pid)), filepath.Dir(f.Name()), town.ErrConflict)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		return fmt.Errorf("keeper lock: %w", err)
	}
	return nil
}

// listen returns the keeper's listener in dir, whose lock the caller holds: a
// socket that exists is that of a dead keeper.
func listen(dir string) (net.Listener, error) {
	l, err := sock.Listen(filepath.Join(dir, socketName), 0o600)
	if err != nil {
		return nil, fmt.Errorf("keeper socket: %w", err)
	}
	return &ownListener{l}, nil
}

// ownListener accepts connections of our own user and of root only.
type ownListener struct{ net.Listener }

func (l *ownListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUser(conn); err == nil && (uid == 0 || uid == uint32(os.Geteuid())) {
			return conn, nil
		}
		_ = conn.Close()
	}
}

func peerUser(conn net.Conn) (uint32, error) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}
