package transcript

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"townd/town"
)

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"run:0", "a.b-c_d:9223372036854775807", "run:-1", "run", ":", "run:00", "..:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePosition(s)
		if err != nil {
			if !errors.Is(err, town.ErrInvalid) {
				t.Errorf("ParsePosition(%q) = %v, not an ErrInvalid", s, err)
			}
			return
		}
		if p.String() != s || p.Offset < 0 || town.CheckID(p.Run) != nil {
			t.Errorf("ParsePosition(%q) = %+v", s, p)
		}
	})
}

func FuzzDecodeMarks(f *testing.F) {
	a, b := encodeMark(Mark{Offset: 5, Kind: MarkStart, Cols: 80, Rows: 24}), encodeMark(Mark{Offset: 9, Kind: MarkExit})
	f.Add(append(a[:], b[:]...), int64(5), int64(9))
	f.Add(append(b[:], a[:]...), int64(0), int64(100))
	f.Add(a[:20], int64(0), int64(100))
	f.Add(make([]byte, 64), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, file []byte, start, end int64) {
		at, n := start, 0
		for m, err := range decodeMarks(bytes.NewReader(file), start, end) {
			if err != nil || m.Offset < at || m.Offset > end {
				t.Fatalf("decodeMarks() yields %+v, %v after %d", m, err, at)
			}
			if b := encodeMark(m); !bytes.Equal(b[:], file[n*markBytes:(n+1)*markBytes]) {
				t.Fatalf("mark %d is not what the file holds", n)
			}
			at, n = m.Offset, n+1
		}
		if n > len(file)/markBytes {
			t.Fatalf("%d marks from %d bytes", n, len(file))
		}
	})
}

// Open makes a transcript of any directory: what is written afterwards is read
// back, at offsets no lower than what was there.
func FuzzOpenGarbage(f *testing.F) {
	f.Add(uint8(0), int64(0), []byte("seg"), int64(100), []byte("x"))
	f.Add(uint8(1), int64(0), []byte("\x1f\x8b garbage that is long enough"), int64(3), []byte(""))
	f.Add(uint8(2), int64(0), make([]byte, 100), int64(1<<60), []byte("x"))
	f.Add(uint8(3), int64(1<<60), []byte("beyond"), int64(1<<62), []byte("x"))
	f.Fuzz(func(t *testing.T, kinds uint8, start1 int64, data1 []byte, start2 int64, data2 []byte) {
		dir := t.TempDir()
		suffixes := []string{segSuffix, gzSuffix, marksSuffix, tempSuffix}
		for i, file := range []struct {
			start int64
			data  []byte
		}{{start1, data1}, {start2, data2}} {
			name := fmt.Sprintf("%016x%s", uint64(file.start), suffixes[kinds>>(2*i)&3])
			if err := os.WriteFile(filepath.Join(dir, name), file.data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if kinds&64 != 0 {
			if err := os.Mkdir(filepath.Join(dir, fmt.Sprintf("%016x%s", 0, marksSuffix)), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
				t.Fatal(err)
			}
		}
		_, before, err := NewReader(dir).Bounds()
		if err != nil {
			t.Fatal(err)
		}
		w, err := Open(dir, Options{SegmentBytes: 10, TotalBytes: 100})
		if err != nil {
			return // a directory where a file belongs; said, not survived
		}
		defer w.Close()
		at := w.Size()
		if at < before {
			t.Fatalf("Open() goes on at %d, %d was held", at, before)
		}
		if at > maxStart-1000 {
			return // no room for a segment, as Write would say
		}
		mustPrint(t, w, 35)
		if err := w.Mark(MarkExit, 1, 1); err != nil {
			t.Fatal(err)
		}
		r := mustReader(t, dir)
		all, err := readAll(r, at)
		if err != nil || len(all) != 35 || checkFill(all, at) != nil {
			t.Fatalf("read %d bytes, %v, want the 35 that were written", len(all), err)
		}
		if first, end, err := r.Bounds(); err != nil || end != at+35 || first > at {
			t.Fatalf("Bounds() = %d, %d, %v after writing at %d", first, end, err, at)
		}
		marks := marksOf(t, r, at+35, at+35)
		if len(marks) == 0 || marks[len(marks)-1].Kind != MarkExit {
			t.Fatalf("marks at the end are %+v", marks)
		}
	})
}
