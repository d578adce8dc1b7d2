package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newScreenCommand(std stdio) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "screen AGENT",
		Short:             "Print an agent's screen as it is now",
		Args:              agentArg,
		ValidArgsFunction: completeAgents(std, anyAgent),
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			screen, err := r.Screen(ctx, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(std.out, screen)
			}
			fmt.Fprintln(std.out, screen.Text)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the cursor")
	return cmd
}
