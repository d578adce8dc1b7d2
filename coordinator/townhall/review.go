package townhall

import (
	"context"
	"errors"
	"fmt"
	"time"

	"townd/town"
)

// maxReviews is how often a branch is given to a refinery that ends without a verdict.
const maxReviews = 3

// refineryID is the agent that reviews the branches of a rig.
func refineryID(rigID string) string { return "refinery-" + rigID }

// reviewRequest says how the refinery of a rig is started to look at a merge. Its
// worktree has a branch of its own, which is never pushed.
func (h *Hall) reviewRequest(m town.Merge, b town.Bead, rig town.Rig, generation int64) town.StartRequest {
	id := refineryID(rig.RigID)
	return town.StartRequest{
		AgentID: id, RigID: rig.RigID, TownID: h.cfg.TownID, Role: town.RoleRefinery, Name: "refinery",
		Identity: "refinery of rig " + rig.RigID, Prompt: reviewPrompt(m, b, rig), Model: rig.Model, GitURL: rig.GitURL,
		Branch: fmt.Sprintf("refinery/%s", m.ID), DefaultBranch: rig.DefaultBranch, EnvVars: rig.EnvVars, CLI: rig.CLI, Command: rig.Command,
		BeadID: m.BeadID, StartPoint: m.Branch, Generation: generation, Limits: rig.Limits,
	}
}

// beginReview has the refinery of a rig look at a merge.
func (d *dispatcher) beginReview(ctx context.Context, c Container, m town.Merge, b town.Bead, rig town.Rig, now time.Time) error {
	if !d.open(rig.RigID, now) {
		return nil
	}
	generation, err := d.h.beginReview(ctx, m)
	if err != nil {
		return err
	}
	req := d.h.reviewRequest(m, b, rig, generation)
	gate := d.gateOf(rig.RigID)
	gate.enter()
	d.container.enter()
	d.call(func() func(context.Context) {
		end := tryStart(ctx, c, req)
		return func(ctx context.Context) {
			gate.leave()
			d.container.leave()
			d.reviewStarted(ctx, m, end)
		}
	})
	return nil
}

func (d *dispatcher) reviewStarted(ctx context.Context, m town.Merge, end startEnd) {
	now := d.h.clock.now()
	if !end.failed {
		d.gateOf(m.RigID).succeed()
		d.container.succeed()
		return
	}
	d.log.Warn("review not begun", "merge", m.ID, "why", end.reason)
	switch end.blame {
	case ofContainer:
		d.container.fail(now, end.reason, end.retryAfter)
	case ofRig:
		d.gateOf(m.RigID).fail(now, end.reason, end.retryAfter)
	case ofNobody, ofBead, ofRequest, unknown:
	}
	d.owe(ctx, "review", func(ctx context.Context) error { return d.h.reviewEnded(ctx, m.ID, end.reason) })
}

// watchReviews takes back what a refinery looked at that is gone without a verdict.
func (d *dispatcher) watchReviews(ctx context.Context, reviews []review, now time.Time) error {
	for _, r := range reviews {
		end := r.Merge.UpdatedAt.Add(d.h.cfg.Lease)
		switch {
		case r.Live:
			continue
		case r.Ended, !now.Before(end):
			if err := d.h.reviewEnded(ctx, r.Merge.ID, "the refinery ended without a verdict"); err != nil && !errors.Is(err, town.ErrConflict) {
				return err
			}
		default:
			d.wakeAt(end)
		}
	}
	return nil
}
