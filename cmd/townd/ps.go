package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"townd/town"
)

func newPsCommand(std stdio) *cobra.Command {
	var asJSON, live bool
	cmd := &cobra.Command{
		Use:     "ps",
		Aliases: []string{"ls"},
		Short:   "List the agents",
		Args:    cobra.NoArgs,
		RunE: withTown(std, func(ctx context.Context, r *remote, _ []string) error {
			agents, err := r.Agents(ctx)
			if err != nil {
				return err
			}
			listed := []town.Agent{}
			for _, a := range agents {
				if !live || a.Status.Live() {
					listed = append(listed, a)
				}
			}
			if asJSON {
				return printJSON(std.out, map[string]any{"agents": listed})
			}
			return printTable(std.out, agentRows(listed, time.Now()))
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&live, "live", false, "leave out agents that have ended")
	return cmd
}

func agentRows(agents []town.Agent, now time.Time) [][]string {
	rows := [][]string{{"AGENT", "ROLE", "RIG", "CLI", "STATUS", "IS", "PID", "CPU", "MEMORY", "AGE", "BRANCH"}}
	for _, a := range agents {
		pid, age := "-", "-"
		if a.PID != nil {
			pid = strconv.Itoa(*a.PID)
		}
		if a.StartedAt != nil {
			age = ago(now.Sub(*a.StartedAt))
		}
		cpu, memory := "-", "-"
		if a.Resources.Processes > 0 {
			cpu, memory = fmt.Sprintf("%.0f%%", a.Resources.CPUPercent), sizeOf(a.Resources.RSSBytes)
		}
		rows = append(rows, []string{
			a.AgentID, string(a.Role), a.RigID, a.CLI, string(a.Status), outcome(a), pid, cpu, memory, age, a.Branch,
		})
	}
	return rows
}
