package agentcli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
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
	"townd/supervisor/driver"
	"townd/town"
)

// The test binary plays townd: a driver, a hook, and an MCP server.
func init() {
	if len(os.Args) < 2 {
		return
	}
	switch os.Args[1] {
	case "drive":
		os.Exit(beDriver(os.Args[2:]))
	case "hook":
		os.Exit(beHook(os.Args[2]))
	case "mcp":
		os.Exit(beServer(os.Stdin, os.Stdout))
	}
}

func beDriver(args []string) int {
	o := driver.Options{In: os.Stdin, Out: os.Stdout}
	flags := flag.NewFlagSet("drive", flag.ExitOnError)
	flags.StringVar(&o.Session, "session", "", "")
	flags.BoolVar(&o.Fork, "fork", false, "")
	flags.StringVar(&o.Model, "model", "", "")
	flags.StringVar(&o.Effort, "effort", "", "")
	flags.StringVar(&o.SystemFile, "system-file", "", "")
	flags.Parse(args)
	o.Program, o.Args = flags.Arg(1), flags.Args()[2:]
	code, err := driver.Run(context.Background(), flags.Arg(0), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// beHook denies what TEST_DENY names, and keeps every call in the file TEST_HOOKS.
// A call with "crash" in it finds no town.
func beHook(name string) int {
	stdin, err := io.ReadAll(os.Stdin)
	if err != nil || bytes.Contains(stdin, []byte("crash")) {
		return 1
	}
	cli, err := agentcli.Lookup(name)
	if err != nil {
		return 1
	}
	call, err := cli.ParseHook(stdin)
	if err != nil {
		return 1
	}
	told, err := json.Marshal(call)
	if err != nil {
		return 1
	}
	file, err := os.OpenFile(os.Getenv("TEST_HOOKS"), os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 1
	}
	defer file.Close()
	before, err := io.ReadAll(file)
	if err != nil {
		return 1
	}
	file.Write(append(told, '\n'))
	answer := town.HookAnswer{}
	if deny := os.Getenv("TEST_DENY"); deny != "" && strings.Contains(string(told), deny) && !bytes.Contains(before, []byte(deny)) {
		answer = town.HookAnswer{Deny: true, Reason: "the town forbids it"}
	}
	out := cli.AnswerHook(call, answer)
	os.Stdout.Write(out.Stdout)
	os.Stderr.Write(out.Stderr)
	return out.Exit
}

// beServer is an MCP server with one tool, which says what TEST_TOOL is.
func beServer(in io.Reader, out io.Writer) int {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var r struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct {
				Version string `json:"protocolVersion"`
			} `json:"params"`
		}
		if json.Unmarshal(lines.Bytes(), &r) != nil || r.ID == nil {
			continue
		}
		result := map[string]any{}
		switch r.Method {
		case "initialize":
			result = map[string]any{
				"protocolVersion": r.Params.Version, "capabilities": map[string]any{"tools": map[string]any{}},
				"serverInfo": map[string]any{"name": "test", "version": "1"},
			}
		case "tools/list":
			result["tools"] = []any{map[string]any{
				"name": "gt_done", "description": "Tell that the work is done.",
				"inputSchema": map[string]any{"type": "object", "properties": map[string]any{"summary": map[string]any{"type": "string"}}},
			}}
		case "tools/call":
			result["content"] = []any{map[string]any{"type": "text", "text": "TEST_TOOL is " + os.Getenv("TEST_TOOL")}}
		}
		line, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": r.ID, "result": result})
		if err != nil {
			return 1
		}
		fmt.Fprintf(out, "%s\n", line)
	}
	return 0
}

func newCodex(t *testing.T, script llmtest.Script) (*agent, *llmtest.Server) {
	t.Helper()
	model, url := llmtest.Serve(t, script)
	return newCodexAt(t, url), model
}

