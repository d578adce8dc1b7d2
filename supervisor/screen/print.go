package screen

// printASCII prints a run of printable ASCII.
func (t *terminal) printASCII(p []byte) {
	if t.charset != nil || t.modes.insert || t.modes.noWrap {
		for _, c := range p {
			t.print(rune(c))
		}
		return
	}
	b := t.buf
	row := t.row()
	row.half(b.x-1, t.pen)
	for len(p) > 0 {
		if b.x >= t.cols {
			t.wrap()
			row = t.row()
		}
		n := min(len(p), t.cols-b.x)
		cells := row.cells[b.x : b.x+n]
		pen := t.pen
		for i := range cells {
			cells[i] = pen // and not pen.r first: the copy would wait until that is written
			cells[i].r = rune(p[i])
		}
		b.x += n
		p = p[n:]
	}
	row.orphan(b.x, t.pen)
	t.joinable = 1
}

// print prints one character.
func (t *terminal) print(r rune) {
	r = t.charset.replace(r)
	width := runeWidth(r)
	b := t.buf
	row := t.row()
	if width == 0 && t.joinable > 0 {
		t.join(row, r)
		return
	}
	if t.joinable == 0 { // the cursor was moved, perhaps between the halves of a wide character
		row.half(b.x-1, t.pen)
	}
	t.joinable = width
	if b.x+int(width) > t.cols {
		if !t.modes.noWrap {
			t.wrap()
			row = t.row()
		} else {
			b.x = t.cols - 1
			if width == 2 {
				return
			}
		}
	}
	if t.modes.insert {
		row.insert(b.x, int(width), t.pen)
		row.half(t.cols-1, t.pen)
	}
	c := t.pen
	c.r, c.width = r, width
	row.set(b.x, c)
	b.x++
	if width == 2 {
		c.r, c.width = 0, 0
		row.set(b.x, c)
		b.x++
	}
	row.orphan(b.x, t.pen)
}

// join adds a character without a width to the one before the cursor.
func (t *terminal) join(row *line, r rune) {
	x := t.buf.x - 1
	if row.width(x) == 0 {
		x-- // the right half of a wide one
	}
	if x >= 0 && x < len(row.cells) {
		row.cells[x].join(r)
		row.cells[x].width = t.joinable
	}
}

// wrap goes on at the begin of the next line.
func (t *terminal) wrap() {
	b, old := t.buf, t.row()
	for x := b.x; x < t.cols; x++ { // a wide character did not fit
		old.cells[x] = t.pen
	}
	b.x = 0
	b.y++
	if b.y == b.bottom+1 {
		b.y--
		t.scroll(true)
		return
	}
	b.y = min(b.y, t.rows-1)
	t.row().wrapped = true
}
