package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"townd/town"
)

func newStartCommand(std stdio) *cobra.Command {
	var f requestFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "start [flags] [-- PROGRAM ARG…]",
		Short: "Start an agent and print its id",
		Example: `  townd start --repo https://github.com/acme/site --cli claude --prompt "fix the tests"
  townd start --repo https://github.com/acme/site --name toast -- bash`,
		Args: commandArgs,
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			a, err := startAgent(ctx, std, r, &f, args)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(std.out, a)
			}
			fmt.Fprintln(std.out, a.AgentID)
			return nil
		}),
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the agent as JSON")
	return cmd
}

// startAgent starts the agent that the flags describe and shows that it takes
// time: a repository new to the town is cloned first.
func startAgent(ctx context.Context, std stdio, r *remote, f *requestFlags, command []string) (town.Agent, error) {
	agents, err := r.Agents(ctx)
	if err != nil {
		return town.Agent{}, err
	}
	req, err := f.request(ctx, std, command, agents)
	if err != nil {
		return town.Agent{}, err
	}
	p := newProgress(std.err, func() string { return fmt.Sprintf("starting %s in %s", req.AgentID, req.RigID) })
	defer p.done()
	started, err := r.Start(ctx, req)
	return started.Agent, err
}
