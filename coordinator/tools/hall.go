package tools

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"townd/api"
	"townd/town"
)

// HallCall is a call of the coordinator's contract that is made for an agent.
type HallCall struct {
	AgentID string
	Method  string
	Path    string // below the town's, as /beads/ID, with its query
	Key     string // of idempotency, for what makes or tells something
	Body    any    // encoded as JSON unless nil
}

// Hall is the way to the coordinator.
type Hall interface {
	// Call makes a call and decodes its answer into out, unless that is nil. Errors
	// have the kinds of the contract; one of none means that nothing is known.
	Call(ctx context.Context, c HallCall, out any) error
}

// Outbox keeps what must reach the coordinator although that is down. It is safe
// for concurrent use.
type Outbox interface {
	// Send returns once c is kept so that it outlives this process. The calls of an
	// agent are made in the order in which they were sent, until each is answered.
	Send(ctx context.Context, c HallCall) error
	// Behind reports whether calls of the agent are waiting.
	Behind(agentID string) bool
}

// HallOver returns the coordinator that c calls, whose base is the town's path.
func HallOver(c *api.Client) Hall { return hall{c} }

type hall struct{ client *api.Client }

func (h hall) Call(ctx context.Context, c HallCall, out any) error {
	header := http.Header{"X-Townd-Agent": {c.AgentID}}
	if c.Key != "" {
		header.Set("Idempotency-Key", c.Key)
	}
	return h.client.Call(ctx, c.Method, c.Path, header, c.Body, out)
}

// How long an agent waits for the coordinator: for an answer that it needs, and for
// one without which it can go on.
const (
	askPatience  = 15 * time.Second
	tellPatience = 5 * time.Second
)

// ask makes a call whose answer the agent needs.
func (c *call) ask(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askPatience, fmt.Errorf("no answer within %v", askPatience))
	defer cancel()
	return c.make(ctx, c.hallCall(method, path, body), out)
}

// make makes a call. That the coordinator takes the town for a stranger, or is not
// there, says nothing of the agent, whose own call is answered in these kinds.
func (c *call) make(ctx context.Context, h HallCall, out any) error {
	err := c.desk.cfg.Hall.Call(ctx, h, out)
	if errors.Is(err, town.ErrUnauthorized) || errors.Is(err, town.ErrUnavailable) {
		return fmt.Errorf("%v", err) //nolint:errorlint // see above
	}
	return err
}

// tell makes a call that must not get lost. When the coordinator does not answer, or
// earlier calls of the agent wait for it, this one is kept for it: delivered is
// false then, and out is left alone. What the coordinator refuses is an error.
func (c *call) tell(ctx context.Context, path string, body, out any) (delivered bool, err error) {
	fact := c.hallCall(http.MethodPost, path, body)
	box := c.desk.cfg.Outbox
	if box == nil || !box.Behind(c.agent.AgentID) {
		limited, cancel := context.WithTimeoutCause(ctx, tellPatience, fmt.Errorf("no answer within %v", tellPatience))
		defer cancel()
		if err = c.make(limited, fact, out); err == nil || refused(err) || ctx.Err() != nil {
			return err == nil, err
		}
	}
	if box == nil {
		return false, err
	}
	if err != nil {
		c.desk.cfg.Log.Info("coordinator does not answer, kept for it", "agent", c.agent.AgentID, "call", path, "error", err)
	}
	if err := box.Send(ctx, fact); err != nil {
		return false, fmt.Errorf("keep it for the coordinator: %w", err)
	}
	return false, nil
}

// hallCall gives each call that a tool makes a key of its own. It holds the agent's
// id: what an agent chooses as the id of its call is never another's.
func (c *call) hallCall(method, path string, body any) HallCall {
	h := HallCall{AgentID: c.agent.AgentID, Method: method, Path: path, Body: body}
	if method != http.MethodGet {
		c.calls++
		h.Key = fmt.Sprintf("tool:%s:%s:%d", c.agent.AgentID, c.id, c.calls)
	}
	return h
}

// refused reports whether the coordinator will say the same when it is asked again.
func refused(err error) bool {
	for _, kind := range []error{town.ErrInvalid, town.ErrForbidden, town.ErrNotFound, town.ErrConflict, town.ErrGone, town.ErrTooLarge, town.ErrBudget} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
