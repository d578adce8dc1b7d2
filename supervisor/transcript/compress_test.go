package transcript

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"townd/town"
)

var farFuture = time.Now().AddDate(100, 0, 0)

func TestCompressLeavesTheNewestAndTheYoung(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, Options{SegmentBytes: 100, TotalBytes: 1000})
	r := mustReader(t, dir)
	mustPrint(t, w, 450)
	if n, err := Compress(dir, time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Fatalf("Compress() = %d, %v of segments just written, want none", n, err)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(segmentPath(dir, 100, segSuffix), old, old); err != nil {
		t.Fatal(err)
	}
	if n, err := Compress(dir, time.Now().Add(-time.Hour)); n != 1 || err != nil {
		t.Fatalf("Compress() = %d, %v, want the old one", n, err)
	}
	expectHeld(t, r, 0, 450)
	if n, err := Compress(dir, farFuture); n != 3 || err != nil {
		t.Fatalf("Compress() = %d, %v, want all but the newest and the done one", n, err)
	}
	expectHeld(t, r, 0, 450)
	mustPrint(t, w, 100)
	expectHeld(t, r, 0, 550)
	mustPrint(t, w, 1000) // the compressed are dropped like the others
	expectHeld(t, r, 600, 1550)
	if left, err := starts(dir, gzSuffix, marksSuffix); err != nil || left[0] != 600 {
		t.Errorf("%v (%v) left, want none below 600", left, err)
	}
}

func TestCompressedSegmentsAreReadForwardsOnce(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, Options{SegmentBytes: 1 << 20, TotalBytes: 4 << 20})
	mustPrint(t, w, 1<<20+1)
	if n, err := Compress(dir, farFuture); n != 1 || err != nil {
		t.Fatalf("Compress() = %d, %v", n, err)
	}
	r := mustReader(t, dir)
	p := make([]byte, 100)
	read := func(off int64) *inflater {
		t.Helper()
		n, err := r.ReadAt(p, off)
		if err != nil || n == 0 {
			t.Fatalf("ReadAt(%d) = %d, %v", off, n, err)
		}
		if err := checkFill(p[:n], off); err != nil {
			t.Fatal(err)
		}
		return r.gz
	}
	z := read(0)
	for off := int64(100); off < 1<<20; off += 5000 {
		before := z.at
		if read(off) != z || z.at < before {
			t.Fatalf("reading at %d started over", off)
		}
	}
	read(7)
	if z.at > 1000 {
		t.Errorf("a backward jump to 7 left the inflater at %d", z.at)
	}
	if read(1<<20) != nil {
		t.Error("the reader is still in the compressed segment beyond its end")
	}
}

func TestCompressOneAtATimeAndCleansUp(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, Options{SegmentBytes: 100, TotalBytes: 1000})
	mustPrint(t, w, 250)
	lock, err := flock(filepath.Join(dir, compressLockName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Compress(dir, farFuture); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Compress() = %v beside another, want ErrConflict", err)
	}
	lock.Close()
	if err := os.WriteFile(segmentPath(dir, 0, tempSuffix), []byte("died"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := Compress(dir, time.Time{}); n != 0 || err != nil {
		t.Errorf("Compress() = %d, %v", n, err)
	}
	if left, err := starts(dir, tempSuffix); len(left) != 0 || err != nil {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
	if _, err := Compress(filepath.Join(dir, "none"), farFuture); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("Compress() = %v of no transcript", err)
	}
}

func TestACompressedSegmentThatWasDroppedStaysGone(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, Options{SegmentBytes: 100, TotalBytes: 1000})
	mustPrint(t, w, 250)
	if err := remove(dir, 0); err != nil {
		t.Fatal(err)
	}
	if done, err := compressSegment(dir, 0); done || err != nil {
		t.Errorf("compressSegment() = %v, %v of a dropped segment", done, err)
	}
	// Dropped at the worst moment: the plain file is open, its name is gone.
	in, err := os.Open(segmentPath(dir, 100, segSuffix))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := remove(dir, 100); err != nil {
		t.Fatal(err)
	}
	if done, err := replaceSegment(dir, 100, in); done || err != nil {
		t.Errorf("replaceSegment() = %v, %v of a segment dropped meanwhile", done, err)
	}
	mustPrint(t, w, 100)
	expectHeld(t, mustReader(t, dir), 200, 350)
}

func TestABrokenCompressedSegmentIsAnError(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, Options{SegmentBytes: 1000, TotalBytes: 4000})
	mustPrint(t, w, 1500)
	if _, err := Compress(dir, farFuture); err != nil {
		t.Fatal(err)
	}
	path := segmentPath(dir, 0, gzSuffix)
	z, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(z[len(z)/2:], make([]byte, 50))
	if err := os.WriteFile(path, z, 0o600); err != nil {
		t.Fatal(err)
	}
	r := mustReader(t, dir)
	if _, err := readAll(r, 0); err == nil {
		t.Error("a damaged segment reads without an error")
	}
	p := make([]byte, 10)
	if n, err := r.ReadAt(p, 1000); n != 10 || err != nil || checkFill(p, 1000) != nil {
		t.Errorf("ReadAt() = %d, %v after the damaged segment", n, err)
	}
}

