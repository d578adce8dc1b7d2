// Package llmtest is a model server that plays a script: it speaks Anthropic's
// /v1/messages, the OpenAI-compatible /v1/chat/completions, OpenAI's /v1/responses
// and Google's generateContent well enough for the real agent CLIs, and keeps
// every request for assertions.
package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Step is one answer of the model. Its zero value says nothing and ends the turn.
type Step struct {
	Text  string
	Tools []Tool // calls; the turn goes on with their results
	Usage Usage  // DefaultUsage when zero

	Header     http.Header   // of the answer, besides its own
	Status     int           // answer with this HTTP status and an error instead
	ErrorType  string        // of that error, as rate_limit_error; from the status when empty
	RetryAfter time.Duration // its Retry-After, in whole seconds
	Hang       bool          // after Text, send nothing more until the client leaves
	Stream     string        // send this as the stream of events, instead of all else
}

// Tool is a call of a tool. Name and the keys of Input are matched to what the
// request offers, ignoring case and punctuation, so that "write" with "file_path"
// calls Write of Claude Code and write of Kilo alike. What a tool requires
// besides is filled in.
type Tool struct {
	Name  string
	Input map[string]any
}

// Usage is what an answer says it has used, in tokens.
type Usage struct{ Input, Output, CacheRead, CacheWrite int64 }

// DefaultUsage is the usage of a Step that names none.
var DefaultUsage = Usage{Input: 100, Output: 20}

// Script decides the answer to a request. It is called for one request after another.
type Script func(*Request) Step

// Steps plays one step a request, over all conversations, and then says "Done.".
func Steps(steps ...Step) Script {
	return func(*Request) Step {
		if len(steps) == 0 {
			return Step{Text: "Done."}
		}
		next := steps[0]
		steps = steps[1:]
		return next
	}
}

// WriteFile writes one file in each turn of every conversation, then says "Done.".
// A name that is not absolute is taken from the CLI's working directory.
func WriteFile(name, content string) Script {
	return func(r *Request) Step {
		if r.Last().Role == "tool" {
			return Step{Text: "Done."}
		}
		return Step{
			Text:  "I write " + name + ".",
			Tools: []Tool{{Name: "write", Input: map[string]any{"file_path": name, "content": content}}},
		}
	}
}

// Server answers as a model, by its script. It is safe for concurrent use.
type Server struct {
	mu       sync.Mutex
	script   Script
	requests []*Request
	arrived  chan struct{} // closed and replaced at each request
	closed   chan struct{}
	close    sync.Once
	calls    int // tool calls made, for their ids
}

// New returns a server with that script, WriteFile("NOTES.md", "done\n") when nil.
func New(script Script) *Server {
	if script == nil {
		script = WriteFile("NOTES.md", "done\n")
	}
	return &Server{script: script, arrived: make(chan struct{}), closed: make(chan struct{})}
}

// TB is what Serve needs of a test.
type TB interface {
	Helper()
	Cleanup(func())
}

// Serve serves New(script) on a port of loopback until the test ends.
func Serve(t TB, script Script) (s *Server, url string) {
	t.Helper()
	s = New(script)
	hs := httptest.NewServer(s)
	t.Cleanup(func() { s.Close(); hs.Close() })
	return s, hs.URL
}

// Close ends the answers that hang.
func (s *Server) Close() { s.close.Do(func() { close(s.closed) }) }

// Requests returns the requests for an answer so far, without those that a CLI
// makes for itself: see Request.Chore.
func (s *Server) Requests() []*Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var turns []*Request
	for _, r := range s.requests {
		if !r.Chore {
			turns = append(turns, r)
		}
	}
	return turns
}

// All returns every request so far.
func (s *Server) All() []*Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Request(nil), s.requests...)
}

// Arrived returns a channel that is closed when the next request has arrived. Take
// it before looking at Requests, so that none is missed.
func (s *Server) Arrived() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived
}

const maxRequestBytes = 64 << 20

// ServeHTTP answers all protocols, under any path prefix.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBytes))
	if err != nil {
		return // the client has gone
	}
	switch path := r.URL.Path; {
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/messages/count_tokens"):
		writeJSON(w, http.StatusOK, map[string]any{"input_tokens": len(body) / 4})
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/messages"):
		s.answer(w, r, body, anthropic{})
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/chat/completions"):
		s.answer(w, r, body, openai{})
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/responses"):
		s.answer(w, r, body, &responses{})
	case r.Method == http.MethodPost && strings.Contains(path, "/models/"):
		s.gemini(w, r, body)
	case strings.HasSuffix(path, "/models"):
		writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []any{}})
	default:
		writeJSON(w, http.StatusNotFound, map[string]any{"error": map[string]any{"type": "not_found_error", "message": r.Method + " " + path}})
	}
}

// wire is one of the protocols.
type wire interface {
	parse(body []byte) (*Request, error)
	// events writes an answer as a stream; whole writes it at once.
	events(w io.Writer, r *Request, st Step)
	whole(r *Request, st Step) any
	fault(kind, message string) any
}

func (s *Server) answer(w http.ResponseWriter, hr *http.Request, body []byte, p wire) {
	r, err := p.parse(body)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, p.fault("invalid_request_error", err.Error()))
		return
	}
	r.Path, r.Header, r.Body = hr.URL.Path, hr.Header.Clone(), body
	st := s.next(r)
	maps.Copy(w.Header(), st.Header)
	if st.Status != 0 {
		if st.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(st.RetryAfter/time.Second)))
		}
		writeJSON(w, st.Status, p.fault(errorType(st), fmt.Sprintf("scripted status %d", st.Status)))
		return
	}
	if st.Stream != "" {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, st.Stream) // a client that has gone reads none of it
		return
	}
	if !r.Stream {
		if st.Hang {
			s.hang(hr)
			return
		}
		writeJSON(w, http.StatusOK, p.whole(r, st))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	p.events(w, r, st)
	if st.Hang {
		_ = http.NewResponseController(w).Flush() // what was said so far arrives; a client that has gone ends the hang
		s.hang(hr)
	}
}

// next records the request and asks the script for its answer.
func (s *Server) next(r *Request) Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	close(s.arrived)
	s.arrived = make(chan struct{})
	st := Step{Text: "Chore"}
	if !r.Chore {
		st = s.script(r)
	}
	if st.Usage == (Usage{}) {
		st.Usage = DefaultUsage
	}
	st.Tools = append([]Tool(nil), st.Tools...)
	for i, t := range st.Tools {
		st.Tools[i] = r.match(t)
	}
	r.answer = len(s.requests)
	r.firstCall = s.calls
	s.calls += len(st.Tools)
	return st
}

func (s *Server) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.closed:
	}
}

func errorType(st Step) string {
	switch {
	case st.ErrorType != "":
		return st.ErrorType
	case st.Status == http.StatusUnauthorized:
		return "authentication_error"
	case st.Status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case st.Status == 529:
		return "overloaded_error"
	case st.Status < 500:
		return "invalid_request_error"
	}
	return "api_error"
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
