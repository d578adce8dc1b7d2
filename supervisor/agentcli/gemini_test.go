package agentcli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/town"
)

// The test binary is also what gemini starts: its hook, and its MCP server.
func init() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "hook" && os.Args[2] == "gemini":
		os.Exit(geminiHook())
	case len(os.Args) == 2 && os.Args[1] == "gemini-mcp":
		serveTools(os.Stdin, os.Stdout)
		os.Exit(0)
	}
}

// geminiHook tells what it was called with to the file of HOOK_CALLS, and denies
// what is forbidden, and the first stop.
func geminiHook() int {
	cli, err := agentcli.Lookup("gemini")
	if err != nil {
		panic(err)
	}
	stdin, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	call, err := cli.ParseHook(stdin)
	if err != nil {
		panic(err)
	}
	before, _ := os.ReadFile(os.Getenv("HOOK_CALLS"))
	f, err := os.OpenFile(os.Getenv("HOOK_CALLS"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if err := json.NewEncoder(f).Encode(call); err != nil {
		panic(err)
	}
	var answer town.HookAnswer
	switch {
	case strings.Contains(call.Shell, "forbidden"):
		answer = town.HookAnswer{Deny: true, Reason: "rule 5 of the town"}
	case call.Point == town.HookStop && !bytes.Contains(before, []byte(`"stop"`)):
		answer = town.HookAnswer{Deny: true, Reason: "say gt_done first"}
	}
	out := cli.AnswerHook(call, answer)
	os.Stdout.Write(out.Stdout)
	os.Stderr.Write(out.Stderr)
	return out.Exit
}

// serveTools is an MCP server with one tool, gt_done, which tells its arguments and
// the variable SECRET.
func serveTools(in io.Reader, out io.Writer) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var request struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct {
				Version   string          `json:"protocolVersion"`
				Arguments json.RawMessage `json:"arguments"`
			} `json:"params"`
		}
		if json.Unmarshal(lines.Bytes(), &request) != nil || request.ID == nil {
			continue
		}
		var result any = map[string]any{}
		switch request.Method {
		case "initialize":
			result = map[string]any{
				"protocolVersion": request.Params.Version, "capabilities": map[string]any{"tools": map[string]any{}},
				"serverInfo": map[string]any{"name": "gastown", "version": "1"},
			}
		case "tools/list":
			schema := map[string]any{"type": "object", "properties": map[string]any{"branch": map[string]any{"type": "string"}}}
			result = map[string]any{"tools": []any{map[string]any{"name": "gt_done", "description": "done", "inputSchema": schema}}}
		case "tools/call":
			text := fmt.Sprintf("taken %s %s", request.Params.Arguments, os.Getenv("SECRET"))
			result = map[string]any{"content": []any{map[string]any{"type": "text", "text": text}}}
		}
		answer, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": request.ID, "result": result})
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(out, "%s\n", answer)
	}
}

func newGemini(t *testing.T, url string) *agent {
	t.Helper()
	a := newAgent(t, "gemini", map[string]string{"TMPDIR": t.TempDir()}) // it leaves reports of errors there
	a.spec.Models = &agentcli.Models{
		ModelEndpoint: town.ModelEndpoint{Dialect: town.DialectGemini, BaseURL: url, Model: llmtest.GeminiModel}, Key: "capability",
	}
	return a
}

// turn runs the process of one message to its end.
func (a *agent) turn(prompt string) int {
	a.t.Helper()
	a.spec.Prompt = prompt
	return a.start().wait(a.t)
}

