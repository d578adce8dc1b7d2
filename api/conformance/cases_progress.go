package conformance

import (
	"slices"
	"strings"
	"time"

	"townd/api"
	"townd/town"
)

// progressCases are about beads that an agent has.
var progressCases = []Case{
	{Name: "a heartbeat renews the lease of an agent that it shows live", Rows: []string{"in_progress/renew"}, run: renewed},
	{Name: "a heartbeat of another generation renews no lease", Rows: []string{"in_progress/renew/else"}, run: notRenewed},
	{Name: "done brings a bead into review", Rows: []string{"in_progress/done"}, run: doneReviewed},
	{Name: "a late done of an earlier attempt is kept", Rows: []string{"in_progress/done/else"}, run: doneLate},
	{Name: "an agent closes its bead without changes", Rows: []string{"in_progress/finish"}, run: finished},
	{Name: "a late close of an earlier attempt is kept", Rows: []string{"in_progress/finish/else"}, run: finishedLate},
	{Name: "a crash frees the bead, with a pause", Rows: []string{"in_progress/release"}, run: crashed},
	{Name: "a start that was cut off is no attempt", run: cutOff},
	{Name: "the end of an earlier run changes nothing", Rows: []string{"in_progress/release/else", "in_progress/give_up/else", "in_progress/block/else"}, run: endedLate},
	{Name: "a lease that nobody renews ends", Rows: []string{"in_progress/expire"}, time: true, run: expires},
	{Name: "a refused credential fails the bead", Rows: []string{"in_progress/give_up"}, run: authFails},
	{Name: "the last attempt fails the bead", Rows: []string{"in_progress/give_up"}, run: lastAttempt},
	{Name: "a blocked agent blocks its bead", Rows: []string{"in_progress/block"}, run: blocks},
	{Name: "a person holds a bead that is worked on", Rows: []string{"in_progress/hold"}, run: holdsWork},
	{Name: "a person stops an agent, and its bead waits", Rows: []string{"in_progress/hold"}, run: stopsAgent},
	{Name: "a person closes a bead that is worked on", Rows: []string{"in_progress/close"}, run: closesWork},
	{Name: "a person fails a bead that is worked on", Rows: []string{"in_progress/fail"}, run: failsWork},
	{Name: "an agent that waits keeps its bead", run: waits},
}

// renewed proves C22.
func renewed(t *T) {
	b := t.work(t.rig())
	until := b.Lease.ExpiresAt
	t.eventually("a lease that ends later", func() bool {
		t.beat()
		l := t.bead(b.ID).Lease
		return l != nil && l.Epoch == 1 && l.ExpiresAt.After(until)
	})
	t.is(b, town.BeadInProgress)
}

func notRenewed(t *T) {
	b := t.again(t.rig())
	t.box.change(b.AgentID, func(a *town.AgentHeartbeat) { a.Generation = 1 })
	// A renewal would be later by the time that has passed: some milliseconds.
	for began := time.Now(); time.Since(began) < 5*time.Millisecond; {
		t.beat()
	}
	l := t.is(b, town.BeadInProgress).Lease
	if l.Epoch != 2 || !l.ExpiresAt.Equal(b.Lease.ExpiresAt) {
		t.Errorf("the lease of epoch 2 is %s after a heartbeat of generation 1, it was %s", raw(l), raw(b.Lease))
	}
}

// again makes a bead whose first attempt crashed and whose second one is under way.
func (t *T) again(rig string) town.Bead {
	b := t.work(rig)
	t.end(b, 1, town.CompletionFailed, town.ReasonCrashed)
	_, err := t.hall.RetryBead(t.ctx, b.ID, "at once")
	t.must(err)
	return t.taken(b.ID, 2)
}

