package coordinator

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"townd/town"
)

// refuse answers the first n requests to paths that end so with a status.
func refuse(suffix string, n, status int, header ...string) func(http.ResponseWriter, request, int) bool {
	return func(w http.ResponseWriter, r request, count int) bool {
		if !strings.HasSuffix(r.path, suffix) || count > n {
			return false
		}
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		return true
	}
}

// C9, C10: what passes is retried with a growing wait until it is taken, what follows
// in the lane waits for it, and other lanes do not.
func TestReportIsRetriedUntilTaken(t *testing.T) {
	for _, tc := range []struct {
		name     string
		status   int
		times    int
		header   []string
		low, top time.Duration // until it is taken
	}{
		{"500", 500, 5, nil, 15 * time.Second, 32 * time.Second},
		{"503 that names a time", 503, 1, []string{"Retry-After", "90"}, 90 * time.Second, 91 * time.Second},
		{"429 that names a time", 429, 1, []string{"Retry-After", "120"}, 2 * time.Minute, 121 * time.Second},
		{"408", 408, 2, nil, time.Second, 4 * time.Second},
		{"401", 401, 3, nil, 59 * time.Second, 91 * time.Second},
		{"403", 403, 2, nil, 59 * time.Second, 61 * time.Second},
		{"404 while it is on its way up", 404, 7, nil, time.Minute, 3 * time.Minute},
		{"409", 409, 9, nil, 4 * time.Minute, 10 * time.Minute},
		{"a redirect", 302, 1, []string{"Location", "http://elsewhere.invalid/"}, 0, 2 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall()
				h.fault = refuse("/slow", tc.times, tc.status, tc.header...)
				l := open(t, Config{HTTP: direct{h}, Every: time.Hour})
				defer closeLink(t, l)
				l.Start(new(testTown))
				began := time.Now()
				post(t, l, "toast", "/slow", "one")
				post(t, l, "toast", "/after", "two")
				post(t, l, "other", "/other", "three")
				time.Sleep(time.Hour)
				synctest.Wait()
				slow, after, other := h.times("/slow"), h.times("/after"), h.times("/other")
				if len(slow) != tc.times+1 || len(after) != 1 || len(other) != 1 {
					t.Fatalf("asked %d, %d and %d times, want %d, 1 and 1", len(slow), len(after), len(other), tc.times+1)
				}
				if took := slow[tc.times].Sub(began); took < tc.low || took > tc.top {
					t.Errorf("taken after %v, want %v to %v", took, tc.low, tc.top)
				}
				if after[0].Before(slow[tc.times]) {
					t.Error("the lane's second report went before its first")
				}
				if took := other[0].Sub(began); took > time.Second {
					t.Errorf("the other lane waited %v", took)
				}
				if st := l.State(t.Context()); st.Outbox != (town.OutboxState{}) || len(st.Degraded) > 0 {
					t.Errorf("afterwards the state is %+v", st)
				}
			})
		})
	}
}

// C10: a 4xx is never retried for ever; it is kept as a dead letter and shown.
func TestFinalRefusalBecomesADeadLetter(t *testing.T) {
	for _, tc := range []struct{ status, asked int }{{400, 1}, {413, 1}, {422, 1}, {404, 8}, {410, 8}, {409, 10}, {403, 100}} {
		t.Run(fmt.Sprint(tc.status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall()
				h.fault = refuse("/bad", 1000, tc.status)
				l := open(t, Config{HTTP: direct{h}, Every: time.Hour})
				defer closeLink(t, l)
				l.Start(new(testTown))
				post(t, l, "toast", "/bad", "one")
				post(t, l, "toast", "/after", "two")
				time.Sleep(12 * time.Hour)
				synctest.Wait()
				if n := len(h.times("/bad")); n != tc.asked {
					t.Errorf("asked %d times, want %d", n, tc.asked)
				}
				if got := h.keysAt("/after"); !slices.Equal(got, []string{"two"}) {
					t.Errorf("taken after it: %v", got)
				}
				st := l.State(t.Context())
				if st.Outbox.Dead != 1 || st.Outbox.Pending != 0 || len(st.Degraded) != 1 || !strings.Contains(st.Degraded[0], "refused for good") {
					t.Errorf("state %+v", st)
				}
				time.Sleep(25 * time.Hour)
				if st := l.State(t.Context()); st.Outbox.Dead != 1 || len(st.Degraded) > 0 {
					t.Errorf("a day later: %+v", st)
				}
			})
		})
	}
}

