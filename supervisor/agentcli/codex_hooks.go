package agentcli

import (
	"encoding/json"

	"townd/town"
)

// codexPoints are the hooks of codex that we use. It has none for an error.
var codexPoints = map[string]town.HookPoint{
	"UserPromptSubmit": town.HookThinking,
	"PreToolUse":       town.HookToolBefore,
	"PostToolUse":      town.HookToolAfter,
	"Stop":             town.HookStop,
}

// codexHooks returns the configuration of the hooks, which codex runs by a shell.
func codexHooks(townd string) map[string]any {
	hooks := map[string]any{}
	for name, point := range codexPoints {
		command := shellWord(townd) + " hook codex"
		if point == town.HookToolBefore {
			// codex goes on when a hook fails, save for this code with a text.
			command += " || { echo 'The town could not be asked, so the call is refused.' >&2; exit 2; }"
		}
		hooks[name] = []any{map[string]any{"hooks": []any{map[string]any{
			"type": "command", "command": command,
			"timeout": 3600, // of seconds; codex goes on after it, so that the hook must end by itself before
		}}}}
	}
	return hooks
}

// ParseHook reads what codex tells. It does not tell in which directory a command
// runs, nor, after it, whether it succeeded.
func (codex) ParseHook(stdin []byte) (town.HookCall, error) {
	h, point, err := readHook("codex", stdin, codexPoints)
	if err != nil {
		return town.HookCall{}, err
	}
	call := town.HookCall{Point: point}
	if point == town.HookThinking || point == town.HookStop {
		call.Text = cut(h.Prompt + h.Last) // each has its own
		return call, nil
	}
	call.ToolID, call.Tool, call.Input = h.ToolID, h.Tool, cutJSON(h.Input)
	codexTouches(&call, h.Input)
	if point == town.HookToolAfter {
		call.OK, call.Output = true, cut(codexResponse(h.Response))
	}
	return call, nil
}

// codexTouches fills in what a call runs, reads and writes.
func codexTouches(call *town.HookCall, input json.RawMessage) {
	var in struct {
		Command string `json:"command"`
		Path    string `json:"path"`
	}
	parse(input, &in)
	switch call.Tool {
	case "Bash":
		call.Shell = in.Command
		call.Writes = patched(in.Command) // codex applies a patch in a command itself
	case "apply_patch":
		call.Writes = patched(in.Command)
	case "view_image":
		call.Reads = paths(in.Path)
	}
}

// codexResponse returns the text of a tool's response: of a command a string, of an
// MCP server a result with its content.
func codexResponse(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var result struct {
		Content any `json:"content"`
	}
	if json.Unmarshal(raw, &result) == nil {
		if text = plainContent(result.Content); text != "" {
			return text
		}
	}
	return string(raw)
}

// AnswerHook refuses in the form of each hook. A turn whose end is refused goes on
// with the reason as its next message.
func (codex) AnswerHook(call town.HookCall, a town.HookAnswer) HookOutput {
	if !a.Deny {
		return HookOutput{}
	}
	if call.Point == town.HookToolBefore {
		return denyTool(refusal(a))
	}
	return block(refusal(a))
}
