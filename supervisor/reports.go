package supervisor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"townd/town"
)

// Reports takes what a coordinator is to be told. Its methods are called by agents'
// own goroutines, so they wait for nothing.
type Reports interface {
	// Event takes an event of the log with that epoch, each agent's in order.
	Event(epoch string, e town.AgentEvent)
	// Newest returns the id of the newest event of an agent's log that was taken and
	// survives; known is false for a log that nothing is known of. What follows that
	// event is told again when a server begins.
	Newest(agentID, epoch string) (id int64, known bool)
	// Ended takes the end of a run, and calls stored when that survives this process.
	// Until then the end is kept here, and told again by the next server.
	Ended(c town.Completion, stored func())
	// Draining tells that nothing is started any more, and returns when the coordinator
	// knows, else why it does not, or ctx's error. Any goroutine may call it.
	Draining(ctx context.Context) error
}

// tellPatience bounds how long the end of the town waits for the coordinator to know
// of it. Its agents are saved meanwhile.
const tellPatience = 2 * time.Second

// tellDraining tells the coordinator that the town drains.
func (s *Supervisor) tellDraining(ctx context.Context, patience time.Duration) {
	if s.cfg.Reports == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, min(patience, tellPatience))
	defer cancel()
	if err := s.cfg.Reports.Draining(ctx); err != nil && !errors.Is(err, town.ErrGone) {
		s.log.Warn("coordinator not told that the town drains", "error", err)
	}
}

// reported is an event as a coordinator sees it.
func (a *agent) reported(e town.Event, run string) town.AgentEvent {
	return town.AgentEvent{AgentID: a.id, RigID: a.rec.Agent.RigID, BeadID: a.rec.Agent.BeadID, RunID: run, Event: e}
}

// owe notes that the end of the newest run is to be told, once. The record is saved
// by the caller, and tellOwed follows.
func (a *agent) owe(status town.Status, reason town.Reason) {
	view := &a.rec.Agent
	if a.s.cfg.Reports == nil || view.RunID == "" || a.rec.EndOwed == view.RunID {
		return
	}
	c := town.Completion{
		AgentID: a.id, RigID: view.RigID, BeadID: view.BeadID, RunID: view.RunID, Generation: view.Generation,
		Status: town.CompletionCompleted, Reason: reason, Error: view.Error, ExitCode: view.ExitCode, Signal: view.Signal,
		Branch: view.Branch, Checkpoint: a.rec.Checkpoint.Commit, StartedAt: view.StartedAt, ExitedAt: view.ExitedAt, Usage: view.Usage,
	}
	if status == town.StatusFailed {
		c.Status = town.CompletionFailed
	}
	a.rec.EndOwed = view.RunID
	a.rec.Owed = append(slices.Clone(a.rec.Owed), c)
	a.dirty = true
}

// tellOwed tells of the ends that are owed, each once in this process.
func (a *agent) tellOwed() {
	if a.s.cfg.Reports == nil {
		return
	}
	for _, c := range a.rec.Owed {
		if !a.telling[c.RunID] {
			a.telling[c.RunID] = true
			a.s.cfg.Reports.Ended(c, func() { a.post(func() { a.told(c.RunID) }) })
		}
	}
}

// told takes in that the end of a run is owed no more.
func (a *agent) told(run string) {
	delete(a.telling, run)
	a.rec.Owed = slices.DeleteFunc(slices.Clone(a.rec.Owed), func(c town.Completion) bool { return c.RunID == run })
	a.dirty = true
	a.save()
	if len(a.rec.Owed) > 0 {
		return
	}
	waiting := a.whenTold
	a.whenTold = nil
	for _, f := range waiting {
		f()
	}
}

// afterTold calls f on live once no end is owed: what is forgotten cannot be told.
func (a *agent) afterTold(f func()) {
	if len(a.rec.Owed) == 0 || a.s.cfg.Reports == nil {
		f()
		return
	}
	a.whenTold = append(a.whenTold, f)
}

// catchUp reports what earlier servers did not come to report. live is not yet
// running.
func (a *agent) catchUp() {
	if a.s.cfg.Reports == nil {
		return
	}
	newest, known := a.s.cfg.Reports.Newest(a.id, a.events.epoch)
	if a.events.newest() > newest {
		a.reportSince(newest)
	}
	view := &a.rec.Agent
	if pending := view.Restart != nil && view.Restart.NextAt != nil; !known && !view.Status.Live() && !pending {
		a.rec.EndOwed = "" // whoever knew that it was told is gone
		a.owe(view.Status, view.Reason)
	}
	a.tellOwed()
}

// reportSince reports the events after one, with a gap before them when some are no
// longer held.
func (a *agent) reportSince(after int64) {
	next, run := after+1, ""
	err := a.events.since(after, func(e storedEvent) {
		run = cmp.Or(e.Run, run, a.rec.Agent.RunID)
		if e.ID > next {
			data, _ := json.Marshal(town.GapData{From: e.ID}) // a struct of numbers
			gap := town.Event{ID: e.ID - 1, Event: town.EventGap, Data: data, Timestamp: e.Timestamp}
			a.s.cfg.Reports.Event(a.events.epoch, a.reported(gap, run))
		}
		next = e.ID + 1
		a.s.cfg.Reports.Event(a.events.epoch, a.reported(e.Event, run))
	})
	if err != nil {
		a.log.Error("events not reported", "error", err)
	}
}

// maxActiveTools bounds the tools that a heartbeat names.
const maxActiveTools = 16

// nameTools publishes which tools are being called.
func (a *agent) nameTools() {
	names := make([]string, 0, len(a.tools))
	for _, call := range a.tools {
		names = append(names, call.name)
	}
	slices.Sort(names)
	names = names[:min(len(names), maxActiveTools)]
	a.busyWith.Store(&names)
}

// Heartbeats returns what a heartbeat tells of every agent that is not forgotten, in
// order of id.
func (s *Supervisor) Heartbeats() []town.AgentHeartbeat {
	all := s.all()
	beats := make([]town.AgentHeartbeat, 0, len(all))
	for _, a := range all {
		beats = append(beats, a.heartbeat())
	}
	slices.SortFunc(beats, func(a, b town.AgentHeartbeat) int { return cmp.Compare(a.AgentID, b.AgentID) })
	return beats
}

func (a *agent) heartbeat() town.AgentHeartbeat {
	view := a.view()
	id, kind, at := a.events.last()
	h := town.AgentHeartbeat{
		AgentID: view.AgentID, RigID: view.RigID, BeadID: view.BeadID, Role: view.Role, Status: view.Status, Reason: view.Reason,
		RunID: view.RunID, Generation: view.Generation, Turn: view.Turn, LastActivityAt: view.LastActivityAt, LastEventType: kind,
		ActiveTools: []string{}, MessageCount: id, Cursor: id, Usage: view.Usage, Resources: view.Resources,
	}
	if id > 0 {
		h.LastEventAt = &at
	}
	if names := a.busyWith.Load(); names != nil && view.Turn.State == town.TurnWorking {
		h.ActiveTools = *names
	}
	return h
}

// machine names the machine as long as it runs.
var machine = sync.OnceValue(func() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it the rest has to do
	host, _ := os.Hostname()
	return strings.TrimSpace(string(boot)) + " " + host
})

// Instance names the container by its keeper: a server that is started again has the
// same, another keeper, on this machine or another, a new one.
func (s *Supervisor) Instance() (id string, startedAt time.Time) {
	s.keeper.mu.Lock()
	info := s.keeper.info
	s.keeper.mu.Unlock()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", machine(), info.PID, info.StartedAt.UnixNano()))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16])), info.StartedAt
}
