package agentcli_test

import (
	"bytes"
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

// TestEnginesConverse is the life of one session: two messages, one while busy, an
// interrupt, a death without warning, a resumption, a copy.
func TestEnginesConverse(t *testing.T) {
	eachEngine(t, func(t *testing.T, name string) {
		model, url := llmtest.Serve(t, conversationModel)
		a := newAgent(t, name, engines[name](url))
		a.spec.SystemPrompt, a.spec.Model = systemPrompt, llmtest.KiloModel
		a.spec.Prompt, a.spec.MessageID = "please write one.txt", "message-1"
		a.furnish(map[string]string{"AGENTS.md": "House rule 17.\n"})
		p := a.start()
		a.wait(town.EventTurnEnded, 1)
		p.say("now two.txt", "message-2")
		a.wait(town.EventTurnEnded, 2)
		a.wantEditsOf(model)

		p.say("be slow", "message-3")
		a.wait(town.EventToolCall, 3)
		p.say("are you there?", "message-4")
		a.waitReceipt("message-4", town.ReceiptDelivered)
		a.furnish(map[string]string{"go-on": ""})
		a.waitReceipt("message-4", town.ReceiptSeen) // merged into the turn, or the next one
		turns := a.count("turn.started")
		a.wait(town.EventTurnEnded, turns)

		arrived := model.Arrived()
		p.say("think for ever", "message-5")
		<-arrived
		a.waitReceipt("message-5", town.ReceiptSeen)
		p.interrupt()
		a.wait(town.EventTurnEnded, turns+1)
		if got := a.last("turn.ended"); got != `turn.ended {"ok":false,"text":""}` {
			t.Errorf("the interrupted turn ends with %s", got)
		}
		if n := a.count("error"); n != 0 {
			t.Errorf("%d errors: %q", n, a.shape())
		}
		p.say("are you still there?", "message-6")
		a.wait(town.EventTurnEnded, turns+2)
		if got := a.last("turn.ended"); got != `turn.ended {"ok":true,"text":"Yes."}` {
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
	turns := a.count("turn.ended")
	p.say("think for ever", "message-7")
	a.wait(town.EventTurnStarted, turns+1)
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if code := p.wait(); code != 128+int(syscall.SIGKILL) {
		a.t.Errorf("exit code %d", code)
	}
	a.wait(town.EventTurnEnded, turns+1)
	a.spec.SessionID, a.spec.Prompt, a.spec.MessageID = a.session(), "which file was first?", "message-8"
	p = a.start()
	a.wait(town.EventTurnEnded, turns+2)
	if got := a.last("turn.ended"); got != `turn.ended {"ok":true,"text":"Yes."}` {
		a.t.Errorf("the resumed turn ends with %s", got)
	}
	p.finishWell()
	if n := a.count("session"); n != 1 {
		a.t.Errorf("%d sessions: %q", n, a.shape())
	}
	if requests := model.Requests(); !bytes.Contains(requests[len(requests)-1].Body, []byte("please write one.txt")) {
		a.t.Error("the resumed session has forgotten its first message")
	}
}

func (a *agent) goesOnInACopy(model *llmtest.Server) {
	a.t.Helper()
	turns, used := a.count("turn.ended"), a.count("usage")
	a.spec.Fork, a.spec.Prompt, a.spec.MessageID = true, "and in a copy?", "message-9"
	p := a.start()
	a.wait(town.EventTurnEnded, turns+1)
	p.finish()
	if n := a.count("session"); n != 2 {
		a.t.Errorf("%d sessions: %q", n, a.shape())
	}
	if n := a.count("usage"); n != used+1 {
		a.t.Errorf("%d events of usage for one more request: what is copied is told again", n-used)
	}
	if requests := model.Requests(); !bytes.Contains(requests[len(requests)-1].Body, []byte("please write one.txt")) {
		a.t.Error("the copy has forgotten its first message")
	}
}

// faults is a model that answers with the fault or the tool that the message names.
func faults() llmtest.Script {
	steps := map[string]llmtest.Step{
		"status 401": {Status: 401}, "status 402": {Status: 402}, "status 500": {Status: 500}, "status 529": {Status: 529},
		"garbage":  {Stream: "data: {\"choices\":[{\"delta\"\n\ndata: nonsense\n\n"},
		"too busy": {Status: 429, RetryAfter: time.Second}, // once
		"touch it": call("bash", map[string]any{"command": "touch touched", "description": "touch"}),
		"delegate": call("task", map[string]any{"description": "sub", "prompt": "help me", "subagent_type": "general"}),
	}
	return func(r *llmtest.Request) llmtest.Step {
		for text, step := range steps {
			if !strings.Contains(asked(r), text) || step.Tools != nil && r.Last().Role != "user" {
				continue
			}
			if text == "too busy" {
				delete(steps, text)
			}
			return step
		}
		return llmtest.Step{Text: "Yes."}
	}
}

// TestEnginesAtTheGateway reaches its model by the town, with hooks and a server
// of tools, and tells what goes wrong there: each fault is a message, so that one
// process is enough.
func TestEnginesAtTheGateway(t *testing.T) {
	eachEngine(t, func(t *testing.T, name string) {
		model, url := llmtest.Serve(t, faults())
		a := newAgent(t, name, nil)
		a.gateway(town.DialectOpenAI, url+"/v1", "the/model")
		a.spec.MCP = []agentcli.MCPServer{a.tool("seventeen")}
		a.spec.Effort, a.spec.Prompt, a.spec.MessageID = "high", "touch it", "message-1"
		told := a.hooked(rules{Deny: "touch touched"})
		p := a.start()
		a.wait(town.EventTurnEnded, 1)
		a.wantDenied(model)
		a.wantHooks(told, "thinking.started", "tool.before", "stop")
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
			p.say(c.text, c.text)
			turn++
			a.wait(town.EventTurnEnded, turn)
			if got := besides(a.shape()[from:], c.want); !slices.Equal(got, append(c.want, c.end)) {
				t.Errorf("%s: %q", c.text, got)
			}
		}
		for _, text := range []string{"status 500", "status 529"} { // which are tried again for a minute
			from := len(a.shape())
			retries := a.count("retry")
			p.say(text, text)
			a.wait(town.EventRetry, retries+1)
			p.interrupt()
			turn++
			a.wait(town.EventTurnEnded, turn)
			if got := besides(a.shape()[from:], []string{"retry"}); !slices.Equal(got, []string{"retry", `turn.ended {"ok":false,"text":""}`}) {
				t.Errorf("%s: %q", text, got)
			}
		}
		p.say("garbage", "garbage")
		turn++
		a.wait(town.EventTurnEnded, turn)
		if got := a.last("turn.ended"); got != `turn.ended {"ok":false,"text":""}` {
			t.Errorf("garbage: %s", got)
		}
		a.record(name + "-gateway")
		p.finishWell()
	})
}

// besides returns what events tell besides receipts and texts, each whole or, when
// wanted so, by its name.
func besides(events, wanted []string) []string {
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

// wantDenied wants the first turn's tool not run, and its agent told why.
func (a *agent) wantDenied(model *llmtest.Server) {
	a.t.Helper()
	a.wantNoFile("touched")
	requests := model.Requests()
	if len(requests) != 2 || requests[0].Model != "the/model" || requests[0].Header.Get("Authorization") != "Bearer capability" {
		a.t.Fatalf("%d requests, the first of %q", len(requests), requests[0].Model)
	}
	if last := requests[1].Last(); !strings.Contains(last.Text, denied) {
		a.t.Errorf("the model is told %q", last.Text)
	}
	if !bytes.Contains(requests[0].Body, []byte(`"reasoning_effort":"high"`)) {
		a.t.Error("the effort does not reach the model")
	}
	if !slices.ContainsFunc(requests[0].Tools, func(s llmtest.ToolSpec) bool { return s.Name == "gastown_gt_done" }) || !bytes.Contains(requests[0].Body, []byte("seventeen")) {
		a.t.Error("the tool of the MCP server is not offered")
	}
}

// wantHooks wants calls of these points, in order.
func (a *agent) wantHooks(calls func() []town.HookCall, want ...town.HookPoint) {
	a.t.Helper()
	var got []town.HookPoint
	for deadline := time.Now().Add(time.Minute); len(got) < len(want) && time.Now().Before(deadline); { // the engine waits for some only
		got = nil
		for _, c := range calls() {
			got = append(got, c.Point)
			if c.Point == town.HookToolBefore && !strings.HasPrefix(c.Shell, "touch touched") {
				a.t.Errorf("hook call %+v", c)
			}
		}
		time.Sleep(10 * time.Millisecond) // a file has no event
	}
	if !slices.Equal(got, want) {
		a.t.Errorf("hooks %q, want %q", got, want)
	}
}

func TestEnginesSayThatASessionIsUnknown(t *testing.T) {
	a := newAgent(t, "opencode", llmtest.OpenCodeEnv("http://127.0.0.1:1"))
	a.spec.Prompt, a.spec.SessionID, a.spec.Model = "hello", "ses_nonexistent000000000000", llmtest.KiloModel
	if code := a.start().wait(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	a.record("opencode-unknown-session")
	if got := a.tell(); len(got) != 1 || !strings.Contains(got[0], "Session not found") {
		t.Errorf("events: %q; output:\n%s", got, a.output)
	}
}
