package typing

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"townd/supervisor/screen"
)

// picture is a screen read for a text: its characters in order, without blanks,
// frames and marks, so that it is found however an input box wraps and borders it.
type picture struct {
	runes    []rune
	row, end []int // of each: its row, and the column after it
	lines    []string
	cx, cy   int
	paste    bool
}

func read(s screen.Screen) picture {
	p := picture{lines: s.Lines, cx: s.CursorX, cy: s.CursorY, paste: s.Paste}
	for y, line := range s.Lines {
		x := 0
		for _, r := range line {
			x += width(r)
			if counts(r) {
				p.runes, p.row, p.end = append(p.runes, r), append(p.row, y), append(p.end, x)
			}
		}
	}
	return p
}

// counts reports whether a character is one of the text: no blank, no mark on
// another, nothing of what boxes are drawn with.
func counts(r rune) bool {
	return !unicode.IsSpace(r) && !unicode.IsMark(r) && !unicode.Is(unicode.Cf, r) && (r < 0x2500 || r > 0x259f)
}

// width is how many columns a character takes: two in the scripts and pictures
// that are wide, nearly as screen has it.
func width(r rune) int {
	switch {
	case unicode.IsMark(r) || unicode.Is(unicode.Cf, r):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0x1f300 && r <= 0x1f64f, r >= 0x1f900 && r <= 0x1f9ff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

func strip(text string) []rune {
	var kept []rune
	for _, r := range text {
		if counts(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// tailRunes is how much of a text's end is looked for.
const tailRunes = 24

// find returns where text stands, each by the index of its last character.
func (p picture) find(text []rune) (at []int) {
	if len(text) == 0 {
		return nil
	}
next:
	for i := 0; i+len(text) <= len(p.runes); i++ {
		for j, r := range text {
			if p.runes[i+j] != r {
				continue next
			}
		}
		at = append(at, i+len(text)-1)
	}
	return at
}

// atCursor reports whether the cursor stands right after the character at i, in its
// row, with nothing but blanks between.
func (p picture) atCursor(i int) bool {
	return p.row[i] == p.cy && p.cx >= p.end[i]-1 && (i+1 == len(p.runes) || p.row[i+1] != p.cy || p.end[i+1] > p.cx)
}

// below returns the rows after the character at i, letters only: spinners,
// counters and frames change by themselves.
func (p picture) below(i int) []string {
	var rows []string
	for _, line := range p.lines[p.row[i]+1:] {
		if l := letters(line); l != "" {
			rows = append(rows, l)
		}
	}
	return rows
}

func letters(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return r
		}
		return -1
	}, line)
}

// prompt is what stands in the row before the text that ends at i, in front of
// that row's first character of the text: the sign of an input line.
func (p picture) prompt(i, length int) string {
	first := max(i-length+1, 0)
	for first > 0 && p.row[first-1] == p.row[first] {
		first--
	}
	var sign []rune
	for j := first; j < i-length+1; j++ {
		sign = append(sign, p.runes[j])
	}
	if len(sign) > 40 {
		return ""
	}
	return string(sign)
}

// chip is what agents' terminals show in place of a long paste.
var chip = regexp.MustCompile(`\[(?i:pasted|paste)[^\]\n]{0,60}\]`)

// anchor is where a text stands in a program's input, and what else was seen then.
type anchor struct {
	text     []rune
	cursor   bool // the cursor stands right after it
	dx, dy   int  // from its end to the cursor
	count    int  // how often it is seen
	sign     string
	paste    bool
	below    map[string]bool
	belowKey string
}

// anchorOf finds a text that was typed in what is shown now, which was not there
// before: its end, or the chip that stands for it.
func anchorOf(before, now picture, text string) (anchor, bool) {
	tail := strip(text)
	whole := len(tail)
	tail = tail[max(0, len(tail)-tailRunes):]
	if a, ok := newAnchor(before, now, tail, min(whole, len(tail))); ok {
		if whole > len(tail) {
			if full := now.find(strip(text)); len(full) > 0 {
				a.sign = now.prompt(full[len(full)-1], whole)
			}
		}
		return a, true
	}
	var last string
	for _, line := range now.lines {
		for _, c := range chip.FindAllString(line, -1) {
			last = c
		}
	}
	if last == "" {
		return anchor{}, false
	}
	return newAnchor(before, now, strip(last), len(strip(last)))
}

func newAnchor(before, now picture, text []rune, length int) (anchor, bool) {
	old, at := before.find(text), now.find(text)
	if len(at) == 0 {
		return anchor{}, false
	}
	i, isNew := at[len(at)-1], len(at) > len(old)
	cursor := false
	for _, j := range at {
		if now.atCursor(j) {
			i, cursor = j, true
		}
	}
	moved := now.cx != before.cx || now.cy != before.cy
	if !isNew && (!cursor || !moved) {
		return anchor{}, false
	}
	a := anchor{
		text: text, cursor: cursor, dx: now.cx - now.end[i], dy: now.cy - now.row[i], count: len(at),
		sign: now.prompt(i, length), paste: now.paste, below: map[string]bool{},
	}
	a.saw(now, i)
	return a, true
}

// saw remembers what stands below the text.
func (a *anchor) saw(p picture, i int) {
	rows := p.below(i)
	for _, r := range rows {
		a.below[r] = true
	}
	a.belowKey = strings.Join(rows, "\n")
}

// verdict is what a screen says of a text after Enter.
type verdict uint8

const (
	unclear  verdict = iota
	standing         // still in the input, as before Enter
	taken            // no longer there, on a screen that is whole
	vanished         // no longer there, on a screen that may be half painted
)

// judge compares what is shown now with where the text stood before Enter.
func (a *anchor) judge(p picture) verdict {
	at := p.find(a.text)
	for _, i := range at {
		if a.stands(p, i) {
			return standing
		}
	}
	if a.paste && !p.paste {
		return taken // readline takes its line and leaves the terminal to the command
	}
	empty := a.empty(p, at)
	if len(at) > 0 && len(at) <= a.count && !empty && !a.news(p, at[len(at)-1]) {
		return unclear
	}
	if empty && len(a.below) == 0 || a.whole(p) {
		return taken
	}
	return vanished
}

// empty reports that the input line is there, below the text and with nothing in it.
func (a *anchor) empty(p picture, at []int) bool {
	first := 0
	if len(at) > 0 {
		first = p.row[at[len(at)-1]] + 1
	}
	return a.sign != "" && slices.ContainsFunc(p.lines[min(first, len(p.lines)):], func(line string) bool {
		return string(strip(line)) == a.sign
	})
}

// news reports that something stands below the text that ends at i which did not
// before.
func (a *anchor) news(p picture, i int) bool {
	return slices.ContainsFunc(p.below(i), func(l string) bool { return len(l) > 1 && !a.below[l] })
}

// whole reports that something is shown of what stood below the input: a frame
// that stops half way, since its program or its reader was not given the time to
// go on, stops before that.
func (a *anchor) whole(p picture) bool {
	if len(a.below) == 0 {
		return len(p.find(a.text)) > 0 // a line editor, and the text stands where it was
	}
	for _, line := range p.lines {
		l := letters(line)
		for was := range a.below {
			if len(was) > 3 && strings.Contains(l, was) {
				return true
			}
		}
	}
	return false
}

func (a *anchor) stands(p picture, i int) bool {
	if a.cursor {
		return p.atCursor(i)
	}
	return p.cx-p.end[i] == a.dx && p.cy-p.row[i] == a.dy && strings.Join(p.below(i), "\n") == a.belowKey
}
