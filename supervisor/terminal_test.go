package supervisor

import (
	"testing"
)

func TestQueriesAreFoundHoweverCut(t *testing.T) {
	const output = "a\x1b[c\x1b[31mred\x1b]11;?\x07x\x1b[6n\x1b]10;?\x1b\\\x1b\x1b[5n"
	const want = "\x1b[?62;22c\x1b]11;rgb:1010/1010/1010\x07\x1b[1;1R\x1b]10;rgb:d0d0/d0d0/d0d0\x1b\\\x1b[0n"
	for size := 1; size <= len(output); size++ {
		var q terminalQueries
		var got []byte
		for p := []byte(output); len(p) > 0; {
			n := min(size, len(p))
			got = append(got, q.answer(p[:n])...)
			p = p[n:]
		}
		if string(got) != want {
			t.Errorf("in pieces of %d: answers %q, want %q", size, got, want)
		}
	}
}

func FuzzTerminalQueries(f *testing.F) {
	f.Add([]byte("\x1b[c\x1b]11;?\x07"), 2)
	f.Fuzz(func(t *testing.T, output []byte, cut int) {
		var whole, pieces terminalQueries
		cut = min(max(cut, 0), len(output))
		want := string(whole.answer(output))
		got := string(pieces.answer(output[:cut])) + string(pieces.answer(output[cut:]))
		if got != want {
			t.Errorf("cut at %d: %q, whole %q", cut, got, want)
		}
		if len(pieces.cut) >= longestQuery {
			t.Errorf("%d bytes are held, want less than %d", len(pieces.cut), longestQuery)
		}
	})
}
