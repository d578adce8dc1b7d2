package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// recordingHall is a coordinator for a server of its own process. It keeps what it is told, and
// gives orders.
type recordingHall struct {
	mu     sync.Mutex
	url    string
	status int // of every answer; 0 for taking all
	token  string
	beats  []town.Heartbeat
	ends   map[string][]town.Completion // by agent, once by key
	keys   map[string]bool
	events map[string]int // by agent, once by run and id
	merges []town.MergeOutcome
	orders []town.Order
	done   map[string]string // errors of orders
}

func newHall(t *testing.T) *recordingHall {
	h := &recordingHall{ends: make(map[string][]town.Completion), keys: make(map[string]bool), events: make(map[string]int), done: make(map[string]string)}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

func (h *recordingHall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch token := r.Header.Get("Authorization"); {
	case h.token != "" && token != "Bearer "+h.token:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case h.status != 0:
		w.WriteHeader(h.status)
		return
	}
	first := !h.keys[r.Header.Get("Idempotency-Key")]
	h.keys[r.Header.Get("Idempotency-Key")] = true
	reply := town.HeartbeatReply{Heartbeat: true, Epoch: 3, Orders: []town.Order{}}
	switch path := r.URL.Path; {
	case path == "/api/towns/t1/heartbeat":
		var beat town.Heartbeat
		_ = json.Unmarshal(body, &beat)
		h.beats = append(h.beats, beat)
		for _, d := range beat.OrdersDone {
			h.done[d.ID] = d.Error
			h.orders = slices.DeleteFunc(h.orders, func(o town.Order) bool { return o.ID == d.ID })
		}
		reply.Orders = append(reply.Orders, h.orders...)
	case strings.HasSuffix(path, "/completed") && first:
		var c town.Completion
		_ = json.Unmarshal(body, &c)
		h.ends[c.AgentID] = append(h.ends[c.AgentID], c)
	case strings.HasSuffix(path, "/complete") && first:
		var o town.MergeOutcome
		_ = json.Unmarshal(body, &o)
		h.merges = append(h.merges, o)
	case strings.HasSuffix(path, "/events"):
		var in struct{ Events []town.AgentEvent }
		_ = json.Unmarshal(body, &in)
		for _, e := range in.Events {
			if key := fmt.Sprint(e.RunID, e.ID); !h.keys[key] {
				h.keys[key] = true
				h.events[e.AgentID]++
			}
		}
	}
	_ = json.NewEncoder(w).Encode(reply)
}

// set changes the hall.
func (h *recordingHall) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// when waits until ok is true of the hall.
func (h *recordingHall) when(t *testing.T, what string, ok func() bool) {
	t.Helper()
	waitFor(t, what, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return ok()
	})
}

func startLinked(t *testing.T, more map[string]string) (*testTown, *recordingHall) {
	t.Helper()
	h := newHall(t)
	env := map[string]string{"TOWND_COORDINATOR_URL": h.url, "TOWND_TOWN_ID": "t1", "TOWND_HEARTBEAT_SECONDS": "1"}
	maps.Copy(env, more)
	return startTownWith(t, env), h
}

