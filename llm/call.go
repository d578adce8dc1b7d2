package llm

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"townd/town"
)

// MaxBodyBytes is the most that a request may hold: what providers take.
const MaxBodyBytes = 32 << 20

// Handler returns what serves the paths below /llm/, of which it sees the whole.
// It needs a ResponseWriter that flushes.
func (g *Gateway) Handler(agents Agents) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{g: g, agents: agents, w: w, r: r, began: time.Now()}
		c.asked, c.dialect, c.rest = splitPath(r.URL)
		if !g.begin() {
			writeFault(w, c.dialect, fault{status: http.StatusServiceUnavailable, message: "the town is ending", retryAfter: 5 * time.Second})
			return
		}
		defer g.calls.Done()
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		control := http.NewResponseController(w)
		defer context.AfterFunc(g.ctx, func() {
			cancel(context.Cause(g.ctx))
			past := time.Unix(1, 0) // a client that neither sends nor reads holds nobody up
			_ = errors.Join(control.SetReadDeadline(past), control.SetWriteDeadline(past))
		})()
		c.ctx = ctx
		if f := c.serve(); f != nil {
			// A client that is still sending would not see an answer before its connection ends.
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, MaxBodyBytes))
			writeFault(w, c.dialect, *f)
		}
	})
}

// call is one request of an agent while it is being answered.
type call struct {
	g       *Gateway
	agents  Agents
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context // ends when the agent leaves or the gateway closes
	began   time.Time
	asked   string // the provider's name
	dialect town.Dialect
	rest    string // of the path

	agent town.Agent
	key   string // the agent's capability
	op    operation
	ask   ask
	body  []byte
}

// fault is an answer of our own.
type fault struct {
	status     int
	message    string
	retryAfter time.Duration
	budget     bool // a budget is used up, whatever the status
}

// serve answers the request, or returns what is wrong with it.
func (c *call) serve() *fault {
	c.key = capability(c.r)
	agent, err := c.agents.AdmitModelCall(c.key)
	if err != nil {
		return c.refuse(agent, err)
	}
	c.agent = agent
	p := c.g.provider(c.asked)
	if p == nil || p.dialects[c.dialect] == nil {
		return &fault{status: http.StatusNotFound, message: "there is no such model provider here; there are: " + c.g.names()}
	}
	op, ok := findOperation(c.dialect, c.rest)
	switch {
	case !ok:
		return &fault{status: http.StatusNotFound, message: "the town's gateway passes on calls of models only"}
	case c.r.Method != op.method || c.r.Header.Get("Upgrade") != "":
		c.w.Header().Set("Allow", op.method)
		return &fault{status: http.StatusMethodNotAllowed, message: "this path is for " + op.method + " only"}
	}
	c.op = op
	if op.method == http.MethodPost {
		if f := c.readBody(); f != nil {
			return f
		}
	}
	return c.answer(p)
}

// refuse says why an agent may not call.
func (c *call) refuse(agent town.Agent, err error) *fault {
	status := town.HTTPStatus(err)
	c.g.log.Warn("model call refused", "agent", agent.AgentID, "provider", c.asked, "status", status, "reason", c.g.mask.text(err.Error()))
	switch {
	case errors.Is(err, town.ErrBudget):
		if c.dialect == town.DialectResponses {
			status = http.StatusBadRequest // Codex tries again after every other one (0.169.0, measured)
		}
		return &fault{status: status, budget: true, message: err.Error() + ": no more calls of a model are passed on. Do not try again; the limit must be raised first"}
	case errors.Is(err, town.ErrUnauthorized):
		return &fault{status: status, message: "this is no key of a living agent of this town"}
	case status == http.StatusInternalServerError:
		return &fault{status: status, message: "internal error"}
	}
	return &fault{status: status, message: err.Error()}
}

