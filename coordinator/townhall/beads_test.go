package townhall

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// P12, Q4: from a bead to a merged branch.
func TestABeadGoesFromOpenToClosed(t *testing.T) {
	h, _ := newHall(t)
	made := addBead(t, h, town.BeadRequest{Title: "fix it", Labels: []string{"b", "a", "b"}})
	if made.Why != waitsForAgent || !slices.Equal(made.Labels, []string{"a", "b"}) || made.MaxAttempts != town.DefaultAttempts {
		t.Errorf("made %+v", made)
	}
	b := take(t, h)
	if b.ID != made.ID || b.Epoch != 1 || b.Attempts != 1 || b.Lease == nil || b.Lease.Epoch != 1 {
		t.Fatalf("claimed %+v", b)
	}
	suffix := b.ID[len(b.ID)-8:]
	name, ok := strings.CutSuffix(b.AgentID, "-"+suffix)
	if !ok || b.Branch != "polecat/"+name+"/"+suffix {
		t.Errorf("agent %s, branch %s of bead %s", b.AgentID, b.Branch, b.ID)
	}
	nothingToTake(t, h)
	if out := done(t, h, b); out.Kept || out.Bead.Status != town.BeadInReview || out.Bead.Lease != nil {
		t.Errorf("done: %+v", out)
	}
	merge(t, h, "merged")
	b = wantStatus(t, h, b.ID, town.BeadClosed)
	if b.ClosedAt == nil || b.Commit != "c0ffee" {
		t.Errorf("closed %+v", b)
	}
	notes, err := h.Notes(t.Context(), b.ID)
	if err != nil || len(notes) != 3 {
		t.Errorf("notes %+v, %v; want one for each change", notes, err)
	}
}

// Q1, Q8: age and priority in one static key.
func TestTheLowOnesNeverStarve(t *testing.T) {
	h, clock := newHall(t)
	low := addBead(t, h, town.BeadRequest{Priority: town.PriorityLow})
	clock.pass(30 * time.Minute)
	medium := addBead(t, h, town.BeadRequest{})
	clock.pass(40 * time.Minute) // the low one is now older by more than medium's head start
	late := addBead(t, h, town.BeadRequest{})
	critical := addBead(t, h, town.BeadRequest{Priority: town.PriorityCritical})
	for i, want := range []town.Bead{critical, medium, low, late} {
		if got := take(t, h); got.ID != want.ID {
			t.Errorf("%d. is a %s one of %v, want the %s one of %v", i, got.Priority, got.CreatedAt, want.Priority, want.CreatedAt)
		}
	}
}

// Q2: a second bead with the same key is the first one.
// Proves Q12.
func TestADedupeKeyMakesOneBead(t *testing.T) {
	h, _ := newHall(t)
	first := addBead(t, h, town.BeadRequest{DedupeKey: "k"})
	again, created, err := h.CreateBead(t.Context(), Person, "rig", town.BeadRequest{Title: "other", DedupeKey: "k"})
	if err != nil || created || again.ID != first.ID || again.Title != first.Title {
		t.Errorf("CreateBead() = %+v, %v, %v; want the first", again, created, err)
	}
	addRig(t, h, "other", town.RigSettings{})
	if _, created, err := h.CreateBead(t.Context(), Person, "other", town.BeadRequest{Title: "x", DedupeKey: "k"}); err != nil || !created {
		t.Errorf("in another rig: created %v, %v; want a new one", created, err)
	}
}

