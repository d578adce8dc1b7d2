package supervisor

import (
	"context"
	"errors"
	"fmt"

	"townd/town"
)

// Forget saves what an ended agent left unsaved as a checkpoint, removes its
// worktree and everything known of it. Its branch stays. It returns ErrConflict
// while the agent lives.
func (s *Supervisor) Forget(ctx context.Context, id string) error {
	a, err := s.find(id)
	if err != nil {
		return err
	}
	_, err = ask(ctx, a, func(reply func(struct{}, error)) {
		if a.rec.Agent.RunID == "" { // made for a start that is being decided
			reply(struct{}{}, errForgotten)
			return
		}
		if a.discarding {
			reply(struct{}{}, fmt.Errorf("agent %s is being forgotten: %w", a.id, town.ErrConflict))
			return
		}
		if a.rec.Agent.Status.Live() {
			reply(struct{}{}, fmt.Errorf("agent %s is %s; stop it first: %w", a.id, a.rec.Agent.Status, town.ErrConflict))
			return
		}
		a.cancelRestart()
		a.afterTold(func() {
			if a.discarding || a.rec.Agent.Status.Live() {
				reply(struct{}{}, fmt.Errorf("agent %s has been started again, or is being forgotten: %w", a.id, town.ErrConflict))
				return
			}
			a.discard(func(err error) { reply(struct{}{}, err) })
		})
	})
	return err
}

// discard checkpoints and removes the worktree, then the agent. The branch is
// held meanwhile, so that no other agent starts in it.
func (a *agent) discard(reply func(error)) {
	rec := a.rec
	key := branchKey(rec.Request.RigID, rec.Request.Branch)
	if err := a.s.claim(key, a.id); err != nil { // another agent works there now: the worktree is its
		a.remove(reply)
		return
	}
	a.cancelRestart()
	a.discarding = true
	a.s.wg.Go(func() {
		err := a.s.removeWorktree(a.s.ctx, &rec)
		if err == nil { // while the branch is held: whoever starts on it next gets a user that stays its own
			a.s.users.release(key)
		}
		a.s.unclaim(key, a.id)
		a.post(func() {
			a.discarding = false
			if err == nil {
				a.remove(reply)
			} else {
				reply(err)
			}
			a.runEnded(nil)
		})
	})
}

func (s *Supervisor) removeWorktree(ctx context.Context, rec *record) error {
	if rec.Agent.Workdir == "" {
		return nil
	}
	rig, branch := rec.Request.RigID, rec.Request.Branch
	if _, err := s.cfg.Git.Checkpoint(ctx, rig, branch, rec.Request.AgentID, rec.owner()); err != nil && !errors.Is(err, town.ErrNotFound) {
		return err
	}
	if err := s.cfg.Git.Remove(ctx, rig, branch, true); err != nil && !errors.Is(err, town.ErrNotFound) {
		return err
	}
	return nil
}

// remove forgets the agent and deletes the transcripts of its runs.
func (a *agent) remove(reply func(error)) {
	err := a.forget()
	for _, run := range append(a.rec.Runs, a.rec.Agent.RunID) {
		err = errors.Join(err, a.s.deleteRun(run))
	}
	reply(err)
}
