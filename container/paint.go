package container

import (
	"context"
	"errors"
	"runtime"
	"syscall"
	"time"
)

// How far screens are drawn ahead of who asks for them.
const (
	paintBehind = 4 << 20               // bytes that a long run's screen may be behind: tens of milliseconds to draw
	paintTime   = 50 * time.Millisecond // drawn at a time: who asks for a screen may have to wait for that
	paintRest   = 2                     // times the processor time that took is rested: at most a third of a core is used
	paintEvery  = time.Second           // between looks, when no screen is behind
)

// paint keeps the screens of long terminal runs drawn until Close, and has the last one
// of each kept: drawn from its begin, one of 50 MB may take half a second. A run that
// prints faster than is drawn in a third of the time, some 50 MB/s, outruns it.
func (s *Server) paint() {
	runtime.LockOSThread()    // whose time is ours then
	over := map[string]bool{} // by run
	for {
		rested := false
		before := over
		over = make(map[string]bool, len(before))
		for _, a := range s.cfg.Supervisor.Agents() {
			if over[a.RunID] = before[a.RunID]; over[a.RunID] {
				continue
			}
			began := threadTime()
			var drew bool
			if drew, over[a.RunID] = s.paintMore(a.AgentID); !drew {
				continue
			}
			if rested = true; !s.rest(paintRest * (threadTime() - began)) {
				return
			}
		}
		if !rested && !s.rest(paintEvery) {
			return
		}
	}
}

// threadTime returns the processor time that this thread has used: on a busy machine
// drawing takes many times as long.
func threadTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_THREAD, &used) // fails for other arguments only
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
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

// paintMore draws for a while what an agent printed if its screen is too far behind, and
// reports whether it did, and whether there is nothing more to draw ahead of its run.
func (s *Server) paintMore(id string) (drew, over bool) {
	run, err := s.openRun(s.ctx, id, "")
	if err != nil { // forgotten, or never begun
		return false, false
	}
	defer run.close()
	size, ended, err := run.size()
	switch {
	case run.structured, err != nil, ended && size < paintBehind:
		return false, true
	case size < paintBehind, !s.drawers.room(run):
		return false, false
	case !ended && size-s.drawers.of(run, time.Now()).Drawn() < paintBehind:
		return false, false
	}
	ctx, cancel := context.WithTimeout(s.ctx, paintTime)
	defer cancel()
	_, err = s.draw(ctx, run)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		s.log.Debug("screen not drawn ahead", "agent", id, "run", run.id, "error", err)
		return false, ended
	}
	return true, ended && err == nil
}