// doneReviewed proves K8.
func doneReviewed(t *T) {
	rig := t.rig(func(s *town.RigSettings) {
		s.Gates = []town.Gate{{Name: "test", Command: "make test", TimeoutSeconds: 60}}
		s.Merge = town.MergeSettings{Strategy: "squash", DeleteBranch: true}
	})
	b := t.work(rig)
	answer := t.done(b, 1)
	if answer.Kept || answer.Bead.Status != town.BeadInReview || answer.Bead.Summary != "did it" || answer.Bead.Lease != nil || answer.Bead.Commit != strings.Repeat("1", 40) {
		t.Errorf("done is answered %s", raw(answer))
	}
	t.is(b, town.BeadInReview)
	m := t.merging(b.ID, 1)
	if m.RigID != rig || m.Branch != b.Branch || m.TargetBranch != "main" || m.Strategy != "squash" || !m.DeleteBranch || len(m.Gates) != 1 || m.Gates[0].Command != "make test" {
		t.Errorf("the container was asked to merge %s", raw(m))
	}
	merges, err := t.hall.Merges(t.ctx, rig, "")
	t.must(err)
	if len(merges) != 1 || merges[0].ID != m.EntryID || merges[0].BeadID != b.ID || merges[0].Branch != b.Branch || merges[0].Status != town.MergeMerging {
		t.Errorf("the merges are %s, want one of bead %s", raw(merges), b.ID)
	}
}

func doneLate(t *T) {
	b := t.again(t.rig())
	if answer := t.done(b, 1); !answer.Kept || answer.Bead.Status != town.BeadInProgress || answer.Bead.Lease == nil {
		t.Errorf("the done of epoch 1 is answered %s, want it kept and the bead in progress", raw(answer))
	}
	if now := t.is(b, town.BeadInProgress); now.Lease.Epoch != 2 || now.Summary != "" {
		t.Errorf("the done of epoch 1 changed the bead to %s", show(now))
	}
	t.attempts(b, 1)
	if answer := t.done(b, 2); answer.Kept || answer.Bead.Status != town.BeadInReview {
		t.Errorf("the done of epoch 2 is answered %s", raw(answer))
	}
}

func finished(t *T) {
	rig := t.rig()
	b := t.work(rig)
	second := t.create(rig, "second", after(b))
	if closed := t.finish(b, 1); closed.Status != town.BeadClosed {
		t.Errorf("the bead that its agent closed is %s", show(closed))
	}
	t.is(b, town.BeadClosed)
	t.taken(second.ID, 1)
	if merges, err := t.hall.Merges(t.ctx, rig, ""); err != nil || len(merges) > 0 {
		t.Errorf("a bead without changes has the merges %s, %v", raw(merges), err)
	}
}

func finishedLate(t *T) {
	b := t.again(t.rig())
	kept, err := t.hall.As(b.AgentID).CloseBead(t.ctx, b.ID, api.CloseRequest{Epoch: 1})
	t.must(err)
	if kept.Status != town.BeadInProgress {
		t.Errorf("the close of epoch 1 is answered %s", show(kept))
	}
	t.is(b, town.BeadInProgress)
	t.attempts(b, 1)
}

// crashed proves Q6 and C26.
func crashed(t *T) {
	b := t.work(t.rig())
	t.end(b, 1, town.CompletionFailed, town.ReasonCrashed)
	open := t.is(b, town.BeadOpen)
	if open.NotBefore == nil || !open.NotBefore.After(open.UpdatedAt) || open.Attempts != 1 || open.AgentID != b.AgentID || open.Branch != b.Branch {
		t.Errorf("after a crash the bead is %s, want a pause and what it had", show(open))
	}
	b = t.work(t.rig())
	t.end(b, 1, town.CompletionCompleted, town.ReasonExited)
	if open := t.is(b, town.BeadOpen); open.NotBefore == nil {
		t.Errorf("after an end without done the bead is %s, want a pause", show(open))
	}
}

func cutOff(t *T) {
	b := t.work(t.rig(), attempts(1))
	t.end(b, 1, town.CompletionFailed, town.ReasonCutOff)
	if again := t.taken(b.ID, 2); again.Attempts != 1 {
		t.Errorf("after a start that was cut off the bead is %s, want its first attempt", show(again))
	}
}

