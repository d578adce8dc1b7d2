package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"townd/town"
)

// AgentHeader names the agent that a call of the coordinator is made for.
const AgentHeader = "X-Townd-Agent"

// HallClient calls a town's coordinator. It is safe for concurrent use; its errors
// are those of Client. Every call that makes or reports something is done once
// under a key, see WithKey.
type HallClient struct {
	client *Client
	path   string // of the town
	agent  string // that calls are made for
}

// NewHall returns a client of the coordinator at baseURL, whose calls are under
// /api/towns/<townID> there. hc nil means http.DefaultClient; see HandlerTransport
// for a coordinator in this process.
func NewHall(baseURL, townID, token string, hc *http.Client) *HallClient {
	return &HallClient{client: New(baseURL, token, hc), path: "/api/towns/" + url.PathEscape(townID)}
}

// As returns a client whose calls are made for an agent; "" is a person again.
func (h *HallClient) As(agentID string) *HallClient {
	return &HallClient{client: h.client, path: h.path, agent: agentID}
}

type keyOf struct{}

// WithKey returns a context under which a call that makes or reports something
// is done once: repeated with the same key it answers as the first time.
// Key is 1 to 255 visible ASCII characters.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyOf{}, key)
}

// ask makes one call and returns its answer.
func ask[T any](ctx context.Context, h *HallClient, method, path string, query url.Values, body any) (T, int, error) {
	c := call{method: method, path: h.path + path, query: query, header: h.header(ctx, method), body: body}
	var out T
	status, err := h.client.ask(ctx, c, &out)
	return out, status, err
}

func (h *HallClient) header(ctx context.Context, method string) http.Header {
	header := http.Header{}
	if h.agent != "" {
		header.Set(AgentHeader, h.agent)
	}
	if key, ok := ctx.Value(keyOf{}).(string); ok && method == http.MethodPost {
		header.Set("Idempotency-Key", key)
	}
	return header
}

// get asks for something.
func get[T any](ctx context.Context, h *HallClient, path string, query url.Values) (T, error) {
	out, _, err := ask[T](ctx, h, http.MethodGet, path, query, nil)
	return out, err
}

// post makes or reports something.
func post[T any](ctx context.Context, h *HallClient, path string, body any) (T, error) {
	out, _, err := ask[T](ctx, h, http.MethodPost, path, nil, body)
	return out, err
}

// segment is a path of names of ours and ids, which are escaped.
func segment(name, id, rest string) string { return "/" + name + "/" + url.PathEscape(id) + rest }

