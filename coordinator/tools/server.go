// Package tools is the agents' socket: what an agent may ask of its town, with the
// capability that it was given when it was started. Hooks of the agents' CLIs ask
// here, an agent reports here what became of its work, and calls the tools that the
// town has for its role (Desk). Who an agent is and what its hooks may do is decided
// by Agents.
package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"townd/api"
	"townd/sock"
	"townd/town"
)

// MaxBodyBytes is the largest request that the socket takes.
const MaxBodyBytes = 8 << 20

// MaxReportBytes is the longest text of a report.
const MaxReportBytes = 64 << 10

// Agents decides what agents ask. A capability that is no living agent's is
// town.ErrUnauthorized. Its methods are called concurrently; their context ends
// when the caller leaves or the server closes.
type Agents interface {
	Hook(ctx context.Context, capability string, call town.HookCall) (town.HookAnswer, error)
	Report(ctx context.Context, capability string, r town.Report) error
}

// Config is what a Server needs. Every field but Desk is required.
type Config struct {
	Path   string // of the socket: absolute
	Agents Agents
	Desk   *Desk // nil in a town without a coordinator, whose agents have no tools
	Log    *slog.Logger
}

// Server serves the agents' socket until Close.
type Server struct {
	cfg  Config
	http *http.Server
	stop context.CancelCauseFunc
	done sync.WaitGroup
}

// Bounds of one call: an agent's program is near, and sends at once.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 30 * time.Second
	writeTimeout   = 60 * time.Second
	idleTimeout    = time.Minute
	closeTimeout   = 2 * time.Second
	maxHeaderBytes = 16 << 10
)

// New listens at c.Path and serves. It returns town.ErrConflict when another
// server is there; the socket of a dead one is replaced. As root the socket is
// open to every user, for agents run as users of their own; what it lets them do
// is bound to their capability.
func New(c Config) (*Server, error) {
	l, err := listen(c.Path)
	if err != nil {
		return nil, fmt.Errorf("agents' socket: %w", err)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	s := &Server{cfg: c, stop: stop}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook", s.hook)
	mux.HandleFunc("POST /report", s.report)
	mux.HandleFunc("GET /tools", s.tools)
	mux.HandleFunc("POST /tool", s.tool)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, fmt.Errorf("%s %s: the agents' socket has no such call: %w", r.Method, r.URL.Path, town.ErrNotFound))
	})
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn),
	}
	s.done.Go(func() { // ends with Close
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.Log.Error("agents' socket failed", "error", err)
		}
	})
	return s, nil
}

func listen(path string) (net.Listener, error) {
	passable, mode := fs.FileMode(0o700), fs.FileMode(0o600)
	if os.Geteuid() == 0 {
		passable, mode = 0o711, 0o666
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err != nil { // one that is there has the mode that its maker wants
		if err := errors.Join(os.MkdirAll(dir, passable), os.Chmod(dir, passable)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := sock.Dial(ctx, path)
	if err == nil {
		_ = conn.Close()
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, syscall.EAGAIN) { // or it has no time to accept
		return nil, fmt.Errorf("another server listens at %s: %w", path, town.ErrConflict)
	}
	return sock.Listen(path, mode)
}

// Close ends the socket. Calls under way have two seconds to be answered; then
// they are cut, and ask the next server.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	s.stop(fmt.Errorf("agents' socket closed: %w", town.ErrUnavailable))
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.done.Wait()
	return err
}

func (s *Server) hook(w http.ResponseWriter, r *http.Request) {
	var call town.HookCall
	s.answer(w, r, &call, func(capability string) (any, error) {
		if !slices.Contains(hookPoints, call.Point) {
			return nil, invalid("point", "must be one of %q, not %.40q", hookPoints, call.Point)
		}
		return s.cfg.Agents.Hook(r.Context(), capability, call)
	})
}

var hookPoints = []town.HookPoint{
	town.HookThinking, town.HookToolBefore, town.HookToolAfter, town.HookError, town.HookStop, town.HookComplete,
}

func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	var report town.Report
	s.answer(w, r, &report, func(capability string) (any, error) {
		switch report.State {
		case town.ReasonDone, town.ReasonBlocked, town.ReasonWaiting:
		default:
			return nil, invalid("state", "must be done, blocked or waiting, not %.40q", report.State)
		}
		if len(report.Text) > MaxReportBytes {
			return nil, invalid("text", "must be at most %d bytes, not %d", MaxReportBytes, len(report.Text))
		}
		if s.cfg.Desk != nil {
			return struct{}{}, s.cfg.Desk.Report(r.Context(), capability, report)
		}
		return struct{}{}, s.cfg.Agents.Report(r.Context(), capability, report)
	})
}

// toolList is the answer to GET /tools.
type toolList struct {
	Tools []Tool `json:"tools"`
}

func (s *Server) tools(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, nil, func(capability string) (any, error) {
		if s.cfg.Desk == nil {
			return toolList{[]Tool{}}, nil
		}
		list, err := s.cfg.Desk.Tools(capability)
		return toolList{list}, err
	})
}

func (s *Server) tool(w http.ResponseWriter, r *http.Request) {
	var call Call
	s.answer(w, r, &call, func(capability string) (any, error) {
		if s.cfg.Desk == nil {
			return nil, fmt.Errorf("this town has no coordinator, and so no tools: %w", town.ErrNotFound)
		}
		return s.cfg.Desk.Do(r.Context(), capability, call)
	})
}

// answer reads a call into in, unless that is nil, unknown fields being left out,
// and writes what do returns.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, in any, do func(capability string) (any, error)) {
	capability, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || capability == "" {
		s.fail(w, r, fmt.Errorf("the agents' socket wants the capability of an agent: %w", town.ErrUnauthorized))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = fmt.Errorf("a call is at most %d bytes: %w", MaxBodyBytes, town.ErrTooLarge)
	} else if err != nil {
		err = fmt.Errorf("read the call: %v: %w", err, town.ErrInvalid)
	} else if jsonErr := decodeBody(body, in); jsonErr != nil {
		err = invalid("body", "must be a JSON object as the contract has it: %v", jsonErr)
	}
	var out any
	if err == nil {
		out, err = do(capability)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	write(w, http.StatusOK, "application/json", out)
}

// decodeBody reads a body into in; a call without one has none to be read into.
func decodeBody(body []byte, in any) error {
	if in == nil {
		return nil
	}
	return json.Unmarshal(body, in)
}

// fail answers with err as a problem. An error of no kind is logged, and its
// caller told only that there was one.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := town.HTTPStatus(err), err.Error()
	if status == http.StatusInternalServerError {
		s.cfg.Log.Error("call of an agent failed", "path", r.URL.Path, "error", err)
		text = "internal error"
	}
	p := api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: text, Error: text}
	if invalid, ok := errors.AsType[*town.InvalidError](err); ok {
		p.Issues = invalid.Issues
	}
	write(w, status, "application/problem+json", p)
}

func write(w http.ResponseWriter, status int, contentType string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types always marshal
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(b) // a caller that has gone asks again
}

func invalid(path, format string, args ...any) error {
	return &town.InvalidError{Issues: []town.Issue{{Path: path, Message: fmt.Sprintf(format, args...)}}}
}
