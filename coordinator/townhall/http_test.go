package townhall

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/api/conformance"
	"townd/town"
)

func TestEveryRouteIsInTheDocumentAndTheOtherWayRound(t *testing.T) {
	doc, err := conformance.Document()
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if strings.HasPrefix(path, townPath) {
				written = append(written, method+" "+path)
			}
		}
	}
	var served []string
	for _, rt := range (&face{}).routes() {
		served = append(served, rt.method+" "+townPath+rt.path)
	}
	slices.Sort(written)
	slices.Sort(served)
	if !slices.Equal(written, served) {
		t.Errorf("document and routes differ:\ndocument %s\nroutes   %s", strings.Join(written, "\n         "), strings.Join(served, "\n         "))
	}
}

func TestCallsThatWaitEndWithTheServer(t *testing.T) {
	hall, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "town.db"), TownID: "t1"})
	if err != nil {
		t.Fatal(err)
	}
	defer hall.Close()
	done := make(chan struct{})
	handler := hall.Handler(HandlerConfig{Authorize: func(*http.Request) error { return nil }, Log: slog.New(slog.DiscardHandler), Done: done})
	client := api.NewHall("http://hall", "t1", "", &http.Client{Transport: api.HandlerTransport(handler)})
	ended := make(chan error, 1)
	go func() {
		_, err := client.Events(t.Context(), api.AgentEventQuery{Wait: 55 * time.Second})
		ended <- err
	}()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://hall/api/towns/t1/status", nil)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := api.HandlerTransport(handler).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := resp.Body.Read(make([]byte, 1<<20)); err != nil || n == 0 {
		t.Fatalf("the status stream begins with %d bytes, %v", n, err)
	}
	close(done)
	if err := <-ended; !errors.Is(err, town.ErrUnavailable) {
		t.Errorf("a wait that the server ends returns %v", err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the status stream ended with %v, want a clean end", err)
	}
}

func TestEveryRouteSaysWhichAgentsMayCall(t *testing.T) {
	for _, rt := range (&face{}).routes() {
		aboutAgent := strings.Contains(rt.path, "{agentId}")
		if (rt.who == itself || rt.who == refinery) && !aboutAgent {
			t.Errorf("%s %s is for the agent of its path, which has none", rt.method, rt.path)
		}
		c := &request{ids: map[string]string{"agentId": "other"}, caller: Caller{AgentID: "me", Role: town.RolePolecat}}
		if err := rt.who.check(c); (err == nil) != (rt.who == everyone) {
			t.Errorf("%s %s lets a polecat: %v", rt.method, rt.path, err)
		}
		if err := rt.who.check(&request{}); err != nil {
			t.Errorf("%s %s refuses a person: %v", rt.method, rt.path, err)
		}
	}
}

// FuzzCalls sends anything to every call: what cannot be carried out is refused, and
// never by a 500.
func FuzzCalls(f *testing.F) {
	routes := (&face{}).routes()
	for i := range routes {
		f.Add(i, "r1", "limit=1", "", "", `{"title":"x","gitUrl":"https://git.example.com/x.git","epoch":1}`)
	}
	f.Add(6, "r%2f1", "after=%zz", "k", "polecat", `{"title":"\ud800","notBefore":"never"}`)
	hall, err := Open(f.Context(), Config{Path: ":memory:", TownID: "t1", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { hall.Close() })
	done := make(chan struct{})
	close(done) // nothing waits
	handler := hall.Handler(HandlerConfig{Authorize: func(*http.Request) error { return nil }, Log: slog.New(slog.DiscardHandler), Done: done})
	f.Fuzz(func(t *testing.T, i int, id, query, key, agent, body string) {
		rt := routes[((i%len(routes))+len(routes))%len(routes)]
		path := strings.ReplaceAll(townPath, "{townId}", "t1") + rt.path
		for _, name := range []string{"rigId", "beadId", "agentId", "convoyId", "escalationId", "questionId", "mergeId"} {
			path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(id))
		}
		r := httptest.NewRequest(rt.method, "http://hall/", strings.NewReader(body))
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = path, path, query
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		if agent != "" {
			r.Header.Set(api.AgentHeader, agent)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError {
			t.Errorf("%s %s?%s %q is answered %d %s", rt.method, path, query, body, w.Code, w.Body)
		}
		if got := w.Header().Get("Content-Type"); w.Code >= 400 && got != "application/problem+json" {
			t.Errorf("%s %s is refused as %s", rt.method, path, got)
		}
	})
}
