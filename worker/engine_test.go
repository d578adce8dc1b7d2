package worker_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"townd/supervisor/agenttest"
)

// engine is what workerd asks for containers: it speaks as much of Docker's API as
// workerd needs, and its only container is a townd, a process without an image.
type engine struct {
	socket    string
	container *container
	sidecar   string // the address of what workerd reaches containers through

	mu      sync.Mutex // guards created, and the container's fields
	created bool
}

func newEngine(t *testing.T, c *container) *engine {
	t.Helper()
	e := &engine{socket: filepath.Join(agenttest.Home(t), "engine.sock"), container: c}
	l, err := net.Listen("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: e.routes()}}
	server.Start()
	sidecar := httptest.NewServer(http.HandlerFunc(e.reach))
	e.sidecar = sidecar.Listener.Addr().String()
	t.Cleanup(func() {
		sidecar.CloseClientConnections()
		sidecar.Close()
		server.CloseClientConnections()
		server.Close()
	})
	return e
}

func (e *engine) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusNotFound, map[string]any{"message": "none"})
	})
	mux.HandleFunc("GET /networks/bridge", func(w http.ResponseWriter, _ *http.Request) {
		subnet := map[string]any{"Subnet": "127.0.0.0/8", "Gateway": "127.0.0.1"}
		say(w, http.StatusOK, map[string]any{"IPAM": map[string]any{"Config": []any{subnet}}})
	})
	mux.HandleFunc("POST /containers/create", e.create)
	mux.HandleFunc("POST /containers/{name}/start", e.start)
	mux.HandleFunc("GET /containers/{name}/json", e.inspect)
	mux.HandleFunc("POST /containers/{name}/wait", e.wait)
	mux.HandleFunc("POST /containers/{name}/kill", e.kill)
	return mux
}

func say(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked may be gone
}

func isSidecar(r *http.Request) bool {
	return strings.HasSuffix(r.PathValue("name")+r.FormValue("name"), "-proxy")
}

func (e *engine) create(w http.ResponseWriter, r *http.Request) {
	var body struct{ Env []string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		say(w, http.StatusBadRequest, map[string]any{"message": err.Error()})
		return
	}
	if !isSidecar(r) {
		_, port, _ := net.SplitHostPort(e.container.address)
		e.mu.Lock()
		e.created, e.container.env = true, append(body.Env, "TOWND_LISTEN=0.0.0.0:"+port) // as the image's
		e.mu.Unlock()
	}
	say(w, http.StatusCreated, map[string]any{"Id": "it", "Warnings": []string{}})
}

func (e *engine) start(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !isSidecar(r) {
		if err := e.container.launch(""); err != nil { // its coordinator is in the environment that it was made with
			say(w, http.StatusInternalServerError, map[string]any{"message": err.Error()})
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (e *engine) inspect(w http.ResponseWriter, r *http.Request) {
	_, port, _ := net.SplitHostPort(e.sidecar)
	ports := map[string]any{"39001/tcp": []any{map[string]any{"HostIp": "127.0.0.1", "HostPort": port}}}
	if !isSidecar(r) && !e.running() {
		say(w, http.StatusNotFound, map[string]any{"message": "none"})
		return
	}
	say(w, http.StatusOK, map[string]any{
		"Id": "it", "State": map[string]any{"Running": true, "Status": "running"}, "NetworkSettings": map[string]any{"Ports": ports},
	})
}

// running reports whether there is a container that has not ended.
func (e *engine) running() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.container.ended:
		return false
	default:
		return e.container.ended != nil
	}
}

// everCreated reports whether a container was ever asked for.
func (e *engine) everCreated() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.created
}

func (e *engine) wait(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	server, ended := e.container.server, e.container.ended
	e.mu.Unlock()
	select {
	case <-ended:
		say(w, http.StatusOK, map[string]any{"StatusCode": server.ProcessState.ExitCode()})
	case <-r.Context().Done():
	}
}

func (e *engine) kill(w http.ResponseWriter, r *http.Request) {
	signal := syscall.SIGKILL
	if strings.Contains("SIGTERM 15", r.FormValue("signal")) {
		signal = syscall.SIGTERM
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.container.server.Process.Signal(signal) // it may be gone
	w.WriteHeader(http.StatusNoContent)
}

// reach is the sidecar: a connection to a port of the container is asked for by CONNECT.
func (e *engine) reach(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		return // what the container may reach
	}
	there, err := net.Dial("tcp", e.container.address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(there, buffered)
		_ = there.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(here, there) // until the container closes it
}
