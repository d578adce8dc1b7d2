package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"townd/town"
)

// printJSON prints v for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printTable prints rows in columns; the first is the heading. On a terminal a line
// ends at its width.
func printTable(w io.Writer, rows [][]string) error {
	width := 0
	if f := terminalOf(w); f != nil {
		width, _, _ = term.GetSize(int(f.Fd())) // 0 is any width
	}
	var out strings.Builder
	for _, line := range tableLines(rows) {
		if width > 0 {
			line = ansi.Truncate(line, width, "…")
		}
		out.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// columnGap is what stands between two columns.
const columnGap = "  "

// tableLines returns rows as lines in columns as wide as their widest cell.
func tableLines(rows [][]string) []string {
	widths := columnWidths(rows)
	lines := make([]string, 0, len(rows))
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			cell = printable(cell)
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-ansi.StringWidth(cell)) + columnGap)
			}
		}
		lines = append(lines, line.String())
	}
	return lines
}

// columnWidths is in cells of a terminal.
func columnWidths(rows [][]string) []int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ansi.StringWidth(printable(cell)))
		}
	}
	return widths
}

// printable replaces what could steer the reader's terminal, or turn round what
// stands beside it: the text comes from agents.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// ago says how long something took or how long ago it was, in one unit or two.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// sizeOf writes bytes for people.
func sizeOf(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1fG", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0fM", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.0fK", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%dB", n)
}

// outcome says in words how an agent is.
func outcome(a town.Agent) string {
	switch a.Status {
	case town.StatusRunning:
		switch a.Turn.State {
		case town.TurnWorking:
			return "working"
		case town.TurnIdle:
			return "idle"
		case town.TurnNone:
		}
		return "running"
	case town.StatusExited, town.StatusFailed:
		words := string(a.Reason)
		switch {
		case a.Signal != "":
			words += " (" + a.Signal + ")"
		case a.ExitCode != nil && *a.ExitCode != 0:
			words += fmt.Sprintf(" (code %d)", *a.ExitCode)
		}
		return words
	case town.StatusStarting, town.StatusStopping:
	}
	return string(a.Status)
}

// ended says how an agent ended, in a sentence for people.
func ended(a town.Agent) string {
	s := fmt.Sprintf("%s %s: %s", a.AgentID, a.Status, outcome(a))
	if a.StartedAt != nil && a.ExitedAt != nil {
		s += " after " + ago(a.ExitedAt.Sub(*a.StartedAt))
	}
	if a.Error != "" {
		s += ": " + a.Error
	}
	return printable(s)
}
