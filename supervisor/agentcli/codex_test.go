package agentcli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/supervisor/agentcli"
	"townd/town"
)

func TestCodexLaunchHoldsNoSecret(t *testing.T) {
	s := spec()
	s.SessionID, s.Fork, s.Effort, s.Hooks, s.ProjectHooks = "SESSION", true, "max", true, true
	s.Models = &agentcli.Models{ModelEndpoint: town.ModelEndpoint{BaseURL: "http://127.0.0.1:1/llm", Model: "their/model"}, Key: "SECRET"}
	s.MCP = []agentcli.MCPServer{{Name: "a.b", Argv: []string{"/bin/mcp", `say "x"`}, Env: map[string]string{"CAPABILITY": "SECRET"}}}
	l := launch(t, "codex", s)
	for _, arg := range l.Argv {
		if strings.Contains(arg, "SECRET") {
			t.Errorf("a secret is in argv: %s", arg)
		}
	}
	if l.Env["CAPABILITY"] != "SECRET" || l.Env["TOWND_MODEL_KEY"] != "SECRET" || !l.PipeInput || l.CloseStdin || !l.Raw {
		t.Errorf("launch %+v", l)
	}
	head := []string{
		"/usr/bin/townd", "drive", "--system-file", "/home/agent/.townd/system-prompt.md", "--session", "SESSION", "--fork",
		"--model", "their/model", "--effort", "max", "codex", "/usr/bin/codex", "-c",
	}
	if diff := cmp.Diff(head, l.Argv[:len(head)]); diff != "" {
		t.Errorf("argv (-want +got):\n%s", diff)
	}
	for _, want := range []string{
		`model_provider="town"`,
		`model_providers={"town"={"base_url"="http://127.0.0.1:1/llm","env_key"="TOWND_MODEL_KEY","name"="town","request_max_retries"=2,"stream_max_retries"=2,"wire_api"="responses"}}`,
		`mcp_servers={"a.b"={"args"=["say \"x\""],"command"="/bin/mcp","default_tools_approval_mode"="approve","env_vars"=["CAPABILITY"],"required"=true,"startup_timeout_sec"=60,"tool_timeout_sec"=3900}}`,
		`projects={"/rig/work"={"trust_level"="trusted"}}`,
	} {
		if !slices.Contains(l.Argv, want) {
			t.Errorf("no argument %s in %q", want, l.Argv)
		}
	}
	if string(l.Stdin) != `{"type":"message","id":"id-1","text":"PROMPT"}`+"\n" {
		t.Errorf("stdin %q", l.Stdin)
	}
}

func TestCodexHooksAreReadInOneVocabulary(t *testing.T) {
	cli := lookup(t, "codex")
	const patch = "*** Begin Patch\n*** Add File: a b.txt\n+*** Add File: not this\n*** Update File: c.go\n*** Move to: ../d.go\n@@\n*** Delete File: e\n*** End Patch\n"
	quoted, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"a b.txt", "c.go", "../d.go", "e"}
	for stdin, want := range map[string]town.HookCall{
		`{"hook_event_name":"UserPromptSubmit","prompt":"do it"}`:    {Point: town.HookThinking, Text: "do it"},
		`{"hook_event_name":"Stop","last_assistant_message":"done"}`: {Point: town.HookStop, Text: "done"},
		`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_use_id":"1","tool_input":{"command":"ls"}}`: {
			Point: town.HookToolBefore, ToolID: "1", Tool: "Bash", Input: json.RawMessage(`{"command":"ls"}`), Shell: "ls",
		},
		`{"hook_event_name":"PreToolUse","tool_name":"apply_patch","tool_input":{"command":` + string(quoted) + `}}`: {
			Point: town.HookToolBefore, Tool: "apply_patch", Input: json.RawMessage(`{"command":` + string(quoted) + `}`), Writes: files,
		},
		`{"hook_event_name":"PreToolUse","tool_name":"view_image","tool_input":{"path":"/etc/x.png"}}`: {
			Point: town.HookToolBefore, Tool: "view_image", Input: json.RawMessage(`{"path":"/etc/x.png"}`), Reads: []string{"/etc/x.png"},
		},
		`{"hook_event_name":"PostToolUse","tool_name":"mcp__a__b","tool_input":{},"tool_response":{"content":[{"type":"text","text":"said"}]}}`: {
			Point: town.HookToolAfter, Tool: "mcp__a__b", Input: json.RawMessage(`{}`), OK: true, Output: "said",
		},
	} {
		got, err := cli.ParseHook([]byte(stdin))
		if err != nil {
			t.Errorf("%s: %v", stdin, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", stdin, diff)
		}
	}
	for _, bad := range []string{"", "{", "[]", `{"hook_event_name":"SessionStart"}`, `{"hook_event_name":"PreToolUse"}`} {
		if _, err := cli.ParseHook([]byte(bad)); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", bad, err)
		}
	}
}