// filter is a query of the values that are not empty.
func filter(values map[string]string) url.Values {
	query := url.Values{}
	for name, value := range values {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

// positive is n as a parameter, "" for 0.
func positive[N int | int64](n N) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(int64(n), 10)
}

// seconds is d as a parameter in whole seconds, rounded up.
func seconds(d time.Duration) string { return positive(int64((d + time.Second - 1) / time.Second)) }

// ReasonRequest is the body of calls that say why.
type ReasonRequest struct {
	Reason string `json:"reason,omitempty"`
}

// TownSettings are what PATCH /settings changes.
type TownSettings struct {
	Paused   *string `json:"paused,omitempty"`          // why nothing is handed out; "" goes on
	MinQuota *int    `json:"minQuotaPercent,omitempty"` // below which no agents are started; 0 for never
}

// TownStatus returns the town on one screen.
func (h *HallClient) TownStatus(ctx context.Context) (town.TownStatus, error) {
	return get[town.TownStatus](ctx, h, "/status", nil)
}

// Pause stops handing out beads for that reason, or goes on when it is "".
func (h *HallClient) Pause(ctx context.Context, reason string) (town.TownStatus, error) {
	return h.set(ctx, TownSettings{Paused: &reason})
}

// SetMinQuota has no agents started while less than percent of a model provider's
// quota is left; 0 for never.
func (h *HallClient) SetMinQuota(ctx context.Context, percent int) (town.TownStatus, error) {
	return h.set(ctx, TownSettings{MinQuota: &percent})
}

func (h *HallClient) set(ctx context.Context, s TownSettings) (town.TownStatus, error) {
	out, _, err := ask[town.TownStatus](ctx, h, http.MethodPatch, "/settings", nil, s)
	return out, err
}

// TownRigList is the body of GET /rigs.
type TownRigList struct {
	Rigs []town.Rig `json:"rigs"`
}

// Rigs returns every rig by id. Values of EnvVars are "".
func (h *HallClient) Rigs(ctx context.Context) ([]town.Rig, error) {
	out, err := get[TownRigList](ctx, h, "/rigs", nil)
	return out.Rigs, err
}

// PutRig makes or changes a rig; created tells which. A variable of EnvVars that is
// given as "" keeps its value.
func (h *HallClient) PutRig(ctx context.Context, id string, set town.RigSettings) (rig town.Rig, created bool, err error) {
	rig, status, err := ask[town.Rig](ctx, h, http.MethodPut, segment("rigs", id, ""), nil, set)
	return rig, status == http.StatusCreated, err
}

// Rig returns one rig. Values of EnvVars are "".
func (h *HallClient) Rig(ctx context.Context, id string) (town.Rig, error) {
	return get[town.Rig](ctx, h, segment("rigs", id, ""), nil)
}

// DeleteRig forgets a rig with its beads, unless one is in progress or in review.
func (h *HallClient) DeleteRig(ctx context.Context, id string) error {
	_, _, err := ask[DeleteResponse](ctx, h, http.MethodDelete, segment("rigs", id, ""), nil, nil)
	return err
}

// AgentEventBatch is the body of POST /events: at most 1000.
type AgentEventBatch struct {
	InstanceID string            `json:"instanceId"`
	Events     []town.AgentEvent `json:"events"`
}

// Accepted is its answer.
type Accepted struct {
	Accepted int `json:"accepted"` // how many were new
}

// AgentEventPage is the body of GET /events.
type AgentEventPage struct {
	Events []town.AgentEvent `json:"events"`
	Next   int64             `json:"next"` // the after of the next page
}

// AppendEvents keeps events of agents, each once by its run and id.
func (h *HallClient) AppendEvents(ctx context.Context, batch AgentEventBatch) (int, error) {
	out, err := post[Accepted](ctx, h, "/events", batch)
	return out.Accepted, err
}

// AgentEventQuery selects events; empty fields do not restrict.
type AgentEventQuery struct {
	After   int64 // the next of the page before
	AgentID string
	BeadID  string
	RigID   string
	Limit   int           // the coordinator's default when 0
	Wait    time.Duration // for an event when there is none, at most 55 s
}

func (q AgentEventQuery) values() url.Values {
	return filter(map[string]string{
		"after": positive(q.After), "agent": q.AgentID, "bead": q.BeadID, "rig": q.RigID, "limit": positive(q.Limit), "wait": seconds(q.Wait),
	})
}

// Events returns a page of events in the coordinator's order.
func (h *HallClient) Events(ctx context.Context, q AgentEventQuery) (AgentEventPage, error) {
	return get[AgentEventPage](ctx, h, "/events", q.values())
}

// RunList is the body of GET /runs.
type RunList struct {
	Runs []town.Run `json:"runs"`
	Next string     `json:"next,omitempty"`
}

// RunQuery selects runs; empty fields do not restrict.
type RunQuery struct {
	AgentID, BeadID string
	After           string // the next of the page before
	Limit           int    // the coordinator's default when 0
}

// Runs returns a page of runs, newest first.
func (h *HallClient) Runs(ctx context.Context, q RunQuery) (RunList, error) {
	return get[RunList](ctx, h, "/runs", filter(map[string]string{"agent": q.AgentID, "bead": q.BeadID, "after": q.After, "limit": positive(q.Limit)}))
}

// Heartbeat tells what a container's agents do. town.ErrGone means that the
// container was replaced by a newer one.
func (h *HallClient) Heartbeat(ctx context.Context, hb town.Heartbeat) (town.HeartbeatReply, error) {
	return post[town.HeartbeatReply](ctx, h, "/heartbeat", hb)
}

// CompletedAnswer is the answer to a completion, and to a merge's outcome.
type CompletedAnswer struct {
	Completed bool `json:"completed"`
}

// Completed tells that a run of an agent has ended.
func (h *HallClient) Completed(ctx context.Context, done town.Completion) error {
	_, err := post[CompletedAnswer](ctx, h, agentPath(done.AgentID, "/completed"), done)
	return err
}

// OutcomeRequest is a merge's outcome as today's and as earlier containers tell it.
type OutcomeRequest struct {
	town.MergeOutcome
	OldEntryID string  `json:"entry_id,omitempty"`
	OldCommit  *string `json:"commit_sha,omitempty"`
}

// Outcome returns it in today's words.
func (r OutcomeRequest) Outcome() town.MergeOutcome {
	out := r.MergeOutcome
	if out.EntryID == "" {
		out.EntryID = r.OldEntryID
	}
	if out.Commit == "" && r.OldCommit != nil {
		out.Commit = *r.OldCommit
	}
	return out
}

// MergeCompleted tells what became of a merge that the container was asked for.
func (h *HallClient) MergeCompleted(ctx context.Context, rigID string, out town.MergeOutcome) error {
	_, err := post[CompletedAnswer](ctx, h, segment("rigs", rigID, "/review-queue/"+url.PathEscape(out.EntryID)+"/complete"), out)
	return err
}

// MergeList is the body of GET /merges.
type MergeList struct {
	Merges []town.Merge `json:"merges"`
}

// Merges returns merges of a rig ("" for all) in a status ("" for all), in the
// order they were made.
func (h *HallClient) Merges(ctx context.Context, rigID string, status town.MergeStatus) ([]town.Merge, error) {
	out, err := get[MergeList](ctx, h, "/merges", filter(map[string]string{"rig": rigID, "status": string(status)}))
	return out.Merges, err
}

// OldHeartbeat is one agent's heartbeat as earlier containers send it.
type OldHeartbeat struct {
	AgentID       string     `json:"agentId,omitempty"`
	RigID         string     `json:"rigId,omitempty"`
	TownID        string     `json:"townId,omitempty"`
	Status        string     `json:"status,omitempty"`
	Timestamp     *time.Time `json:"timestamp,omitempty"`
	LastEventType *string    `json:"lastEventType,omitempty"`
	LastEventAt   *time.Time `json:"lastEventAt,omitempty"`
	ActiveTools   []string   `json:"activeTools,omitempty"`
	MessageCount  int64      `json:"messageCount,omitempty"`
	InstanceID    string     `json:"containerInstanceId,omitempty"`
}

// HeartbeatSeen is its answer.
type HeartbeatSeen struct {
	Heartbeat bool `json:"heartbeat"`
}
