package main

import (
	"context"
	"fmt"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"townd/api"
	"townd/town"
)

// The exit codes of `townd run` for an agent that did not end by itself.
const (
	exitTimeout = 124 // as timeout(1)
	exitStopped = 128 + int(syscall.SIGTERM)
	exitKilled  = 128 + int(syscall.SIGKILL)
)

func newRunCommand(std stdio) *cobra.Command {
	var f requestFlags
	var stay bool
	cmd := &cobra.Command{
		Use:   "run [flags] [-- PROGRAM ARG…]",
		Short: "Start an agent, show what it does, end with its outcome",
		Long: `Start an agent, show what it does until it ends, and exit as it did: with its
program's code, 128 and the signal's number when a signal ended it, 124 when it took
longer than it may, 1 when it never ran. Ctrl-C stops the agent; a second one leaves.

A program that would wait for more after its task (claude, kilo) is stopped when its
turn ends, and the exit code is 0 when the turn went well; --stay keeps it.`,
		Example: `  townd run --repo https://github.com/acme/site -- make test
  townd run --repo https://github.com/acme/site --cli claude --prompt "fix the tests"`,
		Args: commandArgs,
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			a, err := startAgent(ctx, std, r, &f, args)
			if err != nil {
				return err
			}
			fmt.Fprintf(std.err, "%s works on %s\n", a.AgentID, printable(a.Branch))
			return follow(ctx, std, r, a, stay)
		}),
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&stay, "stay", false, "go on after the end of a turn")
	return cmd
}

// follow shows the agent until it ends and returns its outcome as an exit code.
// The end of ctx, or SIGINT or SIGTERM, stops the agent.
func follow(ctx context.Context, std stdio, r *remote, a town.Agent, stay bool) error {
	wanted, release := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	owed := context.WithoutCancel(ctx) // the agent is stopped and its end shown, wanted or not
	var stopping sync.WaitGroup
	var once sync.Once
	stop := func() {
		once.Do(func() {
			stopping.Go(func() {
				if _, err := r.Stop(owed, a.AgentID, town.StopRequest{}); err != nil {
					fmt.Fprintf(std.err, "townd: stop %s: %v\n", a.AgentID, err)
				}
			})
		})
	}
	cancelled := context.AfterFunc(wanted, func() {
		release() // a second signal ends us at once
		fmt.Fprintf(std.err, "stopping %s\n", a.AgentID)
		stop()
	})
	defer release()
	var turn *town.TurnEndedData
	exit, err := showRun(owed, std, r, a, func(ended town.TurnEndedData) {
		if !stay {
			turn = &ended
			stop()
		}
	})
	asked := !cancelled()
	stopping.Wait()
	if err != nil {
		return err
	}
	a.Status, a.Reason, a.ExitCode, a.Signal, a.Error = exit.Status, exit.Reason, exit.ExitCode, exit.Signal, exit.Error
	fmt.Fprintln(std.err, ended(a))
	code := exitCode(a)
	if turn != nil && !asked {
		code = 0
		if !turn.OK {
			code = exitFailure
		}
	}
	if code == 0 {
		return nil
	}
	return &exitError{code: code}
}

// showRun prints the agent's output, or what it says and does, until its end.
func showRun(ctx context.Context, std stdio, r *remote, a town.Agent, turnEnded func(town.TurnEndedData)) (api.ExitFrame, error) {
	if !structured(a) {
		return followOutput(ctx, std, r, a.AgentID)
	}
	return followEvents(ctx, r, a.AgentID, func(e town.Event) error {
		if e.Event == town.EventTurnEnded {
			d, err := dataOf[town.TurnEndedData](e)
			if err != nil {
				return err
			}
			turnEnded(d)
		}
		return drawEvent(std.out, e)
	})
}

// exitCode is an agent's outcome as the code of a program.
func exitCode(a town.Agent) int {
	switch a.Reason {
	case town.ReasonDone:
		return 0
	case town.ReasonTimeout:
		return exitTimeout
	case town.ReasonStopped:
		return exitStopped
	case town.ReasonKilled, town.ReasonOOM:
		return exitKilled
	case town.ReasonExited, town.ReasonCrashed:
		if a.ExitCode != nil {
			return *a.ExitCode
		}
	case town.ReasonBlocked, town.ReasonWaiting, town.ReasonBudget, town.ReasonAuth, town.ReasonStartFailed, town.ReasonCutOff:
	}
	return exitFailure
}