func endedLate(t *T) {
	b := t.again(t.rig())
	for _, reason := range []town.Reason{town.ReasonCrashed, town.ReasonAuth, town.ReasonBlocked, town.ReasonBudget} {
		t.must(t.hall.Completed(t.ctx, completion(b, 1, town.CompletionFailed, reason)))
		t.same(b)
	}
	t.is(b, town.BeadInProgress)
}

// expires proves C8 and C27.
func expires(t *T) {
	b := t.work(t.rig())
	t.advance(4 * time.Minute)
	t.is(b, town.BeadInProgress)
	t.box.forget(b.AgentID)
	t.advance(2 * time.Minute)
	t.eventually("a bead whose lease has ended is open", func() bool { t.beat(); return t.bead(b.ID).Status == town.BeadOpen })
	if open := t.is(b, town.BeadOpen); open.Attempts != 1 || open.NotBefore == nil {
		t.Errorf("after its lease the bead is %s, want a pause", show(open))
	}
	t.attempts(b, 0)
}

func authFails(t *T) {
	rig := t.rig()
	b := t.work(rig)
	second := t.create(rig, "second", after(b))
	t.end(b, 1, town.CompletionFailed, town.ReasonAuth)
	t.is(b, town.BeadFailed)
	t.escalated(b)
	t.toldOf(second, second.Why)
}

// lastAttempt proves Q5, R7 and R8.
func lastAttempt(t *T) {
	b := t.work(t.rig(), attempts(1))
	t.end(b, 1, town.CompletionFailed, town.ReasonCrashed)
	t.is(b, town.BeadFailed)
	t.escalated(b)
}

func blocks(t *T) {
	b := t.work(t.rig())
	t.end(b, 1, town.CompletionCompleted, town.ReasonBlocked)
	if open := t.is(b, town.BeadOpen); open.Hold == "" {
		t.Errorf("the bead of a blocked agent is %s, want it held", show(open))
	}
	t.escalated(b)
}

func holdsWork(t *T) {
	b := t.work(t.rig())
	hold := "stop here"
	_, err := t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Hold: &hold})
	t.must(err)
	if open := t.is(b, town.BeadOpen); open.Hold != hold || open.NotBefore != nil {
		t.Errorf("the bead is %s, want it held", show(open))
	}
	t.ordered(town.OrderStop, b.AgentID)
	if answer := t.done(b, 1); !answer.Kept {
		t.Errorf("done after a hold is answered %s, want it kept", raw(answer))
	}
}

func stopsAgent(t *T) {
	b := t.work(t.rig())
	id, err := t.hall.OrderStop(t.ctx, b.AgentID, "enough")
	t.must(err)
	if order := t.ordered(town.OrderStop, b.AgentID); order.ID != id {
		t.Errorf("the order is %s, want %s", order.ID, id)
	}
	t.end(b, 1, town.CompletionCompleted, town.ReasonStopped)
	if open := t.is(b, town.BeadOpen); open.Hold == "" {
		t.Errorf("the bead of a stopped agent is %s, want it held", show(open))
	}
}

func closesWork(t *T) {
	b := t.work(t.rig())
	t.closeReleases(b)
	t.ordered(town.OrderStop, b.AgentID)
}

func failsWork(t *T) {
	rig := t.rig()
	b := t.work(rig)
	second := t.create(rig, "second", after(b))
	_, err := t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Status: town.BeadFailed, Reason: "enough"})
	t.must(err)
	t.is(b, town.BeadFailed)
	t.toldOf(second, second.Why)
	t.ordered(town.OrderStop, b.AgentID)
}

func waits(t *T) {
	b := t.work(t.rig())
	t.must(t.hall.Completed(t.ctx, completion(b, 1, town.CompletionCompleted, town.ReasonWaiting)))
	t.is(b, town.BeadInProgress)
	runs, err := t.hall.Runs(t.ctx, api.RunQuery{BeadID: b.ID})
	t.must(err)
	if !slices.ContainsFunc(runs.Runs, func(r town.Run) bool { return r.AgentID == b.AgentID && r.Generation == 1 }) {
		t.Errorf("the runs of the bead are %s, want one of %s", raw(runs), b.AgentID)
	}
}
