package keeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/town"
)

// newStillKeeper returns a keeper in this process that starts nothing, with one
// run named "run" that has ended.
func newStillKeeper(tb testing.TB) *keeper {
	tb.Helper()
	log := slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	w := newWarden(log)
	k := &keeper{log: log, dir: tb.TempDir(), life: newLife(), info: Info{PID: 1, Protocol: Protocol, StartedAt: time.Now()}}
	k.runs = &runs{
		log: log, rung: RungSubreaper, reaper: newReaper(w.nudge), warden: w, closed: true, emptied: k.life.look,
		watchers: &watchers{all: map[*watcher]struct{}{}}, byID: map[string]*slot{}, forgotten: map[string]int{},
	}
	s := newSpawn(tb, "/bin/true")
	s.Run, s.PipeInput = "run", true
	r := &run{log: log, spawn: s, space: &space{dir: s.Transcript}, changed: k.runs.watchers.changed, gone: make(chan struct{}), over: make(chan struct{}), hunt: &hunt{phase: phaseGone}}
	stdin, _, err := r.open()
	if err != nil {
		tb.Fatal(err)
	}
	_ = stdin.Close()
	r.leaderEnded(0)
	r.treeGone(false, nil)
	r.live()
	k.runs.byID["run"] = &slot{run: r}
	return k
}

func FuzzRequests(f *testing.F) {
	good, err := json.Marshal(newSpawn(f, "/bin/true"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []struct{ method, path, timeout, body string }{
		{"POST", "/runs", "", string(good)},
		{"POST", "/runs", "", `{"run":"x","argv":["L2Jpbi90cnVl"],"env":null,"note":{"a":1}}`},
		{"POST", "/runs", "", `{"run":1}`},
		{"POST", "/runs", "", strings.Repeat("[", 20000)},
		{"GET", "/runs", "", ""},
		{"GET", "/hello", "", ""},
		{"POST", "/runs/run/input?id=a", "5", "text"},
		{"POST", "/runs/run/input?id=%zz", "-5", "text"},
		{"POST", "/runs/run/close-input", "", ""},
		{"POST", "/runs/run/signal", "", `{"signal":9}`},
		{"POST", "/runs/run/signal", "", `{"signal":-9}`},
		{"POST", "/runs/run/resize", "", `{"cols":70000,"rows":1}`},
		{"POST", "/runs/run/end", "", `{"signal":15,"grace":1}`},
		{"POST", "/runs/run/end", "", `{"grace":-9223372036854775808}`},
		{"DELETE", "/runs/none", "", ""},
		{"DELETE", "/runs/../x", "", ""},
		{"PUT", "/", "", ""},
	} {
		f.Add(seed.method, seed.path, seed.timeout, []byte(seed.body))
	}
	k := newStillKeeper(f)
	handler := k.handler()
	f.Fuzz(func(t *testing.T, method, path, timeout string, body []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://keeper"+path, bytes.NewReader(body))
		if err != nil || method == http.MethodDelete && req.URL.Path == "/runs/run" || req.URL.Path == "/watch" {
			return
		}
		req.Header.Set(headerProtocol, "1")
		req.Header.Set(headerTimeout, timeout)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		if w.Code != http.StatusOK && w.Header().Get("Content-Type") == "application/json" {
			if err := decodeError(w.Result()); err == nil || !slices.Contains([]int{207, 400, 404, 409, 413, 429, 503}, w.Code) {
				t.Fatalf("%s %s: %d %s as error %v", method, path, w.Code, w.Body, err)
			}
		}
	})
}

func FuzzWatchRecord(f *testing.F) {
	for _, u := range []Update{{Run: "a"}, {Run: "b", Seq: 3, Size: 1 << 40, Exit: &Exit{Code: 137, Signal: "SIGKILL", Survivors: []int{1}}, Stalled: "disk full"}} {
		line, err := json.Marshal(u)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"run":"a","size":-1}`))
	f.Add([]byte(`{"run":"a","exit":{"code":1e99}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		u, err := decodeUpdate(line)
		if err != nil {
			return
		}
		again, err := json.Marshal(u)
		if err != nil {
			t.Fatalf("Marshal(%+v) = %v", u, err)
		}
		if second, err := decodeUpdate(again); err != nil || second.Run != u.Run || second.Size != u.Size || second.Seq != u.Seq {
			t.Fatalf("decodeUpdate(%s) = %+v, %v, want %+v", again, second, err, u)
		}
	})
}

func FuzzProcFiles(f *testing.F) {
	f.Add([]byte("1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123 45 6 7"))
	f.Add([]byte("Name:\tx\nState:\tS (sleeping)\nUid:\t1\t2\t3\t4\nThreads:\t5\n"))
	f.Add([]byte(")"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		var p Proc
		_ = p.parseStat(text)
		_ = p.parseStatus(text)
	})
}

func TestErrorsKeepTheirKindOnTheWay(t *testing.T) {
	for _, err := range []error{
		town.ErrInvalid, town.ErrNotFound, town.ErrConflict, town.ErrTooLarge, town.ErrStartFailed, town.ErrUnavailable, town.ErrNoSpace,
		&town.CapacityError{What: "full", RetryAfter: 1500 * time.Millisecond}, &PartialInputError{Written: 3, Total: 9, Reason: "deaf"},
		&town.InvalidError{Issues: []town.Issue{{Path: "argv", Message: "is empty"}}}, syscall.EIO,
	} {
		status, body := encodeError(err)
		p, marshalErr := json.Marshal(body)
		if marshalErr != nil {
			t.Fatal(marshalErr)
		}
		w := httptest.NewRecorder()
		w.WriteHeader(status)
		_, _ = w.Write(p)
		got := decodeError(w.Result())
		if town.HTTPStatus(got) != town.HTTPStatus(err) || !strings.Contains(got.Error(), strings.TrimSuffix(err.Error(), ": invalid")) {
			t.Errorf("%v arrived as %v", err, got)
		}
		full, sent := errors.AsType[*town.CapacityError](err)
		arrived, ok := errors.AsType[*town.CapacityError](got)
		if sent && (!ok || *full != *arrived) {
			t.Errorf("%+v arrived as %+v", full, got)
		}
	}
}
