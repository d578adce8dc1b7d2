// Package worker_test holds the Worker against the coordinator's contract, in workerd.
package worker_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/api/conformance"
)

const (
	townID = "conformance"
	token  = "the-token-of-the-suite"
)

// worker is the Worker in workerd.
type worker struct {
	url string

	mu  sync.Mutex // of in and out
	in  io.WriteCloser
	out *bufio.Scanner
}

// serve runs the Worker until the test ends, against a container at that address.
func serve(t *testing.T, container string) *worker {
	t.Helper()
	node, err := filepath.Abs("node_modules/.bin/node")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{node, "node_modules/wrangler"} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("npm ci was not run in worker/: %v", err)
		}
	}
	cmd := exec.Command(node, "test/serve.mjs") // ends with its input
	cmd.Env = append(os.Environ(),
		"TOWNS="+townID, "TOWND_TOKEN="+token, "CONTAINER_SECRET=of-the-suite", "TOWN_CONTAINER_URL="+container, "MAX_AGENTS=50",
		"WRANGLER_SEND_METRICS=false", "CI=true")
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &worker{in: in, out: bufio.NewScanner(out)}
	t.Cleanup(func() {
		_ = in.Close()
		for w.out.Scan() { // to its end, before Wait closes it
		}
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("the Worker ended with %v and said:\n%s", err, said.String())
		}
	})
	w.url = strings.TrimRight(w.read(t, "http://"), "/")
	return w
}

// read returns the next line that the Worker's server says with that beginning.
func (w *worker) read(t *testing.T, begin string) string {
	t.Helper()
	for w.out.Scan() {
		if line := w.out.Text(); strings.HasPrefix(line, begin) {
			return line
		}
	}
	t.Fatalf("the Worker's server ended without %q: %v", begin, w.out.Err())
	return ""
}

// evict takes the town's object out of memory, as Cloudflare does when it likes to.
func (w *worker) evict(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := fmt.Fprintln(w.in, "evict", townID); err != nil {
		t.Fatal(err)
	}
	w.read(t, "evicted")
}

// advance moves the town's clock on.
func (w *worker) advance(t *testing.T, d time.Duration) {
	t.Helper()
	url := fmt.Sprintf("%s/advance?town=%s&milliseconds=%d", w.url, townID, d.Milliseconds())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func newTarget(t *testing.T) (*worker, conformance.Target) {
	t.Helper()
	box := conformance.NewContainer(token)
	server := httptest.NewServer(box)
	t.Cleanup(server.Close)
	w := serve(t, server.URL)
	return w, conformance.Target{
		BaseURL: w.url, TownID: townID, Token: token, Container: box, Patience: 30 * time.Second,
		Advance: func(d time.Duration) { w.advance(t, d) },
	}
}

func TestWorkerConformsToTheContract(t *testing.T) {
	_, target := newTarget(t)
	conformance.Run(t, target)
}
