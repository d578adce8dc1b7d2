package townhall

import "time"

// jumpTolerance is how far the wall clock may drift from elapsed time between two
// looks before that is a jump: of the clock, or of a machine that slept.
const jumpTolerance = 5 * time.Second

// mercy holds back the end of leases where nobody could have renewed them: for one
// interval of heartbeats after the hall's start and after each jump of the clock.
type mercy struct {
	interval time.Duration
	wall     time.Time
	elapsed  time.Duration
	until    time.Duration // elapsed
	begun    bool
}

// look takes both clocks and returns how long leases must still be left alone, and
// whether the clock has jumped since the last look.
func (m *mercy) look(wall time.Time, elapsed time.Duration) (left time.Duration, jumped bool) {
	wall = wall.Round(0) // without its monotonic part, which does not jump
	drift := wall.Sub(m.wall) - (elapsed - m.elapsed)
	jumped = m.begun && drift.Abs() > jumpTolerance
	if !m.begun || jumped {
		m.until = elapsed + m.interval
	}
	m.wall, m.elapsed, m.begun = wall, elapsed, true
	return max(m.until-elapsed, 0), jumped
}
