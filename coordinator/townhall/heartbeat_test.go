package townhall

import (
	"slices"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// C22: renewed by what the supervisor shows, whatever the agent does itself.
func TestAHeartbeatRenewsTheLeaseOfALiveAgent(t *testing.T) {
	h, clock := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	for range 10 {
		clock.pass(4 * time.Minute)
		beat(t, h, "box", shown(b))
		if got := bead(t, h, b.ID).Lease; got == nil || got.ExpiresAt.Sub(clock.now()) != 5*time.Minute {
			t.Fatalf("lease %+v at %v", got, clock.now())
		}
	}
	dead := shown(b)
	dead.Status = town.StatusExited
	other := shown(b)
	other.Generation = 7
	before := bead(t, h, b.ID).Lease.ExpiresAt
	for _, a := range []town.AgentHeartbeat{dead, other} {
		clock.pass(time.Minute)
		beat(t, h, "box", a)
		if got := bead(t, h, b.ID).Lease.ExpiresAt; !got.Equal(before) {
			t.Errorf("renewed by %+v", a)
		}
	}
}

// C27, C8: a lease that nobody renews ends after its time.
func TestALeaseThatNobodyRenewsEnds(t *testing.T) {
	h, clock := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	clock.pass(5*time.Minute - time.Millisecond)
	if over, err := h.expired(t.Context(), clock.now(), nil); err != nil || len(over) != 0 {
		t.Errorf("expired() = %v, %v; want none yet", over, err)
	}
	clock.pass(time.Millisecond)
	if at, ok, err := h.nextDeadline(t.Context()); err != nil || !ok || at.After(clock.now()) {
		t.Errorf("nextDeadline() = %v, %v, %v", at, ok, err)
	}
	over, err := h.expired(t.Context(), clock.now(), nil)
	if err != nil || len(over) != 1 || over[0].ID != b.ID || over[0].Status != town.BeadOpen || over[0].NotBefore == nil {
		t.Errorf("expired() = %+v, %v", over, err)
	}
}

func TestAClockThatIsSetEndsNoLease(t *testing.T) {
	for _, by := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		clock := newTestClock()
		cfg := testConfig(memory, clock)
		h, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		addRig(t, h, "rig", town.RigSettings{})
		addBead(t, h, town.BeadRequest{})
		b := take(t, h)
		clock.set(by)
		if _, err := h.RetryBead(t.Context(), Person, "nobody", ""); err == nil { // its rollback forgets the jump no more
			t.Error("there is such a bead")
		}
		if over, err := h.expired(t.Context(), clock.now(), nil); err != nil || len(over) != 0 {
			t.Errorf("by %v: expired() = %v, %v; want none", by, over, err)
		}
		if left := bead(t, h, b.ID).Lease.ExpiresAt.Sub(clock.now()); left < time.Minute || left > 5*time.Minute {
			t.Errorf("by %v: the lease lasts %v more", by, left)
		}
	}
}

func TestALeaseOutlivesTheHallsOwnDowntime(t *testing.T) {
	clock := newTestClock()
	path := t.TempDir() + "/hall.db"
	h := openHall(t, path, clock)
	addRig(t, h, "rig", town.RigSettings{})
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	clock.pass(time.Hour)
	h = openHall(t, path, clock)
	if over, err := h.expired(t.Context(), clock.now(), nil); err != nil || len(over) != 0 {
		t.Errorf("expired() = %v, %v; want none before a heartbeat could come", over, err)
	}
	clock.pass(time.Minute)
	if over, err := h.expired(t.Context(), clock.now(), nil); err != nil || len(over) != 1 || over[0].ID != b.ID {
		t.Errorf("expired() = %v, %v; want the bead", over, err)
	}
}

