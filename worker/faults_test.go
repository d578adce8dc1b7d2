package worker_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// hangUp ends the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // whoever asked may be gone
	}
}

const refusal = `{"detail": "of the test", "error": "of the test"}`

// What a container answers to a start decides what it costs: nothing, an attempt, or a
// person's look.
func TestFaultsOfTheContainer(t *testing.T) {
	for _, f := range []struct {
		name          string
		start, status http.HandlerFunc
		holds         func(b town.Bead) bool
		escalated     bool
	}{
		{"will not start", answer(503, refusal), hangUp, func(b town.Bead) bool {
			return b.Status == town.BeadOpen && b.Attempts == 0 && b.Epoch == 1 && strings.Contains(b.Why, "of the test")
		}, false},
		{"dies, and knows nothing of it", hangUp, answer(404, refusal), func(b town.Bead) bool {
			return b.Status == town.BeadOpen && b.Attempts == 0 && b.Epoch == 1
		}, false},
		{"dies, and knows of it", hangUp, answer(200, `{"status": "running", "generation": 1}`), func(b town.Bead) bool {
			return b.Status == town.BeadInProgress && b.Attempts == 1
		}, false},
		{"has a newer agent", answer(409, refusal), answer(200, `{"status": "running", "generation": 7}`), func(b town.Bead) bool {
			return b.Epoch >= 7
		}, false},
		{"is asked for what is wrong", answer(400, refusal), hangUp, func(b town.Bead) bool {
			return b.Status == town.BeadOpen && strings.Contains(b.Hold, "of the test")
		}, true},
		{"cannot run the program", answer(422, refusal), hangUp, func(b town.Bead) bool {
			return b.Status == town.BeadOpen && b.Attempts == 1 && b.NotBefore != nil
		}, false},
		{"does not reach the remote", answer(502, refusal), hangUp, func(b town.Bead) bool {
			return b.Status == town.BeadOpen && b.Attempts == 0 && strings.Contains(b.Why, "of the test")
		}, false},
		{"says nothing that is known", answer(200, "<html>"), answer(500, "<html>"), func(b town.Bead) bool {
			return b.Status == town.BeadInProgress && b.Attempts == 1
		}, false},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			mux := http.NewServeMux()
			mux.HandleFunc("POST /agents/start", func(w http.ResponseWriter, r *http.Request) { asked.Add(1); f.start(w, r) })
			mux.HandleFunc("GET /agents/{id}/status", f.status)
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			hall := api.NewHall(serve(t, server.URL).url, townID, token, nil)
			if _, _, err := hall.PutRig(t.Context(), "app", town.RigSettings{GitURL: "https://git.example.com/app.git"}); err != nil {
				t.Fatal(err)
			}
			b, _, err := hall.CreateBead(t.Context(), "app", town.BeadRequest{Title: "x"})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the container is asked", func() bool { return asked.Load() > 0 })
			defer func() {
				if t.Failed() {
					t.Logf("the bead is %+v", b)
				}
			}()
			eventually(t, "the bead is as it should be", func() bool {
				b, err = hall.Bead(t.Context(), b.ID)
				return err == nil && f.holds(b)
			})
			all, err := hall.Escalations(t.Context(), "open")
			if err != nil || (len(all) > 0) != f.escalated {
				t.Errorf("%d escalations, %v; want some: %v", len(all), err, f.escalated)
			}
		})
	}
}

// An answer that comes late, when the bead was closed meanwhile, changes nothing.
func TestLateAnswerOfTheContainerChangesNothing(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /agents/start", func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-goOn
		answer(422, refusal)(w, r)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	hall := api.NewHall(serve(t, server.URL).url, townID, token, nil)
	if _, _, err := hall.PutRig(t.Context(), "app", town.RigSettings{GitURL: "https://git.example.com/app.git"}); err != nil {
		t.Fatal(err)
	}
	b, _, err := hall.CreateBead(t.Context(), "app", town.BeadRequest{Title: "x"})
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	closed, err := hall.CloseBead(t.Context(), b.ID, api.CloseRequest{Reason: "not needed"})
	close(goOn)
	if err != nil || closed.Status != town.BeadClosed {
		t.Fatalf("CloseBead() = %+v, %v", closed, err)
	}
	server.Close() // waits for the answer
	if after, err := hall.Bead(t.Context(), b.ID); err != nil || after.Status != town.BeadClosed {
		t.Errorf("the bead is %+v, %v", after, err)
	}
}

// The tests run with the runtime's behaviour that is deployed.
func TestTestsHaveTheCompatibilityOfTheWorker(t *testing.T) {
	compatibility := regexp.MustCompile(`"(compatibility_date|compatibility_flags|run_worker_first|html_handling)": .*`)
	var all [2]string
	for i, path := range []string{"../wrangler.jsonc", "test/wrangler.jsonc"} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = strings.Join(compatibility.FindAllString(string(data), -1), "\n")
	}
	if all[0] != all[1] || all[0] == "" {
		t.Errorf("the Worker has\n%s\nand its tests\n%s", all[0], all[1])
	}
}

// The Worker can be bundled and deployed as it is, containers aside, which need Docker.
func TestWorkerCanBeDeployed(t *testing.T) {
	if _, err := os.Stat("node_modules/.bin/node"); err != nil {
		t.Skipf("npm ci was not run in worker/: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "npm", "run", "dry-run")
	cmd.Env = append(os.Environ(), "WRANGLER_SEND_METRICS=false", "CI=true", "NO_COLOR=1")
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("npm run dry-run: %v", err)
	}
	for _, bound := range []string{"TownContainer", "env.ASSETS", "container/ui/dist"} {
		if !strings.Contains(string(out), bound) {
			t.Errorf("npm run dry-run does not tell of %s:\n%s", bound, out)
		}
	}
}
