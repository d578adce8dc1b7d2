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
	rows := [][]string{{"AGENT", "ROLE", "RIG", "CLI", "STATUS", "IS", "TURNS", "COST", "PID", "CPU", "MEMORY", "AGE", "BRANCH"}}
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
			a.AgentID, string(a.Role), a.RigID, a.CLI, string(a.Status), outcome(a), turns(a), costOf(a.Usage), pid, cpu, memory, age, a.Branch,
		})
	}
	return rows
}

// turns is how many turns an agent has begun, "-" for a CLI that tells of none.
func turns(a town.Agent) string {
	if a.Turn.Count == 0 {
		return "-"
	}
	return strconv.FormatInt(a.Turn.Count, 10)
}

// costOf writes what an agent cost for people: money, or tokens where their price
// is not known, "-" where nothing is.
func costOf(u town.Usage) string {
	tokens := u.InputTokens + u.OutputTokens + u.CacheReadTokens + u.CacheWriteTokens
	switch {
	case u.CostUSD >= 100:
		return fmt.Sprintf("$%.0f", u.CostUSD)
	case u.CostUSD >= 0.005:
		return fmt.Sprintf("$%.2f", u.CostUSD)
	case u.CostUSD > 0:
		return "<$0.01"
	case tokens >= 1e6:
		return fmt.Sprintf("%.1fM tok", float64(tokens)/1e6)
	case tokens >= 1e3:
		return fmt.Sprintf("%dk tok", tokens/1e3)
	case tokens > 0:
		return fmt.Sprintf("%d tok", tokens)
	}
	return "-"
}
