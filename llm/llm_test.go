package llm

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/town"
)

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // which leaves one of its own
	if n := runtime.NumGoroutine(); code == 0 && n > before && !fuzzing {
		println("goroutines left over:", n-before)
		code = 1
	}
	os.Exit(code)
}

const (
	canary     = "sk-canary-0123456789-abcdef" // of every provider in the tests
	ofAgent    = "cap-of-agent-a1"             // its capability
	ofSpender  = "cap-of-agent-spent"          // of one whose budget is used up
	ofNewAgent = "cap-of-agent-starting"
)

// town1 is the agents of a test.
type town1 struct {
	mu    sync.Mutex
	calls []town.ModelCall
	done  chan town.ModelCall
}

func newTown1() *town1 { return &town1{done: make(chan town.ModelCall, 1000)} }

func (a *town1) AdmitModelCall(capability string) (town.Agent, error) {
	switch capability {
	case ofAgent:
		return town.Agent{AgentID: "a1", BeadID: "bead-7"}, nil
	case ofSpender:
		return town.Agent{AgentID: "spent"}, fmt.Errorf("agent spent has used 2.50 USD of its 2.50 (limits.costUsd): %w", town.ErrBudget)
	case ofNewAgent:
		return town.Agent{}, fmt.Errorf("the agent is not ready: %w", town.ErrUnavailable)
	}
	return town.Agent{}, fmt.Errorf("no such capability: %w", town.ErrUnauthorized)
}

func (a *town1) ModelCalled(agentID string, call town.ModelCall) {
	a.mu.Lock()
	a.calls = append(a.calls, call)
	a.mu.Unlock()
	a.done <- call
}

// called waits for the next call to have ended.
func (a *town1) called(t *testing.T) town.ModelCall {
	t.Helper()
	select {
	case call := <-a.done:
		return call
	case <-time.After(10 * time.Second):
		t.Fatal("ModelCalled was not called")
		return town.ModelCall{}
	}
}

func (a *town1) none(t *testing.T) {
	t.Helper()
	select {
	case call := <-a.done:
		t.Errorf("ModelCalled with %+v", call)
	default:
	}
}

// logs is a log that a test reads.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fixture is a gateway on loopback.
type fixture struct {
	*Gateway
	url    string
	agents *town1
	logs   *logs
}

// open serves a gateway with those providers until the test ends. A provider
// without a key gets the canary.
func open(t *testing.T, providers ...Provider) *fixture {
	t.Helper()
	return openConfig(t, Config{Providers: providers})
}

func openConfig(t *testing.T, c Config) *fixture {
	t.Helper()
	f := &fixture{agents: newTown1(), logs: new(logs)}
	mux := http.NewServeMux()
	hs := httptest.NewServer(mux)
	for i := range c.Providers {
		if c.Providers[i].Key == "" {
			c.Providers[i].Key = canary
		}
	}
	c.URL, c.Log = hs.URL, slog.New(slog.NewJSONHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle(prefix, g.Handler(f.agents))
	f.Gateway, f.url = g, hs.URL
	t.Cleanup(func() {
		g.Close()
		hs.Close()
		if strings.Contains(f.logs.String(), canary) {
			t.Error("the canary key is in the log")
		}
		if strings.Contains(f.logs.String(), ofAgent) {
			t.Error("the agent's capability is in the log")
		}
	})
	return f
}

// upstream serves a provider until the test ends.
func upstream(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	hs := httptest.NewServer(h)
	t.Cleanup(func() { hs.CloseClientConnections(); hs.Close() })
	return hs.URL
}

// says is a provider that always answers that.
func says(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for name, value := range header {
			w.Header().Set(name, value)
		}
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// answer is what an agent got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// ask sends a request as an agent's CLI does.
func (f *fixture) ask(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", ofAgent)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	a := answer{resp.StatusCode, resp.Header, string(b), err}
	if all := fmt.Sprint(a); strings.Contains(all, canary) {
		t.Errorf("the agent sees the canary key: %s", all)
	}
	return a
}

// The path of a model call in each dialect.
var callPaths = map[town.Dialect]string{
	town.DialectAnthropic: "/v1/messages",
	town.DialectOpenAI:    "/chat/completions",
	town.DialectResponses: "/responses",
	town.DialectGemini:    "/v1beta/models/gemini-x:generateContent",
}

func path(provider string, d town.Dialect) string {
	return prefix + provider + "/" + string(d) + callPaths[d]
}

const messages = "/llm/claude/anthropic/v1/messages"
