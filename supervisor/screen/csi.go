package screen

// csi carries out a control sequence that ends with r.
func (t *terminal) csi(r rune) {
	p := &t.parser.params
	switch t.parser.collect {
	case 0:
		if !t.csiMove(r, p) {
			t.csiEdit(r, p)
		}
	case '?':
		t.csiPrivate(r, p)
	case ' ':
		switch r {
		case '@':
			t.shiftColumns(func(l *line, fill cell) { l.remove(0, p.at(0, 1), fill) })
		case 'A':
			t.shiftColumns(func(l *line, fill cell) { l.insert(0, p.at(0, 1), fill) })
		}
	case '\'':
		switch r {
		case '}':
			t.shiftColumns(func(l *line, fill cell) { l.insert(t.buf.x, p.at(0, 1), fill) })
		case '~':
			t.shiftColumns(func(l *line, fill cell) { l.remove(t.buf.x, p.at(0, 1), fill) })
		}
	case '!':
		if r == 'p' {
			t.softReset()
		}
	case '"':
		if r == 'q' {
			t.protect(p.v[0])
		}
	}
}

// csiMove is for the sequences that only move the cursor.
func (t *terminal) csiMove(r rune, p *params) bool {
	b, n := t.buf, p.at(0, 1)
	switch r {
	case 'A':
		t.up(n)
	case 'B':
		t.down(n)
	case 'C', 'a':
		t.moveBy(n, 0)
	case 'D':
		t.moveBy(-n, 0)
	case 'E':
		t.down(n)
		b.x = 0
	case 'F':
		t.up(n)
		b.x = 0
	case 'G', '`':
		t.moveTo(n-1, b.y)
	case 'H', 'f':
		t.moveTo(p.at(1, 1)-1, n-1)
	case 'd':
		t.moveTo(b.x, n-1)
	case 'e':
		t.moveBy(0, n)
	case 'I':
		for range min(n, t.cols) {
			if b.x < t.cols {
				b.x = b.nextTab(b.x, t.cols)
			}
		}
	case 'Z':
		for range min(n, t.cols) {
			if b.x < t.cols {
				b.x = b.prevTab(b.x, t.cols)
			}
		}
	case 's':
		t.saveCursor()
	case 'u':
		t.restoreCursor()
	default:
		return false
	}
	return true
}

// up stops at the first row that scrolls, if it begins below that.
func (t *terminal) up(n int) {
	if room := t.buf.y - t.buf.top; room >= 0 {
		n = min(n, room)
	}
	t.moveBy(0, -n)
}

func (t *terminal) down(n int) {
	if room := t.buf.bottom - t.buf.y; room >= 0 {
		n = min(n, room)
	}
	t.moveBy(0, n)
}

// csiEdit is for the sequences that change the screen or the terminal.
func (t *terminal) csiEdit(r rune, p *params) {
	b, n := t.buf, p.at(0, 1)
	switch r {
	case '@', 'P', 'X':
		t.editChars(r, n)
	case 'J':
		t.eraseScreen(p.v[0], false)
	case 'K':
		t.eraseLine(p.v[0], false)
	case 'L', 'M':
		t.editLines(r, n)
	case 'S':
		b.removeLines(b.top, n, t.cols, t.eraser())
	case 'T':
		b.insertLines(b.top, n, t.cols, blank)
	case 'b':
		t.repeat(n)
	case 'g':
		t.clearTabs(p.v[0])
	case 'h', 'l':
		t.setModes(p, r == 'h')
	case 'm':
		t.style(p)
	case 'r':
		t.setMargins(p)
	}
}

func (t *terminal) csiPrivate(r rune, p *params) {
	switch r {
	case 'J':
		t.eraseScreen(p.v[0], true)
	case 'K':
		t.eraseLine(p.v[0], true)
	case 'h', 'l':
		for _, n := range p.v[:p.n] {
			t.setPrivateMode(n, r == 'h')
		}
	}
}

// shiftColumns edits every row that scrolls, when the cursor is in one.
func (t *terminal) shiftColumns(edit func(l *line, fill cell)) {
	b := t.buf
	if b.y > b.bottom || b.y < b.top {
		return
	}
	for y := b.top; y <= b.bottom; y++ {
		l := b.row(y)
		edit(l, t.eraser())
		l.wrapped = false
	}
}

func (t *terminal) protect(n int) {
	switch n {
	case 0, 2:
		t.pen.attr &^= protected
	case 1:
		t.pen.attr |= protected
	}
}

func (t *terminal) editChars(r rune, n int) {
	t.restrict(t.cols - 1)
	l, x := t.row(), t.buf.x
	switch r {
	case '@':
		l.insert(x, n, t.eraser())
	case 'P':
		l.remove(x, n, t.eraser())
	case 'X':
		l.erase(x, min(x+n, t.cols), t.eraser(), false)
	}
}

