package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/town"
)

// Container is the suite's side of the control API. It starts whatever it is asked
// to, merges nothing by itself, and takes orders by heartbeats only: sent
// directly, they are answered with 503.
type Container struct {
	token wire.Token
	mux   *http.ServeMux

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced with each call that came
	starts   []town.StartRequest
	merges   []api.MergeRequest
	agents   map[string]town.AgentHeartbeat // by id: what the next heartbeat tells
	instance string
	began    time.Time
	ahead    time.Duration // of our clock, where the coordinator's was moved on
	done     []town.OrderResult
	quota    *town.Quota
	wrong    []string // what a coordinator may not ask for
}

// NewContainer returns a container that a coordinator calls with that token.
func NewContainer(token string) *Container {
	c := &Container{
		token: wire.NewToken(token), mux: http.NewServeMux(), changed: make(chan struct{}),
		agents: map[string]town.AgentHeartbeat{}, instance: newID(), began: time.Now().UTC(),
	}
	c.mux.HandleFunc("POST /agents/start", c.start)
	c.mux.HandleFunc("GET /agents/{id}/status", c.status)
	c.mux.HandleFunc("POST /git/merge", c.merge)
	later := func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, fmt.Errorf("this container takes orders by heartbeats: %w", town.ErrUnavailable))
	}
	c.mux.HandleFunc("POST /agents/{id}/stop", later)
	c.mux.HandleFunc("POST /agents/{id}/message", later)
	c.mux.HandleFunc("DELETE /agents/{id}", later)
	return c
}

// ServeHTTP implements http.Handler.
func (c *Container) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := c.token.Authorize(r); err != nil {
		refuse(w, err)
		return
	}
	c.mux.ServeHTTP(w, r)
}

func refuse(w http.ResponseWriter, err error) {
	rec := &wire.Recorder{ResponseWriter: w}
	rec.Refuse(&http.Request{}, err, nil, nil)
}

