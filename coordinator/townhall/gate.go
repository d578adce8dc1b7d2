package townhall

import "time"

// gate keeps work away from something that fails as a whole: a container, or the
// remote of a rig. After each failure it is shut for a while, longer each time; then
// one start at a time tries whether it is well again, and the first that succeeds
// opens it. It belongs to the dispatcher's goroutine.
type gate struct {
	failures int
	until    time.Time
	why      string
	trying   int // starts under way
}

// gateDelays is how long a gate is shut after its first, second … failure in a row.
var gateDelays = []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute}

// lets reports whether a start may go through at now.
func (g *gate) lets(now time.Time) bool {
	return g.failures == 0 || !now.Before(g.until) && g.trying == 0
}

// enter and leave frame a start.
func (g *gate) enter() { g.trying++ }
func (g *gate) leave() { g.trying-- }

// succeed opens the gate.
func (g *gate) succeed() { g.failures, g.until, g.why = 0, time.Time{}, "" }

// fail shuts it, for at least as long as the other side asked. Failures of starts
// that were under way when it was shut do not lengthen it.
func (g *gate) fail(now time.Time, why string, atLeast time.Duration) {
	g.why = why
	if now.Before(g.until) {
		return
	}
	delay := gateDelays[min(g.failures, len(gateDelays)-1)]
	g.failures++
	g.until = now.Add(max(delay, atLeast))
}

// opens returns when the gate next lets something through, zero when time alone
// does not change that.
func (g *gate) opens(now time.Time) time.Time {
	if g.failures > 0 && now.Before(g.until) {
		return g.until
	}
	return time.Time{}
}
