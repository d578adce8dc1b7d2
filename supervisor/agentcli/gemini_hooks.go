package agentcli

import (
	"encoding/json"
	"path/filepath"

	"townd/town"
)

// geminiHookTimeout is longer than `townd hook` ever waits, in milliseconds: a hook
// that takes longer lets the tool run.
const geminiHookTimeout = 60 * 60 * 1000

// geminiPoints are the hooks of gemini that we use. It has none for an error.
var geminiPoints = map[string]town.HookPoint{
	"BeforeAgent": town.HookThinking,
	"BeforeTool":  town.HookToolBefore,
	"AfterTool":   town.HookToolAfter,
	"AfterAgent":  town.HookStop,
}

// geminiHooks returns the hooks of settings.json: shell commands that call townd.
func geminiHooks(townd string) settings {
	hooks := settings{}
	for name, point := range geminiPoints {
		// A hook that ends by a signal, or says nothing, lets the tool run; 2 and a text
		// does not. At the other points a town that does not answer holds nothing up: to
		// deny the end of a turn is to pay for one more.
		otherwise := "exit 0"
		if point == town.HookToolBefore {
			otherwise = "{ echo 'the hook of the town failed' >&2; exit 2; }"
		}
		command := geminiLiteral(shellWord(townd) + " hook gemini || " + otherwise)
		hook := settings{"name": "townd", "type": "command", "command": command, "timeout": geminiHookTimeout}
		hooks[name] = []settings{{"hooks": []settings{hook}}}
	}
	return hooks
}

// ParseHook reads what gemini gives to its hooks
// (geminicli.com/docs/hooks/reference).
func (gemini) ParseHook(stdin []byte) (town.HookCall, error) {
	h, point, err := readHook("gemini", stdin, geminiPoints)
	if err != nil {
		return town.HookCall{}, err
	}
	switch call := (town.HookCall{Point: point}); point {
	case town.HookThinking:
		call.Text = cut(h.Prompt)
		return call, nil
	case town.HookStop:
		call.Text = cut(h.Answer)
		return call, nil
	default:
		call.Tool, call.Input = h.Tool, cutJSON(h.Input)
		geminiTouches(&call, &h)
		if point == town.HookToolAfter {
			call.OK, call.Output = geminiResponse(h.Response)
		}
		return call, nil
	}
}

func geminiResponse(raw json.RawMessage) (ok bool, output string) {
	var r struct {
		Content any `json:"llmContent"`
		Error   any `json:"error"`
	}
	parse(raw, &r)
	return r.Error == nil, cut(plainContent(r.Content))
}

// geminiTouches fills in what a call runs, reads and writes.
func geminiTouches(call *town.HookCall, h *hookEvent) {
	var in struct {
		Command string   `json:"command"`
		Dir     string   `json:"dir_path"`
		File    string   `json:"file_path"`
		Include []string `json:"include"`
	}
	parse(h.Input, &in)
	switch h.Tool {
	case "run_shell_command":
		call.Shell, call.Dir = in.Command, in.Dir
		if !filepath.IsAbs(in.Dir) {
			call.Dir = filepath.Join(h.Dir, in.Dir)
		}
	case "write_file", "replace":
		call.Writes = paths(in.File)
	case "read_file":
		call.Reads = paths(in.File)
	case "read_many_files":
		call.Reads = in.Include
	case "glob", "grep_search", "list_directory":
		call.Reads = paths(in.Dir)
	}
}

// AnswerHook returns gemini's own words for the answer. A turn that must not end
// goes on with the reason as its next message.
func (gemini) AnswerHook(_ town.HookCall, a town.HookAnswer) HookOutput {
	if !a.Deny {
		return HookOutput{Stdout: []byte("{}\n")}
	}
	return HookOutput{Stdout: line(map[string]string{"decision": "deny", "reason": refusal(a)})}
}
