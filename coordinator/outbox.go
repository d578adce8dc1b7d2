package coordinator

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"townd/town"
)

// The bounds of the outbox.
const (
	maxPendingBytes = 256 << 20 // on disk; above it events are compacted
	maxWaitingBytes = 16 << 20  // in memory, while the disk takes nothing
	maxChunkBytes   = 128 << 10 // of events in one row
	maxChunkEvents  = 1000
	maxDead         = 1000
	giveBack        = 8 << 20 // pending once, for the file to be made small when nothing is
)

// How long events are gathered before they are written. They are not lost by it: the
// supervisor has them on disk, and gives those again that the outbox has not.
const (
	linger     = 50 * time.Millisecond
	lingerSlow = 2 * time.Second // while nothing can be sent
	writeAgain = time.Second     // after a write that failed
)

// Fact is a report that is never given up before the coordinator has it, or has
// refused it for good.
type Fact struct {
	Lane  string // facts and events of one lane arrive in order; an agent's id, or another name
	Path  string // below the coordinator's URL, as /api/towns/local/mail
	Key   string // goes as Idempotency-Key; the same key again adds nothing. Required
	Agent string // on whose behalf, "" for the town's own
	Body  any    // encoded as JSON
}

// outbox keeps reports until they are delivered. Its writer is one goroutine; other
// methods are safe for concurrent use and wait for nothing but each other.
type outbox struct {
	store *store
	log   *slog.Logger
	most  int64 // pending bytes

	wake chan struct{} // of one: there is something to write
	sent chan struct{} // of one: a lane may have become ready
	stop chan struct{} // closed by close
	done chan struct{} // closed when the writer has ended

	mu       sync.Mutex
	queue    []change
	gathered map[string]*gathering // events that are not in queue yet, by lane
	since    time.Time             // of the oldest of them
	waiting  int64                 // bytes in queue, in gathered, and being written
	writing  int64                 // of them, those being written
	cursors  map[string]cursor     // of what was taken, if not yet written
	sending  map[string]*lane      // that hold something
	slow     bool                  // nothing can be sent at present
	pending  int64
	bytes    int64
	dead     int64
	fault    error // why the disk takes nothing
	closed   bool

	again time.Time // the writer's own: it tries no earlier after a failure
	peak  int64     // the writer's own: pending bytes at most since the file was last made small
	facts bool      // the writer's own: it told that facts alone are too many
}

// change is one step of a transaction. It tells the tally what it changed.
type change struct {
	write  func(*tally) error
	done   func(error) // may be nil; called by the writer, not under the lock
	once   bool        // when the write fails, done is told and it is dropped
	events *gathering  // set when it adds events: they may be compacted still
	bytes  int64
}

// gathering is an agent's newest events.
type gathering struct {
	lines
	agent  string
	cursor cursor
	at     time.Time
}

// tally is what a transaction changed, for the counters.
type tally struct {
	ctx   context.Context
	lanes map[string]laneSize
	dead  int64
}

func (t *tally) add(lane string, rows, pending, bytes int64) {
	size := t.lanes[lane]
	t.lanes[lane] = laneSize{size.rows + rows, size.pending + pending, size.bytes + bytes}
}

// newOutbox takes up what the store holds. Call run.
func newOutbox(ctx context.Context, s *store, most int64, log *slog.Logger) (*outbox, error) {
	o := &outbox{
		store: s, log: log, most: most,
		wake: make(chan struct{}, 1), sent: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		gathered: make(map[string]*gathering), sending: make(map[string]*lane),
	}
	lanes, err := s.lanes(ctx)
	if err != nil {
		return nil, err
	}
	for name, size := range lanes {
		o.resize(name, size)
	}
	if o.cursors, err = s.cursors(ctx); err != nil {
		return nil, err
	}
	if o.dead, err = s.dead(ctx); err != nil {
		return nil, err
	}
	return o, nil
}

// resize changes what is known to be in a lane. Called under the lock, or before
// anybody else knows of o.
func (o *outbox) resize(name string, by laneSize) {
	l := o.sending[name]
	if l == nil {
		l = &lane{name: name, limit: maxEvents}
		o.sending[name] = l
	}
	l.rows += by.rows
	o.pending += by.pending
	o.bytes += by.bytes
	if l.rows <= 0 && !l.busy {
		delete(o.sending, name)
	}
}

