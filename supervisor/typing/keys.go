package typing

import (
	"context"
	"fmt"
	"strings"
	"time"

	"townd/town"
)

const (
	pasteBegin, pasteEnd = "\x1b[200~", "\x1b[201~"

	// inputLimit is how long a program may leave keys unread before it counts as one
	// that does not read.
	inputLimit = 10 * time.Second
	// echoLimit is how long a program that took the text may need to show it.
	echoLimit = 10 * time.Second
	// settleKeys is how long the text stands before Enter: programs that tell a paste
	// by its speed take an Enter that comes with it for a line feed.
	settleKeys = 100 * time.Millisecond
	// takenHold is how long the text must be gone: a frame that is half drawn shows
	// nothing of it. In a storm of frames it takes longer, over more looks.
	takenHold, takenLooks = 50 * time.Millisecond, 3
	stormHold, stormLooks = 200 * time.Millisecond, 10
	// vanishedHold is for a screen that nothing proves to be whole: a program that is
	// given no time stops painting for longer than a frame takes.
	vanishedHold = 3 * time.Second
	// presses is how often Enter is pressed, and swallowed after what time of the text
	// standing still at the cursor it counts as swallowed. An agent's terminal
	// on a busy machine has needed 0.7 s to act on a key.
	presses = 4
	// confirmLimit bounds the wait for what an Enter did.
	confirmLimit = 10 * time.Second
	// eraseLimit is how long a program may need to show that a text is erased.
	eraseLimit = time.Second
	// maxErase bounds the keys that erase a text of many lines.
	maxErase = 100
)

func swallowed(press int) time.Duration { return time.Duration(press) * time.Second }

// eraseKeys are Ctrl-U for each line of a text: it erases to the begin of a line, or
// the line feed before it.
func eraseKeys(text string) string {
	return strings.Repeat("\x15", min(1+2*strings.Count(text, "\n"), maxErase))
}

func textKey(attempt int) string { return fmt.Sprintf("text%d", attempt) }

// typeKeys types into a program that edits its input line by itself.
func (y *typist) typeKeys(ctx context.Context, st State) error {
	s, err := y.look(ctx)
	if err != nil {
		return failed("look", err)
	}
	before, text := read(s), y.text
	switch {
	case s.Paste:
		text = pasteBegin + text + pasteEnd
	case strings.Contains(text, "\n"):
		return &NotDelivered{"the program takes no pastes, and the message has several lines", town.ErrInvalid}
	default:
		text = strings.ReplaceAll(text, "\t", "    ") // the key would complete a word
	}
	began := time.Now()
	// Whole, in one call: an answer of ours to a terminal's query, or a person's key,
	// must not come between the brackets.
	in, cancel := context.WithTimeout(ctx, inputLimit)
	err = y.Input(in, textKey(y.attempt), []byte(text))
	cancel()
	if err != nil {
		return y.giveUp(ctx, before, failed("type", err))
	}
	a, err := y.awaitEcho(ctx, st, before, text)
	if err != nil {
		return err
	}
	if y.typedSince(began) {
		return &Unproven{"a person typed into the message before it was sent", town.ErrUnavailable}
	}
	return y.enter(ctx, a, before, 1)
}

// awaitEcho waits until the text is seen in the input, and stands there.
func (y *typist) awaitEcho(ctx context.Context, st State, before picture, text string) (anchor, error) {
	var taken, seen time.Time // since when all keys are taken, and the text is shown
	for began := time.Now(); ; {
		now, err := y.State(ctx, "")
		if err != nil {
			return anchor{}, y.giveUp(ctx, before, failed("type", err))
		}
		s, err := y.look(ctx)
		if err != nil {
			return anchor{}, y.giveUp(ctx, before, failed("look", err))
		}
		if now.Flushes != st.Flushes || now.Canonical {
			return anchor{}, y.again(ctx, before)
		}
		if now.Unread == 0 && taken.IsZero() {
			taken = time.Now()
		}
		a, ok := anchorOf(before, read(s), y.text)
		switch {
		case !ok:
			seen = time.Time{}
		case seen.IsZero():
			seen = time.Now()
		case now.Unread == 0 && time.Since(seen) >= settleKeys:
			return a, nil
		}
		switch {
		case taken.IsZero() && time.Since(began) > inputLimit:
			back, err := y.TakeBack(ctx)
			if err == nil && string(back) == text {
				return anchor{}, &NotDelivered{"the program does not read its terminal", town.ErrUnavailable}
			}
			return anchor{}, y.giveUp(ctx, before, &NotDelivered{"the program reads its terminal only in part", town.ErrUnavailable})
		case !taken.IsZero() && seen.IsZero() && time.Since(taken) > echoLimit && y.program.agent && y.attempt < attempts:
			return anchor{}, y.again(ctx, before) // it had no input yet to show it in, and dropped it
		case !taken.IsZero() && seen.IsZero() && time.Since(taken) > echoLimit:
			return anchor{}, y.giveUp(ctx, before, &NotDelivered{"the program does not show what is typed, so that nobody could tell what Enter does", town.ErrUnavailable})
		}
		if err := pause(ctx, tick); err != nil {
			return anchor{}, y.giveUp(ctx, before, failed("type", err))
		}
	}
}

