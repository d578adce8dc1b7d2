package main

import (
	"log/slog"
	"net/http"

	"townd/api"
	"townd/coordinator"
	"townd/coordinator/tools"
	"townd/supervisor"
)

// openDesk makes what carries out the town's tools, by the coordinator that link
// reports to.
func openDesk(c *Config, link *coordinator.Link, agents *supervisor.Supervisor, embedded http.Handler, log *slog.Logger) *tools.Desk {
	url, next := c.Coordinator.URL, http.DefaultTransport
	if url == "" {
		url, next = embeddedURL, api.HandlerTransport(embedded)
	}
	hall := api.NewHall(url, c.Coordinator.TownID, "", &http.Client{Transport: withToken{link, next}})
	return tools.NewDesk(tools.DeskConfig{Workers: agents, Hall: hall, Outbox: link, Introduce: link.Introduce, Log: log})
}

// withToken shows the coordinator the token that the link shows, which may change.
type withToken struct {
	link *coordinator.Link
	next http.RoundTripper
}

// RoundTrip is part of http.RoundTripper.
func (w withToken) RoundTrip(req *http.Request) (*http.Response, error) {
	shown := req.Clone(req.Context())
	shown.Header.Set("Authorization", "Bearer "+w.link.Token())
	return w.next.RoundTrip(shown)
}
