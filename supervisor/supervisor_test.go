package supervisor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/gitmgr"
	"townd/gitmgr/gittest"
	"townd/supervisor"
	"townd/supervisor/agenttest"
	"townd/supervisor/keeper"
	"townd/supervisor/transcript"
	"townd/town"
)

func TestMain(m *testing.M) {
	agenttest.Main()
	if len(os.Args) == 3 && os.Args[1] == "keeper" {
		log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
		if err := keeper.Serve(context.Background(), keeper.Config{Dir: os.Args[2], Log: log}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	for range 1000 { // a keeper ends a little after its last client
		if runtime.NumGoroutine() <= before {
			break
		}
		runtime.Gosched()
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before && code == 0 {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		fmt.Fprintf(os.Stderr, "%d goroutines are left, %d were there before the tests\n", n, before)
		code = 1
	}
	os.Exit(code)
}

// testTown is a supervisor over a real keeper and a real repository.
type testTown struct {
	*supervisor.Supervisor
	t       *testing.T
	home    string
	remote  string
	config  supervisor.Config
	git     *gitmgr.Manager
	users   uint32                                      // the first of its agents' users: no other town's, for they are killed by user
	observe func(op string, d time.Duration, err error) // of git
	once    sync.Once
}

func newTown(t *testing.T) *testTown {
	t.Helper()
	home := agenttest.Home(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tt := &testTown{t: t, home: home, remote: gittest.New(t, gittest.Options{Files: 3}).URL()}
	tt.users = 1<<25 + 1000*rand.Uint32N(1<<14) //nolint:gosec // not for secrets
	tt.config = supervisor.Config{
		Home: home, KeeperArgv: []string{self, "keeper", filepath.Join(home, "keeper")}, Townd: self,
		UIDBase: tt.users, UIDCount: 1000,
		Log: slog.New(slog.NewJSONHandler(t.Output(), nil)),
	}
	tt.open()
	t.Cleanup(tt.shutdown)
	return tt
}

func (tt *testTown) open() {
	tt.t.Helper()
	var gidBase uint32
	if os.Getuid() == 0 {
		gidBase = tt.users
	}
	git, err := gitmgr.New(gitmgr.Config{Home: filepath.Join(tt.home, "rigs"), Protocols: []string{"file"}, GIDBase: gidBase, Log: tt.config.Log, Observe: tt.observe})
	if err != nil {
		tt.t.Fatal(err)
	}
	tt.git, tt.config.Git = git, git
	s, err := supervisor.Open(tt.t.Context(), tt.config)
	if err != nil {
		tt.t.Fatal(err)
	}
	tt.Supervisor = s
}

// reopen is a server that ends and its successor.
func (tt *testTown) reopen() {
	tt.t.Helper()
	if err := errors.Join(tt.Close(), tt.git.Close()); err != nil {
		tt.t.Fatal(err)
	}
	tt.open()
}

func (tt *testTown) shutdown() {
	tt.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := errors.Join(tt.Shutdown(ctx, 3*time.Second), tt.Close(), tt.git.Close()); err != nil {
			tt.t.Errorf("shut down: %v", err)
		}
	})
}

// request is a start request for an agent that runs the test binary in a mode.
func (tt *testTown) request(id, mode string, args ...string) town.StartRequest {
	return town.StartRequest{
		AgentID: id, RigID: "rig", TownID: "town", Role: town.RolePolecat, Name: id, Identity: id,
		GitURL: tt.remote, Branch: "polecat/" + id + "/bead", DefaultBranch: "main",
		CLI: "command", Command: agenttest.Program(tt.t, mode, args...),
	}
}

func (tt *testTown) start(req town.StartRequest) town.Agent {
	tt.t.Helper()
	a, created, err := tt.Start(tt.t.Context(), req)
	if err != nil || !created {
		tt.t.Fatalf("Start(%s) = %v, %v", req.AgentID, created, err)
	}
	return a
}

// output reads the agent's transcript until it has n bytes or its run has ended.
func (tt *testTown) output(id string, n int64) []byte {
	tt.t.Helper()
	out, err := tt.Output(id)
	if err != nil {
		tt.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tt.t.Context(), 30*time.Second)
	defer cancel()
	if _, _, err := out.Feed.Wait(ctx, n-1); err != nil {
		tt.t.Fatalf("waiting for %d bytes of %s: %v", n, id, err)
	}
	r := transcript.NewReader(out.Dir)
	defer r.Close()
	data, err := io.ReadAll(io.NewSectionReader(r, 0, 1<<40))
	if err != nil {
		tt.t.Fatal(err)
	}
	return data
}

// until reads events until one of that kind satisfies ok.
func (tt *testTown) until(id string, kind town.EventType, ok func(data map[string]any) bool) {
	tt.t.Helper()
	ctx, cancel := context.WithTimeout(tt.t.Context(), 30*time.Second)
	defer cancel()
	for after := int64(0); ; {
		page, err := tt.Events(id, after, 1000)
		if err != nil {
			tt.t.Fatal(err)
		}
		for _, e := range page.Events {
			var data map[string]any
			if err := json.Unmarshal(e.Data, &data); err != nil {
				tt.t.Fatal(err)
			}
			if e.Event == kind && ok(data) {
				return
			}
		}
		after = page.Next
		if err := tt.WaitEvents(ctx, id, after); err != nil {
			tt.t.Fatalf("waiting for event %s of %s: %v", kind, id, err)
		}
	}
}

func (tt *testTown) untilStatus(id string, want town.Status) town.Agent {
	tt.t.Helper()
	tt.until(id, town.EventState, func(data map[string]any) bool { return data["status"] == string(want) })
	a, err := tt.Agent(id)
	if err != nil {
		tt.t.Fatal(err)
	}
	return a
}

// N4: an agent is started, runs in its worktree, and is stopped.
func TestAgentStartsInItsWorktreeAndStops(t *testing.T) {
	tt := newTown(t)
	a := tt.start(tt.request("toast", "sleep"))
	if a.Status != town.StatusRunning || a.PID == nil || a.RunID == "" {
		t.Errorf("started agent is %+v, want it running with a pid and a run", a)
	}
	if _, err := os.Stat(filepath.Join(a.Workdir, ".git")); err != nil {
		t.Errorf("worktree: %v", err)
	}
	if got := tt.output("toast", 7); !bytes.HasPrefix(got, []byte("ready\r\n")) {
		t.Errorf("output = %q, want ready", got)
	}
	a, err := tt.Stop(t.Context(), "toast", town.StopRequest{})
	if err != nil || a.Status != town.StatusExited || a.Reason != town.ReasonStopped || a.PID != nil {
		t.Errorf("Stop() = %+v, %v; want exited, stopped", a, err)
	}
	again, err := tt.Stop(t.Context(), "toast", town.StopRequest{})
	if err != nil || again.Status != town.StatusExited {
		t.Errorf("second Stop() = %+v, %v; want the same agent", again, err)
	}
}

func TestExitCodesAreToldApart(t *testing.T) {
	tt := newTown(t)
	for id, want := range map[string]struct {
		code   string
		status town.Status
		reason town.Reason
	}{
		"good": {"0", town.StatusExited, town.ReasonExited},
		"bad":  {"3", town.StatusFailed, town.ReasonCrashed},
	} {
		tt.start(tt.request(id, "exit", want.code))
		a := tt.untilStatus(id, want.status)
		if a.Reason != want.reason || a.ExitCode == nil || fmt.Sprint(*a.ExitCode) != want.code {
			t.Errorf("%s: %s %s code %v, want %s %s %s", id, a.Status, a.Reason, a.ExitCode, want.status, want.reason, want.code)
		}
	}
}

// Starts of one agent are idempotent and fenced by generation.
func TestStartIsIdempotentAndFenced(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "sleep")
	req.Generation = 5
	first := tt.start(req)
	if a, created, err := tt.Start(t.Context(), req); err != nil || created || a.RunID != first.RunID {
		t.Errorf("identical Start() = run %s, created %v, %v; want run %s again", a.RunID, created, err, first.RunID)
	}
	other := req
	other.Prompt = "something else"
	if _, _, err := tt.Start(t.Context(), other); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Start() to another specification: %v, want a conflict", err)
	}
	other.Generation = 4
	if _, _, err := tt.Start(t.Context(), other); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Start() of an older generation: %v, want a conflict", err)
	}
	other.Generation = 6
	a, created, err := tt.Start(t.Context(), other)
	if err != nil || !created || a.RunID == first.RunID || a.Generation != 6 {
		t.Errorf("Start() of a newer generation = %+v, %v, %v; want a new run", a, created, err)
	}
	if _, _, err := tt.Start(t.Context(), req); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Start() of the generation before: %v, want a conflict", err)
	}
}

