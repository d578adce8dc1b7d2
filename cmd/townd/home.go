package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"townd/supervisor/keeper"
	"townd/town"
)

// openHome makes the town's directory where it is missing. Root's is passable,
// since agents' users go through it to their worktrees; what they must not see in
// it has modes of its own.
func openHome(home string) error {
	if _, err := os.Stat(home); err == nil {
		return nil
	}
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := errors.Join(os.MkdirAll(home, mode), os.Chmod(home, mode)); err != nil {
		return fmt.Errorf("make the town's home: %w", err)
	}
	return nil
}

// blockedPath returns the first directory on the way to path, itself included,
// that other users may not pass through, "" when there is none.
func blockedPath(path string) string {
	for dir := path; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o001 == 0 {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// programForAgents returns a path of our own program that agents' users can run:
// self, or a copy in home when they cannot reach that.
func programForAgents(home, self string) (string, error) {
	if os.Geteuid() != 0 || blockedPath(self) == "" {
		return self, nil
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return "", fmt.Errorf("read our own program: %w", err)
	}
	dir := filepath.Join(home, "bin")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
		return "", fmt.Errorf("copy our own program: %w", err)
	}
	copied := filepath.Join(dir, "townd")
	if err := renameio.WriteFile(copied, program, 0o755, renameio.IgnoreUmask()); err != nil {
		return "", fmt.Errorf("copy our own program: %w", err)
	}
	return copied, nil
}

// lockHome makes this process the only server of home until the file is closed.
func lockHome(home string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(home, "server.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's lock: %w", err)
	}
	if err := keeper.Flock(f); err != nil {
		f.Close()
		if !errors.Is(err, town.ErrConflict) {
			return nil, err
		}
		return nil, fmt.Errorf("a server of the town in %s runs already: stop it, or choose another TOWND_HOME", home)
	}
	// For people; the lock itself is what counts.
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return f, nil
}

func writePID(f *os.File) error {
	_, err := fmt.Fprintln(f, os.Getpid())
	return err
}

// makeToken returns the token in home, a new one where there is none.
func makeToken(home string) (string, error) {
	token, err := readToken(home)
	switch {
	case err == nil && token != "":
		return token, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	token = rand.Text() + rand.Text() // 260 bits
	if err := renameio.WriteFile(tokenFile(home), []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the town's token: %w", err)
	}
	return token, nil
}
