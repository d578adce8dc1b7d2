package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"townd/supervisor/keeper"
	"townd/town"
)

// Stop ends the agent and returns when no process of it is left. Stopping an
// agent that has ended changes nothing. When ctx ends the stop goes on.
func (s *Supervisor) Stop(ctx context.Context, id string, req town.StopRequest) (town.Agent, error) {
	if err := req.Validate(); err != nil {
		return town.Agent{}, err
	}
	a, err := s.find(id)
	if err != nil {
		return town.Agent{}, err
	}
	return ask(ctx, a, func(reply func(town.Agent, error)) { a.halt(req, reply) })
}

func (a *agent) halt(req town.StopRequest, reply func(town.Agent, error)) {
	view := &a.rec.Agent
	a.cancelRestart()
	if !view.Status.Live() {
		a.publish()
		reply(a.view(), nil)
		return
	}
	if a.settling {
		a.ended = append(a.ended, func(error) { a.halt(req, reply) }) // once more, lest it is started again
		return
	}
	a.ended = append(a.ended, func(err error) { reply(a.view(), err) })
	if view.Status == town.StatusStarting {
		a.rec.Intent = town.ReasonStopped
		a.become(town.StatusStopping, "")
		a.launch.cancel(errStopped)
		return
	}
	a.end(town.ReasonStopped, req)
}

// end begins to end a running agent, or hastens the end that is under way:
// first the CLI's own interrupt, then as req says. The agent has ended once
// settle is called.
func (a *agent) end(intent town.Reason, req town.StopRequest) {
	grace := town.DefaultGrace
	if req.GraceSeconds != nil {
		grace = time.Duration(*req.GraceSeconds * float64(time.Second))
	}
	how := keeper.End{Signal: termSignal, Grace: grace}
	if req.Signal == "SIGKILL" {
		how = keeper.End{Signal: killSignal}
	}
	first := a.rec.Agent.Status == town.StatusRunning
	if a.launch != nil && !first || a.settling {
		return // endTree follows when the start is decided, and nothing when it has ended
	}
	if first {
		a.rec.Intent = intent
		a.become(town.StatusStopping, "")
		if a.launch != nil { // a next turn is being started: endTree follows when that is decided
			a.launch.cancel(errStopped)
			return
		}
		if a.rec.Agent.PID == nil { // between the turns of a CLI that ends with each
			a.settle(keeper.Exit{Asked: true, At: time.Now()})
			return
		}
	}
	interrupt := a.cli.Interrupt()
	if !first || how.Signal == killSignal || a.rec.Agent.Turn.State != town.TurnWorking {
		interrupt = nil
	}
	a.endTree(how, interrupt)
}

// endTree ends the run's processes. Their exit comes by way of the feed, as any.
func (a *agent) endTree(how keeper.End, interrupt []byte) {
	run := a.rec.Agent.RunID
	a.s.wg.Go(func() {
		// Owed even when whoever asked has gone; ends with the tree or the supervisor.
		ctx := a.s.ctx
		if len(interrupt) > 0 && how.Grace > 0 {
			wait := min(how.Grace/4, interruptWait)
			how.Grace -= wait
			asked, cancel := context.WithTimeout(ctx, wait)
			if err := a.s.keeper.client().Input(asked, run, "", interrupt); err == nil {
				a.waitTurnEnd(asked)
			}
			cancel()
		}
		exit, err := a.s.keeper.client().End(ctx, run, how)
		switch {
		case err != nil && ctx.Err() == nil && !errors.Is(err, town.ErrUnavailable):
			a.log.Error("tree not ended", "run", run, "error", err)
			a.post(func() { a.endFailed(err) })
		case len(exit.Survivors) > 0:
			a.log.Error("processes survived", "run", run, "pids", exit.Survivors)
		}
	})
}

// waitTurnEnd returns when the agent's turn has ended or ctx has.
func (a *agent) waitTurnEnd(ctx context.Context) {
	for a.snapshot.Load().Turn.State == town.TurnWorking {
		if a.events.wait(ctx, a.events.newest()) != nil {
			return
		}
	}
}

