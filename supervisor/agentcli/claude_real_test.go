package agentcli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/town"
)

// parts are what the test binary plays when a CLI starts it.
var parts = map[string]func(args []string){"hook": playHook, "mcp": playMCP}

// Of playHook: where it writes each call that it is told, and what it does.
const (
	hookLog    = "AGENTCLI_TEST_HOOK_LOG"
	hookPolicy = "AGENTCLI_TEST_HOOK_POLICY" // deny, deny forbidden, crash, or the number of stops that are sent back
)

// playHook is `townd hook CLI POINT` without a town.
func playHook(args []string) {
	input, err := io.ReadAll(os.Stdin)
	cli, lookErr := agentcli.Lookup(args[1])
	if err != nil || lookErr != nil {
		os.Exit(2)
	}
	call, err := cli.ParseHook(input)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	log, err := os.OpenFile(os.Getenv(hookLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		os.Exit(2)
	}
	json.NewEncoder(log).Encode(call)
	log.Close()
	policy := os.Getenv(hookPolicy)
	var answer town.HookAnswer
	switch {
	case policy == "crash" && call.Point == town.HookToolBefore:
		os.Exit(1)
	case call.Point == town.HookToolBefore && (policy == "deny" || policy == "deny forbidden" && strings.Contains(call.Shell, "forbidden")):
		answer = town.HookAnswer{Deny: true, Reason: "House rule 42: not here."}
	case call.Point == town.HookStop:
		if limit, err := strconv.Atoi(policy); err == nil && stopsTold(os.Getenv(hookLog)) <= limit {
			answer = town.HookAnswer{Deny: true, Reason: "There is work on your hook."}
		}
	}
	out := cli.AnswerHook(call, answer)
	os.Stdout.Write(out.Stdout)
	os.Stderr.Write(out.Stderr)
	os.Exit(out.Exit)
}

func stopsTold(log string) int {
	b, _ := os.ReadFile(log)
	return bytes.Count(b, []byte(`"point":"stop"`))
}

// hooked makes claude's hooks call this test binary, and returns what reads the
// calls that were told so far.
func (a *agent) hooked(policy string) (calls func() []town.HookCall) {
	a.t.Helper()
	self, err := os.Executable()
	if err != nil {
		a.t.Fatal(err)
	}
	log := filepath.Join(a.t.TempDir(), "calls")
	a.spec.Hooks, a.spec.Townd = true, self
	maps.Copy(a.spec.Env, map[string]string{"AGENTCLI_TEST_PART": "hook", hookLog: log, hookPolicy: policy})
	return func() []town.HookCall {
		b, err := os.ReadFile(log)
		if err != nil {
			a.t.Fatal(err)
		}
		var all []town.HookCall
		for d := json.NewDecoder(bytes.NewReader(b)); ; {
			var c town.HookCall
			if d.Decode(&c) != nil {
				return all
			}
			all = append(all, c)
		}
	}
}

// playMCP is an MCP server with one tool, gt_done, over its standard input and
// output.
func playMCP([]string) {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var in struct {
			ID     json.RawMessage
			Method string
			Params struct{ ProtocolVersion string }
		}
		if json.Unmarshal(lines.Bytes(), &in) != nil || in.ID == nil {
			continue
		}
		var result any = map[string]any{}
		switch in.Method {
		case "initialize":
			result = map[string]any{
				"protocolVersion": in.Params.ProtocolVersion, "capabilities": map[string]any{"tools": map[string]any{}},
				"serverInfo": map[string]string{"name": "test", "version": "1"},
			}
		case "tools/list":
			result = map[string]any{"tools": []any{map[string]any{
				"name": "gt_done", "description": "Say that the work is done.", "inputSchema": map[string]any{"type": "object"},
			}}}
		case "tools/call":
			result = map[string]any{"content": []any{map[string]string{"type": "text", "text": "noted by " + os.Getenv("AGENTCLI_TEST_NAME")}}}
		}
		json.NewEncoder(os.Stdout).Encode(map[string]any{"jsonrpc": "2.0", "id": in.ID, "result": result})
	}
	os.Exit(0)
}