func (t *terminal) editLines(r rune, n int) {
	b := t.buf
	t.restrict(t.cols - 1)
	if b.y > b.bottom || b.y < b.top {
		return
	}
	if r == 'L' {
		b.insertLines(b.y, n, t.cols, t.eraser())
	} else {
		b.removeLines(b.y, n, t.cols, t.eraser())
	}
	b.x = 0
}

func (t *terminal) eraseLine(how int, selective bool) {
	t.restrict(t.cols)
	l, x := t.row(), t.buf.x
	switch how {
	case 0:
		t.eraseToEnd(l, x, selective)
	case 1:
		l.erase(0, x+1, t.eraser(), selective)
	case 2:
		t.eraseToEnd(l, 0, selective)
	}
}

func (t *terminal) eraseToEnd(l *line, x int, selective bool) {
	l.erase(x, t.cols, t.eraser(), selective)
	if x == 0 {
		l.wrapped = false
	}
}

func (t *terminal) eraseScreen(how int, selective bool) {
	t.restrict(t.cols)
	b := t.buf
	switch how {
	case 0:
		t.eraseToEnd(t.row(), b.x, selective)
		t.eraseRows(b.y+1, t.rows, selective)
	case 1:
		t.row().erase(0, b.x+1, t.eraser(), selective)
		t.row().wrapped = false
		if b.x+1 >= t.cols && b.y+1 < t.rows {
			b.row(b.y + 1).wrapped = false
		}
		t.eraseRows(0, b.y, selective)
	case 2:
		t.eraseRows(0, t.rows, selective)
	case 3:
		if above := len(b.lines) - t.rows; above > 0 {
			b.forget(above)
		}
	}
}

func (t *terminal) eraseRows(from, to int, selective bool) {
	for y := from; y < to; y++ {
		l := t.buf.row(y)
		l.erase(0, len(l.cells), t.eraser(), selective)
		l.wrapped = false
	}
}

// maxRepeat bounds how much one REP prints: more than a screen of it is hostile.
const maxRepeat = 1 << 14

// repeat is REP: the character just printed once more, n times.
func (t *terminal) repeat(n int) {
	x := t.buf.x - int(t.joinable)
	if t.joinable == 0 || x < 0 || x >= t.cols || t.row().cells[x].r == 0 {
		return
	}
	c := t.row().cells[x]
	text := []rune{c.r}
	if c.joined != nil {
		text = append(text, []rune(*c.joined)...)
	}
	t.row().half(t.buf.x-1, t.pen)
	for range min(n, maxRepeat) {
		for _, r := range text {
			t.print(r)
		}
	}
}

func (t *terminal) clearTabs(how int) {
	switch how {
	case 0:
		if t.buf.x < len(t.buf.tabs) {
			t.buf.tabs[t.buf.x] = false
		}
	case 3:
		clear(t.buf.tabs)
	}
}

func (t *terminal) setMargins(p *params) {
	top, bottom := p.at(0, 1), p.at(1, t.rows)
	bottom = min(bottom, t.rows)
	if bottom > top {
		t.buf.top, t.buf.bottom = top-1, bottom-1
		t.moveTo(0, 0)
	}
}

func (t *terminal) setModes(p *params, on bool) {
	for _, n := range p.v[:p.n] {
		switch n {
		case 4:
			t.modes.insert = on
		case 20:
			t.newline = on
		}
	}
}

func (t *terminal) setPrivateMode(n int, on bool) {
	m := &t.modes
	switch n {
	case 1:
		m.appCursor = on
	case 2:
		if on {
			t.charset, t.charsetsOf = nil, [4]*charset{}
		}
	case 6:
		m.origin = on
		t.moveTo(0, 0)
	case 7:
		m.noWrap = !on
	case 9, 1000, 1002, 1003:
		m.mouse = setOr(n, on)
	case 25:
		t.hidden = !on
	case 45:
		m.reverseWrap = on
	case 66:
		m.appKeypad = on
	case 1004:
		m.focus = on
	case 1006, 1016:
		m.mouseEncoding = setOr(n, on)
	case 47, 1047, 1048, 1049:
		t.switchScreen(n, on)
	case 2004:
		m.paste = on
	}
}

func setOr(n int, on bool) int {
	if on {
		return n
	}
	return 0
}

func (t *terminal) switchScreen(n int, on bool) {
	if on {
		if n >= 1048 {
			t.saveCursor()
		}
		if n != 1048 {
			t.useAlt()
		}
		return
	}
	if n != 1048 {
		t.useNormal()
	}
	if n >= 1048 {
		t.restoreCursor()
	}
}
