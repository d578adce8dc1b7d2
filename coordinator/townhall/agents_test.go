package townhall

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"townd/api"
	"townd/town"
)

func completion(b town.Bead, reason town.Reason) town.Completion {
	c := town.Completion{
		AgentID: b.AgentID, RigID: b.RigID, BeadID: b.ID, RunID: shown(b).RunID, Generation: b.Epoch, Status: town.CompletionCompleted, Reason: reason, Branch: b.Branch,
	}
	if slices.Contains([]town.Reason{town.ReasonCrashed, town.ReasonAuth, town.ReasonBudget}, reason) {
		c.Status = town.CompletionFailed
	}
	return c
}

// C12, C14, C26, C39: what the end of a run means for its bead.
func TestWhatTheEndOfARunMeansForItsBead(t *testing.T) {
	for reason, want := range map[town.Reason]struct {
		status    town.BeadStatus
		hold      bool
		escalates bool
	}{
		town.ReasonExited:  {town.BeadOpen, false, false}, // idle is not done
		town.ReasonCrashed: {town.BeadOpen, false, false},
		town.ReasonBudget:  {town.BeadOpen, false, false},
		town.ReasonAuth:    {town.BeadFailed, false, true},
		town.ReasonStopped: {town.BeadOpen, true, false},
		town.ReasonBlocked: {town.BeadOpen, true, true},
		town.ReasonWaiting: {town.BeadInProgress, false, false},
		town.ReasonDone:    {town.BeadInReview, false, false},
	} {
		t.Run(string(reason), func(t *testing.T) {
			h, _ := newHall(t)
			addBead(t, h, town.BeadRequest{})
			b := take(t, h)
			old := completion(b, town.ReasonCrashed)
			old.Generation, old.RunID = 0, "earlier"
			for _, c := range []town.Completion{old, completion(b, reason), completion(b, reason)} {
				if err := h.Completed(t.Context(), b.AgentID, c); err != nil {
					t.Fatal(err)
				}
			}
			got := wantStatus(t, h, b.ID, want.status)
			if (got.Hold != "") != want.hold {
				t.Errorf("hold %q, want one: %v", got.Hold, want.hold)
			}
			if e, err := h.Escalations(t.Context(), ""); err != nil || (len(e) == 1) != want.escalates {
				t.Errorf("Escalations() = %+v, %v; want one: %v", e, err, want.escalates)
			}
		})
	}
}

func TestAnEndAfterDoneChangesNothing(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	done(t, h, b)
	if err := h.Completed(t.Context(), b.AgentID, completion(b, town.ReasonDone)); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, h, b.ID, town.BeadInReview)
	if notes, err := h.Notes(t.Context(), b.ID); err != nil || len(notes) != 2 {
		t.Errorf("notes %+v, %v", notes, err)
	}
}

func TestAStopOfADrainHoldsNothing(t *testing.T) {
	for _, reason := range []town.Reason{town.ReasonStopped, town.ReasonKilled} {
		h, _ := newHall(t)
		addBead(t, h, town.BeadRequest{MaxAttempts: 1})
		b := take(t, h)
		if _, err := h.Heartbeat(t.Context(), town.Heartbeat{InstanceID: "box", Status: "draining", Agents: []town.AgentHeartbeat{shown(b)}}); err != nil {
			t.Fatal(err)
		}
		if err := h.Completed(t.Context(), b.AgentID, completion(b, reason)); err != nil {
			t.Fatal(err)
		}
		if got := wantStatus(t, h, b.ID, town.BeadOpen); got.Hold != "" || got.Attempts != 0 || got.NotBefore != nil {
			t.Errorf("after %s: held %q, %d attempts, not before %v", reason, got.Hold, got.Attempts, got.NotBefore)
		}
	}
}

func TestStoppingAnAgentHoldsItsBead(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	beat(t, h, "box", shown(b))
	if _, err := h.OrderStop(t.Context(), Person, b.AgentID, "enough"); err != nil {
		t.Fatal(err)
	}
	if got := wantStatus(t, h, b.ID, town.BeadOpen); !strings.Contains(got.Hold, "enough") {
		t.Errorf("hold %q", got.Hold)
	}
	if r := beat(t, h, "box", shown(b)); len(r.Orders) != 1 || r.Orders[0].Kind != town.OrderStop {
		t.Errorf("orders %+v", r.Orders)
	}
	if _, err := h.RetryBead(t.Context(), Person, b.ID, ""); err != nil {
		t.Fatal(err)
	}
	b = take(t, h)
	if r := beat(t, h, "box", shown(b)); len(r.Orders) != 0 {
		t.Errorf("the earlier stop is told to the agent that was started anew: %+v", r.Orders)
	}
}

