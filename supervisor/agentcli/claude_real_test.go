package agentcli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"townd/llm/llmtest"
	"townd/town"
)

// claudeHouse is a repository with a rule, and a hook that touches hook-ran.
var claudeHouse = map[string]string{
	"CLAUDE.md":             "House rule 17.\n",
	".claude/settings.json": `{"hooks":{"SessionStart":[{"hooks":[{"type":"command","command":"touch hook-ran"}]}]}}`,
}

func TestClaudeWorksOverTwoMessages(t *testing.T) {
	model, url := llmtest.Serve(t, edits)
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.furnish(claudeHouse)
	a.spec.Prompt, a.spec.MessageID = "please write one.txt", "01jd4qx8r2mzv7k3n5p9t0w6ab"
	a.spec.SystemPrompt, a.spec.Model = systemPrompt, "claude-sonnet-4-5"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	a.wantFile("one.txt", "written\n")
	second := a.cli.Input("now two.txt", "message-2")
	p.stdin.Write(second)
	a.wait(town.EventTurnEnded, 2)
	a.wantFile("two.txt", "written\n")
	p.stdin.Write(second) // a retry: claude holds this message already
	a.wait(town.EventMessage, 3)
	p.finishWell()

	requests := model.Requests()
	if len(requests) != 4 {
		t.Fatalf("%d requests, want 4: two turns of two", len(requests))
	}
	for _, r := range requests {
		if r.Model != "claude-sonnet-4-5" || !strings.Contains(r.System, systemPrompt) {
			t.Errorf("model %q, system prompt there: %v", r.Model, strings.Contains(r.System, systemPrompt))
		}
		if !bytes.Contains(r.Body, []byte("House rule 17.")) {
			t.Error("CLAUDE.md of the repository is missing")
		}
	}
	if !bytes.Contains(a.output, []byte(`"messaging_socket_path":"`+a.spec.Home)) {
		t.Error("claude's socket for other sessions is not in the agent's own home")
	}
	a.wantNoFile("hook-ran")
	turn := func(file, message string) []string {
		return []string{
			`turn.started {}`,
			`message {"messageId":"` + message + `","receipt":"delivered"}`,
			`usage {"inputTokens":100,"outputTokens":1,"cacheReadTokens":0,"cacheWriteTokens":0,"costUsd":0}`,
			`text {"text":"I write ` + file + `."}`,
			`tool.call {"name":"Write","input":{"file_path":"` + file + `","content":"written\n"}}`,
			`tool.result {"ok":true}`,
			`usage {"inputTokens":100,"outputTokens":1,"cacheReadTokens":0,"cacheWriteTokens":0,"costUsd":0}`,
			`text {"text":"Done."}`,
			`usage {"inputTokens":0,"outputTokens":38,"cacheReadTokens":0,"cacheWriteTokens":0,"costUsd":0.0012000000000000001}`,
			`turn.ended {"ok":true,"text":"Done."}`,
		}
	}
	want := append([]string{`session {}`}, turn("one.txt", "01jd4qx8r2mzv7k3n5p9t0w6ab")...)
	want = append(want, turn("two.txt", "message-2")...)
	want = append(want, `message {"messageId":"message-2","receipt":"delivered"}`)
	if diff := cmp.Diff(want, a.shape()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	a.record("claude-two-messages")
}

// TestClaudeIsInterruptedAndGoesOn: the control message ends a turn in which the
// model says nothing more, and the same process takes the next message.
func TestClaudeIsInterruptedAndGoesOn(t *testing.T) {
	model, url := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Text: "I think", Hang: true}, llmtest.Step{Text: "Here."}))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt, a.spec.MessageID = "think for ever", "message-1"
	arrived := model.Arrived()
	p := a.start()
	a.wait(town.EventTurnStarted, 1)
	<-arrived
	p.interrupt()
	a.wait(town.EventTurnEnded, 1)
	p.say("are you there?", "message-2")
	a.wait(town.EventTurnEnded, 2)
	p.finish()
	got := a.shape()
	if i := slices.Index(got, `turn.ended {"ok":false,"text":""}`); i < 0 || slices.Index(got, `turn.ended {"ok":true,"text":"Here."}`) < i {
		t.Errorf("events: %q", got)
	}
	if told := a.last("error "); told != "" {
		t.Errorf("an interrupt is told as %s", told)
	}
	a.record("claude-interrupted")
}

