package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

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
// The same non-empty key again returns the same id and delivers nothing. It
// returns ErrConflict when the agent cannot take messages any more.
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
	if !a.structured.Load() { // typed at once, or as soon as the program runs
		a.typed[msg.ID] = func(err error) { reply(msg.ID, err) }
	} else {
		reply(msg.ID, nil)
	}
	a.publish()
	a.deliverQueue()
}

// deliverQueue gives the agent the next message whose time has come. A message
// leaves the queue when it is delivered; until then a successor of this process
// tries again, and the keeper knows what it was given.
func (a *agent) deliverQueue() {
	view := &a.rec.Agent
	if view.Status != town.StatusRunning || a.launch != nil || a.giving != "" || len(a.rec.Queue) == 0 {
		return
	}
	m := a.rec.Queue[0]
	if view.Turn.State == town.TurnWorking && (m.When != town.DeliverNow || a.cli.PerTurn()) {
		a.noteQueued()
		return
	}
	a.giving = m.ID
	if a.cli.PerTurn() {
		a.nextTurn(m)
		return
	}
	if a.structured.Load() {
		view.Turn.State = town.TurnWorking // the next message waits for this one's turn
	}
	a.publish()
	a.give(m)
}

// noteQueued gives every waiting message its receipt, once.
func (a *agent) noteQueued() {
	for i := range a.rec.Queue {
		if m := &a.rec.Queue[i]; !m.Queued {
			m.Queued = true
			a.dirty = true
			a.emit(town.EventMessage, town.MessageData{MessageID: m.ID, Receipt: town.ReceiptQueued})
		}
	}
}

// give writes a message to the running program's input.
func (a *agent) give(m message) {
	run, input := a.rec.Agent.RunID, a.cli.Input(m.Text, m.ID)
	feed := a.feed.Load()
	a.s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(a.s.ctx, inputTimeout)
		defer cancel()
		err := a.s.keeper.client().Input(ctx, run, m.ID, input)
		feed.touch(time.Now())
		a.post(func() { a.given(m, err) })
	})
}

// nextTurn starts the next process of a CLI that ends with each turn.
func (a *agent) nextTurn(m message) {
	a.rec.Seq++
	a.rec.Giving = m.ID
	a.publish()
	a.spawn(m, func(_ town.Agent, err error) { a.given(m, err) })
}

// given takes in how a delivery went and goes on with the next message.
func (a *agent) given(m message, err error) {
	if a.giving != m.ID {
		return // the agent has ended meanwhile, and told so
	}
	a.giving = ""
	a.rec.Giving = ""
	a.rec.Queue = slices.DeleteFunc(a.rec.Queue, func(q message) bool { return q.ID == m.ID })
	stage := town.ReceiptDelivered
	if err != nil {
		a.log.Warn("message not delivered", "message", m.ID, "error", err)
		stage = town.ReceiptFailed
		a.rec.Receipts = slices.DeleteFunc(a.rec.Receipts, func(r receipt) bool { return r.ID == m.ID })
		if a.structured.Load() && !a.cli.PerTurn() {
			a.rec.Agent.Turn.State = town.TurnIdle
		}
	}
	a.publish()
	a.emit(town.EventMessage, town.MessageData{MessageID: m.ID, Receipt: stage})
	if reply := a.typed[m.ID]; reply != nil {
		delete(a.typed, m.ID)
		reply(err)
	}
	a.deliverQueue()
}

// Input types p into the agent's terminal. It returns ErrConflict for an agent
// that has no terminal: it has ended, or is structured and takes messages.
func (s *Supervisor) Input(ctx context.Context, id string, p []byte) error {
	run, a, err := s.terminal(id)
	if err != nil {
		return err
	}
	if err := s.keeper.client().Input(ctx, run, "", p); err != nil {
		return err
	}
	a.feed.Load().touch(time.Now())
	return nil
}

// Resize sizes the agent's terminal. Each side may be 1 to 1000.
func (s *Supervisor) Resize(ctx context.Context, id string, cols, rows uint16) error {
	if err := town.CheckTerminalSize(cols, rows); err != nil {
		return err
	}
	run, a, err := s.terminal(id)
	if err != nil {
		return err
	}
	if err := s.keeper.client().Resize(ctx, run, cols, rows); err != nil {
		return err
	}
	a.feed.Load().resize(cols, rows)
	return nil
}

// terminal returns the run of an agent that has a terminal.
func (s *Supervisor) terminal(id string) (run string, a *agent, err error) {
	a, err = s.find(id)
	if err != nil {
		return "", nil, err
	}
	view := a.view()
	switch {
	case view.PID == nil:
		return "", nil, fmt.Errorf("agent %s is %s and has no terminal: %w", id, view.Status, town.ErrConflict)
	case a.structured.Load():
		return "", nil, fmt.Errorf("agent %s speaks a protocol, not a terminal; send it a message: %w", id, town.ErrConflict)
	}
	return view.RunID, a, nil
}

// Forget saves what an ended agent left unsaved as a checkpoint, removes its
// worktree and everything known of it. Its branch stays. It returns ErrConflict
// while the agent lives.
func (s *Supervisor) Forget(ctx context.Context, id string) error {
	a, err := s.find(id)
	if err != nil {
		return err
	}
	_, err = ask(ctx, a, func(reply func(struct{}, error)) {
		if a.rec.Agent.RunID == "" { // made for a start that is being decided
			reply(struct{}{}, errForgotten)
			return
		}
		if a.discarding {
			reply(struct{}{}, fmt.Errorf("agent %s is being forgotten: %w", a.id, town.ErrConflict))
			return
		}
		if a.rec.Agent.Status.Live() {
			reply(struct{}{}, fmt.Errorf("agent %s is %s; stop it first: %w", a.id, a.rec.Agent.Status, town.ErrConflict))
			return
		}
		a.discard(func(err error) { reply(struct{}{}, err) })
	})
	return err
}

// discard checkpoints and removes the worktree, then the agent. The branch is
// held meanwhile, so that no other agent starts in it.
func (a *agent) discard(reply func(error)) {
	rec := a.rec
	key := branchKey(rec.Request.RigID, rec.Request.Branch)
	if err := a.s.claim(key, a.id); err != nil { // another agent works there now: the worktree is its
		a.remove(reply)
		return
	}
	a.cancelRestart()
	a.discarding = true
	a.s.wg.Go(func() {
		err := a.s.removeWorktree(a.s.ctx, &rec)
		a.s.unclaim(key, a.id)
		a.post(func() {
			a.discarding = false
			if err == nil {
				a.s.users.release(key)
				a.remove(reply)
			} else {
				reply(err)
			}
			a.runEnded(nil)
		})
	})
}

func (s *Supervisor) removeWorktree(ctx context.Context, rec *record) error {
	if rec.Agent.Workdir == "" {
		return nil
	}
	rig, branch := rec.Request.RigID, rec.Request.Branch
	if _, err := s.cfg.Git.Checkpoint(ctx, rig, branch, rec.Request.AgentID, rec.owner()); err != nil && !errors.Is(err, town.ErrNotFound) {
		return err
	}
	if err := s.cfg.Git.Remove(ctx, rig, branch, true); err != nil && !errors.Is(err, town.ErrNotFound) {
		return err
	}
	return nil
}

// remove forgets the agent and deletes the transcripts of its runs.
func (a *agent) remove(reply func(error)) {
	err := a.forget()
	for _, run := range append(a.rec.Runs, a.rec.Agent.RunID) {
		err = errors.Join(err, os.RemoveAll(a.s.runDir(run)))
	}
	reply(err)
}