func (g *Gateway) names() string {
	if len(g.providers) == 0 {
		return "none"
	}
	var names []string
	for _, p := range g.providers {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

func (c *call) readBody() *fault {
	if enc := c.r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return &fault{status: http.StatusUnsupportedMediaType, message: "a body must not be compressed"}
	}
	arriving := http.MaxBytesReader(c.w, c.r.Body, MaxBodyBytes)
	body := make([]byte, 0, min(max(c.r.ContentLength, 0), MaxBodyBytes)+bytes.MinRead)
	asking := newAsking()
	for {
		n, err := arriving.Read(body[len(body):cap(body)])
		asking.scan.feed(body[len(body) : len(body)+n])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return &fault{status: http.StatusRequestEntityTooLarge, message: fmt.Sprintf("a body has at most %d bytes", MaxBodyBytes)}
		} else if err != nil {
			return &fault{status: http.StatusBadRequest, message: "the body did not arrive"}
		}
		if len(body) == cap(body) {
			body = slices.Grow(body, len(body))
		}
	}
	ask, err := asking.end(body)
	if err != nil {
		return &fault{status: http.StatusBadRequest, message: err.Error()}
	}
	c.body, c.ask = body, ask
	if c.op.model != "" {
		c.ask.model = c.op.model
	}
	return nil
}

// target is a provider that may answer, and the model that it is asked for.
type target struct {
	*provider
	at    *dialectOf
	model string
	tried bool
}

// targets are those that may answer, the one that was asked first.
func (c *call) targets(p *provider) []target {
	at := p.dialects[c.dialect]
	all := []target{{provider: p, at: at, model: at.model(c.ask.model)}}
	if c.op.free || c.ask.model == "" {
		return all
	}
	for _, other := range c.g.providers {
		if d := other.dialects[c.dialect]; d != nil && other != p {
			if model := d.standIn(c.ask.model, at); model != "" {
				all = append(all, target{provider: other, at: d, model: model})
			}
		}
	}
	return all
}

// answer asks one provider after the other until one has answered, and passes
// that on, or else the failure that leaves most hope.
func (c *call) answer(p *provider) *fault {
	targets := c.targets(p)
	if targets[0].model == "" && c.ask.model != "" {
		return &fault{status: http.StatusBadRequest, message: "the town's settings name no model for " + c.ask.model + " at " + p.name}
	}
	if c.op.free {
		if f := c.attempt(&targets[0], 1); f != nil {
			return f.write(c)
		}
		return nil
	}
	var shown *failure
	attempts, closed := 0, time.Duration(0)
	for _, soft := range []bool{false, true} { // those that rest are asked when nobody else is left
		for i := range targets {
			t := &targets[i]
			if t.tried {
				continue
			}
			if v := c.g.quota.check(t.name, t.model); !v.open && !v.soft {
				closed = cmp.Or(min(closed, v.wait), v.wait)
				continue
			} else if !v.open && !soft {
				continue
			}
			t.tried = true
			attempts++
			f := c.attempt(t, attempts)
			switch {
			case f == nil:
				return nil
			case !another(f.call.Kind):
				return c.give(f)
			case shown == nil || passing(f.call.Kind) && !passing(shown.call.Kind):
				shown = f
			}
		}
	}
	if shown == nil || closed > 0 && !passing(shown.call.Kind) {
		return c.wait(&targets[0], closed)
	}
	return c.give(shown)
}

// give passes a failure on to the agent.
func (c *call) give(f *failure) *fault {
	c.agents.ModelCalled(c.agent.AgentID, f.call)
	return f.write(c)
}

// wait refuses a call that every provider would refuse now.
func (c *call) wait(t *target, delay time.Duration) *fault {
	call := town.ModelCall{
		Provider: t.name, Model: t.model, Status: http.StatusTooManyRequests, Kind: town.KindRateLimit,
		Message: "known to be used up; not asked", Delay: delay, Duration: time.Since(c.began),
	}
	c.record(&call, 0, 0, false)
	c.agents.ModelCalled(c.agent.AgentID, call)
	return &fault{
		status: call.Status, retryAfter: delay,
		message: fmt.Sprintf("%s allows no more calls of %s for %s", t.name, t.model, max(delay, time.Second).Round(time.Second)),
	}
}