// interruptWait is what a CLI gets to end its turn by itself before SIGTERM.
const interruptWait = time.Second

var errStopped = fmt.Errorf("stopped: %w", town.ErrConflict)

// endFailed tells those who wait that the tree could not be ended. The agent
// stays stopping: another stop tries again.
func (a *agent) endFailed(err error) {
	if a.rec.Agent.Status != town.StatusStopping {
		return
	}
	a.rec.Agent.Error = err.Error()
	a.publish()
	a.runEnded(err)
}

// settle saves the work of the agent, of which no process is left, and records its end.
func (a *agent) settle(exit keeper.Exit) {
	a.whenSaved(func() { a.settled(exit) })
}

func (a *agent) settled(exit keeper.Exit) {
	status, reason := outcome(exit, a.rec.Intent, a.rec.Report.State, a.rec.Failure)
	view := &a.rec.Agent
	if exit.Asked && exit.Signal == "" && exit.Code == 0 && view.PID == nil {
		view.ExitCode = nil // nothing ran
	} else {
		view.ExitCode = new(exit.Code)
	}
	view.Signal = exit.Signal
	var err error
	switch {
	case len(exit.Survivors) > 0:
		err = fmt.Errorf("agent %s: processes survived: %v", a.id, exit.Survivors)
		view.Error = err.Error()
	case status == town.StatusFailed:
		view.Error = a.rec.FailureText
	}
	crashed := status == town.StatusFailed && reason == town.ReasonCrashed
	a.finish(status, reason, crashed && a.mayRestart())
	if exit.Escalated {
		a.s.counters.escalations.Add(1)
	}
	a.kept = view.RunID
	if !crashed || !a.scheduleRestart() {
		a.dropRun()
	}
	a.runEnded(err)
}

// dropRun lets the keeper forget the run that was kept for the next start.
func (a *agent) dropRun() {
	if run := a.kept; run != "" {
		a.kept = ""
		a.s.unroute(run)
		a.s.wg.Go(func() { a.s.forgetRun(run) })
	}
}

// finish publishes the agent's end and gives back what it held. Messages that wait
// are kept for a start that follows by itself.
func (a *agent) finish(status town.Status, reason town.Reason, again bool) {
	view := &a.rec.Agent
	view.PID, view.ExitedAt = nil, new(time.Now().UTC())
	view.LastActivityAt = a.view().LastActivityAt
	view.Turn.State = town.TurnNone
	if !again {
		for _, m := range a.rec.Queue {
			a.emit(town.EventMessage, town.MessageData{MessageID: m.ID, Receipt: town.ReceiptFailed})
		}
		a.rec.Queue = nil
	}
	a.rec.Giving, a.rec.Replacing, a.rec.Retune = giving{}, false, false
	a.s.forgetCapability(a.note.Capability)
	for id, reply := range a.typed {
		delete(a.typed, id)
		reply(fmt.Errorf("agent %s has ended: %w", a.id, town.ErrConflict))
	}
	if a.stop != nil {
		a.stop(errStopped)
		a.stop = nil
	}
	if !again {
		a.owe(status, reason)
	}
	a.become(status, reason)
	a.tellOwed()
	if feed := a.feed.Load(); feed != nil {
		feed.end()
	}
	a.resources.Store(nil)
	a.stalled.Store(nil)
	a.release()
	a.s.counters.mu.Lock()
	a.s.counters.stops[reason]++
	a.s.counters.mu.Unlock()
}

// runEnded lets those go on who waited for the end; err says that it failed.
func (a *agent) runEnded(err error) {
	waiting := a.ended
	a.ended = nil
	for _, f := range waiting {
		f(err)
	}
}

// release gives back the agent's place and its branch.
func (a *agent) release() {
	if a.held != "" {
		a.s.release(a, a.held)
		a.held = ""
	}
}
