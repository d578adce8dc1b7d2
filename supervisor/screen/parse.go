package screen

import "unicode/utf8"

// state is where the parser of control sequences stands: the states of DEC's
// VT500 parser (vt100.net/emu/dec_ansi_parser), as xterm.js has them.
type state uint8

const (
	ground state = iota
	escape
	escapeIntermediate
	csiEntry
	csiParam
	csiIntermediate
	csiIgnore
	ignoreString // SOS, PM, APC
	oscString
	dcsEntry
	dcsParam
	dcsIntermediate
	dcsIgnore
	dcsPassthrough
)

// parser turns bytes into runes and runes into what t is told to do. It takes a
// stream cut anywhere.
type parser struct {
	state   state
	partial [4]byte // an unfinished UTF-8 sequence
	have    int
	collect uint32 // prefix and intermediate bytes of the sequence
	params  params
	osc     osc
}

// idle reports whether the stream is between characters and control sequences.
func (p *parser) idle() bool { return p.state == ground && p.have == 0 }

// write draws p. It returns the offset in p after which the stream was last
// between sequences, -1 when it never was.
func (t *terminal) write(p []byte) (boundary int) {
	boundary = -1
	for i := 0; i < len(p); {
		switch {
		case t.parser.idle():
			boundary = i
			if n := t.plain(p[i:]); n > 0 {
				i += n
				continue
			}
		case t.parser.inParams():
			if n := t.parser.numbers(p[i:]); n > 0 {
				i += n
				continue
			}
		}
		t.byte(p[i])
		i++
	}
	if t.parser.idle() {
		boundary = len(p)
	}
	return boundary
}

// plain draws what most of a stream consists of, and returns how many bytes at the
// begin of p it was: text, an end of a line, the begin of a control sequence. The
// stream is between sequences.
func (t *terminal) plain(p []byte) int {
	switch c := p[0]; {
	case c >= 0x20 && c <= 0x7e:
		n := printable(p)
		t.printASCII(p[:n])
		return n
	case c == '\n', c == '\r':
		t.control(rune(c))
		return 1
	case c == 0x1b && len(p) > 1 && p[1] == '[':
		t.parser.clear(csiEntry)
		return 2
	}
	return 0
}

// inParams reports whether numbers of a control sequence may follow.
func (p *parser) inParams() bool {
	return (p.state == csiEntry || p.state == csiParam) && p.have == 0
}

// numbers takes the numbers at the begin of b, and returns how many bytes they are.
func (p *parser) numbers(b []byte) int {
	for i, c := range b {
		if c < '0' || c > ';' {
			return i
		}
		p.params.put(c)
		p.state = csiParam
	}
	return len(b)
}

// printable returns how many bytes at the begin of p are printable ASCII.
func printable(p []byte) int {
	for i, c := range p {
		if c < 0x20 || c > 0x7e {
			return i
		}
	}
	return len(p)
}

// byte decodes UTF-8. What is not is skipped, as xterm.js does.
func (t *terminal) byte(c byte) {
	p := &t.parser
	if p.have > 0 {
		if c&0xc0 == 0x80 {
			p.partial[p.have] = c
			p.have++
			if p.have == sequenceLength(p.partial[0]) {
				r, size := utf8.DecodeRune(p.partial[:p.have])
				whole := size == p.have
				p.have = 0
				if whole && r != 0xfeff { // a byte order mark prints nothing
					t.rune(r)
				}
			}
			return
		}
		p.have = 0
	}
	switch {
	case c < 0x80:
		t.rune(rune(c))
	case sequenceLength(c) > 0:
		p.partial[0], p.have = c, 1
	}
}

// sequenceLength returns how long a UTF-8 sequence that begins with c is, 0 for
// a byte that begins none.
func sequenceLength(c byte) int {
	switch {
	case c&0xe0 == 0xc0:
		return 2
	case c&0xf0 == 0xe0:
		return 3
	case c&0xf8 == 0xf0:
		return 4
	}
	return 0
}

// rune is the state machine.
func (t *terminal) rune(r rune) {
	p := &t.parser
	switch {
	case p.state == oscString && (r == 0x07 || r == 0x18 || r == 0x1a || r == 0x1b || r == 0x9c):
		t.oscEnd(r)
	case p.state == dcsPassthrough && (r == 0x18 || r == 0x1a || r == 0x1b || r == 0x9c):
		t.stringEnd(r)
	case r == 0x1b:
		p.clear(escape)
	case r == 0x18, r == 0x1a:
		p.state = ground
		t.control(r)
	case r >= 0x80 && r < 0xa0:
		t.control8(r)
	case p.state == ground:
		if r < 0x20 {
			t.control(r)
		} else if r != 0x7f {
			t.print(r)
		}
	case p.state == escape, p.state == escapeIntermediate:
		t.inEscape(r)
	case p.state <= csiIgnore:
		t.inCSI(r)
	default:
		p.inString(r)
	}
}

