package coordinator

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"townd/town"
)

// applyTimeout bounds one order: a drain may take an hour.
const applyTimeout = 70 * time.Minute

// keepOrders is how long an order is known after the coordinator knows its result: a
// late repetition is no new one.
const keepOrders = 24 * time.Hour

// maxOrderError bounds what is told of an order that failed.
const maxOrderError = 1000

// orders carries out what the coordinator orders: each once, those of an agent one
// after another.
type orders struct {
	link *Link

	mu      sync.Mutex
	known   map[string]*known
	waiting map[string][]town.Order // by agent; its key is there while somebody works on them
}

// known is an order that was carried out, or is about to be.
type known struct {
	result town.OrderResult
	at     time.Time // when it was done, zero before
	told   bool      // the coordinator knows the result
}

func newOrders(ctx context.Context, l *Link) (*orders, error) {
	o := &orders{link: l, waiting: make(map[string][]town.Order)}
	var err error
	o.known, err = l.outbox.store.orders(ctx)
	return o, err
}

// results returns what the next heartbeat tells, in the order in which it was done.
func (o *orders) results() []town.OrderResult {
	o.mu.Lock()
	defer o.mu.Unlock()
	var done []*known
	for _, k := range o.known {
		if !k.at.IsZero() && !k.told {
			done = append(done, k)
		}
	}
	slices.SortFunc(done, func(a, b *known) int { return a.at.Compare(b.at) })
	var results []town.OrderResult
	for _, k := range done {
		results = append(results, k.result)
	}
	return results
}

// answered takes in the reply to a heartbeat that told of some orders. The results of
// those that are in it no more are known; those that are new in it are carried out.
func (o *orders) answered(told []town.OrderResult, sent []town.Order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	again := make(map[string]bool, len(sent))
	for _, order := range sent {
		again[order.ID] = true
		k := o.known[order.ID]
		switch {
		case order.ID == "":
		case k == nil:
			o.known[order.ID] = &known{result: town.OrderResult{ID: order.ID}}
			queue, working := o.waiting[order.AgentID]
			o.waiting[order.AgentID] = append(queue, order)
			if !working {
				o.link.wg.Go(func() { o.work(o.link.ctx, order.AgentID) }) // ends with the orders, or the link
			}
		case k.told:
			k.told = false // it does not know after all
		}
	}
	for _, r := range told {
		if k := o.known[r.ID]; k != nil && !again[r.ID] {
			k.told = true
			o.link.outbox.do(func(t *tally) error {
				_, err := o.link.outbox.store.conn.ExecContext(t.ctx, "UPDATE orders SET told = 1 WHERE id = ?", r.ID)
				return err
			}, nil)
		}
	}
	o.forget(time.Now().Add(-keepOrders))
}

// forget drops what was done, and known to be, before a time. Called under the lock.
func (o *orders) forget(before time.Time) {
	dropped := false
	for id, k := range o.known {
		if k.told && k.at.Before(before) {
			delete(o.known, id)
			dropped = true
		}
	}
	if dropped {
		o.link.outbox.do(func(t *tally) error {
			_, err := o.link.outbox.store.conn.ExecContext(t.ctx, "DELETE FROM orders WHERE told = 1 AND at < ?", before.UnixMilli())
			return err
		}, nil)
	}
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
		if err != nil && ctx.Err() != nil {
			return // cut short by our end: it comes again
		}
		o.finished(order, err)
	}
}

// finished keeps how an order went, and has it told.
func (o *orders) finished(order town.Order, err error) {
	r := town.OrderResult{ID: order.ID}
	if err != nil {
		text := err.Error()
		r.Error = strings.ToValidUTF8(text[:min(len(text), maxOrderError)], "")
		o.link.log.Warn("order not carried out", "order", order.ID, "kind", order.Kind, "agent", order.AgentID, "error", err)
	} else {
		o.link.log.Info("order carried out", "order", order.ID, "kind", order.Kind, "agent", order.AgentID)
	}
	at := time.Now()
	o.link.outbox.do(func(t *tally) error {
		_, err := o.link.outbox.store.set.order.ExecContext(t.ctx, r.ID, r.Error, at.UnixMilli())
		return err
	}, func(error) {
		o.mu.Lock()
		*o.known[r.ID] = known{result: r, at: at}
		o.mu.Unlock()
		o.link.heart.soon()
	})
}
