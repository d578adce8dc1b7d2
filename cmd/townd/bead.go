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

func newBeadCommand(std stdio) *cobra.Command {
	return group("bead", "Give work to the town, and see what became of it",
		newBeadAddCommand(std), newBeadLsCommand(std), newBeadShowCommand(std),
		newBeadCloseCommand(std), newBeadRetryCommand(std), newBeadHoldCommand(std), newBeadEditCommand(std))
}

// beadFlags describe a bead that is to be made.
type beadFlags struct {
	body, bodyFile, priority, kind, dedupe, startPoint, target string
	labels, needs                                              []string
	attempts                                                   int
	after                                                      time.Duration
}

func (f *beadFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.body, "body", "", "what is to be done, at length")
	flags.StringVar(&f.bodyFile, "body-file", "", "read the body from a file, - for standard input")
	flags.StringVar(&f.priority, "priority", "", "low, medium, high or critical (default medium)")
	flags.StringVar(&f.kind, "type", "", "issue, bug, feature, chore or docs (default issue)")
	flags.StringArrayVar(&f.labels, "label", nil, "a label; may be repeated")
	flags.StringArrayVar(&f.needs, "needs", nil, "a bead that must be closed first; may be repeated")
	flags.StringVar(&f.dedupe, "dedupe-key", "", "a second bead of the rig with this key is the first one")
	flags.StringVar(&f.startPoint, "start-point", "", "branch or commit to begin at (default: the target)")
	flags.StringVar(&f.target, "target", "", "branch that the work goes into (default: the rig's default branch)")
	flags.IntVar(&f.attempts, "attempts", 0, fmt.Sprintf("times that it is tried (default %d)", town.DefaultAttempts))
	flags.DurationVar(&f.after, "after", 0, "nobody takes it before this has passed, as 30m")
	for name, values := range map[string][]string{"priority": stringsOf(town.Priorities()), "type": stringsOf(town.BeadTypes())} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

func stringsOf[S ~string](all []S) []string { return strings.Split(joined(all), ",") }

// request is the bead that the flags and its title describe.
func (f *beadFlags) request(ctx context.Context, std stdio, h hall, title string) (town.BeadRequest, error) {
	body, err := readText(std, f.body, f.bodyFile)
	if err != nil {
		return town.BeadRequest{}, err
	}
	req := town.BeadRequest{
		Type: town.BeadType(f.kind), Title: title, Body: body, Priority: town.Priority(f.priority), Labels: f.labels, Source: "person",
		DedupeKey: f.dedupe, MaxAttempts: f.attempts, StartPoint: f.startPoint, Target: f.target,
	}
	for _, id := range f.needs {
		needed, err := h.bead(ctx, id)
		if err != nil {
			return req, fmt.Errorf("--needs: %w", err)
		}
		req.DependsOn = append(req.DependsOn, needed.ID)
	}
	if f.after > 0 {
		req.NotBefore = new(time.Now().Add(f.after).UTC())
	}
	return req, nil
}

// readText is text, or what the file holds.
func readText(std stdio, text, file string) (string, error) {
	switch {
	case file == "":
		return text, nil
	case text != "":
		return "", &exitError{code: exitUsage, err: errors.New("give --body or --body-file, not both")}
	}
	b, err := readFile(std, file)
	return string(b), err
}

func newBeadAddCommand(std stdio) *cobra.Command {
	var f beadFlags
	cmd := &cobra.Command{
		Use:   "add RIG TITLE…",
		Short: "Give a piece of work to a rig; an agent takes it as soon as there is room",
		Example: `  townd bead add site fix the failing test
  townd bead add site --priority high --needs 6f2c1a90 --body-file plan.md move the login page`,
		Args:              atLeast("a rig (townd rig ls)", "a title"),
		ValidArgsFunction: completeRigs(std),
	}
	f.add(cmd)
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (town.Bead, error) {
		req, err := f.request(ctx, std, h, join(args[1:]))
		if err != nil {
			return town.Bead{}, err
		}
		b, created, err := h.CreateBead(ctx, args[0], req)
		if err == nil && !created {
			fmt.Fprintf(std.err, "townd: there is a bead with this key already\n")
		}
		return b, err
	}, printID)
}

func printID(w io.Writer, b town.Bead) error {
	_, err := fmt.Fprintln(w, shortID(b.ID))
	return err
}

