package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/llm/llmtest"
	"townd/supervisor/agenttest"
	"townd/town"
)

// claudeTown is a town with Claude Code, whose model behind the gateway plays a script.
type claudeTown struct {
	*testTown
	model   *llmtest.Server
	request town.StartRequest
}

// canary is the key of the model's provider, which no agent may get hold of.
const canary = "sk-canary-6f1d0b7c2e"

func newClaudeTown(t *testing.T, script llmtest.Script) *claudeTown {
	t.Helper()
	model, url := llmtest.Serve(t, script)
	dir := agenttest.Reachable(t, llmtest.Program(t, "claude"))
	c := &claudeTown{model: model, testTown: newTown(t, map[string]string{
		"PATH": dir + ":" + os.Getenv("PATH"), "LLM_PROVIDER": "claude", "LLM_BASE_URL": url, "ANTHROPIC_API_KEY": canary,
	})}
	c.request = c.testTown.request("toast")
	c.request.CLI, c.request.Command = "claude", nil
	c.request.Prompt, c.request.SystemPrompt, c.request.Model = "begin", "You are Toast.", "claude-sonnet-4-5"
	return c
}

// say counts what it was told, or waits for ever when the newest message has "stall".
func say(r *llmtest.Request) llmtest.Step {
	return llmtest.Step{Text: fmt.Sprintf("I was told %d things.", len(r.Messages)), Hang: strings.Contains(news(r), "stall") && !strings.Contains(news(r), "right now")}
}

// news is what the model is told since its last answer.
func news(r *llmtest.Request) (text string) {
	for _, m := range r.Messages {
		if text += m.Text; m.Role == "assistant" {
			text = ""
		}
	}
	return text
}

// asked waits until the model is asked with a last message that has text, n times.
func (c *claudeTown) asked(text string, n int) *llmtest.Request {
	c.t.Helper()
	for deadline := time.After(patience); ; {
		arrived := c.model.Arrived()
		var found []*llmtest.Request
		for _, r := range c.model.Requests() {
			if strings.Contains(news(r), text) {
				found = append(found, r)
			}
		}
		if len(found) >= n {
			return found[n-1]
		}
		select {
		case <-arrived:
		case <-deadline:
			var all []string
			for _, r := range c.model.Requests() {
				text := news(r) // claude begins with what it is and can
				all = append(all, text[max(0, len(text)-500):])
			}
			c.t.Fatalf("the model was asked %q %d times, want %d; it was asked:\n%s", text, len(found), n, strings.Join(all, "\n"))
		}
	}
}

// message says something and returns its id.
func (c *claudeTown) message(text string, when town.Delivery) string {
	c.t.Helper()
	id, err := c.Message(c.context(), "toast", town.MessageRequest{Prompt: text, Deliver: when}, "")
	if err != nil {
		c.t.Fatal(err)
	}
	return id
}

// receipts are how far a message got, in order.
func receipts(events []town.Event, id string) (stages []town.Receipt) {
	for _, e := range events {
		var d town.MessageData
		if e.Event == town.EventMessage && json.Unmarshal(e.Data, &d) == nil && d.MessageID == id {
			stages = append(stages, d.Receipt)
		}
	}
	return stages
}

func isReceipt(e town.Event, id string, stage town.Receipt) bool {
	return slices.Equal(receipts([]town.Event{e}, id), []town.Receipt{stage})
}

// turns waits until n turns have ended and returns the events up to there.
func (c *claudeTown) turns(n int) []town.Event {
	c.t.Helper()
	return c.event("toast", func(e town.Event) bool {
		if e.Event == town.EventTurnEnded {
			n--
		}
		return n == 0
	})
}

// N5: a message to an agent that works waits for the turn's end; one that is to be
// delivered now ends the turn; one for an idle agent comes last.
func TestMessagesComeWhenTheyAreToBeDelivered(t *testing.T) {
	t.Parallel()
	c := newClaudeTown(t, say)
	c.request.Prompt = "stall here"
	c.start(c.request)
	c.asked("stall here", 1)
	idle, end, now := c.message("when idle", town.DeliverIdle), c.message("at the end", ""), c.message("right now", town.DeliverNow)
	events := c.turns(4)
	var heard []string
	for _, r := range c.model.Requests() {
		heard = append(heard, news(r))
	}
	if want := []string{"stall here", "right now", "at the end", "when idle"}; !slices.EqualFunc(heard, want, strings.Contains) {
		t.Errorf("the model heard %q, want %q", heard, want)
	}
	want := []town.Receipt{town.ReceiptQueued, town.ReceiptDelivered, town.ReceiptSeen}
	for _, id := range []string{idle, end, now} {
		if got := receipts(events, id); !slices.Equal(got, want) {
			t.Errorf("receipts %v, want %v", got, want)
		}
	}
}

