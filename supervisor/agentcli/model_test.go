package agentcli_test

import (
	"encoding/json"
	"slices"
	"strings"

	"townd/llm/llmtest"
	"townd/town"
)

// always is a model that says one thing.
func always(step llmtest.Step) llmtest.Script {
	return func(*llmtest.Request) llmtest.Step { return step }
}

// one is a model that calls one tool in the first answer of a conversation, and
// then says "Done.".
func one(tool string, input map[string]any) llmtest.Script {
	return func(r *llmtest.Request) llmtest.Step {
		if slices.ContainsFunc(r.Messages, func(m llmtest.Message) bool { return m.Role == "tool" }) {
			return llmtest.Step{Text: "Done."}
		}
		return call(tool, input)
	}
}

// call is the call of one tool.
func call(tool string, input map[string]any) llmtest.Step {
	return llmtest.Step{Tools: []llmtest.Tool{{Name: tool, Input: input}}}
}

// asked returns the newest message of the user, to which kilo adds the time.
func asked(r *llmtest.Request) string {
	for _, m := range slices.Backward(r.Messages) {
		if m.Role == "user" {
			return m.Text
		}
	}
	return ""
}

// edits is a model that writes the file that the message names.
func edits(r *llmtest.Request) llmtest.Step {
	if r.Last().Role == "tool" {
		return llmtest.Step{Text: "Done."}
	}
	name := "one.txt"
	if strings.Contains(r.Last().Text, "two.txt") {
		name = "two.txt"
	}
	return llmtest.WriteFile(name, "written\n")(r)
}

const systemPrompt = "You are Toast.\nNever say {env:HOME} or \"quoted\" things. ünï"

// shape is tell without ids and tools' output.
func (a *agent) shape() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []string
	for _, e := range a.events {
		switch d := e.Data.(type) {
		case town.SessionData:
			e.Data = struct{}{}
		case town.ToolCallData:
			e.Data = struct {
				Name  string          `json:"name"`
				Input json.RawMessage `json:"input"`
			}{d.Name, d.Input}
		case town.ToolResultData:
			e.Data = map[string]bool{"ok": d.OK}
		}
		lines = append(lines, render(a.t, e))
	}
	return lines
}

func (a *agent) session() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if d, ok := e.Data.(town.SessionData); ok {
			return d.ID
		}
	}
	a.t.Fatal("no session")
	return ""
}

// count returns how many events have a shape that begins so.
func (a *agent) count(begin string) int {
	n := 0
	for _, e := range a.shape() {
		if strings.HasPrefix(e, begin) {
			n++
		}
	}
	return n
}

// last returns the newest shape that begins so.
func (a *agent) last(begin string) string {
	for _, e := range slices.Backward(a.shape()) {
		if strings.HasPrefix(e, begin) {
			return e
		}
	}
	return ""
}

// wantErrors wants exactly one error, and retries of no other kind.
func (a *agent) wantErrors(kind town.ErrorKind) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	failures := 0
	for _, e := range a.events {
		switch d := e.Data.(type) {
		case town.RetryData:
			if d.Kind != kind {
				a.t.Errorf("retry of kind %q, want %q", d.Kind, kind)
			}
		case town.ErrorData:
			failures++
			if d.Kind != kind {
				a.t.Errorf("error %+v, want kind %q", d, kind)
			}
		}
	}
	if last, ok := a.events[len(a.events)-1].Data.(town.TurnEndedData); failures != 1 || !ok || last.OK {
		a.t.Errorf("%d errors, last %+v; output:\n%s", failures, a.events[len(a.events)-1], a.output)
	}
}