// TestClaudeTellsWhyItsModelFailed proves kinds of errors by structure.
func TestClaudeTellsWhyItsModelFailed(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		kind   town.ErrorKind
	}{{"auth", 401, town.KindAuth}, {"rate-limit", 429, town.KindRateLimit}, {"overloaded", 529, town.KindOverloaded}, {"too-large", 413, town.KindContextFull}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, url := llmtest.Serve(t, always(llmtest.Step{Status: c.status}))
			env := llmtest.ClaudeEnv(url)
			env["CLAUDE_CODE_MAX_RETRIES"] = "1"
			a := newAgent(t, "claude", env)
			a.turn("hello")
			a.record("claude-" + c.name)
			a.wantErrors(c.kind)
		})
	}
}

func TestClaudeResumesItsSession(t *testing.T) {
	model, url := llmtest.Serve(t, always(llmtest.Step{Text: "Yes."}))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt, a.spec.SystemPrompt = "remember the number 7", "old rules"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	p.kill()
	a.spec.SessionID, a.spec.SystemPrompt = a.session(), "new rules"
	a.turn("which number?")
	last := model.Requests()[1]
	if !bytes.Contains(last.Body, []byte("remember the number 7")) {
		t.Error("the resumed session has forgotten its first message")
	}
	if !strings.Contains(last.System, "new rules") || strings.Contains(last.System, "old rules") {
		t.Error("the resumed session keeps its old system prompt")
	}
}

func TestClaudeSaysThatASessionIsUnknown(t *testing.T) {
	a := newAgent(t, "claude", llmtest.ClaudeEnv("http://127.0.0.1:1"))
	a.spec.Prompt, a.spec.SessionID = "hello", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
	if code := a.start().wait(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if got := a.tell(); len(got) != 1 || !strings.Contains(got[0], "No conversation found") {
		t.Errorf("events: %q; output:\n%s", got, a.output)
	}
	a.record("claude-unknown-session")
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
	a := newAgent(t, "claude", nil)
	a.gateway(town.DialectAnthropic, url+"/llm/house", "vendor/model-1")
	a.spec.Effort, a.spec.Model = "high", "another"
	a.turn("delegate")
	all := model.All()
	if len(all) < 3 {
		t.Fatalf("%d requests, want those of the agent and its subagent", len(all))
	}
	for _, r := range all {
		if r.Path != "/llm/house/v1/messages" || r.Model != "vendor/model-1" {
			t.Errorf("%s for %s", r.Path, r.Model)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer capability" || r.Header.Get("X-Api-Key") != "" {
			t.Errorf("authorization %q, key %q", got, r.Header.Get("X-Api-Key"))
		}
	}
	if !bytes.Contains(all[0].Body, []byte(`"effort":"high"`)) {
		t.Error("the effort is not in the request")
	}
}

// untilGoOn is a command that waits for the file go-on. claude refuses a mere sleep.
var untilGoOn = map[string]any{"command": "until [ -e go-on ]; do read -t 0.05 <> <(:) || true; done", "description": "wait"}

// TestClaudeTakesAMessageWhileItIsBusy: at the end of the tool that runs, in the
// same turn; it is delivered then and not before.
func TestClaudeTakesAMessageWhileItIsBusy(t *testing.T) {
	model, url := llmtest.Serve(t, one("Bash", untilGoOn))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt, a.spec.MessageID = "wait for it", "message-1"
	p := a.start()
	a.wait(town.EventToolCall, 1)
	p.say("and mind the gap", "message-2")
	a.waitOutput(`"command_uuid":"message-2","state":"queued"`)
	if n := a.count("message "); n != 1 {
		t.Errorf("%d receipts while the tool runs, want that of the first message", n)
	}
	a.furnish(map[string]string{"go-on": ""})
	a.wait(town.EventTurnEnded, 1)
	p.finish()
	if n := a.count(`message {"messageId":"message-2","receipt":"delivered"}`); n != 1 {
		t.Errorf("%d receipts of the second message, want 1", n)
	}
	requests := model.Requests()
	if len(requests) != 2 || !bytes.Contains(requests[1].Body, []byte("and mind the gap")) || a.count("turn.started") != 1 {
		t.Errorf("%d requests, %d turns; the message is in the last: %v", len(requests), a.count("turn.started"),
			bytes.Contains(requests[len(requests)-1].Body, []byte("and mind the gap")))
	}
}

// TestClaudeRunsAMessageOnceThroughAKill: killed -9 before the message is
// acknowledged, or after, resumed and given it again, it runs it exactly once.
func TestClaudeRunsAMessageOnceThroughAKill(t *testing.T) {
	for _, point := range []string{"written", "asked", "acknowledged"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			var again atomic.Bool
			model, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
				switch {
				case again.Load() || !bytes.Contains(r.Body, []byte("the second thing")):
					return llmtest.Step{Text: "Yes."}
				case point == "acknowledged":
					return call("Bash", untilGoOn)
				}
				return llmtest.Step{Text: "I think", Hang: true}
			})
			a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
			a.spec.Prompt, a.spec.MessageID = "the first thing", "message-1"
			p := a.start()
			a.wait(town.EventTurnEnded, 1)
			a.spec.Prompt, a.spec.MessageID = "the second thing", "message-2"
			arrived := model.Arrived()
			p.say(a.spec.Prompt, a.spec.MessageID)
			switch point {
			case "asked":
				<-arrived
			case "acknowledged":
				a.wait(town.EventMessage, 2)
			}
			p.kill()
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
			p.finish()
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
		return call("Bash", untilGoOn)
	})
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt, a.spec.MessageID = "the first thing", "message-1"
	p := a.start()
	a.wait(town.EventToolCall, 1)
	a.spec.Prompt, a.spec.MessageID = "the second thing", "message-2"
	p.say(a.spec.Prompt, a.spec.MessageID)
	a.waitOutput(`"command_uuid":"message-2","state":"queued"`)
	a.waitSession("the first thing") // see Input: before that there is nothing to resume
	p.kill()
	if n := a.count(`message {"messageId":"message-2"`); n != 0 {
		t.Errorf("%d receipts of a message that waits", n)
	}
	again.Store(true)
	before := len(model.Requests())
	a.spec.SessionID = a.session()
	p = a.start()
	a.waitOutput(`"command_uuid":"message-2","state":"completed"`)
	p.finish()
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
	p := a.start()
	a.wait(town.EventSession, 1)
	a.waitSession("think about it")
	p.kill()
	again.Store(true)
	a.spec.SessionID = a.session()
	a.turn("")
	requests := model.Requests()
	if len(requests) == 0 || bytes.Count(requests[len(requests)-1].Body, []byte("think about it")) != 1 {
		t.Errorf("%d requests", len(requests))
	}
}

