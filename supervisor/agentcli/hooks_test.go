package agentcli_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"townd/town"
)

// TestALongCommandIsJudgedWhole, while what is shown of the call is cut.
func TestALongCommandIsJudgedWhole(t *testing.T) {
	command := strings.Repeat("true; ", 1<<18) + "rm -rf /"
	quoted, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]string{
		"claude":   `{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":%}}`,
		"codex":    `{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":%}}`,
		"gemini":   `{"hook_event_name":"BeforeTool","tool_name":"run_shell_command","tool_input":{"command":%}}`,
		"opencode": `{"hook":"tool.execute.before","tool":"bash","args":{"command":%}}`,
	} {
		call, err := lookup(t, name).ParseHook([]byte(strings.Replace(in, "%", string(quoted), 1)))
		if err != nil || call.Shell != command || len(call.Input) > 65<<10 {
			t.Errorf("%s: %v; %d bytes of %d, input %d", name, err, len(call.Shell), len(command), len(call.Input))
		}
	}
}

func FuzzHooksAreReadOrRefused(f *testing.F) {
	for _, seed := range []string{
		`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls"},"cwd":"/"}`,
		`{"hook_event_name":"PreToolUse","tool_name":"apply_patch","tool_input":{"command":"*** Add File: x"}}`,
		`{"hook_event_name":"PostToolUse","tool_name":"Read","tool_input":{"file_path":"\ud800"},"tool_response":{"content":[3]}}`,
		`{"hook_event_name":"Stop","last_assistant_message":7}`,
		`{"hook_event_name":"AfterTool","tool_name":"glob","tool_input":[],"tool_response":{"llmContent":[{}],"error":null}}`,
		`{"hook":"tool.execute.after","tool":"edit","args":{"filePath":"a"},"output":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, name := range []string{"claude", "codex", "gemini", "opencode"} {
			cli := lookup(t, name)
			call, err := cli.ParseHook(in)
			if err != nil {
				if !errors.Is(err, town.ErrInvalid) {
					t.Errorf("%s: error %v", name, err)
				}
				call = town.HookCall{Point: town.HookToolBefore}
			}
			b, err := json.Marshal(call)
			if err != nil || call.Point == "" {
				t.Errorf("%s: call %+v: %v", name, call, err)
			}
			var again town.HookCall
			if err := json.Unmarshal(b, &again); err != nil {
				t.Errorf("%s: %s: %v", name, b, err)
			}
			out := cli.AnswerHook(call, town.HookAnswer{Deny: true, Reason: string(in)})
			said := len(out.Stdout) > 0 || call.Point != town.HookToolBefore
			if out.Exit != 0 || !said || len(out.Stdout) > 0 && !json.Valid(out.Stdout) {
				t.Errorf("%s: answer %+v", name, out)
			}
		}
	})
}
