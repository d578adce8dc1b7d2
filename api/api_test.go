package api_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// serving returns a client of a server that answers every call so.
func serving(t *testing.T, status int, header http.Header, body string) *api.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%s %s has Authorization %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return api.New(server.URL+"/", "secret", server.Client())
}

func TestErrorsComeBackAsTheTownHadThem(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		kind   error
		text   string
	}{
		{404, `{"detail":"agent \"a\": not found","error":"agent \"a\": not found"}`, town.ErrNotFound, `agent "a": not found`},
		{409, `{"error":"older servers say this only"}`, town.ErrConflict, "older servers say this only"},
		{502, "<html>bad gateway</html>", town.ErrGit, "502 Bad Gateway"},
		{401, ``, town.ErrUnauthorized, "401 Unauthorized"},
		{507, `{"detail":"disk full"}`, town.ErrNoSpace, "disk full"},
	} {
		_, err := serving(t, c.status, nil, c.body).Agent(t.Context(), "a")
		e, ok := errors.AsType[*api.Error](err)
		if !ok || e.Status != c.status || !errors.Is(err, c.kind) || err.Error() != c.text {
			t.Errorf("status %d %s came back as %v, want %v %q", c.status, c.body, err, c.kind, c.text)
		}
	}
	_, err := serving(t, 500, nil, `{"detail":"internal error"}`).Agent(t.Context(), "a")
	if err == nil || errors.Is(err, town.ErrInvalid) || err.Error() != "internal error" {
		t.Errorf("status 500 came back as %v", err)
	}
	_, err = serving(t, 400, nil, `{"detail":"invalid","error":"Invalid request body","issues":[{"path":"prompt","message":"is required"}]}`).Agent(t.Context(), "a")
	if invalid, ok := errors.AsType[*town.InvalidError](err); !ok || !slices.Equal(invalid.Issues, []town.Issue{{Path: "prompt", Message: "is required"}}) {
		t.Errorf("issues came back as %#v", err)
	}
	_, err = serving(t, 429, http.Header{"Retry-After": {"7"}}, `{"detail":"full"}`).Agent(t.Context(), "a")
	if capacity, ok := errors.AsType[*town.CapacityError](err); !ok || capacity.RetryAfter != 7*time.Second {
		t.Errorf("Retry-After came back as %#v", err)
	}
}

func TestUnhealthyTownIsAnAnswer(t *testing.T) {
	header := http.Header{"Content-Type": {"application/json"}}
	h, err := serving(t, 503, header, `{"status":"unhealthy","degraded":["the keeper is gone"]}`).Health(t.Context())
	if err != nil || h.Status != api.HealthUnhealthy {
		t.Errorf("Health() = %+v, %v; want unhealthy", h, err)
	}
	if _, err := serving(t, 503, nil, `no town here`).Health(t.Context()); !errors.Is(err, town.ErrUnavailable) {
		t.Errorf("Health() of another server = %v, want ErrUnavailable", err)
	}
}

func TestTicketIsNotInTheErrorOfAFailedDial(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /agents/a/stream-ticket", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"ticket":"very-secret-ticket"}`)
	})
	mux.HandleFunc("GET /agents/a/stream", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(mux)
	defer server.Close()
	_, err := api.New(server.URL, "secret", server.Client()).Stream(t.Context(), "a", api.StreamOptions{})
	if err == nil || strings.Contains(err.Error(), "very-secret") {
		t.Errorf("Stream() = %v, want an error without the ticket", err)
	}
}

func TestEventsAreReadAsTheyWereSent(t *testing.T) {
	body := ": quiet\n\nid: e:1\nevent: text\ndata: {\"id\":1,\"event\":\"text\",\"data\":{\"text\":\"a\"},\"timestamp\":\"2026-11-21T09:00:00Z\"}\n\n" +
		"id:e:2\r\ndata:{\"id\":2,\"event\":\"state\",\"data\":{},\"timestamp\":\"2026-11-21T09:00:00Z\"}\r\n\r\n"
	var got []string
	var last error
	for e, err := range serving(t, 200, nil, body).FollowEvents(t.Context(), "a", "e:0") {
		if err != nil {
			last = err
			break
		}
		got = append(got, fmt.Sprintf("%s %d %s", e.Cursor, e.ID, e.Event.Event))
	}
	if want := []string{"e:1 1 text", "e:2 2 state"}; !slices.Equal(got, want) || last == nil {
		t.Errorf("events = %q, then %v; want %q, then why it ended", got, last, want)
	}
}
