package supervisor

import (
	"context"
	"fmt"
	"time"

	"townd/town"
)

// Caller returns the live agent whose capability it is, else ErrUnauthorized.
func (s *Supervisor) Caller(capability string) (town.Agent, error) {
	a, err := s.holder(capability)
	if err != nil {
		return town.Agent{}, err
	}
	return a.view(), nil
}

// handOverPush bounds the push of a branch that is handed over: its agent waits.
const handOverPush = 15 * time.Second

// HandOver looks at the work of the agent with this capability and, when all of it
// is in commits, brings them to the remote. That this fails is told by PushError: the
// town merges from here, too. It returns ErrNotFound for an agent without a worktree.
func (s *Supervisor) HandOver(ctx context.Context, capability string) (town.HandOver, error) {
	rec, err := s.recordOf(ctx, capability)
	if err != nil {
		return town.HandOver{}, err
	}
	req := &rec.Request
	h, err := s.cfg.Git.HandOver(ctx, req.RigID, req.Branch, rec.Base, rec.owner())
	if err != nil || h.ChangedCount > 0 || h.Commits == 0 {
		return h, err
	}
	pushing, cancel := context.WithTimeoutCause(ctx, handOverPush, fmt.Errorf("the remote did not take it within %v", handOverPush))
	defer cancel()
	if err := s.cfg.Git.PushBranch(pushing, req.RigID, req.Branch); err != nil {
		if ctx.Err() != nil {
			return h, fmt.Errorf("push branch of agent %s: %w", req.AgentID, context.Cause(ctx))
		}
		s.log.Warn("branch not pushed", "agent", req.AgentID, "branch", req.Branch, "error", err)
		h.PushError = err.Error()
	}
	return h, nil
}

// SaveWork saves the worktree of the agent with this capability, as Drain does.
func (s *Supervisor) SaveWork(ctx context.Context, capability string) (town.CheckpointData, error) {
	a, err := s.holder(capability)
	if err != nil {
		return town.CheckpointData{}, err
	}
	saved, ok := a.saveNow(ctx)
	if !ok {
		return town.CheckpointData{}, fmt.Errorf("agent %s has no worktree: %w", a.id, town.ErrNotFound)
	}
	if saved.Err != nil && saved.Checkpoint.Ref == "" {
		return town.CheckpointData{}, saved.Err
	}
	return saved.Checkpoint, nil // what is saved here and not pushed is saved
}

// recordOf returns a copy of the record of the agent with this capability.
func (s *Supervisor) recordOf(ctx context.Context, capability string) (record, error) {
	a, err := s.holder(capability)
	if err != nil {
		return record{}, err
	}
	return ask(ctx, a, func(reply func(record, error)) { reply(a.rec, nil) })
}