// Q7: edges, cycles, failed ones.
func TestABeadWaitsForThoseItDependsOn(t *testing.T) {
	h, _ := newHall(t)
	a := addBead(t, h, town.BeadRequest{Title: "a"})
	b := addBead(t, h, town.BeadRequest{Title: "b", DependsOn: []string{a.ID}})
	c := addBead(t, h, town.BeadRequest{Title: "c", DependsOn: []string{b.ID, a.ID}, Priority: town.PriorityCritical})
	if c.Why != "waits for 2 other beads" {
		t.Errorf("why %q", c.Why)
	}
	_, err := h.PatchBead(t.Context(), Person, a.ID, town.BeadPatch{DependsOn: &[]string{c.ID}})
	wantKind(t, err, town.ErrInvalid)
	_, err = h.PatchBead(t.Context(), Person, a.ID, town.BeadPatch{DependsOn: &[]string{a.ID}})
	wantKind(t, err, town.ErrInvalid)
	_, _, err = h.CreateBead(t.Context(), Person, "rig", town.BeadRequest{Title: "x", DependsOn: []string{"nobody"}})
	wantKind(t, err, town.ErrInvalid)

	if got := take(t, h); got.ID != a.ID {
		t.Fatalf("took %s first", got.Title)
	}
	nothingToTake(t, h)
	if _, err := h.PatchBead(t.Context(), Person, a.ID, town.BeadPatch{Status: town.BeadFailed, Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	if got := bead(t, h, b.ID).Why; !strings.Contains(got, a.ID) || !strings.Contains(got, "failed") {
		t.Errorf("why of the one that waits: %q", got)
	}
	nothingToTake(t, h)
	if _, err := h.RetryBead(t.Context(), Person, a.ID, ""); err != nil {
		t.Fatal(err)
	}
	if got := bead(t, h, b.ID).Why; got != "waits for another bead" {
		t.Errorf("why after the retry: %q", got)
	}
	if _, err := h.CloseBead(t.Context(), Person, a.ID, api.CloseRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := take(t, h); got.ID != b.ID {
		t.Errorf("took %s, want b", got.Title)
	}
	if got := bead(t, h, c.ID).Why; got != "waits for another bead" {
		t.Errorf("why of c: %q", got)
	}
}

func TestABeadCanWaitForATime(t *testing.T) {
	h, clock := newHall(t)
	at := clock.now().Add(time.Hour)
	b := addBead(t, h, town.BeadRequest{NotBefore: &at})
	nothingToTake(t, h)
	if next, ok, err := h.nextDeadline(t.Context()); err != nil || !ok || !next.Equal(at) {
		t.Errorf("nextDeadline() = %v, %v, %v; want %v", next, ok, err, at)
	}
	if ready, err := h.ready(t.Context()); err != nil || len(ready) != 0 {
		t.Errorf("ready() = %v, %v; want none", ready, err)
	}
	clock.pass(time.Hour)
	if ready, err := h.ready(t.Context()); err != nil || len(ready) != 1 {
		t.Errorf("ready() = %v, %v; want the rig", ready, err)
	}
	if got := take(t, h); got.ID != b.ID {
		t.Errorf("took %s", got.ID)
	}
}

// Q5, Q6, R7: attempts with back-off, then the end of it.
func TestABeadIsGivenUpAfterItsLastAttempt(t *testing.T) {
	h, clock := newHall(t)
	made := addBead(t, h, town.BeadRequest{MaxAttempts: 2})
	first := take(t, h)
	b, err := h.released(t.Context(), made.ID, first.Epoch, "crashed")
	if err != nil || b.Status != town.BeadOpen || b.NotBefore == nil {
		t.Fatalf("released() = %+v, %v", b, err)
	}
	if wait := b.NotBefore.Sub(clock.now()); wait < 30*time.Second || wait > 38*time.Second {
		t.Errorf("waits %v", wait)
	}
	nothingToTake(t, h)
	clock.pass(time.Minute)
	second := take(t, h)
	if second.AgentID != first.AgentID || second.Branch != first.Branch || second.Epoch != 2 || second.Attempts != 2 {
		t.Errorf("second attempt %+v", second)
	}
	if _, err := h.released(t.Context(), made.ID, first.Epoch, "late"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, h, made.ID, town.BeadInProgress)
	if _, err := h.released(t.Context(), made.ID, second.Epoch, "crashed"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, h, made.ID, town.BeadFailed)
	escalations, err := h.Escalations(t.Context(), "open")
	if err != nil || len(escalations) != 1 || escalations[0].BeadID != made.ID || escalations[0].Severity != town.PriorityHigh {
		t.Errorf("Escalations() = %+v, %v", escalations, err)
	}
	if n, err := h.failures(t.Context(), clock.now().Add(-time.Hour)); err != nil || n != 2 {
		t.Errorf("failures() = %d, %v; want 2", n, err)
	}
	b, err = h.RetryBead(t.Context(), Person, made.ID, "again")
	if err != nil || b.Attempts != 0 || b.ClosedAt != nil {
		t.Errorf("RetryBead() = %+v, %v", b, err)
	}
	if third := take(t, h); third.AgentID != first.AgentID || third.Epoch != 3 {
		t.Errorf("third attempt %+v", third)
	}
}

func TestADoneOfAnOldEpochIsKept(t *testing.T) {
	h, clock := newHall(t)
	addBead(t, h, town.BeadRequest{})
	first := take(t, h)
	if _, err := h.released(t.Context(), first.ID, first.Epoch, "lost"); err != nil {
		t.Fatal(err)
	}
	if out := done(t, h, first); !out.Kept || out.Bead.Status != town.BeadOpen {
		t.Errorf("done of nobody's bead: %+v", out)
	}
	clock.pass(time.Minute)
	second := take(t, h)
	if out := done(t, h, first); !out.Kept || out.Bead.Status != town.BeadInProgress {
		t.Errorf("done of the first: %+v", out)
	}
	if out := done(t, h, second); out.Kept {
		t.Errorf("done of the second: %+v", out)
	}
	notes, err := h.Notes(t.Context(), first.ID)
	attempts := 0
	for _, n := range notes {
		if n.Kind == "attempt" && n.Branch == first.Branch && n.Epoch == first.Epoch {
			attempts++
		}
	}
	if err != nil || attempts != 2 {
		t.Errorf("%d attempts kept, want 2: %+v, %v", attempts, notes, err)
	}
}

func TestAHoldKeepsABeadUntilItIsLetGo(t *testing.T) {
	h, _ := newHall(t)
	b := addBead(t, h, town.BeadRequest{})
	take(t, h)
	hold, none := "wait for me", ""
	held, err := h.PatchBead(t.Context(), Person, b.ID, town.BeadPatch{Hold: &hold})
	if err != nil || held.Status != town.BeadOpen || held.Hold != hold || held.Attempts != 1 {
		t.Errorf("held %+v, %v", held, err)
	}
	nothingToTake(t, h)
	if b, err := h.PatchBead(t.Context(), Person, b.ID, town.BeadPatch{Hold: &none}); err != nil || b.Attempts != 1 {
		t.Errorf("let go %+v, %v", b, err)
	}
	take(t, h)
}

func TestWhatAPatchMayNot(t *testing.T) {
	h, _ := newHall(t)
	b := addBead(t, h, town.BeadRequest{})
	long, bad, convoy := strings.Repeat("x", maxTitle+1), town.Priority("huge"), town.BeadConvoy
	_, err := h.PatchBead(t.Context(), Person, b.ID, town.BeadPatch{Title: &long, Priority: &bad})
	invalid, ok := errors.AsType[*town.InvalidError](err)
	if !ok || len(invalid.Issues) != 2 || invalid.Issues[0].Path != "title" || invalid.Issues[1].Path != "priority" {
		t.Errorf("PatchBead() = %v", err)
	}
	_, err = h.PatchBead(t.Context(), Person, b.ID, town.BeadPatch{Type: &convoy})
	wantKind(t, err, town.ErrConflict)
	_, err = h.PatchBead(t.Context(), Person, b.ID, town.BeadPatch{Status: town.BeadInReview})
	wantKind(t, err, town.ErrInvalid)
	_, err = h.PatchBead(t.Context(), Person, "nobody", town.BeadPatch{})
	wantKind(t, err, town.ErrNotFound)
	if _, err := h.CloseBead(t.Context(), Person, b.ID, api.CloseRequest{Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	_, err = h.PatchBead(t.Context(), Person, b.ID, town.BeadPatch{Status: town.BeadFailed})
	wantKind(t, err, town.ErrConflict)
	_, err = h.RetryBead(t.Context(), Person, b.ID, "")
	wantKind(t, err, town.ErrConflict)
}

func TestBeadsAreBounded(t *testing.T) {
	h, _ := newHall(t)
	for path, req := range map[string]town.BeadRequest{
		"title":        {},
		"body":         {Title: "x", Body: strings.Repeat("x", maxBody+1)},
		"labels":       {Title: "x", Labels: make([]string, maxLabels+1)},
		"labels[0]":    {Title: "x", Labels: []string{strings.Repeat("x", maxLabel+1)}},
		"type":         {Title: "x", Type: "thing"},
		"priority":     {Title: "x", Priority: "p"},
		"dependsOn[0]": {Title: "x", DependsOn: []string{"../x"}},
		"maxAttempts":  {Title: "x", MaxAttempts: -1},
		"metadata":     {Title: "x", Metadata: json.RawMessage(`[1]`)},
		"target":       {Title: "x", Target: "-x"},
	} {
		_, _, err := h.CreateBead(t.Context(), Person, "rig", req)
		invalid, ok := errors.AsType[*town.InvalidError](err)
		if !ok || !slices.ContainsFunc(invalid.Issues, func(i town.Issue) bool { return i.Path == path }) {
			t.Errorf("%s: CreateBead() = %v", path, err)
		}
	}
	_, _, err := h.CreateBead(t.Context(), Person, "nobody", town.BeadRequest{Title: "x"})
	wantKind(t, err, town.ErrNotFound)
}

func TestBeadsArePagedNewestFirst(t *testing.T) {
	h, _ := newHall(t)
	var want []string
	for range 5 {
		want = append(want, addBead(t, h, town.BeadRequest{Title: "100% of it", Labels: []string{"x"}}).ID)
	}
	addBead(t, h, town.BeadRequest{Title: "1000 of it"})
	slices.Reverse(want)
	var got []string
	for q := (api.BeadQuery{RigID: "rig", Label: "x", Text: "0% OF", Status: town.BeadOpen, Limit: 2}); ; {
		page, next, err := h.Beads(t.Context(), q)
		if err != nil || len(page) > 2 {
			t.Fatalf("Beads() = %d, %v", len(page), err)
		}
		for _, b := range page {
			got = append(got, b.ID)
		}
		if q.After = next; next == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Beads() = %v, want %v", got, want)
	}
	_, _, err := h.Beads(t.Context(), api.BeadQuery{After: "x"})
	wantKind(t, err, town.ErrInvalid)
	_, _, err = h.Beads(t.Context(), api.BeadQuery{Limit: 501})
	wantKind(t, err, town.ErrInvalid)
}

func TestAReworkComesBackToItsAgent(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	for i := 1; i <= MaxReworks; i++ {
		b := take(t, h)
		done(t, h, b)
		merge(t, h, "conflict")
		got := wantStatus(t, h, b.ID, town.BeadOpen)
		if got.Reworks != i || got.Feedback == "" || got.AgentID != b.AgentID || got.NotBefore != nil {
			t.Errorf("%d. rework: %+v", i, got)
		}
	}
	b := take(t, h)
	done(t, h, b)
	merge(t, h, "gates_failed")
	wantStatus(t, h, b.ID, town.BeadFailed)
	merges, err := h.Merges(t.Context(), MergeQuery{RigID: "rig"})
	if err != nil || len(merges) != MaxReworks+1 || merges[MaxReworks].Status != town.MergeGatesFailed {
		t.Errorf("Merges() = %+v, %v", merges, err)
	}
}

func TestARaceIsMergedAgainLater(t *testing.T) {
	h, clock := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	done(t, h, b)
	for i := range MaxMergeAttempts {
		wantStatus(t, h, b.ID, town.BeadInReview)
		merge(t, h, "race")
		if _, ok, err := h.nextMerge(t.Context(), "rig"); ok || err != nil {
			t.Fatalf("%d.: nextMerge() = %v, %v; want none yet", i, ok, err)
		}
		clock.pass(time.Hour)
	}
	wantStatus(t, h, b.ID, town.BeadFailed)
}

func TestARigThatMergesNothingClosesWhatIsDone(t *testing.T) {
	h, _ := newHall(t)
	addRig(t, h, "rig", town.RigSettings{Merge: town.MergeSettings{Mode: town.MergeNone}})
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	if out := done(t, h, b); out.Bead.Status != town.BeadClosed {
		t.Errorf("done: %+v", out)
	}
}

func TestARigIsNotDeletedWhileItWorks(t *testing.T) {
	h, _ := newHall(t)
	addRig(t, h, "other", town.RigSettings{})
	b := addBead(t, h, town.BeadRequest{})
	dependant, _, err := h.CreateBead(t.Context(), Person, "other", town.BeadRequest{Title: "x", DependsOn: []string{b.ID}})
	if err != nil {
		t.Fatal(err)
	}
	take(t, h)
	wantKind(t, h.DeleteRig(t.Context(), Person, "rig"), town.ErrConflict)
	if _, err := h.PatchBead(t.Context(), Person, b.ID, town.BeadPatch{Status: town.BeadFailed}); err != nil {
		t.Fatal(err)
	}
	if err := h.DeleteRig(t.Context(), Person, "rig"); err != nil {
		t.Fatal(err)
	}
	_, err = h.Bead(t.Context(), b.ID)
	wantKind(t, err, town.ErrNotFound)
	if got, ok, err := h.claimNext(t.Context(), "other", "", pickName); err != nil || !ok || got.ID != dependant.ID {
		t.Errorf("claimNext() = %v, %v; want the one that waited for a bead that is gone", ok, err)
	}
}

func TestValuesOfARigsVariablesAreNeverAnswered(t *testing.T) {
	h, _ := newHall(t)
	addRig(t, h, "rig", town.RigSettings{EnvVars: map[string]string{"KEY": "hush", "OTHER": "x"}})
	addRig(t, h, "rig", town.RigSettings{EnvVars: map[string]string{"KEY": ""}})
	rig, err := h.Rig(t.Context(), "rig")
	if err != nil || len(rig.EnvVars) != 1 || rig.EnvVars["KEY"] != "" {
		t.Errorf("Rig() = %v, %v", rig.EnvVars, err)
	}
	if rig, err := h.rigWithSecrets(t.Context(), "rig"); err != nil || rig.EnvVars["KEY"] != "hush" {
		t.Errorf("kept %v, %v; want the value of before", rig.EnvVars, err)
	}
}
