package container

import (
	"errors"
	"strings"
	"testing"

	"townd/town"
)

func FuzzViewerFrame(f *testing.F) {
	f.Add([]byte(`{"type":"resize","cols":120,"rows":40}`))
	f.Add([]byte(`{"type":"resize","cols":-1,"rows":70000}`))
	f.Add([]byte(`{"type":"subscribe"}`))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := parseResize(data)
		if err == nil && town.CheckTerminalSize(frame.Cols, frame.Rows) != nil {
			t.Errorf("parseResize(%q) = %+v, which is no size", data, frame)
		}
		if refused, ok := errors.AsType[*frameError](err); err != nil && (!ok || refused.text == "") {
			t.Errorf("parseResize(%q) = %v, want a reason for the viewer", data, err)
		}
	})
}

// RFC 6455, section 5.5: a close frame holds 125 bytes, two of them the code.
func TestCloseReasonsFit(t *testing.T) {
	for _, e := range []*frameError{errReadOnly, errTextFrame} {
		if len(e.text) > 123 {
			t.Errorf("%q has %d bytes, the most is 123", e.text, len(e.text))
		}
	}
}

func FuzzCursor(f *testing.F) {
	for _, text := range []string{"0", "42", "06e1v0c8:7", ":1", "a:", "-1", "1e3", "9223372036854775807", "9223372036854775808", "..:1", " 1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor("after", text)
		if err != nil {
			if !errors.Is(err, town.ErrInvalid) || !strings.Contains(err.Error(), "must be the id of an event") {
				t.Errorf("parseCursor(%q) = %v, want what would be right", text, err)
			}
			return
		}
		if c.id < 0 || c.epoch != "" && town.CheckID(c.epoch) != nil {
			t.Errorf("parseCursor(%q) = %+v", text, c)
		}
	})
}
