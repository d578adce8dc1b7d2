package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"townd/api"
	"townd/town"
)

func newEventsCommand(std stdio) *cobra.Command {
	var follow, asJSON bool
	cmd := &cobra.Command{
		Use:   "events AGENT",
		Short: "Print what an agent did, an event a line",
		Long: `Print what an agent did, an event a line: states, turns, texts, calls of tools and
their results, usage, errors. The words are the same for every agent program.`,
		Args:              agentArg,
		ValidArgsFunction: completeAgents(std, anyAgent),
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			show := func(e town.Event) error {
				if asJSON {
					return json.NewEncoder(std.out).Encode(e)
				}
				text, err := eventText(e)
				if err == nil {
					_, err = fmt.Fprintf(std.out, "%s  %-12s %s\n", e.Timestamp.Local().Format("15:04:05"), e.Event, printable(text))
				}
				return err
			}
			if follow {
				_, err := followEvents(ctx, r, args[0], show)
				return err
			}
			return pastEvents(ctx, r, args[0], show)
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the agent ends")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a line")
	return cmd
}

// pastEvents shows the events that are held.
func pastEvents(ctx context.Context, r *remote, id string, show func(town.Event) error) error {
	cursor := ""
	for {
		page, err := r.Events(ctx, id, cursor, 0)
		if err != nil {
			return err
		}
		if len(page.Events) == 0 {
			return nil
		}
		for _, e := range page.Events {
			if err := show(e); err != nil {
				return err
			}
		}
		cursor = page.Cursor()
	}
}

// followEvents shows every event from the first held until the agent's run ends.
func followEvents(ctx context.Context, r *remote, id string, show func(town.Event) error) (api.ExitFrame, error) {
	return r.Follow(ctx, id, api.StreamOptions{After: "live", Events: "0"}, func(m api.Message) error {
		if frame, ok := m.Frame.(api.EventFrame); ok {
			return show(frame.Event)
		}
		return nil
	})
}

// eventText says an event in a line: in words where its fields alone say little,
// else as its fields are.
func eventText(e town.Event) (string, error) {
	switch e.Event {
	case town.EventHook:
		d, err := dataOf[town.HookData](e)
		return hookText(d), err
	case town.EventBudget:
		d, err := dataOf[town.BudgetData](e)
		return budgetText(d), err
	case town.EventMessage:
		d, err := dataOf[town.MessageData](e)
		return d.MessageID + " " + string(d.Receipt), err
	default:
		return string(e.Data), nil
	}
}

// hookText says what a hook told, and what the town answered when it denied.
func hookText(d town.HookData) string {
	s := string(d.Name)
	if d.Tool != "" {
		s += " " + d.Tool
	}
	if d.Decision == "deny" {
		s += ": denied: " + d.Reason
	}
	return s
}

// budgetText says how much of a limit is used up, in the limit's own unit.
func budgetText(d town.BudgetData) string {
	unit := func(n float64) string {
		switch d.Limit {
		case "costUsd":
			return fmt.Sprintf("$%.2f", n)
		case "seconds", "idleSeconds":
			return ago(time.Duration(n * float64(time.Second)))
		}
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	s := fmt.Sprintf("%s: %s of %s", d.Limit, unit(d.Used), unit(d.Of))
	if d.Used >= d.Of {
		return s + ", used up"
	}
	if d.Of > 0 {
		s += fmt.Sprintf(" (%.0f%%)", 100*d.Used/d.Of)
	}
	return s
}

// checkpointText says what was saved, and what was not.
func checkpointText(d town.CheckpointData) string {
	var parts []string
	if d.Commit != "" {
		parts = append(parts, "saved as "+d.Ref)
	}
	if d.LeftOutCount > 0 && len(d.LeftOut) > 0 {
		first := d.LeftOut[0]
		parts = append(parts, fmt.Sprintf("not saved: %d, as %s: %s", d.LeftOutCount, first.Path, first.Why))
	}
	return strings.Join(parts, "; ")
}

// drawEvent prints an event as people want to read it: what was said and done.
func drawEvent(w io.Writer, e town.Event) error {
	line, err := eventLine(e)
	if err == nil && line != "" {
		_, err = fmt.Fprintln(w, line)
	}
	return err
}

// eventLine returns "" for what people need not see.
func eventLine(e town.Event) (string, error) {
	switch e.Event {
	case town.EventText:
		d, err := dataOf[town.TextData](e)
		return lines(d.Text), err
	case town.EventToolCall:
		d, err := dataOf[town.ToolCallData](e)
		return printable(fmt.Sprintf("→ %s %s", d.Name, cut(inputText(d.Input), 200))), err
	case town.EventToolResult:
		d, err := dataOf[town.ToolResultData](e)
		mark := "  "
		if !d.OK {
			mark = "✗ "
		}
		return mark + strings.ReplaceAll(lines(cut(strings.TrimRight(d.Output, "\n"), 600)), "\n", "\n  "), err
	case town.EventError:
		d, err := dataOf[town.ErrorData](e)
		return printable(fmt.Sprintf("✗ %s: %s", d.Kind, d.Message)), err
	case town.EventRetry:
		d, err := dataOf[town.RetryData](e)
		return fmt.Sprintf("… %s: attempt %d in %.0fs", d.Kind, d.Attempt, d.DelaySeconds), err
	case town.EventTurnEnded:
		d, err := dataOf[town.TurnEndedData](e)
		if !d.OK {
			return "● turn failed: " + printable(d.Text), err
		}
		return "● turn ended", err
	case town.EventState:
		d, err := dataOf[town.StateData](e)
		return "● " + strings.TrimSpace(string(d.Status)+" "+string(d.Reason)), err
	case town.EventCheckpoint:
		d, err := dataOf[town.CheckpointData](e)
		return printable("● " + checkpointText(d)), err
	case town.EventGap:
		return "● earlier events are no longer held", nil
	case town.EventHook:
		d, err := dataOf[town.HookData](e)
		if d.Decision != "deny" {
			return "", err
		}
		return printable("✗ " + hookText(d)), err
	case town.EventBudget:
		d, err := dataOf[town.BudgetData](e)
		return printable("● " + budgetText(d)), err
	case town.EventMessage:
		d, err := dataOf[town.MessageData](e)
		if d.Receipt != town.ReceiptFailed {
			return "", err
		}
		return printable("✗ message " + d.MessageID + " did not reach the agent"), err
	case town.EventSession, town.EventTurnStarted, town.EventThinking, town.EventUsage:
	}
	return "", nil
}

// inputText says what a tool is called with: the command line of one that runs it,
// else the input as it is, in letters that JSON would escape for HTML.
func inputText(input json.RawMessage) string {
	var shell struct{ Command, Cmd any }
	if json.Unmarshal(input, &shell) == nil {
		for _, line := range []any{shell.Command, shell.Cmd} {
			if line, ok := line.(string); ok {
				return line
			}
		}
	}
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(input))
}

func dataOf[T any](e town.Event) (T, error) {
	var d T
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return d, fmt.Errorf("event %d: %s: %w", e.ID, e.Event, err)
	}
	return d, nil
}

// lines is printable for text of several lines.
func lines(s string) string {
	parts := strings.Split(s, "\n")
	for i, part := range parts {
		parts[i] = printable(strings.ReplaceAll(part, "\t", "    "))
	}
	return strings.Join(parts, "\n")
}

// cut shortens s to at most n bytes and says so.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}
