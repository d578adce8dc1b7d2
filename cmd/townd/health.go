package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
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
				err = printTable(std.out, rows)
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
