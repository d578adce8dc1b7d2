package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"townd/supervisor/agentcli"
	"townd/town"
)

// agent is one agent. Its goroutine, live, owns the record and all that changes
// with it; requests are functions that live runs one after another, so they
// never wait for anything: what takes time runs beside it and posts its result.
type agent struct {
	id     string
	s      *Supervisor
	dir    string
	log    *slog.Logger
	events *eventLog
	inbox  chan func()
	gone   chan struct{} // closed when the agent is forgotten

	// Published by live for everybody.
	snapshot   atomic.Pointer[town.Agent]
	feed       atomic.Pointer[runFeed]
	resources  atomic.Pointer[town.Resources]
	stalled    atomic.Pointer[string]
	structured atomic.Bool
	busyWith   atomic.Pointer[[]string] // names of the tools that are being called; never changed, only replaced
	uid        atomic.Uint32
	request    atomic.Pointer[town.StartRequest] // as in rec; never changed, only replaced
	metered    meter                             // what the gateway counted in this run
	keeping    sync.Mutex                        // held by who writes the artifacts of a run

	// Owned by live.
	rec         record
	env         map[string]string // the caller's envVars
	note        note
	cli         agentcli.CLI
	launch      *launching    // a start or a next turn that is under way
	restarting  bool          // the start that is under way is its restart policy's
	restartAt   time.Time     // when a crashed agent is started again; zero if it is not
	kept        string        // the ended run that the keeper still holds, for its note
	ended       []func(error) // to be told when the agent has ended, or that it could not be
	held        string        // the branchKey it holds; then it counts against MaxAgents
	settling    bool          // no process of it is left; its worktree is being saved, its end is recorded next
	saving      bool          // its worktree is being saved
	savedAt     time.Time     // when that was begun last
	discarding  bool          // its worktree is being removed, it is forgotten next
	forgotten   bool
	interrupted string                 // id of the newest message that a turn was interrupted for
	tools       map[string]toolCall    // calls under way, by id
	typed       map[string]func(error) // by message id: who waits for its delivery
	telling     map[string]bool        // runs whose end Reports was given in this process
	whenTold    []func()               // to be called when no end is owed
	dirty       bool                   // rec has changes that are not yet saved
	adopted     bool                   // its process was started by an earlier server
	runCtx      context.Context        // of the present run's goroutines; ended by stop
	stop        context.CancelCauseFunc
}

// runFeed is the Feed of one run.
type runFeed struct {
	*Feed
	run    string
	person person // who types into its terminal besides us
}

// launching is a start under way. reply is called once, when it is decided.
type launching struct {
	cancel context.CancelCauseFunc
	reply  []func(town.Agent, error)
}

// live runs the agent's requests until the supervisor closes or the agent is
// forgotten.
func (a *agent) live() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if at := a.due(); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case request := <-a.inbox:
			request()
		case <-timer.C:
			a.timeUp(time.Now())
		case <-a.gone:
			return
		case <-a.s.ctx.Done():
			a.save()
			return
		}
	}
}

// due returns when timeUp has something to do next, zero for never.
func (a *agent) due() time.Time {
	if !a.restartAt.IsZero() {
		return a.restartAt
	}
	if a.rec.Agent.Status != town.StatusRunning {
		return time.Time{}
	}
	return nextCheck(a.rec.Request.Limits, a.rec.Since, a.feed.Load().lastActivity(), a.rec.Warned)
}

// timeUp restarts an agent whose back-off is over, and looks at one whose time
// may be.
func (a *agent) timeUp(now time.Time) {
	at := a.due()
	if at.IsZero() || now.Before(at) {
		return
	}
	if !a.restartAt.IsZero() {
		a.restart()
		return
	}
	a.checkLimits()
}

// post hands f to live; it is dropped when the agent is forgotten or we close.
func (a *agent) post(f func()) {
	select {
	case a.inbox <- f:
	case <-a.gone:
	case <-a.s.ctx.Done():
	}
}

// ask runs f on live and waits for its reply, which may come later. When ctx
// ends first the request goes on: it may be repeated.
func ask[T any](ctx context.Context, a *agent, f func(reply func(T, error))) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1) // of one: reply is called once, perhaps with nobody waiting
	request := func() { f(func(v T, err error) { done <- result{v, err} }) }
	var zero T
	select {
	case a.inbox <- request:
	case <-a.gone:
		return zero, errForgotten
	case <-a.s.ctx.Done():
		return zero, context.Cause(a.s.ctx)
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	}
	// live runs what it has taken and replies, to the one that has it forget too.
	select {
	case r := <-done:
		return r.value, r.err
	case <-a.s.ctx.Done():
		return zero, context.Cause(a.s.ctx)
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	}
}

// view is the agent as it is now.
func (a *agent) view() town.Agent {
	view := *a.snapshot.Load()
	if feed := a.feed.Load(); feed != nil {
		if at := feed.lastActivity(); !at.IsZero() {
			view.LastActivityAt = new(at.UTC())
		}
	}
	if r := a.resources.Load(); r != nil && view.Status.Live() {
		view.Resources = *r
	}
	return view
}

// publish makes the record's present state visible and saves it.
func (a *agent) publish() {
	a.uid.Store(a.rec.UID)
	a.snapshot.Store(new(a.rec.Agent))
	a.dirty = true
	a.save()
}

func (a *agent) save() {
	if !a.dirty {
		return
	}
	if err := a.rec.save(a.dir); err != nil {
		a.log.Error("record not saved", "error", err)
		return
	}
	a.dirty = false
}

// emit adds an event that was not decoded from output.
func (a *agent) emit(kind town.EventType, data any) {
	a.keep(kind, data, a.rec.Agent.RunID, nil)
}

// keep adds an event to the agent's log and reports it. pos is as in append.
func (a *agent) keep(kind town.EventType, data any, run string, pos *position) {
	e, added, err := a.events.append(kind, data, run, pos, time.Now())
	if err != nil {
		a.log.Error("event not kept", "event", kind, "error", err)
	}
	if added && a.s.cfg.Reports != nil {
		a.s.cfg.Reports.Event(a.events.epoch, a.reported(e, run))
	}
}

// become moves the agent to a status.
func (a *agent) become(status town.Status, reason town.Reason) {
	a.rec.Agent.Status, a.rec.Agent.Reason = status, reason
	a.publish()
	a.emit(town.EventState, town.StateData{Status: status, Reason: reason})
	a.log.Info("status", "status", status, "reason", reason, "run", a.rec.Agent.RunID)
}

// forget removes an ended agent's traces; its branch stays in the repository.
func (a *agent) forget() error {
	a.forgotten = true
	a.s.mu.Lock()
	delete(a.s.agents, a.id)
	a.s.mu.Unlock()
	close(a.gone)
	return errors.Join(a.events.close(), os.RemoveAll(a.dir))
}
