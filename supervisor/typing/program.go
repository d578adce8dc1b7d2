package typing

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// program is what is known of a program by its name.
type program struct {
	interrupt []string // keys, pressed one after another
	agent     bool     // a coding agent's own terminal
}

var programs = map[string]program{
	"claude":   {interrupt: []string{"\x1b"}, agent: true}, // two would open its list of messages to go back to
	"codex":    {interrupt: []string{"\x1b"}, agent: true},
	"gemini":   {interrupt: []string{"\x1b"}, agent: true},
	"opencode": {interrupt: []string{"\x1b", "\x1b"}, agent: true},
	"kilo":     {interrupt: []string{"\x1b", "\x1b"}, agent: true},
	"bash":     {interrupt: []string{"\x03"}},
	"sh":       {interrupt: []string{"\x03"}},
	"zsh":      {interrupt: []string{"\x03"}},
	"python":   {interrupt: []string{"\x03"}},
	"python3":  {interrupt: []string{"\x03"}},
}

func programOf(argv0 string) program {
	name := strings.ToLower(filepath.Base(argv0))
	for _, ext := range []string{".exe", ".js"} {
		name = strings.TrimSuffix(name, ext)
	}
	return programs[name]
}

// InterruptKeys returns the keys that end the turn of a program, by its argv[0],
// and leave it waiting for input: each is pressed by itself, some time after the
// one before. It returns nil for a program that is not known: Ctrl-C ends most.
func InterruptKeys(argv0 string) []string { return programOf(argv0).interrupt }

const (
	// betweenKeys is how far apart two Escs are pressed, so that they are two keys and
	// not one with Alt.
	betweenKeys = 150 * time.Millisecond
	// afterEsc is how long after Esc the next key comes: readline waits 500 ms for the
	// rest of a key's sequence and would take Enter for Meta-Enter.
	afterEsc = 600 * time.Millisecond
)

func (y *typist) interrupt(ctx context.Context) error {
	for _, key := range y.program.interrupt {
		if err := y.Input(ctx, "", []byte(key)); err != nil {
			return failed("interrupt", err)
		}
		wait := betweenKeys
		if key == "\x1b" && len(y.program.interrupt) == 1 {
			wait = afterEsc
		}
		if err := pause(ctx, wait); err != nil {
			return failed("interrupt", err)
		}
	}
	return nil
}

// firstLine goes before a message that would be a command.
const firstLine = "Message:\n"

// guard keeps a message to an agent from being a command or an unfinished one: a
// line goes before what its first character would turn into one (a blank does not
// help: claude cuts it off), and a blank after a backslash, which would make Enter
// a line feed, or a name that Enter would complete.
func (p program) guard(text string) string {
	if !p.agent || text == "" {
		return text
	}
	if strings.ContainsRune("/!#@?&", rune(strings.TrimSpace(text)[0])) {
		text = firstLine + text
	}
	last := text[strings.LastIndexAny(text, " \n")+1:]
	if strings.HasSuffix(text, `\`) || strings.HasPrefix(last, "@") || strings.HasPrefix(last, "/") {
		text += " "
	}
	return text
}

// sequences are escape sequences: CSI, those that carry a string, and short ones.
var sequences = regexp.MustCompile("(?:\x1b\\[|\u009b)[0-?]*[ -/]*[@-~]|\x1b[P\\]X^_][^\x07\x1b]*(?:\x07|\x1b\\\\)|\x1b[ -/]*[0-~]")

// clean returns text without what a terminal or a line editor would obey, and
// without blank lines at its end.
func clean(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	text = sequences.ReplaceAllString(strings.ToValidUTF8(text, string(utf8.RuneError)), "")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
	if strings.TrimSpace(text) == "" {
		return ""
	}
	return strings.TrimRight(text, "\n")
}

// Unfinished reports whether what a person types stands unfinished in a program's
// input after keys, if it did so before them. Keys that move, scroll or point
// count as nothing.
func Unfinished(before bool, keys []byte) bool {
	for _, r := range sequences.ReplaceAllString(string(keys), "") {
		switch {
		case r == '\r' || r == '\n' || r == 0x03 || r == 0x04 || r == 0x15 || r == 0x1b: // sent, given up, erased
			before = false
		case r >= ' ' && r != 0x7f:
			before = true
		}
	}
	return before
}
