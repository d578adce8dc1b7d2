package typing_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"townd/supervisor/screen"
	"townd/supervisor/typing"
	"townd/town"
)

// scripted is a terminal of no program: a line editor that acts at once, and what
// the kernel would say of it.
type scripted struct {
	state      typing.State
	line       string
	submitted  []string
	size       int64
	typedUntil time.Time // a person types until then
	eat        int       // Enters
}

func (s *scripted) Input(_ context.Context, _ string, p []byte) error {
	for _, c := range string(p) {
		switch {
		case c == '\r' && s.eat > 0:
			s.eat--
		case c == '\r':
			s.submitted, s.line = append(s.submitted, s.line), ""
		case c == 0x15:
			s.line = ""
		default:
			s.line += string(c)
		}
	}
	s.size++
	return nil
}

func (s *scripted) TakeBack(context.Context) ([]byte, error) { return nil, nil }

func (s *scripted) State(context.Context, string) (typing.State, error) { return s.state, nil }

func (s *scripted) Screen(context.Context) (screen.Screen, error) {
	var lines []string
	for _, l := range s.submitted {
		lines = append(lines, "you said "+l)
	}
	lines = append(lines, "> "+s.line)
	return screen.Screen{Offset: 1 + s.size, Cols: 80, Rows: 24, Lines: lines, CursorX: 2 + len(s.line), CursorY: len(lines) - 1}, nil
}

func (s *scripted) Printed(ctx context.Context, after int64) (int64, error) {
	if 1+s.size > after {
		return 1 + s.size, nil
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

func (s *scripted) Person() (time.Time, bool) {
	if now := time.Now(); now.Before(s.typedUntil) {
		return now, true
	}
	return s.typedUntil, false
}

func TestAMessageWaitsUntilThePersonRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &scripted{typedUntil: began.Add(20 * time.Second)}
		err := typing.Type(t.Context(), s, "hello", typing.Options{})
		if took := time.Since(began); err != nil || took < 23*time.Second || took > 24*time.Second {
			t.Errorf("Type() = %v after %v, want it 3 s after the person's last key, and little more", err, took)
		}
		s.typedUntil = time.Now().Add(time.Hour)
		err = typing.Type(t.Context(), s, "hello", typing.Options{})
		if not, ok := errors.AsType[*typing.NotDelivered](err); !ok || !strings.Contains(not.Reason, "a person") || len(s.submitted) != 1 {
			t.Errorf("Type() = %v, want it given up for a person", err)
		}
	})
}

func TestEnterIsPressedAgainOnlyWhileTheTextStands(t *testing.T) {
	for _, tc := range []struct {
		eat   int
		least time.Duration
	}{{0, 0}, {1, time.Second}, {2, 3 * time.Second}, {3, 6 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			s := &scripted{eat: tc.eat}
			err := typing.Type(t.Context(), s, "hello", typing.Options{})
			if took := time.Since(began); err != nil || took < tc.least || took > tc.least+time.Second || len(s.submitted) != 1 {
				t.Errorf("%d Enters swallowed: Type() = %v after %v, submitted %q", tc.eat, err, took, s.submitted)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{eat: 100}
		err := typing.Type(t.Context(), s, "hello", typing.Options{})
		if _, ok := errors.AsType[*typing.NotDelivered](err); !ok || len(s.submitted) != 0 || s.line != "" {
			t.Errorf("Type() = %v, submitted %q, left %q; want it not delivered and erased", err, s.submitted, s.line)
		}
	})
}

func TestWhatCannotBeTypedIsRefused(t *testing.T) {
	for _, tc := range []struct {
		text  string
		state typing.State
		kind  error
	}{
		{"\x1b[A\x07 \n", typing.State{}, town.ErrInvalid},
		{"two\nlines", typing.State{}, town.ErrInvalid}, // no pastes: a line feed may be Enter
		{strings.Repeat("x", 4096), typing.State{Canonical: true}, town.ErrTooLarge},
		{"hello", typing.State{Canonical: true, Line: 3}, town.ErrUnavailable}, // somebody's unfinished line
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &scripted{state: tc.state}
			err := typing.Type(t.Context(), s, tc.text, typing.Options{})
			if _, ok := errors.AsType[*typing.NotDelivered](err); !ok || !errors.Is(err, tc.kind) || s.size != 0 {
				t.Errorf("Type(%.20q) = %v after %d inputs, want %v and nothing typed", tc.text, err, s.size, tc.kind)
			}
		})
	}
}

func TestInterruptKeysAreThoseOfTheProgram(t *testing.T) {
	for program, want := range map[string]string{
		"/usr/bin/claude": "\x1b", "codex": "\x1b", "/x/gemini.js": "\x1b", "opencode.exe": "\x1b \x1b", "bash": "\x03", "unknown": "",
	} {
		if got := strings.Join(typing.InterruptKeys(program), " "); got != want {
			t.Errorf("InterruptKeys(%q) = %q, want %q", program, got, want)
		}
	}
}

func TestUnfinishedTextIsTold(t *testing.T) {
	for _, tc := range []struct {
		before bool
		keys   string
		want   bool
	}{
		{false, "ls", true},
		{false, "ls\r", false},
		{true, "\x1b[A\x1b[<0;1;1M", true}, // keys that move and point
		{false, "\x1b[A", false},
		{true, "\x15", false},
		{true, "\x03", false},
		{false, "\x1b[200~pasted\x1b[201~", true},
	} {
		if got := typing.Unfinished(tc.before, []byte(tc.keys)); got != tc.want {
			t.Errorf("Unfinished(%v, %q) = %v", tc.before, tc.keys, got)
		}
	}
}
