package townhall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"townd/api"
	"townd/town"
)

// scripted is a container whose answers a test gives: the hall's own side of its
// interface to the outside.
type scripted struct {
	hall     *Hall
	instance string

	mu      sync.Mutex
	begun   time.Time
	left    *town.Quota
	agents  map[string]town.AgentHeartbeat
	starts  []town.StartRequest
	merges  []api.MergeRequest
	words   []string // messages, as "agent: text"
	stops   []string
	deletes []string

	onStart func(req town.StartRequest) error // before the agent lives; it does not when it returns an error
	onLive  func(req town.StartRequest)       // after
	onMerge func(req api.MergeRequest) (api.MergeResult, error)
}

func newScripted(h *Hall, instance string) *scripted {
	return &scripted{hall: h, instance: instance, begun: time.Now().UTC(), agents: map[string]town.AgentHeartbeat{}}
}

func (c *scripted) Start(_ context.Context, req town.StartRequest) (api.StartResponse, error) {
	c.mu.Lock()
	c.starts = append(c.starts, req)
	refuse := c.onStart
	c.mu.Unlock()
	if err := req.Validate(); err != nil {
		return api.StartResponse{}, err
	}
	if refuse != nil {
		if err := refuse(req); err != nil {
			return api.StartResponse{}, err
		}
	}
	c.live(req)
	if c.onLive != nil {
		c.onLive(req)
	}
	return api.StartResponse{Created: true}, nil
}

// live makes an agent one that runs.
func (c *scripted) live(req town.StartRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().UTC()
	c.agents[req.AgentID] = town.AgentHeartbeat{
		AgentID: req.AgentID, RigID: req.RigID, BeadID: req.BeadID, Role: req.Role, Status: town.StatusRunning, Generation: req.Generation,
		RunID: town.NewID(now), Turn: town.Turn{State: town.TurnWorking, Count: 1}, LastActivityAt: &now,
	}
}

// set changes an agent.
func (c *scripted) set(id string, change func(*town.AgentHeartbeat)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.agents[id]
	change(&a)
	c.agents[id] = a
}

func (c *scripted) Agent(_ context.Context, id string) (town.Agent, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.agents[id]
	if !ok {
		return town.Agent{}, fmt.Errorf("agent %s: %w", id, town.ErrNotFound)
	}
	return town.Agent{AgentID: id, Status: a.Status, Generation: a.Generation}, nil
}

func (c *scripted) Stop(_ context.Context, id string, _ town.StopRequest) (town.Agent, error) {
	c.set(id, func(a *town.AgentHeartbeat) { a.Status, a.Reason = town.StatusExited, town.ReasonStopped })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stops = append(c.stops, id)
	return town.Agent{}, nil
}

func (c *scripted) Message(_ context.Context, id string, req town.MessageRequest, _ string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.words = append(c.words, id+": "+req.Prompt)
	return "m", nil
}

func (c *scripted) Delete(_ context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.agents, id)
	c.deletes = append(c.deletes, id)
	return nil
}

func (c *scripted) Merge(_ context.Context, req api.MergeRequest) (api.MergeResult, error) {
	c.mu.Lock()
	c.merges = append(c.merges, req)
	answer := c.onMerge
	c.mu.Unlock()
	if answer == nil {
		return api.MergeResult{}, nil // taken: the outcome comes later
	}
	return answer(req)
}

// beat sends a heartbeat with every agent.
func (c *scripted) beat(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	hb := town.Heartbeat{InstanceID: c.instance, StartedAt: c.begun, SentAt: time.Now().UTC(), Status: "ok", Agents: slices.Collect(maps.Values(c.agents)), Quota: c.left}
	c.mu.Unlock()
	if _, err := c.hall.Heartbeat(t.Context(), hb); err != nil {
		t.Errorf("heartbeat: %v", err)
	}
}

// beatFor sends heartbeats until d has passed.
func (c *scripted) beatFor(t testing.TB, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(2*time.Minute, time.Until(end))) // the lease is longer
		c.beat(t)
		synctest.Wait()
	}
}

// end ends an agent's run with a reason.
func (c *scripted) end(t testing.TB, id string, reason town.Reason, text string) {
	t.Helper()
	var done town.Completion
	c.set(id, func(a *town.AgentHeartbeat) {
		a.Status, a.Reason, a.Turn.State = town.StatusExited, reason, town.TurnNone
		done = town.Completion{
			AgentID: id, RigID: a.RigID, BeadID: a.BeadID, RunID: a.RunID, Generation: a.Generation,
			Status: town.CompletionFailed, Reason: reason, Error: text,
		}
	})
	if err := c.hall.Completed(t.Context(), id, done); err != nil {
		t.Errorf("completed %s: %v", id, err)
	}
}