func newBeadLsCommand(std stdio) *cobra.Command {
	var q api.BeadQuery
	var all bool
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List beads, newest first", Args: cobra.NoArgs}
	flags := cmd.Flags()
	flags.StringVar(&q.RigID, "rig", "", "of this rig")
	flags.StringVar((*string)(&q.Status), "status", "", "open, in_progress, in_review, closed or failed")
	flags.StringVar(&q.Label, "label", "", "with this label")
	flags.StringVar(&q.ConvoyID, "convoy", "", "of this convoy")
	flags.StringVar(&q.AgentID, "agent", "", "that this agent has or had")
	flags.StringVar(&q.Text, "search", "", "with this text in title, body or id")
	flags.IntVar(&q.Limit, "limit", 50, "at most so many")
	flags.BoolVar(&all, "all", false, "every one, however many")
	_ = cmd.RegisterFlagCompletionFunc("rig", completeRigs(std))
	return hallCommand(std, cmd, func(ctx context.Context, h hall, _ []string) (api.BeadList, error) {
		if !all {
			return h.Beads(ctx, q)
		}
		return allBeads(ctx, h, q)
	}, func(w io.Writer, list api.BeadList) error {
		if err := printTable(w, beadRows(list.Beads)); err != nil || list.Next == "" {
			return err
		}
		_, err := fmt.Fprintln(w, "there are more: --limit or --all")
		return err
	})
}

func allBeads(ctx context.Context, h hall, q api.BeadQuery) (all api.BeadList, err error) {
	for q.Limit = 500; ; q.After = all.Next {
		page, err := h.Beads(ctx, q)
		all.Beads, all.Next = append(all.Beads, page.Beads...), page.Next
		if err != nil || page.Next == "" {
			return all, err
		}
	}
}

func beadRows(beads []town.Bead) [][]string {
	rows := [][]string{{"BEAD", "RIG", "STATUS", "PRIORITY", "AGENT", "AGE", "TITLE", "WHY"}}
	for _, b := range beads {
		rows = append(rows, []string{
			shortID(b.ID), b.RigID, string(b.Status), string(b.Priority), dash(b.AgentID), age(b.CreatedAt), clip(b.Title, 50), clip(b.Why, 60),
		})
	}
	return rows
}

// beadDetail is a bead with its history.
type beadDetail struct {
	town.Bead
	Notes []town.Note `json:"notes"`
}

func newBeadShowCommand(std stdio) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show BEAD", Short: "Show a bead and what happened to it", Args: exactly("a bead (townd bead ls)"),
		ValidArgsFunction: completeBeads(std, town.BeadOpen, town.BeadInProgress, town.BeadInReview, town.BeadFailed, town.BeadClosed),
	}
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (beadDetail, error) {
		b, err := h.bead(ctx, args[0])
		if err != nil {
			return beadDetail{}, err
		}
		notes, err := h.Notes(ctx, b.ID)
		return beadDetail{b, notes}, err
	}, printBead)
}

func printBead(w io.Writer, d beadDetail) error {
	b := d.Bead
	rows := [][]string{
		{"bead", b.ID},
		{"title", b.Title},
		{"status", string(b.Status) + ": " + b.Why},
		{"rig", b.RigID},
		{"type", string(b.Type) + ", " + string(b.Priority)},
		{"labels", strings.Join(b.Labels, ", ")},
		{"needs", strings.Join(b.DependsOn, ", ")},
		{"convoy", b.ConvoyID},
		{"agent", b.AgentID},
		{"branch", b.Branch},
		{"commit", b.Commit},
		{"pull request", b.PullRequest},
		{"attempts", fmt.Sprintf("%d of %d", b.Attempts, b.MaxAttempts)},
		{"made", fmt.Sprintf("%s ago by %s", age(b.CreatedAt), cmp.Or(b.Source, "someone"))},
	}
	shown := rows[:0]
	for _, row := range rows {
		if row[1] != "" {
			shown = append(shown, row)
		}
	}
	if err := printTable(w, shown); err != nil {
		return err
	}
	for _, part := range []struct{ title, text string }{{"body", b.Body}, {"feedback", b.Feedback}, {"summary", b.Summary}} {
		if part.text != "" {
			fmt.Fprintf(w, "\n%s\n%s\n", part.title, printableText(part.text))
		}
	}
	fmt.Fprintln(w)
	return printTable(w, noteRows(d.Notes))
}

