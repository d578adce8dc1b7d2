package container

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"time"

	"townd/api/wire"
)

// serve makes the handler of one route: access, the call, its answer or error,
// one log line, one observation.
func (s *Server) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{Recorder: wire.Recorder{ResponseWriter: w}, began: time.Now()}
		rec.done = func(d time.Duration) { s.metrics.request(rt, r.Method, rec.Status, d) }
		defer s.logRequest(rt, r, rec)
		defer wire.Recover(&rec.Recorder, r, s.log)
		value, err := s.handle(rt, r)
		if err != nil {
			rec.Refuse(r, err, s.cfg.Secrets.Mask, s.log)
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

// logRequest writes the access line: no query, which may hold a ticket, and no body.
func (s *Server) logRequest(rt route, r *http.Request, rec *recorder) {
	took := time.Since(rec.began)
	rec.End()
	switch {
	case rec.Header().Get("Content-Type") == "text/event-stream": // which goes on as long as someone reads it
		rec.done(rec.Began.Sub(rec.began))
	case rec.Status != http.StatusSwitchingProtocols:
		rec.done(took)
	}
	level := slog.LevelInfo
	if read := r.Method == http.MethodGet || r.Method == http.MethodHead; read && rt.access != accessTicket && rec.Status < 300 || rt.path == "/metrics" {
		level = slog.LevelDebug // probes come every few seconds, and an open dashboard reads all the time
	}
	s.log.Log(r.Context(), level, "request", "method", r.Method, "route", rt.path, "path", r.URL.Path, "status", rec.Status,
		"duration_ms", float64(took.Microseconds())/1000, "bytes", rec.Bytes, "remote", r.RemoteAddr)
}

// recorder prepares connections that a stream takes over.
type recorder struct {
	wire.Recorder
	began time.Time
	done  func(time.Duration) // observes how long the answer took
}

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
