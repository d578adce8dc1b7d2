package transcript

import (
	"errors"
	"io"
	"testing"
)

func BenchmarkWrite4K(b *testing.B) {
	w := mustOpen(b, b.TempDir(), Options{})
	p := make([]byte, 4096)
	fill(p, 0)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := w.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTail is a live viewer's round: new output is read, then the end is seen.
func BenchmarkTail(b *testing.B) {
	dir := b.TempDir()
	w := mustOpen(b, dir, Options{})
	r := mustReader(b, dir)
	p, q := make([]byte, 200), make([]byte, 64<<10)
	for b.Loop() {
		at := w.Size()
		if _, err := w.Write(p); err != nil {
			b.Fatal(err)
		}
		for at < w.Size() { // in two parts where a segment ends
			n, err := r.ReadAt(q, at)
			if err != nil {
				b.Fatal(err)
			}
			at += int64(n)
		}
		if _, err := r.ReadAt(q, at); !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadAt(b *testing.B) {
	dir := b.TempDir()
	w := mustOpen(b, dir, Options{})
	mustPrint(b, w, 1<<20)
	for _, c := range []struct {
		name string
		at   int64
		eof  bool
	}{{"held", 4096, false}, {"end", 1 << 20, true}} {
		b.Run(c.name, func(b *testing.B) {
			r := mustReader(b, dir)
			p := make([]byte, 4096)
			for b.Loop() {
				r.idle = -1 // each as the first look at this end
				if _, err := r.ReadAt(p, c.at); errors.Is(err, io.EOF) != c.eof {
					b.Fatal(err)
				}
			}
		})
	}
}