// one is a model that calls one tool in the first answer of a conversation, and
// then says "Done.".
func one(tool string, input map[string]any) llmtest.Script {
	return func(r *llmtest.Request) llmtest.Step {
		if slices.ContainsFunc(r.Messages, func(m llmtest.Message) bool { return m.Role == "tool" }) {
			return llmtest.Step{Text: "Done."}
		}
		return llmtest.Step{Tools: []llmtest.Tool{{Name: tool, Input: input}}}
	}
}

// finish ends a process as its input ends.
func (a *agent) finish(p *process) {
	a.t.Helper()
	p.stdin.Close()
	p.wait(a.t)
}

func (a *agent) count(event string) int {
	n := 0
	for _, line := range a.shape() {
		if strings.HasPrefix(line, event) {
			n++
		}
	}
	return n
}

// TestClaudeAsksTheGatewayForEverything: with the agent's capability and no other
// credential, for one model, its own errands and its subagents included.
func TestClaudeAsksTheGatewayForEverything(t *testing.T) {
	model, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
		if len(r.Messages) > 0 && bytes.Contains(r.Body, []byte("look around")) && !bytes.Contains(r.Body, []byte("delegate")) {
			return llmtest.Step{Text: "I saw."}
		}
		return one("Task", map[string]any{"description": "look", "prompt": "look around", "subagent_type": "Explore", "run_in_background": false})(r)
	})
	a := newAgent(t, "claude", map[string]string{})
	a.spec.Prompt, a.spec.Effort, a.spec.Model = "delegate", "high", "another"
	a.spec.Models = &agentcli.Models{
		ModelEndpoint: town.ModelEndpoint{Dialect: town.DialectAnthropic, BaseURL: url + "/llm/house", Model: "vendor/model-1"},
		Key:           "capability-of-toast",
	}
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	a.finish(p)
	all := model.All()
	if len(all) < 3 {
		t.Fatalf("%d requests, want those of the agent and its subagent", len(all))
	}
	for _, r := range all {
		if r.Path != "/llm/house/v1/messages" || r.Model != "vendor/model-1" {
			t.Errorf("%s for %s", r.Path, r.Model)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer capability-of-toast" || r.Header.Get("X-Api-Key") != "" {
			t.Errorf("authorization %q, key %q", got, r.Header.Get("X-Api-Key"))
		}
	}
	if !bytes.Contains(all[0].Body, []byte(`"effort":"high"`)) {
		t.Error("the effort is not in the request")
	}
}

