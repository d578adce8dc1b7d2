package container

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"townd/gitmgr"
	"townd/town"
)

// access says who may call a route.
type access int

const (
	accessToken  access = iota // Authorization: Bearer <the town's token>
	accessPublic               // everybody
	accessTicket               // who holds a ticket; the handler checks it
)

// route is one call of the API. handle returns what to answer: nothing else
// writes to the client, but a writer it returns.
type route struct {
	method, path string
	access       access
	handle       func(*http.Request) (any, error)
}

// routes is every call of the API, each also in api/openapi.yaml.
func (s *Server) routes() []route {
	return []route{
		{http.MethodGet, "/health", accessPublic, s.health},
		{http.MethodGet, "/openapi.json", accessPublic, s.openapi},
		{http.MethodGet, "/metrics", accessToken, s.scrape},
		{http.MethodGet, "/clis", accessToken, s.listCLIs},
		{http.MethodGet, "/agents", accessToken, s.listAgents},
		{http.MethodPost, "/agents/start", accessToken, s.startAgent},
		{http.MethodDelete, "/agents/{id}", accessToken, s.deleteAgent},
		{http.MethodGet, "/agents/{id}/status", accessToken, s.agentStatus},
		{http.MethodPost, "/agents/{id}/stop", accessToken, s.stopAgent},
		{http.MethodPost, "/agents/{id}/message", accessToken, s.messageAgent},
		{http.MethodPatch, "/agents/{id}/model", accessToken, s.setModel},
		{http.MethodPut, "/agents/{id}/system-prompt", accessToken, s.setSystemPrompt},
		{http.MethodPost, "/agents/{id}/resize", accessToken, s.resizeAgent},
		{http.MethodPost, "/agents/{id}/stream-ticket", accessToken, s.streamTicket},
		{http.MethodGet, "/agents/{id}/stream", accessTicket, s.stream},
		{http.MethodGet, "/agents/{id}/events", accessToken, s.events},
		{http.MethodGet, "/agents/{id}/screen", accessToken, s.screen},
		{http.MethodGet, "/agents/{id}/transcript", accessToken, s.transcript},
		{http.MethodGet, "/agents/{id}/diff", accessToken, s.diff},
		{http.MethodPost, "/repos/setup", accessToken, s.setupRepo},
		{http.MethodPost, "/git/merge", accessToken, s.merge},
		{http.MethodGet, "/git/pull-request", accessToken, s.pullRequest},
		{http.MethodPost, "/drain", accessToken, s.drain},
		{http.MethodPost, "/refresh-token", accessToken, s.refreshToken},
		{http.MethodPost, "/sync-config", accessToken, s.syncConfig},
	}
}

func (s *Server) newRouter() *mux.Router {
	// Paths are matched as they were sent: an id with %2F is one segment, and
	// nothing is redirected to a "clean" path, which would turn a POST into a GET.
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	for _, r := range s.routes() {
		methods := []string{r.method}
		if r.method == http.MethodGet && r.access != accessTicket {
			methods = append(methods, http.MethodHead)
		}
		router.Handle(r.path, s.serve(r)).Methods(methods...)
	}
	if s.cfg.Models != nil { // with authorization and errors of its own: agents' programs speak to it, each in its dialect
		router.PathPrefix("/llm/").Handler(s.cfg.Models.Handler(s.cfg.Supervisor))
	}
	if s.cfg.Git != nil { // likewise: to agents' git
		router.PathPrefix("/git/{rig}/").Handler(gitmgr.NewProxy(s.cfg.Git, s.cfg.Supervisor.GitCaller))
	}
	router.NotFoundHandler = s.serve(route{path: "none", access: accessPublic, handle: notFound})
	router.MethodNotAllowedHandler = s.serve(route{path: "none", access: accessPublic, handle: s.methodNotAllowed})
	return router
}

func notFound(*http.Request) (any, error) {
	return nil, &problem{status: http.StatusNotFound, text: "Not found", detail: "there is no such path; GET /openapi.json lists them"}
}

// methodNotAllowed answers 405 with the methods that the path does take.
func (s *Server) methodNotAllowed(r *http.Request) (any, error) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := *r
		probe.Method = method
		if match := (mux.RouteMatch{}); s.router.Match(&probe, &match) && match.MatchErr == nil {
			allowed = append(allowed, method)
		}
	}
	allow := strings.Join(allowed, ", ")
	return nil, &problem{
		status: http.StatusMethodNotAllowed,
		text:   fmt.Sprintf("method %.20q is not allowed here; allowed: %s", r.Method, allow),
		header: http.Header{"Allow": {allow}},
	}
}

// agentID returns the id in the path.
func agentID(r *http.Request) (string, error) {
	id, err := url.PathUnescape(mux.Vars(r)["id"])
	if err != nil {
		return "", badParam("id", "cannot be percent-decoded")
	}
	if err := town.CheckID(id); err != nil {
		return "", badParam("id", "%.140q %s", id, strings.TrimSuffix(err.Error(), ": "+town.ErrInvalid.Error()))
	}
	return id, nil
}

// params are the query of a request. Those we do not know are left alone, since
// callers and proxies change; those we do must be readable.
type params struct{ values url.Values }

func parseParams(r *http.Request) (params, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return params{}, badParam("query", "must be name=value pairs joined by &, percent-encoded")
	}
	return params{values}, nil
}

// one returns the value of a parameter, "" when it is absent.
func (p params) one(name string) (string, error) {
	switch values := p.values[name]; len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", badParam(name, "is given %d times", len(values))
	}
}

// number returns the value of a parameter that is a number from low to high, or
// fallback when it is absent.
func (p params) number(name string, low, high, fallback int64) (int64, error) {
	value, err := p.one(name)
	if err != nil || value == "" {
		return fallback, err
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < low || n > high {
		return 0, badParam(name, "%.40q must be a number from %d to %d", value, low, high)
	}
	return n, nil
}

// paramError is a wrong path segment, query or header, as opposed to a body.
type paramError struct{ invalid *town.InvalidError }

func (e *paramError) Error() string { return e.invalid.Error() }

func (e *paramError) Unwrap() error { return e.invalid }

func badParam(name, format string, args ...any) error {
	return &paramError{&town.InvalidError{Issues: []town.Issue{{Path: name, Message: fmt.Sprintf(format, args...)}}}}
}
