// Package typing gives messages to programs that only have a terminal, so that it
// is known and not hoped whether each was submitted.
//
// What is known: the kernel tells whether the terminal collects lines, what no
// program has read yet, and what was thrown away unread; input that nobody has
// read can be taken back. So a line in canonical mode is delivered when it was
// read and was not flushed. In raw mode the kernel tells only that keys were taken:
// there the screen is the witness. The text must be seen in the program's input
// before Enter is pressed, and after it either be gone from there, or have been
// followed by something new, for longer than a repaint takes. Enter is pressed
// again only while the text still stands at the cursor of a program that has taken
// the first one: a text that was submitted is not there to be submitted twice.
//
// Every call ends in one of three ways: delivered, *NotDelivered (nothing was
// submitted, and what was typed was erased) or *Unproven. Nothing else is ever
// called delivered.
//
// A message goes in as a person would paste it. A terminal in canonical mode gets
// each line of it by itself, as lines are all it knows. One in raw mode gets it in
// brackets (DECSET 2004) if the program asked for them; else a message of more
// lines is refused, since each line feed may be Enter or not. Control characters
// and escape sequences never go in. The agents' own terminals run commands for what
// begins with / ! # @ ? or &: there a line "Message:" goes first, so that a message
// stays one.
package typing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"townd/supervisor/screen"
	"townd/town"
)

// Terminal is the terminal of one program. Errors that are town.ErrConflict mean
// that the program has ended. Its methods are called by one goroutine.
type Terminal interface {
	// Input types p, whole or with an error. What has a key submits something: it is
	// typed once for each key of a message, also by a successor of this process.
	Input(ctx context.Context, key string, p []byte) error
	// TakeBack takes what no program has read out of the input again; the line that
	// is unfinished is erased.
	TakeBack(ctx context.Context) ([]byte, error)
	// State returns what the kernel knows of the input, and whether what has the key, if
	// it is not empty, was typed.
	State(ctx context.Context, key string) (State, error)
	// Screen returns what the terminal shows now.
	Screen(ctx context.Context) (screen.Screen, error)
	// Printed returns how many bytes the program has printed, as soon as they are
	// more than after; ctx's error when that ends first.
	Printed(ctx context.Context, after int64) (int64, error)
	// Person returns when a person last typed into the terminal, the zero time for
	// never, and whether what they typed stands there unfinished.
	Person() (typed time.Time, unfinished bool)
}

// State is what the kernel knows of a terminal's input.
type State struct {
	Canonical bool    // collects lines
	Unread    int     // bytes a program could read and has not
	Line      int     // bytes of an unfinished line in a canonical terminal
	Flushes   int64   // how often unread input was thrown away
	Reading   Reading // whether a program is blocked in a read of the terminal

	Given        bool  // what was asked about was typed
	GivenFlushes int64 // Flushes before that
}

// Reading is yes, no, or not to be known.
type Reading uint8

// The zero Reading is ReadingUnknown.
const (
	ReadingUnknown Reading = iota
	ReadingYes
	ReadingNo
)

// Options say how a message goes in. The zero value is for a program not known.
type Options struct {
	Program   string // argv[0], or only its base name
	Interrupt bool   // end the program's turn first, if it is known how
	Again     bool   // a predecessor of this process may have typed a part of the message
}

// NotDelivered tells that nothing of a message was submitted.
type NotDelivered struct {
	Reason string
	Kind   error // one of town's kinds
}

func (e *NotDelivered) Error() string { return fmt.Sprintf("not delivered: %s: %v", e.Reason, e.Kind) }

// Unwrap returns the kind.
func (e *NotDelivered) Unwrap() error { return e.Kind }

// Unproven tells that a message may have been submitted or not.
type Unproven struct {
	Reason string
	Kind   error // one of town's kinds
}

func (e *Unproven) Error() string {
	return fmt.Sprintf("not known to be delivered: %s: %v", e.Reason, e.Kind)
}

// Unwrap returns the kind.
func (e *Unproven) Unwrap() error { return e.Kind }

const (
	// maxLine is what a canonical terminal keeps of a line, without its end (n_tty.c).
	maxLine = 4095
	// attempts is how often a text is typed when the program throws it away unread:
	// a program that starts does so once, with a wrapper twice.
	attempts = 5
)

// typist is one message on its way.
type typist struct {
	Terminal
	text    string // cleaned
	program program
	began   time.Time
	lines   int // of the text that went in before, in canonical mode
	attempt int // how often it was typed
}

// Type types text into t, presses Enter and returns nil when the program has it
// for sure, else *NotDelivered or *Unproven. It takes as long as the program needs:
// some 0.2 s for one that is ready, up to a minute in all. When ctx ends it stops
// where it is and says what that means.
func Type(ctx context.Context, t Terminal, text string, opt Options) error {
	p := programOf(opt.Program)
	y := &typist{Terminal: t, program: p, text: p.guard(clean(text)), began: time.Now()}
	if y.text == "" {
		return &NotDelivered{"the message has no text", town.ErrInvalid}
	}
	if opt.Again {
		if done, err := y.resume(ctx); done {
			return err
		}
	}
	if opt.Interrupt {
		if err := y.interrupt(ctx); err != nil {
			return err
		}
	}
	for y.attempt < attempts {
		y.attempt++
		st, err := y.awaitReady(ctx)
		if err != nil {
			return err
		}
		switch {
		case st.Canonical:
			err = y.typeLines(ctx, st)
		case y.lines > 0:
			err = &Unproven{"the program read the first lines of it and takes keys now", town.ErrUnavailable}
		default:
			err = y.typeKeys(ctx, st)
		}
		if !errors.Is(err, errLost) {
			return err
		}
	}
	return &NotDelivered{"the program throws away what is typed", town.ErrUnavailable}
}

// errLost is for a text that the program has thrown away, provably unread.
var errLost = errors.New("thrown away")

// failed returns what an error of the terminal means while nothing is submitted.
func failed(doing string, err error) error {
	if errors.Is(err, town.ErrConflict) {
		return &NotDelivered{doing + ": the program has ended", town.ErrConflict}
	}
	return &NotDelivered{fmt.Sprintf("%s: %v", doing, err), kindOf(err)}
}

// doubtful returns what an error of the terminal means when Enter was pressed.
func doubtful(doing string, err error) error {
	if errors.Is(err, town.ErrConflict) {
		return &Unproven{doing + ": the program has ended", town.ErrConflict}
	}
	return &Unproven{fmt.Sprintf("%s: %v", doing, err), kindOf(err)}
}

func kindOf(err error) error {
	if errors.Is(err, town.ErrTooLarge) {
		return town.ErrTooLarge
	}
	return town.ErrUnavailable
}

// pause waits; it returns ctx's cause when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
