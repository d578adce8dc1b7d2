package townhall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"townd/town"
)

// sendOrders carries orders out at once: heartbeats carry them too, but only with
// the next tick. What fails for now is left to them.
func (d *dispatcher) sendOrders(ctx context.Context, now time.Time) error {
	c := d.cfg.Container()
	if c == nil || !d.container.lets(now) {
		return nil
	}
	orders, err := d.h.Orders(ctx)
	if err != nil {
		return err
	}
	open := map[string]bool{}
	for _, o := range orders {
		open[o.ID] = true
		if d.sent[o.ID] {
			continue
		}
		d.sent[o.ID] = true
		d.call(func() func(context.Context) {
			result, done := carryOut(ctx, c, o)
			return func(ctx context.Context) {
				if done {
					d.owe(ctx, "order", func(ctx context.Context) error {
						return d.h.write(ctx, fact, func(tx *tx) error { return orderDone(tx, []town.OrderResult{result}) })
					})
				}
			}
		})
	}
	for id := range d.sent {
		if !open[id] {
			delete(d.sent, id)
		}
	}
	return nil
}

// carryOut carries an order out by the call that it stands for. done is false when
// it is not known to be decided. Each may be repeated: a message goes in once by the
// order's id.
func carryOut(ctx context.Context, c Container, o town.Order) (result town.OrderResult, done bool) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	var err error
	switch o.Kind {
	case town.OrderStop:
		var req town.StopRequest
		if err = decode(o.Data, &req); err == nil {
			_, err = c.Stop(ctx, o.AgentID, req)
		}
	case town.OrderMessage:
		var req town.MessageRequest
		if err = decode(o.Data, &req); err == nil {
			_, err = c.Message(ctx, o.AgentID, req, o.ID)
		}
	case town.OrderForget:
		if err = c.Delete(ctx, o.AgentID); errors.Is(err, town.ErrConflict) {
			return result, false // it is live: heartbeats carry the order until it has ended
		}
	case town.OrderDrain, town.OrderSettings:
		return result, false
	default:
		return result, false
	}
	result.ID = o.ID
	for _, kind := range []error{town.ErrInvalid, town.ErrNotFound, town.ErrConflict, town.ErrGone, town.ErrTooLarge} {
		if errors.Is(err, kind) { // and so it stays
			result.Error = err.Error()
			return result, true
		}
	}
	return result, err == nil
}

func decode(data json.RawMessage, into any) error {
	if len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("order: %w: %w", err, town.ErrInvalid)
	}
	return nil
}