// codexOpened begins a recording by hand: the thread t has a turn.
const codexOpened = `{"id":2,"result":{"thread":{"id":"t"}}}` + "\n" + `{"method":"turn/started","params":{"threadId":"t","turn":{"id":"u"}}}` + "\n"

func codexNote(method, params string) string {
	return `{"method":"` + method + `","params":{"threadId":"t",` + params + `}}` + "\n"
}

func TestCodexKindsOfErrors(t *testing.T) {
	for info, want := range map[string]town.ErrorKind{
		`"unauthorized"`:          town.KindAuth,
		`"usageLimitExceeded"`:    town.KindRateLimit,
		`"rateLimitExceeded"`:     town.KindRateLimit,
		`"serverOverloaded"`:      town.KindOverloaded,
		`"contextWindowExceeded"`: town.KindContextFull,
		`"cyberPolicy"`:           town.KindRefused,
		`"badRequest"`:            town.KindUnknown,
		`null`:                    town.KindUnknown,
		`{"httpConnectionFailed":{"httpStatusCode":null}}`:         town.KindNetwork,
		`{"responseTooManyFailedAttempts":{"httpStatusCode":429}}`: town.KindRateLimit,
		`{"activeTurnNotSteerable":{"turnKind":"review"}}`:         town.KindUnknown,
	} {
		output := codexOpened + codexNote("error", `"willRetry":true,"error":{"message":"401","codexErrorInfo":`+info+`}`) +
			codexNote("turn/completed", `"turn":{"status":"failed","error":{"message":"m","codexErrorInfo":`+info+`}}`)
		wantEvents := []string{
			`session {"id":"t"}`, `turn.started {}`,
			`retry {"kind":"` + string(want) + `","attempt":1,"delaySeconds":0}`,
			`error {"kind":"` + string(want) + `","message":"m"}`, `turn.ended {"ok":false,"text":""}`,
		}
		if diff := cmp.Diff(wantEvents, decode(t, newDecoder(t, "codex"), output, 64)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", info, diff)
		}
	}
}