func TestANewContainerReplacesTheOneBefore(t *testing.T) {
	h, clock := newHall(t)
	addBead(t, h, town.BeadRequest{})
	addBead(t, h, town.BeadRequest{})
	lost, kept := take(t, h), take(t, h)
	if r := beat(t, h, "first", shown(lost), shown(kept)); r.Epoch != 1 {
		t.Errorf("epoch %d, want 1", r.Epoch)
	}
	clock.pass(time.Minute)
	addBead(t, h, town.BeadRequest{})
	young := take(t, h)
	if r := beat(t, h, "second", shown(kept)); r.Epoch != 2 {
		t.Errorf("epoch %d, want 2", r.Epoch)
	}
	if got := wantStatus(t, h, lost.ID, town.BeadOpen); got.NotBefore == nil || got.Attempts != 1 {
		t.Errorf("released %+v", got)
	}
	wantStatus(t, h, kept.ID, town.BeadInProgress)
	wantStatus(t, h, young.ID, town.BeadInProgress) // it may be starting
	_, err := h.Heartbeat(t.Context(), town.Heartbeat{InstanceID: "first", Agents: []town.AgentHeartbeat{shown(lost)}})
	wantKind(t, err, town.ErrGone)
	clock.pass(time.Minute)
	beat(t, h, "second", shown(kept))
	if got := wantStatus(t, h, young.ID, town.BeadOpen); got.NotBefore != nil || got.Attempts != 0 {
		t.Errorf("one whose agent never ran is released %+v, want no attempt", got)
	}
	if n, err := h.failures(t.Context(), time.Time{}); err != nil || n != 0 {
		t.Errorf("failures() = %d, %v: a container's end is no fault of a bead", n, err)
	}
}

