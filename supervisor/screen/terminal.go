package screen

// The size of a terminal: below two columns wide characters have no place, and
// every cell is kept.
const (
	minCols, maxCols = 2, 1000
	minRows, maxRows = 1, 1000
)

// terminal is the state of a terminal of the xterm kind. It answers no queries
// and, whatever it is written, keeps a bounded number of cells.
type terminal struct {
	cols, rows  int
	normal, alt *buffer
	buf         *buffer // one of the two
	parser      parser
	modes       modes
	pen         cell // what is printed looks like it
	charset     *charset
	charsetsOf  [4]*charset // G0 to G3
	level       int         // which of them is charset
	joinable    uint8       // width of the character just printed, 0 after a control
	title       string
	hidden      bool // the cursor
	newline     bool // LNM: a line feed returns the carriage
	reset       bool // RIS was seen: nothing before it matters
}

// modes are what RIS and DECSTR set back.
type modes struct {
	insert, origin, noWrap, reverseWrap bool
	// These change no screen; a repaint hands them on.
	appCursor, appKeypad, paste, focus bool
	mouse, mouseEncoding               int
}

func newTerminal(cols, rows int) *terminal {
	t := &terminal{}
	t.cols, t.rows = clampSize(cols, rows)
	t.resetBuffers()
	return t
}

func clampSize(cols, rows int) (int, int) {
	return min(max(cols, minCols), maxCols), min(max(rows, minRows), maxRows)
}

func (t *terminal) resetBuffers() {
	t.normal, t.alt = newBuffer(t.cols, t.rows, scrollback), newBuffer(t.cols, t.rows, 0)
	t.normal.fill(t.cols, t.rows, blank)
	t.buf = t.normal
	t.pen = blank
	t.charset, t.charsetsOf, t.level = nil, [4]*charset{}, 0
	t.modes = modes{}
}

// fullReset is RIS. Like xterm.js it leaves the title, LNM and a hidden cursor alone.
func (t *terminal) fullReset() {
	t.resetBuffers()
	t.reset = true
}

// softReset is DECSTR.
func (t *terminal) softReset() {
	t.hidden = false
	t.buf.top, t.buf.bottom = 0, t.rows-1
	t.pen = blank
	t.modes = modes{mouse: t.modes.mouse, mouseEncoding: t.modes.mouseEncoding}
	t.charset, t.charsetsOf, t.level = nil, [4]*charset{}, 0
	t.buf.saved = cursor{y: t.buf.base, pen: blank}
}

// eraser is what erased cells become: they keep the background of the pen.
func (t *terminal) eraser() cell { return cell{bg: t.pen.bg, width: 1} }

func (t *terminal) row() *line { return t.buf.row(t.buf.y) }

func (t *terminal) scroll(wrapped bool) {
	t.buf.scroll(t.cols, t.rows, t.eraser(), wrapped)
}

// restrict brings the cursor back to where it may be, x to at most maxX.
func (t *terminal) restrict(maxX int) {
	b := t.buf
	b.x = min(maxX, max(0, b.x))
	if t.modes.origin {
		b.y = min(b.bottom, max(b.top, b.y))
	} else {
		b.y = min(t.rows-1, max(0, b.y))
	}
}

func (t *terminal) moveTo(x, y int) {
	if t.modes.origin {
		y += t.buf.top
	}
	t.buf.x, t.buf.y = x, y
	t.restrict(t.cols - 1)
}

func (t *terminal) moveBy(x, y int) {
	t.restrict(t.cols - 1)
	t.moveTo(t.buf.x+x, t.buf.y+y)
}

func (t *terminal) saveCursor() {
	t.buf.saved = cursor{x: t.buf.x, y: t.buf.base + t.buf.y, pen: t.pen, charset: t.charset}
}

func (t *terminal) restoreCursor() {
	s := t.buf.saved
	t.buf.x, t.buf.y = s.x, max(s.y-t.buf.base, 0)
	t.pen, t.charset = s.pen, s.charset
	t.restrict(t.cols - 1)
}

func (t *terminal) useAlt() {
	if t.buf == t.alt {
		return
	}
	t.alt.fill(t.cols, t.rows, t.eraser())
	t.alt.x, t.alt.y = t.normal.x, t.normal.y
	t.buf = t.alt
}

func (t *terminal) useNormal() {
	if t.buf == t.normal {
		return
	}
	t.normal.x, t.normal.y = t.alt.x, t.alt.y
	saved := t.alt.saved
	t.alt = newBuffer(t.cols, t.rows, 0)
	t.alt.saved = saved
	t.buf = t.normal
}
