package transcript

import (
	"bytes"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// marksOf collects the marks of r, without their time.
func marksOf(t testing.TB, r *Reader, from, to int64) []Mark {
	t.Helper()
	var all []Mark
	for m, err := range r.Marks(from, to) {
		if err != nil {
			t.Fatal(err)
		}
		m.Time = time.Time{}
		all = append(all, m)
	}
	return all
}

func TestMarksTellTimeAndSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := mustOpen(t, dir, Options{SegmentBytes: 100, TotalBytes: 1000})
		begin := time.Now()
		do := func(after time.Duration, f func() error) {
			t.Helper()
			time.Sleep(after)
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}
		print10 := func() error { mustPrint(t, w, 10); return nil }
		do(0, func() error { return w.Mark(MarkStart, 120, 40) })
		do(10*time.Millisecond, print10)
		do(49*time.Millisecond, print10) // within the interval: no mark of its own
		do(time.Millisecond, print10)
		do(time.Millisecond, func() error { return w.Mark(MarkResize, 80, 24) })
		do(time.Millisecond, print10)
		do(time.Hour, func() error { mustPrint(t, w, 70); return nil }) // into the next segment
		do(time.Second, func() error { return w.Mark(MarkExit, 0, 0) })

		r := mustReader(t, dir)
		want := []Mark{
			{0, begin, MarkStart, 120, 40},
			{0, begin.Add(10 * time.Millisecond), MarkOutput, 120, 40},
			{20, begin.Add(60 * time.Millisecond), MarkOutput, 120, 40},
			{30, begin.Add(61 * time.Millisecond), MarkResize, 80, 24},
			{40, begin.Add(time.Hour + 62*time.Millisecond), MarkOutput, 80, 24},
			{100, begin.Add(time.Hour + 62*time.Millisecond), MarkOutput, 80, 24},
			{110, begin.Add(time.Hour + time.Second + 62*time.Millisecond), MarkExit, 80, 24},
		}
		var got []Mark
		for m, err := range r.Marks(0, w.Size()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Marks (-want +got):\n%s", diff)
		}
		if got := marksOf(t, r, 20, 40); len(got) != 3 || got[0].Offset != 20 || got[2].Offset != 40 {
			t.Errorf("Marks(20, 40) = %+v, want those at both ends too", got)
		}
	})
}

func TestMarksStayLessThanTheirOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := mustOpen(t, dir, Options{})
		for range 10_000 {
			mustPrint(t, w, 1)
			time.Sleep(markInterval)
		}
		info, err := os.Stat(segmentPath(dir, 0, marksSuffix))
		if err != nil {
			t.Fatal(err)
		}
		if limit := 10_000 + int64(marksSlack) + markBytes; info.Size() > limit {
			t.Errorf("%d bytes of marks for 10000 of output, want at most %d", info.Size(), limit)
		}
	})
}

func TestTornMarksAreCutOff(t *testing.T) {
	const records = 6
	whole := t.TempDir()
	w := mustOpen(t, whole, Options{})
	for i := range records {
		mustPrint(t, w, 10)
		if err := w.Mark(MarkResize, uint16(i+1), 40); err != nil {
			t.Fatal(err)
		}
	}
	marks, err := os.ReadFile(segmentPath(whole, 0, marksSuffix))
	if err != nil {
		t.Fatal(err)
	}
	good := marksOf(t, mustReader(t, whole), 0, 1000)
	reopened := func(name string, marks []byte, data, survive int) {
		t.Helper()
		dir := t.TempDir()
		p := make([]byte, data)
		fill(p, 0)
		if err := os.WriteFile(segmentPath(dir, 0, segSuffix), p, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(segmentPath(dir, 0, marksSuffix), marks, 0o600); err != nil {
			t.Fatal(err)
		}
		w := mustOpen(t, dir, Options{})
		if err := w.Mark(MarkExit, 7, 7); err != nil {
			t.Fatal(err)
		}
		want := append(good[:survive:survive], Mark{Offset: int64(data), Kind: MarkExit, Cols: 7, Rows: 7})
		if diff := cmp.Diff(want, marksOf(t, mustReader(t, dir), 0, 1000)); diff != "" {
			t.Errorf("%s: marks (-want +got):\n%s", name, diff)
		}
		expectHeld(t, mustReader(t, dir), 0, int64(data))
	}
	const data = 10 * records
	for n := range len(marks) + 1 {
		reopened("truncated", marks[:n], data, n/markBytes)
		if n < len(marks) {
			damaged := bytes.Clone(marks)
			damaged[n] ^= 0x10
			reopened("damaged", damaged, data, n/markBytes)
		}
	}
	reopened("zeros", append(bytes.Clone(marks), make([]byte, 4096)...), data, len(good))
	for data := range 10 * records {
		survive := 0
		for survive < len(good) && good[survive].Offset <= int64(data) {
			survive++
		}
		reopened("beyond the data", marks, data, survive)
	}
}

func TestMarkKindsHaveNames(t *testing.T) {
	for kind, want := range map[MarkKind]string{
		MarkOutput: "output", MarkResize: "resize", MarkStart: "start", MarkExit: "exit", 9: "MarkKind(9)",
	} {
		if got := kind.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
	}
	w := mustOpen(t, t.TempDir(), Options{})
	for _, kind := range []MarkKind{0, 5} {
		if err := w.Mark(kind, 1, 1); err == nil {
			t.Errorf("Mark(%v) = nil, want an error", kind)
		}
	}
}
