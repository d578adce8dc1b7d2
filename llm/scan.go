package llm

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// The bounds of what a scanner keeps, whatever it reads.
const (
	maxNesting    = 1000 // deeper is taken for garbage
	keptNesting   = 8    // values deeper than this are passed over
	keptKeyBytes  = 64
	keptTextBytes = 512 // of a string; the rest of it is passed over
)

// field is one value that a scanner came by. It is valid during the call only.
type field struct {
	path       []byte // the keys that lead to it, as .usage.input_tokens; elements of arrays add nothing
	kind       byte   // '"' string, '0' number or literal, '{', '['
	raw        []byte // of a string or literal, without quotes, at most keptTextBytes
	start, end int64  // of a string or literal with its quotes; start alone of the others
}

// text returns a string's value.
func (f *field) text() string {
	if bytes.IndexByte(f.raw, '\\') < 0 {
		return string(f.raw)
	}
	var s string
	if json.Unmarshal([]byte(`"`+string(f.raw)+`"`), &s) != nil {
		return string(f.raw) // cut in the middle of an escape
	}
	return s
}

// maxCount is more than any honest count of tokens.
const maxCount = 1e12

// count returns a number of things, 0 for what is none.
func (f *field) count() int64 {
	n, err := strconv.ParseFloat(string(f.raw), 64)
	if f.kind != '0' || err != nil || !(n >= 0 && n <= maxCount) {
		return 0
	}
	return int64(n)
}

type scanState byte

const (
	wantValue scanState = iota
	wantKey             // or the end of the object
	wantColon
	wantComma // or the end of what is open
	inText
	inLiteral
	scanDone   // one whole value was read
	scanBroken // what came is not JSON
)

// scanner reads JSON in pieces cut anywhere and tells of the values in it, in
// memory that does not grow with it. It is no validator: it must find its fields
// in everything a decoder would accept, and never fail on anything else.
type scanner struct {
	found func(*field)

	state   scanState
	offset  int64  // of the piece being read
	open    []byte // '{' and '[' around the place we are at
	marks   []int  // len(path) outside each of them
	path    []byte
	key     bool // the string being read is a key
	escaped bool // a backslash ended the piece before
	cut     bool // raw is not all of the value
	raw     []byte
	start   int64
	now     field // what is being told, so that telling allocates nothing
}

// reset begins with a new document.
func (s *scanner) reset() {
	s.state, s.offset, s.open, s.marks, s.path, s.key, s.escaped = wantValue, 0, s.open[:0], s.marks[:0], s.path[:0], false, false
}

// done reports whether one whole document was read and nothing is left open.
func (s *scanner) done() bool { return s.state == scanDone }

// feed reads the next piece.
func (s *scanner) feed(p []byte) {
	for i := 0; i < len(p); {
		switch s.state {
		case inText:
			i = s.readText(p, i)
		case inLiteral:
			i = s.readLiteral(p, i)
		case scanBroken:
			i = len(p)
		default:
			s.token(p[i], s.offset+int64(i))
			i++
		}
	}
	s.offset += int64(len(p))
}

// token takes a byte that is in no string and no literal.
func (s *scanner) token(c byte, at int64) {
	switch c {
	case ' ', '\t', '\r', '\n':
		return
	case '"':
		if s.state == wantValue || s.state == wantKey {
			s.key, s.cut, s.raw, s.start, s.state = s.state == wantKey, false, s.raw[:0], at, inText
			return
		}
	case '{', '[':
		if s.state == wantValue && len(s.open) < maxNesting {
			s.enter(c, at)
			return
		}
	case '}', ']':
		if s.leave(c) {
			return
		}
	case ':':
		if s.state == wantColon {
			s.state = wantValue
			return
		}
	case ',':
		if s.state == wantComma {
			s.state = wantValue
			if s.open[len(s.open)-1] == '{' {
				s.state = wantKey
			}
			return
		}
	default:
		if s.state == wantValue {
			s.cut, s.raw, s.start, s.state = false, append(s.raw[:0], c), at, inLiteral
			return
		}
	}
	s.state = scanBroken
}

func (s *scanner) enter(c byte, at int64) {
	s.tell(field{path: s.path, kind: c, start: at})
	s.open, s.marks = append(s.open, c), append(s.marks, len(s.path))
	s.state = wantValue
	if c == '{' {
		s.state = wantKey
	}
}

// leave closes the innermost object or array, if that is what c does here. An
// empty array is closed where a value was wanted, and so is one after a comma.
func (s *scanner) leave(c byte) bool {
	last := len(s.open) - 1
	if last < 0 || s.open[last] != c-2 || s.state == wantColon || c == '}' && s.state == wantValue { // '{' and '[' stand two before their partners
		return false
	}
	s.path = s.path[:s.marks[last]]
	s.open, s.marks = s.open[:last], s.marks[:last]
	s.after()
	return true
}

// after is where a value has ended.
func (s *scanner) after() {
	s.state = wantComma
	if len(s.open) == 0 {
		s.state = scanDone
	}
}

// readText reads in a string from i on and returns where it stopped.
func (s *scanner) readText(p []byte, i int) int {
	if s.escaped {
		s.escaped = false
		s.keep(p[i : i+1])
		i++
	}
	for quote := -1; i < len(p); {
		if quote < i { // looked for once, however many escapes come before it
			if quote = bytes.IndexByte(p[i:], '"'); quote < 0 {
				quote = len(p)
			} else {
				quote += i
			}
		}
		slash := bytes.IndexByte(p[i:quote], '\\')
		if slash < 0 {
			s.keep(p[i:quote])
			if quote < len(p) {
				s.endText(s.offset + int64(quote) + 1)
				quote++
			}
			return quote
		}
		next := min(i+slash+2, len(p)) // the backslash and what it escapes
		s.keep(p[i:next])
		s.escaped = i+slash+1 == len(p)
		i = next
	}
	return i
}

// keep adds to the value being read, as far as it may grow.
func (s *scanner) keep(p []byte) {
	limit := keptTextBytes
	if s.key {
		limit = keptKeyBytes
	}
	if room := limit - len(s.raw); len(p) > room {
		s.cut = true
		p = p[:room]
	}
	s.raw = append(s.raw, p...)
}

func (s *scanner) endText(end int64) {
	if !s.key {
		s.tell(field{path: s.path, kind: '"', raw: s.raw, start: s.start, end: end})
		s.after()
		return
	}
	s.state = wantColon
	s.path = s.path[:s.marks[len(s.marks)-1]]
	if len(s.open) > keptNesting {
		return
	}
	s.path = append(s.path, '.')
	switch f := (field{raw: s.raw}); {
	case s.cut:
		s.path = append(s.path, '?') // no key that anybody looks for is so long
	case bytes.IndexByte(s.raw, '\\') >= 0:
		s.path = append(s.path, f.text()...) // "\u006dodel" is model to the provider, too
	default:
		s.path = append(s.path, s.raw...)
	}
}

// readLiteral reads in a number, true, false or null and returns where it
// stopped. At the top level it has no end that we need to see.
func (s *scanner) readLiteral(p []byte, i int) int {
	j := i
	for j < len(p) && !endsLiteral(p[j]) {
		j++
	}
	s.keep(p[i:j])
	if j < len(p) {
		s.tell(field{path: s.path, kind: '0', raw: s.raw, start: s.start, end: s.offset + int64(j)})
		s.after()
	}
	return j
}

func endsLiteral(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', '}', ']':
		return true
	}
	return false
}

func (s *scanner) tell(f field) {
	if len(s.open) <= keptNesting {
		s.now = f
		s.found(&s.now)
	}
}
