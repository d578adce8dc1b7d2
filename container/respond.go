package container

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"townd/api"
	"townd/town"
)

// writer is an answer that writes itself, after everything was checked.
type writer func(w http.ResponseWriter)

// reply is an answer in JSON with a status other than 200.
type reply struct {
	status int
	value  any
}

// problem is an error with an answer of its own.
type problem struct {
	status int
	text   string // the member "error"
	detail string // text when empty
	header http.Header
}

func (p *problem) Error() string { return p.text }

// unavailableRetry is what a caller waits who was told that we cannot now.
const unavailableRetry = 5 * time.Second

// serve makes the handler of one route: access, the call, its answer or error,
// one log line, one observation.
func (s *Server) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, began: time.Now()}
		rec.done = func(d time.Duration) { s.metrics.request(rt, r.Method, rec.status, d) }
		defer s.logRequest(rt, r, rec)
		defer s.recovered(rec, r)
		value, err := s.handle(rt, r)
		if err != nil {
			s.writeError(rec, r, err)
			return
		}
		switch v := value.(type) {
		case writer:
			v(rec)
			rec.release()
		case reply:
			writeJSON(rec, v.status, "application/json", v.value)
		default:
			writeJSON(rec, http.StatusOK, "application/json", v)
		}
	})
}

func (s *Server) handle(rt route, r *http.Request) (any, error) {
	if err := s.authorize(rt.access, r); err != nil {
		return nil, err
	}
	return rt.handle(r)
}

// recovered turns a panic into a 500, or ends the connection of an answer that
// has begun.
func (s *Server) recovered(rec *recorder, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	s.log.Error("handler panicked", "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	switch {
	case rec.status == 0:
		writeJSON(rec, http.StatusInternalServerError, "application/problem+json", newProblem(http.StatusInternalServerError, "internal error"))
	case rec.status != http.StatusSwitchingProtocols:
		panic(http.ErrAbortHandler)
	}
}

// logRequest writes the access line: no query, which may hold a ticket, and no body.
func (s *Server) logRequest(rt route, r *http.Request, rec *recorder) {
	took := time.Since(rec.began)
	if rec.status == 0 {
		rec.status = http.StatusOK // what net/http sends for a handler that wrote nothing
	}
	if rec.status != http.StatusSwitchingProtocols {
		rec.done(took)
	}
	level := slog.LevelInfo
	if rt.access == accessPublic && rec.status < 300 || rt.path == "/metrics" {
		level = slog.LevelDebug // probes come every few seconds
	}
	s.log.Log(r.Context(), level, "request", "method", r.Method, "route", rt.path, "path", r.URL.Path, "status", rec.status,
		"duration_ms", float64(took.Microseconds())/1000, "bytes", rec.bytes, "remote", r.RemoteAddr)
}

// statusClientGone is logged for a caller that did not wait for its answer. It
// is nginx's; nobody receives it.
const statusClientGone = 499

// writeError answers with err as a problem. It is where an error of no kind is
// logged, and the only thing the caller is told of it is that there was one.
func (s *Server) writeError(w *recorder, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		w.status = statusClientGone
		return
	}
	p := s.problemOf(err)
	if p.Status == http.StatusInternalServerError {
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	maps.Copy(w.Header(), problemHeader(err, p.Status))
	writeJSON(w, p.Status, "application/problem+json", p)
}

func (s *Server) problemOf(err error) api.Problem {
	if own, ok := errors.AsType[*problem](err); ok {
		p := newProblem(own.status, own.text)
		if own.detail != "" {
			p.Detail = own.detail
		}
		return p
	}
	status := town.HTTPStatus(err)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
	}
	if status == http.StatusInternalServerError {
		return newProblem(status, "internal error")
	}
	p := newProblem(status, s.cfg.Secrets.Mask(err.Error()))
	if status == http.StatusBadRequest { // older clients read the issues alone
		p.Issues = []town.Issue{{Path: "body", Message: p.Detail}}
	}
	if invalid, ok := errors.AsType[*town.InvalidError](err); ok {
		p.Issues = nil
		for _, issue := range invalid.Issues {
			p.Issues = append(p.Issues, town.Issue{Path: issue.Path, Message: s.cfg.Secrets.Mask(issue.Message)})
		}
		if _, param := errors.AsType[*paramError](err); !param {
			p.Error = "Invalid request body" // as the first servers of this contract said
		}
	}
	return p
}

func newProblem(status int, text string) api.Problem {
	return api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: text, Error: text}
}

// problemHeader returns the headers that an error's answer carries.
func problemHeader(err error, status int) http.Header {
	if own, ok := errors.AsType[*problem](err); ok && own.header != nil {
		return own.header
	}
	switch status {
	case http.StatusUnauthorized:
		return http.Header{"Www-Authenticate": {`Bearer realm="townd"`}}
	case http.StatusServiceUnavailable:
		return retryAfter(unavailableRetry)
	case http.StatusTooManyRequests:
		if capacity, ok := errors.AsType[*town.CapacityError](err); ok {
			return retryAfter(capacity.RetryAfter)
		}
		return retryAfter(unavailableRetry)
	}
	return nil
}

func retryAfter(d time.Duration) http.Header {
	seconds := max(1, int64(math.Ceil(d.Seconds())))
	return http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}}
}

func writeJSON(w http.ResponseWriter, status int, contentType string, value any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(value)
}

// recorder remembers what was answered, and prepares connections that a stream
// takes over.
type recorder struct {
	http.ResponseWriter
	began  time.Time
	status int
	bytes  int64
	done   func(time.Duration) // observes how long the answer took
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// release takes back the deadline that an answer in parts has set: the
// connection's next answer has none, since net/http sets one only by WriteTimeout.
func (r *recorder) release() {
	if r.status != http.StatusSwitchingProtocols {
		_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Time{}) // fails with the connection
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Hijack hands the connection over, with a deadline on every write to it.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	r.done(time.Since(r.began))
	slow := newViewerConn(conn)
	brw.Writer.Reset(slow)
	return slow, brw, nil
}
