// Package worker_test holds the Worker against the coordinator's contract, in workerd.
package worker_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"townd/api/conformance"
)

const (
	townID = "conformance"
	token  = "the-token-of-the-suite"
)

// worker is the Worker in workerd.
type worker struct{ url string }

// serve runs the Worker until the test ends, against a container at that address, with
// other variables than those of a suite.
func serve(t *testing.T, container string, variables ...string) *worker {
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
		"WRANGLER_SEND_METRICS=false", "CI=true", "TOWND_TEST_LOGS=1")
	cmd.Env = append(cmd.Env, variables...) // the last of a name counts
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
	lines := bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = in.Close()
		for lines.Scan() { // to its end, before Wait closes it
		}
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("the Worker ended with %v and said:\n%s", err, said.String())
		}
	})
	for lines.Scan() {
		if url := lines.Text(); strings.HasPrefix(url, "http://") {
			return &worker{url: strings.TrimRight(url, "/")}
		}
	}
	t.Fatalf("the Worker does not serve: %v", lines.Err())
	return nil
}

// control makes a call of test/harness.ts on the town.
func (w *worker) control(t *testing.T, path string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, w.url+path+"town="+townID, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s is answered %s", path, resp.Status)
	}
}

// advance moves the town's clock on.
func (w *worker) advance(t *testing.T, d time.Duration) {
	t.Helper()
	w.control(t, fmt.Sprintf("/advance?milliseconds=%d&", d.Milliseconds()))
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

// forgetful ends the town's object before every few calls, as a machine of Cloudflare
// that goes away; not while others are under way, which would fail.
type forgetful struct {
	t     *testing.T
	w     *worker
	calls atomic.Int64
	busy  sync.RWMutex // held by calls
	calm  atomic.Bool  // it goes on for now
}

// askedAgain is the case in which it goes on: a town that begins again has an agent of an
// older generation started anew, and then there is none that could fail to renew.
const askedAgain = "a heartbeat of another generation renews no lease"

func (f *forgetful) RoundTrip(req *http.Request) (*http.Response, error) {
	if f.calls.Add(1)%5 == 0 && !f.calm.Load() && f.busy.TryLock() {
		f.w.control(f.t, "/abort?")
		f.busy.Unlock()
	}
	f.busy.RLock()
	defer f.busy.RUnlock()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp, err // a stream ends with its reader
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return resp, err
}

// The town's object holds nothing but what it can read again: it may end between any
// two calls, and while it calls the container.
func TestWorkerConformsWhileItsObjectEndsAgainAndAgain(t *testing.T) {
	w, target := newTarget(t)
	f := &forgetful{t: t, w: w}
	target.Transport = f
	for _, c := range conformance.Cases() {
		t.Run(strings.ReplaceAll(c.Name, " ", "_"), func(t *testing.T) {
			f.calm.Store(c.Name == askedAgain)
			for _, f := range c.Run(t.Context(), target).Failures {
				t.Error(f)
			}
		})
	}
}
