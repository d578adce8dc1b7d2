package agentcli_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/town"
)

// TestClaudeHasTheToolsOfAnMCPServer proves X8: offered at once, callable, and the
// server has its own environment.
func TestClaudeHasTheToolsOfAnMCPServer(t *testing.T) {
	model, url := llmtest.Serve(t, one("mcp__gastown__gt_done", map[string]any{}))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.MCP = []agentcli.MCPServer{a.tool("the town"), {Name: "broken", Argv: []string{filepath.Join(t.TempDir(), "missing")}}}
	a.turn("finish")
	a.record("claude-mcp")
	if !slices.ContainsFunc(model.Requests()[0].Tools, func(s llmtest.ToolSpec) bool { return s.Name == "mcp__gastown__gt_done" }) {
		t.Error("the server's tool is not offered to the model")
	}
	if got := a.tell(); !slices.ContainsFunc(got, func(s string) bool {
		return strings.HasPrefix(s, "tool.result ") && strings.Contains(s, `"ok":true,"output":"noted {} by the town"`)
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
	calls := a.hooked(rules{})
	a.turn("make it")
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
		return call("Bash", map[string]any{"command": "echo oops >&2; exit 3", "description": "x"})
	})
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	calls := a.hooked(rules{})
	a.spec.Prompt = "break it"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	told := map[town.HookPoint]town.HookCall{}
	for deadline := time.Now().Add(patience); told[town.HookError].Point == "" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, c := range calls() { // claude does not wait for the last one, and when it ends neither does that
			told[c.Point] = c
		}
	}
	p.finish()
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
	for name, c := range map[string]struct {
		rules  rules
		reason string
	}{"denied": {rules{Deny: "here.txt"}, denied}, "failed": {rules{Fail: "exit"}, ""}, "missing": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			model, url := llmtest.Serve(t, one("Bash", map[string]any{"command": "echo made > here.txt", "description": "x"}))
			a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
			a.hooked(c.rules)
			if name == "missing" {
				a.spec.Townd = filepath.Join(t.TempDir(), "townd")
			}
			a.turn("make it")
			a.wantNoFile("here.txt")
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
				// claude waits a second for a file to be at rest.
				call("Bash", map[string]any{"command": `echo '{"disableAllHooks":true,"hooks":{}}' > "` + file + `"; sleep 3`, "description": "x"}),
				call("Bash", map[string]any{"command": "touch forbidden", "description": "x"}),
			))
			a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
			a.hooked(rules{Deny: "touch forbidden"})
			a.turn("try")
			a.wantNoFile("forbidden")
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
		stops    int
		limit    string
		requests int
	}{{3, "", 4}, {100, "", 9}, {100, "2", 3}} {
		t.Run(fmt.Sprintf("%d of %s", c.stops, c.limit), func(t *testing.T) {
			t.Parallel()
			model, url := llmtest.Serve(t, always(llmtest.Step{Text: "I stop."}))
			env := llmtest.ClaudeEnv(url)
			if c.limit != "" {
				env["CLAUDE_CODE_STOP_HOOK_BLOCK_CAP"] = c.limit
			}
			a := newAgent(t, "claude", env)
			a.hooked(rules{Stops: c.stops})
			a.turn("go to it")
			requests := model.Requests()
			if len(requests) != c.requests || !bytes.Contains(requests[len(requests)-1].Body, []byte(sentBack)) {
				t.Errorf("%d requests, want %d; the last one ends with %q", len(requests), c.requests, requests[len(requests)-1].Last().Text)
			}
			if a.count("turn.started") != 1 || a.count(`turn.ended {"ok":true`) != 1 {
				t.Errorf("events: %q", a.shape())
			}
		})
	}
}
