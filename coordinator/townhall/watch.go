package townhall

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"townd/town"
)

// WatchConfig says after how long somebody who does not move is looked after. Zero
// values are the defaults.
type WatchConfig struct {
	IdleAfter   time.Duration // an agent whose turn has ended without done is nudged; 10 min
	NudgeEvery  time.Duration // between nudges, and before people are told; 10 min
	Nudges      int           // before people are told; 2
	SilentAfter time.Duration // a working agent without any sign is told to people; 1 h
	StopSilent  time.Duration // and is ended; 2 h
	StrayAfter  time.Duration // an agent whose bead is no longer its own is ended; 2 min
	ForgetAfter time.Duration // an ended agent whose bead has ended is forgotten, with its output; 24 h
	KeepEnded   int           // but at most so many are kept, for each has a user of its own; 200
}

func (w *WatchConfig) setDefaults() {
	w.IdleAfter = cmp.Or(w.IdleAfter, 10*time.Minute)
	w.NudgeEvery = cmp.Or(w.NudgeEvery, 10*time.Minute)
	w.Nudges = cmp.Or(w.Nudges, 2)
	w.SilentAfter = cmp.Or(w.SilentAfter, time.Hour)
	w.StopSilent = cmp.Or(w.StopSilent, 2*time.Hour)
	w.StrayAfter = cmp.Or(w.StrayAfter, 2*time.Minute)
	w.ForgetAfter = cmp.Or(w.ForgetAfter, 24*time.Hour)
	w.KeepEnded = cmp.Or(w.KeepEnded, 200)
}

// endLeases does what time alone brings about: leases and questions end, escalations
// are raised again. Leases that no heartbeat could have renewed the store has
// lengthened before: at its start, and when the clock jumped.
func (d *dispatcher) endLeases(ctx context.Context, now time.Time) error {
	at, ok, err := d.h.nextDeadline(ctx)
	if err != nil || !ok {
		return err
	}
	if at.After(now) {
		d.wakeAt(at)
		return nil
	}
	d.wakeAt(now.Add(time.Second)) // for what comes after
	beads, err := d.h.expired(ctx, now, d.unanswered)
	for _, b := range beads {
		delete(d.unanswered, b.ID)
		d.log.Warn("lease ended", "bead", b.ID, "agent", b.AgentID, "epoch", b.Epoch, "status", b.Status)
	}
	return err
}

// watch looks after agents that do not move: after each heartbeat, for it alone tells
// of agents, and when the time has come for one of them.
func (d *dispatcher) watch(ctx context.Context, now time.Time) error {
	others := d.due
	if d.town.seen.Equal(d.watched) && (d.watchDue.IsZero() || now.Before(d.watchDue)) {
		d.wakeAt(d.watchDue)
		return nil
	}
	d.due = time.Time{}
	err := errors.Join(d.watchIdle(ctx, now), d.watchSilent(ctx, now), d.clearStrays(ctx, now))
	if err == nil {
		d.watched, d.watchDue = d.town.seen, d.due
	}
	d.wakeAt(others)
	return err
}

const nudgeText = "Your turn has ended, but your bead is not handed over: ending a turn is not done. " +
	"If the work is finished, push and call gt_done. If nothing needs to change, close the bead and say why. " +
	"If you cannot go on, call gt_escalate. Otherwise go on now."

// watchIdle nudges agents whose turn has ended without a word of what became of
// their bead, and at last tells people: idle is not done.
func (d *dispatcher) watchIdle(ctx context.Context, now time.Time) error {
	idle, err := d.h.idle(ctx, now)
	if err != nil {
		return err
	}
	for _, i := range idle {
		due := i.IdleFrom.Add(d.cfg.Watch.IdleAfter)
		if i.NudgedAt != nil {
			due = i.NudgedAt.Add(d.cfg.Watch.NudgeEvery)
		}
		if now.Before(due) {
			d.wakeAt(due)
			continue
		}
		if i.Nudges >= d.cfg.Watch.Nudges {
			err = d.h.call(ctx, i.Bead.ID, Call{
				Event: EventBlock, By: "town", Epoch: i.Bead.Epoch, Cause: "idle:" + i.Bead.ID,
				Reason: fmt.Sprintf("its agent %s is idle since %s, without done, after %d nudges", i.Bead.AgentID, clockTime(i.IdleFrom), i.Nudges),
			})
		} else {
			err = d.h.write(ctx, fact, func(tx *tx) error { return nudgeIdle(tx, i) })
			d.wakeAt(now.Add(d.cfg.Watch.NudgeEvery))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func nudgeIdle(tx *tx, i idleBead) error {
	data, err := json.Marshal(town.MessageRequest{Prompt: nudgeText, Deliver: town.DeliverIdle})
	if err != nil {
		return err
	}
	if _, err := order(tx, town.Order{Kind: town.OrderMessage, AgentID: i.Bead.AgentID, Data: data}); err != nil {
		return err
	}
	return nudged(tx, i.Bead.ID)
}

// watchSilent tells people of agents that work without any sign, and at last ends them.
func (d *dispatcher) watchSilent(ctx context.Context, now time.Time) error {
	silent, err := d.h.stuck(ctx, now)
	if err != nil {
		return err
	}
	told := map[string]int64{}
	for _, s := range silent {
		tell, end := s.IdleFrom.Add(d.cfg.Watch.SilentAfter), s.IdleFrom.Add(d.cfg.Watch.StopSilent)
		reason := fmt.Sprintf("its agent %s shows no sign since %s", s.Bead.AgentID, clockTime(s.IdleFrom))
		switch {
		case now.Before(tell):
			d.wakeAt(tell)
		case now.Before(end):
			d.wakeAt(end)
			if told[s.Bead.ID] = s.Bead.Epoch; d.silent[s.Bead.ID] == s.Bead.Epoch {
				continue
			}
			err = d.h.escalateOnce(ctx, town.EscalationRequest{
				Severity: town.PriorityMedium, Title: "Agent " + s.Bead.AgentID + " is silent", Body: "Bead " + s.Bead.ID + ": " + reason,
				AgentID: s.Bead.AgentID, BeadID: s.Bead.ID, RigID: s.Bead.RigID, Cause: fmt.Sprintf("silent:%s:%d", s.Bead.ID, s.Bead.Epoch),
			})
		default: // the lease ends here; the agent is a stray from now on
			_, err = d.h.released(ctx, s.Bead.ID, s.Bead.Epoch, reason)
			if err == nil {
				err = d.h.order(ctx, town.OrderStop, s.Bead.AgentID)
			}
		}
		if err != nil {
			return err
		}
	}
	d.silent = told
	return nil
}

// clearStrays ends agents whose bead is no longer theirs, and has the container
// forget agents whose bead has ended: until then people can look at what they did.
func (d *dispatcher) clearStrays(ctx context.Context, now time.Time) error {
	strays, err := d.h.strays(ctx)
	if err != nil {
		return err
	}
	kept := 0
	for _, s := range strays {
		kind, after := town.OrderStop, d.cfg.Watch.StrayAfter
		if !s.Live {
			kind, after = town.OrderForget, d.cfg.Watch.ForgetAfter
			kept++
		}
		if due := s.Since.Add(after); now.Before(due) && kept <= d.cfg.Watch.KeepEnded {
			d.wakeAt(due)
			continue
		}
		if err := d.h.order(ctx, kind, s.AgentID); err != nil {
			return err
		}
	}
	return nil
}

func clockTime(t time.Time) string { return t.UTC().Format("15:04") }
