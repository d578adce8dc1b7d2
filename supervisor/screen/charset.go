package screen

import (
	"sync"

	"github.com/charmbracelet/x/ansi"
)

// charset replaces ASCII characters; nil replaces none.
type charset struct{ runes [128]rune }

func (c *charset) replace(r rune) rune {
	if c == nil || r >= 127 || c.runes[r] == 0 {
		return r
	}
	return c.runes[r]
}

// charsets are those that programs still choose, by the last byte of ESC ( 0.
// The national ones are taken for ASCII.
var charsets = map[rune]*charset{'0': lineDrawing(), 'A': british()}

// name returns the last byte of the sequence that chooses c.
func (c *charset) name() rune {
	for name, known := range charsets {
		if c == known {
			return name
		}
	}
	return 'B' // ASCII
}

// lineDrawing is DEC Special Graphics.
func lineDrawing() *charset {
	c := &charset{}
	copy(c.runes['`':], []rune("◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·"))
	return c
}

func british() *charset {
	c := &charset{}
	c.runes['#'] = '£'
	return c
}

// bmpWidths holds runeWidth of the characters below U+10000: measuring one takes
// longer than everything else that printing it does.
var bmpWidths = sync.OnceValue(func() *[0x10000]uint8 {
	var widths [0x10000]uint8
	for r := range rune(len(widths)) {
		widths[r] = measure(r)
	}
	return &widths
})

// runeWidth returns how many columns r takes, 0 for a character that combines
// with the one before it.
func runeWidth(r rune) uint8 {
	if r < 0x10000 {
		return bmpWidths()[r]
	}
	return measure(r)
}

// measure asks the tables of the Unicode standard, and departs from them where
// xterm and the programs' wcwidth agree on something else.
func measure(r rune) uint8 {
	switch {
	case r >= 0x1160 && r <= 0x11ff: // vowels and finals of a Hangul syllable
		return 0
	case r >= 0x1f1e6 && r <= 0x1f1ff: // half a flag
		return 1
	case r == 0xad, r == 0x2028, r == 0x2029, r >= 0xd800 && r <= 0xdfff, r == 0xfffe, r == 0xffff:
		return 1
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return 0
	}
	return uint8(ansi.StringWidth(string(r)))
}
