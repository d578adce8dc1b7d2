package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"townd/town"
)

// Health is the body of GET /health.
type Health struct {
	Status    string    `json:"status"` // ok, degraded, draining, unhealthy
	Agents    int       `json:"agents"` // starting and running
	Uptime    int64     `json:"uptime"` // milliseconds
	StartedAt time.Time `json:"startedAt"`
	Version   string    `json:"version"`
	Draining  bool      `json:"draining"`
	Isolation string    `json:"isolation"` // between agents: "uid" or "none"
	KillRung  string    `json:"killRung"`  // how trees are ended: "uid" or "subreaper"
	MaxAgents int       `json:"maxAgents"`
	Degraded  []string  `json:"degraded"` // what is wrong now
	Warnings  []string  `json:"warnings"` // what may go wrong later; the status is ok with them
	Host      *Host     `json:"host,omitempty"`

	Coordinator *Coordinator `json:"coordinator,omitempty"` // the way to it

	Providers  []ModelProvider `json:"providers,omitempty"`  // the preferred one first
	QuotaProbe *town.Quota     `json:"quotaProbe,omitempty"` // what the town's own command measured last
	Rigs       []Rig           `json:"rigs,omitempty"`       // those prepared since the server began
}

// Coordinator is how the way to the town's coordinator is.
type Coordinator struct {
	InstanceID string           `json:"instanceId"` // of this container
	Epoch      int64            `json:"epoch"`      // that the coordinator gave it, 0 before
	ReachedAt  *time.Time       `json:"reachedAt"`  // when a heartbeat was answered last
	Replaced   bool             `json:"replaced"`   // another container has taken over: agents are stopped, nothing is reported
	Outbox     town.OutboxState `json:"outbox"`
}

// Rig is how far the preparation of a rig's repository is.
type Rig struct {
	RigID    string `json:"rigId"`
	State    string `json:"state"`           // waiting, preparing, ready, failed
	Phase    string `json:"phase,omitempty"` // of its clone, as git names it
	Progress int    `json:"progress"`        // percent of Phase
	Error    string `json:"error,omitempty"` // of a failed one
}

// ModelProvider is how a provider of models was when it was last asked.
type ModelProvider struct {
	Name    string         `json:"name"`
	Kind    town.ErrorKind `json:"kind,omitempty"` // why it did not serve; empty when it did, or was not asked yet
	Message string         `json:"message,omitempty"`
	Until   *time.Time     `json:"until,omitempty"` // it is not asked before then, if another one can serve
	Quota   *town.Quota    `json:"quota,omitempty"` // what is left of its limits, as it told last
	Cooling []CoolingModel `json:"cooling,omitempty"`
}

// CoolingModel is a model that its provider is not asked for before Until, if another
// one can serve.
type CoolingModel struct {
	Model string    `json:"model"`
	Until time.Time `json:"until"`
}

// The statuses of Health.
const (
	HealthOK        = "ok"
	HealthDegraded  = "degraded"
	HealthDraining  = "draining"
	HealthUnhealthy = "unhealthy"
)

// Host is the machine's own figures.
type Host struct {
	CPUs                 int        `json:"cpus"`
	Load                 [3]float64 `json:"load"` // over 1, 5 and 15 minutes
	MemoryTotalBytes     uint64     `json:"memoryTotalBytes"`
	MemoryAvailableBytes uint64     `json:"memoryAvailableBytes"`
	DiskTotalBytes       uint64     `json:"diskTotalBytes"` // of the town's home
	DiskFreeBytes        uint64     `json:"diskFreeBytes"`
	SampledAt            time.Time  `json:"sampledAt"`
}

// StartResponse is the body of POST /agents/start.
type StartResponse struct {
	town.Agent
	Ignored []string `json:"ignored,omitempty"` // fields of the request the town does not know

	// Created is false when the identical request was being carried out already.
	// It is the answer's status, 201 or 200.
	Created bool `json:"-"`
}

// AgentList is the body of GET /agents.
type AgentList struct {
	Agents []town.Agent `json:"agents"`
}

// StopResponse is the body of POST /agents/{id}/stop.
type StopResponse struct {
	Stopped bool       `json:"stopped"`
	Agent   town.Agent `json:"agent"`
}

// MessageResponse is the body of POST /agents/{id}/message.
type MessageResponse struct {
	Sent      bool   `json:"sent"`
	MessageID string `json:"messageId"`
}

