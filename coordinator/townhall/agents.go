package townhall

import (
	"context"
	"encoding/json"

	"townd/town"
)

// Agents returns the agents that the town knows, live ones first.
func (h *Hall) Agents(ctx context.Context) ([]town.TownAgent, error) { return nil, errNotYet }

// Prime returns what an agent must know to begin or go on.
func (h *Hall) Prime(ctx context.Context, c Caller, agentID string) (town.Prime, error) {
	return town.Prime{}, errNotYet
}

// DoneAnswer is the answer to gt_done.
type DoneAnswer struct {
	Bead town.Bead `json:"bead"`
	Kept bool      `json:"kept"` // the epoch was old: it was kept as an attempt
}

// Done takes an agent's word that its bead is finished.
func (h *Hall) Done(ctx context.Context, c Caller, agentID string, req town.DoneRequest) (DoneAnswer, error) {
	return DoneAnswer{}, errNotYet
}

// ChangesRequest sends a branch back to who made it.
type ChangesRequest struct {
	MergeID  string   `json:"mergeId,omitempty"` // what the refinery looks at, when empty
	Feedback string   `json:"feedback"`
	Files    []string `json:"files,omitempty"`
}

// RequestChanges sends a bead that is reviewed back to open.
func (h *Hall) RequestChanges(ctx context.Context, c Caller, agentID string, req ChangesRequest) (town.Bead, error) {
	return town.Bead{}, errNotYet
}

// CheckpointRequest keeps what an agent wants its next attempt to know.
type CheckpointRequest struct {
	Data  json.RawMessage `json:"data"` // any JSON up to 64 KiB
	Epoch int64           `json:"epoch"`
}

// SaveCheckpoint keeps an agent's checkpoint with its bead. An old epoch is
// town.ErrConflict.
func (h *Hall) SaveCheckpoint(ctx context.Context, c Caller, agentID string, req CheckpointRequest) (town.Bead, error) {
	return town.Bead{}, errNotYet
}

// SayStatus keeps what an agent says of itself, at most 280 characters.
func (h *Hall) SayStatus(ctx context.Context, c Caller, agentID, message string) (town.TownAgent, error) {
	return town.TownAgent{}, errNotYet
}

// NudgeRequest wakes an agent. Mode is wait-idle (when empty), immediate or queue.
type NudgeRequest struct {
	Message string `json:"message"`
	Mode    string `json:"mode,omitempty"`
}

// Nudge sends a message into an agent's session, by an order.
func (h *Hall) Nudge(ctx context.Context, c Caller, agentID string, req NudgeRequest) (orderID string, err error) {
	return "", errNotYet
}

// OrderStop stops an agent, by an order, and holds its bead until it is retried.
func (h *Hall) OrderStop(ctx context.Context, c Caller, agentID, reason string) (orderID string, err error) {
	return "", errNotYet
}

// Completed takes the end of an agent's run. It may be told more than once.
func (h *Hall) Completed(ctx context.Context, agentID string, done town.Completion) error {
	return errNotYet
}

// RunQuery selects runs; empty fields do not restrict.
type RunQuery struct {
	AgentID string
	BeadID  string
	After   string // the next of the page before
	Limit   int    // 1 to 500; 100 when 0
}

// Runs returns a page of runs, newest first; next is "" on the last one.
func (h *Hall) Runs(ctx context.Context, q RunQuery) (runs []town.Run, next string, err error) {
	return nil, "", errNotYet
}