// event takes in an event of an agent, in its lane.
func (o *outbox) event(epoch string, e town.AgentEvent) {
	var l lines
	if err := l.add(e); err != nil {
		o.log.Error("event not reported", "agent", e.AgentID, "event", e.Event.Event, "error", err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.gathered[e.AgentID]
	if g == nil {
		g = &gathering{agent: e.AgentID, at: e.Timestamp}
		if len(o.gathered) == 0 {
			o.since = time.Now()
		}
		o.gathered[e.AgentID] = g
	}
	g.body, g.events, g.bulk = append(g.body, l.body...), g.events+1, g.bulk+l.bulk
	g.cursor = cursor{epoch, e.ID}
	o.cursors[e.AgentID] = g.cursor
	o.waiting += int64(len(l.body))
	if len(g.body) >= maxChunkBytes || g.events >= maxChunkEvents {
		o.cut(e.AgentID)
	}
	if o.waiting > maxWaitingBytes {
		o.shrink()
	}
	signal(o.wake)
}

// cut queues what was gathered in a lane.
func (o *outbox) cut(lane string) {
	g := o.gathered[lane]
	if g == nil {
		return
	}
	delete(o.gathered, lane)
	o.queue = append(o.queue, change{
		events: g, bytes: int64(len(g.body)),
		write: func(t *tally) error {
			if _, err := o.store.set.event.ExecContext(t.ctx, g.agent, g.at.UnixMilli(), g.events, g.bulk, g.body); err != nil {
				return err
			}
			t.add(g.agent, 1, int64(g.events), rowBytes(len(g.body)))
			_, err := o.store.set.cursor.ExecContext(t.ctx, g.agent, g.cursor.epoch, g.cursor.newest)
			return err
		},
	})
}

// shrink compacts events that wait for a disk that takes nothing.
func (o *outbox) shrink() {
	for _, drop := range []func(town.EventType) bool{isBulk, all} {
		o.waiting = o.writing
		for i := range o.queue {
			c := &o.queue[i]
			if c.events != nil {
				c.events.lines = thin(c.events.body, drop)
				c.bytes = int64(len(c.events.body))
			}
			o.waiting += c.bytes
		}
		for _, g := range o.gathered {
			g.lines = thin(g.body, drop)
			o.waiting += int64(len(g.body))
		}
		if o.waiting < maxWaitingBytes/2 {
			return
		}
	}
}

// fact takes in a fact. done, if not nil, is told when it is on disk; with once it is
// told as well that it could not be written, and the fact is dropped then.
func (o *outbox) fact(f Fact, once bool, done func(error)) error {
	body, err := json.Marshal(f.Body)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	at := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return errClosed
	}
	o.cut(f.Lane)
	o.enqueue(change{
		bytes: int64(len(body)), once: once, done: done,
		write: func(t *tally) error {
			res, err := o.store.set.fact.ExecContext(t.ctx, f.Lane, at.UnixMilli(), f.Path, f.Key, f.Agent, body)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			t.add(f.Lane, n, n, n*rowBytes(len(body)))
			return err
		},
	})
	return nil
}

// enqueue has the writer write c next. Called under the lock.
func (o *outbox) enqueue(c change) {
	o.queue = append(o.queue, c)
	o.waiting += c.bytes
	signal(o.wake)
}

// do enqueues a change that adds no report.
func (o *outbox) do(write func(*tally) error, done func(error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.enqueue(change{write: write, done: done})
}

// signal wakes who waits on a channel of one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run writes until close, and then what is left.
func (o *outbox) run() {
	defer close(o.done)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case <-o.wake:
		case <-timer.C:
		case <-o.stop:
			o.flush(true)
			return
		}
		if wait := o.flush(false); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// flush writes what is due and returns when to look again, 0 for when there is more.
func (o *outbox) flush(last bool) time.Duration {
	if wait := time.Until(o.again); wait > 0 && !last {
		return wait
	}
	batch, wait := o.take(last)
	if len(batch) == 0 {
		return wait
	}
	t := tally{ctx: context.Background(), lanes: make(map[string]laneSize)} // local, and bounded by busyWait
	err := o.store.write(t.ctx, func() error {
		for _, c := range batch {
			if err := c.write(&t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		o.failed(batch, err)
		o.again = time.Now().Add(writeAgain)
		return writeAgain
	}
	o.mu.Lock()
	if o.fault != nil {
		o.log.Info("outbox can be written again")
		o.fault = nil
	}
	for name, size := range t.lanes {
		o.resize(name, size)
	}
	o.dead += t.dead
	o.waiting, o.writing = o.waiting-o.writing, 0
	held := o.bytes
	o.mu.Unlock()
	for _, c := range batch {
		if c.done != nil {
			c.done(nil)
		}
	}
	signal(o.sent)
	o.peak = max(o.peak, held)
	switch {
	case held > o.most:
		o.compact()
	case held == 0 && o.peak > giveBack:
		o.peak = 0
		o.giveBack()
	}
	return time.Nanosecond // more may have come meanwhile
}

// take returns the changes to write now, or when there are some.
func (o *outbox) take(last bool) ([]change, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	gather := linger
	if o.slow {
		gather = lingerSlow
	}
	due := time.Until(o.since.Add(gather))
	if len(o.gathered) > 0 && (due <= 0 || last) {
		for lane := range o.gathered {
			o.cut(lane)
		}
	}
	batch := o.queue
	o.queue = nil
	for _, c := range batch {
		o.writing += c.bytes
	}
	if len(o.gathered) == 0 {
		due = 0
	}
	return batch, due
}

// failed puts back what could not be written.
func (o *outbox) failed(batch []change, err error) {
	var kept []change
	var told []func(error)
	o.mu.Lock()
	for _, c := range batch {
		if c.once {
			o.waiting -= c.bytes
			told = append(told, c.done)
			continue
		}
		kept = append(kept, c)
	}
	o.queue, o.writing = append(kept, o.queue...), 0
	if o.fault == nil {
		o.log.Error("outbox cannot be written, trying again", "error", err)
	}
	o.fault = err
	o.mu.Unlock()
	for _, done := range told {
		done(err)
	}
}

// giveBack returns the room that an outage took, when all is delivered.
func (o *outbox) giveBack() {
	ctx := context.Background() // local, as in flush
	for _, pragma := range []string{"PRAGMA incremental_vacuum", "PRAGMA wal_checkpoint(truncate)"} {
		if _, err := o.store.conn.ExecContext(ctx, pragma); err != nil {
			o.log.Warn("outbox not made small", "error", kindOf(err))
		}
	}
}

// close writes what is left and lets go of the file.
func (o *outbox) close() error {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	close(o.stop)
	<-o.done
	o.mu.Lock()
	left := o.queue
	err := o.fault
	o.queue = nil
	o.mu.Unlock()
	o.store.close()
	for _, c := range left {
		if c.done != nil && c.once {
			c.done(errClosed)
		}
	}
	if len(left) > 0 && err != nil {
		return fmt.Errorf("%d reports not written: %w", len(left), err)
	}
	return nil
}

var errClosed = fmt.Errorf("outbox closed: %w", town.ErrUnavailable)

// newest returns how far the events of an agent's log were taken; known is false
// for a log that nothing was taken of.
func (o *outbox) newest(agent, epoch string) (id int64, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c, ok := o.cursors[agent]
	if !ok || c.epoch != epoch {
		return 0, false
	}
	return c.newest, true
}

// keepCursors forgets the cursors of agents that are no more.
func (o *outbox) keepCursors(alive map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for agent := range o.cursors {
		if !alive[agent] && o.gathered[agent] == nil {
			delete(o.cursors, agent)
			o.enqueue(change{write: func(t *tally) error {
				_, err := o.store.conn.ExecContext(t.ctx, "DELETE FROM cursors WHERE agent = ?", agent)
				return err
			}})
		}
	}
}

// empty reports whether nothing is left to deliver.
func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pending == 0 && len(o.queue) == 0 && len(o.gathered) == 0 && o.waiting == 0
}

// state tells how far behind the outbox is.
func (o *outbox) state(ctx context.Context) (town.OutboxState, error) {
	o.mu.Lock()
	st := town.OutboxState{Pending: o.pending, Dead: o.dead}
	o.mu.Unlock()
	if st.Pending == 0 {
		return st, nil
	}
	at, err := o.store.oldest(ctx)
	if err == nil && !at.IsZero() {
		st.OldestAt = &at
	}
	return st, err
}
