package screen

import "slices"

// scrollback is how many lines above the screen are remembered: as many as a
// terminal that grows taller may show again, or needs to wrap anew.
const scrollback = 200

// cursor is what DECSC saves.
type cursor struct {
	x, y    int // y counts from the oldest line remembered
	pen     cell
	charset *charset
}

// buffer is one of the two screens of a terminal: the lines above it, those on
// it, and the cursor.
type buffer struct {
	lines       []*line
	base        int // index in lines of the screen's first row
	x, y        int // x may be one beyond the last column: a wrap is pending
	top, bottom int // first and last row that scroll
	saved       cursor
	tabs        []bool
	history     int // lines remembered above the screen
}

func newBuffer(cols, rows, history int) *buffer {
	b := &buffer{bottom: rows - 1, history: history, saved: cursor{pen: blank}}
	b.setTabs(0, cols)
	return b
}

// fill gives a buffer without lines its screen.
func (b *buffer) fill(cols, rows int, c cell) {
	for len(b.lines) < rows {
		b.lines = append(b.lines, newLine(cols, c))
	}
}

// row returns row y of the screen.
func (b *buffer) row(y int) *line { return b.lines[b.base+y] }

// move takes the line at index from out and puts it in at index to.
func (b *buffer) move(from, to int) *line {
	l := b.lines[from]
	if from < to {
		copy(b.lines[from:to], b.lines[from+1:to+1])
	} else {
		copy(b.lines[to+1:from+1], b.lines[to:from])
	}
	b.lines[to] = l
	return l
}

// scroll moves the rows that scroll up by one, into what is remembered when they
// begin with the first, and gives the last of them fill.
func (b *buffer) scroll(cols, rows int, fill cell, wrapped bool) {
	first, last := b.base+b.top, b.base+b.bottom
	var l *line
	switch {
	case b.top > 0:
		l = b.move(first, last)
	case len(b.lines) < rows+b.history:
		b.lines = slices.Insert(b.lines, last+1, newLine(cols, fill))
		b.base++
		b.lines[last+1].wrapped = wrapped
		return
	case last == len(b.lines)-1:
		l = b.lines[0]
		b.lines = append(b.lines[1:], l) // grows and copies once in as many lines as there are
	default:
		l = b.move(0, last)
	}
	l.renew(cols, fill)
	l.wrapped = wrapped
}

// insertLines moves the rows from y to the last that scrolls down by n.
func (b *buffer) insertLines(y, n, cols int, fill cell) {
	for range min(n, b.bottom-y+1) {
		b.move(b.base+b.bottom, b.base+y).renew(cols, fill)
	}
}

// removeLines moves the rows below y up by n, to the last that scrolls.
func (b *buffer) removeLines(y, n, cols int, fill cell) {
	for range min(n, b.bottom-y+1) {
		b.move(b.base+y, b.base+b.bottom).renew(cols, fill)
	}
}

// forget drops the oldest n lines.
func (b *buffer) forget(n int) {
	b.lines = slices.Delete(b.lines, 0, n)
	b.base = max(0, b.base-n)
}

// setTabs sets a stop at every eighth column from the last stop before from.
func (b *buffer) setTabs(from, cols int) {
	if len(b.tabs) < cols+1 {
		b.tabs = append(b.tabs, make([]bool, cols+1-len(b.tabs))...)
	}
	if !b.tabs[from] && from > 0 {
		from = b.prevTab(from, cols)
	}
	for ; from < cols; from += 8 {
		b.tabs[from] = true
	}
}

func (b *buffer) prevTab(x, cols int) int {
	for x--; x > 0 && !b.tabs[x]; x-- {
	}
	return max(0, min(x, cols-1))
}

func (b *buffer) nextTab(x, cols int) int {
	for x++; x < cols && !b.tabs[x]; x++ {
	}
	return min(x, cols-1)
}
