package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"townd/town"
)

// ShareRequest is what POST /agents/{id}/shares takes.
type ShareRequest struct {
	Run     string  `json:"run,omitempty"`     // the agent's newest when empty
	Seconds float64 `json:"seconds,omitempty"` // how long the link lives; as long as the town lets it when 0
}

// Share is a link that shows one run of one agent, without what opens it.
type Share struct {
	ID        string    `json:"id"`
	AgentID   string    `json:"agentId"`
	Run       string    `json:"run"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// ShareMade is a new link. Only this answer holds what opens it.
type ShareMade struct {
	Share
	URL string `json:"url"` // relative to the address of the API, unless the town knows its own
}

// ShareList is the body of GET /shares.
type ShareList struct {
	Shares         []Share `json:"shares"`         // in the order they were made
	LongestSeconds float64 `json:"longestSeconds"` // that a link may live; 0 when none can be made
}

// SharedRun is what the holder of a link is told of the run that it shows.
type SharedRun struct {
	TownID     string      `json:"townId"`
	AgentID    string      `json:"agentId"`
	Name       string      `json:"name"` // of the agent
	Run        string      `json:"run"`
	Structured bool        `json:"structured"` // it has no terminal: draw the events
	Status     town.Status `json:"status"`     // of the run
	ExpiresAt  time.Time   `json:"expiresAt"`  // of the link
}

// Share makes a link to a run of the agent.
func (c *Client) Share(ctx context.Context, id string, req ShareRequest) (ShareMade, error) {
	var out ShareMade
	_, err := c.ask(ctx, call{method: http.MethodPost, path: agentPath(id, "/shares"), body: req}, &out)
	return out, err
}

// Shares returns the links that open something.
func (c *Client) Shares(ctx context.Context) (ShareList, error) {
	var out ShareList
	_, err := c.ask(ctx, call{method: http.MethodGet, path: "/shares"}, &out)
	return out, err
}

// Unshare takes a link back: it opens nothing any more, and who watches by it is cut off.
func (c *Client) Unshare(ctx context.Context, share string) error {
	_, err := c.ask(ctx, call{method: http.MethodDelete, path: "/shares/" + url.PathEscape(share)}, new(DeleteResponse))
	return err
}
