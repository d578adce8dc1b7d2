package coordinator

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"townd/town"
)

// reportForEver reports numbered facts and events in four lanes. It prints each fact
// that it was told is kept.
func reportForEver(path string) {
	l, err := Open(context.Background(), Config{
		Path: path, URL: os.Getenv(childEnv + "_URL"), TownID: "local", HTTP: &http.Transport{DisableKeepAlives: true},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	l.Start(new(testTown))
	for i := 0; ; i++ {
		lane := fmt.Sprintf("agent%d", i%4)
		if last, _ := l.Newest(lane, "e"); true {
			l.Event("e", event(lane, last+1, town.EventText, "text"))
		}
		key := fmt.Sprintf("%d-%06d", os.Getpid(), i)
		if err := l.Post(context.Background(), Fact{Lane: lane, Path: "/mail", Key: key, Body: lane + " " + key}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(lane + " " + key)
	}
}

// N11, N12: kill -9 at any moment, while it writes and while it sends, loses nothing
// that was said to be kept, and changes no order.
func TestKilledWriterLosesNothingKept(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := newHall()
	var down atomic.Bool
	h.fault = func(w http.ResponseWriter, _ request, n int) bool {
		switch {
		case down.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case n%7 == 0: // takes it, and the answer is lost
			rec := httptest.NewRecorder()
			rec.WriteHeader(500)
			w.WriteHeader(500)
		default:
			return false
		}
		return true
	}
	server := httptest.NewServer(h)
	defer server.Close()
	path := filepath.Join(t.TempDir(), "outbox.db")
	var kept []string
	for round := range 6 {
		down.Store(round%2 == 0)
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), childEnv+"="+path, childEnv+"_URL="+server.URL)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		n := 20 + rand.IntN(200) //nolint:gosec // not for secrets
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			kept = append(kept, lines.Text())
			if i == n {
				_ = cmd.Process.Kill()
			}
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("the child ended with %v: %s", err, stderr.String())
		}
	}
	h.fault = nil
	l := open(t, Config{Path: path, URL: server.URL})
	defer closeLink(t, l)
	l.Start(new(testTown))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want, got := map[string][]string{}, map[string][]string{}
	for _, line := range kept {
		lane, key, _ := strings.Cut(line, " ")
		want[lane] = append(want[lane], key)
	}
	for _, body := range h.bodies("/mail") {
		var text string
		if err := json.Unmarshal([]byte(body), &text); err != nil {
			t.Fatal(err)
		}
		lane, key, _ := strings.Cut(text, " ")
		got[lane] = append(got[lane], key)
	}
	for lane := range want {
		at := 0 // everything kept arrived, in its order; what was being kept may have arrived too
		for _, key := range got[lane] {
			if at < len(want[lane]) && want[lane][at] == key {
				at++
			}
		}
		if at < len(want[lane]) {
			t.Errorf("%s: %s, the %d. of %d, did not arrive in order", lane, want[lane][at], at+1, len(want[lane]))
		}
	}
	last := map[string]int64{}
	for _, e := range h.events(t) {
		if e.ID != last[e.AgentID]+1 {
			t.Fatalf("event %d of %s came after %d", e.ID, e.AgentID, last[e.AgentID])
		}
		last[e.AgentID] = e.ID
	}
	t.Logf("%d facts kept, %d arrived in %d requests", len(kept), len(h.bodies("/mail")), len(h.requests))
}

// N12: an outage of hours takes bounded disk. Events are left out, the oldest and the
// least first, each gap told; facts never.
func TestOutageTakesBoundedDisk(t *testing.T) {
	const most = 1 << 20
	path := filepath.Join(t.TempDir(), "outbox.db")
	l := open(t, Config{Path: path, MaxPendingBytes: most})
	const agents, rounds = 3, 6000
	facts := map[string]int{}
	for i := range rounds {
		for a := range agents {
			agent := fmt.Sprintf("agent%d", a)
			kind := town.EventText
			if i%50 == 0 {
				kind = town.EventState
			}
			l.Event("e", event(agent, int64(i+1), kind, strings.Repeat("x", 200)))
			if i%500 == 7 {
				post(t, l, agent, "/mail", fmt.Sprintf("%s-%d", agent, i))
				facts[agent]++
			}
		}
	}
	post(t, l, "agent0", "/mail", "last")
	facts["agent0"]++
	closeLink(t, l) // writes all
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 3*most {
		t.Errorf("the file has %d bytes, %d were to be kept", info.Size(), most)
	}
	h := newHall()
	l = open(t, Config{Path: path, MaxPendingBytes: most, HTTP: direct{h}})
	defer closeLink(t, l)
	if st := l.State(t.Context()); st.OutboxBytes > most {
		t.Errorf("%d bytes pending, at most %d wanted", st.OutboxBytes, most)
	}
	l.Start(new(testTown))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(h.keysAt("/mail")); got != facts["agent0"]+facts["agent1"]+facts["agent2"] {
		t.Errorf("%d facts arrived, want %v", got, facts)
	}
	checkGaps(t, h.events(t), agents, rounds, func(kept map[town.EventType]int) {
		if kept[town.EventState] != agents*rounds/50 {
			t.Errorf("%d states arrived, want all %d", kept[town.EventState], agents*rounds/50)
		}
		if n := kept[town.EventText]; n < 500 || n > agents*rounds/2 {
			t.Errorf("%d texts arrived", n)
		}
	})
	if st := l.State(t.Context()); st.OutboxBytes != 0 || st.Outbox.Pending != 0 {
		t.Errorf("delivered, yet %+v", st)
	}
}

