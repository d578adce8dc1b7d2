package container

import (
	"net/http"

	"github.com/gorilla/mux"

	"townd/api/wire"
	"townd/gitmgr"
)

// access says who may call a route.
type access int

const (
	accessToken  access = iota // Authorization: Bearer <the town's token>
	accessPublic               // everybody
	accessTicket               // who holds a ticket; the handler checks it
	accessShare                // who holds a link to a run; withShare checks it
)

// route is one call of the API. handle returns what to answer: nothing else
// writes to the client, but a wire.Writer it returns.
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
		{http.MethodGet, "/agents/{id}/artifacts", accessToken, s.artifacts},
		{http.MethodGet, "/agents/{id}/artifacts/{name}", accessToken, s.artifact},
		{http.MethodPost, "/agents/{id}/shares", accessToken, s.shareRun},
		{http.MethodGet, "/shares", accessToken, s.listShares},
		{http.MethodDelete, "/shares/{id}", accessToken, s.revokeShare},
		{http.MethodGet, "/shared", accessShare, s.withShare(s.sharedRun)},
		{http.MethodGet, "/shared/transcript", accessShare, s.withShare(s.sharedTranscript)},
		{http.MethodGet, "/shared/events", accessShare, s.withShare(s.sharedEvents)},
		{http.MethodPost, "/shared/stream-ticket", accessShare, s.withShare(s.sharedTicket)},
		{http.MethodPost, "/repos/setup", accessToken, s.setupRepo},
		{http.MethodPost, "/git/merge", accessToken, s.merge},
		{http.MethodGet, "/git/pull-request", accessToken, s.pullRequest},
		{http.MethodPost, "/drain", accessToken, s.drain},
		{http.MethodPost, "/refresh-token", accessToken, s.refreshToken},
		{http.MethodPost, "/sync-config", accessToken, s.syncConfig},
	}
}

func (s *Server) newRouter() *mux.Router {
	router := wire.NewRouter()
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
	if s.cfg.Hall != nil {
		router.PathPrefix("/api/towns/").Handler(s.near(s.cfg.Hall))
	}
	s.serveUI(router)
	router.NotFoundHandler = s.serve(route{path: "none", access: accessPublic, handle: notFound})
	router.MethodNotAllowedHandler = s.serve(route{path: "none", access: accessPublic, handle: s.methodNotAllowed})
	return router
}

// near keeps web pages of other sites from what has authorization of its own.
func (s *Server) near(h http.Handler) http.Handler {
	refuse := s.serve(route{path: "/api/towns/", access: accessPublic, handle: notFound})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.authorize(accessPublic, r) != nil {
			refuse.ServeHTTP(w, r) // which finds the same
			return
		}
		h.ServeHTTP(w, r)
	})
}

func notFound(*http.Request) (any, error) {
	return nil, wire.NoSuchPath()
}

// methodNotAllowed answers 405 with the methods that the path does take.
func (s *Server) methodNotAllowed(r *http.Request) (any, error) {
	return nil, wire.MethodNotAllowed(r, s.router)
}

// agentID returns the id in the path.
func agentID(r *http.Request) (string, error) {
	return wire.PathID("id", mux.Vars(r)["id"])
}
