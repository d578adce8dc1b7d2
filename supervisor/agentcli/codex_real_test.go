package agentcli_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/llm/llmtest"
	"townd/town"
)

func newCodex(t *testing.T, script llmtest.Script) (*agent, *llmtest.Server) {
	t.Helper()
	model, url := llmtest.Serve(t, script)
	a := newAgent(t, "codex", nil)
	a.gateway(town.DialectResponses, url+"/v1", llmtest.CodexModel)
	return a, model
}

// codexHouse is a repository with a rule, and a hook that touches hook-ran.
var codexHouse = map[string]string{
	"AGENTS.md":         "House rule 17.\n",
	".codex/hooks.json": `{"hooks":{"UserPromptSubmit":[{"hooks":[{"type":"command","command":"touch hook-ran"}]}]}}`,
}

func TestCodexRunsTheRepositorysHooksWhereTheyMay(t *testing.T) {
	t.Parallel()
	a, _ := newCodex(t, llmtest.Steps())
	a.furnish(codexHouse)
	a.spec.ProjectHooks, a.spec.Prompt = true, "hello"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	p.finishWell()
	a.wantFile("hook-ran", "")
}

func TestCodexWorksOverTwoMessages(t *testing.T) {
	t.Parallel()
	a, model := newCodex(t, edits)
	a.furnish(codexHouse)
	a.spec.Prompt, a.spec.MessageID = "please write one.txt", "message-1"
	a.spec.SystemPrompt, a.spec.Effort = systemPrompt, "high"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	a.wantFile("one.txt", "written\n")
	p.say("now two.txt", "message-2")
	a.wait(town.EventTurnEnded, 2)
	a.wantFile("two.txt", "written\n")
	p.finishWell()

	requests := model.All()
	if len(requests) != 4 {
		t.Fatalf("%d requests, want 4: two turns of two", len(requests))
	}
	for _, r := range requests {
		if r.Model != llmtest.CodexModel || !strings.Contains(r.System, systemPrompt) || r.Header.Get("Authorization") != "Bearer capability" {
			t.Errorf("model %q, key %q, system prompt there: %v", r.Model, r.Header.Get("Authorization"), strings.Contains(r.System, systemPrompt))
		}
		for _, want := range []string{"House rule 17.", `"effort":"high"`} {
			if !bytes.Contains(r.Body, []byte(want)) {
				t.Errorf("a request without %s", want)
			}
		}
	}
	a.wantNoFile("hook-ran")
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
	p.say("second", "m2")
	p.say("third", "m3")
	close(answer)
	a.wait(town.EventTurnEnded, 3)
	p.finishWell()
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
	p.interrupt()
	p.say("are you there?", "message-2")
	a.wait(town.EventTurnEnded, 2)
	p.finishWell()
	got := a.shape()
	i := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, `turn.ended {"ok":false`) })
	if i < 0 || slices.Index(got, `turn.ended {"ok":true,"text":"Here."}`) < i {
		t.Errorf("events: %q", got)
	}
	if told := a.last("error "); told != "" {
		t.Errorf("an interrupt is told as %s", told)
	}
	a.record("codex-interrupted")
}

// TestCodexResumesItsSession proves resume after kill -9, new rules, the usage of
// the new turn alone, and a fork that leaves the session as it is.
func TestCodexResumesItsSession(t *testing.T) {
	t.Parallel()
	a, model := newCodex(t, always(llmtest.Step{Text: "Yes."}))
	a.spec.Prompt, a.spec.SystemPrompt = "remember the number 7", "old rules"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	p.kill()
	a.spec.SessionID, a.spec.Prompt, a.spec.SystemPrompt = a.session(), "which number?", "new rules"
	a.decoder = a.cli.NewDecoder() // of a server that knows nothing of the first process
	began := len(a.events)
	p = a.start()
	a.wait(town.EventTurnEnded, 2)
	p.finishWell()
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
	p.finishWell()
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
	if code := p.wait(); code != 1 {
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
			p.finishWell()
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
			a, _ := newCodex(t, always(llmtest.Step{Stream: stream}))
			a.spec.Prompt = "hello"
			p := a.start()
			a.wait(town.EventTurnEnded, 1)
			p.finishWell()
			a.wantErrors(town.KindNetwork)
			a.record("codex-" + name)
		})
	}
}

// TestCodexReachesItsModelByTheCallersKey needs no login.
func TestCodexReachesItsModelByTheCallersKey(t *testing.T) {
	t.Parallel()
	a, model := newCodex(t, always(llmtest.Step{Text: "Hi."}))
	url := strings.TrimSuffix(a.spec.Models.BaseURL, "/v1")
	a.spec.Models, a.spec.Env, a.spec.Prompt, a.spec.Model = nil, llmtest.CodexEnv(url), "hello", llmtest.CodexModel
	if !a.cli.Credentialed(a.spec.Env) {
		t.Error("a key is no credential")
	}
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	p.finishWell()
	if got := model.Requests()[0].Header.Get("Authorization"); got != "Bearer scripted" {
		t.Errorf("key %q", got)
	}
}
