package driver

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/town"
)

// cutter breaks every connection to the events off after so many bytes.
type cutter struct {
	http.RoundTripper
	bytes int64
	mu    sync.Mutex
	cuts  int
}

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(r)
	if err == nil && r.URL.Path == "/event" {
		c.mu.Lock()
		c.cuts++
		c.mu.Unlock()
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, c.bytes), answer.Body}
	}
	return answer, err
}

// listener decodes a driver's output as the town would.
type listener struct {
	t       *testing.T
	mu      sync.Mutex
	decoder agentcli.Decoder
	output  bytes.Buffer
	events  []agentcli.Decoded
	changed chan struct{}
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decoder.Decode(p, int64(l.output.Len()), func(d agentcli.Decoded) { l.events = append(l.events, d) })
	close(l.changed)
	l.changed = make(chan struct{})
	return l.output.Write(p)
}

// wait returns when n events of a kind have come.
func (l *listener) wait(kind town.EventType, n int) {
	l.t.Helper()
	for timeout := time.After(5 * time.Minute); ; {
		l.mu.Lock()
		count, changed := l.count(kind), l.changed
		l.mu.Unlock()
		if count >= n {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			l.t.Fatalf("%d of %d %s events; output:\n%s", count, n, kind, l.output.String())
		}
	}
}

func (l *listener) count(kind town.EventType) int {
	n := 0
	for _, e := range l.events {
		if e.Event == kind {
			n++
		}
	}
	return n
}

// openCode starts a real server for a conversation, in a home and a repository of
// its own.
func openCode(t *testing.T, url string) (*server, Options, *listener, io.WriteCloser) {
	t.Helper()
	program := llmtest.Program(t, "opencode")
	home := t.TempDir()
	t.Chdir(t.TempDir())
	cli, err := agentcli.Lookup("opencode")
	if err != nil {
		t.Fatal(err)
	}
	launch, err := cli.Launch(agentcli.Spec{
		Workdir: ".", Home: home, Townd: "/townd", LookPath: func(string) (string, error) { return program, nil }, Env: llmtest.OpenCodeEnv(url),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range launch.Env {
		t.Setenv(name, value)
	}
	for _, f := range launch.Files {
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Path, f.Data, f.Mode); err != nil {
			t.Fatal(err)
		}
	}
	in, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	l := &listener{t: t, decoder: cli.NewDecoder(), changed: make(chan struct{})}
	o := Options{Program: program, Model: llmtest.KiloModel, In: in, Out: l}
	s, err := startServer(o, "OPENCODE_")
	if err != nil {
		t.Fatal(err)
	}
	return s, o, l, w
}

// begin begins a conversation, and returns what gets its exit code.
func begin(t *testing.T, s *server, o Options) <-chan int {
	done := make(chan int, 1)
	go func() {
		code, err := converse(t.Context(), s, o, &output{w: o.Out})
		if err != nil {
			t.Error(err)
		}
		done <- code
	}()
	return done
}

func say(t *testing.T, w io.Writer, d agentcli.DriverInput) {
	t.Helper()
	if err := json.NewEncoder(w).Encode(d); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsLostWhenTheEventsBreakOff, and nothing is told twice: each
// connection to the events lasts for some of them.
func TestNothingIsLostWhenTheEventsBreakOff(t *testing.T) {
	_, url := llmtest.Serve(t, nil)
	s, o, l, in := openCode(t, url)
	cut := &cutter{RoundTripper: s.client.Transport, bytes: 3000}
	s.client.Transport = cut
	done := begin(t, s, o)
	for i, id := range []string{"m1", "m2"} {
		say(t, in, agentcli.DriverInput{Type: agentcli.DriverMessage, ID: id, Text: "write the file"})
		l.wait(town.EventTurnEnded, i+1)
	}
	in.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if cut.cuts < 4 {
		t.Errorf("%d connections: the test is none", cut.cuts)
	}
	for kind, want := range map[town.EventType]int{
		town.EventTurnStarted: 2, town.EventToolCall: 2, town.EventToolResult: 2, town.EventUsage: 4, town.EventText: 4,
		town.EventMessage: 4, town.EventError: 0, town.EventTurnEnded: 2,
	} {
		if got := l.count(kind); got != want {
			t.Errorf("%d events %s, want %d; output:\n%s", got, kind, want, l.output.String())
		}
	}
}

// TestAMessageIsAnsweredWheneverItComes: just as a turn fails, when OpenCode keeps
// it but goes to rest, and after one that was interrupted before it began.
func TestAMessageIsAnsweredWheneverItComes(t *testing.T) {
	model, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
		switch {
		case strings.Contains(r.Last().Text, "fail"):
			return llmtest.Step{Status: 401}
		case strings.Contains(r.Last().Text, "never"):
			return llmtest.Step{Hang: true}
		}
		return llmtest.Step{Text: "Yes."}
	})
	s, o, l, in := openCode(t, url)
	done := begin(t, s, o)
	say(t, in, agentcli.DriverInput{Type: agentcli.DriverMessage, ID: "m1", Text: "fail"})
	l.wait(town.EventError, 1)
	say(t, in, agentcli.DriverInput{Type: agentcli.DriverMessage, ID: "m2", Text: "hello"})
	l.wait(town.EventText, 1)
	l.wait(town.EventTurnEnded, 2)
	say(t, in, agentcli.DriverInput{Type: agentcli.DriverMessage, ID: "m3", Text: "never"})
	say(t, in, agentcli.DriverInput{Type: agentcli.DriverInterrupt})
	l.wait(town.EventTurnEnded, 3)
	say(t, in, agentcli.DriverInput{Type: agentcli.DriverMessage, Text: "hello again"})
	l.wait(town.EventText, 2)
	in.Close()
	<-done
	if last := model.Requests()[len(model.Requests())-1].Last(); !strings.Contains(last.Text, "hello again") {
		t.Errorf("the last request is %q", last.Text)
	}
}

// TestAServerThatDoesNotStartIsToldWithItsLastWords, and its exit code is ours.
func TestAServerThatDoesNotStartIsToldWithItsLastWords(t *testing.T) {
	var out bytes.Buffer
	o := Options{Program: "/bin/sh", Args: []string{"-c", "echo the disk is full >&2; exit 3"}, In: strings.NewReader(""), Out: &out}
	code, err := Run(t.Context(), "kilo", o)
	var said agentcli.DriverOutput
	if err != nil || code != 3 || json.Unmarshal(out.Bytes(), &said) != nil {
		t.Fatalf("code %d, %v, output %q", code, err, out.Bytes())
	}
	if said.Townd != agentcli.DriverFault || said.Kind != string(town.KindCrashed) || !strings.Contains(said.Message, "the disk is full") {
		t.Errorf("%+v", said)
	}
	o.Program = "/nonexistent"
	out.Reset()
	if code, err := Run(t.Context(), "kilo", o); err != nil || code != 1 || !strings.Contains(out.String(), "no such file") {
		t.Errorf("code %d, %v, output %q", code, err, out.String())
	}
}
