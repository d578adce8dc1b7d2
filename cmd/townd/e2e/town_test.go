package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/api"
	"townd/gitmgr/gittest"
	"townd/supervisor/agenttest"
	"townd/town"
)

// patience is how long a test waits for what must come. It says nothing about
// how fast it should: the machine may be busy.
const patience = 2 * time.Minute

// testTown is a town of the test's own: its server is a process.
type testTown struct {
	*api.Client
	t       *testing.T
	home    string
	address string
	token   string
	users   uint32 // base of its agents' user ids
	env     map[string]string
	remote  *gittest.Remote
	agent   []string // argv of the test binary as an agent, but for the mode
	http    *http.Client

	as     *syscall.SysProcAttr // of its servers; nil for our own user
	server *exec.Cmd
	log    *buffer  // of all its servers
	after  []func() // run when all has ended
}

// newTown starts a town with a repository for its agents. env adds to the
// settings of its server.
func newTown(t *testing.T, env map[string]string) *testTown {
	t.Helper()
	tt := prepareTown(t, env)
	tt.serve()
	return tt
}

// prepareTown is newTown whose server is not yet started.
func prepareTown(t *testing.T, env map[string]string) *testTown {
	t.Helper()
	if err := sources(); err != nil {
		t.Fatal(err)
	}
	tt := &testTown{
		t: t, home: agenttest.Home(t), address: freeAddress(t), log: newBuffer(),
		users:  1<<24 + userCount*rand.Uint32N(1<<18), // far from those of a town at work here
		remote: gittest.NewAt(t, filepath.Join(agenttest.Home(t), "remote.git"), gittest.Options{Files: 3}),
		agent:  agenttest.Program(t, "")[:2],
		http:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	tt.env = map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": tt.home, "TOWND_HOME": tt.home, "TOWND_LISTEN": tt.address,
		"TOWND_GIT_PROTOCOLS": "file,http", "TOWND_STOP_SECONDS": "5",
		"TOWND_UID_BASE": fmt.Sprint(tt.users), "TOWND_GID_BASE": fmt.Sprint(tt.users),
		"TOWND_UID_COUNT": fmt.Sprint(userCount),
	}
	maps.Copy(tt.env, env)
	t.Cleanup(tt.end)
	return tt
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// command is townd with the town's settings.
func (tt *testTown) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	for name, value := range tt.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// serve starts a server and waits until it serves.
func (tt *testTown) serve() {
	tt.t.Helper()
	tt.log.begin()
	tt.server = tt.command("serve")
	tt.server.Stderr, tt.server.SysProcAttr = tt.log, tt.as
	if err := tt.server.Start(); err != nil {
		tt.t.Fatal(err)
	}
	if !tt.log.await(`"msg":"serving"`) {
		tt.t.Fatalf("the server does not serve; its log:\n%s", tt.log)
	}
	if tt.token == "" {
		tt.token = tt.env["TOWND_TOKEN"]
	}
	if tt.token == "" {
		data, err := os.ReadFile(filepath.Join(tt.home, "token"))
		if err != nil {
			tt.t.Fatal(err)
		}
		tt.token = strings.TrimSpace(string(data))
	}
	tt.Client = api.New("http://"+tt.address, tt.token, tt.http)
}

// kill ends the server as a crash would.
func (tt *testTown) kill() {
	tt.t.Helper()
	if err := tt.server.Process.Kill(); err != nil {
		tt.t.Fatal(err)
	}
	_ = tt.server.Wait() // it was killed
	tt.http.CloseIdleConnections()
}

// restart kills the server and starts the next.
func (tt *testTown) restart() {
	tt.t.Helper()
	tt.kill()
	tt.serve()
}

// end stops the town as SIGTERM does and proves that nothing of it is left.
func (tt *testTown) end() {
	t := tt.t
	t.Helper()
	defer func() {
		for _, f := range tt.after {
			f()
		}
	}()
	if tt.server == nil {
		return
	}
	if tt.server.ProcessState != nil { // killed: the next one has to end its agents
		tt.serve()
	}
	if err := tt.server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	ended := time.AfterFunc(patience, func() { _ = tt.server.Process.Kill() })
	if err := tt.server.Wait(); err != nil {
		t.Errorf("server ended with %v", err)
	}
	ended.Stop()
	tt.http.CloseIdleConnections()
	waitFor(t, "end of every process of the town", func() bool { return len(tt.processes()) == 0 })
	for _, p := range tt.processes() {
		t.Errorf("left: %v", p)
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	if t.Failed() {
		keeper, _ := os.ReadFile(filepath.Join(tt.home, "keeper/keeper.log")) // to be looked at
		t.Logf("servers' log:\n%s\nkeeper's log:\n%s", tail(tt.log.withoutRequests(), 60000), tail(keeper, 60000))
	}
}

// townID marks the processes of the town's agents, by GASTOWN_TOWN_ID.
func (tt *testTown) townID() string { return fmt.Sprint("town-", tt.users) }

// userCount is how many users a town has for its agents.
const userCount = 1000

// mode is the argv of the test binary as an agent.
func (tt *testTown) mode(args ...string) []string { return append(slices.Clone(tt.agent), args...) }

// request asks for an agent that runs argv on a terminal.
func (tt *testTown) request(id string, argv ...string) town.StartRequest {
	return town.StartRequest{
		AgentID: id, RigID: "rig", TownID: tt.townID(), Role: town.RolePolecat, Name: id, Identity: id + " of rig",
		GitURL: tt.remote.URL(), Branch: "polecat/" + id + "/bead", DefaultBranch: tt.remote.Branch,
		CLI: "command", Command: argv,
	}
}

// start starts an agent that must start.
func (tt *testTown) start(req town.StartRequest) town.Agent {
	tt.t.Helper()
	a, err := tt.Start(tt.context(), req)
	if err != nil {
		tt.t.Fatalf("start %s: %v", req.AgentID, err)
	}
	return a.Agent
}

// stop ends an agent.
func (tt *testTown) stop(id string, req town.StopRequest) town.Agent {
	tt.t.Helper()
	a, err := tt.Stop(tt.context(), id, req)
	if err != nil {
		tt.t.Fatalf("stop %s: %v", id, err)
	}
	return a
}

// status is what the town says of an agent.
func (tt *testTown) status(id string) town.Agent {
	tt.t.Helper()
	a, err := tt.Agent(tt.context(), id)
	if err != nil {
		tt.t.Fatalf("status of %s: %v", id, err)
	}
	return a
}

// context is for one call, or a few.
func (tt *testTown) context() context.Context {
	ctx, cancel := context.WithTimeout(tt.t.Context(), patience)
	tt.t.Cleanup(cancel)
	return ctx
}

// follow shows everything of the agent's newest run until done says true or the
// run has ended.
func (tt *testTown) follow(id string, done func(output []byte) bool) []byte {
	tt.t.Helper()
	ctx, cancel := context.WithTimeout(tt.t.Context(), patience)
	defer cancel()
	var output []byte
	_, err := tt.Follow(ctx, id, api.StreamOptions{}, func(m api.Message) error {
		output = append(output, m.Data...)
		if done(output) {
			return io.EOF
		}
		return nil
	})
	if err != nil && !errors.Is(err, io.EOF) {
		tt.t.Fatalf("follow %s: %v; it printed %q", id, err, tail(output, 2000))
	}
	return output
}

// ready waits until an agent of agenttest has become what it is.
func (tt *testTown) ready(id string) {
	tt.t.Helper()
	tt.follow(id, func(p []byte) bool { return bytes.Contains(p, []byte("ready")) })
}

func tail(p []byte, n int) []byte { return p[max(0, len(p)-n):] }

// event waits until ok says true of one of the agent's events and returns all up
// to it.
func (tt *testTown) event(id string, ok func(town.Event) bool) []town.Event {
	tt.t.Helper()
	ctx, cancel := context.WithTimeout(tt.t.Context(), patience)
	defer cancel()
	var all []town.Event
	after := ""
	for ctx.Err() == nil {
		for e, err := range tt.FollowEvents(ctx, id, after) {
			if err != nil {
				break // as when the server is killed: go on where we were
			}
			after = e.Cursor
			if all = append(all, e.Event); ok(e.Event) {
				return all
			}
		}
	}
	tt.t.Fatalf("no such event of %s; there were:\n%s", id, render(all))
	return nil
}

// untilStatus waits until the agent has that status.
func (tt *testTown) untilStatus(id string, want town.Status) town.Agent {
	tt.t.Helper()
	tt.event(id, func(e town.Event) bool { return isState(e, want) })
	return tt.status(id)
}

func isState(e town.Event, want town.Status) bool {
	var data town.StateData
	return e.Event == town.EventState && json.Unmarshal(e.Data, &data) == nil && data.Status == want
}

func render(events []town.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%d %s %s\n", e.ID, e.Event, e.Data)
	}
	return b.String()
}

// buffer is what a process writes, for somebody who waits for a text in it.
type buffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	from    int // where await looks from
	changed chan struct{}
}

