package api

import (
	"context"
	"net/http"
)

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