func TestStartDuringStopIsOrdered(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "deaf")
	first := tt.start(req)
	tt.output("toast", 7)
	grace := 0.5
	stopped := make(chan error, 1)
	go func() {
		_, err := tt.Stop(t.Context(), "toast", town.StopRequest{GraceSeconds: &grace})
		stopped <- err
	}()
	tt.until("toast", town.EventState, func(d map[string]any) bool { return d["status"] == "stopping" })
	a, created, err := tt.Start(t.Context(), req)
	if err != nil || !created || a.RunID == first.RunID {
		t.Errorf("Start() while stopping = %+v, %v, %v; want a new run", a, created, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop(): %v", err)
	}
}

func TestParallelStartsOfOneAgentMakeOne(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "sleep")
	var wg sync.WaitGroup
	runs := make(chan string, 20)
	for range cap(runs) {
		wg.Go(func() {
			a, _, err := tt.Start(t.Context(), req)
			if err != nil {
				t.Error(err)
			}
			runs <- a.RunID
		})
	}
	wg.Wait()
	close(runs)
	want := <-runs
	for run := range runs {
		if run != want {
			t.Errorf("runs %s and %s of one agent", run, want)
		}
	}
	if n := tt.Stats().Starts; n != 1 {
		t.Errorf("%d programs were started, want 1", n)
	}
}

