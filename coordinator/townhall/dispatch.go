package townhall

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"townd/town"
)

// DefaultTownAgents is how many polecats work at once in a town that sets no bound.
const DefaultTownAgents = 5

// DispatchConfig is what Dispatch needs. Container is required.
type DispatchConfig struct {
	Container func() Container // the town's container as it is now, nil while there is none
	MaxAgents int              // polecats at once in all rigs; DefaultTownAgents when 0. Mayor and refineries are not counted
	Watch     WatchConfig      // when nobody moves
}

// Dispatch hands out beads, has finished branches reviewed and merged, and looks
// after what stands still, until ctx ends. It returns when no call of its to a
// container is under way. What it has not finished then it takes up when it is
// called again. One Dispatch at a time.
func (h *Hall) Dispatch(ctx context.Context, cfg DispatchConfig) error {
	if cfg.Container == nil {
		return errors.New("dispatch: Container is required")
	}
	cfg.MaxAgents = cmp.Or(cfg.MaxAgents, DefaultTownAgents)
	cfg.Watch.setDefaults()
	d := &dispatcher{
		h: h, cfg: cfg, log: h.log,
		told: make(chan struct{}, 1),
		rigs: map[string]*gate{}, asked: map[string]*askedMerge{}, sent: map[string]bool{},
	}
	d.run(ctx)
	return nil
}

// dispatcher is the one goroutine that decides. Its calls to the container run
// beside it, and tell it their ends; what it remembers of them is its own, and
// only what the database does not need to know.
type dispatcher struct {
	h   *Hall
	cfg DispatchConfig
	log *slog.Logger

	container gate
	rigs      map[string]*gate       // of their remotes
	asked     map[string]*askedMerge // by merge
	sent      map[string]bool        // orders that were sent at once
	silent    map[string]int64       // epoch by bead: of silent agents that people were told of
	lastRig   string                 // that was given an agent last
	recovered bool                   // beads that were in progress at the start are looked after
	failures  int                    // passes in a row in which something failed

	town     townState // as of the pass that runs
	watched  time.Time // the heartbeat by which agents were looked at last
	watchDue time.Time // when they are to be looked at without another one

	due   time.Time // of the pass that runs: when the next is needed, zero for never
	calls sync.WaitGroup

	told  chan struct{}
	mu    sync.Mutex
	tells []func(ctx context.Context) // what calls have to tell
}

// run passes whenever something has changed, a call has ended, or the time has come
// for something.
func (d *dispatcher) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		changed := d.h.Changed()
		d.listen(ctx)
		timer.Reset(d.pass(ctx))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-d.told:
		case <-timer.C:
		}
	}
	d.calls.Wait()
	// What the last calls brought is owed: a bead that could not be started is free again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	d.listen(ctx)
}

// longestWait bounds a wait for the time alone: the wall clock may be set meanwhile.
const longestWait = time.Hour

// pass looks at everything once and returns how long nothing needs to be looked at
// unless it changes.
func (d *dispatcher) pass(ctx context.Context) time.Duration {
	now := d.h.clock.now()
	d.due = time.Time{}
	failed := false
	for _, step := range []struct {
		what string
		do   func(context.Context, time.Time) error
	}{
		{"state", d.look},
		{"leases", d.endLeases},
		{"breaker", d.checkBreaker},
		{"agents", d.watch},
		{"convoys", d.landConvoys},
		{"merges", d.moveMerges},
		{"orders", d.sendOrders},
		{"beads", d.handOut},
	} {
		if err := step.do(ctx, now); err != nil && ctx.Err() == nil {
			failed = true
			d.log.Error("town hall pass failed", "step", step.what, "error", err)
		}
	}
	d.show(now)
	if failed {
		d.failures++
		d.wakeAt(now.Add(gateDelays[min(d.failures, len(gateDelays))-1]))
	} else {
		d.failures = 0
	}
	if d.due.IsZero() {
		return longestWait
	}
	return min(max(d.due.Sub(d.h.clock.now()), 0), longestWait)
}

// wakeAt asks for a pass at that time; zero is no time.
func (d *dispatcher) wakeAt(at time.Time) {
	if !at.IsZero() && (d.due.IsZero() || at.Before(d.due)) {
		d.due = at
	}
}

// look reads what several steps need.
func (d *dispatcher) look(ctx context.Context, _ time.Time) error {
	was := d.town.standby
	var err error
	d.town, err = d.h.townState(ctx)
	switch is := d.town.standby; {
	case was == nil && is != nil:
		d.log.Warn("standby: no agents are started", "why", is.Why, "until", is.Until)
	case was != nil && is == nil && err == nil:
		d.log.Info("standby is over")
	}
	return err
}

// call runs fn beside the dispatcher; what it returns is done by the dispatcher.
func (d *dispatcher) call(fn func() (then func(ctx context.Context))) {
	d.calls.Go(func() {
		then := fn()
		d.mu.Lock()
		d.tells = append(d.tells, then)
		d.mu.Unlock()
		select {
		case d.told <- struct{}{}:
		default:
		}
	})
}

// listen does what calls that have ended asked for.
func (d *dispatcher) listen(ctx context.Context) {
	d.mu.Lock()
	tells := d.tells
	d.tells = nil
	d.mu.Unlock()
	for _, then := range tells {
		then(ctx)
	}
}

// owe runs fn, and again with the next pass if it fails: what was promised must be
// written down, even when the database is locked or full for a moment.
func (d *dispatcher) owe(ctx context.Context, what string, fn func(ctx context.Context) error) {
	err := fn(ctx)
	if err == nil || errors.Is(err, town.ErrNotFound) || errors.Is(err, town.ErrConflict) {
		return // the bead is gone, or has moved on meanwhile
	}
	d.log.Error("town hall cannot write", "what", what, "error", err)
	select {
	case <-ctx.Done():
		return
	case <-time.After(time.Second): // the disk is full or locked: nothing else could be written either
	}
	d.mu.Lock()
	d.tells = append(d.tells, func(ctx context.Context) { d.owe(ctx, what, fn) })
	d.mu.Unlock()
	select {
	case d.told <- struct{}{}:
	default:
	}
}
