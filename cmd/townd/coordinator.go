package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"townd/api"
	"townd/container"
	"townd/coordinator"
	"townd/coordinator/townhall"
	"townd/supervisor"
	"townd/town"
)

// coordinatorSettings say which coordinator the town reports to.
type coordinatorSettings struct {
	URL       string // "" for the embedded one
	Token     string // the town's own when empty
	TownID    string
	Heartbeat time.Duration
	Polecats  int // at work at once, where the coordinator is the embedded one
}

func (c *coordinatorSettings) settings() []setting {
	return []setting{
		{"coordinator-url", "TOWND_COORDINATOR_URL", "coordinator that the town reports to, as https://example.com; the one in this server when unset", text(&c.URL, "")},
		{"", "TOWND_COORDINATOR_TOKEN", "token that the coordinator is shown; TOWND_TOKEN when unset", text(&c.Token, "")},
		{"town-id", "TOWND_TOWN_ID", "the town's id at its coordinator", text(&c.TownID, defaultTown)},
		{"max-polecats", "MAX_CONCURRENT_EXECUTIONS", "agents that the coordinator in this server puts to work at once", whole(&c.Polecats, townhall.DefaultTownAgents)},
		{"heartbeat-seconds", "TOWND_HEARTBEAT_SECONDS", "time between heartbeats to the coordinator when nothing changes", duration(&c.Heartbeat, time.Second, coordinator.DefaultEvery)},
	}
}

// inherit takes over what a container of an earlier coordinator has in its environment.
func (c *coordinatorSettings) inherit(getenv func(string) string) {
	if c.URL = cmp.Or(c.URL, getenv("GASTOWN_API_URL")); c.URL == "" {
		return
	}
	c.Token = cmp.Or(c.Token, getenv("GASTOWN_CONTAINER_TOKEN"), getenv("INTERNAL_API_SECRET"))
	if c.TownID == defaultTown {
		c.TownID = cmp.Or(getenv("GASTOWN_TOWN_ID"), defaultTown)
	}
}

// validate calls bad for what is wrong.
func (c *coordinatorSettings) validate(bad func(env, format string, args ...any)) {
	if c.URL != "" {
		if _, err := coordinator.CheckURL(c.URL); err != nil {
			bad("TOWND_COORDINATOR_URL", "%v", err)
		}
	}
	if err := checkHeader(c.Token); err != nil {
		bad("TOWND_COORDINATOR_TOKEN", "%v", err)
	}
	if err := town.CheckID(c.TownID); err != nil {
		bad("TOWND_TOWN_ID", "%v", err)
	}
	if c.Polecats < 1 {
		bad("MAX_CONCURRENT_EXECUTIONS", "must be at least 1")
	}
	if c.Heartbeat < time.Second || c.Heartbeat > time.Hour {
		bad("TOWND_HEARTBEAT_SECONDS", "must be 1 to 3600")
	}
}

// embeddedURL names the coordinator in this process to its client: nothing resolves it.
const embeddedURL = "http://coordinator.invalid"

// openCoordinator opens the way to the coordinator: that of the settings, else
// embedded, reached without a socket. Start is the caller's.
func openCoordinator(ctx context.Context, c *Config, token string, embedded http.Handler, secrets *container.Secrets, log *slog.Logger) (*coordinator.Link, error) {
	config := coordinator.Config{
		Path: filepath.Join(c.Home, "outbox.db"), URL: c.Coordinator.URL, Token: cmp.Or(c.Coordinator.Token, token),
		TownID: c.Coordinator.TownID, Every: c.Coordinator.Heartbeat, Log: log.With("room", "coordinator"),
	}
	if config.URL == "" {
		config.URL, config.Token, config.HTTP = embeddedURL, token, api.HandlerTransport(embedded)
	}
	secrets.Add(config.Token)
	return coordinator.Open(ctx, config)
}

// linkFace is the way to the coordinator as the town's face sees it.
type linkFace struct {
	link     *coordinator.Link
	embedded bool
}

