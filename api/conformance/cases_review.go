package conformance

import (
	"slices"
	"strings"

	"townd/api"
	"townd/town"
)

// reviewCases are about beads whose branch waits to be merged.
var reviewCases = []Case{
	{Name: "a merged branch closes its bead", Rows: []string{"in_review/merged"}, run: merged},
	{Name: "an outcome in the words of earlier containers is taken", Rows: []string{"in_review/merged"}, run: mergedOld},
	{Name: "a conflict sends the bead back with its files", Rows: []string{"in_review/rework"}, run: conflicts},
	{Name: "failed gates send the bead back with what they printed", Rows: []string{"in_review/rework"}, run: gatesFail},
	{Name: "too many reworks fail the bead", Rows: []string{"in_review/give_up"}, run: tooManyReworks},
	{Name: "a remote that lets nobody merge fails the bead", Rows: []string{"in_review/give_up"}, run: mergeAuth},
	{Name: "a second done of a bead in review is kept", Rows: []string{"in_review/done"}, run: doneInReview},
	{Name: "the end of an agent does not take its bead out of review", Rows: []string{"in_review/release"}, run: endInReview},
	{Name: "a retry takes a bead out of review", Rows: []string{"in_review/retry"}, run: retryReview},
	{Name: "a person closes a bead in review", Rows: []string{"in_review/close"}, run: closeReview},
	{Name: "a person fails a bead in review", Rows: []string{"in_review/fail"}, run: failReview},
	{Name: "branches of a rig are merged one after another", run: serialMerges},
	{Name: "an outcome that is told twice counts once", run: outcomeTwice},
}

func merged(t *T) {
	rig := t.rig()
	b, m := t.review(rig)
	second := t.create(rig, "second", after(b))
	t.outcome(m, "merged", func(o *town.MergeOutcome) { o.Commit = strings.Repeat("2", 40) })
	if closed := t.is(b, town.BeadClosed); closed.Commit != strings.Repeat("2", 40) {
		t.Errorf("the merged bead has commit %q, want the merge's", closed.Commit)
	}
	merges, err := t.hall.Merges(t.ctx, rig, town.MergeMerged)
	t.must(err)
	if len(merges) != 1 || merges[0].Commit != strings.Repeat("2", 40) {
		t.Errorf("the merges that are merged are %s", raw(merges))
	}
	t.taken(second.ID, 1)
}

func mergedOld(t *T) {
	b, m := t.review(t.rig())
	body := string(raw(map[string]any{"entry_id": m.EntryID, "status": "merged", "message": "ok", "commit_sha": strings.Repeat("3", 40)}))
	a := t.want(200, "POST", "/rigs/"+m.RigID+"/review-queue/"+m.EntryID+"/complete", body)
	if a.object()["completed"] != true {
		t.Errorf("the outcome is answered %v, want completed", a)
	}
	if closed := t.is(b, town.BeadClosed); closed.Commit != strings.Repeat("3", 40) {
		t.Errorf("the merged bead has commit %q, want that of commit_sha", closed.Commit)
	}
}

func conflicts(t *T) {
	rig := t.rig()
	b, m := t.review(rig)
	second := t.create(rig, "second", after(b))
	t.pause(rig, true)
	t.outcome(m, "conflict", func(o *town.MergeOutcome) {
		o.Conflicts = raw([]api.Conflict{{Path: "src/parser.go", Kind: "contents", Hunks: "<<<<<<<"}})
	})
	open := t.is(b, town.BeadOpen)
	if open.Reworks != 1 || !strings.Contains(open.Feedback, "src/parser.go") || open.NotBefore != nil || open.Branch != b.Branch {
		t.Errorf("after a conflict the bead is %s, want one rework and the file in its feedback", show(open))
	}
	t.is(second, town.BeadOpen)
	t.pause(rig, false)
	start := t.started(b.ID, 2)
	if start.AgentID != b.AgentID || start.Branch != b.Branch || !start.Resume || !strings.Contains(start.Prompt, "src/parser.go") {
		t.Errorf("the rework was started by %s, want the same agent told of the file", raw(start))
	}
	b = t.taken(b.ID, 2)
	t.done(b, 2)
	again := t.merging(b.ID, 2)
	t.outcome(again, "merged")
	t.is(b, town.BeadClosed)
}

