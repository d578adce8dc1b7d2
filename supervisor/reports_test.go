package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"townd/coordinator"
	"townd/supervisor"
	"townd/town"
)

// ledger is a coordinator that writes down what it is told.
type ledger struct {
	mu     sync.Mutex
	ends   []town.Completion
	events map[string][]town.AgentEvent // by agent, once each by run and id
	seen   map[string]bool
	status string // of the newest heartbeat
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch path.Base(r.URL.Path) {
	case "heartbeat":
		var beat town.Heartbeat
		_ = json.Unmarshal(body, &beat)
		l.status = beat.Status
	case "completed":
		var c town.Completion
		_ = json.Unmarshal(body, &c)
		if key := r.Header.Get("Idempotency-Key"); !l.seen[key] {
			l.seen[key] = true
			l.ends = append(l.ends, c)
		}
	case "events":
		var in struct{ Events []town.AgentEvent }
		_ = json.Unmarshal(body, &in)
		for _, e := range in.Events {
			if key := fmt.Sprint(e.RunID, e.ID); !l.seen[key] {
				l.seen[key] = true
				l.events[e.AgentID] = append(l.events[e.AgentID], e)
			}
		}
	}
	_, _ = io.WriteString(w, `{"heartbeat":true,"orders":[]}`)
}

// of returns the ends that were told of an agent.
func (l *ledger) of(agent string) (ends []town.Completion) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.ends {
		if c.AgentID == agent {
			ends = append(ends, c)
		}
	}
	return ends
}

// linked is a town that reports over a real outbox.
type linked struct {
	*testTown
	*ledger
	server *httptest.Server
	link   *coordinator.Link
}

// Heartbeat, Apply and Replaced are part of coordinator.Town; so is the Supervisor's Instance.
func (lt *linked) Heartbeat() town.Heartbeat {
	status := "ok"
	if lt.Stats().Draining {
		status = "draining"
	}
	return town.Heartbeat{Status: status, Agents: lt.Heartbeats()}
}
func (lt *linked) Apply(context.Context, town.Order) error { return nil }
func (lt *linked) Replaced(context.Context)                {}

func newLinked(t *testing.T) *linked {
	lt := &linked{testTown: newTown(t), ledger: &ledger{events: make(map[string][]town.AgentEvent), seen: make(map[string]bool)}}
	lt.server = httptest.NewServer(lt.ledger)
	t.Cleanup(lt.server.Close)
	return lt
}

// openLink has a new server of the town report.
func (lt *linked) openLink() {
	lt.t.Helper()
	link, err := coordinator.Open(lt.t.Context(), coordinator.Config{
		Path: filepath.Join(lt.home, "outbox.db"), URL: lt.server.URL, TownID: "town", Every: time.Hour, Log: lt.config.Log,
		HTTP: &http.Transport{DisableKeepAlives: true},
	})
	if err != nil {
		lt.t.Fatal(err)
	}
	lt.link, lt.config.Reports = link, link
	lt.reopen()
	link.Start(lt)
}

// closeLink ends it, when all was delivered.
func (lt *linked) closeLink() {
	lt.t.Helper()
	lt.flush()
	lt.config.Reports = nil
	lt.link.Stop()
	lt.reopen()
	if err := lt.link.Close(); err != nil {
		lt.t.Error(err)
	}
}

func (lt *linked) flush() {
	lt.t.Helper()
	ctx, cancel := context.WithTimeout(lt.t.Context(), 30*time.Second)
	defer cancel()
	if err := lt.link.Flush(ctx); err != nil {
		lt.t.Fatal(err)
	}
}

// untilEnds waits until that many ends were told of an agent.
func (lt *linked) untilEnds(agent string, n int) []town.Completion {
	lt.t.Helper()
	waitFor(lt.t, fmt.Sprintf("%d ends of %s", n, agent), func() bool { return len(lt.of(agent)) >= n })
	return lt.of(agent)
}

