package townhall

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"townd/town"
)

func TestOpenBeadSaysWhatItWaitsFor(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	later := now.Add(3 * time.Minute)
	room := surroundings{now: now, rigMax: 5, townMax: 5}
	for _, c := range []struct {
		want string
		bead town.Bead
		s    func(*surroundings)
	}{
		{"is next", town.Bead{}, nil},
		{"2 before it in its rig", town.Bead{}, func(s *surroundings) { s.ahead = 2 }},
		{"is held: needs a person", town.Bead{Hold: "needs a person"}, nil},
		{"waits for bead x", town.Bead{}, func(s *surroundings) { s.blockers = []town.Bead{{ID: "x"}} }},
		{
			"waits for 4 beads: d, which has failed, a, b and 1 more",
			town.Bead{},
			func(s *surroundings) {
				s.blockers = []town.Bead{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d", Status: town.BeadFailed}}
			},
		},
		{"waits until 12:03", town.Bead{NotBefore: &later}, nil},
		{"waits until 12:03: attempt 2 of 3 after crashed", town.Bead{NotBefore: &later, Attempts: 1, MaxAttempts: 3, Why: "crashed"}, nil},
		{
			"waits until 12:03: attempt 3 of 3 after crashed with code 1: boom",
			town.Bead{NotBefore: &later, Attempts: 2, MaxAttempts: 3, Why: "waits until 2026-05-04T12:03:00Z: crashed with code 1: boom"},
			nil,
		},
		{"is next", town.Bead{NotBefore: &now}, nil},
		{"town paused: lunch", town.Bead{}, func(s *surroundings) { s.paused = "lunch" }},
		{"rig paused", town.Bead{}, func(s *surroundings) { s.rig.Paused = true }},
		{"standby until 12:03: 4 % of claude's requests left", town.Bead{}, func(s *surroundings) {
			s.standby = &town.Standby{Until: later, Why: "4 % of claude's requests left"}
		}},
		{"no container", town.Bead{}, func(s *surroundings) { s.noContainer = true }},
		{"container is left alone for now: full", town.Bead{}, func(s *surroundings) { s.containerWhy = "full" }},
		{"the rig's remote is left alone for now: down", town.Bead{}, func(s *surroundings) { s.remoteWhy = "down" }},
		{"no room: 5 of 5 agents in rig", town.Bead{}, func(s *surroundings) { s.rigLive = 5 }},
		{"no room: 5 of 5 agents in the town", town.Bead{}, func(s *surroundings) { s.rigLive, s.townLive = 4, 5 }},
	} {
		s := room
		if c.s != nil {
			c.s(&s)
		}
		if got := whyOpen(c.bead, s); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestStatusSaysWhyNothingIsHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.rig(t, "site", func(s *town.RigSettings) { s.MaxAgents = 1 })
		})
		first := d.add(t, "site", town.BeadRequest{Title: "first"})
		synctest.Wait()
		d.add(t, "site", town.BeadRequest{Title: "second"})
		d.add(t, "site", town.BeadRequest{Title: "third", DependsOn: []string{first.ID}})
		synctest.Wait()
		why := func() map[string]string {
			s, err := d.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all := map[string]string{}
			for _, b := range s.Waiting {
				all[b.Title] = b.Why
			}
			return all
		}
		if got := why(); got["second"] != "no room: 1 of 1 agents in rig" || got["third"] != "waits for bead "+first.ID {
			t.Errorf("%q", got)
		}
		d.mu.Lock()
		d.onStart = func(town.StartRequest) error { return fmt.Errorf("the disk: %w", town.ErrNoSpace) }
		d.mu.Unlock()
		d.end(t, d.bead(t, first.ID).AgentID, town.ReasonCrashed, "boom")
		synctest.Wait()
		if got := why(); !strings.HasPrefix(got["second"], "container is left alone for now: start failed: the disk") ||
			!strings.HasPrefix(got["first"], "waits until 00:00: attempt 2 of 3 after crashed: boom") {
			t.Errorf("%q", got)
		}
	})
}
