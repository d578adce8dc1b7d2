package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"
)

func newArtifactsCommand(std stdio) *cobra.Command {
	var run, output string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "artifacts AGENT [NAME]",
		Short: "List what is kept of an agent's run, or print one of it",
		Long: `List what is kept of an agent's run when its worktree is gone: what it changed as a
patch, its commits, and the files that it left in $TOWND_ARTIFACTS. With a name, print
that one; its digest is checked.`,
		Example: `  townd artifacts toast
  townd artifacts toast changes.patch | git apply
  townd artifacts toast report.html -o report.html`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeAgents(std, anyAgent),
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			if len(args) == 2 {
				return saveArtifact(ctx, std, r, args[0], run, args[1], output)
			}
			list, err := r.Artifacts(ctx, args[0], run)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(std.out, list)
			}
			rows := [][]string{{"NAME", "KIND", "BYTES", "SHA256"}}
			for _, a := range list.Artifacts {
				rows = append(rows, []string{a.Name, string(a.Kind), strconv.FormatInt(a.Bytes, 10), a.SHA256})
			}
			for _, l := range list.LeftOut {
				fmt.Fprintf(std.err, "townd: left out: %s %s\n", printable(l.Path), printable(l.Why))
			}
			return printTable(std.out, rows)
		}),
	}
	cmd.Flags().StringVar(&run, "run", "", "an earlier run of the agent, by its id")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this `file`, which must not be there yet")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// saveArtifact prints an artifact, or writes it to a new file, which is there only if it is whole.
func saveArtifact(ctx context.Context, std stdio, r *remote, id, run, name, output string) error {
	if output == "" {
		if terminalOf(std.out) != nil {
			return errors.New("an agent's file may hold what a terminal obeys: pass it on, or give -o FILE")
		}
		return r.Artifact(ctx, id, run, name, std.out)
	}
	f, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(r.Artifact(ctx, id, run, name, f), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(output))
	}
	return nil
}