// State is part of container.Coordinator.
func (f linkFace) State(ctx context.Context) container.CoordinatorState {
	st := f.link.State(ctx)
	out := container.CoordinatorState{
		Coordinator: api.Coordinator{InstanceID: st.InstanceID, Epoch: st.Epoch, Replaced: st.Replaced, Outbox: st.Outbox},
		Degraded:    st.Degraded, Sends: st.Sends, Heartbeats: st.Heartbeats, HeartbeatsLost: st.HeartbeatsLost,
		HeartbeatsTook: st.HeartbeatsTook, PendingBytes: st.OutboxBytes,
	}
	if !st.ReachedAt.IsZero() {
		out.ReachedAt = new(st.ReachedAt.UTC())
	}
	return out
}

// SetToken is part of container.Coordinator. The embedded coordinator takes the town's
// own token and no other.
func (f linkFace) SetToken(token string) bool {
	if !f.embedded {
		f.link.SetToken(token)
	}
	return !f.embedded
}

// CheckCallback is part of container.Coordinator.
func (f linkFace) CheckCallback(callback string) error {
	_, err := f.link.CallbackPath(callback)
	return err
}

// MergeEnded is part of container.Coordinator.
func (f linkFace) MergeEnded(ctx context.Context, rigID, run, callback string, o town.MergeOutcome) error {
	return f.link.MergeEnded(ctx, rigID, run, callback, o)
}

// linkTown is the town as its coordinator sees it. Orders are calls of the control API.
type linkTown struct {
	agents *supervisor.Supervisor
	face   *container.Server
	token  string
	log    *slog.Logger
}

// Instance is part of coordinator.Town.
func (t *linkTown) Instance() (string, time.Time) { return t.agents.Instance() }

// Heartbeat is part of coordinator.Town.
func (t *linkTown) Heartbeat() town.Heartbeat {
	return town.Heartbeat{
		Status: t.face.Status(context.Background()), Version: version, Agents: t.agents.Heartbeats(), Resources: t.face.Resources(),
		Quota: t.face.Quota(),
	}
}

// Apply is part of coordinator.Town. A message has its order's id as key, and the
// other orders change nothing the second time.
func (t *linkTown) Apply(ctx context.Context, o town.Order) error {
	method, path := http.MethodPost, ""
	agent := "/agents/" + url.PathEscape(o.AgentID)
	switch o.Kind {
	case town.OrderStop:
		path = agent + "/stop"
	case town.OrderMessage:
		path = agent + "/message"
	case town.OrderForget:
		method, path = http.MethodDelete, agent
	case town.OrderDrain:
		path = "/drain"
	case town.OrderSettings:
		path = "/sync-config"
	default:
		return fmt.Errorf("order of kind %.40q is not known here: %w", o.Kind, town.ErrInvalid)
	}
	body := []byte(o.Data)
	if len(body) == 0 {
		body = []byte("{}")
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("carry out order: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+t.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", o.ID)
	resp, err := api.HandlerTransport(t.face.Handler()).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("carry out order: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 300 {
		return nil
	}
	var p api.Problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		return fmt.Errorf("carry out order: %s", resp.Status)
	}
	return errors.New(cmp.Or(p.Detail, p.Error, resp.Status))
}

// retireTimeout bounds the saving of all work when another container has taken over.
const retireTimeout = time.Minute

// Replaced is part of coordinator.Town.
func (t *linkTown) Replaced(ctx context.Context) {
	saving, cancel := context.WithTimeout(ctx, retireTimeout)
	defer cancel()
	for _, saved := range t.agents.Drain(saving) {
		if saved.Err != nil {
			t.log.Error("worktree not saved for the container that has taken over", "agent", saved.AgentID, "error", saved.Err)
		}
	}
	var wg sync.WaitGroup
	for _, a := range t.agents.Agents() {
		wg.Go(func() { // an ended one too: it may be about to be restarted
			if _, err := t.agents.Stop(ctx, a.AgentID, town.StopRequest{}); err != nil {
				t.log.Error("agent not stopped for the container that has taken over", "agent", a.AgentID, "error", err)
			}
		})
	}
	wg.Wait()
}