// ModelRequest is what PATCH /agents/{id}/model takes.
type ModelRequest struct {
	Model string `json:"model"`
}

// SystemPromptRequest is what PUT /agents/{id}/system-prompt takes.
type SystemPromptRequest struct {
	SystemPrompt string `json:"systemPrompt"`
}

// UpdateResponse is the body of both.
type UpdateResponse struct {
	Updated bool `json:"updated"`
}

// ResizeRequest is what POST /agents/{id}/resize takes.
type ResizeRequest struct {
	Cols uint16 `json:"cols"`
	Rows uint16 `json:"rows"`
}

// ResizeResponse is the body of POST /agents/{id}/resize.
type ResizeResponse struct {
	Resized bool   `json:"resized"`
	Cols    uint16 `json:"cols"`
	Rows    uint16 `json:"rows"`
}

// DeleteResponse is the body of DELETE /agents/{id}.
type DeleteResponse struct {
	Deleted bool `json:"deleted"`
}

// Health returns how the town is. An unhealthy town is an answer, not an error.
func (c *Client) Health(ctx context.Context) (Health, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "/health"})
	if err != nil {
		return Health{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.Header.Get("Content-Type") != "application/json" {
		return Health{}, readError(resp)
	}
	var h Health
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		return Health{}, fmt.Errorf("read health: %w", err)
	}
	return h, nil
}

// Start starts an agent. Repeating the same request is safe.
func (c *Client) Start(ctx context.Context, req town.StartRequest) (StartResponse, error) {
	var out StartResponse
	status, err := c.ask(ctx, call{method: http.MethodPost, path: "/agents/start", body: req}, &out)
	out.Created = status == http.StatusCreated
	return out, err
}

// Stop ends an agent and returns when no process of it is left.
func (c *Client) Stop(ctx context.Context, id string, req town.StopRequest) (town.Agent, error) {
	var out StopResponse
	_, err := c.ask(ctx, call{method: http.MethodPost, path: agentPath(id, "/stop"), body: req}, &out)
	return out.Agent, err
}

// Message says something to an agent and returns the message's id. With a key,
// repeating it is safe: the message goes in once.
func (c *Client) Message(ctx context.Context, id string, req town.MessageRequest, key string) (string, error) {
	call := call{method: http.MethodPost, path: agentPath(id, "/message"), body: req}
	if key != "" {
		call.header = http.Header{"Idempotency-Key": {key}}
	}
	var out MessageResponse
	_, err := c.ask(ctx, call, &out)
	return out.MessageID, err
}

// SetModel has an agent use another model from its next turn on.
func (c *Client) SetModel(ctx context.Context, id, model string) error {
	_, err := c.ask(ctx, call{method: http.MethodPatch, path: agentPath(id, "/model"), body: ModelRequest{model}}, new(UpdateResponse))
	return err
}

// SetSystemPrompt gives an agent another system prompt from its next turn on.
func (c *Client) SetSystemPrompt(ctx context.Context, id, text string) error {
	_, err := c.ask(ctx, call{method: http.MethodPut, path: agentPath(id, "/system-prompt"), body: SystemPromptRequest{text}}, new(UpdateResponse))
	return err
}

// Agents returns every agent that is not forgotten, in the order of their ids.
func (c *Client) Agents(ctx context.Context) ([]town.Agent, error) {
	var out AgentList
	_, err := c.ask(ctx, call{method: http.MethodGet, path: "/agents"}, &out)
	return out.Agents, err
}

// Agent returns one agent.
func (c *Client) Agent(ctx context.Context, id string) (town.Agent, error) {
	var out town.Agent
	_, err := c.ask(ctx, call{method: http.MethodGet, path: agentPath(id, "/status")}, &out)
	return out, err
}

// Resize sizes an agent's terminal.
func (c *Client) Resize(ctx context.Context, id string, cols, rows uint16) error {
	_, err := c.ask(ctx, call{method: http.MethodPost, path: agentPath(id, "/resize"), body: ResizeRequest{cols, rows}}, new(ResizeResponse))
	return err
}

// Delete forgets an agent that has ended; its work is saved first.
func (c *Client) Delete(ctx context.Context, id string) error {
	_, err := c.ask(ctx, call{method: http.MethodDelete, path: agentPath(id, "")}, new(DeleteResponse))
	return err
}
