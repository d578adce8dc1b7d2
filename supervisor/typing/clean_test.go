package typing

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestNothingThatATerminalObeysGoesIn(t *testing.T) {
	for _, tc := range []struct{ program, text, want string }{
		{"", "plain\r\ntext\twith a tab\n\n", "plain\ntext\twith a tab"},
		{"", "a\x1b[31mred\x1b[0m \x1b]0;title\x07b\x1b[201~\rc\x03\x04\x7f\u009b1md", "ared b\ncd"},
		{"", "\xff!", "\uFFFD!"},
		{"", " \n\x1b[A", ""},
		{"bash", "#! /bin/ls \\", "#! /bin/ls \\"},
		{"claude", "/help", "Message:\n/help "},
		{"claude", "look at @main.go", "look at @main.go "},
		{"codex", "ends in \\", "ends in \\ "},
		{"opencode", " !ls", "Message:\n !ls"},
	} {
		if got := programOf(tc.program).guard(clean(tc.text)); got != tc.want {
			t.Errorf("%s: %q goes in as %q, want %q", tc.program, tc.text, got, tc.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[201~b\x1b\x1b[[201~c\u009b\r\n\t")
	f.Fuzz(func(t *testing.T, text string) {
		got := clean(text)
		bad := strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' })
		if bad || !utf8.ValidString(got) || clean(got) != got {
			t.Errorf("clean(%q) = %q", text, got)
		}
	})
}
