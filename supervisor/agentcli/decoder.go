package agentcli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"townd/town"
)

// Decoded is one event found in a CLI's output. Several may share an Offset.
type Decoded struct {
	Offset int64 // of the transcript, just after the line it came from
	Event  town.EventType
	Data   any // the data type of that event, as town.TextData
}

// Decoder turns a CLI's output into events. However the output is cut into calls,
// and wherever State and Restore come between, the events are the same. Texts and
// what tools take and print are cut at 64 KiB, for the transcript holds them whole.
// A Decoder is not safe for concurrent use.
type Decoder interface {
	// Decode takes the bytes of the transcript at off and emits the events that
	// they complete. Bytes taken before are skipped, so reading again adds
	// nothing; after a gap the line that was cut is skipped.
	Decode(p []byte, off int64, emit func(Decoded))
	// Finish tells that the process has ended with that exit code (128 + n for
	// signal n), off being the end of its output. It emits what follows from
	// that, as the end of a turn that was open, and makes the decoder ready for
	// the next process. With code 0 an open turn ends without an error: pass 0
	// for an end that was asked for.
	Finish(code int, off int64, emit func(Decoded))
	// State returns all that decoding needs to go on elsewhere, for Restore.
	State() ([]byte, error)
	// Restore makes the decoder what it was when State was called. It must be new.
	Restore([]byte) error
}

// dialect is what differs between CLIs that print lines of JSON. It marshals to
// its state.
type dialect interface {
	// decode emits the events of one line, and reports false for a line that is
	// not one of the CLI's.
	decode(line []byte, emit emitFunc) bool
	// finish emits what the end of the process means. said is what it printed
	// last besides its lines.
	finish(code int, said string, emit emitFunc)
}

type emitFunc func(town.EventType, any)

const (
	maxLine = 1 << 20  // of a line whose long strings are cut
	maxText = 64 << 10 // of one text in an event, and of a line that is kept as it came
	maxSaid = 1 << 10  // of what a program says besides its lines
)

// lineDecoder is a Decoder of lines. Its exported fields are its state.
type lineDecoder struct {
	Next     int64  // offset of the first byte not yet taken
	Begun    bool   // Next is known
	Partial  []byte // of the line not yet ended
	Shorten  *shortener
	Skipping bool   // the line not yet ended is not to be read
	Said     []byte // plain text, of which the newest maxSaid bytes count
	Dialect  dialect
}

func newLineDecoder(d dialect) *lineDecoder { return &lineDecoder{Dialect: d} }

func (d *lineDecoder) Decode(p []byte, off int64, emit func(Decoded)) {
	switch {
	case !d.Begun:
		d.Next, d.Begun = off, true
	case off > d.Next:
		d.endLine()
		d.Next, d.Skipping = off, true
	case off < d.Next:
		seen := min(d.Next-off, int64(len(p)))
		p = p[seen:]
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			d.Next += int64(len(p))
			d.hold(p)
			return
		}
		d.Next += int64(i + 1)
		line := p[:i]
		p = p[i+1:]
		if len(d.Partial) > 0 || d.Shorten != nil || len(line) > maxText {
			d.hold(line)
			line = d.Partial
		}
		if !d.Skipping {
			d.line(line, d.Next, emit)
		}
		d.endLine()
	}
}

// hold adds p to the line not yet ended. A line over maxText loses the insides of
// its long strings: no event would hold them, and its kind and its ids outlive a
// gigabyte of output.
func (d *lineDecoder) hold(p []byte) {
	if d.Skipping {
		return
	}
	if d.Shorten == nil && len(d.Partial)+len(p) > maxText {
		d.Shorten = &shortener{Limit: maxText}
		d.Partial = d.Shorten.append(make([]byte, 0, 2*maxText), d.Partial)
	}
	if d.Shorten == nil {
		d.Partial = append(d.Partial, p...)
		return
	}
	for len(p) > 0 && !d.Skipping {
		n := min(len(p), maxLine)
		d.Partial = d.Shorten.append(d.Partial, p[:n])
		p = p[n:]
		d.Skipping = len(d.Partial) > maxLine
	}
	if d.Skipping {
		d.Partial = nil
	}
}

func (d *lineDecoder) endLine() {
	d.Partial, d.Shorten, d.Skipping = d.Partial[:0], nil, false
	if cap(d.Partial) > maxText {
		d.Partial = nil
	}
}

// line decodes one whole line, which terminal codes and plain text may surround:
// stderr shares the terminal, and does not always end its lines.
func (d *lineDecoder) line(line []byte, off int64, emit func(Decoded)) {
	line = bytes.TrimSpace(withoutControls(line))
	if len(line) == 0 {
		return
	}
	at := bytes.Index(line, []byte(`{"`))
	if at >= 0 && d.Dialect.decode(line[at:], emitAt(off, emit)) {
		line = line[:at]
	}
	if len(line) > 0 {
		d.say(line)
	}
}

// say keeps the newest text that is not a line of the CLI's.
func (d *lineDecoder) say(line []byte) {
	d.Said = append(append(d.Said, '\n'), newest(line)...)
	if len(d.Said) > 8*maxSaid { // rarely, since lines are many
		d.Said = append(d.Said[:0], newest(d.Said)...)
	}
}

// newest returns the last maxSaid bytes of text, from the beginning of a character.
func newest(text []byte) []byte {
	if over := len(text) - maxSaid; over > 0 {
		text = text[over:]
		for len(text) > 0 && !utf8.RuneStart(text[0]) {
			text = text[1:]
		}
	}
	return text
}

func (d *lineDecoder) Finish(code int, off int64, emit func(Decoded)) {
	if len(d.Partial) > 0 && !d.Skipping {
		d.line(d.Partial, off, emit)
	}
	d.endLine()
	d.Next, d.Begun = max(off, d.Next), true
	said := strings.ToValidUTF8(string(newest(d.Said)), "\uFFFD")
	d.Dialect.finish(code, strings.TrimSpace(said), emitAt(off, emit))
	d.Said = nil
}

func emitAt(off int64, emit func(Decoded)) emitFunc {
	return func(event town.EventType, data any) { emit(Decoded{Offset: off, Event: event, Data: data}) }
}

func (d *lineDecoder) State() ([]byte, error) { return json.Marshal(d) }

func (d *lineDecoder) Restore(b []byte) error {
	if err := json.Unmarshal(b, d); err != nil {
		return fmt.Errorf("restore decoder: %w", err)
	}
	return nil
}

// terminalDecoder finds no events: a terminal is for eyes.
type terminalDecoder struct{}

func (terminalDecoder) Decode([]byte, int64, func(Decoded)) {}
func (terminalDecoder) Finish(int, int64, func(Decoded))    {}
func (terminalDecoder) State() ([]byte, error)              { return nil, nil }
func (terminalDecoder) Restore([]byte) error                { return nil }
