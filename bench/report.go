package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"townd/coordinator"
	"townd/town"
)

// Events come at this rate, from so many agents in turn.
const (
	reportRate   = 10_000 // a second
	reportAgents = 20
	beatAgents   = 200
)

// measureReports measures what it costs to report: events through the outbox to a
// coordinator, and heartbeats of many agents.
func measureReports(ctx context.Context, s *server) error {
	h, err := newReportHall()
	if err != nil {
		return err
	}
	defer h.close()
	seconds := pick(s.b, 20, 3)
	through, err := s.b.reportBy(ctx, h, "report", filepath.Join(s.b.dir, "outbox.db"), seconds)
	if err != nil {
		return err
	}
	bare, err := s.b.reportBy(ctx, h, "post", "", seconds)
	if err != nil {
		return err
	}
	s.b.report(figure{
		name: "10,000 events/s through the outbox, CPU", got: 100 * through.CPU / through.Wall, unit: "% core", bound: 100,
		reference: "posted from memory", ref: 100 * bare.CPU / bare.Wall,
	})
	s.b.report(figure{
		name: "the same, delivered in order a second", got: float64(through.Events) / through.Wall, unit: "/s", bound: 0.95 * reportRate, atLeast: true,
		reference: "posted from memory", ref: float64(bare.Events) / bare.Wall,
	})
	return s.measureBeats(ctx, h)
}

// measureBeats compares a town that beats every second with one that does not.
func (s *server) measureBeats(ctx context.Context, h *reportHall) error {
	for i := range beatAgents / 8 {
		if _, err := s.launchAll(ctx, 8, fmt.Sprintf("beat%d-", i), idle); err != nil {
			return err
		}
	}
	var shares [2]float64
	for i, every := range []string{"3600", "1"} {
		if err := s.again(ctx, "TOWND_COORDINATOR_URL="+h.url, "TOWND_HEARTBEAT_SECONDS="+every); err != nil {
			return err
		}
		var err error
		if _, shares[i], err = s.rest(ctx); err != nil {
			return err
		}
	}
	if agents := h.beat(); agents != beatAgents {
		return fmt.Errorf("the last heartbeat told of %d agents, not %d", agents, beatAgents)
	}
	s.b.report(figure{
		name: "a heartbeat of 200 agents, CPU", got: max(1000*(shares[1]-shares[0]), 0), unit: "ms", bound: 20,
		reference: "a second without one", ref: 1000 * shares[0],
	})
	return nil
}

// reported is what a program that reports says at its end.
type reported struct {
	CPU    float64 // seconds
	Wall   float64 // seconds
	Events int64
}

// reportBy has a program of its own report events, and checks that all came in order.
func (b *bench) reportBy(ctx context.Context, h *reportHall, mode, path string, seconds int) (r reported, err error) {
	h.reset()
	cmd := exec.CommandContext(ctx, b.agent, agentArgument, mode, h.url, strconv.Itoa(seconds), path)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("%s: %w", mode, err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("%s: %w", mode, err)
	}
	return r, h.check(r.Events)
}

// reportEvents gives events at the rate for so many seconds to emit. finish returns
// when all are delivered.
func reportEvents(seconds int, emit func(town.AgentEvent), finish func() error) error {
	ids := make([]int64, reportAgents)
	data, err := json.Marshal(town.TextData{Text: strings.Repeat("word ", 20)})
	if err != nil {
		return err
	}
	began := time.Now()
	total := int64(seconds * reportRate)
	for n := range total {
		if n%100 == 0 {
			time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / reportRate)))
		}
		a := n % reportAgents
		ids[a]++
		name := fmt.Sprintf("agent%d", a)
		emit(town.AgentEvent{
			AgentID: name, RigID: "rig", RunID: "run-" + name,
			Event: town.Event{ID: ids[a], Event: town.EventText, Data: data, Timestamp: time.Now().UTC()},
		})
	}
	if err := finish(); err != nil {
		return err
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return json.NewEncoder(os.Stdout).Encode(reported{cpu.Seconds(), time.Since(began).Seconds(), total})
}

// reportThroughOutbox is a mode: args are the coordinator's URL, seconds, and the file.
func reportThroughOutbox(args []string) error {
	seconds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	ctx := context.Background()
	link, err := coordinator.Open(ctx, coordinator.Config{
		Path: args[2], URL: args[0], TownID: "local", Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	link.Start(quietTown{})
	err = reportEvents(seconds, func(e town.AgentEvent) { link.Event("epoch", e) }, func() error { return link.Flush(ctx) })
	return errors.Join(err, link.Close())
}

// reportFromMemory is a mode to compare with: the same requests without an outbox.
func reportFromMemory(args []string) error {
	seconds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var batch []town.AgentEvent
	post := func() error {
		body, err := json.Marshal(map[string]any{"instanceId": "bench", "events": batch})
		if err != nil {
			return err
		}
		batch = batch[:0]
		resp, err := http.Post(args[0]+"/api/towns/local/events", "application/json", bytes.NewReader(body)) //nolint:noctx,gosec // ends with the process
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.Body.Close()
	}
	var failed error
	err = reportEvents(seconds, func(e town.AgentEvent) {
		if batch = append(batch, e); len(batch) == 500 {
			failed = errors.Join(failed, post())
		}
	}, post)
	return errors.Join(err, failed)
}

// quietTown is a town without agents of its own.
type quietTown struct{}

func (quietTown) Instance() (string, time.Time)           { return "bench", time.Now() }
func (quietTown) Heartbeat() town.Heartbeat               { return town.Heartbeat{Agents: []town.AgentHeartbeat{}} }
func (quietTown) Apply(context.Context, town.Order) error { return nil }
func (quietTown) Replaced(context.Context)                {}

// reportHall is a coordinator that counts.
type reportHall struct {
	url string
	web *http.Server

	mu     sync.Mutex
	last   map[string]int64 // event of each agent
	wrong  string
	agents int // in the newest heartbeat
}

func newReportHall() (*reportHall, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &reportHall{url: "http://" + l.Addr().String(), last: make(map[string]int64)}
	h.web = &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	go h.web.Serve(l) //nolint:errcheck // ends with close
	return h, nil
}

func (h *reportHall) close() { _ = h.web.Close() }

func (h *reportHall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Events []struct {
			AgentID string
			ID      int64
		}
		Agents []struct{ AgentID string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/heartbeat") {
		h.agents = len(in.Agents)
	}
	for _, e := range in.Events {
		if e.ID != h.last[e.AgentID]+1 {
			h.wrong = fmt.Sprintf("event %d of %s came after %d", e.ID, e.AgentID, h.last[e.AgentID])
		}
		h.last[e.AgentID] = e.ID
	}
	_, _ = io.WriteString(w, `{"heartbeat":true,"epoch":1,"orders":[]}`)
}

func (h *reportHall) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, h.wrong = make(map[string]int64), ""
}

// check returns an error unless that many events came, each agent's in order.
func (h *reportHall) check(want int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	got := int64(0)
	for _, id := range h.last {
		got += id
	}
	if h.wrong != "" || got != want {
		return fmt.Errorf("%d events came, want %d; %s", got, want, h.wrong)
	}
	return nil
}

func (h *reportHall) beat() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.agents
}
