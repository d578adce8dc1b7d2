package coordinator

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"townd/town"
)

// Whatever is called back is below the coordinator's own URL.
func FuzzCallbackStaysWithTheCoordinator(f *testing.F) {
	for _, seed := range []string{"https://h/base/x", "https://h/base/../x", "https://h@e/base/x", "//h/base/x", "https://h/base%2f..", "https://h/base//e/x"} {
		f.Add(seed)
	}
	base, err := CheckURL("https://h/base")
	if err != nil {
		f.Fatal(err)
	}
	l := &Link{base: base}
	f.Fuzz(func(t *testing.T, callback string) {
		path, err := l.CallbackPath(callback)
		if err != nil {
			return
		}
		u, err := url.Parse("https://h/base" + path)
		if err != nil || u.Host != "h" || u.User != nil || !strings.HasPrefix(u.Path, "/base/") {
			t.Errorf("callback %q goes to %q, %v", callback, path, err)
		}
	})
}

// What a refusal says is bounded text, and how long it asks to wait is bounded time.
func FuzzRefusals(f *testing.F) {
	f.Add([]byte(`{"detail":"no","error":"x"}`), "7")
	f.Add(bytes.Repeat([]byte("\xff"), 1000), "Mon, 01 Jan 2001 00:00:00 GMT")
	f.Fuzz(func(t *testing.T, body []byte, after string) {
		if text := refusalText(body, "500"); len(text) > maxErrorText || !utf8.ValidString(text) {
			t.Errorf("text of %d bytes", len(text))
		}
		if d := retryAfter(http.Header{"Retry-After": {after}}, time.Now()); d < 0 || d > obeyMost {
			t.Errorf("wait %v", d)
		}
	})
}

// Whatever is left out, ids stay in order and the last one is there still.
func FuzzThinKeepsOrder(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 1, 1, 0})
	kinds := []town.EventType{town.EventState, town.EventText, town.EventGap, town.EventToolCall}
	f.Fuzz(func(t *testing.T, choice []byte) {
		var l lines
		for i, c := range choice {
			if err := l.add(event("a", int64(i+1), kinds[int(c)%len(kinds)], "x")); err != nil {
				t.Fatal(err)
			}
		}
		for _, drop := range []func(town.EventType) bool{none, isBulk, all} {
			left := thin(l.body, drop)
			again := thin(left.body, drop)
			if !bytes.Equal(again.body, left.body) {
				t.Errorf("twice is not once: %s, %s", left.body, again.body)
			}
			last, n := int64(0), 0
			for line := range each(left.body) {
				var e town.AgentEvent
				if err := json.Unmarshal(line, &e); err != nil || e.ID <= last {
					t.Fatalf("%s after %d: %v", line, last, err)
				}
				last = e.ID
				n++
			}
			if n != left.events || len(choice) > 0 && last != int64(len(choice)) {
				t.Errorf("%d lines, %d counted, the last %d of %d", n, left.events, last, len(choice))
			}
		}
	})
}