func newCodexAt(t *testing.T, url string) *agent {
	t.Helper()
	a := newAgent(t, "codex", nil)
	a.spec.Models = &agentcli.Models{
		ModelEndpoint: town.ModelEndpoint{Dialect: town.DialectResponses, BaseURL: url + "/v1", Model: llmtest.CodexModel},
		Key:           "capability-of-the-agent",
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a.spec.Townd = self
	return a
}

// stop ends a process's input and wants it to end well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.stdin.Close()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// furnish gives the repository a rule and a hook, which touches hook-ran.
func (a *agent) furnish() {
	a.t.Helper()
	for name, content := range map[string]string{
		"AGENTS.md":         "House rule 17.\n",
		".codex/hooks.json": `{"hooks":{"UserPromptSubmit":[{"hooks":[{"type":"command","command":"touch hook-ran"}]}]}}`,
	} {
		path := filepath.Join(a.spec.Workdir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			a.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			a.t.Fatal(err)
		}
	}
}

func TestCodexRunsTheRepositorysHooksWhereTheyMay(t *testing.T) {
	t.Parallel()
	a, _ := newCodex(t, llmtest.Steps())
	a.furnish()
	a.spec.ProjectHooks, a.spec.Prompt = true, "hello"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	p.stop(t)
	a.wantFile("hook-ran", "")
}

func TestCodexWorksOverTwoMessages(t *testing.T) {
	t.Parallel()
	a, model := newCodex(t, edits)
	a.furnish()
	a.spec.Prompt, a.spec.MessageID = "please write one.txt", "message-1"
	a.spec.SystemPrompt, a.spec.Effort = systemPrompt, "high"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	a.wantFile("one.txt", "written\n")
	p.stdin.Write(a.cli.Input("now two.txt", "message-2"))
	a.wait(town.EventTurnEnded, 2)
	a.wantFile("two.txt", "written\n")
	p.stop(t)

	requests := model.All()
	if len(requests) != 4 {
		t.Fatalf("%d requests, want 4: two turns of two", len(requests))
	}
	for _, r := range requests {
		if r.Model != llmtest.CodexModel || !strings.Contains(r.System, systemPrompt) || r.Header.Get("Authorization") != "Bearer capability-of-the-agent" {
			t.Errorf("model %q, key %q, system prompt there: %v", r.Model, r.Header.Get("Authorization"), strings.Contains(r.System, systemPrompt))
		}
		for _, want := range []string{"House rule 17.", `"effort":"high"`} {
			if !bytes.Contains(r.Body, []byte(want)) {
				t.Errorf("a request without %s", want)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(a.spec.Workdir, "hook-ran")); err == nil {
		t.Error("a hook of the repository ran")
	}
	usage := `usage {"inputTokens":100,"outputTokens":20,"cacheReadTokens":0,"cacheWriteTokens":0,"costUsd":0}`
	turn := func(file, message string) []string {
		return []string{
			`message {"messageId":"` + message + `","receipt":"delivered"}`,
			`turn.started {}`,
			`message {"messageId":"` + message + `","receipt":"seen"}`,
			`text {"text":"I write ` + file + `."}`,
			`tool.call {"name":"apply_patch","input":{"changes":[{"path":"` + a.spec.Workdir + `/` + file + `","kind":{"type":"add"},"diff":"written\n"}]}}`,
			`tool.result {"ok":true}`,
			usage,
			`text {"text":"Done."}`,
			usage,
			`turn.ended {"ok":true,"text":"Done."}`,
		}
	}
	want := append([]string{`session {}`}, append(turn("one.txt", "message-1"), turn("two.txt", "message-2")...)...)
	if diff := cmp.Diff(want, a.shape()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	a.record("codex-two-messages")
}

// TestCodexTakesAMessageAfterTheTurn: what comes while it is busy waits, and no
// turn is made of two messages.
func TestCodexTakesAMessageAfterTheTurn(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	a, model := newCodex(t, func(r *llmtest.Request) llmtest.Step {
		if r.Last().Text == "first" {
			<-answer
		}
		return llmtest.Step{Text: "To " + r.Last().Text}
	})
	a.spec.Prompt, a.spec.MessageID = "first", "m1"
	arrived := model.Arrived()
	p := a.start()
	<-arrived
	p.stdin.Write(a.cli.Input("second", "m2"))
	p.stdin.Write(a.cli.Input("third", "m3"))
	close(answer)
	a.wait(town.EventTurnEnded, 3)
	p.stop(t)
	var ends []string
	for _, e := range a.shape() {
		if strings.HasPrefix(e, "turn.ended") {
			ends = append(ends, e)
		}
	}
	want := []string{`turn.ended {"ok":true,"text":"To first"}`, `turn.ended {"ok":true,"text":"To second"}`, `turn.ended {"ok":true,"text":"To third"}`}
	if diff := cmp.Diff(want, ends); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
}

func TestCodexIsInterruptedAndGoesOn(t *testing.T) {
	t.Parallel()
	a, model := newCodex(t, llmtest.Steps(llmtest.Step{Text: "I think", Hang: true}, llmtest.Step{Text: "Here."}))
	a.spec.Prompt, a.spec.MessageID = "think for ever", "message-1"
	arrived := model.Arrived()
	p := a.start()
	a.wait(town.EventTurnStarted, 1)
	<-arrived
	p.stdin.Write(a.cli.Interrupt())
	p.stdin.Write(a.cli.Input("are you there?", "message-2"))
	a.wait(town.EventTurnEnded, 2)
	p.stop(t)
	got := a.shape()
	i := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, `turn.ended {"ok":false`) })
	if i < 0 || slices.Index(got, `turn.ended {"ok":true,"text":"Here."}`) < i {
		t.Errorf("events: %q", got)
	}
	if i := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, "error ") }); i >= 0 {
		t.Errorf("an interrupt is told as %s", got[i])
	}
	a.record("codex-interrupted")
}