func newBuffer() *buffer { return &buffer{changed: make(chan struct{})} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// withoutRequests is what was logged, but for the access lines: there are many.
func (b *buffer) withoutRequests() []byte {
	var kept []byte
	for line := range strings.Lines(b.String()) {
		if !strings.Contains(line, `"msg":"request"`) {
			kept = append(kept, line...)
		}
	}
	return kept
}

// linesWith returns the lines that hold text.
func (b *buffer) linesWith(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, text) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// begin makes await ignore what was written so far.
func (b *buffer) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from = b.b.Len()
}

// await waits until text is written, patience at most.
func (b *buffer) await(text string) bool {
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		found, changed := bytes.Contains(b.b.Bytes()[b.from:], []byte(text)), b.changed
		b.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-changed:
		case <-deadline:
			return false
		}
	}
}

// waitFor asks until done is true; it is for what has no event to wait for.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("no %s within %v", what, patience)
			return
		}
	}
}

// eachFile reads the files below dir while the town goes on: what goes away meanwhile, as a
// temporary file does, is passed over.
func (tt *testTown) eachFile(dir string, look func(path string, data []byte)) {
	tt.t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var data []byte
			if data, err = os.ReadFile(path); err == nil {
				look(path, data)
			}
		}
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil
		}
		return err
	})
	if err != nil {
		tt.t.Error(err)
	}
}
