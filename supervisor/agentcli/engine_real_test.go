package agentcli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/town"
)

// engines are the two names of one engine, each with what points it to a server.
var engines = map[string]func(url string) map[string]string{"kilo": llmtest.KiloEnv, "opencode": llmtest.OpenCodeEnv}

// eachEngine runs f for both at once: they mostly wait.
func eachEngine(t *testing.T, f func(t *testing.T, name string)) {
	for name := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, name)
		})
	}
}

const engineUsage = `usage {"inputTokens":100,"outputTokens":20,"cacheReadTokens":0,"cacheWriteTokens":0,"costUsd":0.0006}`

// conversationModel thinks for ever when told to, runs what is to be slow, and
// answers or writes files else.
func conversationModel(r *llmtest.Request) llmtest.Step {
	text := asked(r)
	switch {
	case strings.Contains(text, "think for ever"):
		return llmtest.Step{Text: "I think", Hang: true}
	case strings.Contains(text, "be slow") && r.Last().Role == "user":
		return llmtest.Step{Text: "I wait.", Tools: []llmtest.Tool{{Name: "bash", Input: map[string]any{
			"command": "until test -e go-on; do sleep 0.1; done", "description": "wait",
		}}}}
	case strings.Contains(text, ".txt"):
		return edits(r)
	}
	return llmtest.Step{Text: "Yes."}
}

// asked returns the newest message of the user, to which kilo adds the time.
func asked(r *llmtest.Request) string {
	for _, m := range slices.Backward(r.Messages) {
		if m.Role == "user" {
			return m.Text
		}
	}
	return ""
}