func (c *Container) start(w http.ResponseWriter, r *http.Request) {
	var req town.StartRequest
	if _, err := wire.Body(r, &req); err != nil {
		refuse(w, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := req.Validate(); err != nil {
		c.wrong = append(c.wrong, fmt.Sprintf("start of %s: %v", req.AgentID, err))
		refuse(w, err)
		return
	}
	if had, ok := c.agents[req.AgentID]; !ok || had.Generation != req.Generation {
		c.starts = append(c.starts, req)
	}
	c.agents[req.AgentID] = town.AgentHeartbeat{
		AgentID: req.AgentID, RigID: req.RigID, BeadID: req.BeadID, Role: req.Role, Status: town.StatusRunning, RunID: newID(),
		Generation: req.Generation, Turn: town.Turn{State: town.TurnWorking, Count: 1}, ActiveTools: []string{}, LastActivityAt: new(now().Add(c.ahead)),
	}
	c.tell()
	wire.Answer(w, wire.Reply{Status: http.StatusCreated, Value: api.StartResponse{Agent: agentOf(req)}})
}

// advance moves the coordinator's clock on, and that of its container.
func (t *T) advance(d time.Duration) {
	t.target.Advance(d)
	t.box.mu.Lock()
	defer t.box.mu.Unlock()
	t.box.ahead += d
}

func now() *time.Time {
	t := time.Now().UTC().Truncate(time.Millisecond)
	return &t
}

func agentOf(req town.StartRequest) town.Agent {
	return town.Agent{
		AgentID: req.AgentID, RigID: req.RigID, TownID: req.TownID, Role: req.Role, Name: req.Name, BeadID: req.BeadID, CLI: req.CLI,
		Model: req.Model, Status: town.StatusRunning, Branch: req.Branch, Turn: town.Turn{State: town.TurnWorking}, Generation: req.Generation,
	}
}

func (c *Container) status(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.starts, func(s town.StartRequest) bool { return s.AgentID == r.PathValue("id") })
	if i < 0 {
		refuse(w, fmt.Errorf("agent %q: %w", r.PathValue("id"), town.ErrNotFound))
		return
	}
	wire.Answer(w, agentOf(c.starts[i]))
}

func (c *Container) merge(w http.ResponseWriter, r *http.Request) {
	var req api.MergeRequest
	if _, err := wire.Body(r, &req); err != nil {
		refuse(w, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if req.EntryID == "" || req.RigID == "" || req.Branch == "" {
		c.wrong = append(c.wrong, fmt.Sprintf("merge %+v lacks its entry, rig or branch", req))
	}
	c.merges = append(c.merges, req)
	c.tell()
	wire.Answer(w, wire.Reply{Status: http.StatusAccepted, Value: api.MergeResult{Status: "accepted", Conflicts: []api.Conflict{}, Gates: []api.GateResult{}}})
}

// tell wakes who waits. Called with mu held.
func (c *Container) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// heartbeat is the container's next one: all its agents.
func (c *Container) heartbeat() town.Heartbeat {
	c.mu.Lock()
	defer c.mu.Unlock()
	hb := town.Heartbeat{
		InstanceID: c.instance, StartedAt: c.began, SentAt: *now(), Status: api.HealthOK, Version: "conformance",
		Agents: []town.AgentHeartbeat{}, Resources: town.HostResources{MemoryTotal: 1 << 30}, OrdersDone: c.done, Quota: c.quota,
	}
	for _, a := range c.agents {
		hb.Agents = append(hb.Agents, a)
	}
	slices.SortFunc(hb.Agents, func(a, b town.AgentHeartbeat) int { return strings.Compare(a.AgentID, b.AgentID) })
	return hb
}

// change changes what heartbeats tell of an agent.
func (c *Container) change(agentID string, change func(*town.AgentHeartbeat)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, ok := c.agents[agentID]; ok {
		change(&a)
		c.agents[agentID] = a
	}
}

// forget tells nothing of an agent any more.
func (c *Container) forget(agentID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.agents, agentID)
}

// restart makes it a new container without agents.
func (c *Container) restart() (old string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, c.instance, c.began = c.instance, newID(), *now()
	c.agents, c.done = map[string]town.AgentHeartbeat{}, nil
	return old
}

// find returns the first call that fits, and waits for it.
func find[C any](t *T, what string, calls func(c *Container) []C, fits func(C) bool) C {
	c, found := t.box, -1
	var all []C
	t.eventually(what, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		all = slices.Clone(calls(c))
		found = slices.IndexFunc(all, fits)
		return found >= 0
	})
	return all[found]
}

// started waits for the start of the bead's agent with that epoch.
func (t *T) started(beadID string, epoch int64) town.StartRequest {
	return find(t, fmt.Sprintf("the start of bead %s with generation %d", beadID, epoch), func(c *Container) []town.StartRequest { return c.starts },
		func(s town.StartRequest) bool { return s.BeadID == beadID && s.Generation == epoch })
}

// starts returns which beads of a rig were started, in order.
func (t *T) starts(rigID string) []string {
	t.box.mu.Lock()
	defer t.box.mu.Unlock()
	ids := []string{}
	for _, s := range t.box.starts {
		if s.RigID == rigID && s.Role == town.RolePolecat {
			ids = append(ids, s.BeadID)
		}
	}
	return ids
}

// merging waits for the request to merge the bead's branch, the nth time. One that is asked
// again, by a coordinator that began anew, counts once.
func (t *T) merging(beadID string, nth int) api.MergeRequest {
	var asked []string
	return find(t, "the request to merge bead "+beadID, func(c *Container) []api.MergeRequest { asked = nil; return c.merges }, func(m api.MergeRequest) bool {
		if m.BeadID == beadID && !slices.Contains(asked, m.EntryID) {
			asked = append(asked, m.EntryID)
		}
		return m.BeadID == beadID && len(asked) == nth
	})
}

// beat sends a heartbeat of all agents.
func (t *T) beat() town.HeartbeatReply {
	hb := t.box.heartbeat()
	reply, err := t.hall.Heartbeat(t.ctx, hb)
	t.must(err)
	t.box.mu.Lock()
	defer t.box.mu.Unlock()
	t.box.done = nil
	for _, wrong := range t.box.wrong {
		t.Errorf("the coordinator asks the container for what it may not: %s", wrong)
	}
	t.box.wrong = nil
	return reply
}

// ordered waits for an order, which it carries out: it is gone from the heartbeats after.
func (t *T) ordered(kind town.OrderKind, agentID string) town.Order {
	var order town.Order
	t.eventually(fmt.Sprintf("an order %s for agent %s", kind, agentID), func() bool {
		orders := t.beat().Orders
		i := slices.IndexFunc(orders, func(o town.Order) bool { return o.Kind == kind && o.AgentID == agentID })
		if i >= 0 {
			order = orders[i]
		}
		return i >= 0
	})
	t.carryOut(order.ID)
	return order
}

// carryOut tells with the next heartbeat that an order is done.
func (t *T) carryOut(orderID string) {
	t.box.mu.Lock()
	t.box.done = append(t.box.done, town.OrderResult{ID: orderID})
	t.box.mu.Unlock()
	for _, o := range t.beat().Orders {
		if o.ID == orderID {
			t.Errorf("order %s is still there after it was told to be done", orderID)
		}
	}
}

func raw(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // values of ours
	}
	return data
}
