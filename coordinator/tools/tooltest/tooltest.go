// Package tooltest has a coordinator for tests of agents' tools: a real HTTP server
// that speaks the contract's JSON, remembers what it was asked, and decides nothing.
package tooltest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// TownID is the town that the coordinator has, Token what its callers show.
const (
	TownID = "acme"
	Token  = "token-of-the-town"
)

// Request is what the coordinator was asked.
type Request struct {
	Method, Path string // below the town's, with its query
	Agent, Key   string // of its headers
	Body         string
}

// Hall is the coordinator. What it holds may be set before it is asked.
type Hall struct {
	URL    string // without a path
	Beads  map[string]town.Bead
	Notes  map[string][]town.Note
	Mail   []town.Mail
	Client *api.HallClient

	mu        sync.Mutex
	fault     func(w http.ResponseWriter, r *http.Request) bool
	requests  []Request
	questions map[string]*town.Question
	answered  chan struct{}              // closed by the next answer
	first     map[string]json.RawMessage // answers by idempotency key
}

// Serve serves a coordinator until the test ends.
func Serve(t testing.TB) *Hall {
	t.Helper()
	h := &Hall{
		Beads: map[string]town.Bead{}, Notes: map[string][]town.Note{}, questions: map[string]*town.Question{},
		answered: make(chan struct{}), first: map[string]json.RawMessage{},
	}
	server := httptest.NewServer(http.StripPrefix("/api/towns/"+TownID, h))
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	h.URL = server.URL
	h.Client = api.NewHall(server.URL, TownID, Token, &http.Client{Transport: transport})
	return h
}

// SetFault has fault asked first from now on: it may answer in the hall's place,
// which it tells by true.
func (h *Hall) SetFault(fault func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = fault
}

// Requests returns what was asked so far.
func (h *Hall) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Request(nil), h.requests...)
}

// OfAgents returns those that were made for an agent.
func (h *Hall) OfAgents() []Request {
	return slices.DeleteFunc(h.Requests(), func(r Request) bool { return r.Agent == "" })
}

// Told returns the bodies of the calls whose method and path these are.
func (h *Hall) Told(method, path string) []string {
	bodies := []string{}
	for _, r := range h.Requests() {
		if r.Method == method && r.Path == path {
			bodies = append(bodies, r.Body)
		}
	}
	return bodies
}

// Questions returns the questions that were asked.
func (h *Hall) Questions() []town.Question {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := []town.Question{}
	for _, q := range h.questions {
		all = append(all, *q)
	}
	return all
}

// Answer answers a question.
func (h *Hall) Answer(id, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.questions[id].Status, h.questions[id].Answer = "answered", text
	close(h.answered)
	h.answered = make(chan struct{})
}

// ServeHTTP answers one call.
func (h *Hall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller has gone
	}
	req := Request{r.Method, r.URL.RequestURI(), r.Header.Get(api.AgentHeader), r.Header.Get("Idempotency-Key"), string(body)}
	h.mu.Lock()
	h.requests = append(h.requests, req)
	fault := h.fault
	h.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+Token {
		Problem(w, http.StatusUnauthorized, "not the town's token")
		return
	}
	if kept := h.kept(req.Key); kept != nil {
		_, _ = w.Write(kept)
		return
	}
	status, out := h.answer(r, req)
	if status >= http.StatusBadRequest {
		Problem(w, status, out.(string))
		return
	}
	data, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	h.keep(req.Key, data)
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func (h *Hall) kept(key string) json.RawMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.first[key]
}

func (h *Hall) keep(key string, data json.RawMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if key != "" {
		h.first[key] = data
	}
}

