package agentcli_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/supervisor/agentcli"
	"townd/town"
)

// file returns a file of a launch by the flag that names it in argv.
func file(t *testing.T, l agentcli.Launch, flag string) agentcli.File {
	t.Helper()
	i := slices.Index(l.Argv, flag)
	for _, f := range l.Files {
		if i >= 0 && i+1 < len(l.Argv) && f.Path == l.Argv[i+1] {
			return f
		}
	}
	t.Fatalf("%s names no file: %q", flag, l.Argv)
	return agentcli.File{}
}

func TestClaudesHooksAreInAFileOfItsHome(t *testing.T) {
	s := spec()
	s.Hooks, s.Townd = true, "/opt/it's here/townd"
	f := file(t, launch(t, "claude", s), "--settings")
	if filepath.Dir(f.Path) != "/home/agent/.townd" || f.Mode != 0o600 {
		t.Errorf("file %s, mode %o", f.Path, f.Mode)
	}
	var got struct {
		Hooks map[string][]struct {
			Hooks []struct {
				Type, Command, OnFailure string
				Args                     []string
				Timeout                  int
			}
		}
	}
	if err := json.Unmarshal(f.Data, &got); err != nil {
		t.Fatal(err)
	}
	points := map[string]string{}
	for name, matchers := range got.Hooks {
		h := matchers[0].Hooks[0]
		if h.Type != "command" || h.Command != s.Townd || len(h.Args) != 3 || h.Args[0] != "hook" || h.Args[1] != "claude" || h.Timeout <= 30 {
			t.Errorf("%s: %+v", name, h)
		}
		if (h.OnFailure == "block") != (name == "PreToolUse") {
			t.Errorf("%s on failure: %q", name, h.OnFailure)
		}
		points[name] = h.Args[2]
	}
	want := map[string]string{
		"UserPromptSubmit": "thinking.started", "PreToolUse": "tool.before", "PostToolUse": "tool.after", "PostToolUseFailure": "tool.after",
		"StopFailure": "error", "Stop": "stop", "TaskCompleted": "task.complete",
	}
	if diff := cmp.Diff(want, points); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	s.Townd = ""
	if _, err := lookup(t, "claude").Launch(s); issue(t, err).Path != "cli" {
		t.Errorf("hooks without a program: %v", err)
	}
}

// TestClaudeGetsTheCapabilityByEnvironmentOnly: an argument is for everyone to see.
func TestClaudeGetsTheCapabilityByEnvironmentOnly(t *testing.T) {
	s := spec()
	s.Models = &agentcli.Models{ModelEndpoint: town.ModelEndpoint{BaseURL: "http://127.0.0.1:1/llm/x", Model: "routed"}, Key: "CAPABILITY"}
	s.MCP = []agentcli.MCPServer{{Name: "gastown", Argv: []string{"/usr/bin/townd", "mcp"}, Env: map[string]string{"TOKEN": "SECRET"}}}
	s.Effort, s.SessionID, s.Fork = "max", "SESSION", true
	l := launch(t, "claude", s)
	if all := strings.Join(l.Argv, " "); strings.Contains(all, "CAPABILITY") || strings.Contains(all, "SECRET") {
		t.Errorf("a secret is in argv: %q", all)
	}
	for name, want := range map[string]string{
		"ANTHROPIC_AUTH_TOKEN": "CAPABILITY", "ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "",
		"ANTHROPIC_BASE_URL": "http://127.0.0.1:1/llm/x", "ANTHROPIC_SMALL_FAST_MODEL": "routed", "ANTHROPIC_DEFAULT_HAIKU_MODEL": "routed",
		"CLAUDE_CODE_SUBAGENT_MODEL": "routed",
	} {
		if got, ok := l.Env[name]; !ok || got != want {
			t.Errorf("%s = %q, %v, want %q", name, got, ok, want)
		}
	}
	for _, want := range [][]string{{"--model", "routed"}, {"--effort", "max"}, {"--resume", "SESSION", "--fork-session"}} {
		if !strings.Contains(strings.Join(l.Argv, " "), strings.Join(want, " ")) {
			t.Errorf("%q is not in %q", want, l.Argv)
		}
	}
	want := `{"mcpServers":{"gastown":{"type":"stdio","command":"/usr/bin/townd","args":["mcp"],"env":{"TOKEN":"SECRET"},"alwaysLoad":true}}}`
	if f := file(t, l, "--mcp-config"); string(f.Data) != want || f.Mode != 0o600 {
		t.Errorf("MCP servers %s, mode %o", f.Data, f.Mode)
	}
}