// TestClaudeTakesAMessageWhileItIsBusy: at the end of the tool that runs, in the
// same turn; it is delivered then and not before.
func TestClaudeTakesAMessageWhileItIsBusy(t *testing.T) {
	model, url := llmtest.Serve(t, one("Bash", map[string]any{"command": "until [ -e go-on ]; do read -t 0.05 <> <(:) || true; done", "description": "wait"}))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt, a.spec.MessageID = "wait for it", "message-1"
	p := a.start()
	a.wait(town.EventToolCall, 1)
	p.stdin.Write(a.cli.Input("and mind the gap", "message-2"))
	a.waitOutput(`"command_uuid":"message-2","state":"queued"`)
	if n := a.count("message "); n != 1 {
		t.Errorf("%d receipts while the tool runs, want that of the first message", n)
	}
	if err := os.WriteFile(filepath.Join(a.spec.Workdir, "go-on"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	a.wait(town.EventTurnEnded, 1)
	a.finish(p)
	if n := a.count(`message {"messageId":"message-2","receipt":"delivered"}`); n != 1 {
		t.Errorf("%d receipts of the second message, want 1", n)
	}
	requests := model.Requests()
	if len(requests) != 2 || !bytes.Contains(requests[1].Body, []byte("and mind the gap")) || a.count("turn.started") != 1 {
		t.Errorf("%d requests, %d turns; the message is in the last: %v", len(requests), a.count("turn.started"),
			bytes.Contains(requests[len(requests)-1].Body, []byte("and mind the gap")))
	}
}

// waitOutput returns when text is in the output.
func (a *agent) waitOutput(text string) {
	a.t.Helper()
	for {
		a.mu.Lock()
		found, changed := bytes.Contains(a.output, []byte(text)), a.changed
		a.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-a.t.Context().Done():
			return
		}
	}
}

// TestClaudeRunsAMessageOnceThroughAKill: killed -9 before the message is
// acknowledged, or after, resumed and given it again, it runs it exactly once.
func TestClaudeRunsAMessageOnceThroughAKill(t *testing.T) {
	for _, point := range []string{"written", "asked", "acknowledged"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			var again atomic.Bool
			sleep := llmtest.Step{Text: "Wait.", Tools: []llmtest.Tool{{Name: "Bash", Input: map[string]any{"command": "sleep 60", "description": "wait", "timeout": 90000}}}}
			model, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
				switch {
				case again.Load() || !bytes.Contains(r.Body, []byte("the second thing")):
					return llmtest.Step{Text: "Yes."}
				case point == "acknowledged":
					return sleep
				}
				return llmtest.Step{Text: "I think", Hang: true}
			})
			a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
			a.spec.Prompt, a.spec.MessageID = "the first thing", "message-1"
			p := a.start()
			a.wait(town.EventTurnEnded, 1)
			a.spec.Prompt, a.spec.MessageID = "the second thing", "message-2"
			arrived := model.Arrived()
			p.stdin.Write(a.cli.Input(a.spec.Prompt, a.spec.MessageID))
			switch point {
			case "asked":
				<-arrived
			case "acknowledged":
				a.wait(town.EventMessage, 2)
			}
			p.cmd.Process.Kill()
			p.wait(t)
			if got := a.count(`message {"messageId":"message-2"`); got > 0 != (point == "acknowledged") {
				t.Errorf("%d receipts before the kill", got)
			}
			again.Store(true)
			before := len(model.Requests())
			a.spec.SessionID = a.session()
			ended := a.count("turn.ended")
			p = a.start()
			a.wait(town.EventTurnEnded, ended+1)
			a.waitOutput(`"command_uuid":"message-2","state":"completed"`)
			a.finish(p)
			requests := model.Requests()[before:]
			if len(requests) != 1 || bytes.Count(requests[0].Body, []byte("the second thing")) != 1 {
				t.Errorf("%d requests after the kill, want 1 with the message once; output:\n%s", len(requests), a.output[a.began:])
			}
			if got := a.count(`message {"messageId":"message-2","receipt":"delivered"}`); got == 0 {
				t.Error("no receipt after the message was given again")
			}
		})
	}
}

// TestClaudeLosesNoMessageThroughAKillWhileItIsBusy: what waited for the end of a
// tool is given again after the kill, and reaches the model.
func TestClaudeLosesNoMessageThroughAKillWhileItIsBusy(t *testing.T) {
	var again atomic.Bool
	model, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
		if again.Load() {
			return llmtest.Step{Text: "Yes."}
		}
		return llmtest.Step{Tools: []llmtest.Tool{{Name: "Bash", Input: map[string]any{"command": "sleep 60", "description": "wait", "timeout": 90000}}}}
	})
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt, a.spec.MessageID = "the first thing", "message-1"
	p := a.start()
	a.wait(town.EventToolCall, 1)
	a.spec.Prompt, a.spec.MessageID = "the second thing", "message-2"
	p.stdin.Write(a.cli.Input(a.spec.Prompt, a.spec.MessageID))
	a.waitOutput(`"command_uuid":"message-2","state":"queued"`)
	p.cmd.Process.Kill()
	p.wait(t)
	if n := a.count(`message {"messageId":"message-2"`); n != 0 {
		t.Errorf("%d receipts of a message that waits", n)
	}
	again.Store(true)
	before := len(model.Requests())
	a.spec.SessionID = a.session()
	p = a.start()
	a.waitOutput(`"command_uuid":"message-2","state":"completed"`)
	a.finish(p)
	if !slices.ContainsFunc(model.Requests()[before:], func(r *llmtest.Request) bool { return bytes.Contains(r.Body, []byte("the second thing")) }) {
		t.Errorf("the message is lost; output:\n%s", a.output[a.began:])
	}
}