// answer returns a body, or the text of a status that is an error.
func (h *Hall) answer(r *http.Request, req Request) (int, any) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	parts = append(parts, "", "", "")
	kind, id, verb := parts[0], parts[1], parts[2]
	switch kind {
	case "agents":
		if id != req.Agent && verb != "completed" && verb != "nudge" && verb != "stop" && id != "" {
			return http.StatusForbidden, "an agent acts as itself"
		}
		return h.agent(id, verb, req)
	case "beads":
		bead, ok := h.Beads[id]
		switch {
		case id == "":
			return http.StatusOK, map[string]any{"beads": h.beads()}
		case !ok:
			return http.StatusNotFound, "no bead " + id
		case verb == "notes" && r.Method == http.MethodGet:
			return http.StatusOK, map[string]any{"notes": h.Notes[id]}
		}
		return http.StatusOK, bead
	case "questions":
		return h.question(r, id, verb)
	case "rigs":
		if id == "" {
			return http.StatusOK, map[string]any{"rigs": []town.Rig{{RigID: "web"}}}
		}
		return http.StatusCreated, town.Bead{ID: "made", RigID: id, Status: town.BeadOpen}
	case "heartbeat":
		return http.StatusOK, town.HeartbeatReply{Heartbeat: true, Epoch: 1, Orders: []town.Order{}}
	case "convoys":
		if id == "" && r.Method == http.MethodPost {
			return http.StatusCreated, map[string]any{"convoy": town.Convoy{ID: "convoy-1"}, "beads": h.beads()}
		}
		return http.StatusOK, town.Convoy{ID: id}
	}
	return http.StatusOK, struct{}{}
}

func (h *Hall) beads() []town.Bead {
	all := []town.Bead{}
	for _, b := range h.Beads {
		all = append(all, b)
	}
	return all
}

func (h *Hall) agent(id, verb string, req Request) (int, any) {
	switch verb {
	case "prime":
		p := town.Prime{Agent: town.TownAgent{AgentID: id}, Mail: h.Mail, OpenBeads: h.beads()}
		for _, q := range h.Questions() {
			if q.AgentID == id {
				p.Questions = append(p.Questions, q)
			}
		}
		for _, b := range h.Beads {
			if b.AgentID == id {
				p.Bead, p.Notes = &b, h.Notes[b.ID]
			}
		}
		return http.StatusOK, p
	case "mail":
		return http.StatusOK, map[string]any{"mail": h.Mail, "acked": strings.Count(req.Body, `"`)/2 - 1}
	case "ask":
		var ask town.AskRequest
		if err := json.Unmarshal([]byte(req.Body), &ask); err != nil {
			return http.StatusBadRequest, err.Error()
		}
		q := town.Question{ID: town.NewID(time.Now()), AgentID: id, Question: ask.Question, Options: ask.Options, Status: "open", CreatedAt: time.Now()}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.questions[q.ID] = &q
		return http.StatusCreated, q
	case "done":
		return http.StatusOK, map[string]any{"kept": false}
	}
	return http.StatusOK, map[string]any{"agents": []town.TownAgent{{AgentID: id}}}
}

// question waits for an answer as it is asked to.
func (h *Hall) question(r *http.Request, id, verb string) (int, any) {
	h.mu.Lock()
	q, answered := h.questions[id], h.answered
	if id == "" || q == nil {
		h.mu.Unlock()
		if id == "" {
			return http.StatusOK, map[string]any{"questions": h.Questions()}
		}
		return http.StatusNotFound, "no question " + id
	}
	if verb == "cancel" {
		q.Status = "cancelled"
	}
	isOpen, copied := q.Status == "open", *q
	h.mu.Unlock()
	wait, err := time.ParseDuration(r.URL.Query().Get("waitSeconds") + "s")
	if err != nil || !isOpen {
		return http.StatusOK, copied
	}
	select {
	case <-answered:
	case <-time.After(wait):
	case <-r.Context().Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return http.StatusOK, *q
}

// Problem answers with an error as the contract has it.
func Problem(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Problem{Title: http.StatusText(status), Status: status, Detail: text, Error: text}) // the caller has gone
}
