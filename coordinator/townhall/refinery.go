package townhall

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"townd/api"
	"townd/town"
)

// askedMerge is what the dispatcher remembers of a merge that it asked the
// container for.
type askedMerge struct {
	calling  bool
	pull     bool      // its pull request is open
	instance string    // of the container that was asked
	again    time.Time // when it is asked for again: without an outcome by then, or for its pull request
	failures int       // calls that failed in a row, or looks at a pull request
}

// askAgain is when a merge is asked for again that no outcome is told of. One that is
// being worked on is not begun anew by it; one that the container has lost, as when its
// server was killed, goes on from what the remote has.
const askAgain = time.Minute

// moveMerges keeps the queue of each rig moving: one merge of a rig at a time is
// reviewed, if the rig wants that, and merged by the container. Pull requests that
// are open keep nothing up.
func (d *dispatcher) moveMerges(ctx context.Context, now time.Time) error {
	c := d.cfg.Container()
	if c == nil {
		return nil
	}
	work, err := d.h.mergeWork(ctx, now)
	if err != nil {
		return err
	}
	for _, id := range work.rigs {
		if err := d.beginMerge(ctx, c, id, now); err != nil {
			return err
		}
	}
	current := map[string]bool{}
	for _, m := range work.asked {
		current[m.ID] = true
		if err := d.askMerge(ctx, c, m, d.town.instance, now); err != nil {
			return err
		}
	}
	for id, a := range d.asked {
		if !current[id] && !a.calling {
			delete(d.asked, id)
		}
	}
	return d.watchReviews(ctx, work.reviews, now)
}

// beginMerge takes the next merge of a rig out of its queue.
func (d *dispatcher) beginMerge(ctx context.Context, c Container, rigID string, now time.Time) error {
	m, ok, err := d.h.nextMerge(ctx, rigID)
	if err != nil || !ok {
		return err
	}
	rig, err := d.h.rigWithSecrets(ctx, rigID)
	if err != nil {
		return err
	}
	b, err := d.h.Bead(ctx, m.BeadID)
	if err != nil {
		return err
	}
	if rig.Merge.Review && b.Type != town.BeadConvoy && m.Reviewer == "" {
		return d.beginReview(ctx, c, m, b, rig, now)
	}
	return d.h.write(ctx, fact, func(tx *tx) error {
		_, err := setMerge(tx, m.ID, town.MergeMerging, "asked the container", nil)
		return err
	})
}

// askMerge asks the container for a merge unless it was asked already.
func (d *dispatcher) askMerge(ctx context.Context, c Container, m town.Merge, instance string, now time.Time) error {
	a := d.asked[m.ID]
	switch {
	case a == nil:
		a = &askedMerge{}
		d.asked[m.ID] = a
	case a.calling:
		return nil
	case m.Status == town.MergeMerging && a.instance != "" && instance != a.instance:
		a.again = time.Time{} // another container: it knows nothing of it
	}
	if m.Status == town.MergeAwaitingPR && !a.pull {
		a.pull, a.failures, a.again = true, 0, now.Add(pullDelays[0])
	}
	if now.Before(a.again) {
		d.wakeAt(a.again)
		return nil
	}
	if !d.container.lets(now) {
		d.wakeAt(d.container.opens(now))
		return nil
	}
	rig, err := d.h.rigWithSecrets(ctx, m.RigID)
	if err != nil {
		return err
	}
	b, err := d.h.Bead(ctx, m.BeadID)
	if err != nil {
		return err
	}
	req := mergeRequest(d.h.cfg.TownID, m, b, rig)
	a.calling, a.instance = true, instance
	d.call(func() func(context.Context) {
		res, err := c.Merge(ctx, req)
		return func(ctx context.Context) {
			a.calling = false
			d.mergeAnswered(ctx, m, a, res, err)
		}
	})
	return nil
}

// mergeAnswered takes the container's answer to the request for a merge.
func (d *dispatcher) mergeAnswered(ctx context.Context, m town.Merge, a *askedMerge, res api.MergeResult, err error) {
	now := d.h.clock.now()
	log := d.log.With("merge", m.ID, "bead", m.BeadID, "branch", m.Branch)
	switch {
	case err == nil && m.Status == town.MergeAwaitingPR:
		a.again = now.Add(pullDelays[min(a.failures, len(pullDelays)-1)])
		a.failures++
	case err == nil:
		a.failures = 0
		a.again = now.Add(askAgain)
	case errors.Is(err, town.ErrInvalid), errors.Is(err, town.ErrNotFound):
		log.Warn("merge refused", "error", err)
		d.owe(ctx, "merge outcome", func(ctx context.Context) error {
			return d.h.MergeCompleted(ctx, m.RigID, m.ID, town.MergeOutcome{EntryID: m.ID, Status: "failed", Message: err.Error()})
		})
		return
	default: // it may have been taken: asking again joins it
		log.Warn("merge not asked for", "error", err)
		a.again = now.Add(mergeDelays[min(a.failures, len(mergeDelays)-1)])
		a.failures++
		return
	}
	if res.Status == "" || res.Status == api.MergeStatusAccepted {
		return // its outcome is reported
	}
	d.owe(ctx, "merge outcome", func(ctx context.Context) error {
		return d.h.MergeCompleted(ctx, m.RigID, m.ID, outcomeOf(m.ID, res))
	})
}

// outcomeOf is the outcome of a merge that the container decided at once.
func outcomeOf(entryID string, res api.MergeResult) town.MergeOutcome {
	conflicts, _ := json.Marshal(res.Conflicts) // strings and numbers only
	gates, _ := json.Marshal(res.Gates)
	out := town.MergeOutcome{EntryID: entryID, Status: res.Status, Message: res.Message, Commit: res.Commit, Conflicts: conflicts, Gates: gates}
	if res.PullRequest != nil {
		out.PR = res.PullRequest.URL
	}
	return out
}

// mergeRequest is what the container is asked for.
func mergeRequest(townID string, m town.Merge, b town.Bead, rig town.Rig) api.MergeRequest {
	req := api.MergeRequest{
		RigID: m.RigID, GitURL: rig.GitURL, Branch: m.Branch, TargetBranch: cmp.Or(m.Target, rig.DefaultBranch), Strategy: rig.Merge.Strategy,
		Message: fmt.Sprintf("%s (%s)", shorten(b.Title, 200), b.ID), DeleteBranch: rig.Merge.DeleteBranch, CreateTarget: b.ConvoyID != "" && m.Target != "",
		TownID: townID, EntryID: m.ID, BeadID: m.BeadID, AgentID: b.AgentID,
	}
	if req.Mode = string(town.MergeDirect); rig.Merge.Mode == town.MergePullRequest && !req.CreateTarget { // a convoy's branch is the town's own
		req.Mode = string(rig.Merge.Mode)
		req.PullRequest = &town.Proposal{Title: shorten(b.Title, 200), Body: shorten(b.Summary, maxSectionBytes), AutoMerge: rig.Merge.AutoMerge}
	}
	for _, g := range rig.Gates {
		req.Gates = append(req.Gates, api.Gate(g))
	}
	return req
}
