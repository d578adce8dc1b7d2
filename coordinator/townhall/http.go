package townhall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"townd/api"
	"townd/api/wire"
	"townd/town"
)

// HandlerConfig is what Handler needs besides the hall. Authorize is required.
type HandlerConfig struct {
	Authorize func(*http.Request) error // who may call at all, as wire.Token.Authorize
	Mask      func(string) string       // takes secrets out of what callers are told; may be nil
	Log       *slog.Logger              // of requests and of what fails; slog.Default when nil
	Done      <-chan struct{}           // closed when the server goes away: calls that wait end; may be nil
}

// Handler returns the handler of the coordinator's calls, those of
// api/openapi.yaml under /api/towns/{townId}.
func (h *Hall) Handler(c HandlerConfig) http.Handler {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	f := &face{hall: h, cfg: c, router: wire.NewRouter()}
	f.live = wire.NewLive("status", func(ctx context.Context) (any, error) { return h.Status(ctx) }, h.Changed)
	for _, r := range f.routes() {
		methods := []string{r.method}
		if r.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		f.router.Handle(townPath+r.path, f.serve(r)).Methods(methods...)
	}
	f.router.NotFoundHandler = f.serve(route{handle: func(*request) (any, error) { return nil, wire.NoSuchPath() }})
	f.router.MethodNotAllowedHandler = f.serve(route{handle: func(c *request) (any, error) { return nil, wire.MethodNotAllowed(c.Request, f.router) }})
	return f.router
}

const townPath = "/api/towns/{townId}"

// face is the hall as HTTP.
type face struct {
	hall   *Hall
	cfg    HandlerConfig
	router *mux.Router
	live   *wire.Live // the status
}

// request is one call, with what was found out about it.
type request struct {
	*http.Request
	ids    map[string]string // of its path
	caller Caller
	params wire.Params
	data   []byte // its body
}

// serve makes the handler of one route: who calls, the call, its answer or error,
// one log line.
func (f *face) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec, began := &wire.Recorder{ResponseWriter: w}, time.Now()
		defer func() {
			rec.End()
			f.cfg.Log.Debug("request", "method", r.Method, "route", rt.path, "path", r.URL.Path, "status", rec.Status,
				"duration_ms", float64(time.Since(began).Microseconds())/1000, "bytes", rec.Bytes)
		}()
		defer wire.Recover(rec, r, f.cfg.Log)
		value, err := f.handle(rt, r)
		if err != nil {
			rec.Refuse(r, err, f.cfg.Mask, f.cfg.Log)
			return
		}
		wire.Answer(rec, value)
	})
}

func (f *face) handle(rt route, r *http.Request) (any, error) {
	if err := f.cfg.Authorize(r); err != nil {
		return nil, err
	}
	c := &request{Request: r, ids: map[string]string{}}
	for name, segment := range mux.Vars(r) {
		id, err := wire.PathID(name, segment)
		if err != nil {
			return nil, err
		}
		c.ids[name] = id
	}
	if id, ok := c.ids["townId"]; ok && id != f.hall.cfg.TownID {
		return nil, fmt.Errorf("town %q: this coordinator has another: %w", id, town.ErrNotFound)
	}
	if err := f.identify(c); err != nil {
		return nil, err
	}
	if err := rt.who.check(c); err != nil {
		return nil, err
	}
	if err := c.read(); err != nil {
		return nil, err
	}
	return rt.handle(c)
}

// identify finds out who calls.
func (f *face) identify(c *request) error {
	values := c.Header.Values(api.AgentHeader)
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 || town.CheckID(values[0]) != nil {
		return wire.BadParam(api.AgentHeader, "must be given once, an agent's id")
	}
	caller, err := f.hall.CallerOf(c.Context(), values[0])
	c.caller = caller
	return err
}

// read reads query and body, and puts the key into the context.
func (c *request) read() (err error) {
	if c.params, err = wire.ParseParams(c.Request); err != nil {
		return err
	}
	if c.Method == http.MethodGet || c.Method == http.MethodHead {
		return nil
	}
	if c.data, err = wire.ReadBody(c.Request); err != nil {
		return err
	}
	key, err := wire.IdempotencyKey(c.Request)
	if err != nil || key == "" || c.Method != http.MethodPost {
		return err
	}
	c.Request = c.WithContext(WithKey(c.Context(), key, c.fingerprint()))
	return nil
}

// fingerprint tells calls apart that have one key.
func (c *request) fingerprint() string {
	sum := sha256.Sum256(c.data)
	return strings.Join([]string{c.caller.AgentID, c.Method, c.URL.Path, hex.EncodeToString(sum[:])}, " ")
}

// handler answers one call.
type handler func(*request) (any, error)

// with makes a handler of fn, which takes a body.
func with[T any](fn func(c *request, req T) (any, error)) handler {
	return func(c *request) (any, error) {
		var req T
		ignored, err := wire.Decode(c.data, &req)
		if err != nil {
			return nil, err
		}
		value, err := fn(c, req)
		if err != nil {
			return nil, err
		}
		if reply, ok := value.(wire.Reply); ok {
			return wire.Reply{Status: reply.Status, Value: wire.WithIgnored(reply.Value, ignored)}, nil
		}
		return wire.WithIgnored(value, ignored), nil
	}
}

// withAny is with for a body that may be left out.
func withAny[T any](fn func(c *request, req T) (any, error)) handler {
	decoded := with(fn)
	return func(c *request) (any, error) {
		if len(c.data) == 0 {
			var none T
			return fn(c, none)
		}
		return decoded(c)
	}
}

// answerMade is the answer to a call that may make something: 201 when it did.
func answerMade(value any, created bool, err error) (any, error) {
	if err != nil || !created {
		return value, err
	}
	return wire.Reply{Status: http.StatusCreated, Value: value}, nil
}

// found is the answer to a call that found value.
func found[T any](value T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return value, nil
}

// list returns all, never null: lists are arrays on the wire.
func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// maxWait bounds how long a call waits: proxies give up after a minute.
const maxWait = 55 * time.Second

// wait returns how long a caller wants to wait.
func (c *request) wait(name string) (time.Duration, error) {
	n, err := c.params.Number(name, 0, int64(maxWait/time.Second), 0)
	return time.Duration(n) * time.Second, err
}

var errServerEnds = fmt.Errorf("the server goes away: %w", town.ErrUnavailable)

// waiting makes a call that waits, with a context that ends with the server too.
func (f *face) waiting(c *request, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(c.Context())
	defer cancel(nil)
	if f.cfg.Done != nil {
		go func() { // ends with the call
			select {
			case <-f.cfg.Done:
				cancel(errServerEnds)
			case <-ctx.Done():
			}
		}()
	}
	err := call(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errServerEnds) {
		return errServerEnds // whatever it broke
	}
	return err
}

// texts reads parameters into the strings they are for.
func (c *request) texts(into map[string]*string) error {
	for name, p := range into {
		value, err := c.params.One(name)
		if err != nil {
			return err
		}
		*p = value
	}
	return nil
}

// choice reads a parameter that is one of values, or absent.
func choice[S ~string](c *request, name string, values ...S) (S, error) {
	text, err := c.params.One(name)
	if err != nil || text == "" {
		return "", err
	}
	for _, v := range values {
		if string(v) == text {
			return v, nil
		}
	}
	return "", wire.BadParam(name, "%.40q must be one of %q", text, values)
}
