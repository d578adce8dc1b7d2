package transcript

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// A transcript is what its model says, whatever is written, torn, compressed, dropped
// or opened again in between.
func TestRandomWritesAndReads(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			m := newModel(t, rand.New(rand.NewPCG(seed, 1)))
			for range 300 {
				m.step()
				m.check()
			}
		})
	}
}

// model is what a transcript should be: the offsets at which its segments begin,
// and their end.
type model struct {
	t      *testing.T
	rnd    *rand.Rand
	dir    string
	o      Options
	w      *Writer
	r      *Reader
	starts []int64
	end    int64
}

func newModel(t *testing.T, rnd *rand.Rand) *model {
	m := &model{t: t, rnd: rnd, dir: t.TempDir(), o: Options{SegmentBytes: 64, TotalBytes: 64 * 6}, starts: []int64{0}}
	m.w, m.r = mustOpen(t, m.dir, m.o), mustReader(t, m.dir)
	return m
}

func (m *model) step() {
	switch m.rnd.IntN(20) {
	case 0:
		m.reopen()
	case 1:
		m.compress()
	case 2:
		m.tearMarks()
	case 3:
		m.cutMiddle()
	case 4, 5:
		if err := m.w.Mark(MarkResize, uint16(1+m.rnd.IntN(200)), 40); err != nil {
			m.t.Fatal(err)
		}
	case 6:
		m.r.Close()
	case 7:
		m.print(m.rnd.Int64N(1000))
	default:
		m.print(m.rnd.Int64N(70))
	}
}

func (m *model) print(n int64) {
	mustPrint(m.t, m.w, n)
	for n > 0 {
		last := m.starts[len(m.starts)-1]
		room := m.o.SegmentBytes - (m.end - last)
		if room <= 0 {
			m.starts = slices.DeleteFunc(m.starts, func(s int64) bool {
				return s != last && m.end-s+m.o.SegmentBytes > m.o.TotalBytes
			})
			m.starts = append(m.starts, m.end)
			continue
		}
		step := min(n, room)
		m.end, n = m.end+step, n-step
	}
}

func (m *model) reopen() {
	if err := m.w.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.o.SegmentBytes = 20 + m.rnd.Int64N(100)
	m.o.TotalBytes = m.o.SegmentBytes * (2 + m.rnd.Int64N(8))
	m.w = mustOpen(m.t, m.dir, m.o)
	last := m.starts[len(m.starts)-1]
	m.starts = slices.DeleteFunc(m.starts, func(s int64) bool { return s != last && m.end-s > m.o.TotalBytes })
}

func (m *model) compress() {
	if m.rnd.IntN(3) == 0 && len(m.starts) > 1 { // one that died before it removed the plain file
		in, err := os.Open(segmentPath(m.dir, m.starts[0], segSuffix))
		if err != nil {
			return // compressed already
		}
		defer in.Close()
		if err := deflate(segmentPath(m.dir, m.starts[0], gzSuffix), in); err != nil {
			m.t.Fatal(err)
		}
		return
	}
	if _, err := Compress(m.dir, farFuture); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) tearMarks() {
	if err := m.w.Close(); err != nil {
		m.t.Fatal(err)
	}
	path := segmentPath(m.dir, m.starts[len(m.starts)-1], marksSuffix)
	info, err := os.Stat(path)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := os.Truncate(path, m.rnd.Int64N(info.Size()+1)); err != nil {
		m.t.Fatal(err)
	}
	m.w = mustOpen(m.t, m.dir, m.o)
	last := m.starts[len(m.starts)-1]
	m.starts = slices.DeleteFunc(m.starts, func(s int64) bool { return s != last && m.end-s > m.o.TotalBytes })
}

func (m *model) cutMiddle() {
	if m.rnd.IntN(4) > 0 || len(m.starts) < 3 {
		return
	}
	i := 1 + m.rnd.IntN(len(m.starts)-2)
	if err := remove(m.dir, m.starts[i]); err != nil {
		m.t.Fatal(err)
	}
	m.starts = m.starts[i+1:]
}

func (m *model) check() {
	m.t.Helper()
	if got := m.w.Size(); got != m.end {
		m.t.Fatalf("Size() = %d, want %d", got, m.end)
	}
	first := m.starts[0]
	if m.rnd.IntN(10) == 0 {
		expectHeld(m.t, m.r, first, m.end)
	}
	p := make([]byte, m.rnd.IntN(200)+1)
	off := first + m.rnd.Int64N(m.end-first+10)
	n, err := m.r.ReadAt(p, off)
	if want := min(int64(1), max(0, m.end-off)); int64(n) < want || (n == 0) != errors.Is(err, io.EOF) || (n > 0 && err != nil) {
		m.t.Fatalf("ReadAt(%d bytes, %d) = %d, %v with [%d, %d) held", len(p), off, n, err, first, m.end)
	}
	if err := checkFill(p[:n], off); err != nil {
		m.t.Fatal(err)
	}
	at := int64(0)
	for mark, err := range m.r.Marks(first, m.end) {
		if err != nil || mark.Offset < at || mark.Offset > m.end {
			m.t.Fatalf("Marks() yields %+v, %v after offset %d of %d", mark, err, at, m.end)
		}
		at = mark.Offset
	}
}