// Readers that never stop, beside a writer that rotates and drops and a
// Compress that never rests: nobody sees a wrong byte, a gap only where output
// was dropped, or an end before the end.
func TestReadersBesideWriterAndCompress(t *testing.T) {
	dir := t.TempDir()
	compressed := 0
	raceReaders(t, dir, Options{SegmentBytes: 2000, TotalBytes: 40_000}, 1_000_000, func() error {
		n, err := Compress(dir, farFuture)
		compressed += n
		return err
	})
	if compressed < 10 {
		t.Errorf("only %d segments were compressed meanwhile", compressed)
	}
}

// All segments of a listing may be gone before they are looked up.
func TestReadersBesideAWriterThatDropsAtOnce(t *testing.T) {
	raceReaders(t, t.TempDir(), Options{SegmentBytes: 300, TotalBytes: 600}, 300_000, func() error { return nil })
}

func raceReaders(t *testing.T, dir string, o Options, total int64, beside func() error) {
	w := mustOpen(t, dir, o)
	written, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		for written.Err() == nil {
			if err := beside(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 3 {
		wg.Go(func() {
			if err := chase(written, w, total, rand.New(rand.NewPCG(uint64(i), 2))); err != nil {
				t.Error(err)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(9, 9))
	for w.Size() < total {
		mustPrint(t, w, min(total-w.Size(), 1+rnd.Int64N(3000)))
	}
	stop()
	wg.Wait()
}

// chase reads what w writes until its end at total, now and then jumping.
func chase(written context.Context, w *Writer, total int64, rnd *rand.Rand) error {
	r := NewReader(w.dir)
	defer r.Close()
	p := make([]byte, 5000)
	for off := int64(0); off < total; {
		done, before := written.Err() != nil, w.Size()
		n, err := r.ReadAt(p[:1+rnd.IntN(len(p))], off)
		var gone *GoneError
		switch {
		case errors.As(err, &gone):
			if gone.First <= off {
				return fmt.Errorf("at %d told gone before %d", off, gone.First)
			}
			off = gone.First
		case errors.Is(err, io.EOF):
			if off < before {
				return fmt.Errorf("the end at %d of %d", off, before)
			}
		case err != nil:
			return err
		}
		if err := checkFill(p[:n], off); err != nil {
			return err
		}
		off += int64(n)
		if rnd.IntN(50) == 0 && !done {
			before := w.Size()
			first, end, err := r.Bounds()
			after := w.Size()
			if err != nil || end < before || end > after+3000 || first > max(0, after-w.o.TotalBytes+w.o.SegmentBytes) {
				return fmt.Errorf("Bounds() = %d, %d, %w between sizes %d and %d", first, end, err, before, after)
			}
			off = first + rnd.Int64N(end-first+1)
		}
	}
	return nil
}
