package llm

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"townd/town"
)

// pieces are the buffers that answers pass through. They are longer than any key.
var pieces = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// pass passes a good answer on as it comes, and notes what it has used, however
// it ends. An answer that breaks off must do so for the agent, too: then it
// panics with http.ErrAbortHandler, which ends the connection.
func (c *call) pass(t *target, resp *http.Response, stall *time.Timer, began time.Time, n int) {
	if !c.op.free {
		c.g.quota.worked(t.name, t.model)
		c.noteLimits(t, resp.Header, 0)
	}
	h := c.w.Header()
	passHeader(h, resp.Header, c.g.mask.text)
	if resp.ContentLength >= 0 {
		h["Content-Length"] = resp.Header["Content-Length"]
	}
	c.w.WriteHeader(resp.StatusCode)
	events := strings.Contains(resp.Header.Get("Content-Type"), "event-stream")
	if events { // a model may think long before it says something, and clients wait less for a header
		_ = http.NewResponseController(c.w).Flush() // or the first write fails
	}
	m := newMeter(c.dialect, events)
	readErr, writeErr := c.stream(resp.Body, m, stall)
	usage := m.usage(c.g.prices[t.model])
	switch {
	case writeErr != nil || c.ctx.Err() != nil && readErr != nil:
		c.left(t, began, n, resp.StatusCode, usage)
		if c.g.ctx.Err() != nil {
			panic(http.ErrAbortHandler) // the agent is still there, and must not take this for the end
		}
		return
	case c.op.free && readErr == nil:
		return
	}
	call := town.ModelCall{
		Provider: t.name, Model: t.model, Status: resp.StatusCode, Usage: usage, Duration: time.Since(c.began),
		Kind: kindOf(resp.StatusCode, &m.fault), Message: c.g.mask.text(m.fault.message),
	}
	if readErr != nil {
		call.Kind, call.Message = town.KindNetwork, "the answer broke off: "+c.g.mask.text(readErr.Error())
	}
	if call.Kind == town.KindAuth {
		call.Message = t.name + " does not accept the town's credential"
	}
	c.record(&call, n, time.Since(began), false)
	if !c.op.free {
		if call.Kind != "" && readErr == nil { // a connection that broke says nothing of the provider
			c.g.quota.failed(t.name, t.model, call.Kind, call.Message, readDelay(resp.Header, &m.fault, time.Now()))
		}
		c.agents.ModelCalled(c.agent.AgentID, call)
	}
	if readErr != nil {
		panic(http.ErrAbortHandler)
	}
}

// stream copies an answer, each piece at once.
func (c *call) stream(body io.Reader, m *meter, stall *time.Timer) (readErr, writeErr error) {
	piece, ok := pieces.Get().(*[32 << 10]byte)
	if !ok {
		panic("a piece is a piece")
	}
	defer pieces.Put(piece)
	control := http.NewResponseController(c.w)
	from := &maskedReader{r: body, mask: &c.g.mask}
	for {
		n, err := from.Read(piece[:])
		if n > 0 {
			stall.Reset(c.g.stall)
			_, writeErr = c.w.Write(piece[:n])
			if writeErr == nil {
				writeErr = control.Flush()
			}
			m.feed(piece[:n]) // after it is on its way
		}
		switch {
		case writeErr != nil:
			return nil, writeErr
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return err, nil
		}
	}
}

// noteLimits reads what is left of the provider's limits. One that refuses a call for
// a limit, and says no more than how long, has nothing left.
func (c *call) noteLimits(t *target, h http.Header, refused time.Duration) {
	now := time.Now()
	limits := readLimits(h, now)
	switch limit := tightest(limits); {
	case limit != nil:
		c.g.quota.saw(t.name, t.model, quotaOf(t.name, limit.Name, limit.Percent, limit.ResetAt, now))
		c.g.quota.rest(t.name, t.model, usedUp(limits))
	case refused > 0:
		c.g.quota.saw(t.name, t.model, quotaOf(t.name, "requests", 0, now.Add(refused), now))
	default:
		c.g.quota.saw(t.name, t.model, nil)
	}
}
