package agentcli

import (
	"encoding/json"
	"fmt"
	"strings"

	"townd/town"
)

// hookEvent is what a CLI gives to a hook that is a program: claude, and those that
// took their hooks from it. Each has some of the fields.
type hookEvent struct {
	Name         string          `json:"hook_event_name"`
	Dir          string          `json:"cwd"`
	Prompt       string          `json:"prompt"`
	Last         string          `json:"last_assistant_message"`
	Answer       string          `json:"prompt_response"`
	Tool         string          `json:"tool_name"`
	ToolID       string          `json:"tool_use_id"`
	Input        json.RawMessage `json:"tool_input"`
	Response     json.RawMessage `json:"tool_response"`
	Error        any             `json:"error"` // of a tool, or of the turn
	ErrorDetails string          `json:"error_details"`
	TaskSubject  string          `json:"task_subject"`
}

// readHook returns what is given to a hook of cli, with its point, which is one of
// points. It returns town.ErrInvalid for all else.
func readHook(cli string, stdin []byte, points map[string]town.HookPoint) (h hookEvent, point town.HookPoint, err error) {
	if err := json.Unmarshal(stdin, &h); err != nil {
		return h, "", fmt.Errorf("read a hook of %s: %v: %w", cli, err, town.ErrInvalid)
	}
	point, ok := points[h.Name]
	if !ok {
		return h, "", fmt.Errorf("%s has no hook %.40q that calls the town: %w", cli, h.Name, town.ErrInvalid)
	}
	if h.Tool == "" && (point == town.HookToolBefore || point == town.HookToolAfter) {
		return h, "", fmt.Errorf("hook %s of %s names no tool: %w", h.Name, cli, town.ErrInvalid)
	}
	return h, point, nil
}

// refusal is the reason of an answer that gives none, without which a CLI may not
// heed it.
func refusal(a town.HookAnswer) string { return firstOf(a.Reason, "The town does not allow this.") }

// denyTool is the answer of claude and codex before a tool that is not to be called.
func denyTool(reason string) HookOutput {
	return HookOutput{Stdout: line(map[string]any{"hookSpecificOutput": map[string]string{
		"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": reason,
	}})}
}

// block is their answer to the end of a turn, which goes on with the reason.
func block(reason string) HookOutput {
	return HookOutput{Stdout: line(map[string]string{"decision": "block", "reason": reason})}
}

// shellWord quotes s for a shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// paths returns those that are given.
func paths(given ...string) []string {
	var all []string
	for _, path := range given {
		if path != "" {
			all = append(all, path)
		}
	}
	return all
}

// patched returns the paths that a patch changes, in the format that models were
// taught with codex.
func patched(patch string) []string {
	var all []string
	for line := range strings.Lines(patch) {
		for _, mark := range []string{"*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "} {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), mark); ok {
				all = append(all, paths(strings.TrimSpace(path))...)
			}
		}
	}
	return all
}

// plainContent returns the text of a content that is a string or a list of blocks.
func plainContent(content any) string {
	if text, ok := content.(string); ok {
		return text
	}
	blocks, _ := content.([]any)
	var parts []string
	for _, b := range blocks {
		block, _ := b.(map[string]any)
		if text, ok := block["text"].(string); ok {
			parts = append(parts, text)
		} else if kind, ok := block["type"].(string); ok {
			parts = append(parts, "["+kind+"]") // an image
		}
	}
	return strings.Join(parts, "\n")
}
