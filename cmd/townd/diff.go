package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
)

func newDiffCommand(std stdio) *cobra.Command {
	var stat, asJSON bool
	cmd := &cobra.Command{
		Use:   "diff AGENT",
		Short: "Print what an agent changed, committed or not",
		Long: `Print what an agent changed since it started, as one patch: its commits, what it
staged, what it did not, and files that git does not know yet.`,
		Args:              agentArg,
		ValidArgsFunction: completeAgents(std, anyAgent),
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			if !stat && !asJSON {
				return printPatch(ctx, std, r, args[0])
			}
			d, err := r.Diff(ctx, args[0], 0)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(std.out, d)
			}
			rows := [][]string{{"ADDED", "DELETED", "FILE"}}
			for _, f := range d.Files {
				added, deleted := strconv.Itoa(f.Added), strconv.Itoa(f.Deleted)
				if f.Binary {
					added, deleted = "binary", "-"
				}
				rows = append(rows, []string{added, deleted, f.Path})
			}
			return printTable(std.out, rows)
		}),
	}
	cmd.Flags().BoolVar(&stat, "stat", false, "print a line per file instead of the patch")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// maxPatchBytes is the most that a town sends.
const maxPatchBytes = 64 << 20

func printPatch(ctx context.Context, std stdio, r *remote, id string) error {
	out := std.out
	if terminalOf(std.out) != nil && std.getenv("NO_COLOR") == "" {
		p := &patchColours{w: std.out}
		defer p.flush()
		out = p
	}
	truncated, err := r.Patch(ctx, id, maxPatchBytes, out)
	if err == nil && truncated {
		return fmt.Errorf("the patch is larger than %s and was cut", sizeOf(maxPatchBytes))
	}
	return err
}

// patchColours colours the lines of a patch.
type patchColours struct {
	w    io.Writer
	line []byte // that is not complete yet
}

func (c *patchColours) Write(p []byte) (int, error) {
	c.line = append(c.line, p...)
	for {
		line, rest, whole := bytes.Cut(c.line, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		if err := c.print(line); err != nil {
			return 0, err
		}
		c.line = rest
	}
}

func (c *patchColours) print(line []byte) error {
	_, err := fmt.Fprintln(c.w, colourOf(line).paint(lines(string(line))))
	return err
}

func (c *patchColours) flush() {
	if len(c.line) > 0 {
		_ = c.print(c.line) // the writes before have told
	}
}

func colourOf(line []byte) colour {
	for _, p := range []struct {
		start string
		c     colour
	}{{"+++", bold}, {"---", bold}, {"diff ", bold}, {"index ", dim}, {"+", green}, {"-", red}, {"@@", cyan}} {
		if bytes.HasPrefix(line, []byte(p.start)) {
			return p.c
		}
	}
	return normal
}
