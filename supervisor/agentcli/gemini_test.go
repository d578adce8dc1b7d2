package agentcli_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/supervisor/agentcli"
	"townd/town"
)

func TestGeminisLaunchKeepsPromptsAndKeysOutOfArgv(t *testing.T) {
	s := spec()
	s.SessionID, s.Townd, s.Hooks = "SESSION", "/usr/bin/townd", true
	s.Models = &agentcli.Models{ModelEndpoint: town.ModelEndpoint{BaseURL: "http://127.0.0.1:1/llm/g", Model: "there"}, Key: "KEY"}
	s.MCP = []agentcli.MCPServer{{Name: "gastown", Argv: []string{"/usr/bin/townd", "mcp"}}}
	l := launch(t, "gemini", s)
	want := []string{
		"/usr/bin/gemini", "--output-format", "stream-json", "--approval-mode", "yolo", "--skip-trust",
		"--model", "there", "--resume", "SESSION",
	}
	if diff := cmp.Diff(want, l.Argv); diff != "" {
		t.Errorf("argv (-want +got):\n%s", diff)
	}
	if string(l.Stdin) != "PROMPT" || !l.CloseStdin || !l.PipeInput || !l.Raw {
		t.Errorf("stdin %q, closed %v, pipe %v, raw %v", l.Stdin, l.CloseStdin, l.PipeInput, l.Raw)
	}
	if l.Env["GEMINI_API_KEY"] != "KEY" || l.Env["GOOGLE_GEMINI_BASE_URL"] != "http://127.0.0.1:1/llm/g" || l.Env["GEMINI_CLI_HOME"] != "/home/agent" {
		t.Errorf("environment %v", l.Env)
	}
	for _, f := range l.Files {
		if filepath.Dir(f.Path) != "/home/agent/.gemini" || f.Mode != 0o600 || bytes.Contains(f.Data, []byte("KEY")) {
			t.Errorf("file %s, mode %o:\n%s", f.Path, f.Mode, f.Data)
		}
	}
	s.ProjectHooks = true
	if l := launch(t, "gemini", s); slices.Contains(l.Argv, "--skip-trust") || l.Env["GEMINI_CLI_TRUST_WORKSPACE"] != "true" {
		t.Errorf("the repository's settings are left out: argv %q", l.Argv)
	}
}

func TestGeminiLogsInAsTheCallersVariablesSay(t *testing.T) {
	cli := lookup(t, "gemini")
	for _, c := range []struct {
		env  map[string]string
		want string
		ours bool // the caller names no key, so the gateway is used
	}{
		{nil, "gemini-api-key", true},
		{map[string]string{"GEMINI_API_KEY": "k", "GOOGLE_API_KEY": "k"}, "gemini-api-key", false},
		{map[string]string{"GOOGLE_API_KEY": "k"}, "vertex-ai", false},
		{map[string]string{"GOOGLE_GENAI_USE_VERTEXAI": "true"}, "vertex-ai", false},
		{map[string]string{"GOOGLE_GENAI_USE_GCA": "true"}, "oauth-personal", false},
	} {
		s := spec()
		s.Env = c.env
		var got struct {
			Security struct {
				Auth struct {
					SelectedType string `json:"selectedType"`
				} `json:"auth"`
			} `json:"security"`
		}
		if err := json.Unmarshal(launch(t, "gemini", s).Files[0].Data, &got); err != nil {
			t.Fatal(err)
		}
		if got.Security.Auth.SelectedType != c.want || cli.Credentialed(c.env) == c.ours {
			t.Errorf("%v: %q, credentialed %v", c.env, got.Security.Auth.SelectedType, cli.Credentialed(c.env))
		}
	}
}

