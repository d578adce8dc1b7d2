package container

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/supervisor"
	"townd/town"
)

const (
	eventsLimit     = 1000
	eventsLimitMost = 2000
	sseKeepalive    = 15 * time.Second
)

// cursor is a place in an agent's events. Epoch "" is whichever is now.
type cursor struct {
	epoch string
	id    int64
}

// parseCursor reads "<id>" or "<epoch>:<id>".
func parseCursor(name, text string) (cursor, error) {
	epoch, digits, ok := strings.Cut(text, ":")
	if !ok {
		epoch, digits = "", text
	}
	id, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || id < 0 || ok && town.CheckID(epoch) != nil {
		return cursor{}, wire.BadParam(name, "%.60q must be the id of an event, as 42 or <epoch>:42", text)
	}
	return cursor{epoch, id}, nil
}

// eventSource is whose events are asked for: an agent's, or those of one run that a
// link shows.
type eventSource struct {
	agent string
	run   string // "" for all
	share *share // nil for a person
}

// page returns the events after c; a cursor of another epoch means from the first.
func (s *Server) page(of eventSource, c cursor, limit int) (supervisor.EventPage, error) {
	page, err := s.cfg.Supervisor.RunEvents(of.agent, of.run, c.id, limit)
	if err != nil || c.epoch == "" || c.epoch == page.Epoch {
		return page, err
	}
	return s.cfg.Supervisor.RunEvents(of.agent, of.run, 0, limit)
}

func (s *Server) events(r *http.Request) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	return s.eventsOf(r, eventSource{agent: id})
}

func (s *Server) eventsOf(r *http.Request, of eventSource) (any, error) {
	after, limit, err := eventParams(r)
	if err != nil {
		return nil, err
	}
	page, err := s.page(of, after, limit)
	if err != nil {
		return nil, err
	}
	if wire.WantsEvents(r) {
		return wire.Writer(func(w http.ResponseWriter) { s.sendEvents(w, r, of, page) }), nil
	}
	return api.EventPage{Epoch: page.Epoch, Events: page.Events, Next: page.Next}, nil
}

func eventParams(r *http.Request) (after cursor, limit int, err error) {
	p, err := wire.ParseParams(r)
	if err != nil {
		return after, 0, err
	}
	text, err := p.One("after")
	if err != nil {
		return after, 0, err
	}
	name := "after"
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		name, text = "Last-Event-ID", last // where an EventSource that came back was
	}
	if text != "" {
		if after, err = parseCursor(name, text); err != nil {
			return after, 0, err
		}
	}
	n, err := p.Number("limit", 1, eventsLimitMost, eventsLimit)
	return after, int(n), err
}

// sendEvents sends page and what follows it as server-sent events, until the
// caller leaves, its link ends, the agent is forgotten or the server closes.
func (s *Server) sendEvents(w http.ResponseWriter, r *http.Request, of eventSource, page supervisor.EventPage) {
	ctx, stop := s.whileOpen(r)
	defer stop()
	defer of.share.whenOver(stop)()
	out := wire.NewEventStream(w)
	for {
		if sendPage(out, page) != nil {
			return
		}
		for {
			err := s.waitEvents(ctx, of.agent, page.Next, sseKeepalive)
			if err == nil {
				break
			}
			if !errors.Is(err, errQuiet) || out.Send(wire.Quiet) != nil {
				return
			}
		}
		var err error
		if page, err = s.cfg.Supervisor.RunEvents(of.agent, of.run, page.Next, eventsLimit); err != nil {
			return
		}
	}
}

// whileOpen returns a context that ends with the request or with the server.
func (s *Server) whileOpen(r *http.Request) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(r.Context())
	detach := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })
	return ctx, func() { detach(); cancel(nil) }
}

var errQuiet = errors.New("nothing happened")

// waitEvents waits for an event, for d at most: then it returns errQuiet.
func (s *Server) waitEvents(ctx context.Context, agent string, after int64, d time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d, errQuiet)
	defer cancel()
	return s.cfg.Supervisor.WaitEvents(ctx, agent, after)
}

func sendPage(out *wire.EventStream, page supervisor.EventPage) error {
	var text strings.Builder
	for _, event := range page.Events {
		if err := wire.WriteEvent(&text, api.EventCursor(page.Epoch, event.ID), string(event.Event), event); err != nil {
			return err
		}
	}
	return out.Send(text.String())
}