func TestAHoldStopsWhoLivesAndOrdersItOnce(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	beat(t, h, "box", shown(b))
	why := "not now"
	if _, err := h.PatchBead(t.Context(), Person, b.ID, town.BeadPatch{Hold: &why}); err != nil {
		t.Fatal(err)
	}
	id, err := h.OrderStop(t.Context(), Person, b.AgentID, "")
	if err != nil {
		t.Fatal(err)
	}
	if r := beat(t, h, "box", shown(b)); len(r.Orders) != 1 || r.Orders[0].Kind != town.OrderStop || r.Orders[0].ID != id {
		t.Errorf("orders %+v, want one stop %s", r.Orders, id)
	}
	if _, err := h.RetryBead(t.Context(), Person, b.ID, ""); err != nil {
		t.Fatal(err)
	}
	b = take(t, h)
	if err := h.Completed(t.Context(), b.AgentID, completion(b, town.ReasonStopped)); err != nil {
		t.Fatal(err)
	}
	if got := wantStatus(t, h, b.ID, town.BeadOpen); got.Hold == "" {
		t.Error("the bead of an agent that was stopped is not held")
	}
	if r := beat(t, h, "box"); len(r.Orders) != 0 {
		t.Errorf("an agent that has ended is to be stopped: %+v", r.Orders)
	}
}

