package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"townd/gitmgr"
	"townd/town"
)

// checkpointEvery is how often a live agent's worktree is saved at most, and only
// after output of its program: to look costs a git status.
const checkpointEvery = time.Minute

// The bounds of saving one worktree at an agent's end, and of bringing it to the remote.
const (
	endPatience  = 30 * time.Second
	pushPatience = 2 * time.Minute
)

// Saved is what Drain saved of one agent.
type Saved struct {
	AgentID    string
	Branch     string
	Status     town.Status
	Checkpoint town.CheckpointData // Commit is "" when everything is in commits of the branch
	Pushed     bool                // the remote has all of it, the branch's commits included
	Err        error
}

// Drain saves the worktrees of all agents, at once and until ctx ends, pushed where
// that is set. Agents go on; starts are refused from now on, until this process
// ends. It may be repeated. A worktree that cannot be saved does not keep the
// others from it: its Saved tells.
func (s *Supervisor) Drain(ctx context.Context) []Saved {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { s.tellDraining(ctx, tellPatience) })
	defer wg.Wait()
	return s.saveAll(ctx)
}

func (s *Supervisor) saveAll(ctx context.Context) []Saved {
	var mu sync.Mutex
	all := []Saved{}
	var wg sync.WaitGroup
	for _, a := range s.all() {
		wg.Go(func() {
			if saved, ok := a.saveNow(ctx); ok {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, saved)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(all, func(a, b Saved) int { return cmp.Compare(a.AgentID, b.AgentID) })
	return all
}

// saveNow saves and pushes the agent's worktree; ok is false when it has none.
func (a *agent) saveNow(ctx context.Context) (saved Saved, ok bool) {
	rec, err := ask(ctx, a, func(reply func(record, error)) { reply(a.rec, nil) })
	if errors.Is(err, errForgotten) || err == nil && (rec.Agent.Workdir == "" || !a.s.worksIn(&rec)) {
		return Saved{}, false
	}
	saved = Saved{AgentID: a.id, Branch: a.snapshot.Load().Branch, Status: a.snapshot.Load().Status, Err: err}
	if err != nil {
		return saved, true
	}
	cp, err := a.s.checkpoint(ctx, &rec)
	if err != nil && ctx.Err() == nil { // git in the worktree of an agent that is being ended is, too
		cp, err = a.s.checkpoint(ctx, &rec)
	}
	if errors.Is(err, town.ErrNotFound) {
		return Saved{}, false
	}
	if saved.Err = err; err != nil {
		return saved, true
	}
	saved.Checkpoint = checkpointData(cp)
	a.post(func() { a.saved(cp) })
	if a.s.cfg.PushCheckpoints {
		_, saved.Err = a.s.cfg.Git.PushCheckpoint(ctx, rec.Request.RigID, rec.Request.Branch, a.id)
		saved.Pushed = saved.Err == nil
	}
	return saved, true
}

// worksIn reports whether the worktree of an agent's branch is its own: when it has
// ended, another one may work there now.
func (s *Supervisor) worksIn(rec *record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	holder := s.branches[branchKey(rec.Request.RigID, rec.Request.Branch)]
	return holder == "" || holder == rec.Request.AgentID
}

// checkpoint saves a worktree. Few are looked at at once: more only queue for the disk.
func (s *Supervisor) checkpoint(ctx context.Context, rec *record) (gitmgr.Checkpoint, error) {
	select {
	case s.saveGate <- struct{}{}:
		defer func() { <-s.saveGate }()
	case <-ctx.Done():
		return gitmgr.Checkpoint{}, fmt.Errorf("save worktree of agent %s: %w", rec.Request.AgentID, context.Cause(ctx))
	}
	return s.cfg.Git.Checkpoint(ctx, rec.Request.RigID, rec.Request.Branch, rec.Request.AgentID, rec.owner())
}

// whenSaved saves the worktree of an agent of which no process is left, and then
// calls f on live. Until then the agent has not ended: should this process end
// first, the next one saves it.
func (a *agent) whenSaved(f func()) {
	if a.rec.Agent.Workdir == "" {
		f()
		return
	}
	a.settling = true
	a.saveBeside(a.s.patience(), true, func() {
		a.settling = false
		f()
	})
}

// patience is how long an agent's end may take to save its worktree.
func (s *Supervisor) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endBy.IsZero() {
		return endPatience
	}
	return min(endPatience, time.Until(s.endBy))
}

// saveBeside saves the agent's worktree while live goes on, and takes the run's artifacts
// if those are wanted, and then calls f on live.
func (a *agent) saveBeside(patience time.Duration, artifacts bool, f func()) {
	rec := a.rec
	a.savedAt, a.saving = time.Now(), true
	a.s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(a.s.ctx, patience)
		defer cancel()
		cp, err := a.s.checkpoint(ctx, &rec)
		if artifacts {
			a.keepArtifacts(ctx, &rec, cp)
		}
		a.post(func() {
			a.saving = false
			switch {
			case err == nil:
				a.saved(cp)
			case errors.Is(err, town.ErrNotFound): // the worktree was never made, or is gone
			case a.rec.Agent.Status == town.StatusStopping && !a.settling: // git there is ended with the agent: its end saves it
			default:
				a.log.Error("worktree not saved", "error", err)
			}
			f()
		})
		if err == nil && a.s.cfg.PushCheckpoints {
			a.s.push(&rec)
		}
	})
}

