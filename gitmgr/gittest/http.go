package gittest

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// Fault is what an HTTP remote does instead of serving.
type Fault int32

// The faults of a remote.
const (
	Serve        Fault = iota // none
	Hang                      // accepts and never answers
	Stall                     // sends the beginning of the pack and then nothing
	Reset                     // sends the beginning of the pack and cuts the connection
	Unauthorized              // 401, although credentials may be right
	Forbidden                 // 403
	NotFound                  // 404
	Broken                    // 500
	Busy                      // 429
	Swallow                   // once: does what is asked, and cuts the connection in place of the answer
)

// HTTP serves a Remote by the smart HTTP protocol.
type HTTP struct {
	URL      string        // of the repository
	Reached  chan struct{} // receives when a request meets a fault; not waited for
	requests atomic.Int64
	fault    atomic.Int32
	push     atomic.Int32
	most     atomic.Int64 // requests that meet fault; 0 for all
	server   *httptest.Server
	closing  chan struct{}
}

// ServeHTTP serves r until the test ends, to anyone, or only to user with
// password when user is not empty.
func (r *Remote) ServeHTTP(user, password string) *HTTP {
	r.t.Helper()
	h := &HTTP{Reached: make(chan struct{}, 1), closing: make(chan struct{})}
	backend := &cgi.Handler{
		Path: filepath.Join(run(r.t, "", nil, "--exec-path"), "git-http-backend"),
		Env: append(Env(), "GIT_PROJECT_ROOT="+filepath.Dir(r.Path), "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.receivepack", "GIT_CONFIG_VALUE_0=true"),
		Stderr: testWriter{r.t, "http-backend"},
	}
	h.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h.requests.Add(1)
		if u, p, _ := req.BasicAuth(); user != "" && (u != user || p != password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		if req.ContentLength < 0 { // CGI has no chunks
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			req.Body, req.ContentLength, req.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		}
		h.serve(w, req, backend)
	}))
	r.t.Cleanup(h.close)
	h.URL = h.server.URL + "/" + filepath.Base(r.Path)
	return h
}

// Set makes every later request meet f.
func (h *HTTP) Set(f Fault) { h.fault.Store(int32(f)) }

// SetFor makes the next n requests meet f.
func (h *HTTP) SetFor(f Fault, n int64) {
	h.most.Store(n)
	h.Set(f)
}

// SetPush makes every later push meet f, after Set's.
func (h *HTTP) SetPush(f Fault) { h.push.Store(int32(f)) }

// Requests returns how many requests came in.
func (h *HTTP) Requests() int64 { return h.requests.Load() }

// Handler returns what serves the repository, for a server of the test's own.
func (h *HTTP) Handler() http.Handler { return h.server.Config.Handler }

// URLWith returns the URL with credentials in it, as no town should have it.
func (h *HTTP) URLWith(user, password string) string {
	return strings.Replace(h.URL, "http://", "http://"+user+":"+password+"@", 1)
}

func (h *HTTP) close() {
	close(h.closing)
	h.server.CloseClientConnections()
	h.server.Close()
}

func (h *HTTP) serve(w http.ResponseWriter, req *http.Request, backend http.Handler) {
	f := Fault(h.fault.Load())
	if f == Serve && strings.HasSuffix(req.URL.Path, "/git-receive-pack") {
		f = Fault(h.push.Load())
	}
	if f == Swallow {
		h.push.Store(int32(Serve))
		backend.ServeHTTP(&cutter{ResponseWriter: w, cut: func() { h.cut(w, req, Reset) }}, req)
		return
	}
	if f == Stall || f == Reset {
		backend.ServeHTTP(&cutter{ResponseWriter: w, left: cutBytes, cut: func() { h.cut(w, req, f) }}, req)
		return
	}
	if f == Serve {
		backend.ServeHTTP(w, req)
		return
	}
	if h.most.Add(-1) == 0 {
		h.Set(Serve)
	}
	h.reached()
	switch f {
	case Hang:
		h.hold(req)
	case Unauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "unauthorized", http.StatusUnauthorized)
	case Forbidden:
		http.Error(w, "forbidden", http.StatusForbidden)
	case NotFound:
		http.Error(w, "not found", http.StatusNotFound)
	case Busy:
		http.Error(w, "busy", http.StatusTooManyRequests)
	case Serve, Stall, Reset, Broken, Swallow:
		http.Error(w, "broken", http.StatusInternalServerError)
	}
}

// cutBytes is where Stall and Reset begin: beyond a list of refs, within a pack.
const cutBytes = 4096

// cut ends or holds an answer that has begun.
func (h *HTTP) cut(w http.ResponseWriter, req *http.Request, f Fault) {
	_ = http.NewResponseController(w).Flush() // the client may be gone
	h.reached()
	if f == Stall {
		h.hold(req)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, not an end
	}
	_ = conn.Close()
}

func (h *HTTP) reached() {
	select {
	case h.Reached <- struct{}{}:
	default:
	}
}

// hold waits until the client or the server gives up.
func (h *HTTP) hold(req *http.Request) {
	select {
	case <-req.Context().Done():
	case <-h.closing:
	}
}

// cutter passes an answer's first bytes on, calls cut once, and drops the rest.
type cutter struct {
	http.ResponseWriter
	left int
	cut  func()
}

func (c *cutter) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	if n > 0 {
		if _, err := c.ResponseWriter.Write(p[:n]); err != nil {
			return 0, err
		}
		c.left -= n
	}
	if c.left == 0 && c.cut != nil {
		cut := c.cut
		c.cut = nil
		cut()
	}
	return len(p), nil
}

type testWriter struct {
	t    testing.TB
	name string // who says it
}

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s: %s", w.name, p)
	return len(p), nil
}
