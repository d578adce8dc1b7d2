package townhall

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"townd/town"
)

// R5, R6: what becomes of a bead is decided by the structured reason of its agent's end.
func TestEndOfAnAgentIsJudgedByItsReason(t *testing.T) {
	code := 3
	for _, c := range []struct {
		reason   town.Reason
		attempts int
		want     Event
	}{
		{town.ReasonDone, 1, EventDone},
		{town.ReasonBlocked, 1, EventBlock},
		{town.ReasonWaiting, 1, ""},
		{town.ReasonStopped, 1, EventHold},
		{town.ReasonAuth, 1, EventGiveUp},
		{town.ReasonExited, 1, EventRelease},
		{town.ReasonCrashed, 2, EventRelease},
		{town.ReasonCrashed, 3, EventGiveUp},
		{town.ReasonKilled, 1, EventRelease},
		{town.ReasonOOM, 1, EventRelease},
		{town.ReasonTimeout, 3, EventGiveUp},
		{town.ReasonBudget, 1, EventRelease},
		{town.ReasonStartFailed, 1, EventRelease},
		{town.ReasonCutOff, 3, ""},
		{"of a newer container", 1, EventRelease},
	} {
		b := town.Bead{ID: "b", Status: town.BeadInProgress, Epoch: 4, Lease: &town.Lease{Epoch: 4}, Attempts: c.attempts, MaxAttempts: 3}
		end := town.Completion{AgentID: "a", Generation: 4, Reason: c.reason, Error: "boom", ExitCode: &code, Branch: "polecat/a/b"}
		call := afterEnd(b, end)
		if call.Event != c.want {
			t.Errorf("%s at attempt %d: %q, want %q", c.reason, c.attempts, call.Event, c.want)
		}
		if c.want != "" && c.want != EventDone && !strings.Contains(call.Reason, "boom") { // R8: the original error
			t.Errorf("%s: reason %q does not tell the error", c.reason, call.Reason)
		}
		end.Generation = 3
		if call := afterEnd(b, end); call.Event != "" {
			t.Errorf("%s of an older lease: %q", c.reason, call.Event)
		}
		b.Status, b.Lease = town.BeadInReview, nil
		if call := afterEnd(b, end); call.Event != "" {
			t.Errorf("%s after done: %q", c.reason, call.Event)
		}
	}
}

func TestOutcomeOfAMergeIsJudged(t *testing.T) {
	m := town.Merge{ID: "m", RigID: "r", Branch: "polecat/a/b", Target: "main", Attempts: 1}
	for _, c := range []struct {
		status   string
		attempts int
		reworks  int
		merge    town.MergeStatus
		event    Event
	}{
		{"merged", 1, 0, town.MergeMerged, EventMerged},
		{"nothing", 1, 0, town.MergeMerged, EventMerged},
		{"conflict", 1, 0, town.MergeConflict, EventRework},
		{"conflict", 1, 3, town.MergeConflict, EventGiveUp},
		{"gates_failed", 1, 2, town.MergeGatesFailed, EventRework},
		{"gates_failed", 1, 3, town.MergeGatesFailed, EventGiveUp},
		{"race", 1, 0, town.MergeWaiting, ""},
		{"network", 9, 0, town.MergeWaiting, ""},
		{"network", 10, 0, town.MergeFailed, EventGiveUp},
		{"auth", 1, 0, town.MergeFailed, EventGiveUp},
		{"failed", 1, 0, town.MergeFailed, EventGiveUp},
		{"pull_request", 1, 0, town.MergeAwaitingPR, ""},
		{"closed", 1, 0, town.MergeFailed, EventGiveUp},
		{"something new", 1, 0, town.MergeFailed, EventGiveUp},
	} {
		m.Attempts = c.attempts
		v := afterMerge(m, town.Bead{ID: "b", Reworks: c.reworks}, town.MergeOutcome{Status: c.status, Message: "as it was told"})
		if v.status != c.merge || v.call.Event != c.event {
			t.Errorf("%s (attempt %d, rework %d): %s %q, want %s %q", c.status, c.attempts, c.reworks, v.status, v.call.Event, c.merge, c.event)
		}
		if (v.status == town.MergeWaiting || v.status == town.MergeAwaitingPR) != (v.again > 0) {
			t.Errorf("%s: again after %v", c.status, v.again)
		}
		if c.event == EventGiveUp && !strings.Contains(v.call.Reason, "as it was told") {
			t.Errorf("%s: reason %q does not tell the message", c.status, v.call.Reason)
		}
	}
}

// Proves K9.
func TestFeedbackNamesFilesHunksAndTheEndOfTheOutput(t *testing.T) {
	m := town.Merge{Branch: "polecat/a/b", Target: "main"}
	v := afterMerge(m, town.Bead{}, town.MergeOutcome{
		Status: "conflict", Message: "1 file conflicts", Conflicts: []byte(`[{"path":"a.go","kind":"contents","hunks":"<<<<<<< main\none\n"}]`),
	})
	for _, want := range []string{"a.go (contents)", "<<<<<<< main\none", "into the branch"} {
		if !strings.Contains(v.call.Feedback, want) {
			t.Errorf("conflict feedback %q lacks %q", v.call.Feedback, want)
		}
	}
	output := strings.Repeat("earlier\n", 10_000) + "--- FAIL: TestLast"
	v = afterMerge(m, town.Bead{}, town.MergeOutcome{
		Status: "gates_failed", Gates: fmt.Appendf(nil, `[{"name":"lint","exitCode":0,"output":"fine"},{"name":"test","exitCode":2,"output":%q}]`, output),
	})
	for _, want := range []string{"test ended with code 2", "--- FAIL: TestLast"} {
		if !strings.Contains(v.call.Feedback, want) {
			t.Errorf("gates feedback lacks %q", want)
		}
	}
	if strings.Contains(v.call.Feedback, "lint") || len(v.call.Feedback) > maxSectionBytes+100 {
		t.Errorf("gates feedback of %d bytes tells what passed, or too much", len(v.call.Feedback))
	}
	v = afterMerge(m, town.Bead{}, town.MergeOutcome{Status: "conflict", Message: "m", Conflicts: []byte(`"torn`), Gates: []byte(`7`)})
	if v.call.Event != EventRework {
		t.Errorf("with conflicts that cannot be read: %q", v.call.Event)
	}
}

func TestStartThatFailedIsBlamedByItsKind(t *testing.T) {
	wrap := func(kind error) error { return fmt.Errorf("town says: %w", kind) }
	for _, c := range []struct {
		err  error
		want blame
	}{
		{&town.InvalidError{}, ofRequest},
		{wrap(town.ErrTooLarge), ofRequest},
		{wrap(town.ErrStartFailed), ofBead},
		{wrap(town.ErrConflict), ofNobody},
		{wrap(town.ErrGit), ofRig},
		{&town.CapacityError{}, ofContainer},
		{wrap(town.ErrUnavailable), ofContainer},
		{wrap(town.ErrUnauthorized), ofContainer},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, ofContainer},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, unknown},
		{context.DeadlineExceeded, unknown},
		{errors.New("500: internal error"), unknown},
	} {
		if got := judgeStart(c.err); got != c.want {
			t.Errorf("%v: blame %d, want %d", c.err, got, c.want)
		}
	}
}