func TestCodexToolsOfEveryKind(t *testing.T) {
	for item, want := range map[string][]string{
		`"type":"commandExecution","command":"false","cwd":"/w","status":"failed","exitCode":1,"aggregatedOutput":null`: {
			`tool.call {"id":"i","name":"Bash","input":{"command":"false","cwd":"/w"}}`, `tool.result {"id":"i","ok":false,"output":"exited with code 1"}`,
		},
		`"type":"fileChange","changes":[{"path":"/w/a"}],"status":"completed"`: {
			`tool.call {"id":"i","name":"apply_patch","input":{"changes":[{"path":"/w/a"}]}}`, `tool.result {"id":"i","ok":true,"output":""}`,
		},
		`"type":"mcpToolCall","server":"s","tool":"t","arguments":{"a":1},"status":"failed","error":{"message":"gone"}`: {
			`tool.call {"id":"i","name":"mcp__s__t","input":{"a":1}}`, `tool.result {"id":"i","ok":false,"output":"gone"}`,
		},
		`"type":"webSearch","query":"q"`: {
			`tool.call {"id":"i","name":"web_search","input":{"query":"q"}}`, `tool.result {"id":"i","ok":true,"output":""}`,
		},
		`"type":"collabAgentToolCall","tool":"spawnAgent","prompt":"p","status":"completed"`: {
			`tool.call {"id":"i","name":"spawnAgent","input":{"prompt":"p"}}`, `tool.result {"id":"i","ok":true,"output":""}`,
		},
		`"type":"reasoning","summary":["first","second"],"content":["raw"]`: {`thinking {"text":"first\nsecond"}`},
		`"type":"contextCompaction"`:                                        nil,
	} {
		output := codexOpened + codexNote("item/started", `"item":{"id":"i",`+item+`}`) + codexNote("item/completed", `"item":{"id":"i",`+item+`}`)
		if diff := cmp.Diff(append([]string{`session {"id":"t"}`, `turn.started {}`}, want...), decode(t, newDecoder(t, "codex"), output, 64)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", item, diff)
		}
	}
}

// TestCodexUsageIsTheDifference: totals of a thread grow over turns and processes;
// a subagent's thread counts too, what a history used before does not.
func TestCodexUsageIsTheDifference(t *testing.T) {
	total := func(thread string, input, cached, output, last int) string {
		return fmt.Sprintf(`{"method":"thread/tokenUsage/updated","params":{"threadId":%q,"tokenUsage":{"total":{"inputTokens":%d,"cachedInputTokens":%d,"outputTokens":%d},"last":{"inputTokens":%d,"outputTokens":1}}}}`+"\n",
			thread, input, cached, output, last)
	}
	output := `{"id":2,"result":{"thread":{"id":"t"}}}` + "\n" + total("t", 1000, 500, 70, 200) + codexOpened +
		total("t", 1100, 560, 80, 100) + total("t", 1100, 560, 80, 100) + total("sub", 30, 0, 1, 30) + total("t", 1130, 560, 85, 30)
	var sum town.UsageData
	newDecoder(t, "codex").Decode([]byte(output), 0, func(e agentcli.Decoded) {
		if u, ok := e.Data.(town.UsageData); ok {
			sum.InputTokens += u.InputTokens
			sum.OutputTokens += u.OutputTokens
			sum.CacheReadTokens += u.CacheReadTokens
		}
	})
	if want := (town.UsageData{InputTokens: 100, OutputTokens: 16, CacheReadTokens: 60}); sum != want {
		t.Errorf("usage %+v, want %+v", sum, want)
	}
}

func TestCodexFinishEndsAnOpenTurn(t *testing.T) {
	const opened = `{"id":2,"result":{"thread":{"id":"t"}}}` + "\n"
	for _, c := range []struct {
		output string
		code   int
		want   []string
	}{
		{"no such option\n", 2, []string{`error {"kind":"crashed","message":"no such option"}`}},
		{`{"townd":"fault","kind":"unknown","message":"m"}` + "\n", 1, []string{`error {"kind":"unknown","message":"m"}`}},
		{opened, 137, []string{`session {"id":"t"}`}},
		{codexOpened, 137, []string{
			`session {"id":"t"}`, `turn.started {}`, `error {"kind":"crashed","message":"exited with code 137"}`, `turn.ended {"ok":false,"text":""}`,
		}},
		{codexOpened, 0, []string{`session {"id":"t"}`, `turn.started {}`, `turn.ended {"ok":false,"text":""}`}},
	} {
		var got []string
		emit := func(e agentcli.Decoded) { got = append(got, render(t, e)) }
		d := newDecoder(t, "codex")
		d.Decode([]byte(c.output), 0, emit)
		d.Finish(c.code, int64(len(c.output)), emit)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("code %d after %q (-want +got):\n%s", c.code, c.output, diff)
		}
	}
}
