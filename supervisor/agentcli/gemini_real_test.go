package agentcli_test

import (
	"bytes"
	"encoding/json"
	"maps"
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

func newGemini(t *testing.T, url string) *agent {
	t.Helper()
	a := newAgent(t, "gemini", map[string]string{"TMPDIR": t.TempDir()}) // it leaves reports of errors there
	a.gateway(town.DialectGemini, url, llmtest.GeminiModel)
	return a
}

// geminiHouse is a repository with a rule, and a hook that touches hook-ran.
var geminiHouse = map[string]string{
	"GEMINI.md":             "House rule 17.\n",
	".env":                  "GEMINI_SYSTEM_MD=/dev/null\n",
	".gemini/settings.json": `{"hooks":{"SessionStart":[{"hooks":[{"type":"command","command":"touch hook-ran"}]}]}}`,
}

func TestGeminiWorksOverTwoMessages(t *testing.T) {
	t.Parallel()
	model, url := llmtest.Serve(t, edits)
	a := newGemini(t, url)
	a.furnish(geminiHouse)
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
	a.wantNoFile("hook-ran")
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
	a.furnish(geminiHouse)
	a.spec.ProjectHooks = true
	if code := a.turn("hello"); code != 0 {
		t.Errorf("exit code %d; output:\n%s", code, a.output)
	}
	a.wantFile("hook-ran", "")
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
	p.kill()
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
			_, url := llmtest.Serve(t, always(llmtest.Step{Status: c.status}))
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
	const half = `data: {"candidates":[{"content":{"role":"model","parts":[{"text":"half"}]}}]}` + "\r\n\r\n" + `data: {"cand`
	_, url := llmtest.Serve(t, always(llmtest.Step{Stream: half}))
	a := newGemini(t, url)
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
	model, url := llmtest.Serve(t, always(llmtest.Step{Text: "I think", Hang: true}))
	a := newGemini(t, url)
	a.spec.Prompt = "think for ever"
	arrived := model.Arrived()
	p := a.start()
	<-arrived
	a.wait(town.EventTurnStarted, 1)
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	if code := p.wait(); code != 0 {
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
	model, url := llmtest.Serve(t, llmtest.Steps(
		call("run_shell_command", map[string]any{"command": "touch forbidden"}), llmtest.Step{Text: "I stop."},
		call("mcp_gastown_gt_done", map[string]any{"summary": "b"}), llmtest.Step{Text: "Over."},
	))
	a := newGemini(t, url)
	calls := a.hooked(rules{Deny: "touch forbidden", Stops: 1})
	a.spec.MCP = []agentcli.MCPServer{a.tool("a$HOME${PATH}b")}
	if code := a.turn("go"); code != 0 {
		t.Errorf("exit code %d; output:\n%s", code, a.output)
	}
	a.record("gemini-hooks")
	a.wantNoFile("forbidden")
	requests := model.Requests()
	if len(requests) != 4 {
		t.Fatalf("%d requests, want 4; output:\n%s", len(requests), a.output)
	}
	for i, want := range []string{"", denied, sentBack, `noted {\"summary\":\"b\"} by a$HOME${PATH}b`} {
		if got := requests[i].Last().Text; !strings.Contains(got, want) && !strings.Contains(strings.ReplaceAll(got, `\\`, `\`), want) {
			t.Errorf("request %d ends with %q, want in it %q", i, got, want)
		}
	}
	want := []town.HookCall{
		{Point: town.HookThinking, Text: "go"},
		{Point: town.HookToolBefore, Tool: "run_shell_command", Input: json.RawMessage(`{"command":"touch forbidden"}`), Shell: "touch forbidden", Dir: a.spec.Workdir},
		{Point: town.HookStop, Text: "I stop."},
		{Point: town.HookThinking, Text: sentBack},
		{Point: town.HookToolBefore, Tool: "mcp_gastown_gt_done", Input: json.RawMessage(`{"summary":"b"}`)},
		{Point: town.HookToolAfter, Tool: "mcp_gastown_gt_done", Input: json.RawMessage(`{"summary":"b"}`), OK: true, Output: "<untrusted_context>\n" + `noted {"summary":"b"} by a$HOME${PATH}b` + "\n</untrusted_context>"},
		{Point: town.HookStop, Text: "I stop.\nOver."},
	}
	if diff := cmp.Diff(want, calls()); diff != "" {
		t.Errorf("hooks (-want +got):\n%s", diff)
	}
}

// TestGeminiCallsNoToolWhenTheHookFails: it fails closed.
func TestGeminiCallsNoToolWhenTheHookFails(t *testing.T) {
	for name, r := range map[string]rules{"missing": {}, "killed": {Fail: "kill"}, "silent": {Fail: "exit"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := llmtest.Serve(t, llmtest.Steps(call("run_shell_command", map[string]any{"command": "touch ran"})))
			a := newGemini(t, url)
			a.hooked(r)
			self := a.spec.Townd
			a.spec.Townd = filepath.Join(t.TempDir(), "it's townd")
			if name != "missing" {
				if err := os.Symlink(self, a.spec.Townd); err != nil {
					t.Fatal(err)
				}
			}
			a.turn("go")
			if got := a.shape(); !slices.Contains(got, `tool.result {"ok":false}`) || got[len(got)-1] != `turn.ended {"ok":true,"text":"Done."}` {
				t.Errorf("events: %q; output:\n%s", got, a.output)
			}
			a.wantNoFile("ran")
		})
	}
}

// TestGeminiReachesItsModelByTheCallersKey needs no login.
func TestGeminiReachesItsModelByTheCallersKey(t *testing.T) {
	t.Parallel()
	model, url := llmtest.Serve(t, always(llmtest.Step{Text: "Hi."}))
	a := newGemini(t, url)
	a.spec.Models, a.spec.Model = nil, llmtest.GeminiModel
	maps.Copy(a.spec.Env, llmtest.GeminiEnv(url))
	if !a.cli.Credentialed(a.spec.Env) {
		t.Error("a key is no credential")
	}
	if code := a.turn("hello"); code != 0 {
		t.Errorf("exit code %d; output:\n%s", code, a.output)
	}
	if got := model.Requests()[0].Header.Get("X-Goog-Api-Key"); got != "scripted" {
		t.Errorf("key %q", got)
	}
}
