// Package screen draws the screen of a terminal from its transcript, for those
// who need it as it is now and not as a stream: a person who asks, a viewer that
// comes late.
//
// It has its own emulator. What it draws is what xterm.js draws, with which
// viewers show the same bytes; testdata holds recordings and what @xterm/headless
// makes of them. It answers no queries (cursor position, colors, device
// attributes): the server does. charmbracelet/x/vt was tried first: it waits for
// ever until its answers are read, panics on a third of all random streams, and
// takes the last byte of a character in a title for the title's end.
//
// A screen follows from every byte before it, so a Drawer keeps its terminal (half
// a megabyte at 120 by 40) and draws only what came since; a screen asked for the
// first time is drawn from the begin, at a hundred megabytes a second, but from not
// more than the last 64 MiB. When that begin is not the run's, modes set before it
// are unknown; Exact says so until the program resets its terminal. The package
// writes nothing.
package screen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"

	"townd/supervisor/transcript"
)

// Screen is what a terminal shows.
type Screen struct {
	Offset        int64    `json:"offset"` // the bytes drawn, but for the control sequence or character that ends later
	Cols          int      `json:"cols"`
	Rows          int      `json:"rows"`
	Lines         []string `json:"lines"`   // one per row, without blanks at the end
	ANSI          string   `json:"ansi"`    // makes a terminal of that size show the same, ready for the bytes from Offset on
	CursorX       int      `json:"cursorX"` // column, from 0
	CursorY       int      `json:"cursorY"` // row, from 0
	CursorVisible bool     `json:"cursorVisible"`
	AltScreen     bool     `json:"altScreen"` // the screen of full-screen programs
	Paste         bool     `json:"paste"`     // the program asked for brackets around what is pasted (DECSET 2004)
	Title         string   `json:"title,omitempty"`
	Exact         bool     `json:"exact"` // false: begun after the run did, the terminal's modes may be others
}

// Source is what is drawn; a *transcript.Reader is one.
type Source interface {
	ReadAt(p []byte, off int64) (int, error)
	Bounds() (first, end int64, err error)
	Marks(from, to int64) iter.Seq2[transcript.Mark, error]
}

// maxReplay bounds how much is drawn for one screen, in bytes.
const maxReplay = 64 << 20

// Drawer draws the screens of one transcript, each from where the last one
// ended. It is safe for concurrent use; its sources are used one at a time.
type Drawer struct {
	cols, rows uint16
	turn       chan struct{} // held by the one who draws

	term     *terminal // nil: nothing drawn yet
	at       int64     // the bytes written to term
	whole    int64     // those up to the last place between control sequences
	marks    int       // marks at offset at that were carried out
	partial  bool      // drawn from after the begin
	startCap int64     // maxReplay

	drawn atomic.Int64 // at, for who does not draw
}

// NewDrawer returns a Drawer for terminals of cols by rows until a mark tells
// another size. Sides are brought into 2 to 1000 columns and 1 to 1000 rows.
func NewDrawer(cols, rows uint16) *Drawer {
	return &Drawer{cols: cols, rows: rows, turn: make(chan struct{}, 1), startCap: maxReplay}
}

// Draw returns the screen after the first to bytes of src, after all of them when
// to is negative. It returns *transcript.GoneError when the byte at to is no
// longer held. When ctx ends first, what was drawn is kept for the next call. A
// screen earlier than the last one is drawn from the begin, aside.
func (d *Drawer) Draw(ctx context.Context, src Source, to int64) (Screen, error) {
	select {
	case d.turn <- struct{}{}:
		defer func() {
			d.drawn.Store(d.at)
			<-d.turn
		}()
	case <-ctx.Done():
		return Screen{}, context.Cause(ctx)
	}
	for attempt := 1; ; attempt++ {
		s, err := d.draw(ctx, src, to)
		gone, ok := errors.AsType[*transcript.GoneError](err)
		if !ok || to >= 0 && to < gone.First || attempt == maxAttempts {
			return s, err
		}
		d.term = nil // dropped while we read, or since the last time: from the new begin
	}
}

// Drawn returns how far was drawn, in bytes, without waiting for who draws.
func (d *Drawer) Drawn() int64 { return d.drawn.Load() }

// maxAttempts is how often drawing begins anew because output is dropped faster
// than it is drawn.
const maxAttempts = 5

