package supervisor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"townd/gitmgr"
	"townd/supervisor/agentcli"
	"townd/supervisor/keeper"
	"townd/town"
)

// Start makes sure that the agent req describes runs. created is false when the
// identical request was being carried out already. It returns an *InvalidError
// for a request that cannot be carried out, ErrConflict when the agent runs to
// another specification, its branch is in use, or a newer generation of it is
// known, a *CapacityError when there is no room, ErrGit when its repository
// cannot be had, ErrUnavailable while the town drains. A newer generation of a
// running agent ends the older one first. When ctx ends the start goes on;
// repeating the request joins it.
func (s *Supervisor) Start(ctx context.Context, req town.StartRequest) (view town.Agent, created bool, err error) {
	if err := s.validate(&req); err != nil {
		return town.Agent{}, false, err
	}
	env := maps.Clone(req.EnvVars)
	req.EnvVars = nil
	req.CLI = cmp.Or(req.CLI, town.DefaultCLI)
	req.Cols, req.Rows = cmp.Or(req.Cols, town.DefaultCols), cmp.Or(req.Rows, town.DefaultRows)
	type started struct {
		view    town.Agent
		created bool
	}
	for {
		a, err := s.findOrMake(req.AgentID)
		if err != nil {
			return town.Agent{}, false, err
		}
		r, err := ask(ctx, a, func(reply func(started, error)) {
			a.start(req, env, func(view town.Agent, created bool, err error) { reply(started{view, created}, err) })
		})
		if errors.Is(err, errForgotten) {
			continue // forgotten between finding and asking
		}
		return r.view, r.created, err
	}
}

// validate checks what town, gitmgr and agentcli each know of req.
func (s *Supervisor) validate(req *town.StartRequest) error {
	var invalid town.InvalidError
	note := func(err error, path string) {
		if more, ok := errors.AsType[*town.InvalidError](err); ok {
			invalid.Issues = append(invalid.Issues, more.Issues...)
		} else if err != nil {
			invalid.Issues = append(invalid.Issues, town.Issue{Path: path, Message: err.Error()})
		}
	}
	note(req.Validate(), "")
	for _, f := range []struct {
		path, name string
		check      func(string) error
	}{
		{"branch", req.Branch, gitmgr.CheckBranch},
		{"defaultBranch", req.DefaultBranch, gitmgr.CheckBranch},
		{"startPoint", req.StartPoint, gitmgr.CheckStartPoint},
	} {
		if f.name != "" {
			note(f.check(f.name), f.path)
		}
	}
	if req.GitURL != "" {
		note(s.cfg.Git.CheckURL(req.GitURL), "gitUrl")
	}
	cli, err := agentcli.Lookup(cmp.Or(req.CLI, town.DefaultCLI))
	note(err, "cli")
	if err == nil && len(invalid.Issues) == 0 {
		_, err := cli.Launch(s.cliSpec(req, nil, "/", "/")) // says at once that a program is missing
		note(err, "cli")
	}
	note(checkNote(req.EnvVars), "envVars")
	if len(invalid.Issues) > 0 {
		return &invalid
	}
	return nil
}

// start decides what a start request means for the agent as it is.
func (a *agent) start(req town.StartRequest, env map[string]string, reply func(town.Agent, bool, error)) {
	view := &a.rec.Agent
	fail := func(format string, args ...any) {
		args = append([]any{a.id}, args...)
		reply(town.Agent{}, false, fmt.Errorf("agent %s "+format+": %w", append(args, town.ErrConflict)...))
	}
	same := sameRequest(a.rec.Request, req, a.env, env)
	switch {
	case a.forgotten:
		reply(town.Agent{}, false, errForgotten)
	case a.discarding, a.settling:
		a.afterEnd(req, env, reply)
	case req.Generation < view.Generation:
		fail("is of generation %d, newer than %d", view.Generation, req.Generation)
	case view.Status == town.StatusStopping:
		a.afterEnd(req, env, reply)
	case !view.Status.Live():
		a.begin(req, env, nil, func(v town.Agent, err error) { reply(v, err == nil, err) })
	case same && a.launch != nil:
		a.launch.reply = append(a.launch.reply, func(v town.Agent, err error) { reply(v, false, err) })
	case same:
		reply(a.view(), false, nil)
	case req.Generation > view.Generation:
		a.halt(town.StopRequest{}, func(town.Agent, error) {})
		a.afterEnd(req, env, reply)
	default:
		fail("is %s to another specification; stop it first, or start it with a higher generation", view.Status)
	}
}

// afterEnd decides a start once the agent has ended.
func (a *agent) afterEnd(req town.StartRequest, env map[string]string, reply func(town.Agent, bool, error)) {
	a.ended = append(a.ended, func(err error) {
		if err != nil {
			reply(town.Agent{}, false, err)
			return
		}
		a.start(req, env, reply)
	})
}

