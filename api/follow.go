package api

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// followRetryFirst and followRetryMost bound the wait between two attempts to come back.
const (
	followRetryFirst = 100 * time.Millisecond
	followRetryMost  = 5 * time.Second
)

// Follow calls show for everything a run brings, from o.After to its ExitFrame,
// which it returns. When the connection breaks it comes back at the exact
// position, each byte and event once; a gap is a GapFrame. It returns an error
// when it cannot connect at first, when the town refuses later (as for an agent
// that is no longer there), when show returns one, and with ctx.
func (c *Client) Follow(ctx context.Context, id string, o StreamOptions, show func(Message) error) (ExitFrame, error) {
	connected, retry := false, followRetryFirst
	for {
		opened, exit, err := c.followOnce(ctx, id, &o, show)
		if err == nil {
			return exit, nil
		}
		if stop, ok := errors.AsType[*stopError](err); ok {
			return ExitFrame{}, stop.err
		}
		if e, ok := errors.AsType[*Error](err); ok && !passing(e.Status) || !connected && !opened {
			return ExitFrame{}, err
		}
		if opened {
			connected, retry = true, followRetryFirst
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			return ExitFrame{}, context.Cause(ctx)
		}
		retry = min(2*retry, followRetryMost)
	}
}

// passing reports whether an answer may be another one later.
func passing(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// stopError is an error of show, which ends Follow.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// followOnce follows over one connection and leaves in o where to go on.
func (c *Client) followOnce(ctx context.Context, id string, o *StreamOptions, show func(Message) error) (opened bool, exit ExitFrame, err error) {
	s, err := c.Stream(ctx, id, *o)
	if err != nil {
		return false, exit, err
	}
	defer func() { _ = s.Close() }() // the town has what it needs to know
	o.After, o.Events = s.Position(), EventCursor(s.Hello.Epoch, s.Hello.EventID)
	for {
		m, err := s.Next(ctx)
		if err != nil {
			return true, exit, err
		}
		o.After = s.Position()
		if frame, ok := m.Frame.(EventFrame); ok {
			o.Events = EventCursor(s.Hello.Epoch, frame.Event.ID)
		}
		if err := show(m); err != nil {
			return true, exit, &stopError{err}
		}
		if exit, ok := m.Frame.(ExitFrame); ok {
			return true, exit, nil
		}
	}
}
