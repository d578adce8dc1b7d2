package container

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"townd/town"
)

// authorize refuses callers that a route is not for.
func (s *Server) authorize(a access, r *http.Request) error {
	if s.cfg.Loopback {
		if err := checkLoopback(a, r); err != nil {
			return err
		}
	}
	switch a {
	case accessPublic, accessTicket, accessShare:
		return nil
	case accessToken:
		return s.token.Authorize(r)
	}
	return fmt.Errorf("access %d: %w", a, town.ErrForbidden)
}

// checkLoopback keeps web pages of other sites out of a town on this machine: a
// name that resolves to 127.0.0.1 gives itself away by its Host, and a request
// sent across by its Origin. A stream's ticket is its whole authority, so its
// Origin is not looked at.
func checkLoopback(a access, r *http.Request) error {
	if !loopbackHost(r.Host) {
		return fmt.Errorf("host %.100q: this town listens on a loopback address and answers to localhost, 127.0.0.1 and [::1] only: %w",
			r.Host, town.ErrForbidden)
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if a != accessTicket && (err != nil || !loopbackHost(u.Host)) {
			return fmt.Errorf("origin %.100q: this town takes calls from pages of this machine only: %w", origin, town.ErrForbidden)
		}
	}
	return nil
}

// loopbackHost reports whether host, with or without a port, is this machine's.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