// begin starts an agent that is not live; again is set when its restart policy
// has it started, not a request.
func (a *agent) begin(req town.StartRequest, env map[string]string, again *town.RestartState, reply func(town.Agent, error)) {
	refuse := func(err error) {
		if a.rec.Agent.RunID == "" { // it never existed
			err = errors.Join(err, a.forget())
		}
		reply(town.Agent{}, err)
	}
	cli, err := agentcli.Lookup(req.CLI)
	if err != nil {
		refuse(err)
		return
	}
	key := branchKey(req.RigID, req.Branch)
	if err := a.s.admit(a, key); err != nil {
		refuse(err)
		return
	}
	a.held = key
	uid, err := a.s.userFor(key, req.RigID)
	if err != nil {
		a.release()
		refuse(err)
		return
	}
	a.dropRun()
	if again == nil {
		a.oweCrash()
	}
	before := a.rec
	a.cli, a.env, a.restartAt = cli, env, time.Time{}
	a.structured.Store(cli.Structured())
	a.note = note{Agent: a.id, EnvVars: env, Capability: rand.Text()}
	a.s.know(a.note.Capability, a)
	a.rec = newRecord(req, before, uid)
	if again != nil {
		a.rec.goesOn(before, again)
	}
	a.request.Store(new(a.rec.Request))
	a.metered.set(a.rec.Metered)
	clear(a.tools)
	a.nameTools()
	a.setFeed()
	a.tellOwed()
	a.s.linkBead(req.BeadID, a.rec.Agent.RunID)
	a.become(town.StatusStarting, "")
	first := a.firstMessage(again != nil, before.Cut)
	a.asked(first)
	a.spawn(first, func(v town.Agent, err error) {
		if before.Agent.RunID == "" && a.rec.Agent.Reason == town.ReasonStartFailed {
			err = errors.Join(err, a.forget()) // a start that failed leaves nothing behind
		}
		reply(v, err)
	})
}

// firstMessage returns what the first process of a structured CLI's run is started
// with, a zero message for nothing: the request's prompt, or after a crash what
// had not reached the agent then, or that it is to go on.
func (a *agent) firstMessage(again, cut bool) message {
	if !a.structured.Load() {
		return message{}
	}
	switch resumed := a.rec.Agent.SessionID != ""; {
	case again && resumed && cut && !a.cli.ResumesTurns():
		a.rec.Queue = slices.Insert(a.rec.Queue, 0, message{ID: a.ownID("resume"), Text: continueText, Queued: true})
	case again && (resumed || len(a.rec.Queue) > 0):
	case a.rec.Request.Prompt != "":
		a.rec.Queue = slices.Insert(a.rec.Queue, 0, message{ID: a.ownID("prompt"), Text: a.rec.Request.Prompt, Queued: true})
	}
	if len(a.rec.Queue) == 0 {
		return message{}
	}
	return a.rec.Queue[0]
}

// newRecord is the record of an agent about to start, which keeps from before
// what goes on: events, session, restarts.
func newRecord(req town.StartRequest, before record, uid uint32) record {
	now := time.Now().UTC()
	rec := record{
		Agent: town.Agent{
			AgentID: req.AgentID, RigID: req.RigID, TownID: req.TownID, Role: req.Role, Name: req.Name, BeadID: req.BeadID,
			CLI: req.CLI, Model: req.Model, Branch: req.Branch, Generation: req.Generation,
			RunID: town.NewID(now), StartedAt: &now, Turn: town.Turn{State: town.TurnNone},
			Workdir: before.Agent.Workdir,
		},
		Request: req, UID: uid, Epoch: before.Epoch, Base: before.Base, Receipts: before.Receipts, Checkpoint: before.Checkpoint,
		EndOwed: before.EndOwed, Owed: before.Owed,
	}
	if before.Agent.RunID != "" {
		rec.Runs = append(slices.Clone(before.Runs[max(0, len(before.Runs)-earlierRuns+1):]), before.Agent.RunID)
	}
	rec.Task, rec.Since = req.Prompt, now
	if req.Resume && req.CLI == before.Agent.CLI && before.Agent.SessionID != "" {
		rec.Agent.SessionID, rec.Task = before.Agent.SessionID, before.Task
	}
	if req.Restart == town.RestartOnFailure {
		rec.Agent.Restart = &town.RestartState{Policy: req.Restart}
	}
	return rec
}

// goesOn takes over what an agent that is started again by itself keeps: what waits
// for it, and what it has used of its budgets.
func (r *record) goesOn(before record, restart *town.RestartState) {
	r.Agent.Restart, r.Failures, r.Queue = restart, before.Failures, before.Queue
	r.Since, r.Told, r.Metered, r.Warned = before.Since, before.Told, before.Metered, before.Warned
	r.Agent.Turn.Count, r.Agent.Usage = before.Agent.Turn.Count, before.Agent.Usage
	r.Report, r.Reminders = before.Report, before.Reminders
}

