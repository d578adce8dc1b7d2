package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary a townd when it is called as one, which is how
// servers, keepers and demo agents of the tests come to be.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (filepath.Base(os.Args[0]) == "townd" || slices.Contains([]string{"keeper", "serve", "demo-agent", "try", "hook", "report", "drive", "attach", "logs", "mcp", "tool"}, os.Args[1])) {
		main()
	}
	// The first Notify starts a goroutine of the runtime that stays.
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	signal.Stop(c)
	before := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 && !allEnded(before) {
		fmt.Fprintln(os.Stderr, "goroutines are left after the tests:")
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	os.Exit(code)
}

// allEnded waits until no more goroutines run than before; those of connections
// take a moment to end.
func allEnded(before int) bool {
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return true
		}
		time.Sleep(10 * time.Millisecond) // goroutines that end have no event
	}
	return false
}

// buffer is a bytes.Buffer that one writes while another waits for a text.
type buffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func newBuffer() *buffer { return &buffer{changed: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await returns when text has been written, or fails the test after patience.
func (b *buffer) await(t *testing.T, text string) {
	t.Helper()
	b.awaitTimes(t, 1, text)
}

func (b *buffer) awaitTimes(t *testing.T, times int, text string) {
	t.Helper()
	deadline := time.After(patience)
	for strings.Count(b.String(), text) < times {
		select {
		case <-b.changed:
		case <-deadline:
			t.Fatalf("%q did not come within %v; what came:\n%s", text, patience, b)
		}
	}
}

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// result is what a command gave back.
type result struct {
	code     int
	out, err string
}

// testTown is a town of the test's own.
type testTown struct {
	t      *testing.T
	users  uint32 // base of its agents' user ids
	home   string
	listen string
	repo   string
	extra  map[string]string // more of the server's environment
	server *exec.Cmd
	log    *buffer
}

// startTown makes a repository and starts a server as a process of its own.
func startTown(t *testing.T) *testTown {
	t.Helper()
	return startTownWith(t, nil)
}

// startTownWith is startTown with more in the server's environment.
func startTownWith(t *testing.T, extra map[string]string) *testTown {
	t.Helper()
	tt := &testTown{t: t, extra: extra, home: shortDir(t), listen: freeAddress(t), log: newBuffer()}
	tt.repo = makeRepository(t)
	tt.users = 1<<24 + 1000*rand.Uint32N(1<<18) // far from those of a town at work here
	tt.serve()
	t.Cleanup(tt.end)
	return tt
}

// shortDir is a directory whose path leaves room for the name of a socket and
// which the users of agents can pass through.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "townd-test-") //nolint:usetesting // T.TempDir makes a parent that only its owner passes
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// makeRepository makes the sample repository and returns its path.
func makeRepository(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(shortDir(t), "slug.git")
	if err := makeSample(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// env is the environment of a command that talks to this town.
func (tt *testTown) env() map[string]string {
	return map[string]string{
		"TOWND_HOME": tt.home, "TOWND_URL": "http://" + tt.listen, "TOWND_LISTEN": tt.listen, "TOWND_GIT_PROTOCOLS": "file",
		"HOME": tt.home, "TOWND_STOP_SECONDS": "5",
		"TOWND_UID_BASE": fmt.Sprint(tt.users), "TOWND_GID_BASE": fmt.Sprint(tt.users),
	}
}

// serve starts a server and waits until it answers.
func (tt *testTown) serve() {
	tt.t.Helper()
	self, err := os.Executable()
	if err != nil {
		tt.t.Fatal(err)
	}
	tt.server = exec.Command(self, "serve")
	tt.server.Env = []string{"GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
	env := tt.env()
	env["PATH"] = os.Getenv("PATH")
	maps.Copy(env, tt.extra)
	for name, value := range env {
		tt.server.Env = append(tt.server.Env, name+"="+value)
	}
	tt.server.Stderr = tt.log
	if err := tt.server.Start(); err != nil {
		tt.t.Fatal(err)
	}
	tt.log.await(tt.t, fmt.Sprintf(`"msg":"serving","address":"%s"`, tt.listen))
}

// kill ends the server as a crash would.
func (tt *testTown) kill() {
	tt.t.Helper()
	if err := tt.server.Process.Kill(); err != nil {
		tt.t.Fatal(err)
	}
	_ = tt.server.Wait() // it was killed
	tt.log = newBuffer()
}

func (tt *testTown) signal(s syscall.Signal) {
	tt.t.Helper()
	if err := tt.server.Process.Signal(s); err != nil {
		tt.t.Error(err)
	}
}

// end stops the town as SIGTERM does.
func (tt *testTown) end() {
	if tt.server.ProcessState != nil {
		return
	}
	tt.signal(syscall.SIGTERM)
	if err := tt.server.Wait(); err != nil {
		tt.t.Errorf("server: %v\n%s", err, tt.log)
	}
	if tt.t.Failed() {
		tt.t.Logf("server's log:\n%s", tt.log)
	}
}

// townd runs a command that talks to this town.
func (tt *testTown) townd(args ...string) result {
	tt.t.Helper()
	return runTownd(tt.t.Context(), tt.env(), args...)
}

// ok is townd for a command that must succeed; it returns what that printed.
func (tt *testTown) ok(args ...string) string {
	tt.t.Helper()
	r := tt.townd(args...)
	if r.code != 0 {
		tt.t.Fatalf("townd %s: code %d, %s\nserver's log:\n%s", strings.Join(args, " "), r.code, r.err, tt.log)
	}
	return r.out
}

// background runs a command until the test ends or it does; its output can be
// waited for.
func (tt *testTown) background(ctx context.Context, out io.Writer, args ...string) <-chan int {
	env := tt.env()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, args, stdio{strings.NewReader(""), out, tt.log, func(name string) string { return env[name] }})
	}()
	return done
}

func runTownd(ctx context.Context, env map[string]string, args ...string) result {
	var out, errs bytes.Buffer
	code := run(ctx, args, stdio{strings.NewReader(""), &out, &errs, func(name string) string { return env[name] }})
	return result{code, out.String(), errs.String()}
}

// wantContains fails the test unless got holds every one of want.
func wantContains(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: %q is not in:\n%s", what, w, got)
		}
	}
}

// waitFor asks until done is true; it is for what has no event to wait for.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within %v", what, patience)
		}
		time.Sleep(5 * time.Millisecond) // polled: see above
	}
}