// push brings what was saved of an agent to the remote.
func (s *Supervisor) push(rec *record) {
	ctx, cancel := context.WithTimeout(s.ctx, pushPatience)
	defer cancel()
	if _, err := s.cfg.Git.PushCheckpoint(ctx, rec.Request.RigID, rec.Request.Branch, rec.Request.AgentID); err != nil && ctx.Err() == nil {
		s.log.Warn("checkpoint not pushed", "agent", rec.Request.AgentID, "error", err)
	}
}

// saved tells of a checkpoint that differs from the one before.
func (a *agent) saved(cp gitmgr.Checkpoint) {
	data := checkpointData(cp)
	if reflect.DeepEqual(data, a.rec.Checkpoint) {
		return
	}
	a.rec.Checkpoint = data
	a.publish()
	if data.Commit != "" || data.LeftOutCount > 0 {
		a.emit(town.EventCheckpoint, data)
	}
}

func checkpointData(cp gitmgr.Checkpoint) town.CheckpointData {
	data := town.CheckpointData{Ref: cp.Ref, Commit: cp.Commit, LeftOutCount: cp.LeftOutCount}
	for _, l := range cp.LeftOut {
		data.LeftOut = append(data.LeftOut, town.LeftOut{Path: l.Path, Why: l.Why})
	}
	return data
}

// saveOnTime saves the worktrees of live agents whose programs have printed
// something since. It ends with the supervisor.
func (s *Supervisor) saveOnTime() {
	tick := time.NewTicker(s.cfg.CheckpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		for _, a := range s.all() {
			if a.snapshot.Load().Status == town.StatusRunning {
				a.post(a.saveChanges)
			}
		}
	}
}

// saveChanges saves the agent's worktree if there may be something new.
func (a *agent) saveChanges() {
	active := a.rec.Agent.Status == town.StatusRunning && a.feed.Load().lastActivity().After(a.savedAt)
	if active && !a.saving && !a.settling {
		a.saveBeside(endPatience, false, func() {})
	}
}

// worktree returns the worktree for a new run: that of its branch, or for an agent
// that goes on with its work, or whose worktree was collected meanwhile, what is left
// of that, here or as a checkpoint. One that is started again by itself has it here.
func (s *Supervisor) worktree(ctx context.Context, rec *record) (gitmgr.Worktree, error) {
	return s.fromPool(ctx, rec, func() (gitmgr.Worktree, error) { return s.makeWorktree(ctx, rec) })
}

func (s *Supervisor) makeWorktree(ctx context.Context, rec *record) (gitmgr.Worktree, error) {
	req := &rec.Request
	spec := gitmgr.Spec{
		RigID: req.RigID, URL: req.GitURL, Branch: req.Branch, DefaultBranch: req.DefaultBranch, StartPoint: req.StartPoint,
		Owner: gitmgr.Owner{UID: rec.UID}, Name: req.Name, Email: authorEmail(req),
	}
	resume := req.Resume || isCollected(rec.Agent.Workdir)
	if restart := rec.Agent.Restart; !resume || restart != nil && restart.Count > 0 {
		return s.cfg.Git.Worktree(ctx, spec)
	}
	restored, err := s.cfg.Git.Restore(ctx, spec, req.AgentID)
	if err == nil && restored.State.Work {
		s.log.Info("work looked for in a checkpoint", "agent", req.AgentID, "commit", restored.State.Commit,
			"restored", restored.Applied, "why", restored.Why)
	}
	return restored.Worktree, err
}

// isCollected reports whether a worktree that an agent had is gone.
func isCollected(workdir string) bool {
	_, err := os.Lstat(workdir)
	return workdir != "" && errors.Is(err, fs.ErrNotExist)
}
