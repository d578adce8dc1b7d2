package container

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/town"
)

const (
	ticketLife       = 60 * time.Second
	ticketLimit      = 1000 // live ones
	shareTicketLimit = 50   // of them, those of one shared link: who holds it keeps nobody else out
)

// ticket is what a ticket allows.
type ticket struct {
	agent   string
	mode    town.TicketMode
	share   *share // it shows the run of this link only, while that opens it; nil for a person's
	expires time.Time
}

// valid reports whether the ticket opens a stream.
func (k ticket) valid(now time.Time) bool {
	return now.Before(k.expires) && (k.share == nil || !k.share.ended(now))
}

// ticketStore holds the live tickets by their hash: who reads our memory does
// not get a ticket. The zero value is ready for use. Safe for concurrent use.
type ticketStore struct {
	mu   sync.Mutex
	live map[[sha256.Size]byte]ticket
}

// mint returns a new ticket that allows what k says. When as many are live as may be,
// it returns a *CapacityError: it never takes somebody else's away.
func (t *ticketStore) mint(k ticket) (value string, expires time.Time, err error) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails (go doc crypto/rand.Read)
	value = base64.RawURLEncoding.EncodeToString(random[:])
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.live) >= ticketLimit {
		if next := t.expire(now); len(t.live) >= ticketLimit {
			return "", time.Time{}, &town.CapacityError{
				What:       fmt.Sprintf("%d stream tickets are live, the most allowed; use one or let them expire", ticketLimit),
				RetryAfter: next.Sub(now),
			}
		}
	}
	if k.share != nil && t.count(k.share, now) >= shareTicketLimit {
		return "", time.Time{}, &town.CapacityError{
			What:       fmt.Sprintf("%d stream tickets of this link are live, the most allowed; use one or let them expire", shareTicketLimit),
			RetryAfter: ticketLife,
		}
	}
	if t.live == nil {
		t.live = make(map[[sha256.Size]byte]ticket)
	}
	k.expires = now.Add(ticketLife)
	t.live[sha256.Sum256([]byte(value))] = k
	return value, k.expires, nil
}

// count returns how many tickets of a link are live.
func (t *ticketStore) count(of *share, now time.Time) (n int) {
	for _, k := range t.live {
		if k.share == of && now.Before(k.expires) {
			n++
		}
	}
	return n
}

// expire drops what is past and returns when the next of the others will be.
func (t *ticketStore) expire(now time.Time) (next time.Time) {
	for sum, k := range t.live {
		switch {
		case !now.Before(k.expires):
			delete(t.live, sum)
		case next.IsZero() || k.expires.Before(next):
			next = k.expires
		}
	}
	return next
}

// look returns what a ticket allows without spending it.
func (t *ticketStore) look(value string) (ticket, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.live[sha256.Sum256([]byte(value))]
	if !ok || !k.valid(time.Now()) {
		return ticket{}, errTicket
	}
	return k, nil
}

// spend takes the ticket: of any number of callers, one gets it.
func (t *ticketStore) spend(value string) error {
	sum := sha256.Sum256([]byte(value))
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.live[sum]
	delete(t.live, sum)
	if !ok || !k.valid(time.Now()) {
		return errTicket
	}
	return nil
}

var errTicket = fmt.Errorf("the ticket is unknown, used or expired; "+
	"POST /agents/{id}/stream-ticket gives one that opens one stream within %d seconds: %w", int(ticketLife.Seconds()), town.ErrUnauthorized)

func (s *Server) streamTicket(r *http.Request) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	mode, err := ticketMode(r)
	if err != nil {
		return nil, err
	}
	if _, err := s.cfg.Supervisor.Agent(id); err != nil {
		return nil, err
	}
	if mode == town.TicketWrite {
		if err := s.checkTypable(id); err != nil {
			return nil, err
		}
	}
	return s.ticketFor(ticket{agent: id, mode: mode})
}

func (s *Server) ticketFor(k ticket) (any, error) {
	value, expires, err := s.tickets.mint(k)
	if err != nil {
		return nil, err
	}
	return api.TicketResponse{
		Ticket:    value,
		ExpiresAt: expires.UTC(),
		URL:       "/agents/" + url.PathEscape(k.agent) + "/stream?ticket=" + value,
	}, nil
}

// ticketMode reads the body of a ticket's request, which may be absent.
func ticketMode(r *http.Request) (town.TicketMode, error) {
	data, err := wire.ReadBody(r)
	if err != nil || len(data) == 0 {
		return town.TicketRead, err
	}
	var req api.TicketRequest
	if _, err := wire.Decode(data, &req); err != nil {
		return "", err
	}
	switch mode := cmp.Or(req.Mode, town.TicketRead); mode {
	case town.TicketRead, town.TicketWrite:
		return mode, nil
	default:
		return "", wire.BadBody("mode", "must be %q or %q", town.TicketRead, town.TicketWrite)
	}
}

// checkTypable returns an ErrConflict for an agent whose input is not a terminal's.
func (s *Server) checkTypable(id string) error {
	out, err := s.cfg.Supervisor.Output(id)
	if err != nil {
		return err
	}
	if out.Structured {
		return fmt.Errorf("agent %s has no terminal to type into; send it a message (POST /agents/%s/message): %w", id, id, town.ErrConflict)
	}
	return nil
}