// A start that cannot be carried out says why and leaves nothing behind.
func TestFailedStartLeavesNothing(t *testing.T) {
	tt := newTown(t)
	missing := tt.request("toast", "sleep")
	missing.Command = []string{"no-such-program"}
	unreachable := tt.request("toast", "sleep")
	unreachable.GitURL, unreachable.RigID = "file://"+filepath.Join(tt.home, "no-such-repository"), "other"
	protocol := tt.request("toast", "sleep")
	protocol.GitURL = "http://example.invalid/x.git"
	for name, c := range map[string]struct {
		req  town.StartRequest
		kind error
	}{
		"missing program":        {missing, town.ErrInvalid},
		"unreachable repository": {unreachable, town.ErrGit},
		"protocol not allowed":   {protocol, town.ErrInvalid},
	} {
		_, _, err := tt.Start(t.Context(), c.req)
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
		if _, err := tt.Agent("toast"); !errors.Is(err, town.ErrNotFound) {
			t.Errorf("%s: the agent is there afterwards: %v", name, err)
		}
		if entries, _ := os.ReadDir(filepath.Join(tt.home, "agents")); len(entries) != 0 {
			t.Errorf("%s: %s is left", name, entries[0].Name())
		}
	}
}

func TestTownRefusesMoreThanItHolds(t *testing.T) {
	tt := newTown(t)
	if err := tt.Close(); err != nil {
		t.Fatal(err)
	}
	tt.config.MaxAgents = 1
	tt.open()
	tt.start(tt.request("one", "sleep"))
	_, _, err := tt.Start(t.Context(), tt.request("two", "sleep"))
	if c, ok := errors.AsType[*town.CapacityError](err); !ok || c.RetryAfter == 0 {
		t.Errorf("Start() beyond the bound: %v, want a CapacityError with a time to come back", err)
	}
	if _, err := tt.Stop(t.Context(), "one", town.StopRequest{}); err != nil {
		t.Fatal(err)
	}
	tt.start(tt.request("two", "sleep"))
}

