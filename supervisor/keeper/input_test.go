package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/town"
)

func TestAMebibyteReachesASlowReaderWhole(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	s := newSpawn(t, program("slow-reader")...)
	s.PipeInput = true
	r := mustSpawn(t, c, s)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Input(ctx, r.ID, "m1", make([]byte, MaxInputBytes)); err != nil {
		t.Fatalf("Input() = %v", err)
	}
	if err := c.Input(ctx, r.ID, "m2", make([]byte, MaxInputBytes+1)); !errors.Is(err, town.ErrTooLarge) {
		t.Errorf("Input() of too much = %v, want too large", err)
	}
	for range 2 {
		if err := c.CloseInput(ctx, r.ID); err != nil {
			t.Errorf("CloseInput() = %v", err)
		}
	}
	if err := c.Input(ctx, r.ID, "m3", []byte("x")); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Input() after CloseInput = %v, want conflict", err)
	}
	waitExit(t, c, r.ID)
	if got := string(output(t, r.Transcript)); !strings.HasSuffix(got, "got 1048576\n") {
		t.Errorf("the program read %q", got)
	}
}

func TestFirstInputReachesASlowReaderThoughNobodyWaits(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	s := newSpawn(t, program("slow-reader")...)
	s.PipeInput, s.Stdin, s.CloseStdin = true, make([]byte, MaxInputBytes), true
	r := mustSpawn(t, c, s)
	waitExit(t, c, r.ID)
	if got := string(output(t, r.Transcript)); !strings.HasSuffix(got, "got 1048576\n") {
		t.Errorf("the program read %q", got)
	}
}

func TestInputTellsHowMuchWentIn(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	for _, pipe := range []bool{true, false} {
		s := newSpawn(t, program("rest")...) // never reads
		s.PipeInput = pipe
		r := mustSpawn(t, c, s)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := c.Input(ctx, r.ID, "m", make([]byte, MaxInputBytes))
		cancel()
		partial, ok := errors.AsType[*PartialInputError](err)
		if !ok || partial.Written <= 0 || partial.Total != MaxInputBytes {
			t.Errorf("pipe %v: Input() = %v, want a part of it in", pipe, err)
		}
		for i := range 100 { // the kernel moves what a terminal was given on in its own time, and has room once more
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			err = c.Input(ctx, r.ID, fmt.Sprint("n", i), make([]byte, 4096))
			cancel()
			if errors.Is(err, town.ErrUnavailable) {
				break
			}
		}
		if !errors.Is(err, town.ErrUnavailable) {
			t.Errorf("pipe %v: Input() = %v when nothing goes in any more, want unavailable", pipe, err)
		}
		if _, err := c.End(t.Context(), r.ID, End{Signal: syscall.SIGKILL}); err != nil {
			t.Error(err)
		}
		if err := c.Input(t.Context(), r.ID, "o", []byte("x")); !errors.Is(err, town.ErrConflict) {
			t.Errorf("pipe %v: Input() of an ended run = %v, want conflict", pipe, err)
		}
	}
}

func TestTheEndOfARunEndsItsPendingInputs(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	for _, pipe := range []bool{true, false} {
		s := newSpawn(t, program("rest")...)
		s.PipeInput = pipe
		r := mustSpawn(t, c, s)
		waitOutput(t, c, r, "ready")
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				if err := c.Input(t.Context(), r.ID, fmt.Sprint(i), make([]byte, MaxInputBytes)); err == nil {
					t.Errorf("pipe %v: Input() = nil though nobody read it", pipe)
				}
			})
		}
		if _, err := c.End(t.Context(), r.ID, End{Signal: syscall.SIGKILL}); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

func TestTheSameInputIDGoesInOnce(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	s := newSpawn(t, program("copy")...)
	s.PipeInput = true
	r := mustSpawn(t, c, s)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := c.Input(t.Context(), r.ID, "one", []byte("once\n")); err != nil {
				t.Errorf("Input() = %v", err)
			}
		})
	}
	wg.Wait()
	for range 2 { // without an id each goes in
		if err := c.Input(t.Context(), r.ID, "", []byte("twice\n")); err != nil {
			t.Errorf("Input() = %v", err)
		}
	}
	if err := c.CloseInput(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
	waitExit(t, c, r.ID)
	if got, want := string(output(t, r.Transcript)), "ready\nonce\ntwice\ntwice\n"; got != want {
		t.Errorf("came in: %q, want %q", got, want)
	}
}

func TestALineThatTheTerminalWouldCutIsRefused(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	s := newSpawn(t, "/bin/sh", "-c", "stty -echo; echo ready; while read -r line; do echo ${#line}; done")
	s.Raw = false
	r := mustSpawn(t, c, s)
	waitOutput(t, c, r, "ready")
	if err := c.CloseInput(t.Context(), r.ID); !errors.Is(err, town.ErrConflict) {
		t.Errorf("CloseInput() of a terminal = %v, want conflict", err)
	}
	x := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	for _, tc := range []struct {
		input []byte
		kind  error
	}{
		{append(x(4095), '\n'), nil},                                 // the longest
		{x(4096), town.ErrTooLarge},                                  // no end yet, but too long already
		{append(x(4096), '\n'), town.ErrTooLarge},                    //
		{append(append(x(100), '\n'), x(4096)...), town.ErrTooLarge}, // the second line
		{x(4000), nil},            // an unfinished line …
		{x(96), town.ErrTooLarge}, // … grows too long
		{append(x(95), '\r'), nil},
		{bytes.Repeat(append(x(999), '\n'), 50), nil}, // much, in short lines
	} {
		if err := c.Input(t.Context(), r.ID, "", tc.input); !errors.Is(err, tc.kind) {
			t.Errorf("Input(%d bytes) = %v, want %v", len(tc.input), err, tc.kind)
		}
	}
	if err := c.Input(t.Context(), r.ID, "", []byte{4}); err != nil { // end of file
		t.Error(err)
	}
	waitExit(t, c, r.ID)
	want := "ready\r\n4095\r\n4095\r\n" + strings.Repeat("999\r\n", 50)
	if got := string(output(t, r.Transcript)); got != want {
		t.Errorf("the shell read lines of %q, want %q", got, want)
	}
}

func TestOnlySoManyInputsWait(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	s := newSpawn(t, program("rest")...)
	s.PipeInput = true
	r := mustSpawn(t, c, s)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	full := make(chan struct{}, 200)
	var wg sync.WaitGroup
	for range maxWaiting + 10 {
		wg.Go(func() {
			if err := c.Input(ctx, r.ID, "", make([]byte, 128<<10)); errors.Is(err, town.ErrCapacity) {
				full <- struct{}{}
			}
		})
	}
	wg.Wait()
	if n := len(full); n == 0 || n > 10 {
		t.Errorf("%d inputs were refused, want 1 to 10", n)
	}
}
