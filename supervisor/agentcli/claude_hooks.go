package agentcli

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"townd/town"
)

// claudePoints are the hooks of claude that call us, with the point that each is.
// A task is completed when claude ticks off one of its own list, which is not the
// town's word for done.
var claudePoints = map[string]town.HookPoint{
	"UserPromptSubmit":   town.HookThinking,
	"PreToolUse":         town.HookToolBefore,
	"PostToolUse":        town.HookToolAfter,
	"PostToolUseFailure": town.HookToolAfter,
	"StopFailure":        town.HookError,
	"Stop":               town.HookStop,
	"TaskCompleted":      town.HookComplete,
}

// claudeHookSeconds is more than a hook of ours waits for the town.
const claudeHookSeconds = 60

// claudeSettings returns the file of --settings, by which claude calls our program
// at each of its points, without a shell. A hook before a tool that cannot start,
// hangs, crashes or says nonsense denies the tool: claude itself would go on. The
// settings of the agent's home, which claude reads again while it runs, cannot turn
// hooks off: these come before them.
func claudeSettings(townd string) []byte {
	type hook struct {
		Type      string   `json:"type"`
		Command   string   `json:"command"`
		Args      []string `json:"args"`
		Timeout   int      `json:"timeout"` // seconds
		OnFailure string   `json:"onFailure,omitempty"`
	}
	type matcher struct {
		Hooks []hook `json:"hooks"`
	}
	all := map[string][]matcher{}
	for name, point := range claudePoints {
		h := hook{Type: "command", Command: townd, Args: []string{"hook", "claude", string(point)}, Timeout: claudeHookSeconds}
		if point == town.HookToolBefore {
			h.OnFailure = "block"
		}
		all[name] = []matcher{{[]hook{h}}}
	}
	return mustJSON(map[string]any{"hooks": all, "disableAllHooks": false})
}

// ParseHook returns town.ErrInvalid for what is not one of claudePoints. Shell and
// paths are whole, for they are judged; texts are cut like those of events.
func (claude) ParseHook(stdin []byte) (town.HookCall, error) {
	h, point, err := readHook("claude", stdin, claudePoints)
	if err != nil {
		return town.HookCall{}, err
	}
	call := town.HookCall{Point: point}
	failure, _ := h.Error.(string)
	switch point {
	case town.HookThinking:
		call.Text = cut(h.Prompt)
	case town.HookStop:
		call.Text = cut(h.Last)
	case town.HookError:
		call.Text = cut(firstOf(h.ErrorDetails, h.Last, failure))
	case town.HookComplete:
		call.Text = cut(h.TaskSubject)
	case town.HookToolBefore, town.HookToolAfter:
		call.Tool, call.ToolID, call.Dir, call.Input = h.Tool, h.ToolID, h.Dir, cutJSON(h.Input)
		if err := claudeTouches(&call, h.Input); err != nil {
			return town.HookCall{}, fmt.Errorf("input of %s in a hook of claude: %v: %w", h.Tool, err, town.ErrInvalid)
		}
		call.OK = h.Name == "PostToolUse"
		call.Output = cut(firstOf(failure, claudeResponse(h.Response)))
	}
	return call, nil
}

// claudeTouches fills in what a call runs, reads and writes. Its error is for an
// input of another shape than we know: what cannot be judged is not let through.
func claudeTouches(call *town.HookCall, input json.RawMessage) error {
	var in struct {
		Command  string `json:"command"`
		File     string `json:"file_path"`
		Notebook string `json:"notebook_path"`
		Path     string `json:"path"`
		Pattern  string `json:"pattern"`
	}
	switch call.Tool {
	case "Bash", "Monitor", "Read", "NotebookRead", "Write", "Edit", "MultiEdit", "NotebookEdit", "Glob", "Grep", "LS", "EnterWorktree":
	default:
		return nil // an MCP server's, or one that touches no file
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return err
	}
	switch call.Tool {
	case "Bash", "Monitor":
		call.Shell = in.Command
	case "Read", "NotebookRead":
		call.Reads = paths(in.File, in.Notebook)
	case "Write", "Edit", "MultiEdit", "NotebookEdit":
		call.Writes = paths(in.File, in.Notebook)
	case "Glob":
		call.Reads = paths(in.Path)
		if filepath.IsAbs(in.Pattern) {
			call.Reads = append(call.Reads, in.Pattern)
		}
	case "Grep", "LS":
		call.Reads = paths(in.Path)
	case "EnterWorktree":
		call.Writes = paths(in.Path)
	}
	return nil
}

// claudeResponse returns what a tool answered: its text when it is one, what a
// command printed, else the JSON.
func claudeResponse(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var printed struct {
		Stdout *string `json:"stdout"`
		Stderr string  `json:"stderr"`
	}
	if json.Unmarshal(raw, &printed) == nil && printed.Stdout != nil {
		if printed.Stderr == "" {
			return *printed.Stdout
		}
		return *printed.Stdout + "\n" + printed.Stderr
	}
	return string(raw)
}

// AnswerHook lets claude go on with an exit code of 0 and no output. It never exits
// with 1, by which claude goes on too.
func (claude) AnswerHook(call town.HookCall, answer town.HookAnswer) HookOutput {
	if !answer.Deny {
		return HookOutput{}
	}
	switch call.Point {
	case town.HookToolBefore:
		return denyTool(refusal(answer))
	case town.HookStop:
		return block(refusal(answer))
	case town.HookThinking, town.HookToolAfter, town.HookError, town.HookComplete:
	}
	return HookOutput{} // what has happened cannot be denied
}
