package agentcli

import (
	_ "embed"
	"encoding/json"
	"fmt"

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

// enginePoints are the engine's own hooks that our plugin uses.
var enginePoints = map[string]town.HookPoint{
	"chat.message":        town.HookThinking,
	"tool.execute.before": town.HookToolBefore,
	"tool.execute.after":  town.HookToolAfter,
	"session.error":       town.HookError,
	"session.idle":        town.HookStop,
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

func (engine) ParseHook(stdin []byte) (town.HookCall, error) {
	var h engineHook
	if err := json.Unmarshal(stdin, &h); err != nil {
		return town.HookCall{}, fmt.Errorf("read hook call (%v): %w", err, town.ErrInvalid)
	}
	point, ok := enginePoints[h.Hook]
	if !ok {
		return town.HookCall{}, fmt.Errorf("hook %.40q is not one of ours: %w", h.Hook, town.ErrInvalid)
	}
	call := town.HookCall{Point: point, Text: cut(h.Text), ToolID: h.CallID, Tool: h.Tool, Input: cutJSON(h.Args)}
	call.Told = point == town.HookStop // the engine tells of it when it is idle
	engineTouches(&call, h.Args)
	if point == town.HookToolAfter { // which the engine calls for a tool that did not fail
		call.OK, call.Output = true, cut(h.Output)
	}
	return call, nil
}

// engineTouches fills in what a call runs, reads and writes.
func engineTouches(call *town.HookCall, args json.RawMessage) {
	var in struct {
		Command   string `json:"command"`
		Workdir   string `json:"workdir"`
		FilePath  string `json:"filePath"`
		Path      string `json:"path"`
		PatchText string `json:"patchText"`
	}
	parse(args, &in)
	switch call.Tool {
	case "bash", "background_process":
		call.Shell, call.Dir = in.Command, in.Workdir
	case "read":
		call.Reads = paths(in.FilePath)
	case "list", "glob", "grep":
		call.Reads = paths(in.Path)
	case "edit", "multiedit":
		call.Reads, call.Writes = paths(in.FilePath), paths(in.FilePath)
	case "write":
		call.Writes = paths(in.FilePath)
	case "patch", "apply_patch":
		call.Writes = patched(in.PatchText)
	}
}

// AnswerHook returns the answer for our plugin. The end of a turn and a message
// cannot be held up in this engine, so that only a tool's call can be denied.
func (engine) AnswerHook(_ town.HookCall, a town.HookAnswer) HookOutput {
	return HookOutput{Stdout: line(a)}
}