// When even that is not enough, all events go, and one gap for each agent stays.
func TestTightOutboxKeepsFacts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	l := open(t, Config{Path: path, MaxPendingBytes: 20_000})
	for i := range 2000 {
		l.Event("e", event("toast", int64(i+1), town.EventState, "x"))
		if i%20 == 0 {
			post(t, l, "toast", "/mail", strconv.Itoa(i))
		}
	}
	closeLink(t, l)
	h := newHall()
	l = open(t, Config{Path: path, HTTP: direct{h}})
	defer closeLink(t, l)
	l.Start(new(testTown))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(h.keysAt("/mail")); got != 100 {
		t.Errorf("%d facts arrived, want 100", got)
	}
	checkGaps(t, h.events(t), 1, 2000, func(kept map[town.EventType]int) {
		if n := kept[town.EventState]; n > 200 {
			t.Errorf("%d states were kept in 20 kB", n)
		}
	})
}

// checkGaps checks that each event of each agent arrived in order, or is in a gap.
func checkGaps(t *testing.T, events []town.AgentEvent, agents, each int, counts func(map[town.EventType]int)) {
	t.Helper()
	next := map[string]int64{}
	kept := map[town.EventType]int{}
	for _, e := range events {
		kept[e.Event.Event]++
		expect := max(next[e.AgentID], 1)
		if e.Event.Event != town.EventGap && e.ID != expect || e.ID < expect {
			t.Fatalf("event %d (%s) of %s where %d was due", e.ID, e.Event.Event, e.AgentID, expect)
		}
		next[e.AgentID] = e.ID + 1
		if e.Event.Event == town.EventGap {
			var gap town.GapData
			if err := json.Unmarshal(e.Data, &gap); err != nil || gap.From != e.ID+1 {
				t.Errorf("gap %d says %s", e.ID, e.Data)
			}
		}
	}
	for agent, id := range next {
		if id != int64(each)+1 {
			t.Errorf("the last event of %s is %d, want %d", agent, id-1, each)
		}
	}
	if len(next) != agents {
		t.Errorf("events of %d agents", len(next))
	}
	counts(kept)
}

// A disk that is full refuses what can be refused, keeps the rest in memory, says so,
// and goes on when there is room.
func TestFullDiskIsToldAndOvercome(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	l := open(t, Config{Path: filepath.Join(disk, "outbox.db")})
	defer closeLink(t, l)
	kept := 0
	var err error
	for err == nil && kept < 1000 {
		err = l.Post(t.Context(), Fact{Lane: "toast", Path: "/mail", Key: fmt.Sprint(kept), Body: strings.Repeat("x", 10_000)})
		if err == nil {
			kept++
		}
	}
	if !errors.Is(err, town.ErrNoSpace) || kept < 10 {
		t.Fatalf("after %d facts: %v, want town.ErrNoSpace", kept, err)
	}
	stored := make(chan struct{})
	l.Ended(town.Completion{AgentID: "toast", RunID: "r1", Error: strings.Repeat("x", 10_000)}, func() { close(stored) })
	// 40 MB of events wait in 16 MiB.
	for i := range 40_000 {
		l.Event("e", event("toast", int64(i+1), town.EventText, strings.Repeat("y", 1000)))
	}
	l.outbox.mu.Lock()
	waiting := l.outbox.waiting
	l.outbox.mu.Unlock()
	if waiting > maxWaitingBytes+maxChunkBytes {
		t.Errorf("%d bytes wait in memory", waiting)
	}
	if st := l.State(t.Context()); len(st.Degraded) == 0 || !strings.Contains(strings.Join(st.Degraded, " "), "cannot be written") {
		t.Errorf("degraded: %q", st.Degraded)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stored:
	case <-time.After(time.Minute):
		t.Fatal("the end of the run is not stored with room again")
	}
	h := newHall()
	server := httptest.NewServer(h)
	defer server.Close()
	l.base, _ = CheckURL(server.URL) // nothing was sent yet
	l.Start(new(testTown))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(h.keysAt("/mail")); got != kept || len(h.keysAt("/completed")) != 1 {
		t.Errorf("%d facts arrived, want %d, and the completion", got, kept)
	}
	checkGaps(t, h.events(t), 1, 40_000, func(map[town.EventType]int) {})
	if st := l.State(t.Context()); len(st.Degraded) > 0 {
		t.Errorf("afterwards: %q", st.Degraded)
	}
}

