package driver

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func events(t *testing.T, text string, oneByte bool) []string {
	t.Helper()
	r := bytes.NewReader([]byte(text))
	var all []string
	each := func(data []byte) bool {
		all = append(all, string(data))
		return true
	}
	if oneByte {
		_ = readEvents(iotest.OneByteReader(r), each) // ends with io.EOF
	} else {
		_ = readEvents(r, each)
	}
	return all
}

func TestEventsAreReadAsTheStandardSays(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	for text, want := range map[string][]string{
		"":                                       nil,
		"data: a\n\ndata:b\r\n\r\n":              {"a", "b"},
		"data: a\ndata: b\n\n":                   {"a\nb"},
		": comment\nevent: e\nid: 1\n\n":         nil,
		"id: 1\nevent: e\ndata: a\nretry: 1\n\n": {"a"},
		"data: a\n":                              nil, // cut off
		"data: " + long + "\n\ndata: a\n\n":      {long, "a"},
		"data:\n\n":                              {""},
	} {
		for _, oneByte := range []bool{false, true} {
			if got := events(t, text, oneByte); !slices.Equal(got, want) {
				t.Errorf("%.40q: %.40q, want %.40q", text, got, want)
			}
		}
	}
}

// TestAnEventTooLongToHoldIsLeftOut, and what follows is not.
func TestAnEventTooLongToHoldIsLeftOut(t *testing.T) {
	got := events(t, "data: "+strings.Repeat("x", maxEvent+1)+"\n\ndata: a\n\n", false)
	if !slices.Equal(got, []string{"a"}) {
		t.Errorf("%d events, the first of %d bytes", len(got), len(got[0]))
	}
}

func FuzzEventsAreTheSameForAnySplit(f *testing.F) {
	f.Add("data: a\r\ndata:b\n\n: c\n\ndata: {}\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if whole, split := events(t, text, false), events(t, text, true); !slices.Equal(whole, split) {
			t.Errorf("%q: %q whole, %q in bytes", text, whole, split)
		}
	})
}
