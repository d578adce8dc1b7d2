package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"townd/api"
	"townd/town"
)

// defaultTown is the id of a town that is told none.
const defaultTown = "local"

// hall is the coordinator of a town as commands call it.
type hall struct{ *api.HallClient }

// hallCommand completes a command whose answer is printed by show, or as JSON.
func hallCommand[T any](std stdio, cmd *cobra.Command, ask func(context.Context, hall, []string) (T, error), show func(io.Writer, T) error) *cobra.Command {
	var asJSON bool
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = withTown(std, func(ctx context.Context, r *remote, args []string) error {
		answer, err := ask(ctx, r.hall, args)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(std.out, answer)
		}
		return show(std.out, answer)
	})
	return cmd
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	for _, c := range commands {
		wrapArgs(c)
		cmd.AddCommand(c)
	}
	return cmd
}

// atLeast wants at least one argument for each of what; the last may be several words.
func atLeast(what ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(what) {
			return fmt.Errorf("give %s", strings.Join(what[len(args):], " and "))
		}
		return nil
	}
}

// exactly wants one argument for each of what.
func exactly(what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > len(what) {
			return fmt.Errorf("give only %s, not %d arguments", strings.Join(what, " and "), len(args))
		}
		return atLeast(what...)(cmd, args)
	}
}

// shortID is the part of an id that people type: its random end, as in branches.
func shortID(id string) string { return id[max(0, len(id)-8):] }

// bead finds a bead by its id or the end of it.
func (h hall) bead(ctx context.Context, id string) (town.Bead, error) {
	b, err := h.Bead(ctx, id)
	if err == nil || !errors.Is(err, town.ErrNotFound) || len(id) < 4 {
		return b, err
	}
	list, listErr := h.Beads(ctx, api.BeadQuery{Text: id, Limit: 500})
	if listErr != nil {
		return town.Bead{}, listErr
	}
	var found []town.Bead
	for _, b := range list.Beads {
		if strings.HasSuffix(b.ID, id) {
			found = append(found, b)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return town.Bead{}, err
	}
	return town.Bead{}, fmt.Errorf("%d beads end in %s: give more of its id: %w", len(found), id, town.ErrConflict)
}

// byEnd finds the one of all whose id is or ends in id, and says what there is when
// none does.
func byEnd[T any](all []T, idOf func(T) string, what, id string) (T, error) {
	var found []T
	for _, v := range all {
		if len(id) >= 4 && strings.HasSuffix(idOf(v), id) {
			found = append(found, v)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	var none T
	return none, fmt.Errorf("%d %s end in %q: %w", len(found), what, id, town.ErrNotFound)
}

// clip shortens text to one line of at most n runes.
func clip(text string, n int) string {
	text, _, cut := strings.Cut(strings.TrimSpace(text), "\n")
	runes := []rune(text)
	if len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	if cut {
		return text + " …"
	}
	return text
}

// age says how long ago something was.
func age(t time.Time) string { return ago(time.Since(t)) }

// dash is s, or - for nothing.
func dash(s string) string { return cmp.Or(s, "-") }

func completeRigs(std stdio) cobra.CompletionFunc {
	return completeHall(std, func(ctx context.Context, h hall) (ids []string, err error) {
		rigs, err := h.Rigs(ctx)
		for _, r := range rigs {
			ids = append(ids, r.RigID)
		}
		return ids, err
	})
}

func completeBeads(std stdio, status ...town.BeadStatus) cobra.CompletionFunc {
	return completeHall(std, func(ctx context.Context, h hall) (ids []string, err error) {
		for _, s := range status {
			var list api.BeadList
			if list, err = h.Beads(ctx, api.BeadQuery{Status: s}); err != nil {
				return nil, err
			}
			for _, b := range list.Beads {
				ids = append(ids, cobra.CompletionWithDesc(shortID(b.ID), clip(b.Title, 40)))
			}
		}
		return ids, nil
	})
}

// completeHall completes the first argument by what list returns.
func completeHall(std stdio, list func(context.Context, hall) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) (found []string, _ cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Second) // a person waits for it
		defer cancel()
		r, err := connect(std)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ids, err := list(ctx, r.hall)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, id := range ids {
			if strings.HasPrefix(id, prefix) {
				found = append(found, id)
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
