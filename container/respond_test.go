package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/supervisor"
	"townd/town"
)

// answer runs a handler that is not one of ours through serve.
func answer(t *testing.T, handle func(*http.Request) (any, error)) (rec *httptest.ResponseRecorder, p api.Problem, logs string) {
	t.Helper()
	var out bytes.Buffer
	s := &Server{metrics: NewMetrics(), log: slog.New(slog.NewJSONHandler(&out, nil)), cfg: Config{Secrets: NewSecrets("the-secret")}}
	rec = httptest.NewRecorder()
	s.serve(route{method: http.MethodGet, path: "/x", access: accessPublic, handle: handle}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/x?ticket=t", nil))
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		t.Fatalf("answer %q: %v", rec.Body, err)
	}
	return rec, p, out.String()
}

func TestEachKindOfErrorHasItsAnswer(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		text   string
		header string
		value  string
	}{
		{fmt.Errorf("agent a: %w", town.ErrNotFound), 404, "agent a: not found", "", ""},
		{fmt.Errorf("agent a runs: %w", town.ErrConflict), 409, "agent a runs: conflict", "", ""},
		{&town.CapacityError{What: "32 agents run", RetryAfter: 1500 * time.Millisecond}, 429, "32 agents run", "Retry-After", "2"},
		{&town.CapacityError{What: "busy"}, 429, "busy", "Retry-After", "1"},
		{fmt.Errorf("draining: %w", town.ErrUnavailable), 503, "draining: unavailable", "Retry-After", "5"},
		{fmt.Errorf("who are you: %w", town.ErrUnauthorized), 401, "who are you: unauthorized", "Www-Authenticate", `Bearer realm="townd"`},
		{fmt.Errorf("clone https://u:the-secret@host: %w", town.ErrGit), 502, "clone https://[redacted]@host: git remote failed", "", ""},
		{fmt.Errorf("it has the-secret: %w", town.ErrStartFailed), 422, "it has [redacted]: program not started", "", ""},
		{wire.BadParam("after", "is wrong"), 400, "invalid: after is wrong", "", ""},
		{wire.BadBody("prompt", "is required"), 400, "Invalid request body", "", ""},
		{&wire.Refusal{Status: 416, Text: "held is nothing", Header: http.Header{"Content-Range": {"bytes */0"}}}, 416, "held is nothing", "Content-Range", "bytes */0"},
	} {
		rec, p, _ := answer(t, func(*http.Request) (any, error) { return nil, c.err })
		if rec.Code != c.status || p.Status != c.status || p.Error != c.text || p.Type != "about:blank" || p.Title == "" || p.Detail == "" ||
			rec.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%v is answered %d %+v, want %d %q", c.err, rec.Code, p, c.status, c.text)
		}
		if c.header != "" && rec.Header().Get(c.header) != c.value {
			t.Errorf("%v is answered with %s %q, want %q", c.err, c.header, rec.Header().Get(c.header), c.value)
		}
	}
}

func TestUnexpectedErrorsStayInside(t *testing.T) {
	rec, p, logs := answer(t, func(*http.Request) (any, error) { return nil, errors.New("disk on fire") })
	if rec.Code != 500 || p.Error != "internal error" || strings.Contains(rec.Body.String(), "fire") {
		t.Errorf("answer = %d %s, want an internal error and no more", rec.Code, rec.Body)
	}
	if !strings.Contains(logs, `"error":"disk on fire"`) {
		t.Errorf("log = %s, want the cause", logs)
	}
	rec, p, logs = answer(t, func(*http.Request) (any, error) { panic("lost my head") })
	if rec.Code != 500 || p.Error != "internal error" {
		t.Errorf("a panic is answered %d %s, want an internal error", rec.Code, rec.Body)
	}
	if !strings.Contains(logs, "lost my head") || !strings.Contains(logs, `"status":500`) || strings.Contains(logs, "ticket") {
		t.Errorf("log = %s, want the panic and the request without its query", logs)
	}
}

func TestAnswerThatHasBegunIsCutByAPanic(t *testing.T) {
	s := &Server{metrics: NewMetrics(), log: slog.New(slog.DiscardHandler)}
	handler := s.serve(route{method: http.MethodGet, path: "/x", access: accessPublic, handle: func(*http.Request) (any, error) {
		return wire.Writer(func(w http.ResponseWriter) {
			_, _ = w.Write([]byte("half of"))
			panic("lost my head")
		}), nil
	}})
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("the connection is kept: %v", err)
		}
	}()
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", nil))
}

func TestCallerThatLeftIsNoFault(t *testing.T) {
	var out bytes.Buffer
	s := &Server{metrics: NewMetrics(), log: slog.New(slog.NewJSONHandler(&out, nil)), cfg: Config{Secrets: NewSecrets()}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	handler := s.serve(route{method: http.MethodGet, path: "/x", handle: func(r *http.Request) (any, error) { return nil, r.Context().Err() }, access: accessPublic})
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", nil).WithContext(ctx))
	if logs := out.String(); !strings.Contains(logs, `"status":499`) || strings.Contains(logs, "ERROR") {
		t.Errorf("log = %s, want 499 and no error", logs)
	}
}

func TestHealthSaysTheWorst(t *testing.T) {
	for _, c := range []struct {
		st       supervisor.Stats
		degraded []string
		want     string
	}{
		{supervisor.Stats{KeeperPID: 7}, nil, api.HealthOK},
		{supervisor.Stats{KeeperPID: 7}, []string{"disk is full"}, api.HealthDegraded},
		{supervisor.Stats{KeeperPID: 7, Draining: true}, []string{"disk is full"}, api.HealthDraining},
		{supervisor.Stats{Draining: true}, []string{"the keeper is gone"}, api.HealthUnhealthy},
	} {
		if got := healthStatus(c.st, c.degraded); got != c.want {
			t.Errorf("healthStatus(%+v, %q) = %s, want %s", c.st, c.degraded, got, c.want)
		}
	}
}
