package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"townd/town"
)

// Input types p into the agent's terminal. It returns ErrConflict for an agent
// that has no terminal: it has ended, or is structured and takes messages.
func (s *Supervisor) Input(ctx context.Context, id string, p []byte) error {
	run, a, err := s.terminal(id)
	if err != nil {
		return err
	}
	if err := s.keeper.client().Input(ctx, run, "", p); err != nil {
		return err
	}
	now := time.Now()
	feed := a.feed.Load()
	feed.touch(now)
	feed.person.note(p, now)
	return nil
}

// Resize sizes the agent's terminal. Each side may be 1 to 1000.
func (s *Supervisor) Resize(ctx context.Context, id string, cols, rows uint16) error {
	if err := town.CheckTerminalSize(cols, rows); err != nil {
		return err
	}
	run, a, err := s.terminal(id)
	if err != nil {
		return err
	}
	if err := s.keeper.client().Resize(ctx, run, cols, rows); err != nil {
		return err
	}
	a.feed.Load().resize(cols, rows)
	return nil
}

// terminal returns the run of an agent that has a terminal.
func (s *Supervisor) terminal(id string) (run string, a *agent, err error) {
	a, err = s.find(id)
	if err != nil {
		return "", nil, err
	}
	view := a.view()
	switch {
	case view.PID == nil:
		return "", nil, fmt.Errorf("agent %s is %s and has no terminal: %w", id, view.Status, town.ErrConflict)
	case a.structured.Load():
		return "", nil, fmt.Errorf("agent %s speaks a protocol, not a terminal; send it a message: %w", id, town.ErrConflict)
	}
	return view.RunID, a, nil
}

// terminalAnswers are what a town's terminal answers to the queries programs
// send. There is one answerer, whatever terminals people watch with: theirs
// would answer once each, and again at every replay. The cursor's position is
// not known here, so the one at home is told.
var terminalAnswers = []struct{ query, answer string }{
	{"\x1b[c", "\x1b[?62;22c"},                              // primary device attributes: VT220 with colour
	{"\x1b[0c", "\x1b[?62;22c"},                             //
	{"\x1b[>c", "\x1b[>1;10;0c"},                            // secondary device attributes
	{"\x1b[>0c", "\x1b[>1;10;0c"},                           //
	{"\x1b[5n", "\x1b[0n"},                                  // device status: in order
	{"\x1b[6n", "\x1b[1;1R"},                                // cursor position
	{"\x1b]10;?\x07", "\x1b]10;rgb:d0d0/d0d0/d0d0\x07"},     // foreground colour
	{"\x1b]10;?\x1b\\", "\x1b]10;rgb:d0d0/d0d0/d0d0\x1b\\"}, //
	{"\x1b]11;?\x07", "\x1b]11;rgb:1010/1010/1010\x07"},     // background colour
	{"\x1b]11;?\x1b\\", "\x1b]11;rgb:1010/1010/1010\x1b\\"}, //
}

// longestQuery bounds what is kept of a query that a chunk's end cut.
const longestQuery = len("\x1b]10;?\x1b\\")

// terminalQueries finds queries in a terminal's output, however it is cut.
// The zero value is ready for use.
type terminalQueries struct{ cut []byte }

// answer returns what to type in answer to the queries that p completes.
func (t *terminalQueries) answer(p []byte) (reply []byte) {
	if len(t.cut) > 0 {
		p = append(t.cut, p...)
		t.cut = nil
	}
	for {
		i := bytes.IndexByte(p, 0x1b)
		if i < 0 {
			return reply
		}
		p = p[i:]
		n, answer, more := matchQuery(p)
		if more {
			t.cut = bytes.Clone(p)
			return reply
		}
		reply = append(reply, answer...)
		p = p[n:]
	}
}

// matchQuery looks for a query at the start of p: n is its length, 1 when there
// is none, and more is set when p may be the beginning of one.
func matchQuery(p []byte) (n int, answer string, more bool) {
	for _, a := range terminalAnswers {
		if bytes.HasPrefix(p, []byte(a.query)) {
			return len(a.query), a.answer, false
		}
		more = more || len(p) < longestQuery && bytes.HasPrefix([]byte(a.query), p)
	}
	return 1, "", more
}
