package agentcli_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/supervisor/agentcli"
	"townd/town"
)

func TestEnginesMergeTheCallersConfiguration(t *testing.T) {
	s := spec()
	s.Hooks, s.Effort = true, "high"
	s.Models = &agentcli.Models{ModelEndpoint: town.ModelEndpoint{BaseURL: "http://127.0.0.1:1/v1", Model: "m"}, Key: "KEY"}
	s.MCP = []agentcli.MCPServer{{Name: "gastown", Argv: []string{"/usr/bin/townd", "mcp"}, Env: map[string]string{"A": "B"}}}
	const theirs = `{"provider":{"x":{"n":12345678901234567890}},"model":"a/b","permission":"ask","plugin":[["p",{"o":1}]],
		"agent":{"theirs":{"mode":"subagent"},"townd":{"prompt":"theirs"}},"instructions":["docs/*.md"]}`
	for name, variable := range map[string]string{"kilo": "KILO_CONFIG_CONTENT", "opencode": "OPENCODE_CONFIG_CONTENT"} {
		s.Env = map[string]string{variable: theirs}
		l := launch(t, name, s)
		want := `{"agent":{"theirs":{"mode":"subagent"},"townd":{"mode":"primary",` +
			`"permission":{"*":"allow","plan_enter":"deny","plan_exit":"deny","question":"deny","suggest":"deny"},` +
			`"prompt":"{file:/home/agent/.townd/system-prompt.md}"}},` +
			`"instructions":["docs/*.md","/rig/work/AGENTS.md","/rig/work/CLAUDE.md"],` +
			`"mcp":{"gastown":{"command":["/usr/bin/townd","mcp"],"enabled":true,"environment":{"A":"B"},"timeout":3900000,"type":"local"}},` +
			`"model":"a/b","permission":"ask","plugin":[["p",{"o":1}],"file:///home/agent/.townd/hooks.js"],` +
			`"provider":{"town":{"models":{"m":{"attachment":true,"limit":{"context":200000,"output":32000},"name":"m","tool_call":true,` +
			`"variants":{"high":{"reasoningEffort":"high"}}}},"name":"Town","npm":"@ai-sdk/openai-compatible",` +
			`"options":{"apiKey":"KEY","baseURL":"http://127.0.0.1:1/v1"}},"x":{"n":12345678901234567890}},"snapshot":false}`
		if diff := cmp.Diff(want, l.Env[variable]); diff != "" {
			t.Errorf("configuration (-want +got):\n%s", diff)
		}
		if got := l.Argv[2:6]; !slices.Equal(got, []string{"--model", "town/m", "--effort", "high"}) {
			t.Errorf("argv %q", l.Argv)
		}
	}
	kilo := lookup(t, "kilo")
	for _, bad := range []string{"{", "[]", `"x"`, `{"agent":[]}`, `{"instructions":{}}`, `{"x":"` + strings.Repeat("y", 200<<10) + `"}`} {
		s.Env = map[string]string{"KILO_CONFIG_CONTENT": bad}
		if _, err := kilo.Launch(s); issue(t, err).Path != "envVars.KILO_CONFIG_CONTENT" {
			t.Errorf("%.20s: %v", bad, err)
		}
	}
	s.Env["KILO_CONFIG_CONTENT"] = `{"agent":null}`
	launch(t, "kilo", s)
}

// TestTheRepositorysOwnPluginsRunWhenAsked, and its instructions are not told twice.
func TestTheRepositorysOwnPluginsRunWhenAsked(t *testing.T) {
	s := spec()
	s.ProjectHooks = true
	env := launch(t, "opencode", s).Env
	if _, off := env["OPENCODE_DISABLE_PROJECT_CONFIG"]; off || strings.Contains(env["OPENCODE_CONFIG_CONTENT"], "AGENTS.md") {
		t.Errorf("environment %q", env)
	}
	s.ProjectHooks = false
	if env := launch(t, "opencode", s).Env; env["OPENCODE_DISABLE_PROJECT_CONFIG"] != "1" {
		t.Error("the repository's plugins run unasked")
	}
}

func TestEnginesHooksAreUnderstood(t *testing.T) {
	cli := lookup(t, "opencode")
	for in, want := range map[string]town.HookCall{
		`{"hook":"chat.message","text":"hi"}`:  {Point: town.HookThinking, Text: "hi"},
		`{"hook":"session.idle","text":"bye"}`: {Point: town.HookStop, Told: true, Text: "bye"},
		`{"hook":"session.error","text":"oh"}`: {Point: town.HookError, Text: "oh"},
		`{"hook":"tool.execute.before","tool":"bash","callID":"c","args":{"command":"ls","workdir":"/w"}}`: {
			Point: town.HookToolBefore, ToolID: "c", Tool: "bash", Input: json.RawMessage(`{"command":"ls","workdir":"/w"}`), Shell: "ls", Dir: "/w",
		},
		`{"hook":"tool.execute.before","tool":"edit","args":{"filePath":"a"}}`: {
			Point: town.HookToolBefore, Tool: "edit", Input: json.RawMessage(`{"filePath":"a"}`), Reads: []string{"a"}, Writes: []string{"a"},
		},
		`{"hook":"tool.execute.after","tool":"read","args":{"filePath":7},"output":"x"}`: {
			Point: town.HookToolAfter, Tool: "read", Input: json.RawMessage(`{"filePath":7}`), OK: true, Output: "x",
		},
		`{"hook":"tool.execute.before","tool":"apply_patch","args":{"patchText":"*** Begin Patch\n*** Add File: a\n+x\n*** Update File: b\n*** Move to: c\n*** End Patch"}}`: {
			Point: town.HookToolBefore, Tool: "apply_patch", Writes: []string{"a", "b", "c"},
		},
	} {
		got, err := cli.ParseHook([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if want.Tool == "apply_patch" {
			got.Input = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
	for _, bad := range []string{"", "[]", "{}", `{"hook":"session.born"}`} {
		if _, err := cli.ParseHook([]byte(bad)); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("ParseHook(%s): %v", bad, err)
		}
	}
}