// control8 is for the controls of 0x80 to 0x9f, which work in every state.
func (t *terminal) control8(r rune) {
	p := &t.parser
	switch r {
	case 0x90:
		p.clear(dcsEntry)
	case 0x9b:
		p.clear(csiEntry)
	case 0x9c:
		p.state = ground
	case 0x9d:
		p.osc.start()
		p.state = oscString
	case 0x98, 0x9e, 0x9f:
		p.state = ignoreString
	default:
		p.state = ground
		t.control(r)
	}
}

func (t *terminal) inEscape(r rune) {
	p := &t.parser
	entry := p.state == escape
	switch {
	case r < 0x20:
		t.control(r)
	case r == 0x7f:
	case r < 0x30:
		p.collect = p.collect<<8 | uint32(r)
		p.state = escapeIntermediate
	case r > 0x7f:
		p.state = ground
	case entry && r == 'P':
		p.clear(dcsEntry)
	case entry && r == '[':
		p.clear(csiEntry)
	case entry && r == ']':
		p.osc.start()
		p.state = oscString
	case entry && (r == 'X' || r == '^' || r == '_'):
		p.state = ignoreString
	default:
		p.state = ground
		t.escape(r)
		t.joinable = 0
	}
}

func (t *terminal) inCSI(r rune) {
	p := &t.parser
	switch {
	case r < 0x20:
		t.control(r)
	case r == 0x7f, r > 0x7f && p.state == csiIgnore:
	case r > 0x7f:
		p.state = ground
	case r >= 0x40:
		known := p.state != csiIgnore
		p.state = ground
		if known {
			t.csi(r)
			t.joinable = 0
		}
	case p.state == csiIgnore:
	case r < 0x30:
		p.collect = p.collect<<8 | uint32(r)
		p.state = csiIntermediate
	case p.state == csiIntermediate:
		p.state = csiIgnore
	case r < 0x3c:
		p.params.put(byte(r))
		p.state = csiParam
	case p.state == csiEntry:
		p.collect = p.collect<<8 | uint32(r)
		p.state = csiParam
	default:
		p.state = csiIgnore
	}
}

// inString is for the strings: what they say is dropped but for OSC.
func (p *parser) inString(r rune) {
	switch p.state {
	case oscString:
		if r >= 0x20 {
			p.osc.put(r)
		}
	case dcsIgnore, dcsPassthrough:
	case ignoreString:
		if r > 0x7f { // as xterm.js
			p.state = ground
		}
	default: // the introducer of a DCS
		switch {
		case r < 0x20, r == 0x7f:
		case r > 0x7f:
			p.state = ground
		case r >= 0x40:
			p.state = dcsPassthrough
		case r < 0x30:
			p.state = dcsIntermediate
		case p.state == dcsIntermediate, p.state == dcsParam && r >= 0x3c:
			p.state = dcsIgnore
		default:
			p.state = dcsParam
		}
	}
}

// stringEnd ends an OSC or DCS string: an ESC that does so begins the next sequence.
func (t *terminal) stringEnd(r rune) {
	t.joinable = 0
	t.parser.clear(ground)
	if r == 0x1b {
		t.parser.state = escape
	}
}

func (t *terminal) oscEnd(r rune) {
	if title, ok := t.parser.osc.title(); ok && r != 0x18 && r != 0x1a {
		t.title = title
	}
	t.stringEnd(r)
}

func (p *parser) clear(s state) {
	p.state = s
	p.collect = 0
	p.params.clear()
}

// maxTitle bounds a title, in bytes.
const maxTitle = 1024

// osc is an operating system command: a number, and text after a semicolon.
type osc struct {
	id     int // -1: none yet, -2: not a number
	inText bool
	text   []byte
}

func (o *osc) start() { *o = osc{id: -1, text: o.text[:0]} }

func (o *osc) put(r rune) {
	switch {
	case o.inText:
		if len(o.text)+utf8.RuneLen(r) <= maxTitle {
			o.text = utf8.AppendRune(o.text, r)
		}
	case o.id == -2:
	case r == ';':
		o.inText = true
	case r < '0' || r > '9':
		o.id = -2
	default:
		o.id = min(max(o.id, 0)*10+int(r-'0'), 1<<20)
	}
}

// title returns the window title that the command sets.
func (o *osc) title() (string, bool) {
	return string(o.text), o.id == 0 || o.id == 2
}
