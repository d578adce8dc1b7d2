package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"townd/supervisor/agentcli"
	"townd/supervisor/keeper"
	"townd/town"
)

// adopt makes agents of the records that earlier servers left and joins them
// with what the keeper still holds. Nothing is started.
func (s *Supervisor) adopt(ctx context.Context) error {
	entries, err := os.ReadDir(s.agentDir(""))
	if err != nil {
		return fmt.Errorf("read agents: %w", err)
	}
	list, err := s.keeper.client().Runs(ctx)
	if err != nil {
		return fmt.Errorf("list runs: %w", err)
	}
	runs := make(map[string]keeper.Run, len(list))
	for _, run := range list {
		runs[run.ID] = run
	}
	for _, entry := range entries {
		rec, err := loadRecord(s.agentDir(entry.Name()))
		if err != nil || rec.Agent.AgentID != entry.Name() || rec.Agent.RunID == "" {
			if !errors.Is(err, town.ErrNotFound) {
				s.log.Error("agent's record not usable, left where it is", "agent", entry.Name(), "error", err)
			}
			continue
		}
		a, err := s.newAgent(entry.Name(), rec)
		if err != nil {
			return err
		}
		run, held := runs[rec.Agent.RunID]
		delete(runs, rec.Agent.RunID)
		s.mu.Lock()
		s.agents[a.id] = a
		s.mu.Unlock()
		a.adopt(run, held)
		s.wg.Go(a.live)
	}
	for id := range runs {
		s.log.Warn("run without an agent, ended", "run", id)
		s.wg.Go(func() { s.endStray(id) })
	}
	return nil
}

// endStray ends a run that no record speaks of.
func (s *Supervisor) endStray(run string) {
	if _, err := s.keeper.client().End(s.ctx, run, keeper.End{Signal: killSignal}); err != nil {
		s.log.Error("stray run not ended", "run", run, "error", err)
		return
	}
	s.forgetRun(run)
}

// forgetRun acknowledges the end of a run. It is owed even while we close: the
// keeper waits for it.
func (s *Supervisor) forgetRun(run string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), keeperTimeout)
	defer cancel()
	err := s.keeper.client().Forget(ctx, run)
	if err != nil && !errors.Is(err, town.ErrNotFound) && !errors.Is(err, town.ErrUnavailable) {
		s.log.Warn("run not forgotten", "run", run, "error", err)
	}
}

// adopt takes the agent up where an earlier server left it. live is not yet
// running. held says that the keeper holds the agent's run.
func (a *agent) adopt(run keeper.Run, held bool) {
	key := branchKey(a.rec.Request.RigID, a.rec.Request.Branch)
	a.s.users.restore(key, a.rec.UID)
	a.catchUp()
	cli, err := agentcli.Lookup(a.rec.Agent.CLI)
	if err != nil {
		a.log.Error("agent's CLI is not known here", "error", err)
		return
	}
	a.cli, a.adopted = cli, true
	a.request.Store(new(a.rec.Request))
	a.metered.set(a.rec.Metered)
	a.structured.Store(cli.Structured())
	feed := &runFeed{Feed: newFeed(a.rec.Request.Cols, a.rec.Request.Rows), run: a.rec.Agent.RunID}
	if at := a.rec.Agent.LastActivityAt; at != nil {
		feed.touch(*at)
	}
	a.feed.Store(feed)
	if held {
		a.recall(run, feed)
	}
	if !a.rec.Agent.Status.Live() {
		feed.end()
		if held {
			a.kept = run.ID
			a.s.route(run.ID, a)
		}
		if r := a.rec.Agent.Restart; held && r != nil && r.NextAt != nil {
			a.restartAt = *r.NextAt
		} else {
			a.cancelRestart()
			a.publish()
		}
		return
	}
	a.s.readmit(a, key)
	a.s.route(feed.run, a)
	a.resume(run, held)
}