// N4, N11: an agent's end is told once, with what it left, after its work was saved.
func TestEndsAreToldWithTheWorkSaved(t *testing.T) {
	lt := newLinked(t)
	lt.openLink()
	defer lt.closeLink()
	req := lt.script("toast", "echo one >one.txt; echo ready; exit 3")
	req.Generation, req.BeadID = 4, "b1"
	a := lt.start(req)
	end := lt.untilEnds("toast", 1)[0]
	if end.Status != town.CompletionFailed || end.Reason != town.ReasonCrashed || end.ExitCode == nil || *end.ExitCode != 3 || end.Generation != 4 ||
		end.RunID != a.RunID || end.BeadID != "b1" || end.Branch != req.Branch || end.ExitedAt == nil || len(end.Checkpoint) != 40 {
		t.Errorf("told %+v", end)
	}
	if files := lt.savedFiles("toast"); !slices.Contains(files, "one.txt") {
		t.Errorf("saved when it was told: %q", files)
	}
	lt.start(lt.request("crumb", "sleep"))
	lt.stopped("crumb", town.StopRequest{})
	if end := lt.untilEnds("crumb", 1)[0]; end.Status != town.CompletionCompleted || end.Reason != town.ReasonStopped {
		t.Errorf("told %+v", end)
	}
	if err := lt.Forget(t.Context(), "crumb"); err != nil {
		t.Error(err)
	}
	lt.flush()
	lt.mu.Lock()
	defer lt.mu.Unlock()
	for agent, events := range lt.events {
		for i, e := range events {
			if e.ID != int64(i+1) || e.RunID == "" || e.RigID != "rig" {
				t.Errorf("event %d of %s is %+v", i, agent, e)
			}
		}
	}
	if n := len(lt.events["toast"]); n < 4 {
		t.Errorf("%d events of toast", n)
	}
	if len(lt.ends) != 2 {
		t.Errorf("%d ends told", len(lt.ends))
	}
}

// Who stops the agents of a drained town need not wait: the coordinator knows.
func TestACoordinatorKnowsOfADrainWhenItIsOver(t *testing.T) {
	lt := newLinked(t)
	lt.openLink()
	defer lt.closeLink()
	lt.start(lt.request("toast", "sleep"))
	lt.Drain(t.Context())
	lt.mu.Lock()
	defer lt.mu.Unlock()
	if lt.status != "draining" {
		t.Errorf("the coordinator was told %q last", lt.status)
	}
}

// hole takes reports and keeps none, as a server that is killed before it has written
// them.
type hole struct{}

func (hole) Event(string, town.AgentEvent)          {}
func (hole) Newest(string, string) (int64, bool)    { return 0, true }
func (hole) Draining(context.Context) error         { return nil }
func (hole) Ended(c town.Completion, stored func()) {}

// N11, N12: what a server had not written down when it was killed, the next one tells.
func TestKilledServersReportsAreMadeUpFor(t *testing.T) {
	lt := newLinked(t)
	lt.config.Reports = hole{}
	lt.reopen()
	lt.start(lt.script("toast", "echo ready; exit 3"))
	lt.untilStatus("toast", town.StatusFailed)
	lt.start(lt.script("toast", "echo ready; exit 0")) // a second run does not make the first one's end forgotten
	lt.untilStatus("toast", town.StatusExited)
	lt.start(lt.request("crumb", "sleep"))
	forgetting, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if err := lt.Forget(forgetting, "toast"); err == nil {
		t.Error("an agent was forgotten whose end is in no outbox")
	}
	lt.openLink()
	defer lt.closeLink()
	ends := lt.untilEnds("toast", 2)
	if ends[0].Status != town.CompletionFailed || ends[1].Status != town.CompletionCompleted || ends[0].RunID == ends[1].RunID {
		t.Errorf("told %+v", ends)
	}
	lt.flush()
	lt.mu.Lock()
	for agent, events := range lt.events {
		page, err := lt.Events(agent, 0, 1000)
		if err != nil || len(page.Events) != len(events) {
			t.Errorf("%d events told of %s, it has %d, %v", len(events), agent, len(page.Events), err)
		}
	}
	lt.mu.Unlock()
	waitFor(t, "forgetting", func() bool { return lt.Forget(t.Context(), "toast") == nil })
	lt.stopped("crumb", town.StopRequest{})
	lt.untilEnds("crumb", 1)
}

