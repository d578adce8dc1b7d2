package container

import (
	"bytes"
	"testing"
)

func TestInputFilterDropsReportsOnly(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"text", "ls -l\r", "ls -l\r"},
		{"arrows", "\x1b[A\x1b[B\x1bOC\x1bOD", "\x1b[A\x1b[B\x1bOC\x1bOD"},
		{"escape alone", "\x1b", "\x1b"},
		{"alt keys", "\x1ba\x1b[\x1b]\x1bP", "\x1ba\x1b[\x1b]\x1bP"},
		{"function keys", "\x1bOP\x1b[15~\x1b[24;5~", "\x1bOP\x1b[15~\x1b[24;5~"},
		{"F3 with modifiers", "\x1b[1;2R\x1b[1;5R\x1b[1;8R", "\x1b[1;2R\x1b[1;5R\x1b[1;8R"},
		{"bracketed paste", "\x1b[200~pasted\x1b[201~", "\x1b[200~pasted\x1b[201~"},
		{"mouse", "\x1b[<0;10;20M\x1b[<0;10;20m", "\x1b[<0;10;20M\x1b[<0;10;20m"},
		{"focus", "\x1b[I\x1b[O", "\x1b[I\x1b[O"},
		{"kitty keys", "\x1b[97;5u\x1b[27u", "\x1b[97;5u\x1b[27u"},
		{"UTF-8 and NUL", "é日\x00\xff", "é日\x00\xff"},
		{"primary DA", "a\x1b[?62;22cb", "ab"},
		{"secondary DA", "\x1b[>1;10;0c", ""},
		{"status", "\x1b[0n", ""},
		{"cursor position", "\x1b[24;80R\x1b[1;1R\x1b[1;10R\x1b[12;1R", ""},
		{"extended cursor position", "\x1b[?24;80;1R", ""},
		{"colours", "\x1b]10;rgb:d0d0/d0d0/d0d0\x07\x1b]11;rgb:10/10/10\x1b\\\x1b]4;1;rgba:ff/00/00/ff\x07", ""},
		{"mode report", "\x1b[?2004;1$y\x1b[4;2$y", ""},
		{"window size", "\x1b[8;40;120t\x1b[4;600;800t", ""},
		{"XTVERSION", "\x1bP>|xterm(388)\x1b\\", ""},
		{"DECRQSS", "\x1bP1$r0m\x1b\\x", "x"},
		{"kitty flags", "\x1b[?0u", ""},
		{"between keys", "x\x1b[?1;2cy\x1b[Az", "xy\x1b[Az"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var whole inputFilter
			if got := whole.keys([]byte(c.in)); string(got) != c.want {
				t.Errorf("keys(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

// Reports are dropped wherever they are cut, beyond the two bytes that may be a key.
func TestInputFilterKnowsReportsInParts(t *testing.T) {
	for _, report := range []string{"\x1b[?62;22c", "\x1b]11;rgb:1010/1010/1010\x1b\\", "\x1bP>|xterm(388)\x1b\\"} {
		for cut := 3; cut < len(report); cut++ {
			if report[:2] == "\x1b]" && cut < 5 || report[:2] == "\x1bP" && cut < 4 {
				continue // too short to tell from a key
			}
			var f inputFilter
			got := string(f.keys([]byte("a"+report[:cut]))) + string(f.keys([]byte(report[cut:]+"b")))
			if got != "ab" {
				t.Errorf("%q cut at %d leaves %q, want ab", report, cut, got)
			}
		}
	}
}

func FuzzInputFilter(f *testing.F) {
	f.Add([]byte("a\x1b[?62;22cb"), 4)
	f.Add([]byte("\x1b]11;rgb:1010/1010/1010\x1b\\"), 7)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		if cut < 0 || cut > len(in) {
			return
		}
		var filter inputFilter
		got := bytes.Clone(filter.keys(bytes.Clone(in[:cut])))
		got = append(got, filter.keys(bytes.Clone(in[cut:]))...)
		got = append(got, filter.held...)
		if len(filter.held) > maxReportBytes {
			t.Errorf("%d bytes are held back", len(filter.held))
		}
		// What is kept is the input with parts left out, in order, and all of it
		// when there is no escape.
		rest := in
		for _, b := range got {
			i := bytes.IndexByte(rest, b)
			if i < 0 {
				t.Fatalf("keys(%q) = %q, which is not in it", in, got)
			}
			rest = rest[i+1:]
		}
		if bytes.IndexByte(in, 0x1b) < 0 && !bytes.Equal(in, got) {
			t.Errorf("keys(%q) = %q, want all of it", in, got)
		}
	})
}
