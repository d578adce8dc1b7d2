package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"townd/llm/llmtest"
	"townd/supervisor/agenttest"
	"townd/town"
)

// scenes prove the cells of the table: each is an agent in a town of its own.
var scenes = map[string]func(*testing.T, *cliColumn){
	"works": playWork, "resumes": playResume, "expires": playExpired, "suffers": playFaults, "asks": playHooks, "has a server": playMCP,
}

// scene is an agent of a real CLI whose model may be made to fail.
type scene struct {
	*claudeTown
	column *cliColumn
	fault  atomic.Pointer[llmtest.Step] // the answer to every request; nil for the script's own
	broken atomic.Bool                  // answers break off in the middle of an event

	mu      sync.Mutex
	arrived map[*llmtest.Request]time.Time
}

func newScene(t *testing.T, column *cliColumn, script llmtest.Script) *scene {
	t.Helper()
	s := &scene{column: column, arrived: map[*llmtest.Request]time.Time{}}
	model := llmtest.New(func(r *llmtest.Request) llmtest.Step {
		s.mu.Lock()
		s.arrived[r] = time.Now()
		s.mu.Unlock()
		if fault := s.fault.Load(); fault != nil {
			return *fault
		}
		return script(r)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.broken.Load() {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, ": a stream\n\nevent: message_start\ndata: {\"type\": \"message_st\n\ndata: }{ \x00\xff\n\nda")
			return
		}
		model.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { model.Close(); server.Close() })
	dir := agenttest.Reachable(t, llmtest.Program(t, column.cli))
	s.claudeTown = &claudeTown{model: model, testTown: newTown(t, map[string]string{
		"PATH": dir + ":" + os.Getenv("PATH"), "LLM_PROVIDER": column.provider, "LLM_BASE_URL": server.URL, "LLM_API_KEY": canary,
		"LLM_PRICES": fmt.Sprintf("%s=%d/%d", column.model, inputPrice, outputPrice),
	})}
	s.request = s.testTown.request("toast")
	s.request.CLI, s.request.Command = column.cli, nil
	s.request.Prompt, s.request.SystemPrompt, s.request.Model = "begin", systemPrompt, column.model
	return s
}

// What a model costs, in USD for a million tokens, and what each answer uses.
const (
	inputPrice, outputPrice   = 10, 50
	inputTokens, outputTokens = 1200, 34
)

var scriptedUsage = llmtest.Usage{Input: inputTokens, Output: outputTokens}

// prove fills a cell with what proof returns, unless it fails.
func (s *scene) prove(fact string, proof func() string) {
	s.t.Helper()
	text := proof()
	if s.t.Failed() {
		s.t.Fatalf("%s, %s: not proven", s.column.cli, fact)
	}
	s.column.set(fact, text)
}

// when is when the model was asked.
func (s *scene) when(r *llmtest.Request) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived[r]
}