func gatesFail(t *T) {
	rig := t.rig()
	b, m := t.review(rig)
	t.pause(rig, true)
	t.outcome(m, "gates_failed", func(o *town.MergeOutcome) {
		o.Gates = raw([]api.GateResult{{Name: "test", ExitCode: 2, Output: "TestParser failed"}})
	})
	if open := t.is(b, town.BeadOpen); open.Reworks != 1 || !strings.Contains(open.Feedback, "TestParser failed") {
		t.Errorf("after failed gates the bead is %s, want one rework and the output in its feedback", show(open))
	}
}

func tooManyReworks(t *T) {
	rig := t.rig()
	b, m := t.review(rig)
	for n := int64(2); ; n++ {
		t.outcome(m, "conflict")
		b = t.bead(b.ID)
		if b.Status == town.BeadFailed || n > 8 {
			break
		}
		b = t.taken(b.ID, n)
		t.done(b, n)
		t.box.forget(b.AgentID)
		m = t.merging(b.ID, int(n))
	}
	if failed := t.is(b, town.BeadFailed); failed.Reworks != 3 {
		t.Errorf("the bead failed after %d reworks, want 3", failed.Reworks)
	}
	t.escalated(b)
}

func mergeAuth(t *T) {
	rig := t.rig()
	b, m := t.review(rig)
	second := t.create(rig, "second", after(b))
	t.outcome(m, "auth")
	t.is(b, town.BeadFailed)
	t.escalated(b)
	t.toldOf(second, second.Why)
	merges, err := t.hall.Merges(t.ctx, rig, "")
	t.must(err)
	if len(merges) != 1 || merges[0].Status != town.MergeFailed {
		t.Errorf("the merges are %s, want one that failed", raw(merges))
	}
}

func doneInReview(t *T) {
	b, _ := t.review(t.rig())
	if answer := t.done(b, 1); !answer.Kept || answer.Bead.Status != town.BeadInReview {
		t.Errorf("a second done is answered %s, want it kept", raw(answer))
	}
	t.attempts(b, 1)
	t.is(b, town.BeadInReview)
}

func endInReview(t *T) {
	b, _ := t.review(t.rig())
	t.must(t.hall.Completed(t.ctx, completion(b, 1, town.CompletionFailed, town.ReasonCrashed)))
	t.same(b)
	t.is(b, town.BeadInReview)
}

// cancelled checks that the merge of a bead was cancelled.
func (t *T) cancelled(rigID string, m api.MergeRequest) {
	merges, err := t.hall.Merges(t.ctx, rigID, town.MergeCancelled)
	t.must(err)
	if !slices.ContainsFunc(merges, func(c town.Merge) bool { return c.ID == m.EntryID }) {
		t.Errorf("the merges that are cancelled are %s, want %s among them", raw(merges), m.EntryID)
	}
}

func retryReview(t *T) {
	rig := t.rig()
	b, m := t.review(rig)
	t.pause(rig, true)
	_, err := t.hall.RetryBead(t.ctx, b.ID, "do it otherwise")
	t.must(err)
	if open := t.is(b, town.BeadOpen); open.Attempts != 0 || open.Epoch != 1 {
		t.Errorf("after a retry the bead is %s", show(open))
	}
	t.cancelled(rig, m)
	t.outcome(m, "merged")
	t.is(b, town.BeadOpen)
}

func closeReview(t *T) {
	rig := t.rig()
	b, m := t.review(rig)
	t.closeReleases(b)
	t.cancelled(rig, m)
}

func failReview(t *T) {
	rig := t.rig()
	b, m := t.review(rig)
	second := t.create(rig, "second", after(b))
	_, err := t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Status: town.BeadFailed})
	t.must(err)
	t.is(b, town.BeadFailed)
	t.cancelled(rig, m)
	t.toldOf(second, second.Why)
}

func serialMerges(t *T) {
	rig := t.rig()
	first, second := t.work(rig), t.work(rig)
	t.done(first, 1)
	m := t.merging(first.ID, 1)
	t.done(second, 1)
	waiting, err := t.hall.Merges(t.ctx, rig, town.MergeWaiting)
	t.must(err)
	if len(waiting) != 1 || waiting[0].BeadID != second.ID {
		t.Errorf("while %s is merged there wait %s, want %s", first.ID, raw(waiting), second.ID)
	}
	t.outcome(m, "merged")
	t.outcome(t.merging(second.ID, 1), "nothing")
	t.is(first, town.BeadClosed)
	t.is(second, town.BeadClosed)
}

func outcomeTwice(t *T) {
	rig := t.rig()
	b, m := t.review(rig)
	t.pause(rig, true)
	t.outcome(m, "conflict")
	open := t.is(b, town.BeadOpen)
	t.outcome(m, "conflict")
	t.outcome(m, "merged") // of a merge that has ended, out of order
	t.same(open)
}
