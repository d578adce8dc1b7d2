package screen

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/supervisor/transcript"
	"townd/town"
)

// open makes a transcript and a reader of it.
func open(t testing.TB, o transcript.Options) (*transcript.Writer, *transcript.Reader) {
	t.Helper()
	dir := t.TempDir()
	w, err := transcript.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	r := transcript.NewReader(dir)
	t.Cleanup(func() { w.Close(); r.Close() })
	return w, r
}

func write(t testing.TB, w *transcript.Writer, s string) {
	t.Helper()
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func mustDraw(t testing.TB, d *Drawer, src Source, to int64) Screen {
	t.Helper()
	s, err := d.Draw(t.Context(), src, to)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScreen(t *testing.T) {
	w, r := open(t, transcript.Options{})
	d := NewDrawer(20, 4)
	if s := mustDraw(t, d, r, -1); s.Cols != 20 || s.Rows != 4 || s.Offset != 0 || !s.Exact || strings.Join(s.Lines, "") != "" {
		t.Errorf("Draw() of nothing = %+v", s)
	}
	if err := w.Mark(transcript.MarkStart, 12, 3); err != nil {
		t.Fatal(err)
	}
	write(t, w, "one \x1b[31mtwo\x1b[m\r\n日本\x1b]2;title\a\x1b[?25l\x1b[3")
	got := mustDraw(t, d, r, -1)
	want := Screen{
		Offset: w.Size() - 3, Cols: 12, Rows: 3, Lines: []string{"one two", "日本", ""}, CursorX: 4, CursorY: 1, Title: "title", Exact: true,
		ANSI: "\x1bc\x1b[20l\x1b]2;title\a\x1b[m\x1b[H\x1b[2Jone \x1b[0;38;5;1mtwo\x1b[m\r\n日本\x1b[2;5H\x1b[0m\x1b[?25l\x0f",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Draw() (-want +got):\n%s", diff)
	}
	write(t, w, "2mgreen\x1b[?1049h")
	if s := mustDraw(t, d, r, -1); !s.AltScreen || s.Offset != w.Size() {
		t.Errorf("Draw() = %+v, want the alternate screen at the end", s)
	}
	if s := mustDraw(t, d, r, 7); s.Lines[0] != "one" || s.AltScreen {
		t.Errorf("Draw(7) = %+v, want the first word", s)
	}
}

// Whatever the offsets at which screens were asked for, the last is the same.
func TestDrawingInPartsIsDrawingAtOnce(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		j := randomJob(seed)
		dir := t.TempDir()
		j.write(t, dir)
		r := transcript.NewReader(dir)
		_, end, err := r.Bounds()
		if err != nil {
			t.Fatal(err)
		}
		parts := NewDrawer(80, 24)
		for at := int64(0); at < end; at += 1 + rnd.Int64N(20) {
			s := mustDraw(t, parts, r, at)
			if s.Offset > at || parts.at != at {
				t.Fatalf("seed %d: Draw(%d) is at %d", seed, at, s.Offset)
			}
		}
		whole := mustDraw(t, NewDrawer(80, 24), r, end)
		if diff := cmp.Diff(whole, mustDraw(t, parts, r, end)); diff != "" {
			t.Errorf("seed %d (-at once +in parts):\n%s", seed, diff)
		}
		r.Close()
	}
}

// A viewer that is given the repaint and then the bytes from its offset on ends
// with the same screen.
func TestARepaintGoesOn(t *testing.T) {
	// Tab stops are left out, and a character set that DECRC brings back over
	// another designated meanwhile.
	leftOut := []*strings.Replacer{
		strings.NewReplacer("\x1bH", "", "\u0088", "", "\x1b8", "", "\x1b[?1048l", "", "\x1b[?1049l", ""),
		strings.NewReplacer("\x1bH", "", "\u0088", "", "\x1b(0", "", "\x1b)0", "", "\x1b*0", "", "\x1b(A", ""),
	}
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		var b strings.Builder
		for range 150 {
			if piece := leftOut[seed%2].Replace(randomPiece(rnd)); !strings.ContainsAny(piece, "\u200b\u1161") && !strings.HasSuffix(piece, "g") {
				b.WriteString(piece)
			}
		}
		stream := []byte(b.String())
		cut := rnd.IntN(len(stream))
		cols, rows := 4+rnd.IntN(30), 2+rnd.IntN(10)
		a, viewer := newTerminal(cols, rows), newTerminal(cols, rows)
		from := 0
		for i := range cut {
			if n := a.write(stream[i : i+1]); n >= 0 {
				from = i + n
			}
		}
		viewer.write([]byte("junk\x1b[?1049h\x1b[2;3r\x1b[?6h\x1b[4h"))
		viewer.write([]byte(a.repaint()))
		if diff := diffTerminals(a, viewer); diff != "" {
			t.Fatalf("seed %d: repainted at %d (-terminal +viewer):\n%s\n%q", seed, cut, diff, a.repaint())
		}
		viewer.joinable = a.joinable // a character that combines with the one before the cut stands alone
		a.write(stream[cut:])
		viewer.write(stream[from:])
		if diff := diffTerminals(a, viewer); diff != "" {
			t.Fatalf("seed %d: cut at %d of %q (-terminal +viewer):\n%s", seed, cut, stream, diff)
		}
	}
}

// diffTerminals compares what two terminals show.
func diffTerminals(a, b *terminal) string {
	show := func(t *terminal) drawn {
		d := drawn{Cols: t.cols, Rows: t.rows, Styles: styles(t), CursorX: t.buf.x, CursorY: t.buf.y, CursorVisible: !t.hidden, AltScreen: t.buf == t.alt, Title: t.title}
		for y := range t.rows {
			d.Lines = append(d.Lines, t.buf.row(y).text(t.cols))
		}
		return d
	}
	return cmp.Diff(show(a), show(b)) + cmp.Diff(fmt.Sprint(a.modes), fmt.Sprint(b.modes))
}

