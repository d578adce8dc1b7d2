package gitmgr

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Git's wire format: lines with their length in four hexadecimal digits before
// them, and a flush, "0000" (gitprotocol-common).
const (
	flushPkt    = "0000"
	maxPktBytes = 65520
)

var errPkt = errors.New("not git's protocol")

// readPkt reads one line into b, which has room for maxPktBytes. A flush gives nil.
func readPkt(r io.Reader, b []byte) ([]byte, error) {
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	switch {
	case err != nil || n > maxPktBytes:
		return nil, errPkt
	case n == 0:
		return nil, nil
	case n < 4: // delimiter and end of response, of protocol version 2
		return b[:0], nil
	}
	if _, err := io.ReadFull(r, b[:n-4]); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return b[:n-4], nil
}

func appendPkt(b []byte, text string) []byte {
	return append(fmt.Appendf(b, "%04x", len(text)+4), text...)
}

// refUpdate is one command of a push.
type refUpdate struct{ old, new, ref string }

// pushHead is what a push says before its pack.
type pushHead struct {
	updates []refUpdate
	caps    string
	raw     []byte // as it was read, the flush included
}

const (
	maxPushUpdates = 100
	maxPushBytes   = 64 << 10
)

// readPushHead reads the commands of a push up to the flush; r is then at the pack.
// A push without any is a client that tries its credentials out.
func readPushHead(r io.Reader) (pushHead, error) {
	var h pushHead
	raw := &bytes.Buffer{}
	in, buf := io.TeeReader(io.LimitReader(r, maxPushBytes), raw), make([]byte, maxPktBytes)
	for {
		line, err := readPkt(in, buf)
		if err != nil {
			return h, fmt.Errorf("push: %w", errors.Join(errPkt, err))
		}
		if line == nil {
			h.raw = raw.Bytes()
			return h, nil
		}
		text, caps, first := strings.Cut(string(line), "\x00")
		if first && len(h.updates) == 0 {
			h.caps = strings.TrimSpace(caps)
		}
		f := strings.Fields(text)
		if len(f) != 3 || !isObjectID(f[0]) || !isObjectID(f[1]) || len(h.updates) == maxPushUpdates {
			return h, fmt.Errorf("push: %w", errPkt) // a signed push, or one from a shallow clone, has other lines
		}
		h.updates = append(h.updates, refUpdate{f[0], f[1], f[2]})
	}
}

func isObjectID(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}

func (h pushHead) has(capability string) bool {
	for c := range strings.FieldsSeq(h.caps) {
		if c == capability {
			return true
		}
	}
	return false
}

// refusal answers a push in git's own words: why each ref was not taken.
func (h pushHead) refusal(why func(refUpdate) string) []byte {
	report := appendPkt(nil, "unpack ok\n")
	for _, u := range h.updates {
		reason := why(u)
		if reason == "" {
			reason = "not pushed because of the others"
		}
		report = appendPkt(report, fmt.Sprintf("ng %s %s\n", u.ref, reason))
	}
	report = append(report, flushPkt...)
	if !h.has("side-band-64k") {
		return report
	}
	var out []byte
	for len(report) > 0 {
		n := min(len(report), maxPktBytes-5)
		out = appendPkt(out, "\x01"+string(report[:n]))
		report = report[n:]
	}
	return append(out, flushPkt...)
}

// skipAdvert passes on what follows the first flush: what a git service says before
// it is asked anything is dropped, or kept if keep is set.
type skipAdvert struct {
	w    io.Writer
	keep *bytes.Buffer // the advertisement, flush included
	head []byte        // of a line whose length is not known yet
	left int           // bytes of the current line
	done bool
}

func (s *skipAdvert) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && !s.done {
		if s.left > 0 {
			k := min(s.left, len(p))
			s.take(p[:k])
			s.left, p = s.left-k, p[k:]
			continue
		}
		k := min(4-len(s.head), len(p))
		s.head, p = append(s.head, p[:k]...), p[k:]
		if len(s.head) < 4 {
			break
		}
		size, err := strconv.ParseUint(string(s.head), 16, 16)
		if err != nil || size > maxPktBytes {
			return 0, errPkt
		}
		s.take(s.head)
		s.head, s.left, s.done = s.head[:0], max(int(size)-4, 0), size == 0
	}
	if len(p) > 0 && s.w != nil {
		if _, err := s.w.Write(p); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (s *skipAdvert) take(p []byte) {
	if s.keep != nil && s.keep.Len() < maxOutputBytes {
		s.keep.Write(p)
	}
}
