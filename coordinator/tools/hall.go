package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"townd/api"
	"townd/coordinator"
	"townd/town"
)

// Outbox keeps what must reach the coordinator although that is down. It is safe
// for concurrent use.
type Outbox interface {
	// Post returns once a fact is kept so that it outlives this process. Facts of a
	// lane are delivered in their order.
	Post(ctx context.Context, f coordinator.Fact) error
	// Owes reports whether facts of a lane wait.
	Owes(ctx context.Context, lane string) (bool, error)
}

// How long an agent waits for the coordinator: for an answer that it needs, and for
// one without which it can go on.
const (
	askPatience  = 15 * time.Second
	tellPatience = 5 * time.Second
)

// ask returns what one call is made with whose answer the agent needs: the
// coordinator as the agent reaches it, and a context with a deadline and a key.
func (c *call) ask(ctx context.Context, wait time.Duration) (*api.HallClient, context.Context, context.CancelFunc) {
	patience := wait + askPatience
	ctx, cancel := context.WithTimeoutCause(api.WithKey(ctx, c.key()), patience, fmt.Errorf("no answer within %v", patience))
	return c.desk.cfg.Hall.As(c.agent.AgentID), ctx, cancel
}

// key is of the next call that a tool makes of the coordinator. It holds the agent's
// id: what an agent chooses as the id of its call is never another's.
func (c *call) key() string {
	c.calls++
	return fmt.Sprintf("tool:%s:%s:%d", c.agent.AgentID, c.id, c.calls)
}

// tell makes a call that must not get lost. When the coordinator does not answer, or
// earlier facts of the agent wait for it, this one is kept for it: delivered is false
// then, and out is left alone. What the coordinator refuses is an error.
func (c *call) tell(ctx context.Context, path string, body, out any) (delivered bool, err error) {
	if out == nil {
		out = &json.RawMessage{} // an answer that is no JSON is none
	}
	key, box := c.key(), c.desk.cfg.Outbox
	if box == nil || !c.owes(ctx, box) {
		limited, cancel := context.WithTimeoutCause(api.WithKey(ctx, key), tellPatience, fmt.Errorf("no answer within %v", tellPatience))
		defer cancel()
		if err = c.desk.cfg.Hall.As(c.agent.AgentID).Post(limited, path, body, out); err == nil || refused(err) || ctx.Err() != nil {
			return err == nil, err
		}
	}
	if box == nil {
		return false, err
	}
	if err != nil {
		c.desk.cfg.Log.Info("coordinator does not answer, kept for it", "agent", c.agent.AgentID, "call", path, "error", err)
	}
	// In the agent's own lane: what becomes of its run must not arrive before.
	fact := coordinator.Fact{Lane: c.agent.AgentID, Path: path, Key: key, Agent: c.agent.AgentID, Body: body}
	if err := box.Post(ctx, fact); err != nil {
		return false, fmt.Errorf("keep it for the coordinator: %w", err)
	}
	return false, nil
}

// owes reports whether something waits that must not be overtaken; when that cannot
// be known, it does.
func (c *call) owes(ctx context.Context, box Outbox) bool {
	owes, err := box.Owes(ctx, c.agent.AgentID)
	if err != nil {
		c.desk.cfg.Log.Warn("outbox cannot be read", "error", err)
	}
	return owes || err != nil
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
