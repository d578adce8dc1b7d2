package typing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"townd/town"
)

const (
	// settleLine is how long a line stands before Enter when no program is seen to
	// wait for it: a program that throws away its input as it begins does so before,
	// and then nothing was lost that anybody could have read.
	settleLine = 50 * time.Millisecond
	// readLimit is how long a line may wait to be read before it is taken back.
	readLimit = 10 * time.Second
)

// typeLines types into a terminal that collects lines.
func (y *typist) typeLines(ctx context.Context, st State) error {
	lines := strings.Split(y.text, "\n")
	for _, line := range lines {
		if len(line) > maxLine {
			return &NotDelivered{fmt.Sprintf("a line of it is over %d bytes, the terminal would drop the rest", maxLine), town.ErrTooLarge}
		}
	}
	for i, line := range lines[min(y.lines, len(lines)):] {
		i += y.lines
		err := y.typeLine(ctx, st, i, line)
		for again := 1; errors.Is(err, errLost) && i > 0 && again < attempts; again++ {
			err = y.typeLine(ctx, st, i, line)
		}
		if err == nil && i+1 < len(lines) {
			st, err = y.State(ctx, "")
		}
		if err != nil && i > 0 {
			return &Unproven{fmt.Sprintf("of its %d lines not all went in, or not after line %d: %v", len(lines), i, err), kindOf(err)}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func lineKey(i int) string { return fmt.Sprintf("line%d", i+1) }

func (y *typist) typeLine(ctx context.Context, st State, i int, line string) error {
	whole, rest := line+"\n", line+"\n"
	if st.Reading != ReadingYes {
		if err := y.placeLine(ctx, &st, line); err != nil {
			return err
		}
		rest = "\n"
	}
	if err := y.Input(ctx, lineKey(i), []byte(rest)); err != nil {
		return y.withdraw(ctx, whole, err)
	}
	return y.awaitRead(ctx, st, whole)
}

// awaitRead waits until a line that was typed in state st is read.
func (y *typist) awaitRead(ctx context.Context, st State, whole string) error {
	began := time.Now()
	for wait := time.Millisecond; ; wait = min(2*wait, 4*tick) {
		now, err := y.State(ctx, "")
		switch {
		case errors.Is(err, town.ErrConflict):
			return doubtful("press Enter", err)
		case err != nil:
			return y.withdraw(ctx, whole, err)
		case now.Unread == 0 && now.Flushes == st.Flushes && now.Canonical:
			return nil
		case now.Unread == 0 && st.Reading == ReadingYes && !y.typedSince(began):
			return nil // a program was blocked in its read; it threw away what came after
		case now.Unread == 0:
			return &Unproven{"the program threw away what it had not read, perhaps the message, or takes keys now", town.ErrUnavailable}
		case time.Since(began) > readLimit:
			return y.withdraw(ctx, whole, fmt.Errorf("the program does not read its terminal: %w", town.ErrUnavailable))
		}
		if err := pause(ctx, wait); err != nil {
			return y.withdraw(ctx, whole, err)
		}
	}
}

// placeLine types a line without its end, so that nobody can read it yet.
func (y *typist) placeLine(ctx context.Context, st *State, line string) error {
	if err := y.Input(ctx, "", []byte(line)); err != nil {
		return failed("type", err)
	}
	if err := pause(ctx, settleLine); err != nil {
		_, _ = y.TakeBack(context.WithoutCancel(ctx))
		return failed("type", err)
	}
	now, err := y.State(ctx, "")
	switch {
	case err != nil:
		return failed("type", err)
	case now.Flushes != st.Flushes:
		_, _ = y.TakeBack(ctx)
		return errLost
	case !now.Canonical: // its keys may be in the program's hands now
		return y.changedMode(ctx, line)
	}
	*st = now
	return nil
}

// changedMode is for a text that was typed as an unfinished line into a terminal
// that now gives keys to whoever reads.
func (y *typist) changedMode(ctx context.Context, line string) error {
	taken, err := y.TakeBack(ctx)
	if err != nil {
		return failed("take back", err)
	}
	if string(taken) == line {
		return errLost
	}
	if err := y.Input(ctx, "", []byte(eraseKeys(line))); err != nil {
		return failed("erase", err)
	}
	return errLost
}

// withdraw takes a line back that err has kept from being read. All of it or none:
// what we get, no program has got.
func (y *typist) withdraw(ctx context.Context, whole string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second) // else it would be submitted later
	defer cancel()
	taken, takeErr := y.TakeBack(ctx)
	switch {
	case errors.Is(err, town.ErrTooLarge) || strings.HasPrefix(string(taken), whole):
		return failed("press Enter", err)
	case takeErr != nil:
		return doubtful("press Enter", errors.Join(err, takeErr))
	case len(taken) == 0:
		return doubtful("it was read, or thrown away, when it was being taken back", err)
	}
	return doubtful("the program read a part of it", err)
}
