package coordinator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"

	"townd/town"
)

// lines are events of one agent in order, one JSON object a line.
type lines struct {
	body   []byte
	events int
	bulk   int // of them, those that go first when room is short
}

// isBulk reports whether an event is one of the many that only show how an agent
// came to what its other events tell.
func isBulk(kind town.EventType) bool {
	switch kind {
	case town.EventText, town.EventThinking, town.EventToolCall, town.EventToolResult:
		return true
	default:
		return false
	}
}

// add appends an event.
func (l *lines) add(e town.AgentEvent) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	l.body = append(append(l.body, line...), '\n')
	l.events++
	if isBulk(e.Event.Event) {
		l.bulk++
	}
	return nil
}

// each yields the lines without their newlines.
func each(body []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for line := range bytes.Lines(body) {
			if !yield(bytes.TrimSuffix(line, []byte("\n"))) {
				return
			}
		}
	}
}

// split returns the first n lines, and the rest.
func split(body []byte, n int) (first, rest []byte) {
	end := 0
	for range n {
		i := bytes.IndexByte(body[end:], '\n')
		if i < 0 {
			return body, nil
		}
		end += i + 1
	}
	return body[:end], body[end:]
}

// thin returns the lines without those events that drop wants to go. Where events
// went is a gap event, with the id of the last of them: it says which is the next.
func thin(body []byte, drop func(town.EventType) bool) lines {
	var kept lines
	var gone *town.AgentEvent // the newest of the run of dropped events before here
	flush := func() {
		if gone == nil {
			return
		}
		data, _ := json.Marshal(town.GapData{From: gone.ID + 1}) // a struct of numbers
		gone.Event.Event, gone.Data = town.EventGap, data
		_ = kept.add(*gone) // it was read from JSON
		gone = nil
	}
	for line := range each(body) {
		var e town.AgentEvent
		if json.Unmarshal(line, &e) != nil {
			continue // none of ours: nothing that can be told
		}
		if drop(e.Event.Event) || e.Event.Event == town.EventGap { // gaps side by side become one
			gone = &e
			continue
		}
		flush()
		kept.body = append(append(kept.body, line...), '\n')
		kept.events++
		if isBulk(e.Event.Event) {
			kept.bulk++
		}
	}
	flush()
	return kept
}

// all has thin leave nothing but one gap.
func all(town.EventType) bool { return true }

// none has thin only count.
func none(town.EventType) bool { return false }
