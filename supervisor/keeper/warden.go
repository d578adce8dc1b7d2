package keeper

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Scans are at least this far apart, and as long again as the last one took, so
// that ending trees leaves the machine to the others.
const minScanGap = 5 * time.Millisecond

// warden ends trees: one goroutine with one scan of /proc for all of them. It
// is safe for concurrent use.
type warden struct {
	log  *slog.Logger
	wake chan struct{} // holds 1

	mu    sync.Mutex
	hunts map[*run]*hunt // those under way; guards the fields of every hunt too
	kills int64          // hunts that needed SIGKILL
}

func newWarden(log *slog.Logger) *warden {
	return &warden{log: log, wake: make(chan struct{}, 1), hunts: map[*run]*hunt{}}
}

// end asks for the end of a run's tree, or for a faster one.
func (w *warden) end(r *run, e End) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.hunt.phase == phaseGone {
		return
	}
	r.noteAsked()
	r.hunt.ask(time.Now(), e)
	w.hunts[r] = r.hunt
	w.nudge()
}

// leaderEnded looks for what the leader has left behind.
func (w *warden) leaderEnded(r *run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.hunt.look(r.spawn.LeftoverGrace)
	if r.hunt.phase != phaseGone { // else it is under way still, or over: the loop may learn of the leader's end first
		w.hunts[r] = r.hunt
	}
	w.nudge()
}

// escalations returns how many trees needed SIGKILL.
func (w *warden) escalations() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kills
}

// nudge tells the loop that something may have changed.
func (w *warden) nudge() {
	raise(w.wake)
}

// loop runs until ctx ends.
func (w *warden) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
		began := time.Now()
		due, pending := w.round()
		took := time.Since(began)
		if !pending {
			timer.Stop() // until the next nudge
			continue
		}
		pause(ctx, max(minScanGap, took))
		timer.Reset(max(0, time.Until(due)))
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// round scans once for all hunts and returns when the next round is due.
func (w *warden) round() (due time.Time, pending bool) {
	hunts := w.underWay()
	if len(hunts) == 0 {
		return time.Time{}, false
	}
	var what scanWhat
	for _, r := range hunts {
		what |= r.hunt.pack.needs()
	}
	t, err := newTable(what)
	if err != nil {
		w.log.Error("scan failed", "error", err)
		return time.Now().Add(scanTick), true
	}
	due = time.Now().Add(time.Minute)
	for _, r := range hunts {
		next, over := w.step(r, t)
		if !over {
			due, pending = earlier(due, next), true
		}
	}
	return due, pending
}

func (w *warden) underWay() []*run {
	w.mu.Lock()
	defer w.mu.Unlock()
	runs := make([]*run, 0, len(w.hunts))
	for r := range w.hunts {
		runs = append(runs, r)
	}
	return runs
}

// step moves one hunt on; over means that the tree is gone.
func (w *warden) step(r *run, t *table) (next time.Time, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	next, err := r.hunt.step(t, now)
	if err != nil {
		w.log.Warn("signal failed", "run", r.spawn.Run, "error", err)
	}
	if r.hunt.phase != phaseGone {
		return next, false
	}
	if !r.reaped() && len(r.hunt.survivors) == 0 {
		return now, false // a zombie: the reaper has not come to it
	}
	delete(w.hunts, r)
	if r.hunt.escalated {
		w.kills++
	}
	r.treeGone(r.hunt.escalated, r.hunt.survivors)
	return next, true
}

// signalName returns the name of a signal as SIGTERM, also of one without a name.
func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(int(sig))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
