package container

import "time"

// SetPingEvery makes s ping quiet viewers so often. Call it before there are any.
func (s *Server) SetPingEvery(d time.Duration) { s.pingEvery = d }
