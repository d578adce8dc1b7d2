package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Gate is a command that a merge must pass before it is pushed.
type Gate struct {
	Name    string
	Command string        // for sh
	Timeout time.Duration // 10 minutes when 0
}

// GateRun is one gate in one checkout.
type GateRun struct {
	Gate
	Dir   string // the checkout, Owner's
	Home  string // an empty directory, Owner's
	Owner Owner  // run as this user
}

// GateFunc runs a gate until it and all that it started have ended or ctx ends, and
// returns its exit status. An error means that it could not be run at all.
type GateFunc func(ctx context.Context, g GateRun, output io.Writer) (exit int, err error)

// GateResult is how a gate ended.
type GateResult struct {
	Name     string
	Exit     int
	TimedOut bool
	Output   string // the last 32 KiB
	Took     time.Duration
}

const (
	gateTimeout   = 10 * time.Minute
	maxGateOutput = 32 << 10
)

// RunGate is the GateFunc of a town without one of its own: sh in a process group,
// with an environment from nothing.
func RunGate(ctx context.Context, g GateRun, output io.Writer) (int, error) {
	cmd := exec.Command("/bin/sh", "-c", g.Command)
	cmd.Dir, cmd.Stdout, cmd.Stderr = g.Dir, output, output
	cmd.Env = []string{"PATH=" + searchPath(), "HOME=" + g.Home, "LC_ALL=C.UTF-8", "CI=true", "GIT_TERMINAL_PROMPT=0"}
	cmd.WaitDelay = waitDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if g.Owner.UID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: g.Owner.UID, Gid: g.Owner.GID}
	}
	if err := cmd.Start(); err != nil {
		return -1, err
	}
	err := waitGroup(ctx, cmd)
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode(), nil
	}
	return 0, err
}

// runGates reports whether commit passes every gate. The first that it does not
// pass ends them and sets the result.
func (g *merging) runGates(ctx context.Context, commit string) (bool, error) {
	if len(g.Gates) == 0 {
		return true, nil
	}
	run, discard, err := g.gateTree(ctx, commit)
	if err != nil {
		return false, err
	}
	defer discard()
	for _, gate := range g.Gates {
		run.Gate = gate
		res, err := g.runGate(ctx, run)
		if err != nil {
			return false, fmt.Errorf("gate %s: %w", gate.Name, err)
		}
		g.result.Gates = append(g.result.Gates, res)
		if res.Exit != 0 || res.TimedOut {
			g.result.Status = MergeGatesFailed
			g.result.Message = fmt.Sprintf("gate %s ended with %d", gate.Name, res.Exit)
			if res.TimedOut {
				g.result.Message = fmt.Sprintf("gate %s did not end in its time", gate.Name)
			}
			return false, nil
		}
	}
	return true, nil
}

func (g *merging) runGate(ctx context.Context, run GateRun) (GateResult, error) {
	f := g.Run
	if f == nil {
		f = RunGate
	}
	if run.Timeout == 0 {
		run.Timeout = gateTimeout
	}
	deadline, cancel := context.WithTimeoutCause(ctx, run.Timeout, errTimeout)
	defer cancel()
	start, output := time.Now(), &tail{max: maxGateOutput}
	exit, err := f(deadline, run, output)
	if cause := context.Cause(ctx); cause != nil {
		return GateResult{}, cause
	}
	timedOut := context.Cause(deadline) != nil
	if err != nil && !timedOut {
		return GateResult{}, err
	}
	return GateResult{Name: run.Name, Exit: exit, TimedOut: timedOut, Output: output.String(), Took: time.Since(start)}, nil
}

// gateTree makes a worktree of commit with no branch. One that a crash left is
// cleared away first: the merge's turn is ours.
func (g *merging) gateTree(ctx context.Context, commit string) (GateRun, func(), error) {
	s := Spec{Branch: gateBranch, Owner: g.Owner}
	if g.m.c.GIDBase != 0 {
		gid, err := g.m.RigGroup(g.id)
		if err != nil {
			return GateRun{}, nil, err
		}
		s.Owner.GID = gid
	}
	if err := g.dropTree(gateBranch); err != nil {
		return GateRun{}, nil, err
	}
	home, err := os.MkdirTemp(filepath.Join(g.dir, "tmp"), "home-")
	if err != nil {
		return GateRun{}, nil, spaceKind(err)
	}
	discard := func() {
		if err := errors.Join(g.dropTree(gateBranch), g.discard(home)); err != nil {
			g.log.Warn("clear away a gate's worktree", "err", err)
		}
	}
	if err = g.give(home, s.Owner); err == nil {
		err = g.detachedTree(ctx, g.own, s, commit)
	}
	if err == nil {
		_, err = g.fillModules(ctx, g.own, s, commit)
	}
	if err != nil {
		discard()
		return GateRun{}, nil, err
	}
	return GateRun{Dir: g.path(gateBranch), Home: home, Owner: s.Owner}, discard, nil
}