func TestGeminisHookTellsWhatAToolTouches(t *testing.T) {
	cli := lookup(t, "gemini")
	for _, c := range []struct {
		tool, input string
		want        town.HookCall
	}{
		{"run_shell_command", `{"command":"ls","dir_path":"sub"}`, town.HookCall{Shell: "ls", Dir: "/w/sub"}},
		{"run_shell_command", `{"command":"ls","dir_path":"/"}`, town.HookCall{Shell: "ls", Dir: "/"}},
		{"write_file", `{"file_path":"a","content":"x"}`, town.HookCall{Writes: []string{"a"}}},
		{"replace", `{"file_path":"a"}`, town.HookCall{Writes: []string{"a"}}},
		{"read_file", `{"file_path":"../b"}`, town.HookCall{Reads: []string{"../b"}}},
		{"read_many_files", `{"include":["a","b/*"]}`, town.HookCall{Reads: []string{"a", "b/*"}}},
		{"list_directory", `{"dir_path":"/etc"}`, town.HookCall{Reads: []string{"/etc"}}},
		{"google_web_search", `{"query":"x"}`, town.HookCall{}},
	} {
		got, err := cli.ParseHook([]byte(`{"hook_event_name":"BeforeTool","cwd":"/w","tool_name":"` + c.tool + `","tool_input":` + c.input + `}`))
		if err != nil {
			t.Fatal(err)
		}
		c.want.Point, c.want.Tool, c.want.Input = town.HookToolBefore, c.tool, json.RawMessage(c.input)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.tool, diff)
		}
	}
	for _, bad := range []string{"", "[", `{"hook_event_name":"PreCompress"}`, "{}"} {
		if _, err := cli.ParseHook([]byte(bad)); err == nil {
			t.Errorf("ParseHook(%q) gives no error", bad)
		}
	}
}

// TestGeminisErrorsAreToldByItsExitCode: it exits with the lowest byte of a status.
func TestGeminisErrorsAreToldByItsExitCode(t *testing.T) {
	const begun = `{"type":"init","session_id":"s"}` + "\n"
	failed := func(message string) string {
		return begun + `{"type":"result","status":"error","error":{"type":"unknown","message":"` + message + `"},"stats":{}}` + "\n"
	}
	for _, c := range []struct {
		output string
		code   int
		want   string // the error's kind, "" for none
	}{
		{failed("x"), 401 & 0xff, "auth"},
		{failed("x"), 403 & 0xff, "auth"},
		{failed("[API Error: API key not valid. Please pass a valid API key.]"), 400 & 0xff, "auth"},
		{failed("x"), 400 & 0xff, "unknown"},
		{failed("x"), 413 & 0xff, "context_full"},
		{failed("x"), 503 & 0xff, "overloaded"},
		{failed("x"), 529 & 0xff, "overloaded"},
		{failed("x"), 53, "unknown"},
		{failed("x"), 130, ""},
		{begun + "Heap out of memory\n", 134, "crashed"},
		{"no key\n", 41, "auth"},
		{"bad settings\n", 52, "crashed"},
		{begun, 0, ""},
	} {
		var kinds []string
		ended := 0
		emit := func(e agentcli.Decoded) {
			switch d := e.Data.(type) {
			case town.ErrorData:
				kinds = append(kinds, string(d.Kind))
			case town.TurnEndedData:
				ended++
				if d.OK {
					t.Errorf("code %d after %q: the turn ended well", c.code, c.output)
				}
			}
		}
		d := newDecoder(t, "gemini")
		d.Decode([]byte(c.output), 0, emit)
		d.Finish(c.code, int64(len(c.output)), emit)
		if strings.Join(kinds, " ") != c.want || ended != 1 {
			t.Errorf("code %d after %q: errors %q, want %q; %d ends", c.code, c.output, kinds, c.want, ended)
		}
	}
}

func TestGeminisThoughtsAndCachedTokensAreCountedOnce(t *testing.T) {
	output := `{"type":"init","session_id":"s"}
{"type":"result","status":"success","stats":{"total_tokens":180,"input_tokens":130,"output_tokens":20,"cached":30,"input":100}}
`
	got := decode(t, newDecoder(t, "gemini"), output, 7)
	want := `usage {"inputTokens":100,"outputTokens":50,"cacheReadTokens":30,"cacheWriteTokens":0,"costUsd":0}`
	if !slices.Contains(got, want) {
		t.Errorf("events %q, want in it %s", got, want)
	}
}