// failure is an answer, or the lack of one, that another provider may make good.
type failure struct {
	call   town.ModelCall
	header http.Header
	body   []byte
}

// write passes the failure on as it is, unless it speaks of our credential or
// there is none: then it returns what to say instead.
func (f *failure) write(c *call) *fault {
	switch {
	case f.call.Status == 0 || f.call.Kind == town.KindNetwork:
		return &fault{status: http.StatusBadGateway, message: f.call.Message}
	case f.call.Kind == town.KindAuth:
		return &fault{status: authStatus(f.call.Status), message: f.call.Message}
	}
	h := c.w.Header()
	passHeader(h, f.header, c.g.mask.text)
	if f.call.Kind == town.KindBilling {
		h.Set("X-Should-Retry", "false")
	}
	if f.call.Kind == town.KindRateLimit && h.Get("Retry-After") == "" && f.call.Delay > 0 {
		h.Set("Retry-After", fmt.Sprint(int((f.call.Delay+time.Second-1)/time.Second)))
	}
	c.w.WriteHeader(f.call.Status)
	_, _ = c.w.Write(f.body) // fails with the connection
	return nil
}

// authStatus is the status of a refused credential, which Gemini calls a bad request.
func authStatus(status int) int {
	if status == http.StatusForbidden {
		return status
	}
	return http.StatusUnauthorized
}

// errStalled ends a call of a provider that says nothing any more.
var errStalled = errors.New("the provider has said nothing for too long")

// attempt asks one provider. It returns nil when an answer was passed on, or
// nobody waits for one any more.
func (c *call) attempt(t *target, n int) *failure {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	stall := time.AfterFunc(c.g.stall, func() { cancel(errStalled) })
	defer stall.Stop()
	req, err := c.request(ctx, t)
	if err != nil {
		return c.failed(t, began, n, 0, nil, nil, err)
	}
	resp, err := c.g.transport.RoundTrip(req)
	if err != nil {
		if c.ctx.Err() != nil {
			c.left(t, began, n, 0, town.UsageData{})
			return nil
		}
		return c.failed(t, began, n, 0, nil, nil, cmp.Or(cause(ctx), err))
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Encoding") == "gzip" { // unasked
		if resp.Body, err = newUnzipped(resp.Body); err != nil {
			return c.failed(t, began, n, 0, nil, nil, err)
		}
		resp.Header.Del("Content-Encoding")
		resp.ContentLength = -1
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxFaultBytes)) // as much as there is
		return c.failed(t, began, n, resp.StatusCode, resp.Header, body, nil)
	}
	c.pass(t, resp, stall, began, n)
	return nil
}

// maxFaultBytes is what is read of an error.
const maxFaultBytes = 1 << 20