// A message that was written to a program which died before it read it is not
// delivered; a start that follows by itself gives it again, in the same session.
func TestAMessageThatTheProgramDidNotTakeIsNotDelivered(t *testing.T) {
	t.Parallel()
	for _, policy := range []town.RestartPolicy{town.RestartNever, town.RestartOnFailure} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			c := newClaudeTown(t, say)
			c.request.Restart = policy
			c.start(c.request)
			c.turns(1)
			session, pid := c.status("toast").SessionID, *c.status("toast").PID
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			id := c.message("are you there", "")
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if policy == town.RestartNever {
				a := c.untilStatus("toast", town.StatusFailed)
				events := c.event("toast", func(e town.Event) bool { return isReceipt(e, id, town.ReceiptFailed) })
				if got := receipts(events, id); !slices.Equal(got, []town.Receipt{town.ReceiptFailed}) || a.Reason != town.ReasonCrashed {
					t.Errorf("receipts %v, the agent's reason %q; want failed and nothing else, crashed", got, a.Reason)
				}
				return
			}
			events := c.event("toast", func(e town.Event) bool { return isReceipt(e, id, town.ReceiptSeen) })
			if got := receipts(events, id); !slices.Equal(slices.DeleteFunc(got, isQueued), []town.Receipt{town.ReceiptDelivered, town.ReceiptSeen}) {
				t.Errorf("receipts %v, want delivered and seen", got)
			}
			if a := c.status("toast"); a.Turn.Count != 2 || a.Usage.InputTokens < 200 {
				t.Errorf("turn %d, usage %+v: what was used before the crash is forgotten", a.Turn.Count, a.Usage)
			}
			r := c.asked("are you there", 1)
			if r.Messages[0].Text == "" || !strings.Contains(r.Messages[0].Text, "begin") || c.status("toast").SessionID != session {
				t.Errorf("the session did not go on: it begins with %q", r.Messages[0].Text)
			}
		})
	}
}

// dyingClaude closes its input after its first turn and ends when it is told to. The one
// that is started again takes a message.
const dyingClaude = `#!/bin/sh
[ "$1" = --version ] && { echo "2.1.329 (Claude Code)"; exit; }
echo '{"type":"system","subtype":"init","session_id":"4a56d9f6-79e5-4c73-a1f3-3172bf342897"}'
IFS= read -r line
printf '%s\n' "$line" | sed 's/^{/{"isReplay":true,/'
echo '{"type":"result","subtype":"success","is_error":false,"result":"done"}'
if [ -e die ]; then
	cat > /dev/null
	exit
fi
exec 0<&-
until [ -e die ]; do sleep 0.1; done
exit 1
`

