package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
)

// anthropic is the protocol of /v1/messages
// (platform.claude.com/docs/en/build-with-claude/streaming).
type anthropic struct{}

func (anthropic) parse(body []byte) (*Request, error) {
	var in struct {
		Model    string `json:"model"`
		System   blocks `json:"system"`
		Stream   bool   `json:"stream"`
		Messages []struct {
			Role    string `json:"role"`
			Content blocks `json:"content"`
		} `json:"messages"`
		Tools []struct {
			Name        string          `json:"name"`
			InputSchema json.RawMessage `json:"input_schema"`
		} `json:"tools"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	r := &Request{Model: in.Model, System: in.System.text(), Stream: in.Stream, Chore: len(in.Tools) == 0}
	for _, m := range in.Messages {
		r.Messages = append(r.Messages, anthropicMessages(m.Role, m.Content)...)
	}
	for _, t := range in.Tools {
		spec := ToolSpec{Name: t.Name}
		_ = json.Unmarshal(t.InputSchema, &spec.Schema) // a tool of the server's own has none
		r.Tools = append(r.Tools, spec)
	}
	return r, nil
}

// anthropicMessages takes the results of tools out of the user's message.
func anthropicMessages(role string, content blocks) []Message {
	var results []Message
	var rest blocks
	m := Message{Role: role}
	for _, b := range content {
		switch b.Type {
		case "tool_result":
			results = append(results, Message{Role: "tool", Text: b.Content.text()})
		case "tool_use":
			m.Calls = append(m.Calls, b.Name)
		default:
			rest = append(rest, b)
		}
	}
	m.Text = rest.text()
	if len(results) > 0 {
		return results // a text beside results is the CLI's own reminder
	}
	return []Message{m}
}

type object = map[string]any

func (anthropic) events(w io.Writer, r *Request, st Step) {
	send := func(event string, data object) {
		data["type"] = event
		b, err := json.Marshal(data)
		if err != nil {
			panic(err) // of a script's own making
		}
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, b)
	}
	message := anthropic{}.message(r, st)
	stop, usage, content := message["stop_reason"], message["usage"].(object), message["content"].([]object)
	output := usage["output_tokens"]
	usage["output_tokens"], message["stop_reason"], message["content"] = 1, nil, []object{}
	send("message_start", object{"message": message})
	for i, block := range content {
		empty, delta := object{"type": "text", "text": ""}, object{"type": "text_delta", "text": block["text"]}
		if block["type"] == "tool_use" {
			input, err := json.Marshal(block["input"])
			if err != nil {
				panic(err) // of a script's own making
			}
			empty = object{"type": "tool_use", "id": block["id"], "name": block["name"], "input": object{}}
			delta = object{"type": "input_json_delta", "partial_json": string(input)}
		}
		send("content_block_start", object{"index": i, "content_block": empty})
		send("content_block_delta", object{"index": i, "delta": delta})
		if !st.Hang {
			send("content_block_stop", object{"index": i})
		}
	}
	if st.Hang {
		return
	}
	send("message_delta", object{"delta": object{"stop_reason": stop, "stop_sequence": nil}, "usage": object{"output_tokens": output}})
	send("message_stop", object{})
}

func (anthropic) whole(r *Request, st Step) any { return anthropic{}.message(r, st) }

func (anthropic) message(r *Request, st Step) object {
	content, stop := []object{}, "end_turn"
	if st.Text != "" {
		content = append(content, object{"type": "text", "text": st.Text})
	}
	for i, t := range st.Tools {
		stop = "tool_use"
		content = append(content, object{"type": "tool_use", "id": r.callID("toolu", i), "name": t.Name, "input": t.Input})
	}
	return object{
		"id": fmt.Sprintf("msg_%06d", r.answer), "type": "message", "role": "assistant", "model": r.Model,
		"content": content, "stop_reason": stop, "stop_sequence": nil,
		"usage": object{
			"input_tokens": st.Usage.Input, "output_tokens": st.Usage.Output,
			"cache_read_input_tokens": st.Usage.CacheRead, "cache_creation_input_tokens": st.Usage.CacheWrite,
		},
	}
}

func (anthropic) fault(kind, message string) any {
	return object{"type": "error", "error": object{"type": kind, "message": message}}
}