// TestClaudeGoesOnWithATurnThatWasCut, when it is resumed and told nothing.
func TestClaudeGoesOnWithATurnThatWasCut(t *testing.T) {
	var again atomic.Bool
	model, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
		return llmtest.Step{Text: "I think", Hang: !again.Load()}
	})
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt = "think about it"
	arrived := model.Arrived()
	p := a.start()
	a.wait(town.EventSession, 1)
	<-arrived
	p.cmd.Process.Kill()
	p.wait(t)
	again.Store(true)
	a.spec.SessionID, a.spec.Prompt = a.session(), ""
	p = a.start()
	a.wait(town.EventTurnEnded, 2)
	a.finish(p)
	if requests := model.Requests(); len(requests) != 2 || !bytes.Contains(requests[1].Body, []byte("think about it")) {
		t.Errorf("%d requests", len(requests))
	}
}

func TestClaudeForksASession(t *testing.T) {
	model, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "Yes."} })
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt = "remember the number 7"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	a.finish(p)
	first := a.session()
	a.spec.SessionID, a.spec.Fork, a.spec.Prompt = first, true, "which number?"
	p = a.start()
	a.wait(town.EventTurnEnded, 2)
	a.finish(p)
	if !bytes.Contains(model.Requests()[1].Body, []byte("remember the number 7")) {
		t.Error("the fork has forgotten the session's first message")
	}
	if n := a.count("session "); n != 2 {
		t.Fatalf("%d sessions told, want 2", n)
	}
	a.spec.Fork, a.spec.Prompt = false, "and now?"
	p = a.start()
	a.wait(town.EventTurnEnded, 3)
	a.finish(p)
	if bytes.Contains(model.Requests()[2].Body, []byte("which number?")) {
		t.Error("the first session knows what its fork was told")
	}
}

// TestClaudeSaysThatItIsNotLoggedIn proves C25 and F22 without any credential.
func TestClaudeSaysThatItIsNotLoggedIn(t *testing.T) {
	a := newAgent(t, "claude", map[string]string{"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"})
	a.spec.Prompt = "hello"
	p := a.start()
	a.wait(town.EventError, 1)
	a.finish(p)
	a.record("claude-not-logged-in")
	a.wantErrors(town.KindAuth)
}

// TestClaudeOutlivesAMalformedStream: it asks again, and what it cannot make out
// is a failed turn, not a hang.
func TestClaudeOutlivesAMalformedStream(t *testing.T) {
	for name, c := range map[string]struct {
		answers int // that are malformed
		ok      bool
	}{"once": {1, true}, "always": {1 << 30, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			model := llmtest.New(func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "Yes."} })
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > int64(c.answers) {
					model.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, "event: message_start\ndata: {\"type\":\"message_start\",\"mess\n\nevent: content_block_delta\ndata: <html>\n\n")
			}))
			t.Cleanup(server.Close)
			env := llmtest.ClaudeEnv(server.URL)
			env["CLAUDE_CODE_MAX_RETRIES"] = "1"
			a := newAgent(t, "claude", env)
			a.spec.Prompt = "hello"
			p := a.start()
			a.wait(town.EventTurnEnded, 1)
			a.finish(p)
			a.record("claude-malformed-" + name)
			if got := a.count(`turn.ended {"ok":true`); got > 0 != c.ok {
				t.Errorf("events: %q", a.shape())
			}
			if n := a.count("error "); n > 0 == c.ok {
				t.Errorf("%d errors: %q", n, a.shape())
			}
		})
	}
}

// TestClaudeHasTheToolsOfAnMCPServer proves X8: offered at once, callable, and the
// server has its own environment.
func TestClaudeHasTheToolsOfAnMCPServer(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	model, url := llmtest.Serve(t, one("mcp__gastown__gt_done", map[string]any{}))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt = "finish"
	a.spec.MCP = []agentcli.MCPServer{
		{Name: "gastown", Argv: []string{self, "serve"}, Env: map[string]string{"AGENTCLI_TEST_PART": "mcp", "AGENTCLI_TEST_NAME": "the town"}},
		{Name: "broken", Argv: []string{filepath.Join(t.TempDir(), "missing")}},
	}
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	a.finish(p)
	a.record("claude-mcp")
	if !slices.ContainsFunc(model.Requests()[0].Tools, func(s llmtest.ToolSpec) bool { return s.Name == "mcp__gastown__gt_done" }) {
		t.Error("the server's tool is not offered to the model")
	}
	if got := a.tell(); !slices.ContainsFunc(got, func(s string) bool {
		return strings.HasPrefix(s, "tool.result ") && strings.Contains(s, `"ok":true,"output":"noted by the town"`)
	}) {
		t.Errorf("events: %q", got)
	}
	if n := a.count(`error {"kind":"unknown","message":"MCP server broken `); n != 1 {
		t.Errorf("the dead server is told %d times", n)
	}
}