func TestGeminiWorksOverTwoMessages(t *testing.T) {
	t.Parallel()
	model, url := llmtest.Serve(t, edits)
	a := newGemini(t, url)
	hook := filepath.Join(t.TempDir(), "hook-ran")
	for name, text := range map[string]string{
		"GEMINI.md":             "House rule 17.\n",
		".env":                  "GEMINI_SYSTEM_MD=/dev/null\n",
		".gemini/settings.json": `{"hooks":{"SessionStart":[{"hooks":[{"type":"command","command":"touch ` + hook + `"}]}]}}`,
	} {
		path := filepath.Join(a.spec.Workdir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a.spec.SystemPrompt = systemPrompt + " @GEMINI.md @/etc/hostname $HOME ${HOME}"
	if code := a.turn("please write one.txt"); code != 0 {
		t.Errorf("exit code %d; output:\n%s", code, a.output)
	}
	a.record("gemini-first-message")
	a.wantFile("one.txt", "written\n")
	a.spec.SessionID, a.spec.SystemPrompt = a.session(), "new rules"
	if code := a.turn("/now two.txt"); code != 0 {
		t.Errorf("exit code %d; output:\n%s", code, a.output)
	}
	a.record("gemini-second-message")
	a.wantFile("two.txt", "written\n")

	all := model.All()
	if len(all) != 4 {
		t.Fatalf("%d requests, want 4: two turns of two and no chore", len(all))
	}
	if !strings.Contains(all[0].System, systemPrompt+" @GEMINI.md @/etc/hostname $HOME ${HOME}") {
		t.Errorf("the system prompt is not whole:\n%s", all[0].System)
	}
	if s := all[2].System; !strings.Contains(s, "new rules") || strings.Contains(s, "You are Toast") {
		t.Error("the resumed session keeps its old system prompt")
	}
	for _, r := range all {
		if r.Model != llmtest.GeminiModel || r.Header.Get("X-Goog-Api-Key") != "capability" || !bytes.Contains(r.Body, []byte("House rule 17.")) {
			t.Errorf("model %q, key there: %v", r.Model, r.Header.Get("X-Goog-Api-Key") == "capability")
		}
	}
	if !bytes.Contains(all[3].Body, []byte("please write one.txt")) || !bytes.Contains(all[3].Body, []byte("/now two.txt")) {
		t.Error("the second turn has forgotten the first")
	}
	if _, err := os.Stat(hook); err == nil {
		t.Error("a hook of the repository ran")
	}
	turn := func(file string) []string {
		return []string{
			`turn.started {}`,
			`text {"text":"I write ` + file + `."}`,
			`tool.call {"name":"write_file","input":{"content":"written\n","file_path":"` + file + `"}}`,
			`tool.result {"ok":true}`,
			`text {"text":"Done."}`,
			`usage {"inputTokens":200,"outputTokens":40,"cacheReadTokens":0,"cacheWriteTokens":0,"costUsd":0}`,
			`turn.ended {"ok":true,"text":"Done."}`,
		}
	}
	want := append([]string{`session {}`}, append(turn("one.txt"), turn("two.txt")...)...)
	if diff := cmp.Diff(want, a.shape()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestGeminiChoosesAModelWhenNoneIsNamed, by one errand a message.
func TestGeminiChoosesAModelWhenNoneIsNamed(t *testing.T) {
	t.Parallel()
	model, url := llmtest.Serve(t, llmtest.Steps())
	a := newGemini(t, url)
	a.spec.Models.Model = ""
	if code := a.turn("hello"); code != 0 {
		t.Errorf("exit code %d; output:\n%s", code, a.output)
	}
	all := model.All()
	if len(all) != 2 || !all[0].Chore || all[1].Chore {
		for _, r := range all {
			t.Errorf("request of %s, chore %v: %.1500s", r.Model, r.Chore, r.Body)
		}
	}
	want := `usage {"inputTokens":200,"outputTokens":40,"cacheReadTokens":0,"cacheWriteTokens":0,"costUsd":0}` // of both
	if got := a.shape(); !slices.Contains(got, want) {
		t.Errorf("events %q, want in it %s", got, want)
	}
}

// TestGeminiRunsTheRepositorysHooksWhenTheyMayRun, beside the town's.
func TestGeminiRunsTheRepositorysHooksWhenTheyMayRun(t *testing.T) {
	t.Parallel()
	_, url := llmtest.Serve(t, llmtest.Steps())
	a := newGemini(t, url)
	hook := filepath.Join(t.TempDir(), "hook-ran")
	if err := os.Mkdir(filepath.Join(a.spec.Workdir, ".gemini"), 0o755); err != nil {
		t.Fatal(err)
	}
	settings := `{"hooks":{"SessionStart":[{"hooks":[{"type":"command","command":"touch ` + hook + `"}]}]}}`
	if err := os.WriteFile(filepath.Join(a.spec.Workdir, ".gemini/settings.json"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	a.spec.ProjectHooks = true
	if code := a.turn("hello"); code != 0 {
		t.Errorf("exit code %d; output:\n%s", code, a.output)
	}
	if _, err := os.Stat(hook); err != nil {
		t.Errorf("the repository's hook: %v", err)
	}
}

// TestGeminiGoesOnAfterAKillInMidTurn: what the killed turn had done is remembered.
func TestGeminiGoesOnAfterAKillInMidTurn(t *testing.T) {
	t.Parallel()
	hanging := false
	model, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
		if r.Last().Role == "tool" && !hanging {
			hanging = true
			return llmtest.Step{Text: "I think", Hang: true}
		}
		if hanging {
			return llmtest.Step{Text: "Yes."}
		}
		return edits(r)
	})
	a := newGemini(t, url)
	a.spec.Prompt = "please write one.txt and remember 7"
	p := a.start()
	a.wait(town.EventToolResult, 1)
	for arrived := model.Arrived(); len(model.Requests()) < 2; arrived = model.Arrived() {
		<-arrived
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.wait(t)
	a.spec.SessionID = a.session()
	if code := a.turn("which number?"); code != 0 {
		t.Errorf("exit code %d; output:\n%s", code, a.output)
	}
	last := model.Requests()[2]
	for _, part := range []string{"remember 7", "I write one.txt.", "functionResponse", "which number?"} {
		if !bytes.Contains(last.Body, []byte(part)) {
			t.Errorf("the resumed session lacks %q:\n%s", part, last.Body)
		}
	}
	if got := a.shape(); got[len(got)-1] != `turn.ended {"ok":true,"text":"Yes."}` {
		t.Errorf("events: %q", got)
	}
}

func TestGeminiTellsWhyItsModelFailed(t *testing.T) {
	for _, c := range []struct {
		name         string
		status, code int
		kind         town.ErrorKind
	}{{"auth", 401, 145, town.KindAuth}, {"rate-limit", 429, 173, town.KindRateLimit}, {"overloaded", 500, 244, town.KindOverloaded}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Status: c.status} })
			a := newGemini(t, url)
			if code := a.turn("hello"); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			a.record("gemini-" + c.name)
			a.wantErrors(c.kind)
			retries := slices.ContainsFunc(a.tell(), func(s string) bool { return strings.HasPrefix(s, "retry ") })
			if retries != (c.status != 401) {
				t.Errorf("a retry is told: %v; events: %q", retries, a.tell())
			}
		})
	}
}

