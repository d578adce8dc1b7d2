package container

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"townd/api/wire"
)

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
		wire.Answer(rec, value)
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
		wire.WriteError(rec, errors.New("panic"), nil)
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
	if status := wire.WriteError(w, err, s.cfg.Secrets.Mask); status == http.StatusInternalServerError {
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
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