func enterKey(press int) string { return fmt.Sprintf("enter%d", press) }

// enter presses Enter, for the first or a later time, until the text is submitted, as long as it is plain that it
// was not.
func (y *typist) enter(ctx context.Context, a anchor, before picture, press int) error {
	pressed := time.Now()
	for first := press; press <= presses; press++ {
		if err := y.Input(ctx, enterKey(press), []byte{'\r'}); err != nil && press == 1 && first == 1 {
			return y.giveUp(ctx, before, failed("press Enter", err))
		} else if err != nil {
			return doubtful("press Enter", err)
		}
		v, err := y.confirm(ctx, a, swallowed(press), pressed)
		if err != nil {
			return doubtful("press Enter", err)
		}
		switch v {
		case taken:
			return nil
		case unclear, vanished:
			return &Unproven{"the screen does not show what became of it", town.ErrUnavailable}
		case standing:
		}
	}
	if y.erase(ctx, a) {
		return &NotDelivered{fmt.Sprintf("the program took Enter %d times and left the message in its input, where it was erased", presses), town.ErrUnavailable}
	}
	return &Unproven{"the program does not act on Enter, and the message stands in its input", town.ErrUnavailable}
}

// confirm watches the screen after Enter: taken when the text has been gone for
// long enough, standing when it has stood in the input for patience.
func (y *typist) confirm(ctx context.Context, a anchor, patience time.Duration, pressed time.Time) (verdict, error) {
	var gone, stood time.Time
	looks, storm, offset := 0, false, int64(-1)
	for began := time.Now(); time.Since(began) < confirmLimit; {
		s, err := y.look(ctx)
		if err != nil {
			return unclear, err
		}
		switch v := a.judge(read(s)); {
		case (v == taken || v == vanished) && gone.IsZero():
			gone, stood, looks, storm = time.Now(), time.Time{}, 1, false
		case v == vanished && time.Since(gone) >= vanishedHold:
			return taken, nil
		case v == taken:
			looks++
			storm = storm || s.Offset != offset
			if hold, least := takenHold, takenLooks; !storm && time.Since(gone) >= hold && looks >= least {
				return taken, nil
			}
			if time.Since(gone) >= stormHold && looks >= stormLooks {
				return taken, nil
			}
		case v == standing && stood.IsZero():
			gone, stood = time.Time{}, time.Now()
		case v == standing && time.Since(stood) >= patience:
			st, err := y.State(ctx, "")
			if err != nil {
				return unclear, err
			}
			if st.Unread == 0 && !y.typedSince(pressed) {
				return standing, nil // it took the key, and did nothing
			}
		case v == unclear:
			gone = time.Time{}
		}
		offset = s.Offset
		if err := pause(ctx, tick); err != nil {
			return unclear, err
		}
	}
	return unclear, nil
}

// again makes the input empty for another attempt.
func (y *typist) again(ctx context.Context, before picture) error {
	if _, err := y.TakeBack(ctx); err != nil {
		return failed("take back", err)
	}
	st, err := y.State(ctx, "")
	if err != nil {
		return failed("erase", err)
	}
	if !st.Canonical {
		if err := y.clear(ctx, before); err != nil {
			return failed("erase", err)
		}
	}
	return errLost
}

// giveUp erases what was typed and not submitted, as well as it goes, and returns why.
func (y *typist) giveUp(ctx context.Context, before picture, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*eraseLimit) // what is left there would be sent with the next message
	defer cancel()
	if _, err := y.TakeBack(ctx); err == nil {
		_ = y.clear(ctx, before)
	}
	return why
}

// clear presses the keys that erase the text, after the end of a paste that may
// have lost its own, and waits until it is not seen at the cursor.
func (y *typist) clear(ctx context.Context, before picture) error {
	keys := eraseKeys(y.text)
	if before.paste {
		keys = pasteEnd + keys
	}
	if err := y.Input(ctx, "", []byte(keys)); err != nil {
		return err
	}
	gone := time.Now()
	for began := time.Now(); time.Since(began) < eraseLimit && time.Since(gone) < settleKeys; {
		s, err := y.look(ctx)
		if err != nil {
			return err
		}
		if a, ok := anchorOf(picture{cx: -1}, read(s), y.text); ok && a.cursor {
			gone = time.Now()
		}
		if err := pause(ctx, tick); err != nil {
			return err
		}
	}
	return nil
}

// erase erases the text and reports whether it is seen to be gone.
func (y *typist) erase(ctx context.Context, a anchor) bool {
	if err := y.Input(ctx, "", []byte(eraseKeys(y.text))); err != nil {
		return false
	}
	v, err := y.confirm(ctx, a, eraseLimit, time.Now())
	return err == nil && v == taken
}
