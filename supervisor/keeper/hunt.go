package keeper

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// phase is where the ending of a tree stands.
type phase int

const (
	phaseLive   phase = iota // the leader runs and nobody asked for an end
	phaseLook                // the leader ended by itself; is anything left?
	phaseSignal              // the first signal is due
	phaseGrace               // the first signal is sent, SIGKILL is due at killAt
	phaseKill                // SIGKILL until nothing is left
	phaseGone                // proven empty, or given up
)

// giveUpAfter bounds phaseKill: what takes longer hangs in the kernel.
const giveUpAfter = 5 * time.Second

// hunt ends one pack of processes. Its owner calls step with fresh scans; the
// rest it may call in between. It is not safe for concurrent use.
type hunt struct {
	pack      pack
	phase     phase
	first     syscall.Signal // of phaseSignal
	grace     time.Duration
	asked     uint64 // clock ticks since boot; what started later gets no first signal
	killAt    time.Time
	killed    time.Time // the last SIGKILL to all
	giveUp    time.Time
	empty     time.Time // began the first of the empty scans in a row
	escalated bool
	survivors []int
}

// ask starts the hunt or, when it is on, makes it shorter.
func (h *hunt) ask(now time.Time, e End) {
	killAt := now.Add(e.Grace)
	if e.Signal == syscall.SIGKILL {
		killAt = now
	}
	switch h.phase {
	case phaseLive, phaseLook:
		h.phase, h.first, h.asked, h.killAt = phaseSignal, e.Signal, ticksSinceBoot(), killAt
	case phaseSignal, phaseGrace:
		if killAt.Before(h.killAt) {
			h.killAt = killAt
		}
	case phaseKill, phaseGone:
	}
}

// look starts the hunt for what a leader left behind.
func (h *hunt) look(grace time.Duration) {
	if h.phase == phaseLive {
		h.phase, h.grace = phaseLook, grace
	}
}

// step does what is due after a scan, and returns when the next one is due at
// the latest. The phase is phaseGone in the end.
func (h *hunt) step(t *table, now time.Time) (next time.Time, err error) {
	found := h.pack.find(t)
	if len(found) == 0 {
		return h.confirm(t, now)
	}
	h.empty = time.Time{}
	switch h.phase {
	case phaseLook:
		h.ask(now, End{Signal: syscall.SIGTERM, Grace: h.grace})
		err = h.begin(found, now)
	case phaseSignal:
		err = h.begin(found, now)
	case phaseGrace:
		if !now.Before(h.killAt) {
			err = h.kill(found, now)
		} else if late := h.pack.late(found, h.asked); len(late) > 0 {
			err = h.pack.signal(late, h.first, syscall.SIGCONT)
		}
	case phaseKill:
		if now.After(h.giveUp) {
			h.phase = phaseGone
			for _, p := range found {
				h.survivors = append(h.survivors, p.PID)
			}
			break
		}
		err = h.kill(found, now)
	case phaseLive, phaseGone:
	}
	return h.next(now), err
}

// begin sends the first signal, and SIGCONT: a stopped process takes none.
func (h *hunt) begin(found []Proc, now time.Time) error {
	if h.first == syscall.SIGKILL || !now.Before(h.killAt) {
		return h.kill(found, now)
	}
	h.phase = phaseGrace
	return h.pack.signal(found, h.first, syscall.SIGCONT)
}

func (h *hunt) kill(found []Proc, now time.Time) error {
	if h.phase != phaseKill {
		h.phase, h.giveUp, h.escalated = phaseKill, now.Add(giveUpAfter), true
	}
	err := h.pack.signal(found, syscall.SIGKILL)
	h.killed = time.Now()
	return err
}

// confirm is what an empty scan calls for.
func (h *hunt) confirm(t *table, now time.Time) (time.Time, error) {
	if h.phase == phaseLive || h.phase == phaseGone {
		return h.next(now), nil
	}
	if h.pack.proven(h.killed, h.empty, t.at) {
		h.phase = phaseGone
		return now, nil
	}
	if !h.empty.IsZero() {
		return h.next(now), nil
	}
	h.empty = t.at
	// Nobody is seen, so nobody needs it; but where SIGKILL reaches all at once
	// it also reaches who was born behind the scan.
	err := h.pack.signal(nil, syscall.SIGKILL)
	h.killed = time.Now()
	return h.next(now), err
}

// next is when to scan again if no process ends before.
func (h *hunt) next(now time.Time) time.Time {
	switch {
	case h.phase == phaseKill:
		return now
	case !h.empty.IsZero():
		return h.empty.Add(h.pack.patience())
	case h.phase == phaseGrace && h.killAt.Before(now.Add(scanTick)):
		return h.killAt
	default:
		return now.Add(scanTick)
	}
}

// scanTick is how often a tree that is being ended is looked at though nothing
// that we can wait for has happened: others reap most of its processes.
const scanTick = 50 * time.Millisecond

// ticksSinceBoot is now as Proc.Start counts it: 100 a second on every Linux
// that Go runs on (USER_HZ).
func ticksSinceBoot() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // Linux has had the clock since 2.6.39
	}
	return uint64(ts.Nano()) / uint64(10*time.Millisecond)
}