func TestTwoAgentsDoNotShareABranch(t *testing.T) {
	tt := newTown(t)
	tt.start(tt.request("one", "sleep"))
	req := tt.request("two", "sleep")
	req.Branch = "polecat/one/bead"
	if _, _, err := tt.Start(t.Context(), req); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Start() on a branch in use: %v, want a conflict", err)
	}
}

// N9: every entry of envVars arrives exactly.
func TestEnvVarsArriveExactly(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "env", "env.json")
	req.BeadID = "bead-1"
	req.EnvVars = map[string]string{
		"EMPTY": "", "NEWLINE": "a\nb\n", "UNICODE": "Köln 🐈 \u0301", "LARGE": strings.Repeat("x", 100_000),
		"QUOTES": `"'$HOME` + "`id`\\", "_x1": "=", "GASTOWN_API_URL": "http://127.0.0.1:1/",
	}
	a := tt.start(req)
	tt.untilStatus("toast", town.StatusExited)
	data, err := os.ReadFile(filepath.Join(a.Workdir, "env.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, entry := range list {
		name, value, _ := strings.Cut(entry, "=")
		got[name] = value
	}
	for name, want := range req.EnvVars {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s arrived as %.60q (%v), want %.60q", name, value, ok, want)
		}
	}
	for name, want := range map[string]string{
		"GASTOWN_AGENT_ID": "toast", "GASTOWN_RIG_ID": "rig", "GASTOWN_TOWN_ID": "town", "GASTOWN_AGENT_ROLE": "polecat",
		"TOWND_RUN_ID": a.RunID, "TOWND_BEAD_ID": req.BeadID, "GIT_AUTHOR_NAME": "toast",
	} {
		if got[name] != want {
			t.Errorf("%s = %q, want %q", name, got[name], want)
		}
	}
}

// N5: a follow-up reaches a running agent.
func TestMessageIsTypedIntoATerminal(t *testing.T) {
	tt := newTown(t)
	tt.start(tt.request("toast", "echo"))
	tt.output("toast", 7)
	id, err := tt.Message(t.Context(), "toast", town.MessageRequest{Prompt: "hello"}, "key")
	if err != nil {
		t.Fatal(err)
	}
	tt.until("toast", town.EventMessage, func(d map[string]any) bool { return d["messageId"] == id && d["receipt"] == "delivered" })
	if again, err := tt.Message(t.Context(), "toast", town.MessageRequest{Prompt: "hello"}, "key"); err != nil || again != id {
		t.Errorf("Message() with the same key = %q, %v; want %q", again, err, id)
	}
	if _, err := tt.Stop(t.Context(), "toast", town.StopRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := tt.Message(t.Context(), "toast", town.MessageRequest{Prompt: "hello"}, ""); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Message() to an ended agent: %v, want a conflict", err)
	}
	if n := bytes.Count(tt.output("toast", 1<<40), []byte("hello")); n != 2 { // echoed by the terminal and by the agent
		t.Errorf("hello appears %d times in the output, want 2", n)
	}
}

func TestTerminalQueriesAreAnsweredOnce(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "sleep")
	// Reads the answer to a cursor query from the terminal, as programs do.
	req.Command = []string{"bash", "-c", `stty raw -echo; printf '\033[6n'; IFS= read -r -d R answer; stty sane; printf 'got %q\n' "$answer"`}
	tt.start(req)
	tt.untilStatus("toast", town.StatusExited)
	if got := tt.output("toast", 1<<40); !bytes.Contains(got, []byte(`got $'\E[1;1'`)) {
		t.Errorf("output = %q, want the cursor's position", got)
	}
}

