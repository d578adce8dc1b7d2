package townhall

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"townd/town"
)

// The breaker pauses a town in which one attempt after another fails. After a while
// one bead is handed out as a probe: if it gets anywhere the town goes on.
const (
	breakerFailures = 20
	breakerWindow   = 30 * time.Minute
	breakerRest     = 10 * time.Minute
	breakerPrefix   = "breaker: "
	settingBreaker  = "breaker"
)

// breaker is the breaker's state, as it is kept in the settings.
type breaker struct {
	OpenedAt   time.Time `json:"openedAt,omitzero"` // or opened again, after a probe that failed
	ClosedAt   time.Time `json:"closedAt,omitzero"` // failures before do not count
	ProbeBead  string    `json:"probeBead,omitempty"`
	ProbeEpoch int64     `json:"probeEpoch,omitempty"`
}

func (b breaker) open() bool { return b.OpenedAt.After(b.ClosedAt) }

// since is from when on failures count.
func (b breaker) since(now time.Time) time.Time {
	if from := now.Add(-breakerWindow); from.After(b.ClosedAt) {
		return from
	}
	return b.ClosedAt.Add(time.Millisecond) // the store's times are of milliseconds
}

// probeEnd is what became of a probe.
type probeEnd int

const (
	probeRuns probeEnd = iota
	probeSucceeded
	probeFailed
)

// judgeProbe says how the probe of a breaker stands, by its bead as it is now: it
// succeeds by handing its work over, and fails with its lease.
func (b breaker) judgeProbe(bead town.Bead) probeEnd {
	switch {
	case bead.Status == town.BeadInReview, bead.Status == town.BeadClosed:
		return probeSucceeded
	case bead.Status == town.BeadInProgress && bead.Epoch == b.ProbeEpoch:
		return probeRuns
	}
	return probeFailed
}

// checkBreaker opens and closes the breaker.
func (d *dispatcher) checkBreaker(ctx context.Context, now time.Time) error {
	b, paused := d.town.breaker, d.town.paused
	switch {
	case !b.open() && paused == "":
		return d.maybeTrip(ctx, b, now)
	case !b.open():
		return nil // a person has paused it
	case !strings.HasPrefix(paused, breakerPrefix): // a person lets it go on, or pauses it for a reason of their own
		_, err := d.setBreaker(ctx, breaker{OpenedAt: b.OpenedAt, ClosedAt: now}, paused)
		return err
	case b.ProbeBead == "":
		d.wakeAt(b.OpenedAt.Add(breakerRest))
		return nil
	}
	bead, err := d.h.Bead(ctx, b.ProbeBead)
	if err != nil {
		bead = town.Bead{} // its rig was deleted: no success
	}
	switch b.judgeProbe(bead) {
	case probeRuns:
		return nil
	case probeSucceeded:
		b, paused = breaker{OpenedAt: b.OpenedAt, ClosedAt: now}, ""
		d.log.Info("breaker closed", "probe", bead.ID)
	case probeFailed:
		d.wakeAt(now.Add(breakerRest))
		b = breaker{OpenedAt: now, ClosedAt: b.ClosedAt}
	}
	_, err = d.setBreaker(ctx, b, paused)
	return err
}

// maybeTrip opens the breaker when too many attempts have failed.
func (d *dispatcher) maybeTrip(ctx context.Context, b breaker, now time.Time) error {
	n, err := d.h.failures(ctx, b.since(now))
	if err != nil || n < breakerFailures {
		return err
	}
	why := fmt.Sprintf("%s%d attempts failed within %d minutes", breakerPrefix, n, int(breakerWindow.Minutes()))
	if ok, err := d.setBreaker(ctx, breaker{OpenedAt: now, ClosedAt: b.ClosedAt}, why); err != nil || !ok {
		return err
	}
	d.log.Error("breaker opened", "failures", n)
	d.wakeAt(now.Add(breakerRest))
	return d.h.escalateOnce(ctx, town.EscalationRequest{
		Severity: town.PriorityCritical, Title: "The town has paused itself", Cause: "breaker",
		Body: why + ". One bead is tried every 10 minutes; the first that gets anywhere lets the town go on.",
	})
}

// room returns how many more polecats there may be beside those that are live: none
// while the town is paused, but one as the probe of a breaker that has rested.
func (d *dispatcher) room(live int, now time.Time) int {
	b, paused := d.town.breaker, d.town.paused
	if paused == "" {
		return d.cfg.MaxAgents - live
	}
	if !strings.HasPrefix(paused, breakerPrefix) || !b.open() || b.ProbeBead != "" {
		return 0
	}
	if due := b.OpenedAt.Add(breakerRest); now.Before(due) {
		d.wakeAt(due)
		return 0
	}
	return 1
}

// claimed takes in that a bead was claimed: the first one while the breaker is open
// is its probe.
func (d *dispatcher) claimed(ctx context.Context, bead town.Bead) error {
	b := d.town.breaker
	if !b.open() {
		return nil
	}
	b.ProbeBead, b.ProbeEpoch = bead.ID, bead.Epoch
	_, err := d.setBreaker(ctx, b, d.town.paused)
	return err
}

// setBreaker writes the breaker's state, and with it why the town is paused. ok is false,
// and nothing is written, when a person has paused the town or let it go on since the pass
// looked: the pass that follows decides by that.
func (d *dispatcher) setBreaker(ctx context.Context, b breaker, paused string) (ok bool, err error) {
	text, err := json.Marshal(b)
	if err != nil {
		return false, err
	}
	err = d.h.write(ctx, fact, func(tx *tx) error {
		now, err := getSetting(tx, settingPaused)
		if ok = err == nil && now == d.town.paused; !ok {
			return err
		}
		if err := setSetting(tx, settingBreaker, string(text)); err != nil {
			return err
		}
		return setSetting(tx, settingPaused, paused)
	})
	if ok = ok && err == nil; ok {
		d.town.breaker, d.town.paused = b, paused
	}
	return ok, err
}
