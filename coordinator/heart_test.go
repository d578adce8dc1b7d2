package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"townd/town"
)

func (h *hall) order(orders ...town.Order) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.orders = append(h.orders, orders...)
}

// C8: one request for all agents at each tick, at once after a change, and a crowd of
// changes makes no crowd of requests.
func TestHeartbeatsGoInTimeAndSoonAfterAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		l := open(t, Config{HTTP: direct{h}})
		defer closeLink(t, l)
		tt := &testTown{agents: []town.AgentHeartbeat{{AgentID: "a"}, {AgentID: "b"}}}
		began := time.Now()
		l.Start(tt)
		time.Sleep(95 * time.Second)
		synctest.Wait()
		if n := len(h.beats); n != 4 {
			t.Fatalf("%d heartbeats in 95 s, want 4", n)
		}
		if b := h.beats[3]; len(b.Agents) != 2 || b.InstanceID != "instance1" || b.StartedAt.IsZero() || b.SentAt.Sub(began) != 90*time.Second {
			t.Errorf("heartbeat %+v", b)
		}
		at := time.Now()
		l.Event("e", event("a", 1, town.EventText, "no change"))
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(h.beats); n != 4 {
			t.Errorf("text made a heartbeat")
		}
		for i := range 100 {
			l.Event("e", event("a", int64(i+2), town.EventState, "x"))
			time.Sleep(30 * time.Millisecond)
		}
		synctest.Wait()
		if n := len(h.beats) - 4; n < 3 || n > 5 {
			t.Errorf("100 changes in 3 s made %d heartbeats", n)
		}
		if first := h.beats[4].SentAt.Sub(at) - time.Second; first > 100*time.Millisecond {
			t.Errorf("the first came %v after its change", first)
		}
		if st := l.State(t.Context()); st.Epoch != 7 || st.ReachedAt.IsZero() || len(st.Degraded) > 0 {
			t.Errorf("state %+v", st)
		}
	})
}

// Who waits for the coordinator to know how the town is now gets a heartbeat of its own
// at once, whatever was sent before, and hears why it is not known.
func TestDrainingIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		l := open(t, Config{HTTP: direct{h}})
		defer closeLink(t, l)
		l.Start(&testTown{})
		time.Sleep(45 * time.Second) // in the middle between two
		synctest.Wait()
		before, began := len(h.beats), time.Now()
		if err := l.Draining(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(h.beats); n != before+1 || time.Since(began) != 0 {
			t.Errorf("%d heartbeats more after %v, want one at once", n-before, time.Since(began))
		}
		h.mu.Lock()
		h.fault = refuse("/heartbeat", 100, http.StatusServiceUnavailable)
		h.mu.Unlock()
		if err := l.Draining(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("refused with 503: %v", err)
		}
		if err := l.Draining(t.Context()); err == nil || time.Since(began) != 0 {
			t.Errorf("while heartbeats fail: %v after %v", err, time.Since(began))
		}
	})
}

