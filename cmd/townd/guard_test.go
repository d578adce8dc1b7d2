package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestWhatActsOnMoreThanTheScreenIsLeftOut(t *testing.T) {
	for _, tt := range []struct{ name, printed, want string }{
		{"text and colours", "a\x1b[1;31mé漢\x1b[0m\r\n", "a\x1b[1;31mé漢\x1b[0m\r\n"},
		{"letters of 0xc2", "©\u00a0\u0085x", "©\u00a0\u0085x"},
		{"a title", "a\x1b]0;owned\x07b\x1b]2;owned\x1b\\c", "abc"},
		{"the clipboard", "a\x1b]52;c;T1dORUQ=\x07b", "ab"},
		{"a link", "\x1b]8;;https://example.invalid/\x1b\\here\x1b]8;;\x1b\\", "here"},
		{"controls of 8 bits", "a\u009d52;c;T1dORUQ=\u009cb\u0090q\u009cc\u009b31md\u009b8;9;9te", "abc\u009b31mde"},
		{"strings", "a\x1bPq~~\x1b\\b\x1b_x\x1b\\c\x1b^x\x1b\\d\x1bXx\x1b\\e\x1bktitle\x1b\\f", "abcdef"},
		{"sizes of windows", "a\x1b[8;500;500tb\x1b[21tc\x1b[5Ad", "abc\x1b[5Ad"},
		{"a size of many digits", "a\x1b[8;" + strings.Repeat("0", 2*maxControl) + "9;9tb", "ab"},
		{"a string cut short by another", "\x1b]0;a\x1b]52;c;x\x07b", "b"},
		{"a string cut short by a colour", "\x1b]0;a\x1b[31mb", "\x1b[31mb"},
		{"a control cut short by a title", "\x1b[31\x1b]0;x\x07b", "\x1b[31b"},
		{"escapes in a row", "\x1b\x1b\x1b]0;x\x07b", "\x1b\x1bb"},
		{"tmux's way through", "\x1bPtmux;\x1b\x1b]52;c;x\x07\x1b\\b", "\x1b\x1b\\b"},
		{"charsets and saved cursors", "\x1b(0\x1b7\x1b8\x1b=x", "\x1b(0\x1b7\x1b8\x1b=x"},
		{"cancelled", "\x1b]0;a\x18b\x1b[3\x1ac", "b\x1b[3\x1ac"},
		{"a line of megabytes", strings.Repeat("A", 3<<20), strings.Repeat("A", 3<<20)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var whole, pieces bytes.Buffer
			g := &guard{w: &whole}
			if n, err := g.Write([]byte(tt.printed)); n != len(tt.printed) || err != nil {
				t.Fatalf("Write() = %d, %v", n, err)
			}
			if whole.String() != tt.want {
				t.Errorf("%.80q came out as %.80q, want %.80q", tt.printed, whole.String(), tt.want)
			}
			g = &guard{w: &pieces}
			for i := range min(len(tt.printed), 1<<12) {
				_, _ = g.Write([]byte{tt.printed[i]})
			}
			if !strings.HasPrefix(tt.want, pieces.String()) || len(tt.printed) < 1<<12 && pieces.String() != tt.want {
				t.Errorf("in pieces %.80q came out as %.80q, want %.80q", tt.printed, pieces.String(), tt.want)
			}
		})
	}
}

// FuzzGuard wants no string to begin in what comes out, however the input is cut.
func FuzzGuard(f *testing.F) {
	f.Add([]byte("a\x1b]52;c;x\x07b\u009d0;t\u009c\x1b[8;1;1t"), 3)
	f.Fuzz(func(t *testing.T, p []byte, cut int) {
		var out bytes.Buffer
		g := &guard{w: &out}
		cut = max(0, min(cut, len(p)))
		_, _ = g.Write(p[:cut])
		_, _ = g.Write(p[cut:])
		for _, bad := range []string{"\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x1bk", "\u009d", "\u0090"} {
			if bytes.Contains(out.Bytes(), []byte(bad)) {
				t.Fatalf("%q came through as %q", p, out.Bytes())
			}
		}
		var again bytes.Buffer
		if _, _ = (&guard{w: &again}).Write(out.Bytes()); !bytes.HasPrefix(out.Bytes(), again.Bytes()) {
			t.Fatalf("%q came through as %q, and that as %q", p, out.Bytes(), again.Bytes())
		}
	})
}
