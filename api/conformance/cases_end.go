package conformance

import (
	"townd/api"
	"townd/town"
)

// endCases are about beads that are closed or failed.
var endCases = []Case{
	{Name: "what comes late changes no closed bead", Rows: []string{"closed/done", "closed/merged", "closed/release", "closed/close"}, run: lateClosed},
	{Name: "what comes late changes no failed bead", Rows: []string{"failed/done", "failed/fail", "failed/release"}, run: lateFailed},
	{Name: "a failed bead can be retried", Rows: []string{"failed/retry"}, run: retryFailed},
	{Name: "a failed bead can be closed", Rows: []string{"failed/close"}, run: closeFailed},
	{Name: "what the table does not have is refused", run: refusedByTable},
}

func lateClosed(t *T) {
	b, m := t.review(t.rig())
	t.outcome(m, "merged")
	closed := t.is(b, town.BeadClosed)
	t.outcome(m, "merged")
	t.same(closed)
	t.must(t.hall.Completed(t.ctx, completion(b, 1, town.CompletionFailed, town.ReasonCrashed)))
	t.same(closed)
	_, err := t.hall.CloseBead(t.ctx, b.ID, api.CloseRequest{})
	t.must(err)
	t.same(closed)
	if answer := t.done(b, 1); !answer.Kept {
		t.Errorf("a done of a closed bead is answered %s, want it kept", raw(answer))
	}
	t.same(closed)
	t.attempts(b, 1)
}

// failed makes a bead that a person has failed while an agent had it.
func (t *T) failed(rig string) town.Bead {
	b := t.work(rig)
	_, err := t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Status: town.BeadFailed, Reason: "enough"})
	t.must(err)
	return t.is(b, town.BeadFailed)
}

func lateFailed(t *T) {
	b := t.failed(t.rig())
	t.end(b, 1, town.CompletionFailed, town.ReasonCrashed)
	t.same(b)
	_, err := t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Status: town.BeadFailed})
	t.must(err)
	t.same(b)
	if answer := t.done(b, 1); !answer.Kept {
		t.Errorf("a done of a failed bead is answered %s, want it kept", raw(answer))
	}
	t.same(b)
	t.attempts(b, 1)
}

func retryFailed(t *T) {
	b := t.failed(t.rig())
	t.box.forget(b.AgentID)
	_, err := t.hall.RetryBead(t.ctx, b.ID, "")
	t.must(err)
	if b = t.taken(b.ID, 2); b.Attempts != 1 || b.ClosedAt != nil {
		t.Errorf("after its retry the bead is %s", show(b))
	}
}

func closeFailed(t *T) {
	t.closeReleases(t.failed(t.rig()))
}

// closeReleases closes a bead and checks that one that depends on it is taken then.
func (t *T) closeReleases(b town.Bead) {
	second := t.create(b.RigID, "second", after(b))
	_, err := t.hall.CloseBead(t.ctx, b.ID, api.CloseRequest{Reason: "done by hand"})
	t.must(err)
	t.is(b, town.BeadClosed)
	t.taken(second.ID, 1)
}

func refusedByTable(t *T) {
	rig := t.rig()
	b := t.work(rig)
	_, err := t.hall.RetryBead(t.ctx, b.ID, "")
	t.refused("a retry of a bead in progress", err, town.ErrConflict)
	t.same(b)
	t.finish(b, 1)
	closed := t.is(b, town.BeadClosed)
	_, err = t.hall.RetryBead(t.ctx, b.ID, "")
	t.refused("a retry of a closed bead", err, town.ErrConflict)
	_, err = t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Status: town.BeadFailed})
	t.refused("failing a closed bead", err, town.ErrConflict)
	hold := "x"
	_, err = t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Hold: &hold})
	t.refused("holding a closed bead", err, town.ErrConflict)
	t.same(closed)
	review, _ := t.review(rig)
	_, err = t.hall.PatchBead(t.ctx, review.ID, town.BeadPatch{Hold: &hold})
	t.refused("holding a bead in review", err, town.ErrConflict)
	failed := t.failed(rig)
	_, err = t.hall.PatchBead(t.ctx, failed.ID, town.BeadPatch{Hold: &hold})
	t.refused("holding a failed bead", err, town.ErrConflict)
}
