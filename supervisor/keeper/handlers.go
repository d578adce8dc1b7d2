package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"townd/town"
)

// handler returns every route of the keeper.
func (k *keeper) handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range []struct {
		pattern string
		handle  func(*http.Request) (any, error)
	}{
		{"GET /hello", k.hello},
		{"GET /runs", k.listRuns},
		{"POST /runs", k.spawnRun},
		{"POST /runs/{run}/input", k.writeInput},
		{"POST /runs/{run}/close-input", k.closeInput},
		{"GET /runs/{run}/terminal", k.terminalState},
		{"POST /runs/{run}/take-back", k.takeBack},
		{"POST /runs/{run}/signal", k.signalRun},
		{"POST /runs/{run}/resize", k.resizeRun},
		{"POST /runs/{run}/end", k.endRun},
		{"DELETE /runs/{run}", k.forgetRun},
		{"POST /shutdown", k.shutdown},
	} {
		mux.Handle(route.pattern, k.answer(route.handle))
	}
	mux.HandleFunc("GET /watch", k.watch)
	return k.sameProtocol(mux)
}

// sameProtocol refuses clients of another protocol and tells each whom it talks to.
func (k *keeper) sameProtocol(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Set(headerProtocol, strconv.Itoa(k.info.Protocol))
		h.Set(headerVersion, k.info.Version)
		h.Set(headerPID, strconv.Itoa(k.info.PID))
		if req.Header.Get(headerProtocol) != strconv.Itoa(k.info.Protocol) {
			w.WriteHeader(statusVersion)
			return
		}
		req.Body = http.MaxBytesReader(w, req.Body, maxBodyBytes)
		next.ServeHTTP(w, req)
	})
}

// answer writes what a handler returns.
func (k *keeper) answer(handle func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		status := http.StatusOK
		out, err := handle(req)
		if err != nil {
			status, out = encodeError(err)
			if status == http.StatusInternalServerError {
				k.log.Error("request failed", "method", req.Method, "path", req.URL.Path, "error", err)
			}
		}
		body, err := marshal(out)
		if err != nil {
			k.log.Error("answer not encoded", "path", req.URL.Path, "error", err)
			status, body = http.StatusInternalServerError, nil
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body) // a client that is gone has the answer of a later call
	})
}

// decode reads a JSON body into v.
func decode(req *http.Request, v any) error {
	err := json.NewDecoder(req.Body).Decode(v)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("body is over %d bytes: %w", tooLarge.Limit, town.ErrTooLarge)
	}
	if err != nil {
		return fmt.Errorf("body: %v: %w", err, town.ErrInvalid)
	}
	return nil
}

func (k *keeper) target(req *http.Request) (*run, error) { return k.runs.get(req.PathValue("run")) }

func (k *keeper) hello(*http.Request) (any, error) {
	info := k.info
	free, err := freeBytes(k.dir)
	if err != nil {
		return nil, err
	}
	info.FreeBytes = free
	info.Escalations = k.runs.warden.escalations()
	return info, nil
}

func (k *keeper) listRuns(*http.Request) (any, error) {
	// A client that starts over asks what its predecessor has started, also with
	// the very last call of its life.
	k.runs.settled()
	list := []Run{}
	for _, r := range k.runs.list() {
		list = append(list, r.snapshot())
	}
	return list, nil
}

func (k *keeper) spawnRun(req *http.Request) (any, error) {
	var s Spawn
	if err := decode(req, &s); err != nil {
		return nil, err
	}
	return k.runs.start(s)
}