// Refusals count as final only when they are in a row: an outage before is none.
func TestAnOutageMakesNoRefusalFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		h.fault = func(w http.ResponseWriter, r request, n int) bool {
			switch {
			case !strings.HasSuffix(r.path, "/mail") || n > 30:
				return false
			case n%8 == 0:
				w.WriteHeader(500)
			default:
				w.WriteHeader(404)
			}
			return true
		}
		l := open(t, Config{HTTP: direct{h}, Every: time.Hour})
		defer closeLink(t, l)
		l.Start(new(testTown))
		post(t, l, "toast", "/mail", "one")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got := h.keysAt("/mail"); !slices.Equal(got, []string{"one"}) {
			t.Errorf("taken: %v after %d requests", got, len(h.times("/mail")))
		}
	})
}

// A refused credential is tried slowly, told, and at once with a new one.
func TestRefreshedTokenIsUsedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		h.fault = func(w http.ResponseWriter, r request, _ int) bool {
			if r.token == "Bearer fresh" {
				return false
			}
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		l := open(t, Config{HTTP: direct{h}})
		defer closeLink(t, l)
		l.Start(new(testTown))
		post(t, l, "toast", "/mail", "one")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(h.times("/mail")); n < 280 || n > 600 {
			t.Errorf("asked %d times in a day", n)
		}
		if st := l.State(t.Context()); len(st.Degraded) != 1 || !strings.Contains(st.Degraded[0], "401") || st.Outbox.Pending != 1 || st.Outbox.OldestAt == nil {
			t.Errorf("state %+v", st)
		}
		l.SetToken("fresh")
		time.Sleep(time.Second)
		synctest.Wait()
		if got := h.keysAt("/mail"); len(got) != 1 {
			t.Errorf("taken within a second: %v", got)
		}
	})
}

// One event that the coordinator refuses takes no other with it.
func TestOneRefusedEventIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		h.fault = func(w http.ResponseWriter, r request, _ int) bool {
			if strings.Contains(string(r.body), "poison") {
				w.WriteHeader(400)
				return true
			}
			return false
		}
		l := open(t, Config{HTTP: direct{h}})
		defer closeLink(t, l)
		for i := range 900 {
			text := "fine"
			if i == 456 {
				text = "poison"
			}
			l.Event("e", event("toast", int64(i+1), town.EventText, text))
			l.Event("e", event("other", int64(i+1), town.EventText, "fine"))
		}
		l.Start(new(testTown))
		time.Sleep(time.Minute)
		synctest.Wait()
		byAgent := map[string][]int64{}
		for _, e := range h.events(t) {
			byAgent[e.AgentID] = append(byAgent[e.AgentID], e.ID)
		}
		if n := len(byAgent["toast"]); n != 899 || slices.Contains(byAgent["toast"], 457) || len(byAgent["other"]) != 900 {
			t.Errorf("taken: %d and %d events, want 899 and 900", n, len(byAgent["other"]))
		}
		for agent, ids := range byAgent {
			if !slices.IsSorted(ids) {
				t.Errorf("events of %s are out of order", agent)
			}
		}
		if st := l.State(t.Context()); st.Outbox.Dead != 1 || st.Outbox.Pending != 0 {
			t.Errorf("state %+v", st.Outbox)
		}
		if n := len(h.times("/events")); n > 40 {
			t.Errorf("it took %d requests", n)
		}
	})
}