// R11: what an agent noted is what the next attempt begins with.
// Proves D7.
func TestACheckpointIsPrimed(t *testing.T) {
	h, clock := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	me := Caller{AgentID: b.AgentID, Role: town.RolePolecat, Generation: b.Epoch}
	for data, kind := range map[string]error{"": town.ErrInvalid, "{": town.ErrInvalid, `"` + strings.Repeat("x", maxCheckpoint) + `"`: town.ErrInvalid} {
		_, err := h.SaveCheckpoint(t.Context(), me, b.AgentID, api.CheckpointRequest{Data: json.RawMessage(data), Epoch: b.Epoch})
		wantKind(t, err, kind)
	}
	if _, err := h.SaveCheckpoint(t.Context(), me, b.AgentID, api.CheckpointRequest{Data: json.RawMessage(`{"step": 2}`), Epoch: b.Epoch}); err != nil {
		t.Fatal(err)
	}
	_, err := h.SaveCheckpoint(t.Context(), me, b.AgentID, api.CheckpointRequest{Data: json.RawMessage(`1`), Epoch: b.Epoch - 1})
	wantKind(t, err, town.ErrConflict)
	if _, err := h.AddNote(t.Context(), me, b.ID, "half way", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := h.released(t.Context(), b.ID, b.Epoch, "x"); err != nil {
		t.Fatal(err)
	}
	clock.pass(time.Minute)
	addBead(t, h, town.BeadRequest{Title: "other"})
	take(t, h)
	p, err := h.Prime(t.Context(), me, b.AgentID)
	if err != nil || p.Bead == nil || string(p.Bead.Checkpoint) != `{"step": 2}` || p.Bead.Epoch != 2 || p.Agent.Generation != 2 {
		t.Errorf("Prime() = %+v, %v", p, err)
	}
	if len(p.Notes) != 4 || len(p.OpenBeads) != 1 || p.OpenBeads[0].Title != "other" {
		t.Errorf("Prime() = %d notes, beads %+v", len(p.Notes), p.OpenBeads)
	}
}

func TestAnAgentActsOnlyAsItself(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	addBead(t, h, town.BeadRequest{})
	mine, other := take(t, h), take(t, h)
	_, err := h.CallerOf(t.Context(), "stranger")
	wantKind(t, err, town.ErrForbidden)
	me, err := h.CallerOf(t.Context(), mine.AgentID)
	if err != nil || me.Role != town.RolePolecat || me.Generation != mine.Epoch {
		t.Fatalf("CallerOf() = %+v, %v", me, err)
	}
	ctx := t.Context()
	hold := "x"
	for name, call := range map[string]func() error{
		"prime": func() error { _, err := h.Prime(ctx, me, other.AgentID); return err },
		"done":  func() error { _, err := h.Done(ctx, me, other.AgentID, town.DoneRequest{Epoch: 1}); return err },
		"checkpoint": func() error {
			_, err := h.SaveCheckpoint(ctx, me, other.AgentID, api.CheckpointRequest{Data: json.RawMessage(`1`), Epoch: 1})
			return err
		},
		"status": func() error { _, err := h.SayStatus(ctx, me, other.AgentID, "x"); return err },
		"ask": func() error {
			_, err := h.Ask(ctx, me, other.AgentID, town.AskRequest{Question: "?", Options: []string{"a", "b"}})
			return err
		},
		"mail": func() error { _, err := h.Mail(ctx, me, MailQuery{To: other.AgentID}); return err },
		"ack":  func() error { _, err := h.AckMail(ctx, me, other.AgentID, nil); return err },
		"send": func() error {
			_, err := h.SendMail(ctx, me, town.MailRequest{From: other.AgentID, To: "mayor", Subject: "x"})
			return err
		},
		"note":  func() error { _, err := h.AddNote(ctx, me, other.ID, "x", ""); return err },
		"close": func() error { _, err := h.CloseBead(ctx, me, other.ID, api.CloseRequest{Epoch: 1}); return err },
		"patch": func() error { _, err := h.PatchBead(ctx, me, mine.ID, town.BeadPatch{Hold: &hold}); return err },
		"retry": func() error { _, err := h.RetryBead(ctx, me, mine.ID, ""); return err },
		"stop":  func() error { _, err := h.OrderStop(ctx, me, mine.AgentID, ""); return err },
		"review": func() error {
			_, err := h.RequestChanges(ctx, me, mine.AgentID, api.ChangesRequest{Feedback: "x"})
			return err
		},
		"escalate": func() error {
			_, _, err := h.Escalate(ctx, me, town.EscalationRequest{Title: "x", AgentID: other.AgentID})
			return err
		},
		"rig":   func() error { return h.DeleteRig(ctx, me, "rig") },
		"pause": func() error { _, err := h.Pause(ctx, me, "x"); return err },
		"convoy": func() error {
			_, err := h.CreateConvoy(ctx, me, town.ConvoyRequest{RigID: "rig", Title: "x", Tasks: []town.ConvoyTask{{Title: "y"}}})
			return err
		},
	} {
		if err := call(); !errors.Is(err, town.ErrForbidden) {
			t.Errorf("%s: %v, want it forbidden", name, err)
		}
	}
	b, _, err := h.CreateBead(ctx, me, "rig", town.BeadRequest{Title: "x", Source: "person"})
	if err != nil || b.Source != "agent:"+mine.AgentID {
		t.Errorf("source %q, %v", b.Source, err)
	}
	if b, err := h.CloseBead(ctx, me, mine.ID, api.CloseRequest{Epoch: mine.Epoch, Reason: "nothing to do"}); err != nil || b.Status != town.BeadClosed {
		t.Errorf("CloseBead() = %+v, %v", b, err)
	}
}

func TestMailLastsUntilItIsAcknowledged(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	me := Caller{AgentID: b.AgentID, Role: town.RolePolecat}
	_, err := h.SendMail(t.Context(), Person, town.MailRequest{To: "nobody", Subject: "x"})
	wantKind(t, err, town.ErrNotFound)
	m, err := h.SendMail(t.Context(), Person, town.MailRequest{To: b.AgentID, Subject: "hello", Body: "there"})
	if err != nil || m.From != "person" {
		t.Fatalf("SendMail() = %+v, %v", m, err)
	}
	for range 2 {
		if mail, err := h.Mail(t.Context(), me, MailQuery{}); err != nil || len(mail) != 1 || mail[0].ID != m.ID {
			t.Errorf("Mail() = %+v, %v", mail, err)
		}
	}
	if n, err := h.AckMail(t.Context(), me, b.AgentID, []string{m.ID, m.ID, "unknown"}); err != nil || n != 1 {
		t.Errorf("AckMail() = %d, %v", n, err)
	}
	if mail, err := h.Mail(t.Context(), me, MailQuery{}); err != nil || len(mail) != 0 {
		t.Errorf("Mail() = %+v, %v", mail, err)
	}
	if mail, err := h.Mail(t.Context(), Person, MailQuery{All: true}); err != nil || len(mail) != 1 || mail[0].AckedAt == nil {
		t.Errorf("all Mail() = %+v, %v", mail, err)
	}
}

// R5, R8: escalations of one cause are one.
// Proves Q10.
func TestAnEscalationOfTheSameCauseIsCounted(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	beat(t, h, "box", shown(b))
	me := Caller{AgentID: b.AgentID, Role: town.RolePolecat}
	req := town.EscalationRequest{Title: "no key", Cause: "key"}
	first, created, err := h.Escalate(t.Context(), me, req)
	if err != nil || !created || first.AgentID != b.AgentID || first.BeadID != b.ID || first.RigID != "rig" {
		t.Fatalf("Escalate() = %+v, %v, %v", first, created, err)
	}
	again, created, err := h.Escalate(t.Context(), me, req)
	if err != nil || created || again.ID != first.ID || again.Count != 2 {
		t.Errorf("Escalate() = %+v, %v, %v", again, created, err)
	}
	if e, err := h.CloseEscalation(t.Context(), Person, first.ID, "here it is"); err != nil || e.Status != "closed" || e.ClosedAt == nil {
		t.Errorf("CloseEscalation() = %+v, %v", e, err)
	}
	if mail, err := h.Mail(t.Context(), me, MailQuery{}); err != nil || len(mail) != 1 || mail[0].Body != "here it is" {
		t.Errorf("Mail() = %+v, %v", mail, err)
	}
	if r := beat(t, h, "box", shown(b)); len(r.Orders) != 1 || r.Orders[0].Kind != town.OrderMessage {
		t.Errorf("orders %+v", r.Orders)
	}
	_, err = h.AcknowledgeEscalation(t.Context(), Person, first.ID, "")
	wantKind(t, err, town.ErrConflict)
	if e, created, err := h.Escalate(t.Context(), me, req); err != nil || !created || e.ID == first.ID {
		t.Errorf("Escalate() after the close = %+v, %v, %v", e, created, err)
	}
}

// K11: a question with options, a wait, an answer.
func TestAQuestionIsAnsweredToWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, b := hallInMemory(t)
		me := Caller{AgentID: b.AgentID, Role: town.RolePolecat}
		for _, bad := range []town.AskRequest{{Question: "?"}, {Question: "?", Options: []string{"a"}}, {Options: []string{"a", "b"}}, {Question: "?", Options: []string{"a", "b"}, WaitSeconds: 3601}} {
			_, err := h.Ask(t.Context(), me, b.AgentID, bad)
			wantKind(t, err, town.ErrInvalid)
		}
		q, err := h.Ask(t.Context(), me, b.AgentID, town.AskRequest{Question: "which?", Options: []string{"a", "b"}})
		if err != nil || q.ExpiresAt.Sub(q.CreatedAt) != 10*time.Minute || q.BeadID != b.ID {
			t.Fatalf("Ask() = %+v, %v", q, err)
		}
		if got, err := h.Question(t.Context(), q.ID, 20*time.Second); err != nil || got.Status != "open" {
			t.Errorf("Question() = %+v, %v", got, err)
		}
		waited := make(chan town.Question)
		go func() {
			got, _ := h.Question(t.Context(), q.ID, time.Hour)
			waited <- got
		}()
		synctest.Wait()
		if _, err := h.AnswerQuestion(t.Context(), Person, q.ID, "b"); err != nil {
			t.Fatal(err)
		}
		if got := <-waited; got.Answer != "b" || got.Status != "answered" {
			t.Errorf("waited for %+v", got)
		}
		_, err = h.AnswerQuestion(t.Context(), Person, q.ID, "a")
		wantKind(t, err, town.ErrConflict)
		_, err = h.CancelQuestion(t.Context(), me, q.ID)
		wantKind(t, err, town.ErrConflict)
	})
}

