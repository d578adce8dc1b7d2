package transcript

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// CastHeader is the header of an asciicast; the zero value takes size and time
// from the transcript.
type CastHeader struct {
	Width, Height uint16    // of the terminal; 0: as at the first byte held
	Timestamp     time.Time // of the recording's begin; zero: of the first mark held
	Title         string    // none when empty
}

// WriteAsciicast writes what r holds now as an asciicast v2: the header, then "o"
// and "r" events timed by the marks. A character cut by a read or a mark goes
// into the event of its last byte; bytes that are not UTF-8 become U+FFFD. It
// returns *GoneError when the Writer dropped output faster than w took it.
func WriteAsciicast(w io.Writer, r *Reader, h CastHeader) error {
	first, end, err := r.Bounds()
	if err != nil {
		return err
	}
	bw := bufio.NewWriterSize(w, 64<<10)
	c := &caster{r: r, enc: json.NewEncoder(bw), header: h, at: first}
	c.enc.SetEscapeHTML(false)
	for m, err := range r.Marks(first, end) {
		if err != nil {
			return err
		}
		if err := c.mark(m); err != nil {
			return err
		}
	}
	if err := c.finish(end); err != nil {
		return err
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("write asciicast: %w", err)
	}
	return nil
}

// caster turns marks, and the output between them, into events.
type caster struct {
	r      *Reader
	enc    *json.Encoder
	header CastHeader
	begun  bool          // the header is written
	at     int64         // output before it is written or in cut
	now    time.Duration // of the last event; never goes back, whatever the clock did
	cut    []byte        // begin of a character whose rest is to come
	buf    [32 << 10]byte
}

func (c *caster) mark(m Mark) error {
	if err := c.output(m.Offset); err != nil {
		return err
	}
	if !c.begun {
		if err := c.begin(m); err != nil {
			return err
		}
	}
	if c.header.Timestamp.IsZero() {
		c.header.Timestamp = m.Time
	}
	c.now = max(c.now, m.Time.Sub(c.header.Timestamp))
	if m.Cols == 0 || m.Rows == 0 || (m.Cols == c.header.Width && m.Rows == c.header.Height) {
		return nil
	}
	c.header.Width, c.header.Height = m.Cols, m.Rows
	return c.event("r", fmt.Sprintf("%dx%d", m.Cols, m.Rows))
}

// begin writes the header, completed from the first mark.
func (c *caster) begin(m Mark) error {
	c.begun = true
	h := &c.header
	if h.Width == 0 || h.Height == 0 {
		h.Width, h.Height = m.Cols, m.Rows
	}
	if h.Width == 0 || h.Height == 0 {
		h.Width, h.Height = 80, 24 // what a terminal is that nobody sized
	}
	if h.Timestamp.IsZero() {
		h.Timestamp = m.Time
	}
	line := struct {
		Version   int    `json:"version"`
		Width     uint16 `json:"width"`
		Height    uint16 `json:"height"`
		Timestamp int64  `json:"timestamp,omitempty"`
		Title     string `json:"title,omitempty"`
	}{Version: 2, Width: h.Width, Height: h.Height, Title: h.Title}
	if !h.Timestamp.IsZero() {
		line.Timestamp = h.Timestamp.Unix()
	}
	return c.encode(line)
}

// output writes the bytes up to the offset to.
func (c *caster) output(to int64) error {
	for c.at < to {
		if !c.begun { // no mark: the writer died before its first
			if err := c.begin(Mark{}); err != nil {
				return err
			}
		}
		n := copy(c.buf[:], c.cut)
		got, err := c.r.ReadAt(c.buf[n:min(int64(len(c.buf)), int64(n)+to-c.at)], c.at)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("write asciicast: %w", err)
		}
		c.at += int64(got)
		n += got
		whole := n - cutRune(c.buf[:n])
		c.cut = append(c.cut[:0], c.buf[whole:n]...)
		if err := c.text(c.buf[:whole]); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the rest and, for a transcript without output, the header.
func (c *caster) finish(end int64) error {
	if err := c.output(end); err != nil {
		return err
	}
	if !c.begun {
		return c.begin(Mark{})
	}
	return c.text(c.cut)
}

func (c *caster) text(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	return c.event("o", string(p)) // encoding/json replaces what is not UTF-8
}

func (c *caster) event(kind, data string) error {
	return c.encode([]any{c.now.Round(time.Microsecond).Seconds(), kind, data})
}

func (c *caster) encode(v any) error {
	if err := c.enc.Encode(v); err != nil {
		return fmt.Errorf("write asciicast: %w", err)
	}
	return nil
}

// cutRune returns how many bytes at the end of p begin a character that p does
// not end.
func cutRune(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
