package screen

import "slices"

// resize gives the terminal another size. Lines of the normal screen that were
// wrapped are wrapped anew, those above it come back when it grows taller. What
// goes where follows xterm.js (Buffer.ts, BufferReflow.ts; MIT licence, the
// xterm.js authors), so that a viewer and this terminal stay alike.
func (t *terminal) resize(cols, rows int) {
	cols, rows = clampSize(cols, rows)
	if cols == t.cols && rows == t.rows {
		return
	}
	for _, b := range []*buffer{t.normal, t.alt} {
		if len(b.lines) > 0 {
			b.resize(t.cols, t.rows, cols, rows)
		}
		b.bottom = rows - 1
		if b == t.normal && cols != t.cols {
			b.reflow(t.cols, cols, rows)
		}
		if b == t.normal { // the alternate screen keeps what it hides, for when it grows again
			for _, l := range b.lines {
				l.resize(cols)
			}
		}
		b.setTabs(cols, cols)
	}
	t.cols, t.rows = cols, rows
}

// resize adds or drops rows and keeps the cursor on its line.
func (b *buffer) resize(oldCols, oldRows, cols, rows int) {
	if cols > oldCols {
		for _, l := range b.lines {
			l.resize(cols)
		}
	}
	down := 0
	for y := oldRows; y < rows && len(b.lines) < rows+b.base; y++ {
		if b.base > 0 && len(b.lines) <= b.base+b.y+down+1 {
			b.base-- // one from above comes back
			down++
		} else {
			b.lines = append(b.lines, newLine(cols, blank))
		}
	}
	for y := oldRows; y > rows && len(b.lines) > rows+b.base; y-- {
		if len(b.lines) > b.base+b.y+1 {
			b.lines = b.lines[:len(b.lines)-1]
		} else {
			b.base++
		}
	}
	if over := len(b.lines) - rows - b.history; over > 0 {
		b.forget(over)
		b.saved.y = max(b.saved.y-over, 0)
	}
	b.x = min(b.x, cols-1)
	b.y = min(b.y, rows-1) + down
	b.saved.x = min(b.saved.x, cols-1)
	b.top = 0
}

// reflow wraps the lines of b, which are oldCols wide or have been resized to
// cols, anew.
func (b *buffer) reflow(oldCols, cols, rows int) {
	if cols > oldCols {
		b.reflowLarger(oldCols, cols, rows)
	} else {
		b.reflowSmaller(oldCols, cols, rows)
	}
}

// paragraph returns the end of the lines that were wrapped, from y on.
func (b *buffer) paragraph(y int) (end int) {
	for end = y + 1; end < len(b.lines) && b.lines[end].wrapped; end++ {
	}
	return end
}

// filled returns how many cells line i of a paragraph holds.
func filled(lines []*line, i, cols int) int {
	if i == len(lines)-1 {
		return lines[i].trimmed()
	}
	last := lines[i].cells[cols-1]
	if last.r == 0 && last.width == 1 && lines[i+1].width(0) == 2 {
		return cols - 1 // the wide character did not fit there
	}
	return cols
}

// reflowLarger moves what fits up into the lines above. The line that the cursor
// is in is left to the program, which redraws it.
func (b *buffer) reflowLarger(oldCols, cols, rows int) {
	cursor := b.base + b.y
	kept := make([]*line, 0, len(b.lines))
	removed := 0
	for y := 0; y < len(b.lines); {
		end := b.paragraph(y)
		lines := b.lines[y:end]
		n := len(lines)
		if n > 1 && (cursor < y || cursor >= end) {
			n = widen(lines, oldCols, cols)
		}
		kept = append(kept, lines[:n]...)
		removed += len(lines) - n
		y = end
	}
	b.lines = kept
	for range removed {
		if b.base > 0 {
			b.base--
			continue
		}
		b.y = max(0, b.y-1)
		if len(b.lines) < rows {
			b.lines = append(b.lines, newLine(cols, blank))
		}
	}
	b.saved.y = max(b.saved.y-removed, 0)
}