// TestCodexResumesItsSession proves resume after kill -9, new rules, the usage of
// the new turn alone, and a fork that leaves the session as it is.
func TestCodexResumesItsSession(t *testing.T) {
	t.Parallel()
	a, model := newCodex(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "Yes."} })
	a.spec.Prompt, a.spec.SystemPrompt = "remember the number 7", "old rules"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.wait(t)
	a.spec.SessionID, a.spec.Prompt, a.spec.SystemPrompt = a.session(), "which number?", "new rules"
	a.decoder = a.cli.NewDecoder() // of a server that knows nothing of the first process
	began := len(a.events)
	p = a.start()
	a.wait(town.EventTurnEnded, 2)
	p.stop(t)
	a.record("codex-resumed")
	last := model.Requests()[1]
	if !bytes.Contains(last.Body, []byte("remember the number 7")) {
		t.Error("the resumed session has forgotten its first message")
	}
	if at := strings.LastIndex(last.System, "new rules"); at < strings.LastIndex(last.System, "old rules") {
		t.Errorf("the resumed session keeps its old system prompt: %s", last.System)
	}
	var used int64
	for _, e := range a.events[began:] {
		if u, ok := e.Data.(town.UsageData); ok {
			used += u.InputTokens
		}
	}
	if used != 100 {
		t.Errorf("%d tokens used since, want 100", used)
	}

	a.spec.Fork, a.spec.Prompt = true, "and now?"
	p = a.start()
	a.wait(town.EventTurnEnded, 3)
	p.stop(t)
	if last := model.Requests()[2]; !bytes.Contains(last.Body, []byte("remember the number 7")) {
		t.Error("the fork has forgotten the first message")
	}
	var ids []string
	for _, e := range a.events {
		if s, ok := e.Data.(town.SessionData); ok {
			ids = append(ids, s.ID)
		}
	}
	if len(ids) != 3 || ids[0] != ids[1] || ids[1] == ids[2] {
		t.Errorf("sessions %q, want one twice and then another", ids)
	}
}

