package screen

import (
	"strings"
	"testing"
)

func BenchmarkDraw(b *testing.B) {
	for name, text := range map[string]string{
		"lines":  strings.Repeat("x", 70) + "\r\n",
		"styled": "\x1b[38;2;10;200;30m12:30\x1b[0m \x1b[1mINFO\x1b[22m a message of some length \x1b[2mkey=\x1b[m日本\x1b[K\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			p := []byte(strings.Repeat(text, 32<<10/len(text)))
			term := newTerminal(120, 40)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				term.write(p)
			}
		})
	}
	b.Run("screen", func(b *testing.B) {
		d := &Drawer{term: newTerminal(120, 40)}
		d.term.write([]byte(strings.Repeat("\x1b[31mred\x1b[m and plain text\r\n", 40)))
		b.ReportAllocs()
		for b.Loop() {
			d.screen()
		}
	})
}
