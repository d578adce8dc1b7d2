package townhall

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"townd/api"
	"townd/town"
)

// atWork returns a town with one bead that an agent has.
func atWork(t *testing.T) (*dispatching, town.Bead) {
	t.Helper()
	d := newDispatching(t, []string{"site"}, nil)
	b := d.add(t, "site", town.BeadRequest{})
	synctest.Wait()
	return d, d.bead(t, b.ID)
}

// Idle is not done: nudged, nudged, then people are told and the bead is held.
func TestIdleAgentIsNudgedTwiceThenPeopleAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := atWork(t)
		id := b.AgentID
		d.set(id, func(a *town.AgentHeartbeat) { a.Turn.State = town.TurnIdle })
		for n, after := range []time.Duration{9 * time.Minute, 2 * time.Minute, 8 * time.Minute, 2 * time.Minute} {
			d.beatFor(t, after)
			if got, want := len(d.said()), []int{0, 1, 1, 2}[n]; got != want {
				t.Errorf("step %d: %d nudges, want %d", n, got, want)
			}
		}
		d.want(t, b.ID, town.BeadInProgress)
		d.beatFor(t, 10*time.Minute)
		if got := d.want(t, b.ID, town.BeadOpen); got.Hold == "" {
			t.Error("not held")
		}
		if e := d.escalations(t); len(e) != 1 || e[0].Cause != "idle:"+b.ID || e[0].Count != 1 {
			t.Errorf("escalations %+v", e)
		}
		d.beatFor(t, 3*time.Minute)
		if len(d.stopped()) != 1 || d.stopped()[0] != id { // it lost its bead
			t.Errorf("stopped %q", d.stopped())
		}
		d.beatFor(t, 2*time.Hour)
		if len(d.said()) != 2 || len(d.started()) != 1 || len(d.stopped()) != 1 {
			t.Errorf("later: %d nudges, %d starts, %d stops", len(d.said()), len(d.started()), len(d.stopped()))
		}
	})
}

func TestAgentThatWorksIsNotNudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := atWork(t)
		id := b.AgentID
		for range 20 {
			d.beatFor(t, 9*time.Minute)
			now := time.Now().UTC()
			d.set(id, func(a *town.AgentHeartbeat) { a.LastActivityAt = &now })
		}
		if len(d.said()) != 0 || len(d.escalations(t)) != 0 {
			t.Errorf("said %q, escalations %+v", d.said(), d.escalations(t))
		}
	})
}

func TestSilentAgentIsToldToPeopleThenEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := atWork(t)
		id := b.AgentID
		d.beatFor(t, time.Hour+time.Minute)
		if e := d.escalations(t); len(e) != 1 || e[0].AgentID != id || e[0].Count != 1 {
			t.Errorf("escalations %+v", e)
		}
		d.beatFor(t, time.Hour)
		if got := d.bead(t, b.ID); got.Epoch != 2 && got.Status != town.BeadOpen {
			t.Errorf("bead is %s of epoch %d", got.Status, got.Epoch)
		}
		d.beatFor(t, 5*time.Minute)
		if len(d.stopped()) != 1 {
			t.Errorf("stopped %q", d.stopped())
		}
	})
}

// What has ended is kept for a day, so that people can look at it, and then forgotten;
// what may come back from review is kept.
func TestContainerForgetsAgentsWhoseBeadHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := atWork(t)
		id := b.AgentID
		d.done(t, id)
		d.beatFor(t, 10*time.Minute)
		if len(d.deleted()) != 0 {
			t.Errorf("deleted %q while in review", d.deleted())
		}
		if _, err := d.CloseBead(t.Context(), Person, b.ID, api.CloseRequest{}); err != nil {
			t.Fatal(err)
		}
		d.beatFor(t, 23*time.Hour)
		if len(d.deleted()) != 0 {
			t.Errorf("deleted %q on the day that its bead was closed", d.deleted())
		}
		d.beatFor(t, 2*time.Hour)
		if len(d.deleted()) != 1 || d.deleted()[0] != id {
			t.Errorf("deleted %q", d.deleted())
		}
	})
}

func TestAnswersReachAgentsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := atWork(t)
		id := b.AgentID
		if _, err := d.Nudge(t.Context(), Person, id, api.NudgeRequest{Message: "look at the cache"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(d.said()) != 1 || !strings.Contains(d.said()[0], "look at the cache") {
			t.Errorf("said %q", d.said())
		}
		if orders, err := d.Orders(t.Context()); err != nil || len(orders) != 0 {
			t.Errorf("orders left: %+v, %v", orders, err)
		}
	})
}

