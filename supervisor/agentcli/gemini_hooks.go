package agentcli

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"townd/town"
)

// geminiHookTimeout is longer than `townd hook` ever waits, in milliseconds: a hook
// that takes longer lets the tool run.
const geminiHookTimeout = 60 * 60 * 1000

// geminiHooks returns the hooks of settings.json: shell commands that call townd.
func geminiHooks(townd string) settings {
	command := "'" + strings.ReplaceAll(townd, "'", `'\''`) + "' hook gemini"
	hooks := settings{}
	for event, otherwise := range map[string]string{
		// A hook that ends by a signal, or says nothing, lets the tool run; 2 and a text
		// does not. At the other points a town that does not answer holds nothing up: to
		// deny the end of a turn is to pay for one more.
		"BeforeTool":  "{ echo 'the hook of the town failed' >&2; exit 2; }",
		"BeforeAgent": "exit 0",
		"AfterTool":   "exit 0",
		"AfterAgent":  "exit 0",
	} {
		hook := settings{"name": "townd", "type": "command", "command": geminiLiteral(command + " || " + otherwise), "timeout": geminiHookTimeout}
		hooks[event] = []settings{{"hooks": []settings{hook}}}
	}
	return hooks
}

type geminiHook struct {
	Event    string          `json:"hook_event_name"`
	Cwd      string          `json:"cwd"`
	Prompt   string          `json:"prompt"`
	Answer   string          `json:"prompt_response"`
	Tool     string          `json:"tool_name"`
	Input    json.RawMessage `json:"tool_input"`
	Response struct {
		Content any             `json:"llmContent"`
		Error   json.RawMessage `json:"error"`
	} `json:"tool_response"`
}

// ParseHook reads what gemini gives to its hooks
// (geminicli.com/docs/hooks/reference).
func (gemini) ParseHook(stdin []byte) (town.HookCall, error) {
	var h geminiHook
	if !parse(stdin, &h) {
		return town.HookCall{}, fmt.Errorf("read gemini's hook: not JSON: %w", town.ErrInvalid)
	}
	switch h.Event {
	case "BeforeAgent":
		return town.HookCall{Point: town.HookThinking, Text: cut(h.Prompt)}, nil
	case "AfterAgent":
		return town.HookCall{Point: town.HookStop, Text: cut(h.Answer)}, nil
	case "BeforeTool":
		return h.call(town.HookToolBefore), nil
	case "AfterTool":
		c := h.call(town.HookToolAfter)
		c.OK = len(h.Response.Error) == 0 || string(h.Response.Error) == "null"
		c.Output = cut(plainContent(h.Response.Content))
		return c, nil
	}
	return town.HookCall{}, fmt.Errorf("gemini's hook %q is not one of ours: %w", h.Event, town.ErrInvalid)
}

// call returns a call of a tool with what it runs, reads and writes.
func (h *geminiHook) call(point town.HookPoint) town.HookCall {
	c := town.HookCall{Point: point, Tool: h.Tool, Input: h.Input}
	var in struct {
		Command string   `json:"command"`
		Dir     string   `json:"dir_path"`
		File    string   `json:"file_path"`
		Include []string `json:"include"`
	}
	parse(h.Input, &in)
	switch h.Tool {
	case "run_shell_command":
		c.Shell, c.Dir = in.Command, in.Dir
		if !filepath.IsAbs(c.Dir) {
			c.Dir = filepath.Join(h.Cwd, c.Dir)
		}
	case "write_file", "replace":
		c.Writes = paths(in.File)
	case "read_file":
		c.Reads = paths(in.File)
	case "read_many_files":
		c.Reads = in.Include
	case "glob", "grep_search", "list_directory":
		c.Reads = paths(in.Dir)
	}
	return c
}

// AnswerHook returns gemini's own words for the answer. A turn that must not end
// goes on with the reason as its next message.
func (gemini) AnswerHook(_ town.HookCall, a town.HookAnswer) HookOutput {
	if !a.Deny {
		return HookOutput{Stdout: []byte("{}\n")}
	}
	return HookOutput{Stdout: line(map[string]string{"decision": "deny", "reason": firstOf(a.Reason, "denied by the town")})}
}
