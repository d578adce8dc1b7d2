package agentcli

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"townd/town"
)

// enginePlugin runs inside the engine and calls `townd hook`. It begins after the
// line that says which program that is.
//
//go:embed engine_plugin.js
var enginePlugin string

// plugin returns the file of our plugin, which lies in the agent's own home.
func (e engine) plugin(s Spec) File {
	return s.promptFile("hooks.js", "const hook = "+string(mustJSON([]string{s.Townd, "hook", e.name}))+"\n"+enginePlugin)
}

// engineHook is what our plugin says.
type engineHook struct {
	Hook   string          `json:"hook"` // the engine's name for the moment
	Text   string          `json:"text"`
	Tool   string          `json:"tool"`
	CallID string          `json:"callID"`
	Args   json.RawMessage `json:"args"`
	Output string          `json:"output"`
}

// engineArgs are the arguments of the engine's own tools that we know.
type engineArgs struct {
	Command   string `json:"command"`
	Workdir   string `json:"workdir"`
	FilePath  string `json:"filePath"`
	Path      string `json:"path"`
	PatchText string `json:"patchText"`
}

func (engine) ParseHook(stdin []byte) (town.HookCall, error) {
	var h engineHook
	if err := json.Unmarshal(stdin, &h); err != nil {
		return town.HookCall{}, fmt.Errorf("read hook call (%v): %w", err, town.ErrInvalid)
	}
	c := town.HookCall{Text: h.Text, ToolID: h.CallID, Tool: h.Tool, Input: h.Args}
	switch h.Hook {
	case "chat.message":
		c.Point = town.HookThinking
	case "tool.execute.before":
		c.Point = town.HookToolBefore
	case "tool.execute.after": // which the engine calls for a tool that did not fail
		c.Point, c.OK, c.Output = town.HookToolAfter, true, h.Output
	case "session.error":
		c.Point = town.HookError
	case "session.idle":
		c.Point, c.Told = town.HookStop, true
	default:
		return town.HookCall{}, fmt.Errorf("hook %q is not one of ours: %w", h.Hook, town.ErrInvalid)
	}
	var a engineArgs
	parse(h.Args, &a)
	switch h.Tool {
	case "bash", "background_process":
		c.Shell, c.Dir = a.Command, a.Workdir
	case "read":
		c.Reads = paths(a.FilePath)
	case "list", "glob", "grep":
		c.Reads = paths(a.Path)
	case "edit", "multiedit":
		c.Reads, c.Writes = paths(a.FilePath), paths(a.FilePath)
	case "write":
		c.Writes = paths(a.FilePath)
	case "patch", "apply_patch":
		c.Writes = patched(a.PatchText)
	}
	return c, nil
}

func paths(path string) []string {
	if path == "" {
		return nil
	}
	return []string{path}
}

// patched returns the paths that a patch of the engine's own format touches.
func patched(patch string) []string {
	var all []string
	for line := range strings.Lines(patch) {
		for _, mark := range []string{"*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "} {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), mark); ok {
				all = append(all, paths(path)...)
			}
		}
	}
	return all
}

// AnswerHook returns the answer for our plugin. The end of a turn and a message
// cannot be held up in this engine, so that only a tool's call can be denied.
func (engine) AnswerHook(_ town.HookCall, a town.HookAnswer) HookOutput {
	return HookOutput{Stdout: line(a)}
}