func TestGeminiTellsAStreamThatBreaks(t *testing.T) {
	t.Parallel()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, `data: {"candidates":[{"content":{"role":"model","parts":[{"text":"half"}]}}]}`+"\r\n\r\n"+`data: {"cand`)
	}))
	t.Cleanup(broken.Close)
	a := newGemini(t, broken.URL)
	if code := a.turn("hello"); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	a.record("gemini-malformed")
	a.wantErrors(town.KindUnknown)
}

func TestGeminiSaysThatASessionIsUnknown(t *testing.T) {
	t.Parallel()
	a := newGemini(t, "http://127.0.0.1:1")
	a.spec.SessionID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
	if code := a.turn("hello"); code != 42 {
		t.Errorf("exit code %d, want 42", code)
	}
	a.record("gemini-unknown-session")
	a.wantErrors(town.KindCrashed)
}

// TestGeminiEndsAtSIGTERM, with a turn that did not end well.
func TestGeminiEndsAtSIGTERM(t *testing.T) {
	t.Parallel()
	model, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "I think", Hang: true} })
	a := newGemini(t, url)
	a.spec.Prompt = "think for ever"
	arrived := model.Arrived()
	p := a.start()
	<-arrived
	a.wait(town.EventTurnStarted, 1)
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if got := a.shape(); !strings.HasPrefix(got[len(got)-1], `turn.ended {"ok":false`) {
		t.Errorf("events: %q", got)
	}
}