// done has an agent say that its work is done, and end.
func (c *scripted) done(t testing.TB, id string) DoneAnswer {
	t.Helper()
	var generation int64
	c.set(id, func(a *town.AgentHeartbeat) { generation = a.Generation })
	answer, err := c.hall.Done(t.Context(), caller(t, c.hall, id), id, town.DoneRequest{Epoch: generation, Summary: "did it"})
	if err != nil {
		t.Errorf("done %s: %v", id, err)
	}
	c.set(id, func(a *town.AgentHeartbeat) {
		a.Status, a.Reason, a.Turn.State = town.StatusExited, town.ReasonDone, town.TurnNone
	})
	return answer
}

func (c *scripted) started() []town.StartRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.starts)
}

func (c *scripted) said() []string    { return c.copyOf(&c.words) }
func (c *scripted) stopped() []string { return c.copyOf(&c.stops) }
func (c *scripted) deleted() []string { return c.copyOf(&c.deletes) }

func (c *scripted) copyOf(list *[]string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(*list)
}

func (c *scripted) asked() []api.MergeRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.merges)
}

func caller(t testing.TB, h *Hall, id string) Caller {
	t.Helper()
	c, err := h.CallerOf(t.Context(), id)
	if err != nil {
		t.Errorf("caller %s: %v", id, err)
	}
	return c
}

// dispatching is a hall on disk with a scripted container, and a dispatcher.
type dispatching struct {
	*Hall
	*scripted
	path string
	cfg  DispatchConfig
	stop func() // ends the dispatcher and waits for it
}

// newDispatching opens a hall with rigs of the given names and dispatches to a
// scripted container until the test ends. set changes how, before it begins.
func newDispatching(t testing.TB, rigs []string, set func(*dispatching)) *dispatching {
	t.Helper()
	d := &dispatching{path: filepath.Join(t.TempDir(), "town.db")}
	d.open(t)
	d.scripted = newScripted(d.Hall, "one")
	for _, id := range rigs {
		d.rig(t, id, func(*town.RigSettings) {})
	}
	d.cfg = DispatchConfig{Container: func() Container { return d.scripted }}
	if set != nil {
		set(d)
	}
	d.begin(t)
	t.Cleanup(func() {
		d.stop()
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

func (d *dispatching) open(t testing.TB) {
	t.Helper()
	h, err := Open(t.Context(), Config{Path: d.path, TownID: "town", Log: slog.New(slog.NewTextHandler(logTo(t), nil))})
	if err != nil {
		t.Fatal(err)
	}
	d.Hall = h
}

// begin starts the dispatcher.
func (d *dispatching) begin(t testing.TB) {
	d.beat(t)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error)
	h, cfg := d.Hall, d.cfg
	go func() { ended <- h.Dispatch(ctx, cfg) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("dispatch: %v", err)
		}
	})
}

// reopen ends dispatcher and hall, and opens them again.
func (d *dispatching) reopen(t testing.TB) {
	t.Helper()
	d.stop()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d.open(t)
	d.mu.Lock()
	d.hall = d.Hall
	d.mu.Unlock()
	d.begin(t)
}

func (d *dispatching) rig(t testing.TB, id string, set func(*town.RigSettings)) {
	t.Helper()
	s := town.RigSettings{GitURL: "https://git.example.com/" + id, DefaultBranch: "main"}
	set(&s)
	if _, _, err := d.PutRig(t.Context(), Person, id, s); err != nil {
		t.Fatal(err)
	}
}

func (d *dispatching) add(t testing.TB, rig string, req town.BeadRequest) town.Bead {
	t.Helper()
	if req.Title == "" {
		req.Title = "work"
	}
	b, _, err := d.CreateBead(t.Context(), Person, rig, req)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (d *dispatching) bead(t testing.TB, id string) town.Bead {
	t.Helper()
	b, err := d.Bead(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// want checks a bead's status.
func (d *dispatching) want(t testing.TB, id string, status town.BeadStatus) town.Bead {
	t.Helper()
	b := d.bead(t, id)
	if b.Status != status {
		t.Errorf("bead %q is %s (%s), want %s", b.Title, b.Status, b.Why, status)
	}
	return b
}

func (d *dispatching) escalations(t testing.TB) []town.Escalation {
	t.Helper()
	all, err := d.Escalations(t.Context(), "open")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func merged(req api.MergeRequest) (api.MergeResult, error) {
	return api.MergeResult{Status: "merged", Commit: "c0ffee", Target: req.TargetBranch}, nil
}

var errCut = errors.New("connection cut")

func logTo(t testing.TB) io.Writer {
	if testing.Verbose() {
		return t.Output()
	}
	return io.Discard
}
