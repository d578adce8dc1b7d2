package transcript

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"townd/town"
)

// TestMain lets the test binary play the other process: childEnv names what it
// does, its arguments follow.
func TestMain(m *testing.M) {
	child, ok := map[string]func(args []string) error{
		"write":     childWrite,
		"full disk": childFullDisk,
	}[os.Getenv(childEnv)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := child(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const childEnv = "TRANSCRIPT_TEST_CHILD"

// fill sets p to what the tests' programs print at off: every byte value, without
// a period that a segment could have.
func fill(p []byte, off int64) {
	for i := range p {
		x := uint64(off+int64(i)) * 0x9e3779b97f4a7c15
		p[i] = byte(x >> 56)
	}
}

// checkFill returns an error naming the first byte of p that fill would not have
// put at off.
func checkFill(p []byte, off int64) error {
	want := make([]byte, len(p))
	fill(want, off)
	for i := range p {
		if p[i] != want[i] {
			return fmt.Errorf("byte at %d is %#x, want %#x", off+int64(i), p[i], want[i])
		}
	}
	return nil
}

func mustOpen(t testing.TB, dir string, o Options) *Writer {
	t.Helper()
	w, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// mustPrint appends n bytes of fill.
func mustPrint(t testing.TB, w *Writer, n int64) {
	t.Helper()
	p := make([]byte, n)
	fill(p, w.Size())
	if got, err := w.Write(p); err != nil || int64(got) != n {
		t.Fatalf("Write() = %d, %v, want %d", got, err, n)
	}
}

// readAll reads what is held from off on.
func readAll(r *Reader, off int64) ([]byte, error) {
	var all []byte
	p := make([]byte, 1000)
	for {
		n, err := r.ReadAt(p, off+int64(len(all)))
		all = append(all, p[:n]...)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func mustReader(t testing.TB, dir string) *Reader {
	t.Helper()
	r := NewReader(dir)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// expectHeld checks that exactly [first, end) can be read, and is right.
func expectHeld(t testing.TB, r *Reader, first, end int64) {
	t.Helper()
	gotFirst, gotEnd, err := r.Bounds()
	if err != nil || gotFirst != first || gotEnd != end {
		t.Fatalf("Bounds() = %d, %d, %v, want %d, %d", gotFirst, gotEnd, err, first, end)
	}
	all, err := readAll(r, first)
	if err != nil {
		t.Fatalf("read from %d: %v", first, err)
	}
	if int64(len(all)) != end-first {
		t.Fatalf("read %d bytes from %d, want %d", len(all), first, end-first)
	}
	if err := checkFill(all, first); err != nil {
		t.Fatal(err)
	}
	if first > 0 {
		var gone *GoneError
		if _, err := r.ReadAt(make([]byte, 1), first-1); !errors.As(err, &gone) || gone.First != first || !errors.Is(err, town.ErrGone) {
			t.Fatalf("ReadAt(%d) = %v, want gone before %d", first-1, err, first)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct{ in, want Options }{
		{Options{}, Options{4 << 20, 64 << 20}},
		{Options{TotalBytes: 4 << 20}, Options{1 << 20, 4 << 20}},
		{Options{SegmentBytes: 10}, Options{10, 64 << 20}},
		{Options{SegmentBytes: 10, TotalBytes: 20}, Options{10, 20}},
	} {
		if got, err := c.in.withDefaults(); err != nil || got != c.want {
			t.Errorf("%+v.withDefaults() = %+v, %v, want %+v", c.in, got, err, c.want)
		}
	}
	for _, o := range []Options{
		{SegmentBytes: -1},
		{TotalBytes: -1},
		{TotalBytes: 3},
		{SegmentBytes: 10, TotalBytes: 19},
		{SegmentBytes: 2 << 30, TotalBytes: 8 << 30},
	} {
		if w, err := Open(t.TempDir(), o); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("Open(%+v) = %v, %v, want ErrInvalid", o, w, err)
		}
	}
}

func TestPosition(t *testing.T) {
	p := Position{Run: "01jz-a.b_c", Offset: 1<<63 - 1}
	if got, err := ParsePosition(p.String()); err != nil || got != p {
		t.Errorf("ParsePosition(%q) = %+v, %v", p, got, err)
	}
	for _, s := range []string{
		"", ":", "run", "run:", ":1", "run:-1", "run:+1", "run:01", "run:1 ", "run:0x1", "run:9223372036854775808",
		"../x:1", "a/b:1", "run:1:2", "run:1e3", "run:١",
	} {
		if got, err := ParsePosition(s); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("ParsePosition(%q) = %+v, %v, want ErrInvalid", s, got, err)
		}
	}
}

func TestOneWriterAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs", "r1")
	w := mustOpen(t, dir, Options{})
	if second, err := Open(dir, Options{}); !errors.Is(err, town.ErrConflict) {
		t.Fatalf("second Open() = %v, %v, want ErrConflict", second, err)
	}
	mustPrint(t, w, 10)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second Close() = %v", err)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write() after Close = %v", err)
	}
	if err := w.Mark(MarkExit, 0, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Mark() after Close = %v", err)
	}
	if got := mustOpen(t, dir, Options{}).Size(); got != 10 {
		t.Errorf("Size() = %d after opening again, want 10", got)
	}
}

func TestNoTranscript(t *testing.T) {
	r := mustReader(t, filepath.Join(t.TempDir(), "none"))
	if _, _, err := r.Bounds(); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("Bounds() = %v", err)
	}
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("ReadAt() = %v", err)
	}
	for _, err := range r.Marks(0, 1) {
		if !errors.Is(err, town.ErrNotFound) {
			t.Errorf("Marks() yields %v", err)
		}
	}
	if _, err := r.ReadAt(make([]byte, 1), -1); !errors.Is(err, town.ErrInvalid) {
		t.Errorf("ReadAt(-1) = %v", err)
	}
	mustOpen(t, r.dir, Options{})
	if first, end, err := r.Bounds(); first != 0 || end != 0 || err != nil {
		t.Errorf("Bounds() = %d, %d, %v of an empty one", first, end, err)
	}
	for _, off := range []int64{0, 5, 5} {
		if _, err := r.ReadAt(make([]byte, 1), off); !errors.Is(err, io.EOF) {
			t.Errorf("ReadAt(%d) = %v, want EOF", off, err)
		}
	}
}

func TestOldestSegmentsGoWhole(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, Options{SegmentBytes: 100, TotalBytes: 300})
	r := mustReader(t, dir)
	for _, c := range []struct{ size, first int64 }{{300, 0}, {301, 100}, {400, 100}, {401, 200}, {2050, 1800}} {
		mustPrint(t, w, c.size-w.Size())
		expectHeld(t, r, c.first, c.size)
	}
	marks, err := filepath.Glob(filepath.Join(dir, "*"+marksSuffix))
	if err != nil || len(marks) != 3 {
		t.Errorf("%d marks files (%v), want one for each of 3 segments: %v", len(marks), err, marks)
	}
}

func TestOffsetsGoOnWithOtherSizes(t *testing.T) {
	dir := t.TempDir()
	for i, o := range []Options{{1000, 9000}, {100, 9000}, {3000, 9000}, {7, 9000}} {
		w := mustOpen(t, dir, o)
		mustPrint(t, w, 650)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		expectHeld(t, mustReader(t, dir), 0, int64(i+1)*650)
	}
}

func TestAHoleBeginsTheTranscriptAnew(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, Options{SegmentBytes: 100, TotalBytes: 10000})
	mustPrint(t, w, 550)
	tail := mustReader(t, dir)
	if _, err := tail.ReadAt(make([]byte, 50), 150); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(segmentPath(dir, 200, segSuffix)); err != nil {
		t.Fatal(err)
	}
	expectHeld(t, mustReader(t, dir), 300, 550)

	// A reader that stands before the hole must not take it for the live end for ever.
	var gone *GoneError
	for range 2 {
		if _, err := tail.ReadAt(make([]byte, 50), 200); errors.As(err, &gone) {
			break
		}
	}
	if gone == nil || gone.First != 300 {
		t.Errorf("reader at the hole gets %v, want gone before 300", gone)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = mustOpen(t, dir, Options{SegmentBytes: 100, TotalBytes: 10000})
	mustPrint(t, w, 100)
	expectHeld(t, mustReader(t, dir), 300, 650)
	if left, err := starts(dir, segSuffix, marksSuffix); err != nil || left[0] != 300 {
		t.Errorf("segments %v (%v) after repair, want none below 300", left, err)
	}
}

func TestCrashAroundRotationIsHarmless(t *testing.T) {
	for _, leave := range [][]string{
		{segSuffix},              // the next segment was made
		{segSuffix, marksSuffix}, // and its marks
		{marksSuffix},            // marks whose segment never came to the disk
		{tempSuffix},             // Compress died
	} {
		dir := t.TempDir()
		o := Options{SegmentBytes: 100, TotalBytes: 1000}
		w := mustOpen(t, dir, o)
		if err := w.Mark(MarkStart, 120, 40); err != nil {
			t.Fatal(err)
		}
		mustPrint(t, w, 100)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range leave {
			if err := os.WriteFile(segmentPath(dir, 100, suffix), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := mustReader(t, dir)
		expectHeld(t, r, 0, 100)
		w = mustOpen(t, dir, o)
		mustPrint(t, w, 150)
		expectHeld(t, r, 0, 250)
		for m, err := range r.Marks(101, 250) {
			if err != nil || m.Cols != 120 || m.Rows != 40 {
				t.Errorf("%v: mark %+v, %v, want the size told before the crash", leave, m, err)
			}
		}
	}
}

func TestATailingReadIsOnePread(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, Options{SegmentBytes: 1000, TotalBytes: 10000})
	r := mustReader(t, dir)
	mustPrint(t, w, 10)
	expectHeld(t, r, 0, 10)
	// Without the right to list or to look up, only the open file can be read.
	r.dir = filepath.Join(dir, "elsewhere")
	mustPrint(t, w, 500)
	p := make([]byte, 1000)
	n, err := r.ReadAt(p, 10)
	if n != 500 || err != nil {
		t.Fatalf("ReadAt() = %d, %v, want 500", n, err)
	}
	if err := checkFill(p[:n], 10); err != nil {
		t.Error(err)
	}
}
