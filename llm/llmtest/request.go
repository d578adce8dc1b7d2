package llmtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Request is one request for an answer, in the same words for both protocols.
type Request struct {
	Path     string
	Header   http.Header
	Body     json.RawMessage
	Model    string
	System   string // all system prompts, one after another
	Messages []Message
	Tools    []ToolSpec
	Stream   bool
	// Chore is true for a request that offers no tools: a CLI's own errand, as a
	// title for the session. The script is not asked.
	Chore bool

	answer    int // number of this answer, for its id
	firstCall int // number of its first tool call
}

// Message is one message of a conversation. The results of tools are messages of
// the role "tool", whichever protocol.
type Message struct {
	Role  string // user, assistant, tool
	Text  string
	Calls []string // names of the tools that an assistant called
}

// ToolSpec is a tool that a request offers.
type ToolSpec struct {
	Name   string
	Schema struct {
		Properties map[string]struct {
			Type string `json:"type"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
}

// Last returns the newest message, a zero one when there is none.
func (r *Request) Last() Message {
	if len(r.Messages) == 0 {
		return Message{}
	}
	return r.Messages[len(r.Messages)-1]
}

// match returns the call as the tools of this request want it.
func (r *Request) match(t Tool) Tool {
	named := func(name string) int {
		return slices.IndexFunc(r.Tools, func(s ToolSpec) bool { return plain(s.Name) == name })
	}
	i := named(plain(t.Name))
	if i < 0 {
		i = named(plain(t.Name) + "file") // gemini's write_file
	}
	if i < 0 {
		return t
	}
	spec := r.Tools[i]
	input := map[string]any{}
	for key, value := range t.Input {
		for name := range spec.Schema.Properties {
			if plain(name) == plain(key) {
				key = name
			}
		}
		input[key] = value
	}
	for _, name := range spec.Schema.Required {
		if _, ok := input[name]; !ok && spec.Schema.Properties[name].Type == "string" {
			input[name] = "scripted"
		}
	}
	return Tool{Name: spec.Name, Input: input}
}

func plain(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
}

// callID returns the id of an answer's n-th call.
func (r *Request) callID(prefix string, n int) string {
	return fmt.Sprintf("%s_%06d", prefix, r.firstCall+n+1)
}

type block struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Name    string `json:"name"`
	Content blocks `json:"content"`
}

// blocks is a content: a list of typed blocks, or a string instead.
type blocks []block

func (b *blocks) UnmarshalJSON(p []byte) error {
	var text string
	if json.Unmarshal(p, &text) == nil {
		*b = blocks{{Type: "text", Text: text}}
		return nil
	}
	return json.Unmarshal(p, (*[]block)(b))
}

func (b blocks) text() string {
	var parts []string
	for _, c := range b {
		if c.Type == "text" {
			parts = append(parts, c.Text)
		}
	}
	return strings.Join(parts, "\n")
}
