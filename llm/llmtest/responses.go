package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// responses is the protocol of /responses
// (platform.openai.com/docs/api-reference/responses-streaming). It is of one
// request: how a tool is called depends on how it was offered.
type responses struct {
	offers map[string]offer // by the name of the tool
}

// offer is how a request offers a tool.
type offer struct {
	kind      string // function, custom, local_shell
	namespace string // of the tools of one server, "" for a tool of the CLI's own
}

type responsesTool struct {
	Type       string          `json:"type"`
	Name       string          `json:"name"`
	Parameters json.RawMessage `json:"parameters"`
	Tools      []responsesTool `json:"tools"` // of a namespace
}

func (p *responses) parse(body []byte) (*Request, error) {
	var in struct {
		Model        string          `json:"model"`
		Stream       bool            `json:"stream"`
		Instructions string          `json:"instructions"`
		Input        inputItems      `json:"input"`
		Tools        []responsesTool `json:"tools"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	r := &Request{Model: in.Model, Stream: in.Stream, System: in.Instructions}
	p.offers = map[string]offer{}
	p.offer(r, in.Tools, "")
	for _, item := range in.Input {
		p.offer(r, item.Tools, "") // of an item "additional_tools"
		item.addTo(r)
	}
	r.Chore = len(r.Tools) == 0
	return r, nil
}

// offer notes the tools of a request, or of one of its namespaces.
func (p *responses) offer(r *Request, tools []responsesTool, namespace string) {
	for _, t := range tools {
		switch t.Type {
		case "namespace":
			p.offer(r, t.Tools, t.Name)
			continue
		case "local_shell":
			t.Name = t.Type
		case "function", "custom":
		default:
			continue // what the provider runs itself, as web_search
		}
		spec := ToolSpec{Name: t.Name}
		_ = json.Unmarshal(t.Parameters, &spec.Schema) // a custom tool has no schema
		r.Tools = append(r.Tools, spec)
		p.offers[t.Name] = offer{t.Type, namespace}
	}
}

// inputItems is an input: a list of typed items, or a string instead.
type inputItems []inputItem

type inputItem struct {
	Type    string          `json:"type"` // a message when empty
	Role    string          `json:"role"`
	Name    string          `json:"name"`
	Content responsesText   `json:"content"`
	Output  responsesOutput `json:"output"`
	Tools   []responsesTool `json:"tools"`
}

func (in *inputItems) UnmarshalJSON(p []byte) error {
	var text string
	if json.Unmarshal(p, &text) == nil {
		*in = inputItems{{Role: "user", Content: responsesText(text)}}
		return nil
	}
	return json.Unmarshal(p, (*[]inputItem)(in))
}

// addTo adds an item to the request's conversation. An assistant's calls are items
// of their own; they join the message before them.
func (in inputItem) addTo(r *Request) {
	switch {
	case in.Type != "" && in.Type != "message":
	case in.Role == "system" || in.Role == "developer":
		r.System = strings.TrimPrefix(r.System+"\n"+string(in.Content), "\n")
		return
	default:
		r.Messages = append(r.Messages, Message{Role: in.Role, Text: string(in.Content)})
		return
	}
	switch in.Type {
	case "function_call", "custom_tool_call", "local_shell_call":
		if r.Last().Role != "assistant" {
			r.Messages = append(r.Messages, Message{Role: "assistant"})
		}
		last := &r.Messages[len(r.Messages)-1]
		last.Calls = append(last.Calls, in.Name)
	case "function_call_output", "custom_tool_call_output", "local_shell_call_output":
		r.Messages = append(r.Messages, Message{Role: "tool", Text: string(in.Output)})
	}
}

// responsesText is a content: parts with a text, or the text itself.
type responsesText string

func (t *responsesText) UnmarshalJSON(p []byte) error {
	if json.Unmarshal(p, (*string)(t)) == nil {
		return nil
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(p, &parts); err != nil {
		return err
	}
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = part.Text
	}
	*t = responsesText(strings.Join(texts, "\n"))
	return nil
}

// responsesOutput is a tool's output: as a content, or any object.
type responsesOutput string

func (o *responsesOutput) UnmarshalJSON(p []byte) error {
	var text responsesText
	if json.Unmarshal(p, &text) != nil {
		text = responsesText(p)
	}
	*o = responsesOutput(text)
	return nil
}

func (p *responses) events(w io.Writer, r *Request, st Step) {
	sequence := 0
	send := func(kind string, more object) {
		more["type"], more["sequence_number"] = kind, sequence
		sequence++
		b, err := json.Marshal(more)
		if err != nil {
			panic(err) // of a script's own making
		}
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, b)
	}
	send("response.created", object{"response": p.response(r, nil, nil)})
	output := p.output(r, st)
	for i, item := range output {
		send("response.output_item.added", object{"output_index": i, "item": item})
		at := object{"output_index": i, "item_id": item["id"]}
		switch item["type"] {
		case "message":
			send("response.output_text.delta", merged(at, object{"content_index": 0, "delta": st.Text}))
			if st.Hang {
				return
			}
			send("response.output_text.done", merged(at, object{"content_index": 0, "text": st.Text}))
		case "function_call":
			send("response.function_call_arguments.delta", merged(at, object{"delta": item["arguments"]}))
			send("response.function_call_arguments.done", merged(at, object{"arguments": item["arguments"]}))
		case "custom_tool_call":
			send("response.custom_tool_call_input.delta", merged(at, object{"delta": item["input"]}))
			send("response.custom_tool_call_input.done", merged(at, object{"input": item["input"]}))
		}
		send("response.output_item.done", object{"output_index": i, "item": item})
	}
	if !st.Hang {
		send("response.completed", object{"response": p.response(r, output, &st)})
	}
}

func merged(a, b object) object {
	maps.Copy(b, a)
	return b
}

func (p *responses) whole(r *Request, st Step) any { return p.response(r, p.output(r, st), &st) }

// response is the answer, without a usage while it is not complete.
func (p *responses) response(r *Request, output []object, done *Step) object {
	resp := object{
		"id": fmt.Sprintf("resp_%06d", r.answer), "object": "response", "model": r.Model, "status": "in_progress",
		"output": slices.Concat([]object{}, output),
	}
	if done != nil {
		resp["status"], resp["usage"] = "completed", p.usage(*done)
	}
	return resp
}

func (p *responses) output(r *Request, st Step) []object {
	var output []object
	if st.Text != "" {
		output = append(output, object{
			"id": fmt.Sprintf("msg_%06d", r.answer), "type": "message", "role": "assistant", "status": "completed",
			"content": []object{{"type": "output_text", "text": st.Text, "annotations": []object{}}},
		})
	}
	for i, t := range st.Tools {
		if _, ok := p.offers[t.Name]; !ok && t.Name == "write" {
			t = p.write(t)
		}
		output = append(output, p.call(r.callID("fc", i), r.callID("call", i), t))
	}
	return output
}

// write returns the call that writes a file with what is offered: Codex has no tool
// of that name.
func (p *responses) write(t Tool) Tool {
	name, content := fmt.Sprint(t.Input["file_path"]), fmt.Sprint(t.Input["content"])
	if _, ok := p.offers["apply_patch"]; ok {
		lines := "+" + strings.ReplaceAll(strings.TrimSuffix(content, "\n"), "\n", "\n+")
		patch := "*** Begin Patch\n*** Add File: " + name + "\n" + lines + "\n*** End Patch\n"
		return Tool{Name: "apply_patch", Input: map[string]any{"input": patch}}
	}
	script := fmt.Sprintf("cat >'%s' <<'END'\n%s\nEND\n", name, strings.TrimSuffix(content, "\n"))
	return Tool{Name: "exec_command", Input: map[string]any{"cmd": script}}
}

func (p *responses) call(id, callID string, t Tool) object {
	call := object{"id": id, "call_id": callID, "status": "completed", "name": t.Name}
	o := p.offers[t.Name]
	if o.namespace != "" {
		call["namespace"] = o.namespace
	}
	switch o.kind {
	case "custom":
		call["type"], call["input"] = "custom_tool_call", t.Input["input"]
	case "local_shell":
		call["type"], call["action"] = "local_shell_call", merged(object{"type": "exec"}, t.Input)
	default:
		input, err := json.Marshal(t.Input)
		if err != nil {
			panic(err) // of a script's own making
		}
		call["type"], call["arguments"] = "function_call", string(input)
	}
	return call
}

func (p *responses) usage(st Step) object {
	input := st.Usage.Input + st.Usage.CacheRead + st.Usage.CacheWrite
	return object{
		"input_tokens": input, "input_tokens_details": object{"cached_tokens": st.Usage.CacheRead},
		"output_tokens": st.Usage.Output, "output_tokens_details": object{"reasoning_tokens": 0},
		"total_tokens": input + st.Usage.Output,
	}
}

func (p *responses) fault(kind, message string) any { return openai{}.fault(kind, message) }
