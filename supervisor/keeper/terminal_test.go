package keeper

import (
	"errors"
	"slices"
	"testing"
	"time"

	"townd/town"
)

// cookedSpawn is a program on a terminal that collects lines.
func cookedSpawn(t testing.TB, name string) Spawn {
	s := newSpawn(t, program(name)...)
	s.Raw = false
	return s
}

func mustState(t testing.TB, c *Client, run string) Terminal {
	t.Helper()
	st, err := c.Terminal(t.Context(), run, "")
	if err != nil {
		t.Fatalf("Terminal() = %v", err)
	}
	return st
}

func mustInput(t testing.TB, c *Client, run, text string) {
	t.Helper()
	if err := c.Input(t.Context(), run, "", []byte(text)); err != nil {
		t.Fatalf("Input(%q) = %v", text, err)
	}
}

func mustTakeBack(t testing.TB, c *Client, run, want string) {
	t.Helper()
	if p, err := c.TakeBack(t.Context(), run); err != nil || string(p) != want {
		t.Errorf("TakeBack() = %q, %v, want %q", p, err, want)
	}
}

func TestWhatNobodyReadIsTakenBack(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	r := mustSpawn(t, c, cookedSpawn(t, "rest"))
	waitOutput(t, c, r, "ready")
	mustInput(t, c, r.ID, "first\nsecond\nthi")
	want := Terminal{Canonical: true, Echo: true, Unread: 13, Line: 3, Reading: ReadingNo}
	if st := mustState(t, c, r.ID); st != want && st.Reading != ReadingUnknown {
		t.Errorf("Terminal() = %+v, want %+v", st, want)
	}
	mustTakeBack(t, c, r.ID, "first\nsecond\n")
	if st := mustState(t, c, r.ID); st.Unread != 0 || st.Line != 0 || st.Flushes != 0 {
		t.Errorf("Terminal() after TakeBack = %+v, want nothing unread, unfinished or flushed", st)
	}
	mustInput(t, c, r.ID, "rd\n") // the line begins anew
	mustTakeBack(t, c, r.ID, "rd\n")
	mustTakeBack(t, c, r.ID, "")
	if _, err := c.End(t.Context(), r.ID, End{Grace: time.Millisecond}); err != nil {
		t.Error(err)
	}
	if _, err := c.Terminal(t.Context(), r.ID, ""); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Terminal() of an ended run = %v, want conflict", err)
	}
}

func TestKeysAreTakenBackFromARawTerminal(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	r := mustSpawn(t, c, newSpawn(t, program("rest")...))
	waitOutput(t, c, r, "ready")
	mustInput(t, c, r.ID, "keys\x15\r")
	if st := mustState(t, c, r.ID); st.Canonical || st.Echo || st.Unread != 6 || st.Line != 0 {
		t.Errorf("Terminal() = %+v, want 6 keys in raw mode", st)
	}
	mustTakeBack(t, c, r.ID, "keys\x15\r")
}

func TestAProgramThatWaitsForALineIsSeenToRead(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	r := mustSpawn(t, c, cookedSpawn(t, "copy"))
	waitOutput(t, c, r, "ready")
	if mustState(t, c, r.ID).Reading == ReadingUnknown {
		t.Skip("the kernel does not show what a process is blocked in")
	}
	reads := func() bool { return mustState(t, c, r.ID).Reading == ReadingYes }
	if !eventually(10*time.Second, reads) {
		t.Errorf("Terminal() = %+v, want a reader", mustState(t, c, r.ID))
	}
	mustInput(t, c, r.ID, "line\n")
	waitOutput(t, c, r, "line\r\nline\r\n") // the echo, then the program
	if st := mustState(t, c, r.ID); st.Unread != 0 || st.Flushes != 0 {
		t.Errorf("Terminal() = %+v, want the line read", st)
	}
	mustTakeBack(t, c, r.ID, "")
}

// A line that a program throws away unread is never taken for one that it read.
func TestAFlushedLineIsToldFromOneThatWasRead(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	r := mustSpawn(t, c, cookedSpawn(t, "flusher"))
	waitOutput(t, c, r, "ready")
	for i := range 300 {
		mustInput(t, c, r.ID, "line\n")
		var st Terminal
		if !eventually(10*time.Second, func() bool { st = mustState(t, c, r.ID); return st.Unread == 0 }) {
			t.Fatalf("Terminal() = %+v, want nothing unread", st)
		}
		if st.Flushes != int64(i+1) {
			t.Fatalf("Terminal() = %+v after flush %d", st, i+1)
		}
	}
}

func TestAnInputIsKnownByItsID(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	r := mustSpawn(t, c, cookedSpawn(t, "flusher"))
	waitOutput(t, c, r, "ready")
	mustInput(t, c, r.ID, "line\n")
	if !eventually(10*time.Second, func() bool { return mustState(t, c, r.ID).Flushes == 1 }) {
		t.Fatal("the line is not flushed")
	}
	for range 2 { // the second changes nothing
		if err := c.Input(t.Context(), r.ID, "m1", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := c.Terminal(t.Context(), r.ID, "m1"); err != nil || st.Given == nil || st.Given.Flushes != 1 || st.Line != 1 {
		t.Errorf("Terminal(m1) = %+v, %v, want it given after one flush", st, err)
	}
	if st, err := c.Terminal(t.Context(), r.ID, "m2"); err != nil || st.Given != nil {
		t.Errorf("Terminal(m2) = %+v, %v, want it unknown", st, err)
	}
}

func TestAPipeHasNoTerminalToAskAbout(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	s := newSpawn(t, program("rest")...)
	s.PipeInput = true
	r := mustSpawn(t, c, s)
	_, err := c.Terminal(t.Context(), r.ID, "")
	_, err2 := c.TakeBack(t.Context(), r.ID)
	if errs := []error{err, err2}; slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, town.ErrConflict) }) {
		t.Errorf("Terminal(), TakeBack() of a pipe = %v, want conflicts", errs)
	}
}
