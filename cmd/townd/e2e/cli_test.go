package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
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

// realCLIs are the agent programs that are tested, each with what its model's
// gateway is told of the scripted server, the model's name, and what a turn of
// conversation looks like, but for hooks.
var realCLIs = []struct{ name, provider, model, turn string }{
	{
		"claude", "claude", "claude-sonnet-4-5",
		"turn.started,message delivered,usage,text I write.,tool.call write,tool.result true,usage,text I wait.,tool.call bash,tool.result true,usage," +
			"text Done.,usage,turn.ended true",
	},
	{"kilo", "compatible", "scripted-model", engineTurn},
	{"opencode", "compatible", "scripted-model", engineTurn},
	{
		"codex", "compatible", "scripted-model",
		"message delivered,turn.started,text I write.,tool.call bash,tool.result true,usage,text I wait.,tool.call bash,tool.result true,usage," +
			"text Done.,usage,turn.ended true",
	},
	{
		"gemini", "gemini", "gemini-2.5-pro",
		"message delivered,turn.started,text I write.,tool.call write_file,tool.result true,text I wait.,tool.call run_shell_command,tool.result true," +
			"text Done.,usage,turn.ended true",
	},
}

// engineTurn is a turn of Kilo and OpenCode, which tell a text when it is whole.
const engineTurn = "message delivered,turn.started,tool.call write,text I write.,tool.result true,usage,tool.call bash,text I wait.,tool.result true,usage," +
	"text Done.,usage,turn.ended true"

// Every real CLI works in its worktree over two messages, and loses and repeats
// nothing when the server is killed in the middle of a turn. The provider's key
// stays with the gateway.
func TestEveryCLIWorksThroughTheTown(t *testing.T) {
	t.Parallel()
	for _, cli := range realCLIs {
		t.Run(cli.name, func(t *testing.T) {
			t.Parallel()
			model, url := llmtest.Serve(t, conversation)
			c := newConversation(t, cli.name, map[string]string{"LLM_PROVIDER": cli.provider, "LLM_BASE_URL": url, "LLM_API_KEY": canary})
			c.request.Model = cli.model
			c.hold(t)
			c.check(t, strings.Split(cli.turn, ","))
			c.checkRequests(t, model, cli.model)
			c.checkCanary(t)
		})
	}
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
		return llmtest.Step{Text: "I wait.", Tools: []llmtest.Tool{shell(r, wait)}}
	}
	return llmtest.Step{Text: "Done."}
}

// shell is a call of the tool that runs a command line, whatever the CLI calls it.
func shell(r *llmtest.Request, command string) llmtest.Tool {
	for _, name := range []string{"exec_command", "run_shell_command"} {
		if slices.ContainsFunc(r.Tools, func(s llmtest.ToolSpec) bool { return s.Name == name }) {
			return llmtest.Tool{Name: name, Input: map[string]any{"cmd": command, "command": command}}
		}
	}
	return llmtest.Tool{Name: "bash", Input: map[string]any{"command": command}}
}

// cliConversation is an agent of a real CLI and what was seen of it.
type cliConversation struct {
	*testTown
	request town.StartRequest
	agent   town.Agent
	events  []town.Event // as a follower got them, over all servers
}

func newConversation(t *testing.T, cli string, settings map[string]string) *cliConversation {
	t.Helper()
	settings["PATH"] = agenttest.Reachable(t, llmtest.Program(t, cli)) + ":" + os.Getenv("PATH")
	c := &cliConversation{testTown: newTown(t, settings)}
	c.request = c.testTown.request("toast")
	c.request.CLI, c.request.Command = cli, nil
	c.request.Prompt, c.request.SystemPrompt = "please write one.txt", systemPrompt
	return c
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
	c.checkEnvirons(t)
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

// checkEnvirons wants no credential in the environment of any process of the
// agent's but its own capability, and what its CLI made up for itself.
func (c *cliConversation) checkEnvirons(t *testing.T) {
	t.Helper()
	procs := c.ofAgents()
	if len(procs) == 0 {
		t.Error("the CLI is not there in the middle of its turn")
	}
	for _, p := range procs {
		data := p.openEnviron()
		for _, secret := range []string{c.token, canary} {
			if strings.Contains(string(data), secret) || strings.Contains(p.String(), secret) {
				t.Errorf("a secret is in the environment or the arguments of %v", p)
			}
		}
	}
}

// checkCanary wants the provider's key in nothing that the agent or a viewer sees.
func (c *cliConversation) checkCanary(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"agents", "runs", "rigs"} {
		c.eachFile(filepath.Join(c.home, dir), func(path string, data []byte) {
			if strings.Contains(string(data), canary) {
				t.Errorf("the provider's key is in %s", path)
			}
		})
	}
	if strings.Contains(c.log.String(), canary) {
		t.Error("the provider's key is in the server's log")
	}
}

// check wants the events that were decoded to be two times those of turn, numbered
// without a gap, as a follower and as a late reader see them.
func (c *cliConversation) check(t *testing.T, turn []string) {
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
	hooks := map[string]int{}
	for _, e := range page.Events {
		switch line := shape(e); {
		case strings.HasPrefix(line, "hook "): // comes by another way, so its place among the others varies
			hooks[line]++
		case line != "" && line != "session":
			got = append(got, line)
		}
	}
	delete(hooks, "hook stop") // of some CLIs it comes after the turn, and here after the end
	if want := map[string]int{"hook thinking.started": 2, "hook tool.before": 4, "hook tool.after": 4}; !maps.Equal(hooks, want) {
		t.Errorf("hooks %v, want %v", hooks, want)
	}
	if want := append(slices.Clone(turn), turn...); !slices.Equal(got, want) {
		t.Errorf("decoded events (-want +got):\n%s\nall events:\n%s", cmp.Diff(want, got), render(page.Events))
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
	case town.EventHook:
		return "hook " + d.Name
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
