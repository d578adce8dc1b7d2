package main

import (
	"bytes"
	"io"
)

// guard passes on what an agent prints to a person's terminal without what acts on
// more than its screen. It leaves out commands to the terminal (OSC), which set
// titles, colours and the clipboard, notify and link; the other strings (DCS, SOS,
// PM, APC); and what moves and sizes windows (CSI … t). A sequence may come in
// pieces. It is not safe for concurrent use.
type guard struct {
	w     io.Writer
	state guardState
	held  []byte // the sequence so far, which is passed on whole or not at all; of a string its last byte
}

type guardState int

const (
	guardText    guardState = iota
	guardIntro              // after ESC, or after 0xc2, which begins a control of 8 bits in UTF-8
	guardControl            // in a control sequence
	guardString             // in a string
)

const (
	bell       = 0x07
	cancel     = 0x18
	substitute = 0x1a
	escape     = 0x1b
	eighth     = 0xc2
	terminator = 0x9c // after eighth
	maxControl = 256  // bytes; no terminal knows a longer one
)

// onScreen returns where agents' output goes that is for w: guarded, when that is
// a terminal.
func onScreen(w io.Writer) io.Writer {
	if terminalOf(w) == nil {
		return w
	}
	return &guard{w: w}
}

func (g *guard) Write(p []byte) (int, error) {
	var out bytes.Buffer
	for _, c := range p {
		g.take(c, &out)
	}
	if _, err := g.w.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (g *guard) take(c byte, out *bytes.Buffer) {
	switch g.state {
	case guardText:
		if c == escape || c == eighth {
			g.state, g.held = guardIntro, append(g.held, c)
		} else {
			out.WriteByte(c)
		}
	case guardIntro:
		g.introduced(c, out)
	case guardControl:
		g.control(c, out)
	case guardString:
		g.inString(c, out)
	}
}

// introduced learns which kind of sequence it is.
func (g *guard) introduced(c byte, out *bytes.Buffer) {
	kind := c
	if g.held[0] == eighth {
		kind = c - 0x40 // as it is after ESC
	}
	switch {
	case c == escape, c == eighth, g.held[0] == eighth && (c < 0x80 || c > 0x9f): // another one, or text as ©
		g.pass(out)
		g.take(c, out)
		return
	case kind == '[':
		g.state = guardControl
	case bytes.IndexByte([]byte("]PX^_k"), kind) >= 0: // k is a title to screen and tmux
		g.state = guardString
	}
	g.held = append(g.held, c)
	if g.state == guardIntro {
		g.pass(out)
	}
}

func (g *guard) control(c byte, out *bytes.Buffer) {
	if c == escape || c == eighth { // it cuts the sequence short
		g.pass(out)
		g.take(c, out)
		return
	}
	if len(g.held) <= maxControl {
		g.held = append(g.held, c)
	}
	switch {
	case c == 't', c >= '@' && c <= '~' && len(g.held) > maxControl:
		g.drop()
	case c >= '@' && c <= '~', c == cancel, c == substitute:
		g.pass(out)
	}
}

func (g *guard) inString(c byte, out *bytes.Buffer) {
	last := g.held[len(g.held)-1]
	switch {
	case c == bell, c == cancel, c == substitute, last == escape && c == '\\', last == eighth && c == terminator:
		g.drop()
	case last == escape: // it cut the string short and begins another sequence
		g.state, g.held = guardIntro, append(g.held[:0], escape)
		g.introduced(c, out)
	default:
		g.held = append(g.held[:0], c)
	}
}

// pass writes what is held and goes on with text.
func (g *guard) pass(out *bytes.Buffer) {
	out.Write(g.held)
	g.drop()
}

func (g *guard) drop() { g.state, g.held = guardText, g.held[:0] }