func TestUnusableOutboxRefusesToOpen(t *testing.T) {
	ctx := t.Context()
	for _, tc := range []struct {
		name, change string
		kind         error
		says         string
	}{
		{"newer", "PRAGMA user_version = 999", town.ErrConflict, "newer townd"},
		{"foreign", "PRAGMA application_id = 5", town.ErrConflict, "another program's"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "outbox.db")
			l := open(t, Config{Path: path})
			post(t, l, "toast", "/mail", "one")
			closeLink(t, l)
			exec1(t, path, tc.change)
			_, err := Open(ctx, Config{Path: path, URL: "http://x.invalid", TownID: "local", Log: slog.New(slog.DiscardHandler)})
			if !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("open: %v", err)
			}
			if n := count(t, path); n != 1 {
				t.Errorf("the file holds %d reports, want the one", n)
			}
		})
	}
}

func exec1(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM items").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A file that another program has locked is neither broken nor taken.
func TestLockedOutboxIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	l := open(t, Config{Path: path})
	closeLink(t, l)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range []string{"PRAGMA locking_mode = exclusive", "BEGIN EXCLUSIVE"} {
		if _, err := conn.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Open(t.Context(), Config{Path: path, URL: "http://x.invalid", TownID: "local", Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, town.ErrUnavailable) || !strings.Contains(err.Error(), "another program") {
		t.Errorf("open: %v", err)
	}
	if left := asides(path); len(left) > 0 {
		t.Errorf("moved aside: %v", left)
	}
}

// A broken file is kept for people to look at, said loudly, and replaced.
func TestBrokenOutboxIsMovedAside(t *testing.T) {
	for _, where := range []int64{0, 3 * 4096, -1} {
		path := filepath.Join(t.TempDir(), "outbox.db")
		l := open(t, Config{Path: path})
		for i := range 200 {
			post(t, l, "toast", "/mail", fmt.Sprint(i))
		}
		closeLink(t, l)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if where < 0 { // torn in the middle
			data = data[:len(data)/2+17]
		} else {
			copy(data[where:], bytes.Repeat([]byte{0xa5}, 4096))
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l = open(t, Config{Path: path})
		st := l.State(t.Context())
		if len(st.BrokenOutboxes) != 1 || !strings.Contains(strings.Join(st.Degraded, " "), "may be lost") {
			t.Errorf("broken at %d: state %+v", where, st)
		}
		post(t, l, "toast", "/mail", "new")
		closeLink(t, l)
		if n := count(t, path); n != 1 {
			t.Errorf("the new file holds %d reports", n)
		}
		if left := asides(path); len(left) == 1 {
			if kept, err := os.ReadFile(filepath.Join(filepath.Dir(path), left[0])); err != nil || len(kept) < 1000 {
				t.Errorf("the file aside has %d bytes, %v", len(kept), err)
			}
		}
	}
}

// Ends of runs are told once by their key, however often the supervisor repeats them.
func TestRepeatedReportsAreKeptOnce(t *testing.T) {
	h := newHall()
	l := open(t, Config{HTTP: direct{h}})
	defer closeLink(t, l)
	var stored sync.WaitGroup
	for range 3 {
		stored.Add(1)
		l.Ended(town.Completion{AgentID: "toast", RunID: "r1", Generation: 2}, stored.Done)
	}
	stored.Wait()
	if st := l.State(t.Context()); st.Outbox.Pending != 1 {
		t.Errorf("%d pending, want 1", st.Outbox.Pending)
	}
	l.Start(new(testTown))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.times("/agents/toast/completed"); len(got) != 1 {
		t.Errorf("%d requests", len(got))
	}
}

// What the outbox knows of an agent's events survives, and is forgotten with the agent.
func TestCursorsFollowTheirAgents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	l := open(t, Config{Path: path})
	for i := range 10 {
		l.Event("epoch1", event("toast", int64(i+1), town.EventText, "x"))
		l.Event("epoch1", event("gone", int64(i+1), town.EventText, "x"))
	}
	closeLink(t, l)
	for range 2 {
		h := newHall()
		l = open(t, Config{Path: path, HTTP: direct{h}})
		if id, known := l.Newest("toast", "epoch1"); id != 10 || !known {
			t.Errorf("newest of toast is %d, %v", id, known)
		}
		if _, known := l.Newest("toast", "epoch2"); known {
			t.Error("another log of the same agent is known")
		}
		l.Start(&testTown{agents: []town.AgentHeartbeat{{AgentID: "toast"}}})
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		closeLink(t, l)
	}
	l = open(t, Config{Path: path})
	defer closeLink(t, l)
	if _, known := l.Newest("gone", "epoch1"); known {
		t.Error("an agent that is no more is remembered")
	}
}
