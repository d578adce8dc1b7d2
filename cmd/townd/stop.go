package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"townd/town"
)

func newStopCommand(std stdio) *cobra.Command {
	var (
		all, kill, asJSON bool
		grace             time.Duration
	)
	cmd := &cobra.Command{
		Use:   "stop AGENT…",
		Short: "End agents and everything they started",
		Long: `End agents: SIGTERM to everything they started, SIGKILL to what is left after
the grace period. The command returns when nothing of them runs.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return errors.New("give agents or --all, not both")
			case all:
				return nil
			}
			return agentArgs(cmd, args)
		},
		ValidArgsFunction: completeAgents(std, liveAgent),
	}
	cmd.RunE = withTown(std, func(ctx context.Context, r *remote, args []string) error {
		if all {
			agents, err := r.Agents(ctx)
			if err != nil {
				return err
			}
			for _, a := range agents {
				if a.Status.Live() {
					args = append(args, a.AgentID)
				}
			}
		}
		var req town.StopRequest
		if kill {
			req.Signal = "SIGKILL"
		}
		if cmd.Flags().Changed("grace") {
			req.GraceSeconds = new(grace.Seconds())
		}
		return stopAgents(ctx, std, r, args, req, asJSON)
	})
	cmd.Flags().BoolVarP(&all, "all", "a", false, "every agent of the town")
	cmd.Flags().BoolVarP(&kill, "kill", "k", false, "SIGKILL at once")
	cmd.Flags().DurationVar(&grace, "grace", town.DefaultGrace, "time between SIGTERM and SIGKILL")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// stopAgents stops all ids at once and prints how each ended, in their order.
func stopAgents(ctx context.Context, std stdio, r *remote, ids []string, req town.StopRequest, asJSON bool) error {
	var stopped atomic.Int64
	p := newProgress(std.err, func() string { return fmt.Sprintf("stopping, %d of %d done", stopped.Load(), len(ids)) })
	agents, errs := make([]town.Agent, len(ids)), make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			agents[i], errs[i] = r.Stop(ctx, id, req)
			stopped.Add(1)
		})
	}
	wg.Wait()
	p.done()
	ended, err := []town.Agent{}, errors.Join(errs...)
	for i, a := range agents {
		if errs[i] == nil {
			ended = append(ended, a)
		}
	}
	if asJSON {
		return errors.Join(printJSON(std.out, map[string]any{"agents": ended}), err)
	}
	for _, a := range ended {
		fmt.Fprintf(std.out, "%s %s\n", a.AgentID, outcome(a))
	}
	return err
}
