package screen

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"townd/supervisor/transcript"
)

// Hostile streams on the largest terminal: drawn to their end or until the
// context ends, and the terminal keeps its bounds.
func TestHostileStreams(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	for name, stream := range map[string]string{
		"noise":         string(noise),
		"huge numbers":  strings.Repeat("\x1b[2147483647b\x1b[99999999999L\x1b[2147483647@\x1b[2147483647;2147483647Hx\x1b[2147483647T\x1b[2147483647I", 50),
		"endless title": "\x1b]0;" + strings.Repeat("title ", 1<<18),
		"endless marks": "e" + strings.Repeat("\u0301", 1<<18),
		"many numbers":  "\x1b[" + strings.Repeat("1;2:3:4;", 1<<16) + "m",
	} {
		t.Run(name, func(t *testing.T) {
			term := newTerminal(1<<16, 1<<16)
			term.write([]byte(stream))
			check(t, term)
			if len(term.title) > maxTitle || len(term.repaint()) > 30*maxCols*maxRows {
				t.Errorf("the title has %d bytes, the repaint %d", len(term.title), len(term.repaint()))
			}
		})
	}
}

func TestAStreamOfClearedScreensStopsWithItsContext(t *testing.T) {
	src := &source{
		data:  []byte(strings.Repeat("\x1b#8\x1b[2J\x1b[?1049h\x1b#8\x1b[?1049l", 1<<16)),
		marks: []transcript.Mark{{Kind: transcript.MarkStart, Cols: 1000, Rows: 1000}},
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	d := NewDrawer(80, 24)
	if _, err := d.Draw(ctx, src, -1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Draw() = %v, want the deadline", err)
	}
	if d.at > 1<<18 {
		t.Errorf("%d bytes were drawn in 20 ms", d.at)
	}
}

// FuzzTerminal draws anything on any terminal: nothing panics, and the cursor and
// the rows stay where they belong.
func FuzzTerminal(f *testing.F) {
	for seed := range uint64(20) {
		var stream []byte
		for _, e := range randomJob(seed).Events {
			stream = append(stream, e.bytes...)
		}
		f.Add(stream, uint16(20), uint16(5), uint16(40), uint16(9))
	}
	f.Add([]byte("\x1b[2147483647b\x1b[2147483647L\x1b[2147483647@\x1b[2147483647;2147483647H\x1b[2147483647T"), uint16(69), uint16(29), uint16(1), uint16(1))
	f.Add([]byte("\x1b#8\x1b[?1049h\x1b#8日本"), uint16(3), uint16(29), uint16(1), uint16(0))
	f.Fuzz(func(t *testing.T, stream []byte, cols, rows, cols2, rows2 uint16) {
		// Small ones are quick, and a terminal of any size is the same code.
		cols, rows, cols2, rows2 = cols%70, rows%30, cols2%70, rows2%30
		term := newTerminal(int(cols), int(rows))
		half := len(stream) / 2
		term.write(stream[:half])
		check(t, term)
		term.resize(int(cols2), int(rows2))
		check(t, term)
		term.write(stream[half:])
		check(t, term)
		term.resize(int(cols), int(rows))
		check(t, term)
		other := newTerminal(term.cols, term.rows)
		other.write([]byte(term.repaint()))
		check(t, other)
	})
}

func check(t *testing.T, term *terminal) {
	t.Helper()
	for _, b := range []*buffer{term.normal, term.alt} {
		if len(b.lines) == 0 && b == term.alt && term.buf != b {
			continue
		}
		if b.base < 0 || b.base+term.rows > len(b.lines) || len(b.lines) > term.rows+b.history {
			t.Fatalf("%d lines, the screen of %d rows begins at %d", len(b.lines), term.rows, b.base)
		}
		for i, l := range b.lines {
			if len(l.cells) < term.cols || len(l.cells) > maxCols {
				t.Fatalf("line %d has %d of %d columns", i, len(l.cells), term.cols)
			}
		}
	}
	b := term.buf
	if b.x < 0 || b.x > term.cols+1 || b.y < 0 || b.y >= term.rows || b.top < 0 || b.bottom >= term.rows || b.top > b.bottom {
		t.Fatalf("cursor at %d, %d, rows %d to %d scroll, of %d by %d", b.x, b.y, b.top, b.bottom, term.cols, term.rows)
	}
}
