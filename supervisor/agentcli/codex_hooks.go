package agentcli

import (
	"encoding/json"
	"fmt"
	"strings"

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

func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// codexHook is what codex gives to a hook.
type codexHook struct {
	Event    string          `json:"hook_event_name"`
	Prompt   string          `json:"prompt"`
	Last     string          `json:"last_assistant_message"`
	Tool     string          `json:"tool_name"`
	ToolID   string          `json:"tool_use_id"`
	Input    json.RawMessage `json:"tool_input"`
	Response json.RawMessage `json:"tool_response"`
}

// ParseHook reads what codex tells. It does not tell in which directory a command
// runs, nor, after it, whether it succeeded.
func (codex) ParseHook(stdin []byte) (town.HookCall, error) {
	var h codexHook
	if err := json.Unmarshal(stdin, &h); err != nil {
		return town.HookCall{}, fmt.Errorf("codex's hook: %v: %w", err, town.ErrInvalid)
	}
	point, ok := codexPoints[h.Event]
	if !ok {
		return town.HookCall{}, fmt.Errorf("codex's hook %q: %w", h.Event, town.ErrInvalid)
	}
	call := town.HookCall{Point: point}
	if point == town.HookThinking || point == town.HookStop {
		call.Text = h.Prompt + h.Last // each has its own
		return call, nil
	}
	if h.Tool == "" {
		return town.HookCall{}, fmt.Errorf("codex's hook %s names no tool: %w", h.Event, town.ErrInvalid)
	}
	call.ToolID, call.Tool, call.Input = h.ToolID, h.Tool, h.Input
	codexTool(&call)
	if point == town.HookToolAfter {
		call.OK, call.Output = true, codexOutput(h.Response)
	}
	return call, nil
}

// codexTool says what a call does, where codex's own tools tell.
func codexTool(call *town.HookCall) {
	var input struct {
		Command string `json:"command"`
		Path    string `json:"path"`
	}
	parse(call.Input, &input)
	switch call.Tool {
	case "Bash":
		call.Shell = input.Command
		call.Writes = patchedFiles(input.Command) // codex applies a patch in a command itself
	case "apply_patch":
		call.Writes = patchedFiles(input.Command)
	case "view_image":
		call.Reads = []string{input.Path}
	}
}

// patchedFiles returns the files that a patch in codex's format changes.
func patchedFiles(patch string) []string {
	var files []string
	for line := range strings.Lines(patch) {
		for _, head := range []string{"*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "} {
			if file, ok := strings.CutPrefix(strings.TrimSpace(line), head); ok {
				files = append(files, strings.TrimSpace(file))
			}
		}
	}
	return files
}

// codexOutput returns the text of a tool's response: of a command a string, of an
// MCP server a result with its content.
func codexOutput(raw json.RawMessage) string {
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
	reason := firstOf(a.Reason, "Refused by the town.") // codex ignores a refusal without one
	if call.Point == town.HookToolBefore {
		return HookOutput{Stdout: line(map[string]any{"hookSpecificOutput": map[string]string{
			"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": reason,
		}})}
	}
	return HookOutput{Stdout: line(map[string]string{"decision": "block", "reason": reason})}
}
