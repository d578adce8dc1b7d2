package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"townd/api"
)

func newShareCommand(std stdio) *cobra.Command {
	var req api.ShareRequest
	var life time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "share AGENT",
		Short: "Make a link by which anybody sees one run of an agent",
		Long: `Print a link to one run of an agent. Who opens it in a browser sees what the run prints,
live and afterwards, and nothing else of the town; it is for watching only. What
agents print is shown as it is, secrets that they print included.

The link ends after --for, with townd share rm, or when its agent is forgotten. The
town keeps only a hash of it: it cannot be printed again. TOWND_SHARE_HOURS of the
server says how long one may live at most. townd share ls lists the links that open
something.`,
		Example: `  townd share toast --for 2h
  townd share ls
  townd share rm 6f2c1a90`,
		Args:              agentArg,
		ValidArgsFunction: completeAgents(std, anyAgent),
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			req.Seconds = life.Seconds()
			made, err := r.Share(ctx, args[0], req)
			if err != nil {
				return err
			}
			if strings.HasPrefix(made.URL, "/") {
				made.URL = strings.TrimSuffix(r.url, "/") + made.URL
			}
			if asJSON {
				return printJSON(std.out, made)
			}
			fmt.Fprintf(std.err, "townd: shows run %s of %s for %s; townd share rm %s takes it back\n",
				shortID(made.Run), made.AgentID, ago(made.ExpiresAt.Sub(made.CreatedAt)), shortID(made.ID))
			_, err = fmt.Fprintln(std.out, made.URL)
			return err
		}),
	}
	cmd.Flags().StringVar(&req.Run, "run", "", "an earlier run of the agent, by its id")
	cmd.Flags().DurationVar(&life, "for", 0, "how long the link lives (default: as long as the town lets it)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	for _, c := range []*cobra.Command{newShareLsCommand(std), newShareRmCommand(std)} {
		wrapArgs(c)
		cmd.AddCommand(c)
	}
	return cmd
}

func newShareLsCommand(std stdio) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the links that open something", Args: cobra.NoArgs,
		RunE: withTown(std, func(ctx context.Context, r *remote, _ []string) error {
			list, err := r.Shares(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(std.out, list)
			}
			rows := [][]string{{"LINK", "AGENT", "RUN", "AGE", "ENDS IN"}}
			for _, s := range list.Shares {
				rows = append(rows, []string{shortID(s.ID), s.AgentID, shortID(s.Run), age(s.CreatedAt), ago(time.Until(s.ExpiresAt))})
			}
			return printTable(std.out, rows)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newShareRmCommand(std stdio) *cobra.Command {
	return &cobra.Command{
		Use: "rm LINK", Short: "Take a link back; who watches by it is cut off", Args: exactly("a link (townd share ls)"),
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			list, err := r.Shares(ctx)
			if err != nil {
				return err
			}
			s, err := byEnd(list.Shares, func(s api.Share) string { return s.ID }, "links", args[0])
			if err != nil {
				return err
			}
			if err := r.Unshare(ctx, s.ID); err != nil {
				return err
			}
			_, err = fmt.Fprintln(std.out, shortID(s.ID), "taken back")
			return err
		}),
	}
}
