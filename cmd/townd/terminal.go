package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"
)

// terminalOf returns the file behind r or w when that is a terminal, else nil.
func terminalOf(stream any) *os.File {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}

// terminalReset undoes what a full-screen program may have left behind when its
// output was cut: alternate screen, hidden cursor and its shape, mouse and paste
// reports, application keys, character sets, insertion, wrapping, margins, colours.
// The cursor stays where it is: who leaves the alternate screen without having
// entered it has it where it was when somebody did, and margins move it too.
const terminalReset = "\x1b[?1049h\x1b[?1049l\x1b[?25h\x1b[0 q\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l" +
	"\x1b[?1l\x1b>\x1b[<u\x1b[>4m\x0f\x1b(B\x1b)B\x1b[4l\x1b[20l\x1b[?7h\x1b7\x1b[r\x1b8\x1b[0m"

// wholeTerminal returns the terminal of a command that draws on all of it, or an
// error that names what to use instead.
func wholeTerminal(std stdio, command, instead string) (in, out *os.File, err error) {
	in, out = terminalOf(std.in), terminalOf(std.out)
	switch {
	case in == nil || out == nil:
		return nil, nil, fmt.Errorf("%s needs a terminal; without one use: %s", command, instead)
	case std.getenv("TERM") == "dumb":
		return nil, nil, fmt.Errorf("%s cannot draw on this terminal, whose TERM is dumb; use: %s", command, instead)
	}
	return in, out, nil
}

// untilTold ends with ctx, and when this process is told to end, by one of more too:
// a command that has changed its terminal puts it back first.
func untilTold(ctx context.Context, more ...os.Signal) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, append(more, syscall.SIGTERM, syscall.SIGHUP)...)
}

// colour is the parameter of an SGR sequence.
type colour string

const (
	normal colour = ""
	bold   colour = "1"
	dim    colour = "2"
	red    colour = "31"
	green  colour = "32"
	cyan   colour = "36"
)

// paint returns text in the colour.
func (c colour) paint(text string) string {
	if c == normal {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// progress tells on a terminal that something takes time: what, and for how long
// already. It says nothing for what is over within progressDelay.
type progress struct {
	w    io.Writer
	once sync.Once
	quit chan struct{}
	over chan struct{}
}

const progressDelay = 400 * time.Millisecond

// newProgress shows what() until done is called. Without a terminal it shows nothing.
func newProgress(w io.Writer, what func() string) *progress {
	p := &progress{w: w, quit: make(chan struct{}), over: make(chan struct{})}
	if terminalOf(w) == nil {
		close(p.over)
		return p
	}
	go p.show(what) // ends when done is called
	return p
}

func (p *progress) show(what func() string) {
	defer close(p.over)
	begin, shown := time.Now(), false
	tick := time.NewTicker(progressDelay)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintf(p.w, "\r\x1b[K%s … %.0fs", what(), time.Since(begin).Seconds())
			shown = true
		case <-p.quit:
			if shown {
				fmt.Fprint(p.w, "\r\x1b[K")
			}
			return
		}
	}
}

// done clears the line. It may be called more than once.
func (p *progress) done() {
	p.once.Do(func() { close(p.quit) })
	<-p.over
}