// cause returns why ctx was cancelled by us, nil if it was not.
func cause(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// unzipped reads compressed bytes, and closes their source.
type unzipped struct {
	*gzip.Reader
	source io.Closer
}

func newUnzipped(body io.ReadCloser) (io.ReadCloser, error) {
	r, err := gzip.NewReader(body)
	if err != nil {
		return nil, fmt.Errorf("read a compressed answer: %w", err)
	}
	return &unzipped{r, body}, nil
}

func (u *unzipped) Close() error { return u.source.Close() }

// request is what a provider is asked: the agent's own request with its model's
// name there, and our credential in the place of the agent's.
func (c *call) request(ctx context.Context, t *target) (*http.Request, error) {
	body := c.body
	var edits []edit
	if t.model != c.ask.model && c.ask.modelSpan.end > 0 {
		edits = append(edits, c.ask.setModel(t.model))
	}
	if c.dialect == town.DialectOpenAI && !c.op.free {
		if e, ok := c.ask.wantUsage(); ok {
			edits = append(edits, e)
		}
	}
	body = rewrite(body, edits...)
	u := c.op.url(t.at.base, t.model, passedQuery(c.r.URL.Query()))
	req, err := http.NewRequestWithContext(ctx, c.op.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	passHeader(req.Header, c.r.Header, func(v string) string {
		if c.key != "" && strings.Contains(v, c.key) {
			return "" // it is for us alone
		}
		return v
	})
	for name, values := range t.at.auth {
		req.Header[name] = slices.Clone(values)
	}
	return req, nil
}

// failed notes an answer that is an error, or none.
func (c *call) failed(t *target, began time.Time, n, status int, header http.Header, body []byte, err error) *failure {
	now := time.Now()
	f := &failure{header: header, body: body, call: town.ModelCall{Provider: t.name, Model: t.model, Status: status, Duration: now.Sub(c.began)}}
	var m *meter
	if err != nil {
		f.call.Kind, f.call.Message = town.KindNetwork, t.name+" cannot be reached: "+c.g.mask.text(err.Error())
	} else {
		c.g.mask.bytes(body)
		m = newMeter(c.dialect, false)
		m.feed(body)
		f.call.Kind, f.call.Message = kindOf(status, &m.fault), c.g.mask.text(m.fault.message)
		f.call.Delay = readDelay(header, &m.fault, now)
	}
	switch {
	case f.call.Kind == town.KindAuth: // what they say of it may hold a part of it
		f.call.Message = fmt.Sprintf("%s does not accept the town's credential (HTTP %d): whoever runs this town must renew it", t.name, status)
	case status >= 300 && status < 400:
		f.call.Message = fmt.Sprintf("%s answered with a redirect (HTTP %d), which is not followed", t.name, status)
	case f.call.Message == "":
		f.call.Message = fmt.Sprintf("%s answered HTTP %d", t.name, status)
	}
	if !c.op.free {
		c.g.quota.failed(t.name, t.model, f.call.Kind, f.call.Message, f.call.Delay)
		if f.call.Kind == town.KindRateLimit {
			c.noteLimits(t, header, f.call.Delay)
		}
	}
	c.record(&f.call, n, now.Sub(began), false)
	return f
}

// left notes that the agent has gone, or the gateway closes, before the end.
func (c *call) left(t *target, began time.Time, n, status int, usage town.UsageData) {
	call := town.ModelCall{
		Provider: t.name, Model: t.model, Status: status, Usage: usage, Duration: time.Since(c.began), Message: "the agent did not wait for the end",
	}
	if c.g.ctx.Err() != nil {
		call.Message = "the town is ending"
	}
	c.record(&call, n, time.Since(began), true)
	if !c.op.free {
		c.agents.ModelCalled(c.agent.AgentID, call)
	}
}

// record counts a request of a provider and writes its line in the log.
func (c *call) record(call *town.ModelCall, attempt int, took time.Duration, canceled bool) {
	level := slog.LevelInfo
	switch {
	case c.op.free:
		level = slog.LevelDebug
	case call.Kind != "":
		level = slog.LevelWarn
	}
	if !c.op.free {
		c.g.counters.count(call, canceled)
	}
	// Not "tokens": logs are cleaned of what is called so.
	c.g.log.Log(context.WithoutCancel(c.ctx), level, "model call", "agent", c.agent.AgentID, "bead", c.agent.BeadID,
		"provider", call.Provider, "model", call.Model, "status", call.Status, "kind", string(call.Kind), "attempt", attempt,
		"input", call.Usage.InputTokens, "output", call.Usage.OutputTokens, "cache_read", call.Usage.CacheReadTokens,
		"cache_write", call.Usage.CacheWriteTokens, "cost_usd", call.Usage.CostUSD, "canceled", canceled,
		"duration_ms", float64(took.Microseconds())/1000, "reason", call.Message)
}
