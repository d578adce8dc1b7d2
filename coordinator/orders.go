package coordinator

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"townd/town"
)

// applyTimeout bounds one order: a drain may take an hour.
const applyTimeout = 70 * time.Minute

// maxOrderError bounds what is told of an order that failed.
const maxOrderError = 1000

// orders carries out what the coordinator orders: each once, those of an agent one
// after another.
type orders struct {
	link *Link

	mu      sync.Mutex
	known   map[string]bool         // carried out, or about to be
	done    []town.OrderResult      // to be told until the coordinator sends them no more
	waiting map[string][]town.Order // by agent; its key is there while somebody works on them
}

func newOrders(ctx context.Context, l *Link) (*orders, error) {
	o := &orders{link: l, known: make(map[string]bool), waiting: make(map[string][]town.Order)}
	var err error
	if o.done, err = l.outbox.store.ordersDone(ctx); err != nil {
		return nil, err
	}
	for _, r := range o.done {
		o.known[r.ID] = true
	}
	return o, nil
}

// results returns what the next heartbeat tells.
func (o *orders) results() []town.OrderResult {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.done)
}

// answered takes in the reply to a heartbeat that told of some orders. Those that are
// in it no more are forgotten, those that are new in it are carried out.
func (o *orders) answered(told []town.OrderResult, sent []town.Order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	still := make(map[string]bool, len(sent))
	for _, order := range sent {
		still[order.ID] = true
	}
	for _, r := range told {
		if !still[r.ID] {
			o.forget(r.ID)
		}
	}
	for _, order := range sent {
		if order.ID == "" || o.known[order.ID] {
			continue
		}
		o.known[order.ID] = true
		queue, working := o.waiting[order.AgentID]
		o.waiting[order.AgentID] = append(queue, order)
		if !working {
			o.link.wg.Go(func() { o.work(o.link.ctx, order.AgentID) }) // ends with the orders, or the link
		}
	}
}

// forget drops a result that the coordinator knows. Called under the lock.
func (o *orders) forget(id string) {
	delete(o.known, id)
	o.done = slices.DeleteFunc(o.done, func(r town.OrderResult) bool { return r.ID == id })
	o.link.outbox.do(func(t *tally) error {
		_, err := o.link.outbox.store.conn.ExecContext(t.ctx, "DELETE FROM orders WHERE id = ?", id)
		return err
	}, nil)
}

// work carries out an agent's orders.
func (o *orders) work(ctx context.Context, agent string) {
	for {
		o.mu.Lock()
		queue := o.waiting[agent]
		if len(queue) == 0 || ctx.Err() != nil {
			delete(o.waiting, agent)
			o.mu.Unlock()
			return
		}
		order := queue[0]
		o.waiting[agent] = queue[1:]
		o.mu.Unlock()
		applying, cancel := context.WithTimeout(ctx, applyTimeout)
		err := o.link.town.Apply(applying, order)
		cancel()
		if ctx.Err() != nil {
			return // perhaps half done: it comes again
		}
		o.finished(order, err)
	}
}

// finished keeps how an order went, and has it told.
func (o *orders) finished(order town.Order, err error) {
	r := town.OrderResult{ID: order.ID}
	if err != nil {
		text := err.Error()
		r.Error = fmt.Sprintf("%.*s", maxOrderError, text)
		o.link.log.Warn("order not carried out", "order", order.ID, "kind", order.Kind, "agent", order.AgentID, "error", err)
	} else {
		o.link.log.Info("order carried out", "order", order.ID, "kind", order.Kind, "agent", order.AgentID)
	}
	at := time.Now().UnixMilli()
	o.link.outbox.do(func(t *tally) error {
		_, err := o.link.outbox.store.set.order.ExecContext(t.ctx, r.ID, r.Error, at)
		return err
	}, func(error) {
		o.mu.Lock()
		o.done = append(o.done, r)
		o.mu.Unlock()
		o.link.heart.soon()
	})
}