func TestClaudesHooksAreUnderstood(t *testing.T) {
	const tool = `{"hook_event_name":"%","cwd":"/work","tool_use_id":"t1",`
	before, after, failed := strings.Replace(tool, "%", "PreToolUse", 1), strings.Replace(tool, "%", "PostToolUse", 1), strings.Replace(tool, "%", "PostToolUseFailure", 1)
	base := town.HookCall{Point: town.HookToolBefore, ToolID: "t1", Dir: "/work"}
	call := func(change func(*town.HookCall)) town.HookCall {
		c := base
		change(&c)
		return c
	}
	for _, c := range []struct {
		in   string
		want town.HookCall // without Input
	}{
		{`{"hook_event_name":"UserPromptSubmit","prompt":"do it"}`, town.HookCall{Point: town.HookThinking, Text: "do it"}},
		{`{"hook_event_name":"Stop","stop_hook_active":true,"last_assistant_message":"bye"}`, town.HookCall{Point: town.HookStop, Text: "bye"}},
		{`{"hook_event_name":"StopFailure","error":"rate_limit","error_details":"429"}`, town.HookCall{Point: town.HookError, Text: "429"}},
		{`{"hook_event_name":"StopFailure","error":"rate_limit"}`, town.HookCall{Point: town.HookError, Text: "rate_limit"}},
		{`{"hook_event_name":"TaskCompleted","task_subject":"tests"}`, town.HookCall{Point: town.HookComplete, Text: "tests"}},
		{before + `"tool_name":"Bash","tool_input":{"command":"ls; rm -rf /"}}`, call(func(c *town.HookCall) { c.Tool, c.Shell = "Bash", "ls; rm -rf /" })},
		{before + `"tool_name":"Read","tool_input":{"file_path":"/etc/passwd"}}`, call(func(c *town.HookCall) { c.Tool, c.Reads = "Read", []string{"/etc/passwd"} })},
		{before + `"tool_name":"Write","tool_input":{"file_path":"a/b","content":"x"}}`, call(func(c *town.HookCall) { c.Tool, c.Writes = "Write", []string{"a/b"} })},
		{before + `"tool_name":"MultiEdit","tool_input":{"file_path":"a","edits":[{}]}}`, call(func(c *town.HookCall) { c.Tool, c.Writes = "MultiEdit", []string{"a"} })},
		{before + `"tool_name":"NotebookEdit","tool_input":{"notebook_path":"n"}}`, call(func(c *town.HookCall) { c.Tool, c.Writes = "NotebookEdit", []string{"n"} })},
		{before + `"tool_name":"Glob","tool_input":{"pattern":"/etc/**","path":"d"}}`, call(func(c *town.HookCall) { c.Tool, c.Reads = "Glob", []string{"d", "/etc/**"} })},
		{before + `"tool_name":"Grep","tool_input":{"pattern":"/x","path":"d"}}`, call(func(c *town.HookCall) { c.Tool, c.Reads = "Grep", []string{"d"} })},
		{before + `"tool_name":"mcp__x__Read","tool_input":{"file_path":7}}`, call(func(c *town.HookCall) { c.Tool = "mcp__x__Read" })},
		{after + `"tool_name":"Bash","tool_input":{"command":"ls"},"tool_response":{"stdout":"a","stderr":"b"}}`, call(func(c *town.HookCall) {
			c.Point, c.Tool, c.Shell, c.OK, c.Output = town.HookToolAfter, "Bash", "ls", true, "a\nb"
		})},
		{after + `"tool_name":"Skill","tool_input":{},"tool_response":["x"]}`, call(func(c *town.HookCall) {
			c.Point, c.Tool, c.OK, c.Output = town.HookToolAfter, "Skill", true, `["x"]`
		})},
		{failed + `"tool_name":"Bash","tool_input":{"command":"false"},"error":"Exit code 1"}`, call(func(c *town.HookCall) {
			c.Point, c.Tool, c.Shell, c.Output = town.HookToolAfter, "Bash", "false", "Exit code 1"
		})},
	} {
		got, err := lookup(t, "claude").ParseHook([]byte(c.in))
		got.Input = nil
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", c.in, err, diff)
		}
	}
}

func TestWhatIsNoHookOfClaudeIsInvalid(t *testing.T) {
	for _, in := range []string{
		"", "{", "[]", "null", `{"hook_event_name":"SessionStart"}`, `{"hook_event_name":"PreToolUse"}`,
		`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":["rm","-rf","/"]}}`,
		`{"hook_event_name":"PreToolUse","tool_name":"Write","tool_input":"x"}`,
	} {
		if call, err := lookup(t, "claude").ParseHook([]byte(in)); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("%s: %+v, %v", in, call, err)
		}
	}
}