// widen moves the cells of a paragraph together. It returns how many of its
// lines are left.
func widen(lines []*line, oldCols, cols int) int {
	dest, destX := 0, filled(lines, 0, oldCols)
	src, srcX := 1, 0
	for src < len(lines) {
		have := filled(lines, src, oldCols)
		n := min(have-srcX, cols-destX)
		copy(lines[dest].cells[destX:destX+n], lines[src].cells[srcX:srcX+n])
		destX += n
		if destX == cols {
			dest, destX = dest+1, 0
		}
		srcX += n
		if srcX == have {
			src, srcX = src+1, 0
		}
		if destX == 0 && dest > 0 && lines[dest-1].width(cols-1) == 2 {
			lines[dest].cells[0] = lines[dest-1].cells[cols-1]
			lines[dest-1].cells[cols-1] = blank
			destX = 1
		}
	}
	lines[dest].erase(destX, cols, blank, false)
	n := len(lines)
	for n > 1 && (n-1 > dest || lines[n-1].trimmed() == 0) {
		n--
	}
	return n
}

// added are lines that come in before the line at index at.
type added struct {
	at    int
	lines []*line
}

// reflowSmaller moves what does not fit down into lines it adds, but for the
// paragraph that the cursor is in.
func (b *buffer) reflowSmaller(oldCols, cols, rows int) {
	lines := slices.Clone(b.lines)
	var all []added
	count := 0
	for y := len(lines) - 1; y >= 0; y-- {
		if !lines[y].wrapped && lines[y].trimmed() <= cols {
			continue
		}
		end := y + 1
		for lines[y].wrapped && y > 0 {
			y--
		}
		if cursor := b.base + b.y; cursor >= y && cursor < end {
			continue
		}
		more := narrow(lines[y:end], oldCols, cols)
		if len(more) > 0 {
			all = append(all, added{at: end, lines: more})
			count += len(more)
		}
		b.makeWay(len(more), count, rows)
	}
	left := len(b.lines)
	for _, a := range all { // from the last to the first: no index moves
		b.lines = slices.Insert(b.lines, min(a.at, left), a.lines...)
	}
	if over := len(b.lines) - rows - b.history; over > 0 {
		b.lines = slices.Delete(b.lines, 0, over)
	}
}

// makeWay moves the screen down for n of the count lines that will come in, or
// drops blank lines below the cursor for them.
func (b *buffer) makeWay(n, count, rows int) {
	limit := rows + b.history
	over := len(b.lines) - limit + n
	if b.base == 0 && b.y != len(b.lines)-1 {
		over = b.y - limit + n
	}
	for range n - max(0, over) {
		switch {
		case b.base > 0:
			if b.base < min(limit, len(b.lines)+count)-rows {
				b.base++
			}
		case b.y < rows-1:
			b.y++
			b.lines = b.lines[:len(b.lines)-1]
		default:
			b.base++
		}
	}
	b.saved.y = min(b.saved.y+n, b.base+rows-1)
}

// narrow moves the cells of a paragraph so that none lies beyond cols. It
// returns the lines that continue the paragraph.
func narrow(lines []*line, oldCols, cols int) (more []*line) {
	last := lines[len(lines)-1].trimmed()
	lengths := narrowLengths(lines, oldCols, cols)
	for range len(lengths) - len(lines) {
		l := newLine(cols, blank)
		l.wrapped = true
		more = append(more, l)
	}
	all := slices.Concat(lines, more)
	// From the end, so that nothing is overwritten before it is moved.
	dest := len(lengths) - 1
	src, srcX := len(lines)-1, last
	for destX := at(lengths, dest); src >= 0 && dest >= 0; {
		n := min(srcX, destX)
		copy(all[dest].cells[destX-n:destX], all[src].cells[srcX-n:srcX])
		if destX -= n; destX == 0 {
			dest--
			destX = at(lengths, dest)
		}
		if srcX -= n; srcX == 0 {
			src--
			srcX = filled(all, max(src, 0), oldCols)
		}
	}
	for i, l := range all {
		if n := at(lengths, i); n < cols {
			l.cells[n] = blank
		}
	}
	return more
}

func at(lengths []int, i int) int {
	if i < 0 || i >= len(lengths) {
		return 0
	}
	return lengths[i]
}

// narrowLengths returns how many cells each line of a paragraph gets when it is
// wrapped at cols, one less where a wide character would be cut.
func narrowLengths(lines []*line, oldCols, cols int) (lengths []int) {
	need := 0
	for i := range lines {
		need += filled(lines, i, oldCols)
	}
	src, srcX := 0, 0
	for need > 0 {
		if need < cols {
			return append(lengths, need)
		}
		srcX += cols
		if have := filled(lines, src, oldCols); srcX > have {
			srcX -= have
			src = min(src+1, len(lines)-1)
		}
		n := cols
		if lines[src].width(srcX-1) == 2 {
			srcX--
			n--
		}
		lengths = append(lengths, n)
		need -= n
	}
	return lengths
}
