package screen

// control carries out a control character.
func (t *terminal) control(r rune) {
	t.joinable = 0
	b := t.buf
	switch r {
	case '\n', '\v', '\f':
		t.lineFeed()
	case '\r':
		b.x = 0
	case '\b':
		t.backspace()
	case '\t':
		if b.x < t.cols {
			b.x = b.nextTab(b.x, t.cols)
		}
	case 0x0e:
		t.useCharset(1)
	case 0x0f:
		t.useCharset(0)
	case 0x84:
		t.index()
	case 0x85:
		b.x = 0
		t.index()
	case 0x88:
		t.setTab()
	}
}

func (t *terminal) lineFeed() {
	b := t.buf
	if t.newline {
		b.x = 0
	}
	b.y++
	switch {
	case b.y == b.bottom+1:
		b.y--
		t.scroll(false)
	case b.y >= t.rows:
		b.y = t.rows - 1
	default:
		t.row().wrapped = false
	}
	if b.x >= t.cols { // the pending wrap is off
		b.x--
	}
}

func (t *terminal) backspace() {
	b := t.buf
	if !t.modes.reverseWrap {
		t.restrict(t.cols - 1)
		b.x = max(0, b.x-1)
		return
	}
	t.restrict(t.cols)
	switch {
	case b.x > 0:
		b.x--
	case b.y > b.top && b.y <= b.bottom && t.row().wrapped:
		t.row().wrapped = false
		b.y--
		b.x = t.cols - 1
		if last := t.row().cells[b.x]; last.width > 0 && last.r == 0 {
			b.x-- // left empty by a wide character that did not fit
		}
	}
	t.restrict(t.cols - 1)
}

func (t *terminal) index() {
	b := t.buf
	t.restrict(t.cols - 1)
	b.y++
	if b.y == b.bottom+1 {
		b.y--
		t.scroll(false)
	}
	t.restrict(t.cols - 1)
}

func (t *terminal) reverseIndex() {
	b := t.buf
	t.restrict(t.cols - 1)
	if b.y == b.top {
		b.insertLines(b.y, 1, t.cols, t.eraser())
		return
	}
	b.y--
	t.restrict(t.cols - 1)
}

func (t *terminal) setTab() {
	if t.buf.x < len(t.buf.tabs) {
		t.buf.tabs[t.buf.x] = true
	}
}

func (t *terminal) useCharset(level int) {
	t.level = level
	t.charset = t.charsetsOf[level]
}

func (t *terminal) setCharset(level int, c *charset) {
	t.charsetsOf[level] = c
	if t.level == level {
		t.charset = c
	}
}

// escape carries out ESC, what was collected, r.
func (t *terminal) escape(r rune) {
	switch t.parser.collect {
	case 0:
		t.plainEscape(r)
	case '#':
		if r == '8' {
			t.alignment()
		}
	case '%':
		if r == '@' || r == 'G' {
			t.useCharset(0)
			t.setCharset(0, nil)
		}
	case '(':
		t.designate(0, r)
	case ')', '-':
		t.designate(1, r)
	case '*', '.':
		t.designate(2, r)
	case '+':
		t.designate(3, r)
	}
}

// designate sets one of G0 to G3; what is no character set is ignored.
func (t *terminal) designate(level int, r rune) {
	switch r {
	case '0', 'A', 'B', '4', 'C', '5', 'R', 'Q', 'K', 'Y', 'E', '6', 'Z', 'H', '7', '=':
		t.setCharset(level, charsets[r])
	}
}

func (t *terminal) plainEscape(r rune) {
	switch r {
	case '7':
		t.saveCursor()
	case '8':
		t.restoreCursor()
	case 'D':
		t.index()
	case 'E':
		t.buf.x = 0
		t.index()
	case 'H':
		t.setTab()
	case 'M':
		t.reverseIndex()
	case '=':
		t.modes.appKeypad = true
	case '>':
		t.modes.appKeypad = false
	case 'c':
		t.fullReset()
	case 'n', '}':
		t.useCharset(2)
	case 'o', '|':
		t.useCharset(3)
	case '~':
		t.useCharset(1)
	}
}

// alignment is DECALN: a screen of E.
func (t *terminal) alignment() {
	c := t.pen
	c.r = 'E'
	t.moveTo(0, 0)
	for y := t.buf.y; y < t.rows; y++ { // from the first that scrolls, with DECOM
		t.buf.row(y).clear(c)
	}
	t.moveTo(0, 0)
}
