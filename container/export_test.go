package container

import "time"

// SetPingEvery makes s ping quiet viewers so often. Call it before there are any.
func (s *Server) SetPingEvery(d time.Duration) { s.pingEvery = d }

// PaintMore draws a part of an agent's screen ahead and reports whether there may be
// more, and Drawn says how many bytes of a run are drawn, 0 when no terminal is held for it.
func (s *Server) PaintMore(id string) bool {
	drew, over := s.paintMore(id)
	return drew && !over
}

// DropScreens forgets what was drawn, as a restart does.
func (s *Server) DropScreens() { s.drawers.expire(time.Now().Add(2 * longLife)) }

func (s *Server) Drawn(run string) int64 {
	s.drawers.mu.Lock()
	defer s.drawers.mu.Unlock()
	if held := s.drawers.held[run]; held != nil {
		return held.Drawn()
	}
	return 0
}