// A server that ends leaves its agents running, and the next one has every field again.
func TestNextServerAdoptsWhatRuns(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "lines", "5")
	req.Generation = 3
	tt.start(req)
	tt.output("toast", 100)
	before, err := tt.Agent("toast")
	if err != nil {
		t.Fatal(err)
	}
	tt.reopen()
	after, err := tt.Agent("toast")
	if err != nil {
		t.Fatal(err)
	}
	before.LastActivityAt, after.LastActivityAt = nil, nil
	before.Resources, after.Resources = town.Resources{}, town.Resources{}
	if got, want := fmt.Sprintf("%+v pid %d", after, *after.PID), fmt.Sprintf("%+v pid %d", before, *before.PID); stripPointers(got) != stripPointers(want) {
		t.Errorf("adopted agent is\n%s\nwant\n%s", got, want)
	}
	if _, created, err := tt.Start(t.Context(), req); err != nil || created {
		t.Errorf("identical Start() after the restart: created %v, %v", created, err)
	}
	out, err := tt.Output("toast")
	if err != nil {
		t.Fatal(err)
	}
	size, _ := out.Feed.Size()
	if _, ended, err := out.Feed.Wait(t.Context(), size); err != nil || ended {
		t.Errorf("no more output after the restart: ended %v, %v", ended, err)
	}
	if a, err := tt.Stop(t.Context(), "toast", town.StopRequest{}); err != nil || a.Reason != town.ReasonStopped {
		t.Errorf("Stop() of an adopted agent = %+v, %v", a, err)
	}
	if !inOrder(tt.output("toast", 1<<40)) {
		t.Error("lines are missing or out of order")
	}
}

// stripPointers removes what %+v prints of pointers.
func stripPointers(s string) string {
	fields := strings.Fields(s)
	for i, f := range fields {
		if before, _, ok := strings.Cut(f, ":0x"); ok {
			fields[i] = before
		}
	}
	return strings.Join(fields, " ")
}

// inOrder reports whether p is "line 0", "line 1" … with nothing missing.
func inOrder(p []byte) bool {
	lines := bytes.Split(bytes.TrimSuffix(p, []byte("\r\n")), []byte("\r\n"))
	for i, line := range lines {
		if string(line) != fmt.Sprintf("line %d", i) && i < len(lines)-1 {
			return false
		}
	}
	return len(lines) > 1
}

// An exit that happened while no server ran is told by the next.
func TestExitWithoutAServerIsNotLost(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "sleep")
	flag := filepath.Join(agenttest.Home(t), "go")
	req.Command = []string{"bash", "-c", "until [ -e " + flag + " ]; do sleep 0.02; done; echo bye; exit 7"}
	tt.start(req)
	if err := errors.Join(tt.Close(), tt.git.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(flag, nil, 0o644); err != nil { //nolint:gosec // read by the agent's user
		t.Fatal(err)
	}
	tt.open()
	a := tt.untilStatus("toast", town.StatusFailed)
	if a.Reason != town.ReasonCrashed || a.ExitCode == nil || *a.ExitCode != 7 {
		t.Errorf("agent is %s %s, code %v; want failed crashed 7", a.Status, a.Reason, a.ExitCode)
	}
	if got := tt.output("toast", 1<<40); string(got) != "bye\r\n" {
		t.Errorf("output = %q, want bye", got)
	}
}

