package api

import (
	"context"
	"net/http"

	"townd/town"
)

// DrainRequest is what POST /drain takes.
type DrainRequest struct {
	DeadlineSeconds float64 `json:"deadlineSeconds,omitempty"` // 60 when absent
}

// Manifest is the body of POST /drain: what was saved where.
type Manifest struct {
	Agents []SavedAgent `json:"agents"` // those that have a worktree
}

// SavedAgent is what was saved of one agent.
type SavedAgent struct {
	AgentID    string      `json:"agentId"`
	Branch     string      `json:"branch"`
	Status     town.Status `json:"status"`
	Checkpoint *Checkpoint `json:"checkpoint,omitempty"` // nil when all its work is in commits of its branch, on this machine
	Error      string      `json:"error,omitempty"`      // why its work is not saved, or not where it should be
}

// Checkpoint is where work is that is in no commit of a branch. Ref and Commit are
// empty when there is none.
type Checkpoint struct {
	Ref          string         `json:"ref"`
	Commit       string         `json:"commit"`
	Pushed       bool           `json:"pushed"` // the remote has it, and the branch's commits
	LeftOut      []town.LeftOut `json:"leftOut,omitempty"`
	LeftOutCount int            `json:"leftOutCount,omitempty"`
}

// Drain saves the work of every agent; nothing is started any more from then on.
func (c *Client) Drain(ctx context.Context, req DrainRequest) (Manifest, error) {
	var out Manifest
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/drain", body: req}, &out)
	return out, err
}

// RefreshTokenRequest is what POST /refresh-token takes.
type RefreshTokenRequest struct {
	Token  string `json:"token"`
	TownID string `json:"townId,omitempty"`
	Host   string `json:"host,omitempty"` // with its port if it has one; github.com when empty
}

// RefreshTokenResponse is the body of POST /refresh-token. No agent holds the token,
// so none is restarted: its figures are those of the first version of the contract.
type RefreshTokenResponse struct {
	Refreshed       bool       `json:"refreshed"`
	AgentsRestarted int        `json:"agentsRestarted"`
	AgentsFailed    int        `json:"agentsFailed"`
	Results         []struct{} `json:"results"`
	Ignored         []string   `json:"ignored,omitempty"` // fields of the request the town does not know
}

// RefreshToken changes the town's credential for the git remotes of a host.
func (c *Client) RefreshToken(ctx context.Context, req RefreshTokenRequest) error {
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/refresh-token", body: req}, new(RefreshTokenResponse))
	return err
}
