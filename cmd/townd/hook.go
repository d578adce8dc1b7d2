package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"townd/coordinator/tools"
	"townd/supervisor/agentcli"
	"townd/town"
)

// maxHookBytes is the most that a CLI may tell its hook: a tool's input and output.
const maxHookBytes = 16 << 20

func newHookCommand(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:    "hook CLI [POINT]",
		Short:  "Be a hook of an agent CLI: ask the town, which may deny what is told on standard input",
		Hidden: true,
		Args:   cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			point := town.HookPoint("")
			if len(args) > 1 {
				point = town.HookPoint(args[1])
			}
			if code := hook(cmd.Context(), std, args[0], point); code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
}

// exitDenied is how a hook of any CLI denies when it can say nothing else.
const exitDenied = 2

// hook passes one call of a CLI's hook to the town, and its answer back. What goes
// wrong before a tool denies the tool, whatever it is; at every other point it lets
// the CLI go on. point is where this hook is configured, "" where only the call
// says so: then one that cannot be read denies too.
func hook(ctx context.Context, std stdio, name string, point town.HookPoint) int {
	cli, err := agentcli.Lookup(name)
	if err != nil {
		printError(std.err, err)
		return exitDenied
	}
	call, err := readHook(std.in, cli)
	var answer town.HookAnswer
	if err == nil {
		point = call.Point
		answer, err = askHook(ctx, std, call)
	}
	if err != nil {
		call.Point = point
		if point == "" {
			call.Point = town.HookToolBefore
		}
		answer = town.HookAnswer{Deny: call.Point == town.HookToolBefore, Reason: denial(err)}
		printError(std.err, err)
	}
	out := cli.AnswerHook(call, answer)
	_, errOut := std.out.Write(out.Stdout)
	_, errErr := std.err.Write(out.Stderr)
	if err := errors.Join(errOut, errErr); err != nil && answer.Deny {
		return exitDenied
	}
	return out.Exit
}

func denial(err error) string {
	return fmt.Sprintf("The town could not be asked whether this is allowed, so it is not: %v. Try again later; if it goes on, report that you are blocked.", err)
}

func readHook(in io.Reader, cli agentcli.CLI) (town.HookCall, error) {
	input, err := io.ReadAll(io.LimitReader(in, maxHookBytes+1))
	if err != nil {
		return town.HookCall{}, fmt.Errorf("read what the hook is told: %w", err)
	}
	if len(input) > maxHookBytes {
		return town.HookCall{}, fmt.Errorf("the hook is told more than %d bytes: %w", maxHookBytes, town.ErrTooLarge)
	}
	return cli.ParseHook(input)
}

func askHook(ctx context.Context, std stdio, call town.HookCall) (town.HookAnswer, error) {
	client, err := agentClient(std)
	if err != nil {
		return town.HookAnswer{}, err
	}
	return client.Hook(ctx, call)
}

// The variables by which an agent's programs find their town.
const (
	socketVariable     = "TOWND_SOCKET"
	capabilityVariable = "GASTOWN_SESSION_TOKEN"
	beadVariable       = "TOWND_BEAD_ID" // of an agent with a bead on its hook
)

// agentClient returns the way to the town of the agent that we run in.
func agentClient(std stdio) (*tools.Client, error) {
	for _, name := range []string{socketVariable, capabilityVariable} {
		if std.getenv(name) == "" {
			return nil, fmt.Errorf("this is no agent of a town: %s is not set: %w", name, town.ErrInvalid)
		}
	}
	return tools.NewClient(std.getenv(socketVariable), std.getenv(capabilityVariable)), nil
}