func TestOutputThatWasDroppedMakesTheScreenInexact(t *testing.T) {
	w, r := open(t, transcript.Options{SegmentBytes: 1000, TotalBytes: 4000})
	if err := w.Mark(transcript.MarkStart, 30, 5); err != nil {
		t.Fatal(err)
	}
	d := NewDrawer(80, 24)
	write(t, w, "begin\r\n")
	mustDraw(t, d, r, -1)
	for i := range 1000 {
		write(t, w, fmt.Sprintf("\x1b[3%dmline %d\x1b[m\r\n", i%8, i))
	}
	for name, d := range map[string]*Drawer{"kept": d, "new": NewDrawer(80, 24)} {
		s := mustDraw(t, d, r, -1)
		if s.Exact || s.Cols != 30 || s.Rows != 5 || s.Lines[3] != "line 999" || s.Lines[0] != "line 996" {
			t.Errorf("%s: Draw() = %+v, want the last lines, inexact", name, s)
		}
	}
	if _, err := d.Draw(t.Context(), r, 10); !errors.Is(err, town.ErrGone) {
		t.Errorf("Draw(10) = %v, want gone", err)
	}
	write(t, w, "\x1bcnew")
	if s := mustDraw(t, d, r, -1); !s.Exact || s.Lines[0] != "new" {
		t.Errorf("Draw() = %+v after a reset, want it exact", s)
	}
}

func TestOnlyTheLastPartOfALongTranscriptIsDrawn(t *testing.T) {
	w, r := open(t, transcript.Options{})
	if err := w.Mark(transcript.MarkStart, 30, 5); err != nil {
		t.Fatal(err)
	}
	write(t, w, strings.Repeat("x", 990)+"\x1b[1;1H\x1b[31mred")
	d := NewDrawer(80, 24)
	d.startCap = 14 // begins within the first sequence, goes on with the next
	s := mustDraw(t, d, r, -1)
	if s.Exact || s.Lines[0] != "red" || s.Lines[1] != "" || s.Cols != 30 {
		t.Errorf("Draw() = %+v, want the last bytes only", s)
	}
}

func TestNoTranscriptNoScreen(t *testing.T) {
	d := NewDrawer(80, 24)
	if _, err := d.Draw(t.Context(), transcript.NewReader(t.TempDir()+"/none"), -1); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("Draw() = %v, want not found", err)
	}
}

// source is a transcript in memory.
type source struct {
	data  []byte
	marks []transcript.Mark
	read  func(off int64) error
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if s.read != nil {
		if err := s.read(off); err != nil {
			return 0, err
		}
	}
	return copy(p, s.data[off:]), nil
}

func (s *source) Bounds() (int64, int64, error) { return 0, int64(len(s.data)), nil }

func (s *source) Marks(from, to int64) iter.Seq2[transcript.Mark, error] {
	return func(yield func(transcript.Mark, error) bool) {
		for _, m := range s.marks {
			if m.Offset >= from && m.Offset <= to && !yield(m, nil) {
				return
			}
		}
	}
}

func TestDrawingStopsWithItsContextAndGoesOn(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	why := errors.New("nobody waits")
	src := &source{data: []byte(strings.Repeat("line\r\n", 1<<20))}
	src.read = func(off int64) error {
		if off > 1<<20 {
			stop(why)
		}
		return nil
	}
	d := NewDrawer(80, 24)
	if _, err := d.Draw(ctx, src, -1); !errors.Is(err, why) {
		t.Fatalf("Draw() = %v, want %v", err, why)
	}
	at := d.at
	if at < 1<<20 || at > 2<<20 {
		t.Errorf("drawing stopped at %d", at)
	}
	src.read = func(off int64) error {
		if off < at {
			return fmt.Errorf("drawn again at %d", off)
		}
		return nil
	}
	if s := mustDraw(t, d, src, -1); s.Lines[22] != "line" {
		t.Errorf("Draw() = %+v", s)
	}
	d.turn <- struct{}{} // somebody draws
	if _, err := d.Draw(ctx, src, -1); !errors.Is(err, why) {
		t.Errorf("Draw() = %v while another draws, want %v", err, why)
	}
}

func TestAPanicIsAnError(t *testing.T) {
	src := &source{data: []byte("text"), read: func(int64) error { panic("no disk") }}
	d := NewDrawer(80, 24)
	if _, err := d.Draw(t.Context(), src, -1); err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("Draw() = %v, want the panic", err)
	}
	src.read = nil
	if s := mustDraw(t, d, src, -1); s.Lines[0] != "text" {
		t.Errorf("Draw() = %+v afterwards", s)
	}
}

func TestManyDrawAtOnce(t *testing.T) {
	dir := t.TempDir()
	w, err := transcript.Open(dir, transcript.Options{SegmentBytes: 10_000, TotalBytes: 50_000})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	d := NewDrawer(80, 24)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			r := transcript.NewReader(dir)
			defer r.Close()
			for w.Size() < 500_000 {
				s, err := d.Draw(t.Context(), r, -1)
				if err != nil && !errors.Is(err, town.ErrGone) {
					t.Error(err)
					return
				}
				for _, l := range s.Lines {
					if l != "" && !strings.HasPrefix("a line of text", l) {
						t.Errorf("line %q", l)
						return
					}
				}
			}
		})
	}
	for w.Size() < 500_000 {
		write(t, w, "a line of text\r\n")
	}
	wg.Wait()
}
