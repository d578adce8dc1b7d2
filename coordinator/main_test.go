package coordinator

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/town"
)

// childEnv has the test binary report to an outbox until it is killed.
const childEnv = "COORDINATOR_TEST_OUTBOX"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		reportForEver(path)
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	for range 500 { // connections of test servers end a little later
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // whose own goroutines stay
	if n := runtime.NumGoroutine(); n > before && code == 0 && !fuzzing {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		fmt.Fprintf(os.Stderr, "%d goroutines are left, %d were there before the tests\n", n, before)
		code = 1
	}
	os.Exit(code)
}

// request is one that a test's coordinator got.
type request struct {
	at    time.Time
	path  string
	key   string
	token string
	agent string
	body  []byte
}

// hall is a coordinator that takes everything, unless its fault answers first.
type hall struct {
	mu       sync.Mutex
	fault    func(w http.ResponseWriter, r request, n int) bool // n counts the requests to that path, from 1
	requests []request
	taken    []request // without those that a fault answered, and repetitions by key
	keys     map[string]bool
	counts   map[string]int
	orders   []town.Order
	beats    []town.Heartbeat
	news     chan struct{}
}

func newHall() *hall {
	return &hall{keys: make(map[string]bool), counts: make(map[string]int), news: make(chan struct{}, 1)}
}

func (h *hall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	req := request{time.Now(), r.URL.Path, r.Header.Get("Idempotency-Key"), r.Header.Get("Authorization"), r.Header.Get("X-Townd-Agent"), body}
	defer signal(h.news)
	h.mu.Lock()
	h.requests = append(h.requests, req)
	h.counts[req.path]++
	fault, n := h.fault, h.counts[req.path]
	h.mu.Unlock()
	if fault != nil && fault(w, req, n) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(req.path, "/heartbeat") {
		var beat town.Heartbeat
		if err := json.Unmarshal(body, &beat); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		h.beats = append(h.beats, beat)
		for _, done := range beat.OrdersDone {
			h.orders = slices.DeleteFunc(h.orders, func(o town.Order) bool { return o.ID == done.ID })
		}
		_ = json.NewEncoder(w).Encode(town.HeartbeatReply{Heartbeat: true, Epoch: 7, Orders: h.orders})
		return
	}
	if !h.keys[req.key] {
		h.keys[req.key] = true
		h.taken = append(h.taken, req)
	}
	_, _ = io.WriteString(w, `{"accepted":1}`)
}

// wait returns when ok is true of the hall.
func (h *hall) wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		h.mu.Lock()
		done := ok()
		h.mu.Unlock()
		if done {
			return
		}
		select {
		case <-h.news:
		case <-time.After(20 * time.Millisecond): // what was awaited may not be a request
		case <-deadline:
			t.Fatalf("no %s within a minute", what)
		}
	}
}

// bodies returns what was taken at paths that end so.
func (h *hall) bodies(suffix string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, r := range h.taken {
		if strings.HasSuffix(r.path, suffix) {
			all = append(all, string(r.body))
		}
	}
	return all
}

// events returns the events that were taken, in order, once each by run and id.
func (h *hall) events(t testing.TB) []town.AgentEvent {
	t.Helper()
	var all []town.AgentEvent
	type id struct {
		run string
		id  int64
	}
	seen := make(map[id]bool)
	for _, body := range h.bodies("/events") {
		var in struct {
			InstanceID string            `json:"instanceId"`
			Events     []town.AgentEvent `json:"events"`
		}
		if err := json.Unmarshal([]byte(body), &in); err != nil || in.InstanceID == "" || len(in.Events) == 0 || len(in.Events) > maxEvents {
			t.Fatalf("events of instance %q: %d of them, %v", in.InstanceID, len(in.Events), err)
		}
		for _, e := range in.Events {
			if k := (id{e.RunID, e.ID}); !seen[k] {
				seen[k] = true
				all = append(all, e)
			}
		}
	}
	return all
}

// direct calls a handler without a socket, for tests in a bubble of fake time.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, req)
	return w.Result(), nil
}

// testTown is what a link tells of.
type testTown struct {
	mu       sync.Mutex
	agents   []town.AgentHeartbeat
	apply    func(context.Context, town.Order) error
	replaced int
}

func (tt *testTown) Instance() (string, time.Time) { return "instance1", time.Unix(1, 0) }

func (tt *testTown) Heartbeat() town.Heartbeat {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	return town.Heartbeat{Status: "ok", Agents: slices.Clone(tt.agents)}
}

func (tt *testTown) Apply(ctx context.Context, o town.Order) error {
	if tt.apply == nil {
		return nil
	}
	return tt.apply(ctx, o)
}

func (tt *testTown) Replaced(context.Context) {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	tt.replaced++
}

// open opens a link in dir to a coordinator, closed with the test unless close is
// called.
func open(t testing.TB, c Config) *Link {
	t.Helper()
	if c.Path == "" {
		c.Path = filepath.Join(t.TempDir(), "outbox.db")
	}
	if c.URL == "" {
		c.URL = "http://coordinator.invalid"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	c.TownID, c.Token = "local", "a-token"
	l, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeLink(t testing.TB, l *Link) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// post reports a fact in a lane.
func post(t testing.TB, l *Link, lane, path, key string) {
	t.Helper()
	if err := l.Post(t.Context(), Fact{Lane: lane, Path: path, Key: key, Body: map[string]string{"key": key}}); err != nil {
		t.Fatal(err)
	}
}

func event(agent string, id int64, kind town.EventType, text string) town.AgentEvent {
	data, _ := json.Marshal(town.TextData{Text: text})
	return town.AgentEvent{
		AgentID: agent, RunID: "run-" + agent, Event: town.Event{ID: id, Event: kind, Data: data, Timestamp: time.Now().UTC()},
	}
}

// keysOf returns the keys that were taken of a lane's facts, in order.
func (h *hall) keysAt(suffix string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var keys []string
	for _, r := range h.taken {
		if strings.HasSuffix(r.path, suffix) {
			keys = append(keys, r.key)
		}
	}
	return keys
}

func (h *hall) times(suffix string) []time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	var at []time.Time
	for _, r := range h.requests {
		if strings.HasSuffix(r.path, suffix) {
			at = append(at, r.at)
		}
	}
	return at
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// stops is how often the town was told that it was replaced.
func (tt *testTown) stops() int {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	return tt.replaced
}
