package screen

import "slices"

// color is 0 for the terminal's own, palette|n for one of 256, or rgb|0xRRGGBB.
type color uint32

const (
	palette color = 1 << 24
	rgb     color = 2 << 24
	colorOf color = 0xffffff // what is below the two kinds
)

// attr is a set of attributes of a cell.
type attr uint16

const (
	bold attr = 1 << iota
	dim
	italic
	underline
	blink
	inverse
	invisible
	strike
	overline
	protected // from selective erase (DECSCA)
)

// cell is one column of a line. A cell nothing was written to has no rune; a
// wide character is followed by a cell of no rune and no width.
type cell struct {
	joined *string // the characters that combine with r, nil for none
	r      rune
	fg, bg color
	attr   attr
	width  uint8 // in columns
}

// blank is a cell that was never written.
var blank = cell{width: 1}

// maxJoined bounds the bytes that combine with one character.
const maxJoined = 64

func (c *cell) join(r rune) {
	if c.r == 0 {
		c.r, c.width = r, 1
		return
	}
	s := string(r)
	if c.joined != nil {
		s = *c.joined + s
	}
	if len(s) <= maxJoined {
		c.joined = &s
	}
}

// line is one row; wrapped when it continues the one above.
type line struct {
	cells   []cell
	wrapped bool
}

func newLine(cols int, fill cell) *line {
	l := &line{cells: make([]cell, cols)}
	fillCells(l.cells, fill)
	return l
}

// fillCells doubles what is copied, which is faster than a loop over wide cells.
func fillCells(cells []cell, c cell) {
	if len(cells) == 0 {
		return
	}
	cells[0] = c
	for n := 1; n < len(cells); n *= 2 {
		copy(cells[n:], cells[:n])
	}
}

// renew makes l a new line of cols cells of fill. It may have hidden more.
func (l *line) renew(cols int, fill cell) {
	l.cells = l.cells[:cols]
	l.clear(fill)
}

// clear makes all of l fill.
func (l *line) clear(fill cell) {
	fillCells(l.cells, fill)
	l.wrapped = false
}

// width returns the columns of the character at x, 0 outside the line.
func (l *line) width(x int) uint8 {
	if x < 0 || x >= len(l.cells) {
		return 0
	}
	return l.cells[x].width
}

func (l *line) set(x int, c cell) {
	if x >= 0 && x < len(l.cells) {
		l.cells[x] = c
	}
}

// half blanks the cell at x when it is the left half of a wide character whose
// right half is about to go.
func (l *line) half(x int, fill cell) {
	if l.width(x) == 2 {
		l.cells[x] = fill
	}
}

// orphan blanks the cell at x when it is a right half without a left one.
func (l *line) orphan(x int, fill cell) {
	if x < len(l.cells) && l.cells[x].width == 0 && l.cells[x].r == 0 {
		l.cells[x] = fill
	}
}

// insert moves the cells from x on n columns to the right.
func (l *line) insert(x, n int, fill cell) {
	x %= len(l.cells)
	l.half(x-1, fill)
	n = min(n, len(l.cells)-x)
	copy(l.cells[x+n:], l.cells[x:])
	fillCells(l.cells[x:x+n], fill)
	l.half(len(l.cells)-1, fill)
}

// remove moves the cells after x n columns to the left.
func (l *line) remove(x, n int, fill cell) {
	x %= len(l.cells)
	n = min(n, len(l.cells)-x)
	copy(l.cells[x:], l.cells[x+n:])
	fillCells(l.cells[len(l.cells)-n:], fill)
	l.half(x-1, fill)
	l.orphan(x, fill)
}

// erase blanks the cells from x to end; with selective not the protected ones.
func (l *line) erase(x, end int, fill cell, selective bool) {
	end = min(end, len(l.cells))
	if !selective {
		l.half(x-1, fill)
		if end < len(l.cells) && l.width(end-1) == 2 {
			l.cells[end] = fill
		}
		if x < end {
			fillCells(l.cells[x:end], fill)
		}
		return
	}
	if l.width(x-1) == 2 && l.cells[x-1].attr&protected == 0 {
		l.cells[x-1] = fill
	}
	if end < len(l.cells) && l.width(end-1) == 2 && l.cells[end].attr&protected == 0 {
		l.cells[end] = fill
	}
	for ; x < end; x++ {
		if l.cells[x].attr&protected == 0 {
			l.cells[x] = fill
		}
	}
}

// trimmed returns the columns up to the last one ever written.
func (l *line) trimmed() int {
	for x, c := range slices.Backward(l.cells) {
		if c.r != 0 {
			return x + int(c.width)
		}
	}
	return 0
}

// resize cuts the line or extends it with blanks.
func (l *line) resize(cols int) {
	if cols <= len(l.cells) {
		l.cells = l.cells[:cols]
		return
	}
	old := len(l.cells)
	cells := make([]cell, cols)
	copy(cells, l.cells)
	fillCells(cells[old:], blank)
	l.cells = cells
}
