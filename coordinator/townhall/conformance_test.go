package townhall_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"townd/api"
	"townd/api/conformance"
	"townd/api/wire"
	"townd/coordinator/townhall"
)

const token = "the-token-of-the-suite"

// newTarget opens a hall whose container is the suite, until the test ends or
// closed is called.
func newTarget(t *testing.T, path string, log *slog.Logger) (target conformance.Target, closed func()) {
	t.Helper()
	var ahead atomic.Int64
	hall, err := townhall.Open(t.Context(), townhall.Config{
		Path: path, TownID: "conformance", Log: log,
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	box := conformance.NewContainer(token)
	container := api.New("http://container", token, &http.Client{Transport: api.HandlerTransport(box)})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		cfg := townhall.DispatchConfig{Container: func() townhall.Container { return container }, MaxAgents: 50}
		if err := hall.Dispatch(ctx, cfg); err != nil {
			t.Errorf("Dispatch() = %v", err)
		}
	})
	closed = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := hall.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	t.Cleanup(closed)
	handler := hall.Handler(townhall.HandlerConfig{Authorize: wire.NewToken(token).Authorize, Log: log})
	return conformance.Target{
		BaseURL: "http://hall", TownID: "conformance", Token: token, Container: box, Transport: api.HandlerTransport(handler),
		Advance: func(d time.Duration) { ahead.Add(int64(d)) },
	}, closed
}

func TestHallConformsToTheContract(t *testing.T) {
	target, _ := newTarget(t, filepath.Join(t.TempDir(), "town.db"), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	conformance.Run(t, target)
}

// row is a row of the table of transitions.
type row map[string]any

func (r row) at() string { return fmt.Sprintf("%v/%v", r["from"], r["event"]) }

func unguarded(r row) { delete(r, "guard"); delete(r, "else") }

func to(status string) func(row) { return func(r row) { r["to"] = status } }

func otherwise(what string) func(row) { return func(r row) { r["else"] = what } }

func without(effect string) func(row) {
	return func(r row) {
		r["effects"] = slices.DeleteFunc(slices.Clone(r["effects"].([]any)), func(e any) bool { return e == effect })
	}
}

// faults are wrong tables of transitions, each by one row.
var faults = []struct {
	row, what string
	seed      func(row)
}{
	{"open/claim", "what is claimed is reviewed", to("in_review")},
	{"open/done", "a late done is lost", without("attempt")},
	{"open/hold", "a hold does not hold", without("hold")},
	{"open/retry", "a retry resets nothing", without("reset")},
	{"open/close", "dependants stay where they are", without("release_dependants")},
	{"open/close", "closing fails", to("failed")},
	{"open/fail", "failing closes", to("closed")},
	{"in_progress/done", "an old epoch is taken", unguarded},
	{"in_progress/done", "an old epoch is lost", otherwise("ignore")},
	{"in_progress/done", "an old epoch is refused", otherwise("refuse")},
	{"in_progress/done", "done closes", to("closed")},
	{"in_progress/done", "nothing is merged", without("enqueue")},
	{"in_progress/finish", "an old epoch closes", unguarded},
	{"in_progress/finish", "dependants stay where they are", without("release_dependants")},
	{"in_progress/release", "no pause after a crash", without("backoff")},
	{"in_progress/release", "a crash fails", to("failed")},
	{"in_progress/give_up", "nobody is told", without("escalate")},
	{"in_progress/block", "blocked work goes on", without("hold")},
	{"in_progress/expire", "a lost lease fails", to("failed")},
	{"in_progress/hold", "a hold closes", to("closed")},
	{"in_progress/hold", "its agent works on", without("stop")},
	{"in_progress/close", "its agent works on", without("stop")},
	{"in_progress/fail", "its agent works on", without("stop")},
	{"in_review/merged", "dependants stay where they are", without("release_dependants")},
	{"in_review/merged", "the merge's commit is lost", without("branch")},
	{"in_review/rework", "why it came back is lost", without("feedback")},
	{"in_review/give_up", "nobody is told", without("escalate")},
	{"in_review/retry", "the merge stays in the queue", without("dequeue")},
	{"in_review/done", "a second done opens the bead", func(r row) { r["to"], r["effects"] = "open", []any{} }},
	{"in_review/close", "closing fails", to("failed")},
	{"closed/done", "a late done is refused", func(r row) { r["event"] = "renew" }},
	{"failed/retry", "it stays ended", without("reopen")},
	{"failed/close", "dependants stay where they are", without("release_dependants")},
}

// tableWith is the table of transitions with one fault.
func tableWith(t *testing.T, at string, seed func(row)) []byte {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(api.TransitionsJSON, &doc); err != nil {
		t.Fatal(err)
	}
	for _, r := range doc["transitions"].([]any) {
		if r := row(r.(map[string]any)); r.at() == at {
			seed(r)
			data, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	t.Fatalf("the table has no row %s", at)
	return nil
}

// TestEachFaultOfTheTransitionsTurnsACaseRed proves that the suite bites: it is red
// with each of the faults, and green without (TestHallConformsToTheContract).
func TestEachFaultOfTheTransitionsTurnsACaseRed(t *testing.T) {
	silent := slog.New(slog.DiscardHandler)
	for _, f := range faults {
		restore, err := townhall.SetTransitions(tableWith(t, f.row, f.seed))
		if err != nil {
			t.Errorf("%s, %s: %v", f.row, f.what, err)
			continue
		}
		red := firstRed(t, f.row, silent)
		restore()
		if red == "" {
			t.Errorf("%s, %s: no case is red", f.row, f.what)
		}
		t.Logf("%s, %s: %.200s", f.row, f.what, red)
	}
}

// firstRed runs the suite on a new hall, cases that prove the row first, and returns
// what the first red one says.
func firstRed(t *testing.T, at string, log *slog.Logger) string {
	t.Helper()
	target, closed := newTarget(t, ":memory:", log)
	defer closed()
	target.Patience = time.Second // what comes by itself comes within milliseconds
	cases := conformance.Cases()
	slices.SortStableFunc(cases, func(a, b conformance.Case) int { return proves(b, at) - proves(a, at) })
	for _, c := range cases {
		if r := c.Run(t.Context(), target); len(r.Failures) > 0 {
			return c.Name + ": " + r.Failures[0]
		}
	}
	return ""
}

// proves is 1 for a case that proves the row.
func proves(c conformance.Case, at string) int {
	if slices.ContainsFunc(c.Rows, func(row string) bool { return strings.TrimSuffix(row, "/else") == at }) {
		return 1
	}
	return 0
}
