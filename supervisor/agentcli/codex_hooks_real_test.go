package agentcli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/town"
)

// TestCodexDoesNotBeginWithoutTheTownsTools: the start fails, and says why.
func TestCodexDoesNotBeginWithoutTheTownsTools(t *testing.T) {
	t.Parallel()
	a, _ := newCodex(t, nil)
	a.spec.MCP = []agentcli.MCPServer{{Name: "gastown", Argv: []string{"/bin/false"}}}
	a.spec.Prompt, a.spec.MessageID = "finish", "message-1"
	p := a.start()
	if code := p.wait(); code != 1 {
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
		return call("gt_done", map[string]any{"summary": "all of it"})
	})
	a.spec.Models.Model = "unknown-to-codex" // of those that it knows, it shows servers' tools only when they look for them
	a.spec.MCP = []agentcli.MCPServer{a.tool("a-secret")}
	a.spec.Prompt = "finish"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	p.finishWell()
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
	if end := got[len(got)-1]; !strings.Contains(end, " by a-secret") {
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
		return call("exec_command", map[string]any{"cmd": command})
	}
	then := func(first llmtest.Step) llmtest.Script {
		return llmtest.Steps(first, llmtest.Step{Text: "Stopping."}, llmtest.Step{Text: "Stopping again."})
	}
	run := func(t *testing.T, r rules, model string, script llmtest.Script) (calls []town.HookCall, a *agent, s *llmtest.Server) {
		t.Helper()
		a, s = newCodex(t, script)
		a.spec.Models.Model = model
		told := a.hooked(r)
		if code := a.turn("begin"); code != 0 {
			t.Errorf("exit code %d", code)
		}
		calls = told()
		for i := range calls {
			calls[i].ToolID, calls[i].Input = "", nil
		}
		return calls, a, s
	}
	t.Run("and is told of everything", func(t *testing.T) {
		t.Parallel()
		calls, a, _ := run(t, rules{}, llmtest.CodexModel, then(shell("echo >one.txt; echo said")))
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
		_, a, model := run(t, rules{Deny: "one.txt"}, llmtest.CodexModel, then(shell("touch one.txt")))
		a.wantNoFile("one.txt")
		if got := model.Requests()[1].Last(); got.Role != "tool" || !strings.Contains(got.Text, denied) {
			t.Errorf("the model reads %+v", got)
		}
		a.record("codex-hook-denies")
	})
	t.Run("and may not call a tool from a script", func(t *testing.T) {
		t.Parallel()
		const scripted = "gpt-6.1-sol" // which has no other tools than scripts
		script := map[string]any{"input": "const r = await tools.exec_command({cmd: 'touch one.txt'}); text(r.output)"}
		_, a, model := run(t, rules{Deny: `"shell":"touch one.txt"`}, scripted, then(call("exec", script)))
		a.wantNoFile("one.txt")
		if got := model.Requests()[1].Last(); !strings.Contains(got.Text, denied) {
			t.Errorf("the model reads %+v", got)
		}
	})
	t.Run("and may not write a file", func(t *testing.T) {
		t.Parallel()
		calls, a, _ := run(t, rules{Deny: "one.txt"}, llmtest.CodexModel, then(llmtest.WriteFile("one.txt", "written\n")(&llmtest.Request{})))
		a.wantNoFile("one.txt")
		if !slices.Equal(calls[1].Writes, []string{"one.txt"}) {
			t.Errorf("writes %q", calls[1].Writes)
		}
	})
	t.Run("and does nothing when the town is gone", func(t *testing.T) {
		t.Parallel()
		_, a, model := run(t, rules{Fail: "exit"}, llmtest.CodexModel, then(shell("touch one.txt")))
		a.wantNoFile("one.txt")
		if got := model.Requests()[1].Last(); !strings.Contains(got.Text, "the call is refused") {
			t.Errorf("the model reads %+v", got)
		}
	})
	t.Run("and gives no orders to a shell that runs", func(t *testing.T) {
		t.Parallel()
		for _, tty := range []bool{true, false} {
			asked := false
			_, a, _ := run(t, rules{}, llmtest.CodexModel, func(r *llmtest.Request) llmtest.Step {
				step := shell("bash -c 'sleep 1; read line; eval \"$line\"'")
				switch _, rest, runs := strings.Cut(r.Last().Text, "session ID "); {
				case runs && !asked:
					asked = true
					id := 0
					fmt.Sscan(rest, &id)
					step = call("write_stdin", map[string]any{"session_id": id, "chars": "touch evil.txt\n", "yield_time_ms": 2000})
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
		_, a, model := run(t, rules{Stops: 1}, llmtest.CodexModel, always(llmtest.Step{Text: "Stopping."}))
		requests := model.Requests()
		if len(requests) != 2 || !strings.Contains(requests[1].Last().Text, sentBack) {
			t.Errorf("%d requests, the model reads %+v", len(requests), requests[len(requests)-1].Last())
		}
		if got := a.shape(); slices.Index(got, `turn.ended {"ok":true,"text":"Stopping."}`) != len(got)-1 {
			t.Errorf("events: %q", got)
		}
		a.record("codex-stop-sent-back")
	})
}