// C40: an order is told until it is done, and never again.
func TestOrdersAreToldUntilTheyAreDone(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	beat(t, h, "box", shown(b))
	id, err := h.Nudge(t.Context(), Person, b.AgentID, api.NudgeRequest{Message: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := beat(t, h, "box", shown(b)); len(r.Orders) != 1 || r.Orders[0].ID != id || r.Orders[0].Kind != town.OrderMessage || r.Orders[0].AgentID != b.AgentID {
			t.Errorf("orders %+v", r.Orders)
		}
	}
	for range 2 {
		r, err := h.Heartbeat(t.Context(), town.Heartbeat{InstanceID: "box", OrdersDone: []town.OrderResult{{ID: id}, {ID: "unknown"}}})
		if err != nil || len(r.Orders) != 0 {
			t.Errorf("orders %+v, %v", r.Orders, err)
		}
	}
}

// D1, D4, D12: what is consumed counts on the run and on the agent, once.
func TestUsageCountsOnTheRunAndOnTheAgent(t *testing.T) {
	h, clock := newHall(t)
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	a := shown(b)
	for _, tokens := range []int64{10, 25, 25} {
		a.Usage = town.Usage{InputTokens: tokens, CostUSD: float64(tokens) / 100, ToolCalls: tokens / 5}
		beat(t, h, "box", a)
		clock.pass(time.Minute)
	}
	end := town.Completion{
		AgentID: b.AgentID, RunID: a.RunID, BeadID: b.ID, RigID: "rig", Generation: b.Epoch, Status: town.CompletionFailed, Reason: town.ReasonCrashed,
		Usage: town.Usage{InputTokens: 30, CostUSD: 0.25, ToolCalls: 6},
	}
	for range 2 {
		if err := h.Completed(t.Context(), b.AgentID, end); err != nil {
			t.Fatal(err)
		}
	}
	beat(t, h, "box", a) // late: the run has ended
	clock.pass(time.Minute)
	b = take(t, h)
	a = shown(b)
	a.Usage = town.Usage{InputTokens: 5}
	beat(t, h, "box", a)
	agents, err := h.Agents(t.Context())
	if err != nil || len(agents) != 1 || agents[0].Usage != (town.Usage{InputTokens: 35, CostUSD: 0.25, ToolCalls: 6}) {
		t.Errorf("Agents() = %+v, %v", agents, err)
	}
	runs, _, err := h.Runs(t.Context(), api.RunQuery{AgentID: b.AgentID, BeadID: b.ID})
	if err != nil || len(runs) != 2 || runs[0].Usage.InputTokens != 5 || runs[0].Status != "running" || runs[1].Usage.InputTokens != 30 || runs[1].Status != "error" {
		t.Errorf("Runs() = %+v, %v", runs, err)
	}
}

func TestAnAgentIsShownAsItsNewestGeneration(t *testing.T) {
	h, clock := newHall(t)
	addBead(t, h, town.BeadRequest{})
	first := take(t, h)
	old := shown(first)
	beat(t, h, "box", old)
	if _, err := h.released(t.Context(), first.ID, first.Epoch, "x"); err != nil {
		t.Fatal(err)
	}
	clock.pass(time.Minute)
	second := take(t, h)
	old.Status = town.StatusFailed
	beat(t, h, "box", old)
	agents, err := h.Agents(t.Context())
	if err != nil || agents[0].Status != town.StatusStarting || agents[0].Generation != second.Epoch {
		t.Errorf("Agents() = %+v, %v", agents, err)
	}
}

func TestQuietAgentsAreFound(t *testing.T) {
	h, clock := newHall(t)
	var beads []town.Bead
	for range 3 {
		addBead(t, h, town.BeadRequest{})
		beads = append(beads, take(t, h))
	}
	now := clock.now()
	old := now.Add(-time.Hour)
	idle, stuck, busy := shown(beads[0]), shown(beads[1]), shown(beads[2])
	idle.Turn.State = town.TurnIdle
	idle.LastActivityAt, stuck.LastActivityAt, busy.LastActivityAt = &old, &old, &now
	beat(t, h, "box", idle, stuck, busy)
	err := h.write(t.Context(), news, func(t *tx) error { return nudged(t, beads[0].ID) })
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.idle(t.Context(), now.Add(-time.Minute))
	if err != nil || len(got) != 1 || got[0].Bead.ID != beads[0].ID || got[0].Nudges != 1 || !got[0].NudgedAt.Equal(now) || !got[0].IdleFrom.Equal(old) {
		t.Errorf("idle() = %+v, %v", got, err)
	}
	got, err = h.stuck(t.Context(), now.Add(-time.Minute))
	if err != nil || len(got) != 1 || got[0].Bead.ID != beads[1].ID {
		t.Errorf("stuck() = %+v, %v", got, err)
	}
	if live, err := h.live(t.Context()); err != nil || live["rig"] != 3 {
		t.Errorf("live() = %v, %v", live, err)
	}
}

func TestAHeartbeatThatCannotBeIsRefused(t *testing.T) {
	h, _ := newHall(t)
	for _, hb := range []town.Heartbeat{
		{},
		{InstanceID: "box", Agents: []town.AgentHeartbeat{{AgentID: "../x", Role: town.RolePolecat, Status: town.StatusRunning}}},
		{InstanceID: "box", Agents: make([]town.AgentHeartbeat, maxAgents+1)},
	} {
		_, err := h.Heartbeat(t.Context(), hb)
		wantKind(t, err, town.ErrInvalid)
	}
}

func TestStatusShowsTheTown(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{Title: "first"})
	blocker := addBead(t, h, town.BeadRequest{Title: "second"})
	addBead(t, h, town.BeadRequest{Title: "third", DependsOn: []string{blocker.ID}, Priority: town.PriorityCritical})
	b := take(t, h)
	beat(t, h, "box", shown(b))
	s, err := h.Pause(t.Context(), Person, "lunch")
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, b := range s.Waiting {
		titles = append(titles, b.Title)
	}
	if !slices.Equal(titles, []string{"second", "third"}) || s.Paused != "lunch" || s.Instance.InstanceID != "box" || len(s.Agents) != 1 || s.Agents[0].Why != "works on first" {
		t.Errorf("Status() = %+v", s)
	}
	if s.Beads[town.BeadOpen] != 2 || s.Beads[town.BeadInProgress] != 1 || len(s.Beads) != 5 {
		t.Errorf("beads %v", s.Beads)
	}
	if s, err := h.Pause(t.Context(), Person, ""); err != nil || s.Paused != "" {
		t.Errorf("paused %q, %v", s.Paused, err)
	}
}