// TestGeminiCallsToolsOfTheTownAndAsksItsHooks proves that a denied tool is not
// called, that the agent reads why, and that a turn is sent back.
func TestGeminiCallsToolsOfTheTownAndAsksItsHooks(t *testing.T) {
	t.Parallel()
	shell := llmtest.Tool{Name: "run_shell_command", Input: map[string]any{"command": "touch forbidden"}}
	done := llmtest.Tool{Name: "mcp_gastown_gt_done", Input: map[string]any{"branch": "b"}}
	model, url := llmtest.Serve(t, llmtest.Steps(
		llmtest.Step{Tools: []llmtest.Tool{shell}}, llmtest.Step{Text: "I stop."}, llmtest.Step{Tools: []llmtest.Tool{done}}, llmtest.Step{Text: "Over."},
	))
	a := newGemini(t, url)
	calls := filepath.Join(t.TempDir(), "calls")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a.spec.Env["HOOK_CALLS"] = calls
	a.spec.Hooks, a.spec.Townd = true, program
	a.spec.MCP = []agentcli.MCPServer{{Name: "gastown", Argv: []string{program, "gemini-mcp"}, Env: map[string]string{"SECRET": "a$HOME${PATH}b"}}}
	if code := a.turn("go"); code != 0 {
		t.Errorf("exit code %d; output:\n%s", code, a.output)
	}
	a.record("gemini-hooks")
	if _, err := os.Stat(filepath.Join(a.spec.Workdir, "forbidden")); err == nil {
		t.Error("the denied tool ran")
	}
	requests := model.Requests()
	if len(requests) != 4 {
		t.Fatalf("%d requests, want 4; output:\n%s", len(requests), a.output)
	}
	for i, want := range []string{"", "rule 5 of the town", "say gt_done first", `taken {\"branch\":\"b\"} a$HOME${PATH}b`} {
		if got := requests[i].Last().Text; !strings.Contains(got, want) && !strings.Contains(strings.ReplaceAll(got, `\\`, `\`), want) {
			t.Errorf("request %d ends with %q, want in it %q", i, got, want)
		}
	}
	told, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	var got []town.HookCall
	for d := json.NewDecoder(bytes.NewReader(told)); d.More(); {
		var c town.HookCall
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		got = append(got, c)
	}
	want := []town.HookCall{
		{Point: town.HookThinking, Text: "go"},
		{Point: town.HookToolBefore, Tool: "run_shell_command", Input: json.RawMessage(`{"command":"touch forbidden"}`), Shell: "touch forbidden", Dir: a.spec.Workdir},
		{Point: town.HookStop, Text: "I stop."},
		{Point: town.HookThinking, Text: "say gt_done first"},
		{Point: town.HookToolBefore, Tool: "mcp_gastown_gt_done", Input: json.RawMessage(`{"branch":"b"}`)},
		{Point: town.HookToolAfter, Tool: "mcp_gastown_gt_done", Input: json.RawMessage(`{"branch":"b"}`), OK: true, Output: "<untrusted_context>\n" + `taken {"branch":"b"} a$HOME${PATH}b` + "\n</untrusted_context>"},
		{Point: town.HookStop, Text: "I stop.\nOver."},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hooks (-want +got):\n%s", diff)
	}
}

// TestGeminiCallsNoToolWhenTheHookFails: it fails closed.
func TestGeminiCallsNoToolWhenTheHookFails(t *testing.T) {
	for name, script := range map[string]string{"missing": "", "killed": "kill -9 $$", "silent": "exit 1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shell := llmtest.Tool{Name: "run_shell_command", Input: map[string]any{"command": "touch ran"}}
			_, url := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Tools: []llmtest.Tool{shell}}))
			a := newGemini(t, url)
			a.spec.Hooks, a.spec.Townd = true, filepath.Join(t.TempDir(), "it's townd")
			if script != "" {
				body := "#!/bin/bash\ngrep -q BeforeTool || exit 0\n" + script + "\n"
				if err := os.WriteFile(a.spec.Townd, []byte(body), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			a.turn("go")
			if got := a.shape(); !slices.Contains(got, `tool.result {"ok":false}`) || got[len(got)-1] != `turn.ended {"ok":true,"text":"Done."}` {
				t.Errorf("events: %q; output:\n%s", got, a.output)
			}
			if _, err := os.Stat(filepath.Join(a.spec.Workdir, "ran")); err == nil {
				t.Errorf("the tool ran; output:\n%s", a.output)
			}
		})
	}
}

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

func TestGeminiRefusesWhatItCannotDo(t *testing.T) {
	cli, err := agentcli.Lookup("gemini")
	if err != nil {
		t.Fatal(err)
	}
	for path, change := range map[string]func(*agentcli.Spec){
		"prompt": func(s *agentcli.Spec) { s.Prompt = "" },
		"fork":   func(s *agentcli.Spec) { s.Fork = true },
	} {
		s := spec()
		change(&s)
		if _, err := cli.Launch(s); issue(t, err).Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestGeminiLogsInAsTheCallersVariablesSay(t *testing.T) {
	cli, err := agentcli.Lookup("gemini")
	if err != nil {
		t.Fatal(err)
	}
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
	cli, err := agentcli.Lookup("gemini")
	if err != nil {
		t.Fatal(err)
	}
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