// earlierRuns bounds the runs that an agent is known to have had.
const earlierRuns = 100

// setFeed gives the agent the feed of its new run and has the keeper's news of
// it delivered there.
func (a *agent) setFeed() {
	feed := &runFeed{Feed: newFeed(a.rec.Request.Cols, a.rec.Request.Rows), run: a.rec.Agent.RunID}
	feed.touch(*a.rec.Agent.StartedAt)
	a.feed.Store(feed)
	a.s.route(feed.run, a)
}

// spawn runs the agent's program: the first process of its run, or with a
// message the next turn. reply is told how it went.
func (a *agent) spawn(m message, reply func(town.Agent, error)) {
	ctx, cancel := context.WithCancelCause(a.s.ctx)
	a.launch = &launching{cancel: cancel, reply: []func(town.Agent, error){reply}}
	rec, env, held := a.rec, a.env, a.note // copies: live goes on owning the originals
	cli := a.cli
	a.s.wg.Go(func() {
		made, err := a.s.prepare(ctx, cli, &rec, env, held.Capability, m)
		if err == nil {
			held.Workdir, held.Base, held.GID = made.worktree.Dir, made.worktree.Base, made.gid
			made.spawn.Note, err = encodeNote(held)
		}
		if err == nil {
			made.run, err = a.s.spawnGated(ctx, made.spawn)
		}
		if err != nil && made.worktree.Created {
			a.s.undoWorktree(&rec)
		}
		a.post(func() { a.launched(made, err) })
	})
}

// spawnGated spawns when fewer than the gate's number of spawns are under way.
// Until then ctx ends it; once the keeper is asked, its answer is awaited: a
// process that was started must have an owner.
func (s *Supervisor) spawnGated(ctx context.Context, spawn keeper.Spawn) (keeper.Run, error) {
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
	case <-ctx.Done():
		return keeper.Run{}, context.Cause(ctx)
	}
	if ctx.Err() != nil {
		return keeper.Run{}, context.Cause(ctx)
	}
	s.counters.starts.Add(1)
	asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), keeperTimeout)
	defer cancel()
	return s.keeper.client().Spawn(asked, spawn)
}

// launched takes in how a spawn went.
func (a *agent) launched(m made, err error) {
	l := a.launch
	a.launch = nil
	l.cancel(nil)
	view := &a.rec.Agent
	stopping := view.Status == town.StatusStopping
	if m.worktree.Dir != "" {
		view.Workdir, a.rec.GID = m.worktree.Dir, m.gid
		if m.worktree.Created || a.rec.Base == "" {
			a.rec.Base = m.worktree.Base
		}
	}
	switch {
	case err == nil:
		if a.rec.Giving.ID == "" {
			a.rec.Giving = giving{}
		}
		a.running(m.run, len(m.spawn.Stdin) > 0)
		if stopping {
			a.endTree(keeper.End{Signal: termSignal, Grace: town.DefaultGrace}, nil)
			err = fmt.Errorf("agent %s was stopped while it started: %w", a.id, town.ErrConflict)
		}
	case stopping:
		err = fmt.Errorf("agent %s was stopped while it started: %w", a.id, town.ErrConflict)
		a.settle(keeper.Exit{Asked: true, At: time.Now()})
	default:
		a.notStarted(err)
	}
	for _, reply := range l.reply {
		if err != nil {
			reply(town.Agent{}, err)
		} else {
			reply(a.view(), nil)
		}
	}
	if !view.Status.Live() {
		a.runEnded(nil) // after the replies: one of them may have forgotten the agent
	}
}

// notStarted records a program that could not be started.
func (a *agent) notStarted(err error) {
	a.log.Warn("not started", "error", err)
	a.rec.Agent.Error = err.Error()
	a.finish(town.StatusFailed, town.ReasonStartFailed, a.restarting && a.mayRestart())
	a.s.unroute(a.rec.Agent.RunID)
}

// running records that process run of the agent lives, and follows its output.
// asked tells whether it was given something to do.
func (a *agent) running(run keeper.Run, asked bool) {
	view := &a.rec.Agent
	view.PID = new(run.PID)
	switch {
	case !a.structured.Load():
		view.Turn.State = town.TurnNone
	case asked:
		view.Turn.State = town.TurnWorking
	default:
		view.Turn.State = town.TurnIdle
	}
	if view.Status == town.StatusStarting {
		a.become(town.StatusRunning, "")
	} else {
		a.publish()
	}
	a.follow()
	a.deliverQueue()
}