// TestClaudesHooksTellItsWork proves R1 and R2, and what a call says that rules judge.
func TestClaudesHooksTellItsWork(t *testing.T) {
	_, url := llmtest.Serve(t, one("Bash", map[string]any{"command": "echo made > here.txt; echo said", "description": "x"}))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	calls := a.hooked("")
	a.spec.Prompt = "make it"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	a.finish(p)
	a.wantFile("here.txt", "made\n")
	var points []town.HookPoint
	for _, c := range calls() {
		points = append(points, c.Point)
		switch c.Point {
		case town.HookThinking:
			if c.Text != "make it" {
				t.Errorf("thinking of %q", c.Text)
			}
		case town.HookToolBefore:
			if c.Tool != "Bash" || c.Shell != "echo made > here.txt; echo said" || c.Dir != a.spec.Workdir || c.ToolID == "" {
				t.Errorf("before: %+v", c)
			}
		case town.HookToolAfter:
			if !c.OK || c.Output != "said" {
				t.Errorf("after: %+v", c)
			}
		case town.HookStop:
			if c.Text != "Done." {
				t.Errorf("stop: %+v", c)
			}
		case town.HookError, town.HookComplete:
		}
	}
	want := []town.HookPoint{town.HookThinking, town.HookToolBefore, town.HookToolAfter, town.HookStop}
	if !slices.Equal(points, want) {
		t.Errorf("points %q, want %q", points, want)
	}
}

// TestClaudesHooksTellWhatFails proves R3: a tool, and then the turn.
func TestClaudesHooksTellWhatFails(t *testing.T) {
	_, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
		if slices.ContainsFunc(r.Messages, func(m llmtest.Message) bool { return m.Role == "tool" }) {
			return llmtest.Step{Status: 400}
		}
		return llmtest.Step{Tools: []llmtest.Tool{{Name: "Bash", Input: map[string]any{"command": "echo oops >&2; exit 3", "description": "x"}}}}
	})
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	calls := a.hooked("")
	a.spec.Prompt = "break it"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	a.finish(p)
	told := map[town.HookPoint]town.HookCall{}
	for _, c := range calls() {
		told[c.Point] = c
	}
	if c := told[town.HookToolAfter]; c.OK || !strings.Contains(c.Output, "oops") || c.Shell != "echo oops >&2; exit 3" {
		t.Errorf("after: %+v", c)
	}
	if c := told[town.HookError]; c.Text == "" {
		t.Errorf("of %+v no error", told)
	}
	if _, ok := told[town.HookStop]; ok {
		t.Error("a turn that failed is told as one that stops")
	}
}

// TestClaudesHookDeniesATool proves X7: the tool does not run, and the model reads
// why. A hook that fails denies too.
func TestClaudesHookDeniesATool(t *testing.T) {
	for _, c := range []struct{ policy, reason string }{{"deny", "House rule 42: not here."}, {"crash", ""}, {"missing", ""}} {
		t.Run(c.policy, func(t *testing.T) {
			t.Parallel()
			model, url := llmtest.Serve(t, one("Bash", map[string]any{"command": "echo made > here.txt", "description": "x"}))
			a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
			a.hooked(c.policy)
			if c.policy == "missing" {
				a.spec.Townd = filepath.Join(t.TempDir(), "townd")
			}
			a.spec.Prompt = "make it"
			p := a.start()
			a.wait(town.EventTurnEnded, 1)
			a.finish(p)
			if _, err := os.Stat(filepath.Join(a.spec.Workdir, "here.txt")); err == nil {
				t.Error("the tool ran")
			}
			requests := model.Requests()
			if last := requests[len(requests)-1]; len(requests) != 2 || !bytes.Contains(last.Body, []byte(c.reason)) {
				t.Errorf("%d requests; the last one ends with %q", len(requests), last.Last().Text)
			}
			if n := a.count(`tool.result {"ok":false}`); n != 1 {
				t.Errorf("events: %q", a.shape())
			}
		})
	}
}

