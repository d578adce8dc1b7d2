package screen

import (
	"fmt"
	"strings"
)

// text returns the characters of l on a terminal of cols columns, without blanks
// at the end.
func (l *line) text(cols int) string {
	var s strings.Builder
	for x := 0; x < min(cols, l.trimmed()); x += max(1, int(l.cells[x].width)) {
		l.cells[x].write(&s)
	}
	return strings.TrimRight(s.String(), " ")
}

func (c *cell) write(s *strings.Builder) {
	if c.r == 0 {
		s.WriteByte(' ')
		return
	}
	s.WriteRune(c.r)
	if c.joined != nil {
		s.WriteString(*c.joined)
	}
}

// sgr returns the sequence that makes a pen look like c.
func (c *cell) sgr() string {
	var s strings.Builder
	s.WriteString("\x1b[0")
	for i, n := range []int{1, 2, 3, 4, 5, 7, 8, 9, 53} { // in the order of the attributes
		if c.attr&(1<<i) != 0 {
			fmt.Fprintf(&s, ";%d", n)
		}
	}
	c.fg.sgr(&s, 38)
	c.bg.sgr(&s, 48)
	s.WriteByte('m')
	return s.String()
}

func (c color) sgr(s *strings.Builder, ground int) {
	n := c & colorOf
	switch {
	case c&palette != 0:
		fmt.Fprintf(s, ";%d;5;%d", ground, n)
	case c&rgb != 0:
		fmt.Fprintf(s, ";%d;2;%d;%d;%d", ground, n>>16, n>>8&0xff, n&0xff)
	}
}

func (c *cell) sameStyle(d *cell) bool {
	return c.fg == d.fg && c.bg == d.bg && c.attr&^protected == d.attr&^protected
}

// drawn returns the first cols cells of l, without those at the end that look as on
// an empty screen.
func (l *line) drawn(cols int) []cell {
	cells := l.cells[:cols]
	for len(cells) > 0 && cells[len(cells)-1].r == 0 && cells[len(cells)-1].sameStyle(&blank) {
		cells = cells[:len(cells)-1]
	}
	return cells
}

// repaint returns what makes a terminal of the same size, whatever its state, go
// on as t would: the screen, the normal one behind it, what DECSC saved on them, the
// cursor, the modes. Lines above the screen and tab stops are left out.
func (t *terminal) repaint() string {
	var s strings.Builder
	s.WriteString("\x1bc\x1b[20l")
	if t.title != "" {
		s.WriteString("\x1b]2;" + t.title + "\a")
	}
	t.paint(&s, t.normal)
	if t.buf == t.alt {
		s.WriteString("\x1b[?47h")
		t.paint(&s, t.alt)
	}
	if t.modes.origin {
		s.WriteString("\x1b[?6h")
	}
	t.repaintCursor(&s)
	t.repaintModes(&s)
	return s.String()
}

// paint writes the cells of b from the first one on, then its margins and what
// DECSC saved.
func (t *terminal) paint(s *strings.Builder, b *buffer) {
	pen := &blank
	s.WriteString("\x1b[m\x1b[H\x1b[2J")
	rows := t.rows // blank ones after the cursor would only scroll a smaller terminal
	for rows > b.y+1 && len(b.row(rows-1).drawn(t.cols)) == 0 {
		rows--
	}
	for y := range rows {
		if y > 0 {
			s.WriteString("\r\n")
		}
		cells := b.row(y).drawn(t.cols)
		for x := 0; x < len(cells); x += max(1, int(cells[x].width)) {
			c := &cells[x]
			if !c.sameStyle(pen) {
				s.WriteString(c.sgr())
				pen = c
			}
			if c.width == 0 { // half of a wide character, or one that combines with nothing
				s.WriteByte(' ')
			} else {
				c.write(s)
			}
		}
		if !pen.sameStyle(&blank) { // a line feed that scrolls leaves the pen's background
			s.WriteString("\x1b[m")
			pen = &blank
		}
	}
	if b.top > 0 || b.bottom < t.rows-1 {
		fmt.Fprintf(s, "\x1b[%d;%dr", b.top+1, b.bottom+1)
	}
	t.paintSaved(s, b)
}

func (t *terminal) paintSaved(s *strings.Builder, b *buffer) {
	saved := b.saved
	if saved == (cursor{pen: blank}) {
		return
	}
	fmt.Fprintf(s, "\x1b[%d;%dH%s\x1b(%c\x1b7\x1b(B", max(saved.y-b.base, 0)+1, saved.x+1, saved.pen.sgr(), saved.charset.name())
}

func (t *terminal) repaintCursor(s *strings.Builder) {
	x, y := t.buf.x, t.buf.y
	if t.modes.origin {
		y -= t.buf.top
	}
	if x < t.cols {
		fmt.Fprintf(s, "\x1b[%d;%dH", y+1, x+1)
	} else { // a wrap is pending, which only printing in the last column makes so
		cells := t.row().cells
		x = t.cols - 1
		if cells[x-1].width == 2 {
			x--
		}
		fmt.Fprintf(s, "\x1b[%d;%dH%s", y+1, x+1, cells[x].sgr())
		cells[x].write(s)
	}
	s.WriteString(t.pen.sgr())
	if t.pen.attr&protected != 0 {
		s.WriteString("\x1b[1\"q")
	}
}

func (t *terminal) repaintModes(s *strings.Builder) {
	m := t.modes
	for _, mode := range []struct {
		on  bool
		seq string
	}{
		{m.insert, "\x1b[4h"},
		{m.noWrap, "\x1b[?7l"},
		{m.reverseWrap, "\x1b[?45h"},
		{t.newline, "\x1b[20h"},
		{m.appCursor, "\x1b[?1h"},
		{m.appKeypad, "\x1b="},
		{m.paste, "\x1b[?2004h"},
		{m.focus, "\x1b[?1004h"},
		{m.mouse != 0, fmt.Sprintf("\x1b[?%dh", m.mouse)},
		{m.mouseEncoding != 0, fmt.Sprintf("\x1b[?%dh", m.mouseEncoding)},
		{t.hidden, "\x1b[?25l"},
		{!t.hidden, "\x1b[?25h"},
	} {
		if mode.on {
			s.WriteString(mode.seq)
		}
	}
	for level, c := range t.charsetsOf {
		if level == t.level {
			c = t.charset // DECRC may have brought back another
		}
		if c != nil {
			fmt.Fprintf(s, "\x1b%c%c", "()*+"[level], c.name())
		}
	}
	s.WriteString([]string{"\x0f", "\x0e", "\x1bn", "\x1bo"}[t.level])
}