// waitSession returns when the session's file holds a message.
func (a *agent) waitSession(text string) {
	a.t.Helper()
	path := filepath.Join(a.spec.Home, ".claude/projects/*", a.session()+".jsonl")
	message := []byte(`"role":"user","content":"` + text + `"`)
	for deadline := time.Now().Add(patience); ; {
		if files, _ := filepath.Glob(path); len(files) == 1 {
			if b, err := os.ReadFile(files[0]); err == nil && bytes.Contains(b, message) {
				return
			}
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("%s does not hold %q", path, text)
		}
		time.Sleep(10 * time.Millisecond) // a file has no event
	}
}

func TestClaudeForksASession(t *testing.T) {
	model, url := llmtest.Serve(t, always(llmtest.Step{Text: "Yes."}))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.turn("remember the number 7")
	a.spec.SessionID, a.spec.Fork = a.session(), true
	a.turn("which number?")
	if !bytes.Contains(model.Requests()[1].Body, []byte("remember the number 7")) {
		t.Error("the fork has forgotten the session's first message")
	}
	if n := a.count("session "); n != 2 {
		t.Fatalf("%d sessions told, want 2", n)
	}
	a.spec.Fork = false
	a.turn("and now?")
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
	p.finish()
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
			_, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step {
				if c.answers--; c.answers < 0 {
					return llmtest.Step{Text: "Yes."}
				}
				return llmtest.Step{Stream: "event: message_start\ndata: {\"type\":\"message_start\",\"mess\n\nevent: content_block_delta\ndata: <html>\n\n"}
			})
			env := llmtest.ClaudeEnv(url)
			env["CLAUDE_CODE_MAX_RETRIES"] = "1"
			a := newAgent(t, "claude", env)
			a.turn("hello")
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

// TestClaudeKilledAfterItsResultHasNoOpenTurn: some versions hang there.
func TestClaudeKilledAfterItsResultHasNoOpenTurn(t *testing.T) {
	_, url := llmtest.Serve(t, always(llmtest.Step{Text: "Yes."}))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt = "hello"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	p.kill()
	if a.count("turn.ended") != 1 || a.count("error") != 0 {
		t.Errorf("events: %q", a.shape())
	}
}

// TestClaudeRunsTheRepositorysHooksWhenItMay, and reads its CLAUDE.md once.
func TestClaudeRunsTheRepositorysHooksWhenItMay(t *testing.T) {
	model, url := llmtest.Serve(t, always(llmtest.Step{Text: "Yes."}))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.furnish(claudeHouse)
	a.spec.ProjectHooks = true
	a.turn("hello")
	a.wantFile("hook-ran", "")
	if n := bytes.Count(model.Requests()[0].Body, []byte("House rule 17.")); n != 1 {
		t.Errorf("CLAUDE.md is there %d times", n)
	}
}
