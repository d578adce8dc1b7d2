package llm

import (
	"bytes"
	"io"
	"slices"
	"strings"
)

// masker takes our keys out of what providers say: some echo them in an error,
// and a base URL may lead to a server that echoes everything.
type masker struct{ secrets [][]byte } // the longest first

// minMasked is the shortest key that is looked for: a shorter one, as people give
// to servers of their own that ask for none, is found in innocent words.
const minMasked = 8

func newMasker(secrets []string) masker {
	var m masker
	for _, s := range secrets {
		if len(s) >= minMasked {
			m.secrets = append(m.secrets, []byte(s))
		}
	}
	slices.SortFunc(m.secrets, func(a, b []byte) int { return len(b) - len(a) })
	return m
}

// bytes masks in place, so that no length changes.
func (m *masker) bytes(p []byte) {
	for _, s := range m.secrets {
		for rest := p; ; {
			i := bytes.Index(rest, s)
			if i < 0 {
				break
			}
			for j := range s {
				rest[i+j] = '*'
			}
			rest = rest[i+len(s):]
		}
	}
}

func (m *masker) text(s string) string {
	for _, secret := range m.secrets {
		s = strings.ReplaceAll(s, string(secret), "[redacted]")
	}
	return s
}

// begun returns how many bytes at the end of p may be the beginning of a secret.
func (m *masker) begun(p []byte) int {
	most := 0
	for _, s := range m.secrets {
		for n := min(len(s)-1, len(p)); n > most; n-- {
			if p[len(p)-n] == s[0] && bytes.HasPrefix(s, p[len(p)-n:]) {
				most = n
			}
		}
	}
	return most
}

// maskedReader reads from r with the secrets masked. It holds back only what may
// be the beginning of one, which is next to never anything.
type maskedReader struct {
	r    io.Reader
	mask *masker
	held []byte
	err  error
}

// Read is part of io.Reader. p must be longer than every secret.
func (m *maskedReader) Read(p []byte) (int, error) {
	for {
		n := copy(p, m.held)
		m.held = m.held[:0]
		if m.err == nil {
			var got int
			got, m.err = m.r.Read(p[n:])
			n += got
		}
		m.mask.bytes(p[:n])
		keep := n
		if m.err == nil {
			keep -= m.mask.begun(p[:n])
		}
		m.held = append(m.held, p[keep:n]...)
		switch {
		case keep > 0:
			return keep, nil // an error is told by the next call
		case m.err != nil:
			return 0, m.err
		}
	}
}