func TestCodexSaysThatASessionIsUnknown(t *testing.T) {
	t.Parallel()
	a, _ := newCodex(t, nil)
	a.spec.Prompt, a.spec.MessageID, a.spec.SessionID = "hello", "message-1", "01a21b87-aaaa-7473-ba08-387025a5275f"
	p := a.start()
	if code := p.wait(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	want := []string{
		`error {"kind":"unknown","message":"no rollout found for thread id 01a21b87-aaaa-7473-ba08-387025a5275f"}`,
		`message {"messageId":"message-1","receipt":"failed"}`,
	}
	if diff := cmp.Diff(want, a.tell()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	a.record("codex-unknown-session")
}

// TestCodexTellsWhyItsModelFailed proves kinds of errors by structure.
func TestCodexTellsWhyItsModelFailed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		step llmtest.Step
		kind town.ErrorKind
	}{
		{"auth", llmtest.Step{Status: 401}, town.KindAuth},
		{"rate-limit", llmtest.Step{Status: 429}, town.KindRateLimit},
		{"no-money", llmtest.Step{Status: 402}, town.KindBilling},
		{"quota", llmtest.Step{Status: 429, ErrorType: "insufficient_quota"}, town.KindBilling},
		{"overloaded", llmtest.Step{Status: 503}, town.KindOverloaded},
		{"too-large", llmtest.Step{Status: 413}, town.KindContextFull},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, _ := newCodex(t, func(*llmtest.Request) llmtest.Step { return c.step })
			a.spec.Prompt = "hello"
			p := a.start()
			a.wait(town.EventTurnEnded, 1)
			p.stop(t)
			a.record("codex-" + c.name)
			a.wantErrors(c.kind)
		})
	}
}

// TestCodexTellsOfAnAnswerThatMakesNoSense: a stream of nonsense, and one that
// breaks off. It asks again, and then says so.
func TestCodexTellsOfAnAnswerThatMakesNoSense(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]string{
		"nonsense": "data: {\"type\":\"resp\n\nevent: ping\n\n\x00\xff\n\n",
		"cut":      "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, stream)
			}))
			t.Cleanup(server.Close)
			a := newCodexAt(t, server.URL)
			a.spec.Prompt = "hello"
			p := a.start()
			a.wait(town.EventTurnEnded, 1)
			p.stop(t)
			a.wantErrors(town.KindNetwork)
			a.record("codex-" + name)
		})
	}
}

