package container_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/container"
	"townd/coordinator"
	"townd/gitmgr/gittest"
	"townd/town"
)

// hall is a coordinator that hands over what it is told of merges.
type hall struct {
	outcomes chan town.MergeOutcome
	paths    chan string
	tokens   chan string
}

func (h *hall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if strings.HasSuffix(r.URL.Path, "/complete") {
		var o town.MergeOutcome
		_ = json.Unmarshal(body, &o)
		h.paths <- r.URL.Path
		h.tokens <- r.Header.Get("Authorization")
		h.outcomes <- o
	}
	_, _ = io.WriteString(w, `{"completed":true}`)
}

// way is a real link as the face sees it.
type way struct{ *coordinator.Link }

func (w way) State(ctx context.Context) container.CoordinatorState {
	st := w.Link.State(ctx)
	return container.CoordinatorState{
		Coordinator: api.Coordinator{InstanceID: st.InstanceID, Outbox: st.Outbox}, Degraded: st.Degraded, Sends: st.Sends, Heartbeats: st.Heartbeats,
	}
}
func (w way) SetToken(token string) bool { w.Link.SetToken(token); return true }
func (w way) CheckCallback(url string) error {
	_, err := w.CallbackPath(url)
	return err
}

// Instance, Heartbeat, Apply and Replaced are part of coordinator.Town.
func (w way) Instance() (string, time.Time)           { return "i1", time.Now() }
func (w way) Heartbeat() town.Heartbeat               { return town.Heartbeat{} }
func (w way) Apply(context.Context, town.Order) error { return nil }
func (w way) Replaced(context.Context)                {}

func newLinkedTown(t *testing.T) (*testTown, *hall, string) {
	t.Helper()
	h := &hall{outcomes: make(chan town.MergeOutcome, 10), paths: make(chan string, 10), tokens: make(chan string, 10)}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	var tt *testTown
	tt = newTownWith(t, func(c *container.Config) {
		link, err := coordinator.Open(t.Context(), coordinator.Config{
			Path: filepath.Join(t.TempDir(), "outbox.db"), URL: server.URL, Token: "first-token", TownID: "local", Every: time.Hour, Log: c.Log,
			HTTP: &http.Transport{DisableKeepAlives: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		link.Start(way{link})
		t.Cleanup(func() {
			tt.server.Close() // it gives reports
			if err := link.Close(); err != nil {
				t.Error(err)
			}
		})
		c.Coordinator = way{link}
	})
	return tt, h, server.URL
}

// W10: a merge of the coordinator's queue is answered at once, done once, and its one
// outcome told, to the coordinator's place or a callback on its host.
func TestMergeOfAQueueIsAnsweredAtOnceAndToldOnce(t *testing.T) {
	tt, h, url := newLinkedTown(t)
	remote := gittest.New(t, gittest.Options{})
	remote.Git("branch", "work", "main")
	remote.Commit("work", "work.txt", "work\n")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	began, goOn := filepath.Join(dir, "began"), filepath.Join(dir, "go")
	gate := fmt.Sprintf("echo x >>%s; until test -e %s; do sleep 0.01; done", began, goOn)
	body := func(entry, branch, callback string) string {
		req := api.MergeRequest{RigID: "r", Branch: branch, TargetBranch: "main", GitURL: remote.URL(), EntryID: entry, CallbackURL: callback}
		if branch == "work" {
			req.Gates = []api.Gate{{Command: gate}}
		}
		data, err := json.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for range 3 {
		got := tt.call(http.MethodPost, "/git/merge", body("e1", "work", ""))
		if got.StatusCode != http.StatusAccepted || got.object(t)["status"] != "accepted" {
			t.Fatalf("merge of an entry answered %s: %s", got.Status, got.body)
		}
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := <-h.outcomes; o.EntryID != "e1" || o.Status != "merged" || o.Commit != remote.Git("rev-parse", "main") || len(o.Gates) == 0 {
		t.Errorf("outcome %+v", o)
	}
	if runs, err := os.ReadFile(began); err != nil || strings.Count(string(runs), "x") != 1 {
		t.Errorf("the gate ran %q times, %v", runs, err)
	}
	if res, err := tt.Merge(t.Context(), api.MergeRequest{RigID: "r", Branch: "nowhere", GitURL: remote.URL(), EntryID: "e2"}); err != nil || res.Status != api.MergeStatusAccepted {
		t.Errorf("Merge() = %+v, %v", res, err)
	}
	if o := <-h.outcomes; o.EntryID != "e2" || o.Status != "failed" || !strings.Contains(o.Message, "nowhere") {
		t.Errorf("outcome of no branch: %+v", o)
	}
	if path := <-h.paths; path != "/api/towns/local/rigs/r/review-queue/e1/complete" {
		t.Errorf("told at %s", path)
	}
	<-h.paths
	// Asked again when it is over: it is looked at again.
	tt.call(http.MethodPost, "/git/merge", body("e1", "work", url+"/old/place/complete"))
	if o, path := <-h.outcomes, <-h.paths; o.Status != "nothing" || path != "/old/place/complete" {
		t.Errorf("outcome %+v at %s", o, path)
	}
	refused(t, tt.call(http.MethodPost, "/git/merge", body("e3", "work", "http://elsewhere.invalid/x")), http.StatusBadRequest, "callbackUrl")
	refused(t, tt.call(http.MethodPost, "/git/merge", body("../x", "work", "")), http.StatusBadRequest, "entryId")
	if len(h.outcomes) > 0 {
		t.Errorf("told more: %+v", <-h.outcomes)
	}
}

// A new credential for the coordinator is used, and is no git host's.
func TestTokenOfTheCoordinatorIsChanged(t *testing.T) {
	tt, h, _ := newLinkedTown(t)
	remote := gittest.New(t, gittest.Options{})
	remote.Git("branch", "work", "main")
	if err := tt.RefreshToken(t.Context(), api.RefreshTokenRequest{Token: "second-token", TownID: "local"}); err != nil {
		t.Fatal(err)
	}
	tt.call(http.MethodPost, "/git/merge", `{"rigId":"r","branch":"work","targetBranch":"main","gitUrl":"`+remote.URL()+`","entryId":"e1"}`)
	if token := <-h.tokens; token != "Bearer second-token" {
		t.Errorf("the coordinator was shown %q", token)
	}
	if strings.Contains(tt.logs.String(), "second-token") {
		t.Error("the token is in the log")
	}
}

// K13: /health and the figures show how the way to the coordinator is.
func TestHealthAndFiguresShowTheWayToTheCoordinator(t *testing.T) {
	tt, _, _ := newLinkedTown(t)
	got, err := tt.Health(t.Context())
	if err != nil || got.Coordinator == nil || got.Coordinator.InstanceID != "i1" {
		t.Errorf("health %+v, %v", got.Coordinator, err)
	}
	figures := string(tt.call(http.MethodGet, "/metrics", "").body)
	for _, name := range []string{
		"townd_outbox_pending 0", "townd_outbox_dead 0", "townd_outbox_oldest_age_seconds 0", "townd_outbox_pending_bytes 0",
		"townd_heartbeat_duration_seconds_count", "townd_heartbeat_failures_total",
	} {
		if !strings.Contains(figures, name) {
			t.Errorf("no %s in the figures", name)
		}
	}
}
