package agentcli

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
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
	for _, c := range p {
		if !s.InString || c == '"' && s.Escape == 0 {
			if c == '"' {
				if s.Drop {
					dst = append(dst, `\n[cut]`...) // cutMark
				}
				s.InString, s.Kept, s.Drop = !s.InString, 0, false
			}
			dst = append(dst, c)
			continue
		}
		switch {
		case s.Escape == afterBackslash && c == 'u':
			s.Escape = 4
		case s.Escape == afterBackslash:
			s.Escape = 0
		case s.Escape > 0:
			s.Escape--
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
	}
	return dst
}

// terminalCode is what a terminal takes as a command: CSI, OSC, and two-byte ones.
var terminalCode = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[@-Z\\\\-_a-z0-9=>])")

// withoutControls returns line without terminal codes and control characters,
// neither of which JSON may hold.
func withoutControls(line []byte) []byte {
	if !slices.ContainsFunc(line, func(c byte) bool { return isControl(rune(c)) }) {
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

func isControl(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }

// parse fills v from a line of JSON and reports whether it is one. A field whose
// type is not what we know keeps its zero value: versions differ.
func parse(line []byte, v any) bool {
	err := json.Unmarshal(line, v)
	_, mismatch := errors.AsType[*json.UnmarshalTypeError](err)
	return err == nil || mismatch
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