// A message that a program could not take any more, because it was ending, goes to the
// one that is started in its place.
func TestAMessageToAProgramThatEndsGoesToTheNext(t *testing.T) {
	t.Parallel()
	dir := agenttest.Home(t)
	if err := os.WriteFile(filepath.Join(dir, "claude"), []byte(dyingClaude), 0o755); err != nil {
		t.Fatal(err)
	}
	c := &claudeTown{testTown: newTown(t, map[string]string{"PATH": dir + ":" + os.Getenv("PATH")})}
	req := c.testTown.request("toast")
	req.CLI, req.Command, req.Prompt, req.Restart = "claude", nil, "begin", town.RestartOnFailure
	workdir := c.start(req).Workdir
	c.turns(1)
	id := c.message("are you there", "")
	if err := os.WriteFile(filepath.Join(workdir, "die"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	events := c.event("toast", func(e town.Event) bool {
		return isReceipt(e, id, town.ReceiptDelivered) || isReceipt(e, id, town.ReceiptFailed)
	})
	if got := receipts(events, id); !slices.Equal(slices.DeleteFunc(got, isQueued), []town.Receipt{town.ReceiptDelivered}) {
		t.Errorf("receipts %v, want delivered", got)
	}
}

// X5: a program that is killed in the middle of its turn goes on in its session,
// with what it had been told and had done.
func TestAKilledTurnGoesOnInItsSession(t *testing.T) {
	t.Parallel()
	killed := false
	c := newClaudeTown(t, func(r *llmtest.Request) llmtest.Step {
		if !killed {
			killed = true
			return llmtest.Step{Tools: []llmtest.Tool{{Name: "bash", Input: map[string]any{"command": "touch working; until [ -e never ]; do sleep 1; done"}}}}
		}
		return say(r)
	})
	c.request.Restart = town.RestartOnFailure
	agent := c.start(c.request)
	waitFor(t, "tool to run", func() bool { _, err := os.Stat(filepath.Join(agent.Workdir, "working")); return err == nil })
	if err := syscall.Kill(*c.status("toast").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.turns(2) // the one that was cut off, and the one that went on
	requests := c.model.Requests()
	if len(requests) != 2 || !strings.Contains(requests[1].Messages[0].Text, "begin") {
		t.Errorf("the model was asked %d times, and last with %q first; want 2, in the same session", len(requests), requests[len(requests)-1].Messages[0].Text)
	}
}

// X5: a session that cannot be resumed is tried again, and then gives way to a new
// one that is told what is known of it.
func TestABrokenSessionGivesWayToANewOne(t *testing.T) {
	t.Parallel()
	c := newClaudeTown(t, say)
	c.start(c.request)
	c.turns(1)
	first := c.stop("toast", town.StopRequest{})
	if err := os.RemoveAll(filepath.Join(c.home, "agents/toast/home/.claude/projects")); err != nil {
		t.Fatal(err)
	}
	c.request.Resume, c.request.Prompt = true, "go on, please"
	c.start(c.request)
	r := c.asked("go on, please", 1)
	for _, want := range []string{"could not be opened again", "begin", "I was told 1 things."} {
		if !strings.Contains(news(r), want) {
			t.Errorf("the new session was not told %q, but:\n%s", want, news(r))
		}
	}
	c.turns(2)
	if a := c.status("toast"); a.SessionID == first.SessionID || a.Status != town.StatusRunning {
		t.Errorf("agent %s with session %q, want running with another than %q", a.Status, a.SessionID, first.SessionID)
	}
}

// N14: another model and another system prompt hold from the next turn on, in the
// same session.
func TestModelAndSystemPromptChangeWithTheNextTurn(t *testing.T) {
	t.Parallel()
	c := newClaudeTown(t, say)
	c.start(c.request)
	c.turns(1)
	session := c.status("toast").SessionID
	if err := c.SetModel(c.context(), "toast", "claude-haiku-4-5"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetSystemPrompt(c.context(), "toast", "You are Jam."); err != nil {
		t.Fatal(err)
	}
	c.message("who are you", "")
	c.turns(2)
	r := c.asked("who are you", 1)
	if r.Model != "claude-haiku-4-5" || !strings.Contains(r.System, "You are Jam.") || strings.Contains(r.System, "You are Toast.") {
		t.Errorf("asked %s with the system prompt\n%s", r.Model, r.System)
	}
	if a := c.status("toast"); a.SessionID != session || a.Turn.Count != 2 || !strings.Contains(r.Messages[0].Text, "begin") {
		t.Errorf("session %q, turn %d, first message %q; want the same session's second", a.SessionID, a.Turn.Count, r.Messages[0].Text)
	}
}

// X3: a budget is warned of at 80 %, ends the agent at 100 %, and the worktree and
// the reason stay.
func TestABudgetIsToldAndKept(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limits town.Limits
		turns  int // that may end
	}{
		"tokens": {town.Limits{Tokens: 300}, 2}, // 120 a turn
		"turns":  {town.Limits{Turns: 2}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClaudeTown(t, say)
			c.request.Limits = tt.limits
			agent := c.start(c.request)
			for i := range tt.turns {
				c.turns(i + 1)
				c.message("and again", "")
			}
			a := c.untilStatus("toast", town.StatusFailed)
			if a.Reason != town.ReasonBudget || !strings.Contains(a.Error, name) {
				t.Errorf("reason %q, error %q; want budget, and its name", a.Reason, a.Error)
			}
			var told []town.BudgetData
			for _, e := range c.event("toast", func(e town.Event) bool { return isState(e, town.StatusFailed) }) {
				var d town.BudgetData
				if e.Event == town.EventBudget && json.Unmarshal(e.Data, &d) == nil {
					told = append(told, d)
				}
			}
			if len(told) != 2 || told[0].Limit != name || told[0].Used < 0.8*told[0].Of || told[1].Used < told[1].Of {
				t.Errorf("told %+v, want %s at 80 %% and at 100 %%", told, name)
			}
			if _, err := os.Stat(agent.Workdir); err != nil {
				t.Error(err)
			}
		})
	}
}

// The end of a turn is not the end of the work: an agent with a bead is sent back
// while it has not said that it is done, so often and no more (R14), and ends with
// the reason that it gave.
func TestAnAgentEndsWhenItSaysThatItIsDone(t *testing.T) {
	t.Parallel()
	c := newClaudeTown(t, func(r *llmtest.Request) llmtest.Step {
		switch told := news(r); {
		case strings.Contains(told, "is still open"):
			return llmtest.Step{Tools: []llmtest.Tool{{Name: "bash", Input: map[string]any{"command": "townd report done all is well and every test passes && echo reported"}}}}
		default:
			return llmtest.Step{Text: "Well."}
		}
	})
	c.request.BeadID = "bead-1"
	c.start(c.request)
	a := c.untilStatus("toast", town.StatusExited)
	if a.Reason != town.ReasonDone {
		t.Errorf("reason %q, want done", a.Reason)
	}
	events := c.event("toast", func(e town.Event) bool { return isState(e, town.StatusExited) })
	if denied := denials(events, town.HookStop); len(denied) != 1 {
		t.Errorf("sent back %d times, want once: %v", len(denied), denied)
	}
}

func TestAnAgentIsSentBackABoundedNumberOfTimes(t *testing.T) {
	t.Parallel()
	c := newClaudeTown(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "I am done, am I not?"} })
	c.request.BeadID = "bead-1"
	// Beyond the CLI's own cap the town begins the next turn.
	c.request.EnvVars = map[string]string{"CLAUDE_CODE_STOP_HOOK_BLOCK_CAP": "2"}
	c.start(c.request)
	const reminders = 5 // one of which comes to nothing, at the cap
	c.asked("is still open", reminders-1)
	events := c.turns(2)
	if denied := denials(events, town.HookStop); len(denied) < 2 || len(denied) > reminders {
		t.Errorf("its own hook sent it back %d times, want 2 at least and %d at most", len(denied), reminders)
	}
	if a := c.status("toast"); a.Status != town.StatusRunning || a.Turn.State != town.TurnIdle {
		t.Errorf("agent %s, turn %s; want running, idle", a.Status, a.Turn.State)
	}
}

