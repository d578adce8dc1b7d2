package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

// input is the way into a program: its terminal, or the end of a pipe. It is safe
// for concurrent use; one writes at a time, at most maxWaiting wait for that.
type input struct {
	file    *os.File
	term    *terminal // nil for a pipe
	turn    chan struct{}
	waiting atomic.Int32

	// Guarded by turn.
	closed bool
	given  []given // the last inputs with an id that went in whole
	line   int     // bytes of an unfinished line in a canonical terminal; see unfinished
	// lineFlushes is the terminal's count of flushes that line goes with.
	lineFlushes int64

	closing sync.Once
}

func newInput(file *os.File, term *terminal) *input {
	return &input{file: file, term: term, turn: make(chan struct{}, 1)}
}

// take waits for the caller's turn; it gives it back with release.
func (in *input) take(ctx context.Context) error {
	defer in.waiting.Add(-1)
	if in.waiting.Add(1) > maxWaiting {
		return &town.CapacityError{What: fmt.Sprintf("%d inputs wait for this run already", maxWaiting), RetryAfter: time.Second}
	}
	select {
	case in.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("input: nothing went in while others were being written: %w", town.ErrUnavailable)
	}
}

func (in *input) release() { <-in.turn }

// write writes p whole, or returns an error that says how much went in.
func (in *input) write(ctx context.Context, id string, p []byte) error {
	if err := in.take(ctx); err != nil {
		return err
	}
	defer in.release()
	if _, known := in.find(id); known {
		return nil
	}
	if in.closed {
		return fmt.Errorf("input is closed: %w", town.ErrConflict)
	}
	line, err := in.checkLines(p)
	if err != nil {
		return err
	}
	g := given{id: id}
	if in.term != nil {
		g.flushes = in.term.flushed()
	}
	if err := in.writeAll(ctx, p); err != nil {
		return err
	}
	in.line = line
	if id != "" {
		if in.given = append(in.given, g); len(in.given) > maxRememberID {
			in.given = slices.Delete(in.given, 0, 1)
		}
	}
	return nil
}

// given is an input that went in whole, and the terminal's count of flushes before.
type given struct {
	id      string
	flushes int64
}

// find returns the input of that id, if it is known. The caller has the turn.
func (in *input) find(id string) (given, bool) {
	if i := slices.IndexFunc(in.given, func(g given) bool { return g.id == id }); id != "" && i >= 0 {
		return in.given[i], true
	}
	return given{}, false
}

// checkLines refuses what a canonical terminal would silently cut: it collects
// 4095 bytes of a line and drops the rest (n_tty.c, N_TTY_BUF_SIZE). It returns
// how long the line that p leaves unfinished is.
func (in *input) checkLines(p []byte) (unfinished int, err error) {
	if in.term == nil {
		return 0, nil
	}
	mode, err := in.term.mode()
	if err != nil {
		return 0, closedInput(err)
	}
	if mode.Lflag&unix.ICANON == 0 {
		return 0, nil
	}
	line := in.unfinished()
	for _, c := range p {
		if endsLine(mode, c) {
			line = 0
			continue
		}
		if line++; line > MaxLineBytes {
			return 0, fmt.Errorf("a line of input is over %d bytes, the terminal would drop the rest: %w", MaxLineBytes, town.ErrTooLarge)
		}
	}
	return line, nil
}

func endsLine(mode *unix.Termios, c byte) bool {
	switch c {
	case '\n', mode.Cc[unix.VEOF], mode.Cc[unix.VKILL]:
		return true
	case '\r':
		return mode.Iflag&unix.ICRNL != 0
	case mode.Cc[unix.VINTR], mode.Cc[unix.VQUIT]:
		return mode.Lflag&unix.ISIG != 0
	}
	return false
}

// writeAll writes until ctx ends, its deadline included.
func (in *input) writeAll(ctx context.Context, p []byte) error {
	if err := in.file.SetWriteDeadline(time.Time{}); err != nil {
		return closedInput(err)
	}
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(late)
		_ = in.file.SetWriteDeadline(time.Now())
	})
	n, err := in.file.Write(p)
	if !stop() {
		<-late // else it would cut the next input
	}
	switch {
	case err == nil:
		return nil
	case n > 0:
		return &PartialInputError{Written: n, Total: len(p), Reason: reason(err)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("input: nothing went in, the program does not read: %w", town.ErrUnavailable)
	default:
		return closedInput(err)
	}
}

func reason(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "the program does not read"
	case errors.Is(err, syscall.EPIPE):
		return "the program has closed its input"
	case errors.Is(err, fs.ErrClosed), errors.Is(err, syscall.EIO):
		return "the run has ended"
	}
	return err.Error()
}

func closedInput(err error) error {
	return fmt.Errorf("input: %s: %w", reason(err), town.ErrConflict)
}

// finish closes a pipe after what is being written.
func (in *input) finish(ctx context.Context) error {
	if in.term != nil {
		return fmt.Errorf("input is the terminal, it is closed by typing its end-of-file character: %w", town.ErrConflict)
	}
	if err := in.take(ctx); err != nil {
		return err
	}
	defer in.release()
	in.closed = true
	in.close()
	return nil
}

// close makes every write fail, also one under way. It does not close a terminal.
func (in *input) close() {
	if in.term == nil {
		in.closing.Do(func() { _ = in.file.Close() })
	}
}