func hallInMemory(t *testing.T) (*Hall, town.Bead) {
	h, err := Open(t.Context(), Config{Path: ":memory:", TownID: "town"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	addRig(t, h, "rig", town.RigSettings{})
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	beat(t, h, "box", shown(b))
	return h, b
}

func TestALateAnswerIsBroughtToTheAgent(t *testing.T) {
	h, clock := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	beat(t, h, "box", shown(b))
	q, err := h.Ask(t.Context(), Person, b.AgentID, town.AskRequest{Question: "which?", Options: []string{"a", "b"}, WaitSeconds: 60})
	if err != nil {
		t.Fatal(err)
	}
	clock.pass(time.Minute)
	if _, err := h.expired(t.Context(), clock.now(), nil); err != nil {
		t.Fatal(err)
	}
	if open, err := h.Questions(t.Context(), "open"); err != nil || len(open) != 0 {
		t.Errorf("open questions %+v, %v", open, err)
	}
	if q, err := h.AnswerQuestion(t.Context(), Person, q.ID, "a"); err != nil || q.Status != "answered" {
		t.Errorf("AnswerQuestion() = %+v, %v", q, err)
	}
	if r := beat(t, h, "box", shown(b)); len(r.Orders) != 1 || !strings.Contains(string(r.Orders[0].Data), "which?") {
		t.Errorf("orders %+v", r.Orders)
	}
}

func TestAnAgentThatEndedToWaitGoesOnWithItsAnswer(t *testing.T) {
	h, clock := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	beat(t, h, "box", shown(b))
	q, err := h.Ask(t.Context(), Person, b.AgentID, town.AskRequest{Question: "which?", Options: []string{"a", "b"}, WaitSeconds: 3600})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Completed(t.Context(), b.AgentID, completion(b, town.ReasonWaiting)); err != nil {
		t.Fatal(err)
	}
	clock.pass(30 * time.Minute)
	if over, err := h.expired(t.Context(), clock.now(), nil); err != nil || len(over) != 0 {
		t.Errorf("expired() = %v, %v; want none while the question is open", over, err)
	}
	if _, err := h.AnswerQuestion(t.Context(), Person, q.ID, "a"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, h, b.ID, town.BeadOpen)
	if again := take(t, h); again.AgentID != b.AgentID || again.Epoch != 2 || again.Attempts != 1 {
		t.Errorf("taken %+v", again)
	}
}

func TestAnEscalationThatIsAnsweredWakesWhoWaits(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	beat(t, h, "box", shown(b))
	e, _, err := h.Escalate(t.Context(), Caller{AgentID: b.AgentID, Role: town.RolePolecat}, town.EscalationRequest{Title: "no key"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Completed(t.Context(), b.AgentID, completion(b, town.ReasonWaiting)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.CloseEscalation(t.Context(), Person, e.ID, "here it is"); err != nil {
		t.Fatal(err)
	}
	if again := take(t, h); again.AgentID != b.AgentID || again.Epoch != 2 {
		t.Errorf("taken %+v", again)
	}
	if notes, err := h.Notes(t.Context(), b.ID); err != nil || !strings.Contains(workPrompt(b, notes), "here it is") {
		t.Errorf("its next attempt is not given the answer: %+v, %v", notes, err)
	}
}

func TestARefineryLooksFirst(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	done(t, h, b)
	refinery := Caller{AgentID: "refinery-rig", Role: town.RoleRefinery}
	look := func() town.Merge {
		t.Helper()
		m, ok, err := h.nextMerge(t.Context(), "rig")
		if err != nil || !ok {
			t.Fatalf("nextMerge() = %v, %v", ok, err)
		}
		err = h.write(t.Context(), fact, func(tx *tx) error {
			if m, err = setMerge(tx, m.ID, town.MergeReviewing, "", nil); err != nil {
				return err
			}
			m.Reviewer = refinery.AgentID
			return saveMerge(tx, &m)
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := look()
	if _, ok, err := h.nextMerge(t.Context(), "rig"); ok || err != nil {
		t.Errorf("nextMerge() = %v, %v; want none beside one that is reviewed", ok, err)
	}
	if got, err := h.RequestChanges(t.Context(), refinery, refinery.AgentID, api.ChangesRequest{Feedback: "no tests", Files: []string{"a.go"}}); err != nil || got.Status != town.BeadOpen || got.Feedback != "no tests\n\nFiles:\n- a.go" {
		t.Errorf("RequestChanges() = %+v, %v", got, err)
	}
	_, err := h.RequestChanges(t.Context(), refinery, refinery.AgentID, api.ChangesRequest{Feedback: "again"})
	wantKind(t, err, town.ErrConflict)
	_, err = h.RequestChanges(t.Context(), refinery, refinery.AgentID, api.ChangesRequest{Feedback: "again", MergeID: m.ID})
	wantKind(t, err, town.ErrConflict)
	b = take(t, h)
	done(t, h, b)
	look()
	beat(t, h, "box", town.AgentHeartbeat{AgentID: refinery.AgentID, RigID: "rig", Role: town.RoleRefinery, Status: town.StatusRunning, Generation: 1})
	if out, err := h.Done(t.Context(), refinery, refinery.AgentID, town.DoneRequest{Epoch: 1}); err != nil || out.Bead.Status != town.BeadInReview {
		t.Errorf("Done() = %+v, %v", out, err)
	}
	if m, ok, err := h.nextMerge(t.Context(), "rig"); err != nil || !ok || m.Reviewer != refinery.AgentID {
		t.Errorf("nextMerge() = %+v, %v, %v; want the one that was reviewed", m, ok, err)
	}
	merge(t, h, "merged")
	wantStatus(t, h, b.ID, town.BeadClosed)
}
