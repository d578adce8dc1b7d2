package townhall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// testClock is a wall clock beside one that never jumps.
type testClock struct {
	mu      sync.Mutex
	wall    time.Time
	elapsed time.Duration
}

func newTestClock() *testClock {
	return &testClock{wall: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)}
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *testClock) since() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// pass lets time go by.
func (c *testClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.elapsed = c.wall.Add(d), c.elapsed+d
}

// set moves the wall clock only.
func (c *testClock) set(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(by)
}

func testConfig(path string, clock *testClock) Config {
	// With one reader, who asks for another while it reads would wait for ever.
	return Config{Path: path, TownID: "town", Now: clock.now, Elapsed: clock.since, Readers: 1, Log: slog.New(slog.DiscardHandler)}
}

func openHall(t testing.TB, path string, clock *testClock) *Hall {
	t.Helper()
	h, err := Open(context.Background(), testConfig(path, clock))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// newHall is a hall on disk with one rig "rig".
func newHall(t testing.TB) (*Hall, *testClock) {
	t.Helper()
	clock := newTestClock()
	h := openHall(t, filepath.Join(t.TempDir(), "hall.db"), clock)
	addRig(t, h, "rig", town.RigSettings{})
	return h, clock
}

func addRig(t testing.TB, h *Hall, id string, set town.RigSettings) {
	t.Helper()
	set.GitURL = "https://example.com/" + id + ".git"
	if _, _, err := h.PutRig(t.Context(), Person, id, set); err != nil {
		t.Fatal(err)
	}
}

func addBead(t testing.TB, h *Hall, req town.BeadRequest) town.Bead {
	t.Helper()
	if req.Title == "" {
		req.Title = "do it"
	}
	b, _, err := h.CreateBead(t.Context(), Person, "rig", req)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// take claims the next bead of the rig.
func take(t testing.TB, h *Hall) town.Bead {
	t.Helper()
	b, ok, err := h.claimNext(t.Context(), "rig", "", pickName)
	if err != nil || !ok {
		t.Fatalf("claimNext() = %v, %v; want a bead", ok, err)
	}
	return b
}

// nothingToTake fails when a bead could be claimed.
func nothingToTake(t testing.TB, h *Hall) {
	t.Helper()
	b, ok, err := h.claimNext(t.Context(), "rig", "", pickName)
	if err != nil || ok {
		t.Fatalf("claimNext() = %+v, %v, %v; want none", b, ok, err)
	}
}

func bead(t testing.TB, h *Hall, id string) town.Bead {
	t.Helper()
	b, err := h.Bead(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// shown is the heartbeat of an agent that works on a bead.
func shown(b town.Bead) town.AgentHeartbeat {
	return town.AgentHeartbeat{
		AgentID: b.AgentID, RigID: b.RigID, BeadID: b.ID, Role: town.RolePolecat, Status: town.StatusRunning, Generation: b.Epoch,
		RunID: fmt.Sprintf("run-%s-%d", b.ID, b.Epoch), Turn: town.Turn{State: town.TurnWorking, Count: 1},
	}
}

func beat(t testing.TB, h *Hall, instance string, agents ...town.AgentHeartbeat) town.HeartbeatReply {
	t.Helper()
	reply, err := h.Heartbeat(t.Context(), town.Heartbeat{InstanceID: instance, Status: "ok", Agents: agents})
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func done(t testing.TB, h *Hall, b town.Bead) api.DoneAnswer {
	t.Helper()
	out, err := h.Done(t.Context(), Caller{AgentID: b.AgentID, Role: town.RolePolecat, Generation: b.Epoch}, b.AgentID,
		town.DoneRequest{Epoch: b.Epoch, Branch: b.Branch, Summary: "did it"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// merge brings the merge of a rig to an outcome.
func merge(t testing.TB, h *Hall, status string) {
	t.Helper()
	m, ok, err := h.nextMerge(t.Context(), "rig")
	if err != nil || !ok {
		t.Fatalf("nextMerge() = %v, %v; want a merge", ok, err)
	}
	err = h.write(t.Context(), fact, func(tx *tx) error {
		_, err := setMerge(tx, m.ID, town.MergeMerging, "", nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.MergeCompleted(t.Context(), "rig", m.ID, town.MergeOutcome{EntryID: m.ID, Status: status, Commit: "c0ffee"}); err != nil {
		t.Fatal(err)
	}
}

func wantStatus(t testing.TB, h *Hall, id string, want town.BeadStatus) town.Bead {
	t.Helper()
	b := bead(t, h, id)
	if b.Status != want {
		t.Errorf("bead is %s (%s), want %s", b.Status, b.Why, want)
	}
	return b
}

func wantKind(t testing.TB, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error = %v, want kind %v", err, kind)
	}
}
