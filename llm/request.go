package llm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"townd/town"
)

// ask is what a request's body says about what is asked.
type ask struct {
	model          string
	stream         bool
	models         int  // how often the body says which
	modelSpan      span // with its quotes
	object         span // of the body, its opening brace
	streamOptions  span // of that object, its opening brace
	optionsEmpty   bool
	includeUsage   bool
	usageAskedSpan span // of include_usage's value
}

// span is where something stands in a body; zero when it does not.
type span struct{ start, end int64 }

// readAsk finds in a body what the gateway must know, see asking.
func readAsk(body []byte) (ask, error) {
	a := newAsking()
	a.scan.feed(body)
	return a.end(body)
}

// asking reads a body while it arrives: a long conversation takes milliseconds to
// read, and as long to arrive.
type asking struct {
	ask  ask
	scan scanner
}

func newAsking() *asking {
	a := new(asking)
	a.scan.found = a.ask.take
	return a
}

// end returns what the body asks for. It returns ErrInvalid for one that is no
// JSON object, or names two models, of which the provider could take another one
// than we.
func (a *asking) end(body []byte) (ask, error) {
	if !a.scan.done() || a.ask.object.end == 0 {
		return ask{}, fmt.Errorf("the body is not a JSON object: %w", town.ErrInvalid)
	}
	if a.ask.models > 1 {
		return ask{}, fmt.Errorf("the body names its model %d times: %w", a.ask.models, town.ErrInvalid)
	}
	rest := bytes.TrimLeft(body[a.ask.streamOptions.end:], " \t\r\n")
	a.ask.optionsEmpty = a.ask.streamOptions.end > 0 && len(rest) > 0 && rest[0] == '}'
	return a.ask, nil
}

func (a *ask) take(f *field) {
	switch string(f.path) {
	case "":
		if f.kind == '{' && a.object.end == 0 {
			a.object = span{f.start, f.start + 1}
		}
	case ".model":
		a.models++
		if f.kind == '"' {
			a.model, a.modelSpan = f.text(), span{f.start, f.end}
		}
	case ".stream":
		a.stream = string(f.raw) == "true"
	case ".stream_options":
		if f.kind == '{' {
			a.streamOptions = span{f.start, f.start + 1}
		}
	case ".stream_options.include_usage":
		a.includeUsage, a.usageAskedSpan = string(f.raw) == "true", span{f.start, f.end}
	}
}

// edit replaces what stands in a span.
type edit struct {
	at   span
	with string
}

// rewrite returns body with those edits; every other byte stays as it is.
func rewrite(body []byte, edits ...edit) []byte {
	if len(edits) == 0 {
		return body
	}
	slices.SortFunc(edits, func(a, b edit) int { return int(a.at.start - b.at.start) })
	var out bytes.Buffer
	out.Grow(len(body) + 256)
	var done int64
	for _, e := range edits {
		out.Write(body[done:e.at.start])
		out.WriteString(e.with)
		done = e.at.end
	}
	out.Write(body[done:])
	return out.Bytes()
}

// setModel is the edit that makes a request ask for model.
func (a *ask) setModel(model string) edit {
	quoted, err := json.Marshal(model)
	if err != nil {
		panic(err) // of a string
	}
	return edit{a.modelSpan, string(quoted)}
}

// wantUsage returns the edit that makes a stream of the OpenAI dialect tell its
// usage: without being asked it does not. The client then gets one more chunk,
// without choices, at the end.
func (a *ask) wantUsage() (edit, bool) {
	const asked = `"include_usage":true`
	switch {
	case !a.stream || a.includeUsage:
		return edit{}, false
	case a.usageAskedSpan.end > 0:
		return edit{a.usageAskedSpan, "true"}, true
	case a.optionsEmpty:
		return edit{span{a.streamOptions.end, a.streamOptions.end}, asked}, true
	case a.streamOptions.end > 0:
		return edit{span{a.streamOptions.end, a.streamOptions.end}, asked + ","}, true
	}
	return edit{span{a.object.end, a.object.end}, `"stream_options":{` + asked + `},`}, true
}
