package typing

import (
	"context"
	"errors"
	"slices"
	"strings"

	"townd/town"
)

// resume goes on where a predecessor may have ended: what it submitted is not
// submitted again, and what it typed is not typed again. done reports that the
// message needs no more typing, and then err is how it ended.
func (y *typist) resume(ctx context.Context) (done bool, err error) {
	lines := strings.Split(y.text, "\n")
	for i, line := range slices.Backward(lines) {
		st, err := y.State(ctx, lineKey(i))
		if err != nil {
			return true, lost(err)
		}
		if !st.Given {
			continue
		}
		st.Flushes, st.Reading = st.GivenFlushes, ReadingUnknown
		if err := y.awaitRead(ctx, st, line+"\n"); err != nil {
			return true, &Unproven{"a part of it went in before this server was started: " + err.Error(), kindOf(err)}
		}
		y.lines = i + 1
		return y.lines == len(lines), nil
	}
	for press := presses; press > 0; press-- {
		st, err := y.State(ctx, enterKey(press))
		if err != nil {
			return true, lost(err)
		}
		if st.Given {
			return true, y.resumeEnter(ctx, press)
		}
	}
	for y.attempt = attempts; y.attempt > 0; y.attempt-- {
		st, err := y.State(ctx, textKey(y.attempt))
		if err != nil {
			return true, lost(err)
		}
		if st.Given {
			err := y.resumeText(ctx, st)
			return !errors.Is(err, errLost), err
		}
	}
	_, err = y.TakeBack(ctx) // a line without its end
	if err != nil {
		return true, failed("take back", err)
	}
	return false, nil
}

// resumeText goes on after a text of which nobody has seen whether it is shown.
func (y *typist) resumeText(ctx context.Context, st State) error {
	st.Flushes = st.GivenFlushes
	before := picture{cx: -1}
	a, err := y.awaitEcho(ctx, st, before, y.text)
	if err != nil {
		return err
	}
	return y.enter(ctx, a, before, 1)
}

// lost returns what an error of the terminal means when a predecessor may have
// submitted the message.
func lost(err error) error { return doubtful("find out what went in", err) }

// resumeEnter goes on after an Enter of which nobody has seen the effect.
func (y *typist) resumeEnter(ctx context.Context, press int) error {
	s, err := y.look(ctx)
	if err != nil {
		return lost(err)
	}
	before := picture{cx: -1}
	a, ok := anchorOf(before, read(s), y.text)
	if !ok || !a.cursor {
		return &Unproven{"Enter was pressed before this server was started, and nobody saw what it did", town.ErrUnavailable}
	}
	return y.enter(ctx, a, before, press)
}