// A coordinator that is down or lies is told of, asked no more than it must be, and
// found again soon.
func TestHeartbeatsSurviveTheirCoordinator(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"500":           func(w http.ResponseWriter) { w.WriteHeader(500) },
		"404":           func(w http.ResponseWriter) { w.WriteHeader(404) },
		"garbage":       func(w http.ResponseWriter) { _, _ = w.Write([]byte("hello")) },
		"another's":     func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"ok":true}`)) },
		"strange types": func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"heartbeat":"yes","orders":7}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall()
				var mu sync.Mutex
				down := true
				h.fault = func(w http.ResponseWriter, _ request, _ int) bool {
					mu.Lock()
					defer mu.Unlock()
					if down {
						answer(w)
					}
					return down
				}
				l := open(t, Config{HTTP: direct{h}})
				defer closeLink(t, l)
				l.Start(new(testTown))
				for i := range 600 { // changes do not hasten what fails
					l.Event("e", event("a", int64(i+1), town.EventState, "x"))
					time.Sleep(time.Second)
				}
				if n := len(h.times("/heartbeat")); n < 20 || n > 45 {
					t.Errorf("%d heartbeats in 10 minutes", n)
				}
				if st := l.State(t.Context()); st.Outbox.Dead > 0 || len(st.Degraded) == 0 || !strings.Contains(st.Degraded[0], "has not answered a heartbeat") {
					t.Errorf("degraded: %q", st.Degraded)
				}
				mu.Lock()
				down = false
				mu.Unlock()
				time.Sleep(31 * time.Second)
				synctest.Wait()
				if st := l.State(t.Context()); len(st.Degraded) > 0 || st.ReachedAt.IsZero() {
					t.Errorf("after it is back: %+v", st)
				}
			})
		})
	}
}

// A container that was replaced stops its agents and says nothing any more.
func TestReplacedContainerFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		h.fault = func(w http.ResponseWriter, r request, n int) bool {
			if n == 2 || n >= 4 { // once is an accident
				w.WriteHeader(http.StatusGone)
				return true
			}
			return false
		}
		l := open(t, Config{HTTP: direct{h}})
		defer closeLink(t, l)
		tt := new(testTown)
		l.Start(tt)
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if tt.stops() != 0 {
			t.Fatal("one answer of 410 was believed")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		asked := len(h.times("/heartbeat"))
		post(t, l, "toast", "/mail", "one")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(h.times("/heartbeat")); tt.stops() != 1 || n != asked || len(h.times("/mail")) != 0 {
			t.Errorf("replaced %d times; %d heartbeats after %d, %d reports", tt.stops(), n, asked, len(h.times("/mail")))
		}
		if err := l.Draining(t.Context()); !errors.Is(err, town.ErrGone) {
			t.Errorf("a replaced container tells of itself: %v", err)
		}
		if st := l.State(t.Context()); !st.Replaced || len(st.Degraded) != 1 {
			t.Errorf("state %+v", st)
		}
	})
}

// Nothing is reported before the first heartbeat shows that this container counts.
func TestReplacedContainerReportsNothingAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		h.fault = refuse("/heartbeat", 100, http.StatusGone)
		l := open(t, Config{HTTP: direct{h}})
		defer closeLink(t, l)
		post(t, l, "toast", "/mail", "one")
		tt := new(testTown)
		l.Start(tt)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(h.times("/mail")); n != 0 || tt.stops() != 1 {
			t.Errorf("%d reports, replaced %d times", n, tt.stops())
		}
	})
}

// Orders are carried out once by their ids, an agent's in order, also when they are
// repeated, and across a restart; their results are told until they are known.
func TestOrdersAreCarriedOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "outbox.db")
		h := newHall()
		var mu sync.Mutex
		var applied []string
		tt := &testTown{apply: func(ctx context.Context, o town.Order) error {
			select {
			case <-time.After(time.Minute): // longer than a heartbeat
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			mu.Lock()
			defer mu.Unlock()
			applied = append(applied, o.ID)
			if o.ID == "a3" {
				return errors.New("agent a is no more: not found")
			}
			return nil
		}}
		var want []string
		for i := range 5 {
			for _, agent := range []string{"a", "b"} {
				h.order(town.Order{ID: fmt.Sprintf("%s%d", agent, i), Kind: town.OrderMessage, AgentID: agent})
				want = append(want, fmt.Sprintf("%s%d", agent, i))
			}
		}
		l := open(t, Config{Path: path, HTTP: direct{h}})
		l.Start(tt)
		time.Sleep(150 * time.Second)
		synctest.Wait()
		// The server dies in the middle, and its coordinator did not hear the results.
		h.mu.Lock()
		h.orders = append(h.orders, town.Order{ID: "a0", Kind: town.OrderMessage, AgentID: "a"})
		h.mu.Unlock()
		closeLink(t, l)
		l = open(t, Config{Path: path, HTTP: direct{h}})
		l.Start(tt)
		time.Sleep(time.Hour)
		synctest.Wait()
		slices.Sort(want)
		got := slices.Sorted(slices.Values(applied))
		if !slices.Equal(got, want) {
			t.Errorf("carried out %v, want each of %v once", got, want)
		}
		for _, agent := range []string{"a", "b"} {
			var of []string
			for _, id := range applied {
				if strings.HasPrefix(id, agent) {
					of = append(of, id)
				}
			}
			if !slices.IsSorted(of) {
				t.Errorf("order of %s: %v", agent, of)
			}
		}
		failed := map[string]string{}
		for _, b := range h.beats {
			for _, r := range b.OrdersDone {
				failed[r.ID] = r.Error
			}
		}
		if len(failed) != 10 || failed["a3"] != "agent a is no more: not found" || failed["b3"] != "" {
			t.Errorf("told %v", failed)
		}
		if last := h.beats[len(h.beats)-1]; len(last.OrdersDone) != 0 || len(h.orders) != 0 {
			t.Errorf("known results are told still: %v", last.OrdersDone)
		}
		closeLink(t, l)
		l = open(t, Config{Path: path})
		if left := l.orders.results(); len(left) != 0 || len(l.orders.known) != 10 {
			t.Errorf("orders in the file: %d, to be told of them %v", len(l.orders.known), left)
		}
		closeLink(t, l)
	})
}

// The outcome of a merge goes to its own place, or to a callback on the coordinator's
// host, in both contracts' names; the credential is shown to no other host.
func TestMergeOutcomesGoToTheCoordinatorAlone(t *testing.T) {
	h := newHall()
	l := open(t, Config{URL: "https://town.example.com/base", HTTP: direct{h}})
	defer closeLink(t, l)
	o := town.MergeOutcome{EntryID: "e1", Status: "merged", Commit: "c0ffee"}
	if err := l.MergeEnded(t.Context(), "rig", "run1", "", o); err != nil {
		t.Fatal(err)
	}
	if err := l.MergeEnded(t.Context(), "rig", "run2", "https://town.example.com/base/api/x/e1/complete?v=1", o); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"https://elsewhere.example.com/base/x", "http://town.example.com/base/x", "https://town.example.com/x", "https://town.example.com/basement",
		"https://u:p@town.example.com/base/x", "/base/x", "::", "https://town.example.com:444/base/x",
	} {
		if err := l.MergeEnded(t.Context(), "rig", "run3", bad, o); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("callback %s: %v", bad, err)
		}
	}
	l.Start(new(testTown))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	own, called := h.bodies("/base/api/towns/local/rigs/rig/review-queue/e1/complete"), h.bodies("/base/api/x/e1/complete")
	if len(own) != 1 || !strings.Contains(own[0], `"entryId":"e1"`) || strings.Contains(own[0], "entry_id") {
		t.Errorf("own place: %v", own)
	}
	if len(called) != 1 || !strings.Contains(called[0], `"entry_id":"e1"`) || !strings.Contains(called[0], `"commit_sha":"c0ffee"`) {
		t.Errorf("callback: %v", called)
	}
}
