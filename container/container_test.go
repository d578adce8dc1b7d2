package container_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/api"
	"townd/api/conformance"
	"townd/container"
	"townd/gitmgr"
	"townd/gitmgr/gittest"
	"townd/supervisor"
	"townd/supervisor/agenttest"
	"townd/supervisor/keeper"
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
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for range 1000 { // goroutines that were told to end, and keepers, may still be on their way out
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // whose own goroutines stay
	if n := runtime.NumGoroutine(); n > before && code == 0 && !fuzzing {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		fmt.Fprintf(os.Stderr, "%d goroutines are left, %d were there before the tests\n", n, before)
		code = 1
	}
	os.Exit(code)
}

const testToken = "correct-horse-battery-staple"

// testTown is a town with its control server on a socket, over a real keeper
// and a real repository. Every call of its clients is held against the document.
type testTown struct {
	*api.Client
	t          testing.TB
	url        string
	http       *http.Client
	supervisor *supervisor.Supervisor
	server     *container.Server
	remote     string
	logs       *lockedBuffer
}

func newTown(t testing.TB) *testTown { return newTownWith(t, func(*container.Config) {}) }

func newTownWith(t testing.TB, change func(*container.Config)) *testTown {
	t.Helper()
	return newTownOf(t, func(*supervisor.Config) {}, change)
}

func newTownOf(t testing.TB, house func(*supervisor.Config), change func(*container.Config)) *testTown {
	t.Helper()
	home := agenttest.Home(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	logs := &lockedBuffer{}
	secrets := container.NewSecrets()
	log := slog.New(container.NewRedactHandler(io.MultiWriter(logs, t.Output()), &slog.HandlerOptions{Level: slog.LevelDebug}, secrets))
	git, err := gitmgr.New(gitmgr.Config{Home: filepath.Join(home, "rigs"), Protocols: []string{"file", "http"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	lives := supervisor.Config{
		Home: home, Git: git, KeeperArgv: []string{self, "keeper", filepath.Join(home, "keeper")}, Townd: self, Log: log,
		Retention: supervisor.Retention{SegmentBytes: 64 << 10, TotalBytes: 1 << 20},
	}
	house(&lives)
	super, err := supervisor.Open(t.Context(), lives)
	if err != nil {
		t.Fatal(err)
	}
	config := container.Config{
		Supervisor: super, Git: git, Token: testToken, Version: "v0.0.0-test", Home: home, Loopback: true, Secrets: secrets, Log: log,
	}
	change(&config)
	server := container.New(config)
	listener := httptest.NewServer(server.Handler())
	checked := &http.Client{Transport: conformance.Checked(&http.Transport{}, func(err error) { t.Error(err) })}
	tt := &testTown{
		Client: api.New(listener.URL, testToken, checked), t: t, url: listener.URL, http: checked, supervisor: super, server: server,
		remote: gittest.New(t, gittest.Options{Files: 3}).URL(), logs: logs,
	}
	t.Cleanup(func() {
		server.Close()
		checked.CloseIdleConnections()
		listener.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := errors.Join(super.Shutdown(ctx, 3*time.Second), super.Close(), git.Close()); err != nil {
			t.Errorf("shut down: %v", err)
		}
	})
	return tt
}

// request is a start request for an agent that runs the test binary in a mode.
func (tt *testTown) request(id, mode string, args ...string) town.StartRequest {
	return town.StartRequest{
		AgentID: id, RigID: "rig", TownID: "town", Role: town.RolePolecat, Name: id, Identity: id, Prompt: "work", Model: "m",
		GitURL: tt.remote, Branch: "polecat/" + id + "/bead", DefaultBranch: "main",
		CLI: "command", Command: agenttest.Program(tt.t, mode, args...),
	}
}

func (tt *testTown) start(id, mode string, args ...string) town.Agent {
	tt.t.Helper()
	got, err := tt.Start(tt.t.Context(), tt.request(id, mode, args...))
	if err != nil || !got.Created {
		tt.t.Fatalf("Start(%s) = %v, %v", id, got.Created, err)
	}
	return got.Agent
}

// answer is a call's answer, read whole.
type answer struct {
	*http.Response
	body []byte
}

// call calls the town as a stranger would: raw, with the token.
func (tt *testTown) call(method, path, body string, header ...string) answer {
	tt.t.Helper()
	return tt.callAs("Bearer "+testToken, method, path, body, header...)
}

func (tt *testTown) callAs(authorization, method, path, body string, header ...string) answer {
	tt.t.Helper()
	req, err := http.NewRequestWithContext(tt.t.Context(), method, tt.url+path, strings.NewReader(body))
	if err != nil {
		tt.t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return tt.send(req)
}

func (tt *testTown) send(req *http.Request) answer {
	tt.t.Helper()
	resp, err := tt.http.Do(req)
	if err != nil {
		tt.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		tt.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return answer{resp, data}
}

// openEvents opens a stream of server-sent events, which ends with the server,
// with the test, or after a minute.
func (tt *testTown) openEvents(path string, header ...string) io.Reader {
	tt.t.Helper()
	ctx, cancel := context.WithTimeout(tt.t.Context(), time.Minute)
	tt.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, tt.url+path, http.NoBody)
	if err != nil {
		tt.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	req.Header.Set("Accept", "text/html, text/event-stream;q=0.9")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := tt.http.Do(req)
	if err != nil {
		tt.t.Fatal(err)
	}
	tt.t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		tt.t.Fatalf("%s is %s %q, want a stream of events", path, resp.Status, got)
	}
	return resp.Body
}

// endsCleanly closes the server, which ends what is left of a stream: the HTTP server
// waits for it.
func (tt *testTown) endsCleanly(stream io.Reader) {
	tt.t.Helper()
	tt.server.Close()
	if _, err := io.Copy(io.Discard, stream); err != nil {
		tt.t.Errorf("the stream ended with %v, want a clean end", err)
	}
}

var streamOptions = api.StreamOptions{}

// object is the answer's JSON.
func (a answer) object(t testing.TB) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(a.body, &object); err != nil {
		t.Fatalf("%s %s answered %s: %q: %v", a.Request.Method, a.Request.URL.Path, a.Status, a.body, err)
	}
	return object
}

// refused checks that a call was refused with status and a text that holds want.
func refused(t testing.TB, a answer, status int, want string) {
	t.Helper()
	if a.StatusCode != status || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s %s answered %s %s %q, want a problem of %d", a.Request.Method, a.Request.URL, a.Status, a.Header.Get("Content-Type"), a.body, status)
		return
	}
	p := a.object(t)
	if p["status"] != float64(status) || p["title"] != http.StatusText(status) || p["error"] == "" {
		t.Errorf("%s %s answered %s, want status, title and error", a.Request.Method, a.Request.URL, a.body)
	}
	if text := fmt.Sprint(p["error"], " ", p["detail"], " ", p["issues"]); !strings.Contains(text, want) {
		t.Errorf("%s %s answered %s, want %q in it", a.Request.Method, a.Request.URL, a.body, want)
	}
}

// lockedBuffer is a bytes.Buffer for many goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
