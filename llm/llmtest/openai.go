package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
)

// openai is the protocol of /chat/completions
// (platform.openai.com/docs/api-reference/chat-streaming).
type openai struct{}

func (openai) parse(body []byte) (*Request, error) {
	var in struct {
		Model    string `json:"model"`
		Stream   bool   `json:"stream"`
		Messages []struct {
			Role      string `json:"role"`
			Content   blocks `json:"content"`
			ToolCalls []struct {
				Function struct {
					Name string `json:"name"`
				} `json:"function"`
			} `json:"tool_calls"`
		} `json:"messages"`
		Tools []struct {
			Function struct {
				Name       string          `json:"name"`
				Parameters json.RawMessage `json:"parameters"`
			} `json:"function"`
		} `json:"tools"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	r := &Request{Model: in.Model, Stream: in.Stream, Chore: len(in.Tools) == 0}
	for _, m := range in.Messages {
		if m.Role == "system" || m.Role == "developer" {
			if r.System != "" {
				r.System += "\n"
			}
			r.System += m.Content.text()
			continue
		}
		message := Message{Role: m.Role, Text: m.Content.text()}
		for _, c := range m.ToolCalls {
			message.Calls = append(message.Calls, c.Function.Name)
		}
		r.Messages = append(r.Messages, message)
	}
	for _, t := range in.Tools {
		spec := ToolSpec{Name: t.Function.Name}
		_ = json.Unmarshal(t.Function.Parameters, &spec.Schema) // a tool without parameters has no schema
		r.Tools = append(r.Tools, spec)
	}
	return r, nil
}

func (openai) events(w io.Writer, r *Request, st Step) {
	send := func(delta, finish, usage any) {
		choices := []object{{"index": 0, "delta": delta, "finish_reason": finish}}
		if usage != nil {
			choices = []object{}
		}
		b, err := json.Marshal(object{
			"id": fmt.Sprintf("chatcmpl-%06d", r.answer), "object": "chat.completion.chunk", "model": r.Model,
			"choices": choices, "usage": usage,
		})
		if err != nil {
			panic(err) // of a script's own making
		}
		fmt.Fprintf(w, "data: %s\n\n", b)
	}
	message, finish := openai{}.message(r, st)
	send(object{"role": "assistant", "content": message["content"]}, nil, nil)
	if st.Hang {
		return
	}
	if calls, ok := message["tool_calls"].([]object); ok {
		for i, c := range calls {
			c["index"] = i
			send(object{"tool_calls": []object{c}}, nil, nil)
		}
	}
	send(object{}, finish, nil)
	send(nil, nil, openai{}.usage(st))
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func (openai) whole(r *Request, st Step) any {
	message, finish := openai{}.message(r, st)
	return object{
		"id": fmt.Sprintf("chatcmpl-%06d", r.answer), "object": "chat.completion", "model": r.Model,
		"choices": []object{{"index": 0, "message": message, "finish_reason": finish}}, "usage": openai{}.usage(st),
	}
}

func (openai) message(r *Request, st Step) (message object, finish string) {
	message, finish = object{"role": "assistant", "content": st.Text}, "stop"
	var calls []object
	for i, t := range st.Tools {
		input, err := json.Marshal(t.Input)
		if err != nil {
			panic(err) // of a script's own making
		}
		calls = append(calls, object{
			"id": r.callID("call", i), "type": "function", "function": object{"name": t.Name, "arguments": string(input)},
		})
	}
	if calls != nil {
		message["tool_calls"], finish = calls, "tool_calls"
	}
	return message, finish
}

func (openai) usage(st Step) object {
	prompt := st.Usage.Input + st.Usage.CacheRead + st.Usage.CacheWrite
	return object{
		"prompt_tokens": prompt, "completion_tokens": st.Usage.Output, "total_tokens": prompt + st.Usage.Output,
		"prompt_tokens_details": object{"cached_tokens": st.Usage.CacheRead},
	}
}

func (openai) fault(kind, message string) any {
	return object{"error": object{"type": kind, "message": message, "code": kind}}
}