// TestCodexDoesNotBeginWithoutTheTownsTools: the start fails, and says why.
func TestCodexDoesNotBeginWithoutTheTownsTools(t *testing.T) {
	t.Parallel()
	a, _ := newCodex(t, nil)
	a.spec.MCP = []agentcli.MCPServer{{Name: "gastown", Argv: []string{"/bin/false"}}}
	a.spec.Prompt, a.spec.MessageID = "finish", "message-1"
	p := a.start()
	if code := p.wait(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	got := a.tell()
	if len(got) != 2 || !strings.HasPrefix(got[0], `error {"kind":"unknown"`) || !strings.Contains(got[0], "gastown") ||
		got[1] != `message {"messageId":"message-1","receipt":"failed"}` {
		t.Errorf("events: %q", got)
	}
}

// TestCodexGetsTheToolsOfAServer: named, called without a question, and with the
// server's own variable, which is in no argument.
func TestCodexGetsTheToolsOfAServer(t *testing.T) {
	t.Parallel()
	a, model := newCodex(t, func(r *llmtest.Request) llmtest.Step {
		if r.Last().Role == "tool" {
			return llmtest.Step{Text: r.Last().Text}
		}
		return llmtest.Step{Tools: []llmtest.Tool{{Name: "gt_done", Input: map[string]any{"summary": "all of it"}}}}
	})
	a.spec.Models.Model = "unknown-to-codex" // of those that it knows, it shows servers' tools only when they look for them
	a.spec.MCP = []agentcli.MCPServer{{Name: "gastown", Argv: []string{a.spec.Townd, "mcp"}, Env: map[string]string{"TEST_TOOL": "a-secret"}}}
	a.spec.Prompt = "finish"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	p.stop(t)
	var names []string
	for _, tool := range model.Requests()[0].Tools {
		names = append(names, tool.Name)
	}
	if !slices.Contains(names, "gt_done") {
		t.Errorf("tools %q", names)
	}
	got := a.shape()
	if !slices.Contains(got, `tool.call {"name":"mcp__gastown__gt_done","input":{"summary":"all of it"}}`) {
		t.Errorf("events: %q", got)
	}
	if end := got[len(got)-1]; !strings.Contains(end, "TEST_TOOL is a-secret") {
		t.Errorf("the last event is %s", end)
	}
	a.record("codex-tools")
}

// TestCodexAsksTheTownFirst proves hooks: what they tell, a call refused with a
// reason that the model reads, one refused because the town is gone, and an end
// of the turn sent back.
func TestCodexAsksTheTownFirst(t *testing.T) {
	t.Parallel()
	shell := func(command string) llmtest.Step {
		return llmtest.Step{Tools: []llmtest.Tool{{Name: "exec_command", Input: map[string]any{"cmd": command}}}}
	}
	then := func(first llmtest.Step) llmtest.Script {
		return llmtest.Steps(first, llmtest.Step{Text: "Stopping."}, llmtest.Step{Text: "Stopping again."})
	}
	run := func(t *testing.T, deny string, script llmtest.Script) (calls []town.HookCall, a *agent, model *llmtest.Server) {
		t.Helper()
		a, model = newCodex(t, script)
		file := filepath.Join(t.TempDir(), "hooks")
		a.spec.Hooks, a.spec.Prompt = true, "begin"
		a.spec.Env = map[string]string{"TEST_HOOKS": file, "TEST_DENY": deny}
		p := a.start()
		a.wait(town.EventTurnEnded, 1)
		p.stop(t)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("no hook ran: %v\n%s", err, a.output)
		}
		for line := range strings.Lines(string(b)) {
			var call town.HookCall
			if err := json.Unmarshal([]byte(line), &call); err != nil {
				t.Fatal(err)
			}
			call.ToolID, call.Input = "", nil
			calls = append(calls, call)
		}
		return calls, a, model
	}
	t.Run("and is told of everything", func(t *testing.T) {
		t.Parallel()
		calls, a, _ := run(t, "", then(shell("echo >one.txt; echo said")))
		want := []town.HookCall{
			{Point: town.HookThinking, Text: "begin"},
			{Point: town.HookToolBefore, Tool: "Bash", Shell: "echo >one.txt; echo said"},
			{Point: town.HookToolAfter, Tool: "Bash", Shell: "echo >one.txt; echo said", OK: true, Output: "said\n"},
			{Point: town.HookStop, Text: "Stopping."},
		}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		a.wantFile("one.txt", "\n")
		a.record("codex-hooks")
	})
	t.Run("and may not call a tool", func(t *testing.T) {
		t.Parallel()
		_, a, model := run(t, "one.txt", then(shell("touch one.txt")))
		if _, err := os.Stat(filepath.Join(a.spec.Workdir, "one.txt")); err == nil {
			t.Error("the command ran")
		}
		if got := model.Requests()[1].Last(); got.Role != "tool" || !strings.Contains(got.Text, "the town forbids it") {
			t.Errorf("the model reads %+v", got)
		}
		a.record("codex-hook-denies")
	})
	t.Run("and may not call a tool from a script", func(t *testing.T) {
		t.Parallel()
		exec := llmtest.Tool{Name: "exec", Input: map[string]any{"input": "const r = await tools.exec_command({cmd: 'touch one.txt'}); text(r.output)"}}
		model, url := llmtest.Serve(t, then(llmtest.Step{Tools: []llmtest.Tool{exec}}))
		a := newCodexAt(t, url)
		a.spec.Models.Model = "gpt-6.1-sol" // which has no other tools than scripts
		a.spec.Hooks, a.spec.Prompt = true, "begin"
		a.spec.Env = map[string]string{"TEST_HOOKS": filepath.Join(t.TempDir(), "hooks"), "TEST_DENY": "one.txt"}
		p := a.start()
		a.wait(town.EventTurnEnded, 1)
		p.stop(t)
		if _, err := os.Stat(filepath.Join(a.spec.Workdir, "one.txt")); err == nil {
			t.Error("the command ran")
		}
		if got := model.Requests()[1].Last(); !strings.Contains(got.Text, "the town forbids it") {
			t.Errorf("the model reads %+v", got)
		}
	})
	t.Run("and may not write a file", func(t *testing.T) {
		t.Parallel()
		calls, a, _ := run(t, "one.txt", then(llmtest.WriteFile("one.txt", "written\n")(&llmtest.Request{})))
		if _, err := os.Stat(filepath.Join(a.spec.Workdir, "one.txt")); err == nil {
			t.Error("the file was written")
		}
		if !slices.Equal(calls[1].Writes, []string{"one.txt"}) {
			t.Errorf("writes %q", calls[1].Writes)
		}
	})
	t.Run("and does nothing when the town is gone", func(t *testing.T) {
		t.Parallel()
		_, a, model := run(t, "", then(shell("touch crash.txt")))
		if _, err := os.Stat(filepath.Join(a.spec.Workdir, "crash.txt")); err == nil {
			t.Error("the command ran")
		}
		if got := model.Requests()[1].Last(); !strings.Contains(got.Text, "the call is refused") {
			t.Errorf("the model reads %+v", got)
		}
	})
	t.Run("and gives no orders to a shell that runs", func(t *testing.T) {
		t.Parallel()
		for _, tty := range []bool{true, false} {
			asked := false
			_, a, _ := run(t, "", func(r *llmtest.Request) llmtest.Step {
				step := shell("bash -c 'sleep 1; read line; eval \"$line\"'")
				switch _, rest, runs := strings.Cut(r.Last().Text, "session ID "); {
				case runs && !asked:
					asked = true
					id := 0
					fmt.Sscan(rest, &id)
					step.Tools[0] = llmtest.Tool{Name: "write_stdin", Input: map[string]any{"session_id": id, "chars": "touch evil.txt\n", "yield_time_ms": 2000}}
				case r.Last().Role == "tool":
					step = llmtest.Step{Text: r.Last().Text}
				default:
					step.Tools[0].Input["tty"], step.Tools[0].Input["yield_time_ms"] = tty, 300
				}
				return step
			})
			if _, err := os.Stat(filepath.Join(a.spec.Workdir, "evil.txt")); err == nil {
				t.Errorf("with tty=%v a command ran that the town never saw", tty)
			}
		}
	})
	t.Run("and may not stop", func(t *testing.T) {
		t.Parallel()
		_, a, model := run(t, "Stopping", then(llmtest.Step{Text: "Stopping."}))
		requests := model.Requests()
		if len(requests) != 2 || !strings.Contains(requests[1].Last().Text, "the town forbids it") {
			t.Errorf("%d requests, the model reads %+v", len(requests), requests[len(requests)-1].Last())
		}
		if got := a.shape(); slices.Index(got, `turn.ended {"ok":true,"text":"Stopping."}`) != len(got)-1 {
			t.Errorf("events: %q", got)
		}
		a.record("codex-stop-sent-back")
	})
}

// TestCodexReachesItsModelByTheCallersKey needs no login.
func TestCodexReachesItsModelByTheCallersKey(t *testing.T) {
	t.Parallel()
	a, model := newCodex(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "Hi."} })
	url := strings.TrimSuffix(a.spec.Models.BaseURL, "/v1")
	a.spec.Models, a.spec.Env, a.spec.Prompt, a.spec.Model = nil, llmtest.CodexEnv(url), "hello", llmtest.CodexModel
	if !a.cli.Credentialed(a.spec.Env) {
		t.Error("a key is no credential")
	}
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	p.stop(t)
	if got := model.Requests()[0].Header.Get("Authorization"); got != "Bearer scripted" {
		t.Errorf("key %q", got)
	}
}
