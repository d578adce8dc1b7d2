package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"townd/town"
)

func newTownCommand(std stdio) *cobra.Command {
	pause := &cobra.Command{Use: "pause REASON…", Short: "Hand out no work; agents at work go on", Args: atLeast("a reason")}
	resume := &cobra.Command{Use: "resume", Short: "Hand out work again", Args: cobra.NoArgs}
	quota := &cobra.Command{
		Use: "min-quota PERCENT", Short: "Start no agents while less of a model provider's quota is left; 0 for never", Args: exactly("how many percent"),
	}
	status := &cobra.Command{Use: "status", Short: "Show on one screen what everybody does and why", Args: cobra.NoArgs}
	return group("town", "The town as a whole",
		hallCommand(std, status, func(ctx context.Context, h hall, _ []string) (town.TownStatus, error) { return h.TownStatus(ctx) }, printTown),
		hallCommand(std, pause, func(ctx context.Context, h hall, args []string) (town.TownStatus, error) {
			return h.Pause(ctx, join(args))
		}, printTown),
		hallCommand(std, resume, func(ctx context.Context, h hall, _ []string) (town.TownStatus, error) { return h.Pause(ctx, "") }, printTown),
		hallCommand(std, quota, func(ctx context.Context, h hall, args []string) (town.TownStatus, error) {
			percent, err := strconv.Atoi(args[0])
			if err != nil {
				return town.TownStatus{}, fmt.Errorf("%q is no whole number: %w", args[0], town.ErrInvalid)
			}
			return h.SetMinQuota(ctx, percent)
		}, printTown))
}

func newSlingCommand(std stdio) *cobra.Command {
	cmd := newBeadAddCommand(std)
	cmd.Use, cmd.Short = "sling RIG TITLE…", "Give a piece of work to a rig: bead add in one word"
	cmd.Example = "  townd sling site fix the failing test"
	return cmd
}

// printTown prints the town, what needs a person first.
func printTown(w io.Writer, s town.TownStatus) error {
	fmt.Fprintf(w, "town %s: %s\n", s.TownID, strings.Join(townLine(s), ", "))
	if s.Paused != "" {
		fmt.Fprintf(w, "paused: %s (townd town resume)\n", printable(s.Paused))
	}
	if s.Standby != nil {
		fmt.Fprintln(w, standbyLine(*s.Standby))
	}
	for _, part := range []struct {
		title string
		rows  [][]string
	}{
		{"waits for you: townd ask answer", questionRows(s.Questions)},
		{"needs judgement: townd escalations close", escalationRows(s.Escalations)},
		{"at work", workRows(s)},
		{"being merged", mergeRows(s.Merges)},
		{"next", beadRows(s.Waiting)},
	} {
		if len(part.rows) < 2 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", part.title)
		if err := printTable(w, part.rows); err != nil {
			return err
		}
	}
	return nil
}

// standbyLine says until when no agents are started, in the time of this place.
func standbyLine(s town.Standby) string {
	return fmt.Sprintf("standby until %s: %s", s.Until.Local().Format("15:04"), printable(s.Why))
}

// townLine is the town in a few words.
func townLine(s town.TownStatus) []string {
	parts := []string{"no container has reported yet"}
	if i := s.Instance; i != nil {
		parts = []string{fmt.Sprintf("container %s %s ago", i.Status, age(i.SeenAt))}
		if i.Outbox.Pending > 0 || i.Outbox.Dead > 0 {
			parts = append(parts, fmt.Sprintf("%d reports on their way, %d refused", i.Outbox.Pending, i.Outbox.Dead))
		}
	}
	if q := s.Quota; q != nil {
		parts = append(parts, fmt.Sprintf("%s %s ago", printable(q.String()), age(q.CheckedAt)))
	}
	if s.MinQuota > 0 {
		parts = append(parts, fmt.Sprintf("minimum %d %%", s.MinQuota))
	}
	for _, status := range []town.BeadStatus{town.BeadOpen, town.BeadInProgress, town.BeadInReview, town.BeadFailed, town.BeadClosed} {
		if n := s.Beads[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ReplaceAll(string(status), "_", " ")))
		}
	}
	return parts
}

func workRows(s town.TownStatus) [][]string {
	rows := [][]string{{"AGENT", "ROLE", "RIG", "BEAD", "STATUS", "TURN", "COST", "SINCE", "DOES"}}
	for _, a := range s.Agents {
		since := "-"
		if a.StartedAt != nil {
			since = age(*a.StartedAt)
		}
		does := a.Why
		if a.Says != "" {
			does = a.Says
		}
		rows = append(rows, []string{
			a.AgentID, string(a.Role), dash(a.RigID), dash(shortID(a.BeadID)), string(a.Status), string(a.Turn.State), costOf(a.Usage), since, clip(does, 80),
		})
	}
	return rows
}

func mergeRows(all []town.Merge) [][]string {
	rows := [][]string{{"MERGE", "RIG", "BEAD", "BRANCH", "INTO", "STATUS", "TRIES", "AGE", "WHY"}}
	for _, m := range all {
		rows = append(rows, []string{
			shortID(m.ID), m.RigID, shortID(m.BeadID), m.Branch, m.Target, string(m.Status), fmt.Sprint(m.Attempts), age(m.CreatedAt), clip(m.Message, 80),
		})
	}
	return rows
}
