package transcript

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"townd/town"
)

// castEvents decodes a cast: the header, then its events.
func castEvents(t *testing.T, cast string) (header map[string]any, events [][3]any) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(cast, "\n"), "\n")
	if err := json.Unmarshal([]byte(lines[0]), &header); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		var e [3]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("event %s: %v", line, err)
		}
		events = append(events, e)
	}
	return header, events
}

func TestAsciicast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := mustOpen(t, dir, Options{})
		write := func(after time.Duration, s string) {
			t.Helper()
			time.Sleep(after)
			if _, err := w.Write([]byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		mark := func(kind MarkKind, cols, rows uint16) {
			t.Helper()
			if err := w.Mark(kind, cols, rows); err != nil {
				t.Fatal(err)
			}
		}
		mark(MarkStart, 100, 30)
		write(time.Second, "h\x1b[31m<&>\r\n")
		write(time.Second, "caf\xc3")
		mark(MarkResize, 100, 30) // changes nothing
		mark(MarkResize, 90, 20)
		write(time.Second, "\xa9 \xff \xe2\x82 \U0001f600\u2028")
		write(1500*time.Microsecond+time.Second, "end\xf0\x9f")
		mark(MarkExit, 0, 0)

		var out bytes.Buffer
		if err := WriteAsciicast(&out, mustReader(t, dir), CastHeader{Title: "a run"}); err != nil {
			t.Fatal(err)
		}
		want := `{"version":2,"width":100,"height":30,"timestamp":946684800,"title":"a run"}
[1,"o","h\u001b[31m<&>\r\n"]
[2,"o","caf"]
[2,"r","90x20"]
[3,"o","é \ufffd \ufffd\ufffd 😀\u2028"]
[4.0015,"o","end"]
[4.0015,"o","\ufffd\ufffd"]
`
		if got := out.String(); got != want {
			t.Errorf("WriteAsciicast() wrote\n%swant\n%s", got, want)
		}
	})
}

func TestAsciicastHeaderWithoutMarks(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir, Options{})
	for _, c := range []struct {
		h    CastHeader
		want string
	}{
		{CastHeader{}, `{"version":2,"width":80,"height":24}`},
		{CastHeader{Width: 10, Height: 5, Timestamp: time.Unix(77, 5)}, `{"version":2,"width":10,"height":5,"timestamp":77}`},
	} {
		var out strings.Builder
		if err := WriteAsciicast(&out, mustReader(t, dir), c.h); err != nil || strings.TrimSpace(out.String()) != c.want {
			t.Errorf("WriteAsciicast() wrote %q, %v, want %q", out.String(), err, c.want)
		}
	}
	if err := WriteAsciicast(&strings.Builder{}, NewReader(dir+"/none"), CastHeader{}); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("WriteAsciicast() = %v of no transcript", err)
	}
}

// Whatever the chunks, the text of a cast is the text that was printed.
func TestAsciicastKeepsText(t *testing.T) {
	text := strings.Repeat("añ€😀\u0301\x1b[0m\r\n日本語", 9000)
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(5, 6))
		dir := t.TempDir()
		w := mustOpen(t, dir, Options{SegmentBytes: 10_007, TotalBytes: 1 << 20})
		for rest := []byte(text); len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN(700))
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
		}
		if _, err := Compress(dir, farFuture); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := WriteAsciicast(&out, mustReader(t, dir), CastHeader{}); err != nil {
			t.Fatal(err)
		}
		_, events := castEvents(t, out.String())
		var got strings.Builder
		last := 0.0
		for _, e := range events {
			at, ok := e[0].(float64)
			if !ok || at < last {
				t.Fatalf("event at %v after %v", e[0], last)
			}
			last = at
			got.WriteString(e[2].(string))
		}
		if got.String() != text {
			t.Errorf("the text of the cast is not what was printed")
		}
		if len(events) < 100 {
			t.Errorf("%d events for %d bytes over time", len(events), len(text))
		}
	})
}