// TestAnAgentDoesNotTurnItsHooksOff by the settings of its home, which claude reads
// again as they change. The tools that write them are allowed here, the next is not.
func TestAnAgentDoesNotTurnItsHooksOff(t *testing.T) {
	for _, file := range []string{"$CLAUDE_CONFIG_DIR/settings.json", "$HOME/.townd/claude-settings.json"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			_, url := llmtest.Serve(t, llmtest.Steps(
				llmtest.Step{Tools: []llmtest.Tool{{Name: "Bash", Input: map[string]any{
					// claude waits a second for a file to be at rest.
					"command": `echo '{"disableAllHooks":true,"hooks":{}}' > "` + file + `"; sleep 3`, "description": "x",
				}}}},
				llmtest.Step{Tools: []llmtest.Tool{{Name: "Bash", Input: map[string]any{"command": "touch forbidden", "description": "x"}}}},
			))
			a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
			a.hooked("deny forbidden")
			a.spec.Prompt = "try"
			p := a.start()
			a.wait(town.EventTurnEnded, 1)
			a.finish(p)
			if _, err := os.Stat(filepath.Join(a.spec.Workdir, "forbidden")); err == nil {
				t.Error("the tool ran")
			}
			if a.count(`tool.result {"ok":true}`) != 1 || a.count(`tool.result {"ok":false}`) != 1 {
				t.Errorf("events: %q", a.shape())
			}
		})
	}
}

// TestClaudesStopIsSentBack proves R14: as often as the town says, up to claude's
// own cap of eight, which a variable moves.
func TestClaudesStopIsSentBack(t *testing.T) {
	for _, c := range []struct {
		policy, limit string
		requests      int
	}{{"3", "", 4}, {"100", "", 9}, {"100", "2", 3}} {
		t.Run(c.policy+" "+c.limit, func(t *testing.T) {
			t.Parallel()
			model, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "I stop."} })
			env := llmtest.ClaudeEnv(url)
			if c.limit != "" {
				env["CLAUDE_CODE_STOP_HOOK_BLOCK_CAP"] = c.limit
			}
			a := newAgent(t, "claude", env)
			a.hooked(c.policy)
			a.spec.Prompt = "go to it"
			p := a.start()
			a.wait(town.EventTurnEnded, 1)
			a.finish(p)
			requests := model.Requests()
			if len(requests) != c.requests || !bytes.Contains(requests[len(requests)-1].Body, []byte("There is work on your hook.")) {
				t.Errorf("%d requests, want %d; the last one ends with %q", len(requests), c.requests, requests[len(requests)-1].Last().Text)
			}
			if a.count("turn.started") != 1 || a.count(`turn.ended {"ok":true`) != 1 {
				t.Errorf("events: %q", a.shape())
			}
		})
	}
}

// TestClaudeKilledAfterItsResultHasNoOpenTurn: some versions hang there.
func TestClaudeKilledAfterItsResultHasNoOpenTurn(t *testing.T) {
	_, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "Yes."} })
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt = "hello"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.wait(t)
	if a.count("turn.ended") != 1 || a.count("error") != 0 {
		t.Errorf("events: %q", a.shape())
	}
}

// TestClaudeRunsTheRepositorysHooksWhenItMay, and reads its CLAUDE.md once.
func TestClaudeRunsTheRepositorysHooksWhenItMay(t *testing.T) {
	model, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "Yes."} })
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt, a.spec.ProjectHooks = "hello", true
	ran := filepath.Join(t.TempDir(), "ran")
	for name, text := range map[string]string{
		"CLAUDE.md":             "House rule 17.\n",
		".claude/settings.json": `{"hooks":{"SessionStart":[{"hooks":[{"type":"command","command":"touch ` + ran + `"}]}]}}`,
	} {
		path := filepath.Join(a.spec.Workdir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	a.finish(p)
	if _, err := os.Stat(ran); err != nil {
		t.Error("the repository's hook did not run")
	}
	if n := bytes.Count(model.Requests()[0].Body, []byte("House rule 17.")); n != 1 {
		t.Errorf("CLAUDE.md is there %d times", n)
	}
}
