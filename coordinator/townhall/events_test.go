package townhall

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"townd/town"
)

func event(run string, id int64) town.AgentEvent {
	return town.AgentEvent{
		AgentID: "agent", RigID: "rig", BeadID: "bead", RunID: run,
		Event: town.Event{ID: id, Event: town.EventText, Data: json.RawMessage(`{"text":"x"}`), Timestamp: time.Unix(id, 0)},
	}
}

// Proves D2.
func TestEventsAreKeptOnceAndInOrder(t *testing.T) {
	h, _ := newHall(t)
	for _, batch := range []struct {
		events []town.AgentEvent
		want   int
	}{
		{[]town.AgentEvent{event("r1", 1), event("r1", 2)}, 2},
		{[]town.AgentEvent{event("r1", 2), event("r1", 3), event("r2", 1)}, 2},
		{nil, 0},
	} {
		if n, err := h.AppendEvents(t.Context(), "box", batch.events); err != nil || n != batch.want {
			t.Errorf("AppendEvents() = %d, %v; want %d", n, err, batch.want)
		}
	}
	var got []string
	for after := int64(0); ; {
		page, next, err := h.Events(t.Context(), EventQuery{After: after, AgentID: "agent", BeadID: "bead", RigID: "rig", Limit: 3}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			got = append(got, fmt.Sprintf("%s.%d", e.RunID, e.ID))
		}
		if after = next; len(page) == 0 {
			break
		}
	}
	if !slices.Equal(got, []string{"r1.1", "r1.2", "r1.3", "r2.1"}) {
		t.Errorf("events %s", got)
	}
	if page, _, err := h.Events(t.Context(), EventQuery{AgentID: "other"}, 0); err != nil || len(page) != 0 {
		t.Errorf("Events() of another = %v, %v", page, err)
	}
}

func TestEventsThatCannotBeAreRefused(t *testing.T) {
	h, _ := newHall(t)
	noRun, noID, noData := event("", 1), event("r", 0), event("r", 1)
	noData.Data = json.RawMessage(`{`)
	for _, events := range [][]town.AgentEvent{{noRun}, {noID}, make([]town.AgentEvent, MaxEvents+1)} {
		_, err := h.AppendEvents(t.Context(), "box", events)
		wantKind(t, err, town.ErrInvalid)
	}
}

func TestWhoWaitsForEventsGetsTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := hallInMemory(t)
		if page, next, err := h.Events(t.Context(), EventQuery{After: 7}, time.Minute); err != nil || len(page) != 0 || next != 7 {
			t.Errorf("Events() = %v, %d, %v; want none after a minute", page, next, err)
		}
		got := make(chan []town.AgentEvent)
		go func() {
			page, _, _ := h.Events(t.Context(), EventQuery{}, time.Hour)
			got <- page
		}()
		synctest.Wait()
		if _, err := h.AppendEvents(t.Context(), "box", []town.AgentEvent{event("r", 1)}); err != nil {
			t.Fatal(err)
		}
		if page := <-got; len(page) != 1 {
			t.Errorf("waited for %v", page)
		}
	})
}

func TestOldEventsAreThrownAway(t *testing.T) {
	clock := newTestClock()
	cfg := testConfig(":memory:", clock)
	cfg.Keep.Events = 100
	h, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for i := range int64(5) {
		var batch []town.AgentEvent
		for j := range int64(1000) {
			batch = append(batch, event("r", i*1000+j+1))
		}
		if _, err := h.AppendEvents(t.Context(), "box", batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	page, _, err := h.Events(t.Context(), EventQuery{Limit: MaxEvents}, 0)
	if err != nil || len(page) != 100 || page[99].Seq != 5000 {
		t.Errorf("Events() = %d, %v; want the newest 100", len(page), err)
	}
}