// N11, N12: the server and its coordinator may die in any order: each end of an agent is
// told once, each event once, and the instance is the same as long as its agents are.
func TestReportsSurviveTheServerAndTheCoordinator(t *testing.T) {
	tt, h := startLinked(t, nil)
	tt.ok("start", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c", "echo hi; while ! test -e done; do sleep 0.05; done")
	tt.ok("start", "--repo", tt.repo, "--name", "rye", "--", "sleep", "1000") // with nobody left the keeper ends, and the instance with it
	h.when(t, "a heartbeat with both agents", func() bool {
		last := len(h.beats) - 1
		return last >= 0 && len(h.beats[last].Agents) == 2 &&
			!slices.ContainsFunc(h.beats[last].Agents, func(a town.AgentHeartbeat) bool { return a.Status != town.StatusRunning })
	})
	h.set(func() { h.status = 503 })
	var list api.AgentList
	if err := json.Unmarshal([]byte(tt.ok("ps", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	toast := list.Agents[slices.IndexFunc(list.Agents, func(a town.Agent) bool { return a.AgentID == "toast" })]
	if err := os.WriteFile(filepath.Join(toast.Workdir, "done"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the agent's end", func() bool { return strings.Contains(tt.ok("events", "toast"), `"exited"`) })
	wantContains(t, "health", tt.ok("health"), "coordinator", "reports")
	tt.kill()
	tt.serve()
	tt.ok("run", "--repo", tt.repo, "--name", "crumb", "--", "true")
	tt.kill()
	h.set(func() { h.status = 0 })
	tt.serve()
	h.when(t, "both ends", func() bool { return len(h.ends["toast"]) > 0 && len(h.ends["crumb"]) > 0 })
	h.when(t, "an empty outbox", func() bool { last := h.beats[len(h.beats)-1]; return last.Outbox == town.OutboxState{} })
	h.set(func() {
		if len(h.ends["toast"]) != 1 || len(h.ends["crumb"]) != 1 || h.ends["toast"][0].Status != town.CompletionCompleted {
			t.Errorf("ends told: %+v", h.ends)
		}
		for _, b := range h.beats {
			if b.InstanceID != h.beats[0].InstanceID || b.InstanceID == "" {
				t.Errorf("instance %s became %s", h.beats[0].InstanceID, b.InstanceID)
			}
		}
	})
	for _, id := range []string{"toast", "crumb"} {
		want := strings.Count(tt.ok("events", id), "\n")
		h.set(func() {
			if h.events[id] != want {
				t.Errorf("%d events of %s told, it has %d", h.events[id], id, want)
			}
		})
	}
}

// Orders in the answers to heartbeats are calls of the control API, with its checks.
func TestOrdersAreCarriedOutAsCallsOfTheAPI(t *testing.T) {
	tt, h := startLinked(t, nil)
	tt.ok("start", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c", `while read -r line; do echo "heard $line"; done`)
	data := func(v any) json.RawMessage { b, _ := json.Marshal(v); return b }
	h.set(func() {
		h.orders = []town.Order{
			{ID: "o1", Kind: town.OrderMessage, AgentID: "toast", Data: data(town.MessageRequest{Prompt: "good morning"})},
			{ID: "o2", Kind: town.OrderMessage, AgentID: "toast", Data: data(town.MessageRequest{})},
			{ID: "o3", Kind: town.OrderStop, AgentID: "toast"},
			{ID: "o4", Kind: town.OrderForget, AgentID: "toast"},
			{ID: "o5", Kind: town.OrderStop, AgentID: "nobody"},
			{ID: "o6", Kind: "dance"},
			{ID: "o7", Kind: town.OrderDrain},
		}
	})
	h.when(t, "seven results", func() bool { return len(h.done) == 7 })
	h.set(func() {
		for id, want := range map[string]string{"o1": "", "o2": "prompt", "o3": "", "o4": "", "o5": "not found", "o6": "not known here", "o7": ""} {
			if got := h.done[id]; !strings.Contains(got, want) || want == "" && got != "" {
				t.Errorf("%s: %q, want %q in it", id, got, want)
			}
		}
	})
	if got := tt.ok("ps", "--json"); !strings.Contains(got, `"agents": []`) {
		t.Errorf("after the orders there is %s", got)
	}
	wantContains(t, "health", tt.townd("health", "--json").out, `"status": "draining"`)
}

// A container that was replaced stops its agents, and starts none.
func TestReplacedContainerStopsItsAgents(t *testing.T) {
	tt, h := startLinked(t, nil)
	tt.ok("start", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c", "echo work >work.txt; sleep 1000")
	h.when(t, "a heartbeat", func() bool { return len(h.beats) > 0 })
	h.set(func() { h.status = http.StatusGone })
	waitFor(t, "the agent's stop", func() bool { return strings.Contains(tt.ok("ps", "--json"), `"stopped"`) })
	wantContains(t, "health", tt.townd("health").out, "another container has taken over", "draining")
	if r := tt.townd("start", "--repo", tt.repo, "--name", "crumb", "--", "true"); r.code == 0 {
		t.Error("an agent was started in a container that was replaced")
	}
}

// A container of an earlier coordinator finds it by what is in its environment, and a
// new credential needs no restart.
func TestEarlierNamesAndNewCredentialsWork(t *testing.T) {
	h := newHall(t)
	h.token = "fresh-container-token"
	tt := startTownWith(t, map[string]string{
		"GASTOWN_API_URL": h.url, "GASTOWN_TOWN_ID": "t1", "GASTOWN_CONTAINER_TOKEN": "stale-container-token", "TOWND_HEARTBEAT_SECONDS": "1",
	})
	waitFor(t, "the refusal in health", func() bool { return strings.Contains(tt.ok("health"), "401") })
	token, err := readToken(tt.home)
	if err != nil {
		t.Fatal(err)
	}
	client := api.New("http://"+tt.listen, token, &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}})
	if err := client.RefreshToken(t.Context(), api.RefreshTokenRequest{Token: h.token, TownID: "t1"}); err != nil {
		t.Fatal(err)
	}
	h.when(t, "a heartbeat", func() bool { return len(h.beats) > 0 })
	if log := tt.log.String(); strings.Contains(log, "container-token") {
		t.Errorf("a credential is in the log:\n%s", log)
	}
	waitFor(t, "health without it", func() bool { return !strings.Contains(tt.ok("health"), "401") })
}
