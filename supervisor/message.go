package supervisor

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"townd/supervisor/keeper"
	"townd/supervisor/typing"
	"townd/town"
)

// The bounds of messages: those that wait for a turn's end, and the idempotency
// keys that are remembered.
const (
	queueLimit   = 100
	receiptLimit = 256
)

// inputTimeout is how long a program may take to read what it is given before
// the input counts as failed.
const inputTimeout = 10 * time.Second

// Message gives the agent a follow-up. It returns the message's id; an agent
// that is working gets it when its turn ends, unless it is to be delivered now.
// The same non-empty key again returns the same id and delivers nothing. What
// became of it are its EventMessage receipts. It returns ErrConflict when the
// agent cannot take messages any more.
func (s *Supervisor) Message(ctx context.Context, id string, m town.MessageRequest, key string) (string, error) {
	if err := m.Validate(); err != nil {
		return "", err
	}
	a, err := s.find(id)
	if err != nil {
		return "", err
	}
	return ask(ctx, a, func(reply func(string, error)) { a.message(m, key, reply) })
}

func (a *agent) message(m town.MessageRequest, key string, reply func(string, error)) {
	for _, r := range a.rec.Receipts {
		if key != "" && r.Key == key {
			reply(r.ID, nil)
			return
		}
	}
	view := &a.rec.Agent
	if view.Status != town.StatusRunning && view.Status != town.StatusStarting {
		reply("", fmt.Errorf("agent %s is %s and takes no messages: %w", a.id, view.Status, town.ErrConflict))
		return
	}
	if len(a.rec.Queue) >= queueLimit {
		reply("", &town.CapacityError{What: fmt.Sprintf("%d messages wait for agent %s already", queueLimit, a.id), RetryAfter: 10 * time.Second})
		return
	}
	msg := message{ID: town.NewID(time.Now()), Text: m.Prompt, When: m.Deliver}
	a.rec.Queue = append(a.rec.Queue, msg)
	if key != "" {
		a.rec.Receipts = append(a.rec.Receipts, receipt{Key: key, ID: msg.ID})
		a.rec.Receipts = a.rec.Receipts[max(0, len(a.rec.Receipts)-receiptLimit):]
	}
	// Before anybody is told: the successor of a server that is killed then has it.
	a.publish()
	if !a.structured.Load() { // typed at once, or as soon as the program runs
		a.typed[msg.ID] = func(err error) { reply(msg.ID, err) }
	} else {
		reply(msg.ID, nil)
	}
	a.deliverQueue()
}

// deliverQueue gives the agent the next message whose time has come. A message
// leaves the queue when the agent has acknowledged it; until then a successor of
// this process gives it again, and the keeper knows what was written.
func (a *agent) deliverQueue() {
	view := &a.rec.Agent
	if view.Status != town.StatusRunning || a.launch != nil || a.rec.Replacing || a.settling || len(a.rec.Queue) == 0 {
		return
	}
	m := a.nextMessage()
	switch {
	case a.rec.Giving != (giving{}) || view.Turn.State == town.TurnWorking:
		a.noteQueued()
		if m.When == town.DeliverNow && m.ID != a.rec.Giving.ID && view.Turn.State == town.TurnWorking {
			a.interrupt(m)
		}
	case a.rec.Request.Limits.Turns > 0 && view.Turn.Count >= a.rec.Request.Limits.Turns && a.structured.Load():
		a.overBudget(limitTurns)
	case view.PID == nil:
		a.nextProcess(m)
	case a.cli.PerTurn(): // its turn is over, its process not quite
	case a.rec.Retune:
		a.replace()
	default:
		a.give(m)
	}
}

// nextMessage picks from the queue what is to be delivered now, then what waits
// for a turn's end, then what waits for an agent with nothing to do; each in the
// order they came.
func (a *agent) nextMessage() message {
	for _, when := range []town.Delivery{town.DeliverNow, town.DeliverTurnEnd} {
		for _, m := range a.rec.Queue {
			if m.When == when || m.When == "" && when == town.DeliverTurnEnd {
				return m
			}
		}
	}
	return a.rec.Queue[0]
}

// noteQueued gives every waiting message its receipt, once.
func (a *agent) noteQueued() {
	for i := range a.rec.Queue {
		if m := &a.rec.Queue[i]; !m.Queued && m.ID != a.rec.Giving.ID {
			m.Queued = true
			a.dirty = true
			a.emit(town.EventMessage, town.MessageData{MessageID: m.ID, Receipt: town.ReceiptQueued})
		}
	}
}

// enqueue adds a message of the town's own.
func (a *agent) enqueue(m message) {
	m.Queued = true // nobody waits for its receipt
	a.rec.Queue = append(a.rec.Queue, m)
}

// ownID is the id of a message that the town itself sends in this run.
func (a *agent) ownID(what string) string {
	return fmt.Sprintf("%s-%s-%d", a.rec.Agent.RunID, what, a.rec.Seq)
}

// interrupt ends the agent's turn for a message that is to be delivered now. What
// follows is as at any turn's end.
func (a *agent) interrupt(m message) {
	if a.interrupted == m.ID {
		return
	}
	a.interrupted = m.ID
	if a.cli.PerTurn() {
		a.replace()
		return
	}
	input := a.cli.Interrupt()
	if input == nil {
		return
	}
	run, id := a.rec.Agent.RunID, m.ID+"-interrupt"
	a.s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(a.s.ctx, inputTimeout)
		defer cancel()
		if err := a.s.keeper.client().Input(ctx, run, id, input); err != nil {
			a.log.Warn("not interrupted, the message waits for the turn's end", "message", m.ID, "error", err)
		}
	})
}