// Where all events are refused that is not tried with each.
func TestACoordinatorThatTakesNoEventsCostsFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		h.fault = refuse("/events", 1e6, 400)
		l := open(t, Config{HTTP: direct{h}})
		defer closeLink(t, l)
		for i := range 5000 {
			l.Event("e", event("toast", int64(i+1), town.EventText, "x"))
		}
		post(t, l, "toast", "/mail", "one")
		l.Start(new(testTown))
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(h.times("/events")); n > 60 {
			t.Errorf("%d requests", n)
		}
		if got := h.keysAt("/mail"); len(got) != 1 {
			t.Errorf("the fact behind them: %v", got)
		}
	})
}

// N12: over real connections: down, garbage, half a reply, hanging. What was answered
// by half may have been taken: it goes again with the same key.
func TestFaultsOfRealConnectionsAreOvercome(t *testing.T) {
	hang := make(chan struct{})
	faults := map[string]func(http.ResponseWriter, request, int) bool{
		"garbage":   func(w http.ResponseWriter, _ request, _ int) bool { _, _ = w.Write([]byte("<html>hello")); return true },
		"an abort":  func(http.ResponseWriter, request, int) bool { panic(http.ErrAbortHandler) },
		"hanging":   func(http.ResponseWriter, request, int) bool { <-hang; return true },
		"no answer": func(w http.ResponseWriter, _ request, _ int) bool { w.WriteHeader(200); return true },
		"half a reply": func(w http.ResponseWriter, _ request, _ int) bool {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"accepted":1`))
			return true
		},
	}
	h := newHall()
	h.fault = func(w http.ResponseWriter, r request, n int) bool {
		name := strings.ReplaceAll(r.path[strings.LastIndex(r.path, "/")+1:], "-", " ")
		if fault := faults[name]; fault != nil && n == 1 {
			return fault(w, r, n)
		}
		return false
	}
	server := httptest.NewUnstartedServer(h)
	defer server.Close()
	defer close(hang)
	l := open(t, Config{URL: "http://" + server.Listener.Addr().String(), Every: time.Hour, HTTP: &http.Transport{DisableKeepAlives: true}})
	defer closeLink(t, l)
	l.sendTimeout = time.Second
	l.Start(new(testTown))
	for _, name := range sorted(faults) {
		post(t, l, name, "/"+strings.ReplaceAll(name, " ", "-"), name)
	}
	server.Start() // until now it was not even listening to answer
	h.wait(t, "delivery of all", func() bool { return len(h.taken) == len(faults) })
	for _, name := range sorted(faults) {
		path := "/" + strings.ReplaceAll(name, " ", "-")
		if got, n := h.keysAt(path), len(h.times(path)); !slices.Equal(got, []string{name}) || n != 2 {
			t.Errorf("%s: taken %v in %d requests, want once in 2", name, got, n)
		}
	}
}

func TestBackoffGrowsToFiveMinutesWithChance(t *testing.T) {
	for failures, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 9: 256 * time.Second, 10: retryMost, 1e6: retryMost} {
		seen := map[time.Duration]bool{}
		for range 100 {
			d := backoff(failures)
			seen[d] = true
			if d < most/2 || d > most {
				t.Errorf("backoff(%d) = %v, want %v to %v", failures, d, most/2, most)
			}
		}
		if len(seen) < 50 {
			t.Errorf("backoff(%d) has little chance in it: %d values", failures, len(seen))
		}
	}
}

func TestRetryAfterIsReadByTheCoordinatorsClock(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, tc := range []struct {
		after, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"7", "", 7 * time.Second},
		{"-7", "", 0},
		{"99999999999", "", 0},
		{"7200", "", time.Hour},
		{"soon", "", 0},
		{date(time.Minute), "", time.Minute},
		{date(-time.Minute), "", 0},
		{date(time.Minute + 1000*time.Hour), date(1000 * time.Hour), time.Minute}, // our clock is wrong
	} {
		h := http.Header{"Retry-After": {tc.after}}
		if tc.date != "" {
			h.Set("Date", tc.date)
		}
		if got := retryAfter(h, now); got != tc.want {
			t.Errorf("retryAfter(%q, Date %q) = %v, want %v", tc.after, tc.date, got, tc.want)
		}
	}
}