// A dead keeper takes its agents along; they are told killed, nothing is left
// of them, and the town goes on with a new keeper.
func TestKeepersDeathIsSurvived(t *testing.T) {
	tt := newTown(t)
	a := tt.start(tt.request("toast", "tree"))
	tt.output("toast", 7)
	killProcess(t, tt.Stats().KeeperPID)
	ended := tt.untilStatus("toast", town.StatusFailed)
	if ended.Reason != town.ReasonKilled {
		t.Errorf("reason = %s, want killed", ended.Reason)
	}
	if left := marked(t, a.RunID); len(left) > 0 {
		t.Errorf("processes %v of the run are left", left)
	}
	waitFor(t, "a new keeper", func() bool { return tt.Stats().KeeperPID != 0 })
	tt.start(tt.request("toast", "sleep"))
}

func TestCrashedAgentIsStartedAgain(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "sleep")
	req.Command = []string{"bash", "-c", "[ -e again ] && exec sleep 1000; touch again; exit 1"}
	req.Restart = town.RestartOnFailure
	first := tt.start(req)
	tt.until("toast", town.EventState, func(d map[string]any) bool { return d["reason"] == "crashed" })
	waitFor(t, "the restart", func() bool {
		a, _ := tt.Agent("toast")
		return a.Status == town.StatusRunning && a.RunID != first.RunID
	})
	if a, _ := tt.Agent("toast"); a.Restart == nil || a.Restart.Count != 1 || a.Restart.NextAt != nil {
		t.Errorf("restart = %+v, want one made and none due", a.Restart)
	}
}

// A restart that is due comes also from the next server, with the same environment.
func TestNextServerStartsACrashedAgentAgain(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "sleep")
	req.Command = []string{"bash", "-c", `[ -e again ] && echo "got $WORD" && exec sleep 1000; touch again; exit 1`}
	req.Restart, req.EnvVars = town.RestartOnFailure, map[string]string{"WORD": "it"}
	first := tt.start(req)
	tt.until("toast", town.EventState, func(d map[string]any) bool { return d["reason"] == "crashed" })
	tt.reopen()
	waitFor(t, "the restart", func() bool {
		a, _ := tt.Agent("toast")
		return a.Status == town.StatusRunning && a.RunID != first.RunID
	})
	if got := tt.output("toast", 8); string(got) != "got it\r\n" {
		t.Errorf("output = %q, want the caller's variable", got)
	}
}

func TestLimitsEndAnAgent(t *testing.T) {
	tt := newTown(t)
	for id, c := range map[string]struct {
		limits town.Limits
		args   []string
		reason town.Reason
	}{
		"slow":   {town.Limits{Seconds: 0.3}, []string{"lines", "10"}, town.ReasonTimeout},
		"quiet":  {town.Limits{IdleSeconds: 0.3}, []string{"sleep"}, town.ReasonTimeout},
		"hungry": {town.Limits{MemoryBytes: 64 << 20}, []string{"eat", "200"}, town.ReasonOOM},
		"many":   {town.Limits{Processes: 2}, []string{"tree"}, town.ReasonBudget},
	} {
		req := tt.request(id, c.args[0], c.args[1:]...)
		req.Limits = c.limits
		tt.start(req)
		defer func() {
			if a := tt.untilStatus(id, town.StatusFailed); a.Reason != c.reason {
				t.Errorf("%s: reason %s, want %s", id, a.Reason, c.reason)
			}
		}()
	}
}

func TestForgottenAgentLeavesNothing(t *testing.T) {
	tt := newTown(t)
	a := tt.start(tt.request("toast", "sleep"))
	if err := tt.Forget(t.Context(), "toast"); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Forget() of a live agent: %v, want a conflict", err)
	}
	if _, err := tt.Stop(t.Context(), "toast", town.StopRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := tt.Forget(t.Context(), "toast"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{a.Workdir, filepath.Join(tt.home, "agents", "toast"), filepath.Join(tt.home, "runs", a.RunID)} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if _, err := tt.Agent("toast"); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("Agent() = %v, want not found", err)
	}
	tt.start(tt.request("toast", "sleep")) // and may be started anew
}