func (k *keeper) writeInput(req *http.Request) (any, error) {
	r, err := k.target(req)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(io.LimitReader(req.Body, MaxInputBytes+1))
	if err != nil {
		return nil, fmt.Errorf("body: %v: %w", err, town.ErrInvalid)
	}
	if len(p) > MaxInputBytes {
		return nil, fmt.Errorf("input is over %d bytes: %w", MaxInputBytes, town.ErrTooLarge)
	}
	ctx := req.Context()
	if text := req.Header.Get(headerTimeout); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 0 || ms > maxGrace.Milliseconds() {
			return nil, fmt.Errorf("%s must be 0 to %d, not %q: %w", headerTimeout, maxGrace.Milliseconds(), text, town.ErrInvalid)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	id := req.URL.Query().Get("id")
	if len(id) > 256 {
		return nil, fmt.Errorf("id is %d bytes, the most is 256: %w", len(id), town.ErrInvalid)
	}
	if r.isOver() {
		return nil, fmt.Errorf("run %s has ended: %w", r.spawn.Run, town.ErrConflict)
	}
	return struct{}{}, r.input.write(ctx, id, p)
}

func (k *keeper) closeInput(req *http.Request) (any, error) {
	r, err := k.target(req)
	if err != nil {
		return nil, err
	}
	return struct{}{}, r.input.finish(req.Context())
}

// stateTimeout bounds how long an input under way, or a full disk, may delay what
// is told of a terminal.
const stateTimeout = 2 * time.Second

func (k *keeper) terminalState(req *http.Request) (any, error) {
	r, err := k.target(req)
	if err != nil {
		return nil, err
	}
	if r.isOver() {
		return nil, fmt.Errorf("run %s has ended: %w", r.spawn.Run, town.ErrConflict)
	}
	ctx, cancel := context.WithTimeout(req.Context(), stateTimeout)
	defer cancel()
	return r.input.state(ctx, r.snapshot().PID, req.URL.Query().Get("id"))
}

// takenBack is the answer to take-back.
type takenBack struct {
	Bytes []byte `json:"bytes"`
}

func (k *keeper) takeBack(req *http.Request) (any, error) {
	r, err := k.target(req)
	if err != nil {
		return nil, err
	}
	if r.isOver() {
		return nil, fmt.Errorf("run %s has ended: %w", r.spawn.Run, town.ErrConflict)
	}
	p, err := r.input.takeBack(req.Context())
	return takenBack{p}, err
}

func (k *keeper) signalRun(req *http.Request) (any, error) {
	r, err := k.target(req)
	if err != nil {
		return nil, err
	}
	var in signalRequest
	if err := decode(req, &in); err != nil {
		return nil, err
	}
	if !validSignal(in.Signal) {
		return nil, fmt.Errorf("signal %d must be 1 to 64: %w", in.Signal, town.ErrInvalid)
	}
	return struct{}{}, k.runs.signal(r, in.Signal)
}

func validSignal(sig syscall.Signal) bool { return sig >= 1 && sig <= 64 }

func (k *keeper) resizeRun(req *http.Request) (any, error) {
	r, err := k.target(req)
	if err != nil {
		return nil, err
	}
	var in resizeRequest
	if err := decode(req, &in); err != nil {
		return nil, err
	}
	if err := town.CheckTerminalSize(in.Cols, in.Rows); err != nil {
		return nil, err
	}
	return struct{}{}, r.resize(in.Cols, in.Rows)
}

func (k *keeper) endRun(req *http.Request) (any, error) {
	r, err := k.target(req)
	if err != nil {
		return nil, err
	}
	var e End
	if err := decode(req, &e); err != nil {
		return nil, err
	}
	if e.Signal == 0 {
		e.Signal = syscall.SIGTERM
	}
	if !validSignal(e.Signal) || e.Grace < 0 || e.Grace > maxGrace {
		return nil, fmt.Errorf("signal %d must be 1 to 64 and grace %v 0 to %v: %w", e.Signal, e.Grace, maxGrace, town.ErrInvalid)
	}
	k.runs.warden.end(r, e)
	select {
	case <-r.over:
		return *r.snapshot().Exit, nil
	case <-req.Context().Done():
		return nil, fmt.Errorf("run %s is still ending: %w", r.spawn.Run, town.ErrUnavailable)
	}
}

func (k *keeper) forgetRun(req *http.Request) (any, error) {
	return struct{}{}, k.runs.forget(req.PathValue("run"))
}

func (k *keeper) shutdown(*http.Request) (any, error) {
	k.runs.close()
	k.life.end()
	return struct{}{}, nil
}

// watch streams updates until the client or the keeper goes away.
func (k *keeper) watch(w http.ResponseWriter, req *http.Request) {
	watcher := k.runs.watchers.add()
	if watcher == nil {
		k.answer(func(*http.Request) (any, error) {
			return nil, &town.CapacityError{What: fmt.Sprintf("%d clients watch already", maxWatchers), RetryAfter: time.Second}
		}).ServeHTTP(w, req)
		return
	}
	defer k.runs.watchers.remove(watcher)
	for _, r := range k.runs.list() {
		watcher.changed(r, false)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	watcher.tell(req.Context(), w, http.NewResponseController(w).Flush)
}
