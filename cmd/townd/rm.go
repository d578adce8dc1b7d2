package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newRmCommand(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "rm AGENT…",
		Short: "Forget agents that have ended, and remove their worktrees",
		Long: `Forget agents that have ended, with their output and worktrees. Their branches stay in
the town's clone, and what an agent left uncommitted is kept there as a commit,
refs/town/checkpoints/AGENT.`,
		Args:              agentArgs,
		ValidArgsFunction: completeAgents(std, deadAgent),
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			var errs []error
			for _, id := range args {
				if err := r.Delete(ctx, id); err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintln(std.out, id)
			}
			return errors.Join(errs...)
		}),
	}
}