// TestEnginesConverse is the life of one session: two messages, one while busy, an
// interrupt, a death without warning, a resumption, a copy.
func TestEnginesConverse(t *testing.T) {
	eachEngine(t, func(t *testing.T, name string) {
		model, url := llmtest.Serve(t, conversationModel)
		a := newAgent(t, name, engines[name](url))
		a.spec.SystemPrompt, a.spec.Model = systemPrompt, llmtest.KiloModel
		a.spec.Prompt, a.spec.MessageID = "please write one.txt", "message-1"
		if err := os.WriteFile(filepath.Join(a.spec.Workdir, "AGENTS.md"), []byte("House rule 17.\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		p := a.start()
		a.wait(town.EventTurnEnded, 1)
		p.say(a, "now two.txt", "message-2")
		a.wait(town.EventTurnEnded, 2)
		a.wantEditsOf(model)

		p.say(a, "be slow", "message-3")
		a.wait(town.EventToolCall, 3)
		p.say(a, "are you there?", "message-4")
		a.waitReceipt("message-4", town.ReceiptDelivered)
		if err := os.WriteFile(filepath.Join(a.spec.Workdir, "go-on"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		a.waitReceipt("message-4", town.ReceiptSeen) // merged into the turn, or the next one
		turns := a.count(town.EventTurnStarted)
		a.wait(town.EventTurnEnded, turns)

		arrived := model.Arrived()
		p.say(a, "think for ever", "message-5")
		<-arrived
		a.waitReceipt("message-5", town.ReceiptSeen)
		p.stdin.Write(a.cli.Interrupt())
		a.wait(town.EventTurnEnded, turns+1)
		if got := a.last(town.EventTurnEnded); got != `turn.ended {"ok":false,"text":""}` {
			t.Errorf("the interrupted turn ends with %s", got)
		}
		if n := a.count(town.EventError); n != 0 {
			t.Errorf("%d errors: %q", n, a.shape())
		}
		p.say(a, "are you still there?", "message-6")
		a.wait(town.EventTurnEnded, turns+2)
		if got := a.last(town.EventTurnEnded); got != `turn.ended {"ok":true,"text":"Yes."}` {
			t.Errorf("the turn after the interrupt ends with %s", got)
		}
		a.record(name + "-conversation")

		a.diesAndGoesOn(p, model)
		a.goesOnInACopy(model)
	})
}

// wantEditsOf wants the events and requests of two turns that write files.
func (a *agent) wantEditsOf(model *llmtest.Server) {
	a.t.Helper()
	a.wantFile("one.txt", "written\n")
	a.wantFile("two.txt", "written\n")
	all := model.All()
	if len(all) != 4 {
		a.t.Fatalf("%d requests, want 4: two turns of two and no title", len(all))
	}
	for _, r := range all {
		if r.Model != "model" || !strings.Contains(r.System, systemPrompt) || !strings.Contains(r.System, "House rule 17.") {
			a.t.Errorf("model %q, system prompt:\n%s", r.Model, r.System)
		}
		for _, tool := range r.Tools {
			if tool.Name == "question" || tool.Name == "suggest" || tool.Name == "plan_exit" {
				a.t.Errorf("the tool %s waits for a person", tool.Name)
			}
		}
	}
	turn := func(file, message string) []string {
		return []string{
			`message {"messageId":"` + message + `","receipt":"delivered"}`,
			`turn.started {}`,
			`message {"messageId":"` + message + `","receipt":"seen"}`,
			`tool.call {"name":"write","input":{"content":"written\n","filePath":"` + file + `"}}`,
			`text {"text":"I write ` + file + `."}`,
			`tool.result {"ok":true}`,
			engineUsage,
			`text {"text":"Done."}`,
			engineUsage,
			`turn.ended {"ok":true,"text":"Done."}`,
		}
	}
	want := append([]string{`session {}`}, append(turn("one.txt", "message-1"), turn("two.txt", "message-2")...)...)
	if diff := cmp.Diff(want, a.shape()); diff != "" {
		a.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// diesAndGoesOn kills the whole tree of p in the middle of a turn.
func (a *agent) diesAndGoesOn(p *process, model *llmtest.Server) {
	a.t.Helper()
	turns := a.count(town.EventTurnEnded)
	p.say(a, "think for ever", "message-7")
	a.wait(town.EventTurnStarted, turns+1)
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if code := p.wait(a.t); code != 128+int(syscall.SIGKILL) {
		a.t.Errorf("exit code %d", code)
	}
	a.wait(town.EventTurnEnded, turns+1)
	a.spec.SessionID, a.spec.Prompt, a.spec.MessageID = a.session(), "which file was first?", "message-8"
	p = a.start()
	a.wait(town.EventTurnEnded, turns+2)
	if got := a.last(town.EventTurnEnded); got != `turn.ended {"ok":true,"text":"Yes."}` {
		a.t.Errorf("the resumed turn ends with %s", got)
	}
	p.stdin.Close()
	if code := p.wait(a.t); code != 0 {
		a.t.Errorf("exit code %d after the end of input", code)
	}
	if n := a.count(town.EventSession); n != 1 {
		a.t.Errorf("%d sessions: %q", n, a.shape())
	}
	if requests := model.Requests(); !bytes.Contains(requests[len(requests)-1].Body, []byte("please write one.txt")) {
		a.t.Error("the resumed session has forgotten its first message")
	}
}

func (a *agent) goesOnInACopy(model *llmtest.Server) {
	a.t.Helper()
	turns, used := a.count(town.EventTurnEnded), a.count(town.EventUsage)
	a.spec.Fork, a.spec.Prompt, a.spec.MessageID = true, "and in a copy?", "message-9"
	p := a.start()
	a.wait(town.EventTurnEnded, turns+1)
	p.stdin.Close()
	p.wait(a.t)
	if n := a.count(town.EventSession); n != 2 {
		a.t.Errorf("%d sessions: %q", n, a.shape())
	}
	if n := a.count(town.EventUsage); n != used+1 {
		a.t.Errorf("%d events of usage for one more request: what is copied is told again", n-used)
	}
	if requests := model.Requests(); !bytes.Contains(requests[len(requests)-1].Body, []byte("please write one.txt")) {
		a.t.Error("the copy has forgotten its first message")
	}
}

// say gives the program a message.
func (p *process) say(a *agent, text, id string) {
	a.t.Helper()
	if _, err := p.stdin.Write(a.cli.Input(text, id)); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) count(kind town.EventType) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, e := range a.events {
		if e.Event == kind {
			n++
		}
	}
	return n
}

// last returns the newest event of a kind, rendered.
func (a *agent) last(kind town.EventType) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range slices.Backward(a.events) {
		if e.Event == kind {
			return render(a.t, e)
		}
	}
	return ""
}

func (a *agent) waitReceipt(id string, receipt town.Receipt) {
	a.t.Helper()
	a.waitFor(string(receipt)+" of "+id, func(e agentcli.Decoded) bool {
		d, ok := e.Data.(town.MessageData)
		return ok && d.MessageID == id && d.Receipt == receipt
	})
}

// waitFor returns when an event came that is wanted.
func (a *agent) waitFor(what string, wanted func(agentcli.Decoded) bool) {
	a.t.Helper()
	timeout := time.After(patience)
	for {
		a.mu.Lock()
		found, changed := slices.ContainsFunc(a.events, wanted), a.changed
		a.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			a.t.Fatalf("no %s; output:\n%s", what, a.output)
		}
	}
}

// mcpServer offers one tool, "report".
const mcpServer = `while read -r line; do
	id=$(printf %s "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
	case $line in
	*'"initialize"'*) r='{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"'$VERSION'"}}' ;;
	*'"tools/list"'*) r='{"tools":[{"name":"report","description":"'$VERSION'","inputSchema":{"type":"object","properties":{}}}]}' ;;
	*) r='{}' ;;
	esac
	test -z "$id" || printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$r"
done`

// hookProgram is a townd whose driver is real, and whose hook keeps what it was
// told in the agent's HOME and answers as the file there says.
const hookProgram = `#!/bin/sh
if [ "$1" = drive ]; then exec "$DRIVER" "$@"; fi
cat >>"$HOME/told"
echo >>"$HOME/told"
test "$1 $2" = "hook $CLI" && cat "$HOME/answer"
`

// failingModel answers with the HTTP status or the tool that the message names.
func failingModel(r *llmtest.Request) llmtest.Step {
	text := asked(r)
	for status, step := range map[string]llmtest.Step{
		"status 401": {Status: 401}, "status 402": {Status: 402}, "status 500": {Status: 500}, "status 529": {Status: 529},
		"too much": {Status: 400, ErrorType: "context_length_exceeded"},
	} {
		if strings.Contains(text, status) {
			return step
		}
	}
	if strings.Contains(text, "touch it") && r.Last().Role == "user" {
		return llmtest.Step{Tools: []llmtest.Tool{{Name: "bash", Input: map[string]any{"command": "touch touched", "description": "touch"}}}}
	}
	if strings.Contains(text, "delegate") && r.Last().Role == "user" {
		return llmtest.Step{Tools: []llmtest.Tool{{Name: "task", Input: map[string]any{
			"description": "sub", "prompt": "help me", "subagent_type": "general",
		}}}}
	}
	return llmtest.Step{Text: "Yes."}
}

// serveFaults serves failingModel, a 429 before the first answer to "busy", and
// what is no stream of events to "garbage".
func serveFaults(t *testing.T) (*llmtest.Server, string) {
	model := llmtest.New(failingModel)
	refused := false // requests come one after another
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case bytes.Contains(body, []byte("garbage")):
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: {\"choices\":[{\"delta\"\n\ndata: nonsense\n\n")
		case bytes.Contains(body, []byte("too busy")) && !refused:
			refused = true
			w.Header().Set("Retry-After", "1")
			http.Error(w, "{}", http.StatusTooManyRequests)
		default:
			model.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { model.Close(); hs.Close() })
	return model, hs.URL
}

// TestEnginesAtTheGateway reaches its model by the town, with hooks and a server
// of tools, and tells what goes wrong there: each fault is a message, so that one
// process is enough.
func TestEnginesAtTheGateway(t *testing.T) {
	eachEngine(t, func(t *testing.T, name string) {
		model, url := serveFaults(t)
		a := newAgent(t, name, map[string]string{"CLI": name})
		a.atGateway(url)
		p := a.start()
		a.wait(town.EventTurnEnded, 1)
		a.wantDenied(model)
		turn := 1
		for _, c := range []struct {
			text string
			want []string // besides receipts, start, text and end of the turn
			end  string
		}{
			{"delegate", []string{"tool.call", "usage", "tool.result", "usage", "usage"}, `turn.ended {"ok":true,"text":"Yes."}`},
			{"status 401", []string{`error {"kind":"auth","message":"scripted status 401"}`}, `turn.ended {"ok":false,"text":""}`},
			{"status 402", []string{`error {"kind":"billing","message":"scripted status 402"}`}, `turn.ended {"ok":false,"text":""}`},
			{"too busy", []string{"retry", "usage"}, `turn.ended {"ok":true,"text":"Yes."}`},
		} {
			from := len(a.shape())
			p.say(a, c.text, c.text)
			turn++
			a.wait(town.EventTurnEnded, turn)
			if got := told(a.shape()[from:], c.want); !slices.Equal(got, append(c.want, c.end)) {
				t.Errorf("%s: %q", c.text, got)
			}
		}
		for _, text := range []string{"status 500", "status 529"} { // which are tried again for a minute
			from := len(a.shape())
			retries := a.count(town.EventRetry)
			p.say(a, text, text)
			a.wait(town.EventRetry, retries+1)
			p.stdin.Write(a.cli.Interrupt())
			turn++
			a.wait(town.EventTurnEnded, turn)
			if got := told(a.shape()[from:], []string{"retry"}); !slices.Equal(got, []string{"retry", `turn.ended {"ok":false,"text":""}`}) {
				t.Errorf("%s: %q", text, got)
			}
		}
		p.say(a, "garbage", "garbage")
		turn++
		a.wait(town.EventTurnEnded, turn)
		if got := a.last(town.EventTurnEnded); got != `turn.ended {"ok":false,"text":""}` {
			t.Errorf("garbage: %s", got)
		}
		a.record(name + "-gateway")
		p.stdin.Close()
		if code := p.wait(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

// told returns what events tell besides receipts and texts, each whole or, when
// wanted so, by its name.
func told(events, wanted []string) []string {
	var all []string
	for _, e := range events {
		kind, _, _ := strings.Cut(e, " ")
		switch {
		case kind == "message", kind == "text", kind == "turn.started":
		case slices.Contains(wanted, kind):
			all = append(all, kind)
		default:
			all = append(all, e)
		}
	}
	return all
}

// atGateway points the agent to the town at url, whose hooks deny.
func (a *agent) atGateway(url string) {
	a.t.Helper()
	a.spec.Models = &agentcli.Models{ModelEndpoint: town.ModelEndpoint{Dialect: town.DialectOpenAI, BaseURL: url + "/v1", Model: "the/model"}, Key: "capability"}
	a.spec.Effort = "high"
	a.spec.MCP = []agentcli.MCPServer{{Name: "gastown", Argv: []string{"sh", "-c", mcpServer}, Env: map[string]string{"VERSION": "seventeen"}}}
	a.spec.Prompt, a.spec.MessageID = "touch it", "message-1"
	a.spec.Hooks = true
	a.spec.Env["DRIVER"] = a.spec.Townd
	a.spec.Townd = filepath.Join(a.t.TempDir(), "townd")
	if err := os.WriteFile(a.spec.Townd, []byte(hookProgram), 0o755); err != nil {
		a.t.Fatal(err)
	}
	a.answersHooks(town.HookAnswer{Deny: true, Reason: "House rule 18 forbids it."})
}

// wantDenied wants the first turn's tool not run, and its agent told why.
func (a *agent) wantDenied(model *llmtest.Server) {
	a.t.Helper()
	if _, err := os.Stat(filepath.Join(a.spec.Workdir, "touched")); err == nil {
		a.t.Error("a tool that was denied ran")
	}
	requests := model.Requests()
	if len(requests) != 2 || requests[0].Model != "the/model" || requests[0].Header.Get("Authorization") != "Bearer capability" {
		a.t.Fatalf("%d requests, the first of %q", len(requests), requests[0].Model)
	}
	if last := requests[1].Last(); !strings.Contains(last.Text, "House rule 18 forbids it.") {
		a.t.Errorf("the model is told %q", last.Text)
	}
	if !bytes.Contains(requests[0].Body, []byte(`"reasoning_effort":"high"`)) {
		a.t.Error("the effort does not reach the model")
	}
	if !slices.ContainsFunc(requests[0].Tools, func(s llmtest.ToolSpec) bool { return s.Name == "gastown_report" }) || !bytes.Contains(requests[0].Body, []byte("seventeen")) {
		a.t.Error("the tool of the MCP server is not offered")
	}
	a.wantHooks("thinking.started", "tool.before", "stop")
	a.answersHooks(town.HookAnswer{})
}

// answersHooks is what the town answers from now on.
func (a *agent) answersHooks(answer town.HookAnswer) {
	a.t.Helper()
	out := a.cli.AnswerHook(town.HookCall{}, answer)
	if err := os.WriteFile(filepath.Join(a.spec.Home, "answer"), out.Stdout, 0o644); err != nil {
		a.t.Fatal(err)
	}
}

// wantHooks wants calls of these points, in order.
func (a *agent) wantHooks(want ...town.HookPoint) {
	a.t.Helper()
	var got []town.HookPoint
	for deadline := time.Now().Add(time.Minute); len(got) < len(want) && time.Now().Before(deadline); { // the engine waits for some only
		told, err := os.ReadFile(filepath.Join(a.spec.Home, "told"))
		if err != nil {
			a.t.Fatal(err)
		}
		got = nil
		for line := range bytes.Lines(told) {
			if line = bytes.TrimSpace(line); !json.Valid(line) {
				continue // half written
			}
			c, err := a.cli.ParseHook(line)
			if err != nil {
				a.t.Fatal(err)
			}
			got = append(got, c.Point)
			if c.Point == town.HookToolBefore && !strings.HasPrefix(c.Shell, "touch touched") {
				a.t.Errorf("hook call %+v", c)
			}
		}
	}
	if !slices.Equal(got, want) {
		a.t.Errorf("hooks %q, want %q", got, want)
	}
}

func TestEnginesSayThatASessionIsUnknown(t *testing.T) {
	a := newAgent(t, "opencode", llmtest.OpenCodeEnv("http://127.0.0.1:1"))
	a.spec.Prompt, a.spec.SessionID, a.spec.Model = "hello", "ses_nonexistent000000000000", llmtest.KiloModel
	if code := a.start().wait(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	a.record("opencode-unknown-session")
	if got := a.tell(); len(got) != 1 || !strings.Contains(got[0], "Session not found") {
		t.Errorf("events: %q; output:\n%s", got, a.output)
	}
}