// printableText is printable for text of several lines.
func printableText(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, line := range lines {
		lines[i] = printable(strings.ReplaceAll(line, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

func noteRows(notes []town.Note) [][]string {
	rows := [][]string{{"WHEN", "BY", "KIND", "TEXT"}}
	for _, n := range notes {
		rows = append(rows, []string{n.CreatedAt.Local().Format("Jan 02 15:04:05"), n.By, n.Kind, clip(n.Text, 120)})
	}
	return rows
}

func newBeadCloseCommand(std stdio) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "close BEAD", Short: "Close a bead; an agent at it is stopped", Args: exactly("a bead (townd bead ls)"),
		ValidArgsFunction: completeBeads(std, town.BeadOpen, town.BeadInProgress, town.BeadInReview, town.BeadFailed),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for its history")
	return changeBead(std, cmd, func(ctx context.Context, h hall, b town.Bead, _ []string) (town.Bead, error) {
		return h.CloseBead(ctx, b.ID, api.CloseRequest{Reason: reason})
	})
}

func newBeadRetryCommand(std stdio) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "retry BEAD", Short: "Let a bead that failed or is held begin anew", Args: exactly("a bead (townd bead ls --status failed)"),
		ValidArgsFunction: completeBeads(std, town.BeadFailed, town.BeadOpen),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for its history and its next agent")
	return changeBead(std, cmd, func(ctx context.Context, h hall, b town.Bead, _ []string) (town.Bead, error) {
		return h.RetryBead(ctx, b.ID, reason)
	})
}

func newBeadHoldCommand(std stdio) *cobra.Command {
	cmd := &cobra.Command{
		Use: "hold BEAD REASON…", Short: "Let nobody take a bead until it is retried; an agent at it is stopped", Args: atLeast("a bead (townd bead ls)", "a reason"),
		ValidArgsFunction: completeBeads(std, town.BeadOpen, town.BeadInProgress),
	}
	return changeBead(std, cmd, func(ctx context.Context, h hall, b town.Bead, args []string) (town.Bead, error) {
		return h.PatchBead(ctx, b.ID, town.BeadPatch{Hold: new(join(args))})
	})
}

func newBeadEditCommand(std stdio) *cobra.Command {
	var f beadFlags
	var title string
	cmd := &cobra.Command{
		Use: "edit BEAD", Short: "Change a bead that nobody has taken yet", Args: exactly("a bead (townd bead ls)"),
		ValidArgsFunction: completeBeads(std, town.BeadOpen),
	}
	flags := cmd.Flags()
	flags.StringVar(&title, "title", "", "a new title")
	flags.StringVar(&f.body, "body", "", "a new body")
	flags.StringVar(&f.bodyFile, "body-file", "", "read the new body from a file, - for standard input")
	flags.StringVar(&f.priority, "priority", "", "low, medium, high or critical")
	flags.StringArrayVar(&f.labels, "label", nil, "the new labels; may be repeated")
	return changeBead(std, cmd, func(ctx context.Context, h hall, b town.Bead, _ []string) (town.Bead, error) {
		var p town.BeadPatch
		body, err := readText(std, f.body, f.bodyFile)
		if err != nil {
			return town.Bead{}, err
		}
		if flags.Changed("title") {
			p.Title = &title
		}
		if flags.Changed("body") || flags.Changed("body-file") {
			p.Body = &body
		}
		if flags.Changed("priority") {
			p.Priority = new(town.Priority(f.priority))
		}
		if flags.Changed("label") {
			p.Labels = &f.labels
		}
		return h.PatchBead(ctx, b.ID, p)
	})
}

// changeBead completes a command that changes the bead which its first argument
// names, and shows what it came to.
func changeBead(std stdio, cmd *cobra.Command, change func(context.Context, hall, town.Bead, []string) (town.Bead, error)) *cobra.Command {
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (town.Bead, error) {
		b, err := h.bead(ctx, args[0])
		if err != nil {
			return town.Bead{}, err
		}
		return change(ctx, h, b, args[1:])
	}, func(w io.Writer, b town.Bead) error {
		_, err := fmt.Fprintf(w, "%s %s: %s\n", shortID(b.ID), b.Status, printable(clip(b.Why, 200)))
		return err
	})
}