func (d *Drawer) draw(ctx context.Context, src Source, to int64) (s Screen, err error) {
	defer func() {
		if r := recover(); r != nil {
			d.term = nil
			err = fmt.Errorf("draw screen: panic at offset %d: %v", d.at, r)
		}
	}()
	first, end, err := src.Bounds()
	if err != nil {
		return Screen{}, fmt.Errorf("draw screen: %w", err)
	}
	if to < 0 || to > end {
		to = end
	}
	if to < first {
		d.term = nil
		return Screen{}, fmt.Errorf("draw screen at %d: %w", to, &transcript.GoneError{First: first})
	}
	if d.term != nil && to < d.at {
		aside := NewDrawer(d.cols, d.rows)
		return aside.draw(ctx, src, to)
	}
	if d.term == nil {
		if err := d.begin(src, first, to); err != nil {
			return Screen{}, fmt.Errorf("draw screen: %w", err)
		}
	}
	if err := d.advance(ctx, src, to); err != nil {
		return Screen{}, fmt.Errorf("draw screen at %d: %w", to, err)
	}
	return d.screen(), nil
}

// begin makes the terminal, as it was where drawing begins.
func (d *Drawer) begin(src Source, first, to int64) error {
	start := max(first, to-d.startCap)
	cols, rows := d.cols, d.rows
	if start > 0 {
		for m, err := range src.Marks(first, start) {
			if err != nil {
				return err
			}
			if m.Cols > 0 && m.Rows > 0 {
				cols, rows = m.Cols, m.Rows
			}
		}
		n, err := skipCut(src, start, to)
		if err != nil {
			return err
		}
		start += n
	}
	d.term = newTerminal(int(cols), int(rows))
	d.at, d.whole, d.marks, d.partial = start, start, 0, start > 0
	return nil
}

// skipCut returns how many bytes at start are better not drawn: they may be the
// end of a control sequence, and would be taken for text.
func skipCut(src Source, start, to int64) (int64, error) {
	p := make([]byte, min(4096, to-start))
	n, err := src.ReadAt(p, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	i := bytes.IndexAny(p[:n], "\x1b\n")
	switch {
	case i < 0:
		return 0, nil
	case p[i] == '\n':
		i++
	}
	return int64(i), nil
}

// advance draws the bytes up to the offset to, with the marks among them.
func (d *Drawer) advance(ctx context.Context, src Source, to int64) error {
	from, known := d.at, d.marks
	for m, err := range src.Marks(from, to) {
		if err != nil {
			return err
		}
		if m.Offset == from && known > 0 {
			known--
			continue
		}
		if err := d.write(ctx, src, m.Offset); err != nil {
			return err
		}
		if m.Cols > 0 && m.Rows > 0 {
			d.term.resize(int(m.Cols), int(m.Rows))
		}
		d.marks++
	}
	return d.write(ctx, src, to)
}

// write draws the bytes up to the offset to, which are held.
func (d *Drawer) write(ctx context.Context, src Source, to int64) error {
	if to <= d.at {
		return nil
	}
	// A few bytes can clear a whole screen: the larger it is, the more often ctx is asked.
	p := make([]byte, min(to-d.at, int64(min(max(64<<20/(d.term.cols*d.term.rows), 64), 32<<10))))
	for d.at < to {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := src.ReadAt(p[:min(int64(len(p)), to-d.at)], d.at)
		if n == 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if n == 0 && err != nil {
			return err
		}
		if boundary := d.term.write(p[:n]); boundary >= 0 {
			d.whole = d.at + int64(boundary)
		}
		d.at += int64(n)
		d.marks = 0
	}
	return nil
}

func (d *Drawer) screen() Screen {
	t := d.term
	s := Screen{
		Offset: d.whole, Cols: t.cols, Rows: t.rows, Lines: make([]string, t.rows), ANSI: t.repaint(),
		CursorX: min(t.buf.x, t.cols-1), CursorY: t.buf.y, CursorVisible: !t.hidden,
		AltScreen: t.buf == t.alt, Paste: t.modes.paste, Title: t.title, Exact: !d.partial || t.reset,
	}
	for y := range s.Lines {
		s.Lines[y] = t.buf.row(y).text(t.cols)
	}
	return s
}