// replaceGrace is what a CLI gets to end between two of its processes.
const replaceGrace = 5 * time.Second

// replace ends the run's process, for the next message to begin another one.
func (a *agent) replace() {
	a.rec.Replacing = true
	a.publish()
	a.endTree(keeper.End{Signal: termSignal, Grace: replaceGrace}, nil)
}

// nextProcess starts the next process of the run, with a message for it if m is one.
func (a *agent) nextProcess(m message) {
	a.rec.Seq++
	a.rec.Retune = false
	a.asked(m)
	a.spawn(m, func(town.Agent, error) {})
}

// asked records that process Seq is being started with m, if m is a message.
func (a *agent) asked(m message) {
	a.rec.Giving = giving{ID: m.ID, Spawned: true}
	a.rec.Session.Resuming = a.rec.Agent.SessionID != ""
	a.publish()
}

// give gives a message to the running program.
func (a *agent) give(m message) {
	a.rec.Giving = giving{ID: m.ID}
	if !a.structured.Load() {
		a.publish()
		a.typeIn(m, false)
		return
	}
	a.rec.Agent.Turn.State = town.TurnWorking // the next message waits for this one's turn
	a.publish()
	a.write(m)
}

// endTold is how long the end of a program may take to be told that takes no input any more.
const endTold = 2 * time.Second

// write has the keeper write a message to a structured program's input. It is
// delivered when the program says so. One that a program did not take which was ending
// is given to the next.
func (a *agent) write(m message) {
	run, seq, input := a.rec.Agent.RunID, a.rec.Seq, a.cli.Input(m.Text, m.ID)
	feed := a.feed.Load()
	a.s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(a.s.ctx, inputTimeout)
		defer cancel()
		err := a.s.keeper.client().Input(ctx, run, m.ID, input)
		feed.touch(time.Now())
		if err == nil {
			return
		}
		telling, done := context.WithTimeout(a.s.ctx, endTold)
		defer done()
		if _, exit, _ := feed.waitProcess(telling, seq, math.MaxInt64); exit != nil || a.s.ctx.Err() != nil {
			return // its end says what becomes of the message, or the next server gives it again
		}
		a.post(func() {
			if a.rec.Agent.RunID == run && a.rec.Seq == seq && !a.settling {
				a.delivered(m.ID, town.ReceiptFailed, err)
			}
		})
	})
}

// typeIn types a message into a program's terminal. again says that an earlier
// server may have begun to.
func (a *agent) typeIn(m message, again bool) {
	opt := typing.Options{Interrupt: m.When == town.DeliverNow, Again: again}
	if argv := a.rec.Request.Command; len(argv) > 0 {
		opt.Program = argv[0]
	}
	feed := a.feed.Load()
	a.s.wg.Go(func() {
		err := a.s.typeMessage(a.s.ctx, feed, m, opt)
		feed.touch(time.Now())
		if a.s.ctx.Err() != nil {
			return // the next server goes on
		}
		a.post(func() {
			stage := town.ReceiptDelivered
			if err != nil {
				stage = town.ReceiptFailed
			}
			a.delivered(m.ID, stage, err)
		})
	})
}

// delivered ends a delivery that the agent's output does not tell of itself.
func (a *agent) delivered(id string, stage town.Receipt, err error) {
	if a.rec.Giving.ID != id {
		return // the agent has ended meanwhile, and told so
	}
	if err != nil {
		a.log.Warn("message not delivered", "message", id, "error", err)
	}
	a.acknowledged(id, stage)
	a.publish()
	a.emit(town.EventMessage, town.MessageData{MessageID: id, Receipt: stage})
	if reply := a.typed[id]; reply != nil {
		delete(a.typed, id)
		reply(err)
	}
	a.deliverQueue()
}

// acknowledged takes in what became of the message that the program was given.
func (a *agent) acknowledged(id string, stage town.Receipt) {
	a.rec.Queue = slices.DeleteFunc(a.rec.Queue, func(q message) bool { return q.ID == id })
	if a.rec.Giving.ID == id {
		a.rec.Giving = giving{}
	}
	switch stage {
	case town.ReceiptDelivered:
		if a.structured.Load() {
			a.rec.Unseen = append(a.rec.Unseen, id)
		}
		if !strings.HasPrefix(id, a.rec.Agent.RunID) { // somebody spoke: whatever it waited for
			a.rec.Reminders = 0
			if a.rec.Report.State == town.ReasonWaiting {
				a.rec.Report = town.Report{}
			}
		}
	case town.ReceiptFailed:
		a.rec.Receipts = slices.DeleteFunc(a.rec.Receipts, func(r receipt) bool { return r.ID == id })
		if a.structured.Load() {
			a.rec.Agent.Turn.State = town.TurnIdle
		}
	case town.ReceiptSeen: // the CLI itself knows to which message its model answers
		a.rec.Unseen = slices.DeleteFunc(a.rec.Unseen, func(u string) bool { return u == id })
	case town.ReceiptQueued:
	}
}

// acknowledge is acknowledged for what the agent's output does not say in words.
func (a *agent) acknowledge(id string, stage town.Receipt) {
	a.acknowledged(id, stage)
	a.emit(town.EventMessage, town.MessageData{MessageID: id, Receipt: stage})
}

// seen tells of the messages that the model has now answered to.
func (a *agent) seen() {
	for _, id := range a.rec.Unseen {
		a.emit(town.EventMessage, town.MessageData{MessageID: id, Receipt: town.ReceiptSeen})
	}
	a.rec.Unseen = nil
}
