package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/api"
	"townd/llm/llmtest"
	"townd/supervisor/agenttest"
	"townd/town"
)

const systemPrompt = "You are Toast of the test.\nNever say {env:HOME}, \"quotes\" or ünï."

// A real Claude Code works in its worktree over two messages, and loses and
// repeats nothing when the server is killed in the middle of a turn.
func TestClaudeWorksThroughTheTown(t *testing.T) {
	t.Parallel()
	model, url := llmtest.Serve(t, conversation)
	c := newConversation(t, "claude", llmtest.ClaudeEnv(url))
	c.request.Model = "claude-sonnet-4-5"
	c.hold(t)
	turn := []string{
		"turn.started", "message delivered", "usage", "text I write.", "tool.call write", "tool.result true", "usage", "text I wait.", "tool.call bash",
		"tool.result true", "usage", "text Done.", "usage", "turn.ended true",
	}
	c.check(t, append([]string{"session"}, append(slices.Clone(turn), turn...)...))
	c.checkRequests(t, model, "claude-sonnet-4-5")
}

// The same with a real Kilo, whose texts end after the calls that follow them.
func TestKiloWorksThroughTheTown(t *testing.T) {
	t.Parallel()
	model, url := llmtest.Serve(t, conversation)
	c := newConversation(t, "kilo", llmtest.KiloEnv(url))
	c.request.Model = llmtest.KiloModel
	c.hold(t)
	turn := []string{
		"turn.started", "tool.call write", "text I write.", "tool.result true", "usage", "tool.call bash", "text I wait.",
		"tool.result true", "usage", "text Done.", "usage", "turn.ended true",
	}
	c.check(t, slices.Concat([]string{"session"}, turn, []string{turn[0], "message seen"}, turn[1:]))
	c.checkRequests(t, model, "model")
}

// conversation is a model that writes the file a message names, waits until the
// test lets it go on, and is done.
func conversation(r *llmtest.Request) llmtest.Step {
	asked, tools := "", 0
	for _, m := range r.Messages {
		switch {
		case m.Role == "user" && strings.Contains(m.Text, "please write"):
			asked, tools = m.Text, 0
		case m.Role == "tool":
			tools++
		}
	}
	_, name, _ := strings.Cut(asked, "please write ")
	name, _, _ = strings.Cut(name, ".txt")
	switch tools {
	case 0:
		return llmtest.Step{Text: "I write.", Tools: []llmtest.Tool{{Name: "write", Input: map[string]any{"file_path": name + ".txt", "content": "written\n"}}}}
	case 1:
		wait := fmt.Sprintf("touch %[1]s.waiting; until [ -e %[1]s.go ]; do sleep 0.05; done", name)
		return llmtest.Step{Text: "I wait.", Tools: []llmtest.Tool{{Name: "bash", Input: map[string]any{"command": wait}}}}
	}
	return llmtest.Step{Text: "Done."}
}

// cliConversation is an agent of a real CLI and what was seen of it.
type cliConversation struct {
	*testTown
	request town.StartRequest
	agent   town.Agent
	events  []town.Event // as a follower got them, over all servers
}

func newConversation(t *testing.T, cli string, env map[string]string) *cliConversation {
	t.Helper()
	dir := reachable(t, llmtest.Program(t, cli))
	c := &cliConversation{testTown: newTown(t, map[string]string{"PATH": dir + ":" + os.Getenv("PATH")})}
	c.request = c.testTown.request("toast")
	c.request.CLI, c.request.Command, c.request.EnvVars = cli, nil, env
	c.request.Prompt, c.request.SystemPrompt = "please write one.txt", systemPrompt
	return c
}

// reachable returns a directory for PATH in which agents' users can run program:
// its own, or that of a copy.
func reachable(t *testing.T, program string) string {
	t.Helper()
	target, err := filepath.EvalSymlinks(program)
	if err != nil {
		t.Fatal(err)
	}
	if passable(filepath.Dir(target)) && passable(filepath.Dir(program)) {
		return filepath.Dir(program)
	}
	modules := filepath.Dir(filepath.Dir(program))
	home := agenttest.Home(t)
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", modules, home).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v\n%s", modules, err, out)
	}
	return filepath.Join(home, filepath.Base(modules), filepath.Base(filepath.Dir(program)))
}

func passable(dir string) bool {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return true
}

// hold holds the conversation: two turns, the server killed within both, and the
// stop.
func (c *cliConversation) hold(t *testing.T) {
	t.Helper()
	c.agent = c.start(c.request)
	c.turn(t, "one")
	id, err := c.Message(t.Context(), "toast", town.MessageRequest{Prompt: "please write two.txt"}, "second")
	if err != nil {
		t.Fatal(err)
	}
	c.turn(t, "two")
	again, err := c.Message(t.Context(), "toast", town.MessageRequest{Prompt: "please write two.txt"}, "second")
	if err != nil || again != id {
		t.Errorf("the message repeated with its key: %q, %v; want %q", again, err, id)
	}
	c.checkDiff(t)
	a := c.stop("toast", town.StopRequest{})
	if a.Status != town.StatusExited || a.Reason != town.ReasonStopped {
		t.Errorf("stopped agent is %s %s, want exited stopped", a.Status, a.Reason)
	}
	if left := c.ofAgents(); len(left) > 0 {
		t.Errorf("left after the stop: %v", left)
	}
	if a.Turn.Count != 2 || a.Usage.InputTokens == 0 || a.Usage.ToolCalls != 4 || a.SessionID == "" {
		t.Errorf("turns %+v, usage %+v, session %q; want 2 turns, tokens, 4 tool calls and a session", a.Turn, a.Usage, a.SessionID)
	}
}

