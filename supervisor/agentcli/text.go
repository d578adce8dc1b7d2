package agentcli

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"
)

// cutMark follows a text that was cut.
const cutMark = "\n[cut]"

// cut returns text whole, or its first maxText bytes and cutMark.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + cutMark
}

// cutJSON returns raw whole when it is short, else with its long strings cut, else nil.
func cutJSON(raw json.RawMessage) json.RawMessage {
	if len(raw) <= maxText {
		return bytes.Clone(raw)
	}
	s := shortener{Limit: 1 << 10}
	short := s.append(nil, raw)
	if len(short) > maxText {
		return nil
	}
	return short
}

// shortener copies JSON while it leaves out what a string holds beyond Limit
// bytes. Its fields are its state between bytes.
type shortener struct {
	Limit    int // of one string
	InString bool
	Escape   int  // bytes of an escape sequence still to come, afterBackslash at first
	Kept     int  // bytes of this string that were kept
	Drop     bool // the character at hand is left out
}

const afterBackslash = 5

func (s *shortener) append(dst, p []byte) []byte {
	for len(p) > 0 {
		if !s.InString {
			n := bytes.IndexByte(p, '"') + 1
			if n == 0 {
				return append(dst, p...)
			}
			dst, p = append(dst, p[:n]...), p[n:]
			s.InString, s.Kept, s.Drop = true, 0, false
			continue
		}
		if s.Escape == 0 { // what needs no looking at, at once
			n := ordinary(p)
			if !s.Drop {
				n = min(n, max(0, s.Limit-s.Kept))
				dst = append(dst, p[:n]...)
				s.Kept += n
			}
			if p = p[n:]; len(p) == 0 {
				break
			}
		}
		dst, p = s.step(dst, p[0]), p[1:]
	}
	return dst
}

// ordinary returns how many bytes of a string come before the next quote or
// backslash. It looks at a little at a time, so that a quote far away is not
// looked for again after every backslash.
func ordinary(p []byte) int {
	const window = 128
	for at := 0; at < len(p); at += window {
		w := p[at:min(len(p), at+window)]
		if i := bytes.IndexByte(w, '"'); i >= 0 {
			w = w[:i]
		}
		if i := bytes.IndexByte(w, '\\'); i >= 0 {
			w = w[:i]
		}
		if len(w) < window {
			return at + len(w)
		}
	}
	return len(p)
}

// step takes one byte of a string.
func (s *shortener) step(dst []byte, c byte) []byte {
	switch {
	case s.Escape == afterBackslash && c == 'u':
		s.Escape = 4
	case s.Escape == afterBackslash:
		s.Escape = 0
	case s.Escape > 0:
		s.Escape--
	case c == '"':
		if s.Drop {
			dst = append(dst, `\n[cut]`...) // cutMark
		}
		s.InString = false
		return append(dst, c)
	default:
		s.Drop = s.Kept >= s.Limit && (s.Drop || utf8.RuneStart(c))
		if c == '\\' {
			s.Escape = afterBackslash
		}
	}
	if !s.Drop {
		dst = append(dst, c)
		s.Kept++
	}
	return dst
}

// terminalCode is what a terminal takes as a command: CSI, OSC, and two-byte ones.
var terminalCode = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[@-Z\\\\-_a-z0-9=>])")

// withoutControls returns line without terminal codes and control characters,
// neither of which JSON may hold.
func withoutControls(line []byte) []byte {
	if !hasControl(line) {
		return line
	}
	line = terminalCode.ReplaceAll(line, nil)
	return bytes.Map(func(r rune) rune {
		if isControl(r) {
			return -1
		}
		return r
	}, line)
}

func hasControl(line []byte) bool {
	for _, c := range line {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func isControl(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }

// parse fills v from a line of JSON and reports whether it is one. A field whose
// type is not what we know keeps its zero value: versions differ.
func parse(line []byte, v any) bool {
	err := json.Unmarshal(line, v)
	_, mismatch := errors.AsType[*json.UnmarshalTypeError](err)
	return err == nil || mismatch
}

// line returns v as a line of JSON.
func line(v any) []byte { return append(mustJSON(v), '\n') }

// mustJSON is for values that always marshal.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// firstOf returns the first text that says anything.
func firstOf(texts ...string) string {
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			return t
		}
	}
	return ""
}