// A town in which everything fails pauses itself, tries one bead every ten minutes,
// and goes on by itself when one gets anywhere.
func TestBreakerPausesAFailingTownAndProbesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.onStart = func(town.StartRequest) error {
				if broken.Load() {
					return fmt.Errorf("no model: %w", town.ErrStartFailed)
				}
				return nil
			}
		})
		for range 40 {
			d.add(t, "site", town.BeadRequest{MaxAttempts: 10})
		}
		synctest.Wait()
		d.beatFor(t, time.Minute)
		before := len(d.started())
		status, err := d.Status(t.Context())
		if err != nil || !strings.HasPrefix(status.Paused, "breaker: ") || before < breakerFailures || before > breakerFailures+DefaultTownAgents {
			t.Fatalf("paused %q after %d starts, %v", status.Paused, before, err)
		}
		if e := d.escalations(t); len(e) != 1 || e[0].Cause != "breaker" {
			t.Errorf("escalations %+v", e)
		}
		d.beatFor(t, time.Hour)
		if n := len(d.started()) - before; n < 5 || n > 6 {
			t.Errorf("%d probes in an hour", n)
		}
		broken.Store(false)
		d.beatFor(t, 11*time.Minute)
		starts := d.started()
		if n := len(starts); n > before+8 {
			t.Errorf("%d starts while the probe runs", n-before)
		}
		d.done(t, starts[len(starts)-1].AgentID)
		synctest.Wait()
		d.beatFor(t, time.Second)
		if status, err := d.Status(t.Context()); err != nil || status.Paused != "" {
			t.Errorf("paused %q after a probe that succeeded, %v", status.Paused, err)
		}
		if live, err := d.Hall.live(t.Context()); err != nil || live["site"] != DefaultTownAgents {
			t.Errorf("%v run, %v", live, err)
		}
		if e := d.escalations(t); len(e) != 1 || e[0].Count != 1 {
			t.Errorf("escalations %+v", e)
		}
	})
}

func TestPersonClosesTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.onStart = func(town.StartRequest) error {
				if broken.Load() {
					return town.ErrStartFailed
				}
				return nil
			}
		})
		for range 25 {
			d.add(t, "site", town.BeadRequest{})
		}
		synctest.Wait()
		broken.Store(false)
		if _, err := d.Pause(t.Context(), Person, ""); err != nil {
			t.Fatal(err)
		}
		d.beatFor(t, 2*time.Minute)
		if live, err := d.Hall.live(t.Context()); err != nil || live["site"] != DefaultTownAgents {
			t.Errorf("%v run after a person let it go on, %v", live, err)
		}
	})
}

// A person who pauses the town after a pass has looked is not overruled by that pass.
func TestPersonsPauseOutlivesThePassThatDidNotSeeIt(t *testing.T) {
	h, clock := newHall(t)
	d := &dispatcher{h: h, log: h.log}
	trips := func(byPerson string) town.TownStatus {
		t.Helper()
		if err := d.look(t.Context(), clock.now()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Pause(t.Context(), Person, byPerson); err != nil {
			t.Fatal(err)
		}
		if err := d.checkBreaker(t.Context(), clock.now()); err != nil {
			t.Fatal(err)
		}
		status, err := h.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	err := h.write(t.Context(), fact, func(t *tx) error {
		for range breakerFailures {
			if err := failed(t, "bead", "no model"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := trips("we deploy"); s.Paused != "we deploy" || len(s.Escalations) != 0 || d.town.breaker.open() {
		t.Errorf("paused %q, escalations %+v, breaker open %v after a person's pause", s.Paused, s.Escalations, d.town.breaker.open())
	}
	if s := trips(""); s.Paused != "" {
		t.Errorf("paused %q after a person let it go on", s.Paused)
	}
	if s := trips(""); !strings.HasPrefix(s.Paused, breakerPrefix) || len(s.Escalations) != 1 {
		t.Errorf("paused %q, escalations %+v; want the breaker's", s.Paused, s.Escalations)
	}
	if s := trips("we deploy"); s.Paused != "we deploy" {
		t.Errorf("paused %q after a person's pause", s.Paused)
	}
}