// turn follows one turn and kills the server in its middle.
func (c *cliConversation) turn(t *testing.T, name string) {
	t.Helper()
	waiting := filepath.Join(c.agent.Workdir, name+".waiting")
	waitFor(t, "the turn's middle", func() bool { _, err := os.Lstat(waiting); return err == nil })
	if p, ok := readProc(*c.status("toast").PID); ok { // its children have what the CLI makes for them
		c.checkEnviron(t, p)
	} else {
		t.Error("the CLI is not there in the middle of its turn")
	}
	c.restart()
	if err := os.WriteFile(filepath.Join(c.agent.Workdir, name+".go"), nil, 0o644); err != nil { //nolint:gosec // seen by the agent
		t.Fatal(err)
	}
	turns := 0
	c.events = c.event("toast", func(e town.Event) bool {
		if e.Event == town.EventTurnEnded {
			turns++
		}
		return turns == map[string]int{"one": 1, "two": 2}[name]
	})
}

// checkEnviron wants no credential in the environment of an agent's process but
// what the request gave and the agent's own capability.
func (c *cliConversation) checkEnviron(t *testing.T, p proc) {
	t.Helper()
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid)) // empty when it has ended
	for entry := range strings.SplitSeq(string(data), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		if strings.Contains(value, c.token) || strings.HasPrefix(name, "TOWND_") && name != "TOWND_RUN_ID" {
			t.Errorf("%s is in the environment of %v", name, p)
		}
		secret := strings.Contains(name, "TOKEN") || strings.Contains(name, "KEY") || strings.Contains(name, "SECRET")
		_, given := c.request.EnvVars[name]
		if secret && !given && name != "GASTOWN_SESSION_TOKEN" && !strings.Contains(name, "MAX_") {
			t.Errorf("%s is in the environment of %v, and nobody gave it", name, p)
		}
	}
}

// check wants the events that were decoded to be exactly those, numbered without
// a gap, as a follower and as a late reader see them.
func (c *cliConversation) check(t *testing.T, want []string) {
	t.Helper()
	page, err := c.Events(t.Context(), "toast", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range page.Events {
		if e.ID != int64(i+1) {
			t.Errorf("event %d has the id %d", i+1, e.ID)
		}
	}
	if diff := cmp.Diff(page.Events[:min(len(page.Events), len(c.events))], c.events); diff != "" {
		t.Errorf("a follower saw other events than a late reader (-late +follower):\n%s", diff)
	}
	var got []string
	for _, e := range page.Events {
		if line := shape(e); line != "" {
			got = append(got, line)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded events (-want +got):\n%s\nall events:\n%s", diff, render(page.Events))
	}
}

// shape names an event that was decoded from the CLI's output; "" is another's.
func shape(e town.Event) string {
	var d struct {
		OK      *bool        `json:"ok"`
		Name    string       `json:"name"`
		Text    string       `json:"text"`
		Receipt town.Receipt `json:"receipt"`
	}
	_ = json.Unmarshal(e.Data, &d) // what cannot be read looks different
	switch e.Event {
	case town.EventState, town.EventCheckpoint:
		return ""
	case town.EventMessage:
		if d.Receipt != town.ReceiptDelivered {
			return "" // ours
		}
		return "message delivered"
	case town.EventToolCall:
		return "tool.call " + strings.ToLower(d.Name)
	case town.EventToolResult, town.EventTurnEnded:
		return fmt.Sprint(e.Event, " ", d.OK != nil && *d.OK)
	case town.EventText:
		return "text " + d.Text
	default:
		return string(e.Event)
	}
}

func (c *cliConversation) checkDiff(t *testing.T) {
	t.Helper()
	d, err := c.Diff(t.Context(), "toast", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one.txt", "two.txt"} {
		if !slices.ContainsFunc(d.Files, func(f api.DiffFile) bool { return f.Path == name && f.Status == "A" && f.Added == 1 }) {
			t.Errorf("%s is not in the diff: %+v", name, d.Files)
		}
		if !strings.Contains(d.Patch, "+++ b/"+name+"\n@@ -0,0 +1 @@\n+written\n") {
			t.Errorf("the patch does not add %s:\n%s", name, d.Patch)
		}
	}
}

// checkRequests wants the model asked by its name, with the system prompt, six
// times: each turn takes three answers.
func (c *cliConversation) checkRequests(t *testing.T, model *llmtest.Server, name string) {
	t.Helper()
	requests := model.Requests()
	if len(requests) != 6 {
		t.Errorf("%d requests, want 6", len(requests))
	}
	for _, r := range requests {
		if r.Model != name || !strings.Contains(r.System, systemPrompt) {
			t.Errorf("model %q (want %q), system prompt:\n%s", r.Model, name, r.System)
		}
	}
}
