package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"townd/api"
)

func newHealthCommand(std stdio) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Tell whether the town works; the exit code is 1 unless it is ok or degraded",
		Args:  cobra.NoArgs,
		RunE: withTown(std, func(ctx context.Context, r *remote, _ []string) error {
			h, err := r.Health(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(std.out, h)
			} else {
				rows := [][]string{
					{"status", strings.Join(append([]string{h.Status}, h.Degraded...), "; ")},
					{"agents", fmt.Sprintf("%d of at most %d", h.Agents, h.MaxAgents)},
					{"up", ago(time.Duration(h.Uptime) * time.Millisecond)},
					{"version", h.Version},
					{"isolation", h.Isolation},
					{"trees ended by", h.KillRung},
				}
				for _, warning := range h.Warnings {
					rows = append(rows, []string{"warning", warning})
				}
				err = printTable(std.out, append(rows, coordinatorRows(h.Coordinator)...))
			}
			if err == nil && h.Status != "ok" && h.Status != "degraded" {
				return &exitError{code: exitFailure}
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// coordinatorRows tells how the way to the coordinator is.
func coordinatorRows(c *api.Coordinator) [][]string {
	if c == nil {
		return nil
	}
	reached := "not reached yet"
	if c.ReachedAt != nil {
		reached = "reached " + ago(time.Since(*c.ReachedAt)) + " ago"
	}
	if c.Replaced {
		reached = "another container has taken over"
	}
	waiting := fmt.Sprintf("%d wait, %d were refused", c.Outbox.Pending, c.Outbox.Dead)
	if c.Outbox.OldestAt != nil {
		waiting += ", the oldest " + ago(time.Since(*c.Outbox.OldestAt)) + " old"
	}
	return [][]string{{"coordinator", reached}, {"reports", waiting}}
}