// denials are the reasons given at a hook.
func denials(events []town.Event, point town.HookPoint) (reasons []string) {
	for _, e := range events {
		var d town.HookData
		if e.Event == town.EventHook && json.Unmarshal(e.Data, &d) == nil && d.Name == point && d.Decision == "deny" {
			reasons = append(reasons, d.Reason)
		}
	}
	return reasons
}

// isQueued is true of the receipt that says only that a message waits.
func isQueued(r town.Receipt) bool { return r == town.ReceiptQueued }

// A message that is repeated with its key until somebody answers is told once,
// however often the server, and with it the way to the model, is killed meanwhile.
func TestMessagesReachClaudeOnceThroughCrashes(t *testing.T) {
	t.Parallel()
	c := newClaudeTown(t, say)
	c.start(c.request)
	c.turns(1)
	const messages = 8
	var ids []string
	for i := range messages {
		send := func() (string, error) {
			return c.Message(t.Context(), "toast", town.MessageRequest{Prompt: fmt.Sprintf("number <%d>", i)}, fmt.Sprint("key-", i))
		}
		type answer struct {
			id  string
			err error
		}
		answered := make(chan answer, 1)
		go func() { id, err := send(); answered <- answer{id, err} }()
		time.Sleep(rand.N(60 * time.Millisecond)) // anywhere in it
		c.restart()
		a := <-answered
		if a.err != nil {
			if a.id, a.err = send(); a.err != nil {
				t.Fatalf("message %d, repeated: %v", i, a.err)
			}
		}
		ids = append(ids, a.id)
	}
	events := c.event("toast", func(e town.Event) bool { return isReceipt(e, ids[messages-1], town.ReceiptSeen) })
	for i, id := range ids {
		got := slices.DeleteFunc(receipts(events, id), isQueued)
		if !slices.Equal(got, []town.Receipt{town.ReceiptDelivered, town.ReceiptSeen}) {
			t.Errorf("receipts of message %d: %v, want delivered and seen", i, got)
		}
	}
	requests := c.model.Requests()
	var told strings.Builder
	for _, m := range requests[len(requests)-1].Messages {
		told.WriteString(m.Text)
	}
	for i := range messages {
		if n := strings.Count(told.String(), fmt.Sprintf("number <%d>", i)); n != 1 {
			t.Errorf("message %d is %d times in the conversation, want once", i, n)
		}
	}
}

// A message is in the agent's record before anybody is told that it was taken: a
// server that is killed then has it.
func TestMessagesAreKeptBeforeTheyAreAnswered(t *testing.T) {
	t.Parallel()
	c := newClaudeTown(t, say)
	c.start(c.request)
	for i := range 60 {
		id, err := c.Message(c.context(), "toast", town.MessageRequest{Prompt: "number"}, fmt.Sprint("key-", i))
		if err != nil {
			t.Fatal(err)
		}
		record, err := os.ReadFile(filepath.Join(c.home, "agents/toast/record.json"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(record), id) {
			t.Fatalf("message %d is answered with %s, which the agent's record does not have", i, id)
		}
	}
}