// newest is the id of the agent's newest event.
func (s *scene) newest() int64 {
	s.t.Helper()
	page, err := s.Events(s.context(), "toast", "", 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	return page.Events[len(page.Events)-1].ID
}

// since waits until ok says true of an event after that id and returns all after it.
func (s *scene) since(id int64, ok func(town.Event) bool) []town.Event {
	s.t.Helper()
	all := s.event("toast", func(e town.Event) bool { return e.ID > id && ok(e) })
	return slices.DeleteFunc(all, func(e town.Event) bool { return e.ID <= id })
}

// ended is whether a turn ended, and how.
func ended(e town.Event) (ended, ok bool) {
	var d town.TurnEndedData
	return e.Event == town.EventTurnEnded && json.Unmarshal(e.Data, &d) == nil, d.OK
}

func isEnd(e town.Event) bool { over, _ := ended(e); return over }

// kinds are the kinds of the errors and retries that were told.
func kinds(events []town.Event) (kinds []town.ErrorKind) {
	for _, e := range events {
		var d struct{ Kind town.ErrorKind }
		if (e.Event == town.EventRetry || e.Event == town.EventError) && json.Unmarshal(e.Data, &d) == nil {
			kinds = append(kinds, d.Kind)
		}
	}
	return kinds
}

// mentions counts the messages of a request that have text.
func mentions(r *llmtest.Request, text string) (n int) {
	for _, m := range r.Messages {
		n += strings.Count(m.Text, text)
	}
	return n
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// toolScript works on what it is asked to write and wait for, as conversation does.
func toolScript(r *llmtest.Request) llmtest.Step {
	step := llmtest.Step{Text: "I heard."}
	if strings.Contains(news(r), "please write") || r.Last().Role == "tool" {
		step = conversation(r)
	}
	step.Usage = scriptedUsage
	return step
}

// untilTool waits until the tool of toolScript waits, in the middle of a turn.
func (s *scene) untilTool(workdir string) {
	s.t.Helper()
	waitFor(s.t, "the turn's middle", func() bool { _, err := os.Lstat(filepath.Join(workdir, "one.waiting")); return err == nil })
}

// release lets the tool of toolScript end.
func (s *scene) release(workdir string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(workdir, "one.go"), nil, 0o644); err != nil { //nolint:gosec // seen by the agent
		s.t.Fatal(err)
	}
}

// playWork holds one turn, and gives messages in it and after it.
func playWork(t *testing.T, column *cliColumn) {
	s := newScene(t, column, toolScript)
	s.request.Prompt = "please write one.txt"
	began := time.Now()
	s.prove("start", func() string {
		started, err := s.Start(s.context(), s.request)
		if err != nil || !started.Created {
			t.Fatalf("start: %v, created %v; want 201", err, started.Created)
		}
		s.since(0, func(e town.Event) bool { return e.Event == town.EventText })
		return "first words after " + seconds(time.Since(began))
	})
	s.proveBusy()
	first := s.model.Requests()[0]
	s.prove("system prompt", func() string {
		if !strings.Contains(first.System, systemPrompt) {
			t.Errorf("the model's system prompt is\n%s", first.System)
		}
		return "yes"
	})
	s.prove("model", func() string {
		if first.Model != column.model {
			t.Errorf("the model asked is %q, want %q", first.Model, column.model)
		}
		return "yes"
	})
	s.proveTool()
	s.proveIdle()
	s.proveSpent()
}

// proveBusy gives a message while a tool runs and wants it in the turn after.
func (s *scene) proveBusy() {
	t := s.t
	t.Helper()
	s.prove("message while busy", func() string {
		workdir := s.status("toast").Workdir
		s.untilTool(workdir)
		id := s.message("busy news", "")
		s.since(0, func(e town.Event) bool { return isReceipt(e, id, town.ReceiptQueued) })
		s.release(workdir)
		r := s.asked("busy news", 1)
		events := s.turns(2)
		s.checkHeard(r, "busy news", receipts(events, id), town.ReceiptQueued, town.ReceiptDelivered, town.ReceiptSeen)
		return "next turn"
	})
}

// checkHeard wants a message once in the request that brought it, in no other
// turn's news, and its receipts to be those.
func (s *scene) checkHeard(r *llmtest.Request, text string, got []town.Receipt, want ...town.Receipt) {
	t := s.t
	t.Helper()
	if n := mentions(r, text); n != 1 {
		t.Errorf("%q is %d times in the model's request, want once", text, n)
	}
	brought := 0
	for _, r := range s.model.Requests() {
		if strings.Contains(news(r), text) {
			brought++
		}
	}
	if brought != 1 {
		t.Errorf("%q was brought to the model %d times, want once", text, brought)
	}
	if !slices.Equal(got, want) {
		t.Errorf("receipts of %q: %v, want %v", text, got, want)
	}
}

// idleMessages is of how many the middle time is told.
const idleMessages = 3

// proveIdle gives messages to an agent with nothing to do.
func (s *scene) proveIdle() {
	s.t.Helper()
	s.prove("message while idle", func() string {
		var delays []time.Duration
		for i := range idleMessages {
			text := fmt.Sprintf("idle news %d.", i)
			since := s.newest()
			id := s.message(text, "")
			answered := time.Now()
			r := s.asked(text, 1)
			delays = append(delays, max(0, s.when(r).Sub(answered)))
			events := s.since(since, isEnd)
			s.checkHeard(r, text, receipts(events, id), town.ReceiptDelivered, town.ReceiptSeen)
		}
		slices.Sort(delays)
		return fmt.Sprintf("%d ms", delays[len(delays)/2].Milliseconds())
	})
}

// proveTool wants the tool of the first turn told and done.
func (s *scene) proveTool() {
	t := s.t
	t.Helper()
	s.prove("tool call", func() string {
		data, err := os.ReadFile(filepath.Join(s.status("toast").Workdir, "one.txt"))
		if err != nil || string(data) != "written\n" {
			t.Errorf("the tool wrote %q, %v", data, err)
		}
		var call town.ToolCallData
		var result town.ToolResultData
		for _, e := range s.turns(1) {
			switch {
			case e.Event == town.EventToolCall && call.ID == "":
				_ = json.Unmarshal(e.Data, &call) // stays empty
			case e.Event == town.EventToolResult && result.ID == "":
				_ = json.Unmarshal(e.Data, &result)
			}
		}
		if call.ID == "" || call.Name == "" || len(call.Input) == 0 || result.ID != call.ID || !result.OK {
			t.Errorf("the tool is told as %+v, its result as %+v", call, result)
		}
		return "yes"
	})
}

// proveSpent wants tokens and money to be what the model's answers said.
func (s *scene) proveSpent() {
	t := s.t
	t.Helper()
	var want town.Usage
	spent := func() town.Usage {
		want = town.Usage{}
		for _, r := range s.model.All() {
			used := scriptedUsage
			if r.Chore {
				used = llmtest.DefaultUsage
			}
			want.InputTokens += used.Input
			want.OutputTokens += used.Output
		}
		return s.status("toast").Usage
	}
	s.prove("usage", func() string {
		waitFor(t, "the usage that the model told", func() bool {
			got := spent()
			return got.InputTokens == want.InputTokens && got.OutputTokens == want.OutputTokens
		})
		if t.Failed() {
			t.Errorf("usage %+v, want %+v", spent(), want)
		}
		return fmt.Sprintf("%d tokens in, %d out", want.InputTokens, want.OutputTokens)
	})
	s.prove("cost", func() string {
		cost := float64(want.InputTokens*inputPrice+want.OutputTokens*outputPrice) / 1e6
		if got := spent().CostUSD; math.Abs(got-cost) > 1e-9 || cost == 0 {
			t.Errorf("cost %v USD, want %v", got, cost)
		}
		return fmt.Sprintf("$%.3f", cost)
	})
}

// playResume kills every process of the CLI in the middle of a turn.
func playResume(t *testing.T, column *cliColumn) {
	s := newScene(t, column, toolScript)
	s.request.Prompt, s.request.Restart = "the number is 1729", town.RestartOnFailure
	agent := s.start(s.request)
	s.prove("resume after kill -9", func() string {
		s.turns(1)
		session := s.status("toast").SessionID
		s.message("please write one.txt", "")
		s.untilTool(agent.Workdir)
		before, since, killed := len(s.model.Requests()), s.newest(), time.Now()
		for _, p := range s.ofAgents() {
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // or it has ended with one before
		}
		s.release(agent.Workdir)
		waitFor(t, "request after the kill", func() bool { return len(s.model.Requests()) > before })
		r := s.model.Requests()[before]
		took := s.when(r).Sub(killed)
		s.since(since, func(e town.Event) bool { _, ok := ended(e); return ok })
		if a := s.status("toast"); mentions(r, "the number is 1729") != 1 || mentions(r, "please write one.txt") != 1 || a.SessionID != session || session == "" {
			t.Errorf("session %q became %q; the model was asked after %v: %+v", session, a.SessionID, took, r.Messages)
		}
		return "after " + seconds(took)
	})
}

// playHooks has the model try what a rule forbids, and stop before it is done.
func playHooks(t *testing.T, column *cliColumn) {
	asked := 0
	s := newScene(t, column, func(r *llmtest.Request) llmtest.Step {
		switch asked++; asked {
		case 1:
			return llmtest.Step{Tools: []llmtest.Tool{shell(r, "touch published && npm publish")}}
		case 3:
			return llmtest.Step{Tools: []llmtest.Tool{shell(r, "townd report done all is well and every test passes && echo reported")}}
		}
		return llmtest.Step{Text: "Well."}
	})
	s.request.BeadID = "bead-1"
	agent := s.start(s.request)
	s.untilStatus("toast", town.StatusExited)
	events := s.since(0, func(e town.Event) bool { return isState(e, town.StatusExited) })
	var told []string
	for _, r := range s.model.Requests() {
		told = append(told, news(r))
	}
	s.prove("hook denies a tool", func() string {
		denied := denials(events, town.HookToolBefore)
		if _, err := os.Lstat(filepath.Join(agent.Workdir, "published")); err == nil || len(denied) != 1 {
			t.Fatalf("the tool ran (%v), or was not denied once: %q", err == nil, denied)
		}
		if !strings.Contains(told[1], denied[0]) {
			t.Errorf("the model was told %q, want the reason %q", told[1], denied[0])
		}
		return "yes"
	})
	s.prove("stop hook", func() string {
		if len(told) < 3 || !strings.Contains(told[2], "is still open") {
			t.Fatalf("the model was not sent back: %q", told)
		}
		a := s.status("toast")
		if a.Reason != town.ReasonDone {
			t.Errorf("reason %q, want done", a.Reason)
		}
		denied := denials(events, town.HookStop)
		if tableLimits["stop hook"][column.cli] != "" {
			if len(denied) != 0 || a.Turn.Count != 2 {
				t.Errorf("%d turns, the hook denied %q; want a second turn, begun by the town alone", a.Turn.Count, denied)
			}
			return "the town begins the next turn"
		}
		if len(denied) != 1 || a.Turn.Count != 1 {
			t.Errorf("%d turns, the hook denied %q; want it to go on with its turn, once", a.Turn.Count, denied)
		}
		return "its own hook"
	})
}
