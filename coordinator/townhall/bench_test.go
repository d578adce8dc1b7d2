package townhall

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// fillStore puts n beads into rig "rig": a tenth of each closed, held, blocked and not
// yet due, the rest ready.
func fillStore(b *testing.B, h *Hall, n int) {
	b.Helper()
	err := h.write(b.Context(), news, func(t *tx) error {
		var held string // what the blocked ones wait for
		for i := range n {
			bead := newBead(t, Person, "rig", town.BeadRequest{Title: "bead " + strconv.Itoa(i), Body: "do it", Priority: town.Priorities()[i%4]})
			bead.CreatedAt = t.now.Add(-time.Duration(i%1000) * time.Minute)
			switch i % 10 {
			case 1:
				bead.Status = town.BeadClosed
			case 2:
				bead.Hold, held = "held", bead.ID
			case 3:
				bead.DependsOn, bead.blockers = []string{held}, 1
			case 4:
				at := t.now.Add(time.Hour)
				bead.NotBefore = &at
			}
			if err := insertBead(t, &bead); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkClaim is what a bead costs to be handed out and given back, by the number
// of beads in the store.
func BenchmarkClaim(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			clock := newTestClock()
			h := openHall(b, filepath.Join(b.TempDir(), "hall.db"), clock)
			if _, _, err := h.PutRig(b.Context(), Person, "rig", town.RigSettings{GitURL: "https://example.com/r.git"}); err != nil {
				b.Fatal(err)
			}
			fillStore(b, h, n)
			name := func(map[string]bool) string { return "toast" }
			for b.Loop() {
				bead, ok, err := h.claimNext(b.Context(), "rig", "", name)
				if err != nil || !ok {
					b.Fatal(ok, err)
				}
				if _, err := h.CloseBead(b.Context(), Person, bead.ID, api.CloseRequest{}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if _, _, err := h.CreateBead(b.Context(), Person, "rig", town.BeadRequest{Title: "next"}); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkHeartbeat is one tick of a container with 200 agents that work.
func BenchmarkHeartbeat(b *testing.B) {
	clock := newTestClock()
	h := openHall(b, filepath.Join(b.TempDir(), "hall.db"), clock)
	if _, _, err := h.PutRig(b.Context(), Person, "rig", town.RigSettings{GitURL: "https://example.com/r.git"}); err != nil {
		b.Fatal(err)
	}
	fillStore(b, h, 1000)
	hb := town.Heartbeat{InstanceID: "box", Status: "ok"}
	for i := range 200 {
		bead, ok, err := h.claimNext(b.Context(), "rig", "", func(map[string]bool) string { return fmt.Sprintf("a%d", i) })
		if err != nil || !ok {
			b.Fatal(ok, err)
		}
		hb.Agents = append(hb.Agents, shown(bead))
	}
	tick := int64(0)
	for b.Loop() {
		tick++
		clock.pass(30 * time.Second)
		for i := range hb.Agents {
			hb.Agents[i].Usage.InputTokens = tick
			hb.Agents[i].MessageCount = tick
		}
		if _, err := h.Heartbeat(b.Context(), hb); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendEvents is one batch of events.
func BenchmarkAppendEvents(b *testing.B) {
	clock := newTestClock()
	h := openHall(b, filepath.Join(b.TempDir(), "hall.db"), clock)
	id := int64(0)
	batch := make([]town.AgentEvent, MaxEvents)
	for b.Loop() {
		for i := range batch {
			id++
			batch[i] = town.AgentEvent{
				AgentID: fmt.Sprintf("agent-%d", i%20), RigID: "rig", BeadID: "bead", RunID: fmt.Sprintf("run-%d", i%20),
				Event: town.Event{ID: id, Event: town.EventText, Data: json.RawMessage(`{"text":"a line of what an agent says while it works"}`), Timestamp: clock.now()},
			}
		}
		if _, err := h.AppendEvents(b.Context(), "box", batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*MaxEvents), "ns/event")
}