// recall takes back what the keeper kept of the run.
func (a *agent) recall(run keeper.Run, feed *runFeed) {
	feed.update(run.Size, run.Seq, run.Exit, newestIn(run.Transcript))
	feed.resize(run.Cols, run.Rows)
	if err := json.Unmarshal(run.Note, &a.note); err != nil {
		a.log.Error("run's note not read", "error", err)
	}
	a.env = a.note.EnvVars
	if view := &a.rec.Agent; view.Workdir == "" {
		view.Workdir, a.rec.Base, a.rec.GID = a.note.Workdir, a.note.Base, a.note.GID
	}
	if a.rec.Agent.Status.Live() {
		a.s.know(a.note.Capability, a)
	}
	if a.s.cfg.Env != nil {
		a.s.cfg.Env(a.env)
	}
}

// giveAgain goes on with the message that an earlier server was giving to the
// program. The keeper writes what it has written already no second time.
func (a *agent) giveAgain() {
	if a.rec.Giving.ID == "" {
		a.rec.Giving = giving{}
	}
	for _, m := range a.rec.Queue {
		switch {
		case m.ID != a.rec.Giving.ID || a.rec.Giving.Spawned:
		case a.structured.Load():
			a.write(m)
		default:
			a.typeIn(m, true)
		}
	}
}

// resume goes on with a live agent's life.
func (a *agent) resume(run keeper.Run, held bool) {
	view := &a.rec.Agent
	if held && a.rec.Giving.Spawned && run.Seq < a.rec.Seq { // that process was never started
		a.rec.Seq, a.rec.Giving = run.Seq, giving{}
	}
	spawned := held && run.Seq == a.rec.Seq
	switch {
	case spawned && run.Exit != nil && view.PID == nil && view.Status == town.StatusRunning: // between turns
	case spawned: // its process runs, or has ended meanwhile
		view.PID = new(run.PID)
		if view.Status == town.StatusStarting {
			view.Status = town.StatusRunning
		}
		a.follow()
		switch {
		case run.Exit != nil:
		case view.Status == town.StatusStopping:
			a.endTree(keeper.End{Signal: termSignal, Grace: town.DefaultGrace}, nil)
		case a.rec.Replacing:
			a.replace()
		default:
			a.giveAgain()
		}
	case view.Status == town.StatusStarting:
		a.rec.Agent.Error = "the server ended while it started the program; start it again"
		a.finish(town.StatusFailed, town.ReasonCutOff, false)
		a.s.unroute(view.RunID)
		return
	default:
		a.lost()
		return
	}
	a.publish()
	a.deliverQueue()
	a.log.Info("adopted", "status", view.Status, "run", view.RunID)
}

// lost records that the keeper that held the agent's run is gone: what may be
// left of the tree is swept, the run is over.
func (a *agent) lost() {
	rec := a.rec
	a.s.wg.Go(func() {
		match := keeper.Match{UID: rec.UID}
		if rec.UID == 0 {
			match = keeper.Match{Marker: rec.Agent.RunID}
		}
		killed, err := keeper.Sweep(a.s.ctx, match, sweepGrace)
		if err != nil {
			a.log.Error("tree not swept", "error", err)
		}
		a.log.Warn("lost with its keeper", "run", rec.Agent.RunID, "killed", killed)
		a.post(func() {
			if a.rec.Agent.RunID != rec.Agent.RunID || !a.rec.Agent.Status.Live() {
				return
			}
			a.rec.Agent.Error = "its keeper died"
			status := town.StatusFailed
			if a.rec.Intent == town.ReasonStopped {
				status = town.StatusExited
			}
			a.rec.Cut = a.rec.Agent.Turn.State == town.TurnWorking
			a.whenSaved(func() {
				a.finish(status, town.ReasonKilled, a.rec.Intent == "" && a.mayRestart())
				a.s.unroute(rec.Agent.RunID)
				if a.rec.Intent == "" {
					a.scheduleRestart()
				}
				a.runEnded(nil)
			})
		})
	})
}

// sweepGrace is what the processes of a dead keeper get to end by themselves:
// their terminals have been hung up already.
const sweepGrace = time.Second
