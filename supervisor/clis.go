package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"townd/supervisor/agentcli"
)

// CLI is what is known of an agent CLI on this machine.
type CLI struct {
	Name      string
	Program   string // "" for one that is built in, or whose program the caller gives
	Path      string // where it is installed, "" where it is not
	Version   string // "" when it is not installed or did not tell
	Tested    string // the version that the town was tested with
	InRange   bool   // Version has the major and minor number of Tested
	Installed bool
	Install   string // the command that brings it
	// Credential reports whether the town has a credential for a model that the CLI
	// speaks to. It is true for a CLI that needs none of the town's.
	Credential bool
	Error      string // why there is no Version of an installed one
}

// versionTimeout bounds how long a program may take to tell its version: some
// look for updates first.
const versionTimeout = 20 * time.Second

// maxVersionBytes bounds what is read of what a program says its version is.
const maxVersionBytes = 4 << 10

// CLIs returns the agent CLIs that the town knows, in the order shown to people,
// as they are installed on the town's PATH. A program is asked for its version
// once, until its file changes; that may take versionTimeout. Safe for concurrent
// use: one caller at a time asks.
func (s *Supervisor) CLIs(ctx context.Context) []CLI {
	all := make([]CLI, 0, len(agentcli.Names()))
	for _, name := range agentcli.Names() {
		if c, err := agentcli.Lookup(name); err == nil {
			all = append(all, s.cli(c))
		}
	}
	s.versions.fill(ctx, all)
	return all
}

// cli is what is known of c without running it.
func (s *Supervisor) cli(c agentcli.CLI) CLI {
	p := c.Program()
	known := CLI{
		Name: c.Name(), Program: p.Name, Tested: p.Tested, Install: p.Install,
		Installed: p.Name == "", InRange: p.Name == "", Credential: true,
	}
	if p.Name != "" {
		path, err := exec.LookPath(p.Name)
		if err == nil {
			known.Path, err = filepath.Abs(path)
		}
		known.Installed = err == nil
	}
	if dialects := c.Dialects(); len(dialects) > 0 {
		known.Credential = false
		if s.cfg.Models != nil {
			_, known.Credential = s.cfg.Models.Endpoint(dialects, "")
		}
	}
	return known
}

// versions remembers what programs said their version is. The zero value is ready.
type versions struct {
	mu    sync.Mutex
	known map[program]string
}

// program is a file as it was: one that was replaced is another program.
type program struct {
	path     string
	modified time.Time
}

// fill adds the versions of what is installed. A program that does not tell is
// asked again by the next call.
func (v *versions) fill(ctx context.Context, all []CLI) {
	v.mu.Lock()
	defer v.mu.Unlock()
	asked := make(map[program]string)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range all {
		c := &all[i]
		if c.Path == "" {
			continue
		}
		wg.Go(func() {
			p, version, err := v.of(ctx, c.Path)
			if err != nil {
				c.Error = err.Error()
				return
			}
			c.Version, c.InRange = version, minor(version) == minor(c.Tested)
			mu.Lock()
			asked[p] = version
			mu.Unlock()
		})
	}
	wg.Wait()
	v.known = asked // what was replaced or removed is forgotten
}

func (v *versions) of(ctx context.Context, path string) (program, string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return program{}, "", err
	}
	p := program{path, info.ModTime()}
	if version, ok := v.known[p]; ok {
		return p, version, nil
	}
	version, err := askVersion(ctx, path)
	return p, version, err
}

// minor returns the first two numbers of a version.
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

var versionPattern = regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)?(-[0-9A-Za-z.]+)?`)

// askVersion runs a program with --version: without our environment, which it has
// no business with, and with a home that is gone afterwards.
func askVersion(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, versionTimeout, fmt.Errorf("it did not tell its version within %v", versionTimeout))
	defer cancel()
	home, err := os.MkdirTemp("", "townd-version-")
	if err != nil {
		return "", fmt.Errorf("make a home for %s: %w", filepath.Base(path), err)
	}
	defer func() { _ = os.RemoveAll(home) }() // nothing of ours is in it
	var out limited
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env, cmd.Dir, cmd.Stdout = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}, home, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what holds its output
	err = cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("run %s --version: %w", filepath.Base(path), err)
	}
	version := versionPattern.FindString(out.String())
	if version == "" {
		return "", fmt.Errorf("%s --version tells no version", filepath.Base(path))
	}
	return version, nil
}

// limited keeps the first maxVersionBytes that are written to it.
type limited struct{ strings.Builder }

func (l *limited) Write(p []byte) (int, error) {
	l.Builder.Write(p[:min(len(p), max(maxVersionBytes-l.Len(), 0))])
	return len(p), nil
}
