package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"townd/api"
	"townd/town"
)

func newConvoyCommand(std stdio) *cobra.Command {
	return group("convoy", "Several beads that make one thing",
		newConvoyAddCommand(std), newConvoyLsCommand(std), newConvoyShowCommand(std),
		changeConvoy(std, &cobra.Command{Use: "start CONVOY", Short: "Let the beads of a staged convoy be taken"},
			func(ctx context.Context, h hall, id string) (town.Convoy, error) { return h.StartConvoy(ctx, id) }),
		changeConvoy(std, &cobra.Command{Use: "close CONVOY", Short: "Close a convoy and those of its beads that have not ended"},
			func(ctx context.Context, h hall, id string) (town.Convoy, error) {
				return h.CloseConvoy(ctx, id, "closed by a person")
			}))
}

func newConvoyAddCommand(std stdio) *cobra.Command {
	var req town.ConvoyRequest
	var tasks []string
	var file string
	var atEnd, inTurn bool
	cmd := &cobra.Command{
		Use:   "add RIG TITLE…",
		Short: "Make a convoy and its beads",
		Long: `Make a convoy and its beads, each given with --task. Which waits for which, --in-turn or
--parallel says; a file says it for each: {"tasks": [{"title": …, "body": …, "dependsOn": [0]}]}.`,
		Example: `  townd convoy add site "a login page" --in-turn --task "the form" --task "the session" --land-at-end
  townd convoy add site "a login page" --file plan.json`,
		Args:              atLeast("a rig (townd rig ls)", "a title"),
		ValidArgsFunction: completeRigs(std),
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&tasks, "task", nil, "title of a bead; may be repeated")
	flags.StringVar(&file, "file", "", "JSON file with the tasks, - for standard input")
	flags.BoolVar(&inTurn, "in-turn", false, "each task waits for the one before it")
	flags.BoolVar(&req.Parallel, "parallel", false, "tasks that wait for no other may run side by side")
	flags.BoolVar(&req.Staged, "staged", false, "nobody takes them before townd convoy start")
	flags.BoolVar(&atEnd, "land-at-end", false, "all go into a branch of the convoy's, which lands as a whole")
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (api.ConvoyMade, error) {
		req.RigID, req.Title, req.Source, req.Mode = args[0], join(args[1:]), "person", town.LandOneByOne
		if atEnd {
			req.Mode = town.LandAtEnd
		}
		if file != "" {
			b, err := readFile(std, file)
			if err != nil {
				return api.ConvoyMade{}, err
			}
			if err := json.Unmarshal(b, &req); err != nil {
				return api.ConvoyMade{}, fmt.Errorf("%s: %w", file, err)
			}
		}
		for _, title := range tasks {
			task := town.ConvoyTask{Title: title}
			if n := len(req.Tasks); inTurn && n > 0 {
				task.DependsOn = []int{n - 1}
			}
			req.Tasks = append(req.Tasks, task)
		}
		return h.CreateConvoy(ctx, req)
	}, func(w io.Writer, made api.ConvoyMade) error {
		fmt.Fprintf(w, "%s\n\n", shortID(made.Convoy.ID))
		return printTable(w, beadRows(made.Beads))
	})
}

func newConvoyLsCommand(std stdio) *cobra.Command {
	var rig string
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the convoys, newest first", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&rig, "rig", "", "of this rig")
	return hallCommand(std, cmd, func(ctx context.Context, h hall, _ []string) (api.ConvoyList, error) {
		convoys, err := h.Convoys(ctx, rig)
		return api.ConvoyList{Convoys: convoys}, err
	}, func(w io.Writer, list api.ConvoyList) error {
		rows := [][]string{{"CONVOY", "RIG", "STATUS", "DONE", "LANDS", "AGE", "TITLE"}}
		for _, c := range list.Convoys {
			rows = append(rows, convoyRow(c))
		}
		return printTable(w, rows)
	})
}

func convoyRow(c town.Convoy) []string {
	done := fmt.Sprintf("%d of %d", c.Closed, len(c.Beads))
	if c.Failed > 0 {
		done += fmt.Sprintf(", %d failed", c.Failed)
	}
	lands := "one by one"
	if c.Mode == town.LandAtEnd {
		lands = "at the end"
	}
	return []string{shortID(c.ID), c.RigID, string(c.Status), done, lands, age(c.CreatedAt), clip(c.Title, 60)}
}

// convoyDetail is a convoy with its beads.
type convoyDetail struct {
	town.Convoy
	All []town.Bead `json:"all"`
}

func newConvoyShowCommand(std stdio) *cobra.Command {
	cmd := &cobra.Command{Use: "show CONVOY", Short: "Show a convoy and its beads", Args: exactly("a convoy (townd convoy ls)")}
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (convoyDetail, error) {
		c, err := h.convoy(ctx, args[0])
		if err != nil {
			return convoyDetail{}, err
		}
		list, err := allBeads(ctx, h, api.BeadQuery{ConvoyID: c.ID})
		return convoyDetail{c, list.Beads}, err
	}, func(w io.Writer, d convoyDetail) error {
		fmt.Fprintf(w, "%s\n\n", printable(strings.Join(convoyRow(d.Convoy), "  ")))
		return printTable(w, beadRows(d.All))
	})
}

// convoy finds a convoy by its id or the end of it.
func (h hall) convoy(ctx context.Context, id string) (town.Convoy, error) {
	c, err := h.Convoy(ctx, id)
	if err == nil {
		return c, nil
	}
	all, err := h.Convoys(ctx, "")
	if err != nil {
		return town.Convoy{}, err
	}
	return byEnd(all, func(c town.Convoy) string { return c.ID }, "convoys", id)
}

func changeConvoy(std stdio, cmd *cobra.Command, change func(context.Context, hall, string) (town.Convoy, error)) *cobra.Command {
	cmd.Args = exactly("a convoy (townd convoy ls)")
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (town.Convoy, error) {
		c, err := h.convoy(ctx, args[0])
		if err != nil {
			return town.Convoy{}, err
		}
		return change(ctx, h, c.ID)
	}, func(w io.Writer, c town.Convoy) error {
		_, err := fmt.Fprintf(w, "%s %s\n", shortID(c.ID), c.Status)
		return err
	})
}