// When the outbox itself was lost, what is still known is told again.
func TestLostOutboxIsFilledAgain(t *testing.T) {
	lt := newLinked(t)
	lt.openLink()
	lt.start(lt.script("toast", "exit 0"))
	lt.untilEnds("toast", 1)
	lt.closeLink()
	lt.mu.Lock()
	lt.ends, lt.seen, lt.events = nil, make(map[string]bool), make(map[string][]town.AgentEvent)
	lt.mu.Unlock()
	for _, name := range []string{"outbox.db", "outbox.db-wal", "outbox.db-shm"} {
		if err := os.Remove(filepath.Join(lt.home, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	lt.openLink()
	defer lt.closeLink()
	lt.untilEnds("toast", 1)
	lt.flush()
	lt.mu.Lock()
	defer lt.mu.Unlock()
	if len(lt.events["toast"]) < 3 {
		t.Errorf("%d events told again", len(lt.events["toast"]))
	}
}

// An agent that its restart policy starts again has not ended; once it is stopped, or
// given up, it has, and that is told once.
func TestEndsBeforeARestartAreNotTold(t *testing.T) {
	lt := newLinked(t)
	lt.openLink()
	defer lt.closeLink()
	crash := lt.script("crasher", "echo ready; exit 3")
	crash.Restart = town.RestartOnFailure
	lt.start(crash)
	lt.until("crasher", town.EventState, func(data map[string]any) bool { return data["status"] == "failed" })
	if a, err := lt.Agent("crasher"); err != nil || a.Restart == nil || a.Restart.NextAt == nil {
		waitFor(t, "a planned restart", func() bool { a, _ := lt.Agent("crasher"); return a.Restart.NextAt != nil })
	}
	if ends := lt.of("crasher"); len(ends) != 0 {
		t.Errorf("told %+v", ends)
	}
	lt.stopped("crasher", town.StopRequest{})
	if ends := lt.untilEnds("crasher", 1); ends[0].Status == "" {
		t.Errorf("told %+v", ends)
	}
	// The same when a new start takes the place of the planned one.
	again := crash
	again.AgentID, again.Branch = "again", "polecat/again/bead"
	lt.start(again)
	waitFor(t, "a planned restart", func() bool { a, _ := lt.Agent("again"); return a.Restart.NextAt != nil })
	next := again
	next.Generation, next.Restart, next.Command = 1, "", []string{"bash", "-c", "exit 0"}
	lt.start(next)
	ends := lt.untilEnds("again", 2)
	if ends[len(ends)-1].Generation != 1 || ends[len(ends)-1].Status != town.CompletionCompleted {
		t.Errorf("told %+v", ends)
	}
}

// A server that was killed while it started an agent leaves its record as it was then:
// the agent never ran, and its end is told as that.
func TestAStartThatTheServersEndCutOffIsToldAsThat(t *testing.T) {
	lt := newLinked(t)
	lt.openLink()
	a := lt.start(lt.script("toast", "exit 0"))
	lt.untilEnds("toast", 1)
	lt.closeLink()
	path := filepath.Join(lt.home, "agents/toast/record.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rec map[string]any
	if err := json.Unmarshal(data, &rec); err != nil {
		t.Fatal(err)
	}
	agent := rec["agent"].(map[string]any)
	agent["status"], agent["reason"], agent["runId"], agent["generation"] = town.StatusStarting, "", "the-next-run", a.Generation+1
	if data, err = json.Marshal(rec); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	lt.openLink()
	defer lt.closeLink()
	end := lt.untilEnds("toast", 2)[1]
	if end.Reason != town.ReasonCutOff || end.Status != town.CompletionFailed || end.Generation != a.Generation+1 || end.RunID != "the-next-run" {
		t.Errorf("told %+v", end)
	}
	if got, err := lt.Agent("toast"); err != nil || got.Status != town.StatusFailed || got.Reason != town.ReasonCutOff || got.Error == "" {
		t.Errorf("Agent() = %+v, %v", got, err)
	}
}

// C8: a heartbeat shows what an agent does.
func TestHeartbeatsShowWhatAgentsDo(t *testing.T) {
	tt := newTown(t)
	tt.start(tt.request("toast", "sleep"))
	beats := tt.Heartbeats()
	if len(beats) != 1 {
		t.Fatalf("%d agents", len(beats))
	}
	b := beats[0]
	page, err := tt.Events("toast", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	last := page.Events[len(page.Events)-1]
	if b.AgentID != "toast" || b.RigID != "rig" || b.Role != town.RolePolecat || b.Status != town.StatusRunning || b.RunID == "" ||
		b.LastEventType != last.Event || b.LastEventAt == nil || !b.LastEventAt.Equal(last.Timestamp) || b.Cursor != last.ID || b.MessageCount != last.ID ||
		b.ActiveTools == nil || b.LastActivityAt == nil {
		t.Errorf("heartbeat %+v, last event %+v", b, last)
	}
	id, at := tt.Instance()
	if id == "" || at.IsZero() {
		t.Errorf("instance %q since %v", id, at)
	}
	tt.reopen()
	if again, _ := tt.Instance(); again != id {
		t.Errorf("a new server is instance %s, the one before was %s", again, id)
	}
	killProcess(t, tt.Stats().KeeperPID)
	waitFor(t, "another keeper", func() bool { again, _ := tt.Instance(); return again != id && tt.Stats().KeeperPID != 0 })
	if b := tt.untilStatus("toast", town.StatusFailed); b.Reason != town.ReasonKilled {
		t.Errorf("agent %+v", b)
	}
}

var _ supervisor.Reports = (*coordinator.Link)(nil)