func TestClaudeIsAnswered(t *testing.T) {
	for _, c := range []struct {
		point  town.HookPoint
		answer town.HookAnswer
		want   string
	}{
		{town.HookToolBefore, town.HookAnswer{}, ""},
		{town.HookToolBefore, town.HookAnswer{Deny: true, Reason: "no"}, `{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"no"}}` + "\n"},
		{town.HookStop, town.HookAnswer{Deny: true, Reason: "go on"}, `{"decision":"block","reason":"go on"}` + "\n"},
		{town.HookThinking, town.HookAnswer{Deny: true, Reason: "no"}, ""},
	} {
		out := lookup(t, "claude").AnswerHook(town.HookCall{Point: c.point}, c.answer)
		if string(out.Stdout) != c.want || out.Exit != 0 || len(out.Stderr) > 0 {
			t.Errorf("%s %+v: %q, exit %d", c.point, c.answer, out.Stdout, out.Exit)
		}
	}
}

// TestAToolCallIsToldOnce proves X13: by its id, if claude repeats a message.
func TestAToolCallIsToldOnce(t *testing.T) {
	const call = `{"type":"assistant","message":{"id":"m","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{}}]}}` + "\n"
	const other = `{"type":"assistant","message":{"id":"m","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{}},{"type":"tool_use","id":"t2","name":"Bash","input":{}}]}}` + "\n"
	for _, size := range []int{10, 4096} {
		got := decode(t, newDecoder(t, "claude"), call+call+other, size)
		want := []string{`turn.started {}`, `tool.call {"id":"t1","name":"Bash","input":{}}`, `tool.call {"id":"t2","name":"Bash","input":{}}`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	}
}

// TestClaudesOwnLastWordsTellAnExpiredCredential proves C25 and F22: only where it
// fails and says so in no other way.
func TestClaudesOwnLastWordsTellAnExpiredCredential(t *testing.T) {
	const init = `{"type":"system","subtype":"init","session_id":"s"}` + "\n"
	const tool = `{"type":"user","message":{"content":[{"type":"tool_result","content":"Invalid API key · Please run /login\nNot logged in"}]}}` + "\n"
	const result = `{"type":"result","result":"Not logged in"}` + "\n"
	for _, c := range []struct {
		output string
		code   int
		want   town.ErrorKind // "" for no error
	}{
		{"Invalid API key · Please run /login\n", 1, town.KindAuth},
		{"\x1b[31mError: OAuth token has expired\x1b[0m\r\n", 1, town.KindAuth},
		{init + "Not logged in · Please run /login\n", 1, town.KindAuth},
		{init + "Not logged in · Please run /login\n", 0, ""},
		{"I was told: Invalid API key\n", 1, town.KindCrashed},
		{init + tool, 137, town.KindCrashed},
		{init + tool + "out of memory\n", 134, town.KindCrashed},
		{init + result + "Not logged in\n", 1, ""},
	} {
		var got town.ErrorKind
		emit := func(e agentcli.Decoded) {
			if d, ok := e.Data.(town.ErrorData); ok {
				got = d.Kind
			}
		}
		d := newDecoder(t, "claude")
		d.Decode([]byte(c.output), 0, emit)
		d.Finish(c.code, int64(len(c.output)), emit)
		if got != c.want {
			t.Errorf("code %d after %q: %q, want %q", c.code, c.output, got, c.want)
		}
	}
}

func TestAStartThatIsRefusedForItsSignInIsAuth(t *testing.T) {
	for reason, want := range map[string]string{"org_pin_mismatch": "auth", "temp_dir_unusable": "unknown"} {
		output := `{"type":"result","subtype":"error_during_execution","is_error":true,"errors":["no"],"startup_failure_reason":"` + reason + `"}` + "\n"
		if diff := cmp.Diff([]string{`error {"kind":"` + want + `","message":"no"}`}, decode(t, newDecoder(t, "claude"), output, 4096)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
}

// TestADeadMCPServerIsToldOnce, though each turn lists it.
func TestADeadMCPServerIsToldOnce(t *testing.T) {
	const init = `{"type":"system","subtype":"init","session_id":"s","mcp_servers":[{"name":"a","status":"failed"},{"name":"b","status":"connected"},{"name":"c","status":"pending"}]}` + "\n"
	const result = `{"type":"result","result":"ok"}` + "\n"
	turn := []string{`turn.started {}`, `turn.ended {"ok":true,"text":"ok"}`}
	want := append([]string{`session {"id":"s"}`, turn[0], `error {"kind":"unknown","message":"MCP server a is dead: its tools are missing"}`, turn[1]}, turn...)
	if diff := cmp.Diff(want, decode(t, newDecoder(t, "claude"), init+result+init+result, 50)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestClaudesInputIsOneLineWhateverTheText(t *testing.T) {
	cli := lookup(t, "claude")
	const text = "two\nlines \"quoted\" \u2028 \x07 ünï </script>"
	line := cli.Input(text, "id")
	var got struct {
		UUID    string
		Message struct{ Content string }
	}
	if strings.Count(string(line), "\n") != 1 || json.Unmarshal(line, &got) != nil || got.Message.Content != text || got.UUID != "id" {
		t.Errorf("Input() = %q", line)
	}
}
