package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// Recorder remembers what was answered.
type Recorder struct {
	http.ResponseWriter
	Status int       // 0 until it is known
	Began  time.Time // when it was
	Bytes  int64     // of the body
}

func (r *Recorder) begin(status int) {
	if r.Status == 0 {
		r.Status, r.Began = status, time.Now()
	}
}

// WriteHeader implements http.ResponseWriter.
func (r *Recorder) WriteHeader(status int) {
	r.begin(status)
	r.ResponseWriter.WriteHeader(status)
}

func (r *Recorder) Write(p []byte) (int, error) {
	r.begin(http.StatusOK)
	n, err := r.ResponseWriter.Write(p)
	r.Bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *Recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// End sets the status that net/http sends for a handler that wrote nothing.
func (r *Recorder) End() { r.begin(http.StatusOK) }

// statusClientGone is logged for a caller that did not wait for its answer. It
// is nginx's; nobody receives it.
const statusClientGone = 499

// Refuse answers with err as a problem. It is where an error of no kind is
// logged, and the only thing the caller is told of it is that there was one.
func (r *Recorder) Refuse(req *http.Request, err error, mask func(string) string, log *slog.Logger) {
	if req.Context().Err() != nil && errors.Is(err, context.Canceled) {
		r.Status = statusClientGone
		return
	}
	if writeError(r, err, mask) == http.StatusInternalServerError {
		log.Error("request failed", "method", req.Method, "path", req.URL.Path, "error", err)
	}
}

// Recover, deferred, turns a panic of a handler into a 500, or ends the connection
// of an answer that has begun.
func Recover(r *Recorder, req *http.Request, log *slog.Logger) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	log.Error("handler panicked", "path", req.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	switch {
	case r.Status == 0:
		writeJSON(r, http.StatusInternalServerError, "application/problem+json", newProblem(http.StatusInternalServerError, "internal error"))
	case r.Status != http.StatusSwitchingProtocols:
		panic(http.ErrAbortHandler)
	}
}
