package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"townd/town"
)

// ensureTimeout bounds Ensure when its context has no deadline.
const ensureTimeout = 15 * time.Second

// maxLogBytes is what a keeper's log may have grown to when the next one starts;
// the one before is kept as keeper.log.1.
const maxLogBytes = 8 << 20

// Ensure returns a client of the keeper in dir, starting argv as the keeper when
// none listens. A started keeper has a session of its own, outlives the caller,
// writes to keeper.log, and sees of the caller's environment only what keepEnv
// lets through, since every program of its user can read it.
func Ensure(ctx context.Context, dir string, argv []string) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return nil, fmt.Errorf("keeper program %q must be an absolute path: %w", argv, town.ErrInvalid)
	}
	var started error
	for attempt := 0; ; attempt++ {
		c, err := Dial(ctx, dir)
		if err == nil || !errors.Is(err, town.ErrUnavailable) {
			return c, err
		}
		// Another may have won the race to start one, or the one before may
		// just be ending: hence more than one attempt.
		if attempt == 5 {
			return nil, started
		}
		if c, started = start(ctx, dir, argv); started == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, started
		}
	}
}

// start runs argv and waits until a keeper answers or the process has ended.
func start(ctx context.Context, dir string, argv []string) (*Client, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeper directory: %w", err)
	}
	path := filepath.Join(dir, logName)
	if st, err := os.Stat(path); err == nil && st.Size() > maxLogBytes {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("keeper log: %w", err)
		}
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keeper log: %w", err)
	}
	defer func() { _ = log.Close() }()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("keeper log: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Dir: "/", Env: keepEnv(os.Environ()), Files: []*os.File{null, log, log},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start keeper: %w", err)
	}
	// The goroutine ends when the keeper does, perhaps long after the client is
	// closed: somebody has to reap it.
	ended := make(chan string, 1)
	go func() {
		state, err := p.Wait()
		if err != nil {
			ended <- err.Error()
			return
		}
		ended <- state.String()
	}()
	return await(ctx, dir, ended, func() string { return lastLine(log, from) })
}

// await dials until the keeper answers. The operating system has no event for a
// socket that appears and is listened on, so it asks every 2 ms.
func await(ctx context.Context, dir string, ended <-chan string, reason func() string) (*Client, error) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := Dial(ctx, dir)
		if err == nil || !errors.Is(err, town.ErrUnavailable) {
			return c, err
		}
		select {
		case state := <-ended:
			return nil, fmt.Errorf("keeper ended at its start (%s): %s: %w", state, reason(), town.ErrUnavailable)
		case <-ctx.Done():
			return nil, fmt.Errorf("keeper did not answer (%v): %s: %w", err, reason(), town.ErrUnavailable)
		case <-tick.C:
		}
	}
}

// lastLine returns the last line written to log after offset from.
func lastLine(log io.ReaderAt, from int64) string {
	p, _ := io.ReadAll(io.NewSectionReader(log, from, 64<<10)) // best effort: it explains another error
	p = bytes.TrimSpace(p)
	return string(p[bytes.LastIndexByte(p, '\n')+1:])
}

// harmlessEnv are the names of the environment that a keeper is started with.
var harmlessEnv = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "XDG_RUNTIME_DIR", "XDG_STATE_HOME",
	"GOCOVERDIR", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GORACE", "GOTRACEBACK",
}

// keepEnv drops from env what may be secret: all but names known to be harmless
// and our own settings.
func keepEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(harmlessEnv, name) {
			return false
		}
		secret := strings.Contains(name, "TOKEN") || strings.Contains(name, "SECRET") || strings.Contains(name, "KEY")
		return secret || name == MarkerEnv || !strings.HasPrefix(name, "TOWND_")
	})
}
