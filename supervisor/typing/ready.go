package typing

import (
	"context"
	"errors"
	"slices"
	"time"

	"townd/supervisor/screen"
	"townd/town"
)

const (
	// readyLimit is how long a program may read nothing of what others typed, or
	// print nothing and be seen to wait for nothing, before it is typed into anyway or
	// given up. agentLimit is for an agent's own terminal, which nothing is typed into
	// before it is ready: they need 1 to 5 s, and 20 s on a busy machine.
	readyLimit = 15 * time.Second
	agentLimit = time.Minute
	// lineLimit is the same for a program in canonical mode that has printed and is
	// not blocked in a read; it may wait in poll. Typing too early costs no truth
	// there: what is not read is taken back.
	lineLimit = 3 * time.Second
	// quietLines and quietKeys are how long a program that has drawn its prompt
	// prints nothing then. One that has asked for pastes has set its input up already.
	quietLines = 300 * time.Millisecond
	quietKeys  = 150 * time.Millisecond
	quietPaste = 30 * time.Millisecond
	// stormLimit is how long to wait for quiet that never comes: the program paints
	// all the time. The echo tells then.
	stormLimit      = 1500 * time.Millisecond
	stormLimitPaste = 150 * time.Millisecond
	// personRest is how long a person must not have typed, and personLimit how long
	// one may keep a message waiting.
	personRest  = 3 * time.Second
	personLimit = 60 * time.Second
	// tick is how often what has no event is looked at.
	tick = 10 * time.Millisecond
)

// awaitReady waits until a text may be typed and returns the state it is typed in.
func (y *typist) awaitReady(ctx context.Context) (State, error) {
	w := readiness{agent: y.program.agent, began: time.Now()}
	for {
		if err := y.awaitPerson(ctx); err != nil {
			return State{}, err
		}
		st, err := y.State(ctx, "")
		if err != nil {
			return st, failed("wait until it is ready", err)
		}
		s, err := y.Screen(ctx)
		if err != nil {
			return st, failed("wait until it is ready", err)
		}
		if w.ready(st, s, time.Now()) {
			return st, nil
		}
		limit := readyLimit
		if y.program.agent {
			limit = agentLimit
		}
		if time.Since(w.began) > limit {
			if st.Unread == 0 && st.Line == 0 && !y.program.agent {
				return st, nil // a silent one
			}
			return st, &NotDelivered{"the program is not ready: it does not read what was typed before, or has not set up its input", town.ErrUnavailable}
		}
		if err := pause(ctx, tick); err != nil {
			return st, failed("wait until it is ready", err)
		}
	}
}

// readiness watches a program until it is ready.
type readiness struct {
	agent              bool
	began, quiet, mode time.Time
	offset             int64
	canonical, seen    bool
}

func (w *readiness) ready(st State, s screen.Screen, now time.Time) bool {
	if !w.seen || st.Canonical != w.canonical {
		w.mode, w.canonical = now, st.Canonical
	}
	if !w.seen || s.Offset != w.offset || st.Canonical != w.canonical {
		w.quiet, w.offset = now, s.Offset
	}
	w.seen = true
	printed, quiet, mode := s.Offset > 0, now.Sub(w.quiet), now.Sub(w.mode)
	switch {
	case st.Unread > 0 || st.Line > 0:
		return false
	case w.agent && (!s.Paste || blank(s)):
		return false // all of them ask for pastes, and drop what comes before there is an input to show it in
	case st.Reading == ReadingYes:
		return true
	case !printed:
		return false
	case st.Canonical:
		return quiet >= quietLines && st.Reading == ReadingUnknown || mode >= lineLimit
	case s.Paste:
		return quiet >= quietPaste || mode >= stormLimitPaste
	}
	return quiet >= quietKeys || mode >= stormLimit
}

// blank reports that nothing is written on a screen.
func blank(s screen.Screen) bool {
	return !slices.ContainsFunc(s.Lines, func(line string) bool { return letters(line) != "" })
}

// awaitPerson waits until no person types.
func (y *typist) awaitPerson(ctx context.Context) error {
	for {
		typed, unfinished := y.Person()
		if time.Since(typed) >= personRest && !unfinished {
			return nil
		}
		if time.Since(y.began) > personLimit {
			return &NotDelivered{"a person is typing, or has left a text unfinished in its input", town.ErrUnavailable}
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return failed("wait for the person who types", err)
		}
	}
}

// typedSince reports whether a person has typed after t.
func (y *typist) typedSince(t time.Time) bool {
	typed, _ := y.Person()
	return typed.After(t)
}

const (
	// frameGap is a pause in a program's output that ends a frame, and frameLimit how
	// long to wait for one: what is drawn between is half a picture.
	frameGap   = 4 * time.Millisecond
	frameLimit = 40 * time.Millisecond
)

// look returns the screen when a frame seems to be whole.
func (y *typist) look(ctx context.Context) (screen.Screen, error) {
	size, err := y.Printed(ctx, -1)
	for began := time.Now(); err == nil && time.Since(began) < frameLimit; {
		gap, cancel := context.WithTimeout(ctx, frameGap)
		size, err = y.Printed(gap, size)
		rested := gap.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil && rested && !errors.Is(err, town.ErrConflict) {
			err = nil
			break
		}
	}
	if err != nil {
		return screen.Screen{}, err
	}
	return y.Screen(ctx)
}
