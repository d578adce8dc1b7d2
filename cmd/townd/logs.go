package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/spf13/cobra"

	"townd/api"
	"townd/supervisor/agentcli"
	"townd/town"
)

type logsFlags struct {
	follow, raw, cast bool
	lines             int
	run               string
}

func newLogsCommand(std stdio) *cobra.Command {
	var f logsFlags
	cmd := &cobra.Command{
		Use:   "logs AGENT",
		Short: "Print what an agent printed; -f goes on until it ends",
		Long: `Print what an agent printed, from the first byte that is held.

With -f the output goes on as it comes, also across a restart of the server, each
byte once, until the agent ends. The output of programs that speak a protocol
(claude, kilo) is shown as what they say and do; --raw prints the bytes.`,
		Example: `  townd logs -f toast
  townd logs -n 20 toast
  townd logs --cast toast > toast.cast    # for asciinema play`,
		Args:              agentArg,
		ValidArgsFunction: completeAgents(std, anyAgent),
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			return logs(ctx, std, r, args[0], f)
		}),
	}
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on until the agent ends")
	cmd.Flags().BoolVar(&f.raw, "raw", false, "the bytes, also of a program that speaks a protocol")
	cmd.Flags().BoolVar(&f.cast, "cast", false, "a recording in asciicast v2, with its timing")
	cmd.Flags().IntVarP(&f.lines, "lines", "n", 0, "only the last so many lines")
	cmd.Flags().StringVar(&f.run, "run", "", "an earlier run of the agent, by its id")
	cmd.MarkFlagsMutuallyExclusive("follow", "cast")
	cmd.MarkFlagsMutuallyExclusive("follow", "lines")
	cmd.MarkFlagsMutuallyExclusive("follow", "run")
	return cmd
}

func logs(ctx context.Context, std stdio, r *remote, id string, f logsFlags) error {
	if f.cast {
		return r.Recording(ctx, id, f.run, std.out)
	}
	ctx, cancel := untilTold(ctx, syscall.SIGINT)
	defer cancel()
	a, err := r.Agent(ctx, id)
	if err != nil {
		return err
	}
	drawn := structured(a) && !f.raw && f.run == ""
	draw := func(e town.Event) error { return drawEvent(std.out, e) }
	switch {
	case f.follow && drawn:
		_, err = followEvents(ctx, r, id, draw)
	case f.follow:
		_, err = followOutput(ctx, std, r, id)
	case drawn:
		out := &tail{w: std.out, keep: f.lines}
		err = pastEvents(ctx, r, id, func(e town.Event) error { return drawEvent(out, e) })
		err = errors.Join(err, out.flush())
	default:
		err = pastOutput(ctx, std, r, id, f)
	}
	if ctx.Err() != nil {
		return &exitError{code: exitInterrupted}
	}
	return err
}

// structured reports whether an agent's program speaks a protocol for programs
// instead of drawing on a terminal.
func structured(a town.Agent) bool {
	cli, err := agentcli.Lookup(a.CLI)
	return err == nil && cli.Structured()
}

// pastOutput prints what is held of a run.
func pastOutput(ctx context.Context, std stdio, r *remote, id string, f logsFlags) error {
	t, err := r.Transcript(ctx, id, f.run, -1)
	if err != nil {
		return err
	}
	defer t.Body.Close()
	if t.First > 0 {
		fmt.Fprintf(std.err, "townd: the first %d bytes are no longer held\n", t.First)
	}
	out := &tail{w: onScreen(std.out), keep: f.lines}
	_, err = io.Copy(out, t.Body)
	err = errors.Join(err, out.flush())
	resetTerminal(std.out)
	return err
}

// followOutput prints a run's output as it comes until the run ends.
func followOutput(ctx context.Context, std stdio, r *remote, id string) (api.ExitFrame, error) {
	out := onScreen(std.out)
	exit, err := r.Follow(ctx, id, api.StreamOptions{}, func(m api.Message) error {
		if gap, ok := m.Frame.(api.GapFrame); ok {
			fmt.Fprintf(std.err, "townd: %d bytes are no longer held\n", gap.To-gap.From)
		}
		_, err := out.Write(m.Data)
		return err
	})
	resetTerminal(std.out)
	return exit, err
}

// resetTerminal gives a terminal back the modes that what was printed has changed.
func resetTerminal(w io.Writer) {
	if terminalOf(w) != nil {
		fmt.Fprint(w, terminalReset)
	}
}

// tail passes on what is written, or only the last keep lines of it, at flush,
// when keep is not 0.
type tail struct {
	w    io.Writer
	keep int
	last []byte // the last keep lines and what follows them
}

func (t *tail) Write(p []byte) (int, error) {
	if t.keep == 0 {
		return t.w.Write(p)
	}
	t.last = append(t.last, p...)
	if len(t.last) > tailBytes && len(t.last) > 2*len(t.lastLines()) {
		t.last = append([]byte(nil), t.lastLines()...)
	}
	return len(p), nil
}

// tailBytes is how much tail gathers before it drops lines.
const tailBytes = 1 << 20

// lastLines returns the last keep lines of what was gathered.
func (t *tail) lastLines() []byte {
	lines := 0
	for i := len(t.last) - 2; i >= 0; i-- { // the last byte may end the last line
		if t.last[i] == '\n' {
			if lines++; lines == t.keep {
				return t.last[i+1:]
			}
		}
	}
	return t.last
}

func (t *tail) flush() error {
	if t.keep == 0 {
		return nil
	}
	w := bufio.NewWriter(t.w)
	_, _ = w.Write(t.lastLines()) // Flush returns the error
	return w.Flush()
}
