package container

import (
	"context"
	"errors"
	"time"
)

// How far screens are drawn ahead of who asks for them.
const (
	paintBehind = 4 << 20               // bytes that a long run's screen may be behind: tens of milliseconds to draw
	paintTime   = 50 * time.Millisecond // drawn at a time: who asks for a screen may have to wait for that
	paintRest   = 2                     // times what drawing took is rested: at most a third of a core is used
	paintEvery  = time.Second           // between looks, when no screen is behind
)

// paint keeps the screens of long terminal runs drawn until Close: drawn from its
// begin, one of 50 MB may take half a second. A run that prints faster than is
// drawn in a third of the time, some 50 MB/s, outruns it.
func (s *Server) paint() {
	for {
		rested := false
		for _, a := range s.cfg.Supervisor.Agents() {
			began := time.Now()
			if !a.Status.Live() || !s.paintMore(a.AgentID) {
				continue
			}
			if rested = true; !s.rest(paintRest * time.Since(began)) {
				return
			}
		}
		if !rested && !s.rest(paintEvery) {
			return
		}
	}
}

// rest reports whether the server was not closed meanwhile.
func (s *Server) rest(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// paintMore draws for a while what an agent printed if its screen is too far
// behind, and reports whether it did.
func (s *Server) paintMore(id string) bool {
	run, err := s.openRun(s.ctx, id, "")
	if err != nil { // forgotten, or never begun
		return false
	}
	defer run.close()
	size, _ := run.feed.Size()
	if run.structured || size < paintBehind || !s.drawers.room(run) || size-s.drawers.of(run, time.Now()).Drawn() < paintBehind {
		return false
	}
	ctx, cancel := context.WithTimeout(s.ctx, paintTime)
	defer cancel()
	_, err = s.draw(ctx, run)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		s.log.Debug("screen not drawn ahead", "agent", id, "run", run.id, "error", err)
		return false
	}
	return true
}
