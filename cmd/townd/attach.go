package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"townd/api"
	"townd/town"
)

func newAttachCommand(std stdio) *cobra.Command {
	var write bool
	cmd := &cobra.Command{
		Use:   "attach AGENT",
		Short: `Put an agent's terminal on this one; Ctrl-\ twice detaches`,
		Long: `Put an agent's terminal on this one: first its screen as it is, then what it prints.

Any number may watch. With --write what is typed here goes to the agent and its
terminal takes this one's size; the first who attaches so types until they leave,
then the next does. Ctrl-\ pressed twice detaches (without --write Ctrl-C does too)
and the agent goes on. When the server restarts, attach comes back by itself at the
exact byte. What an agent prints stays on the screen: titles, the clipboard, links and
the like are left out.`,
		Args:              agentArg,
		ValidArgsFunction: completeAgents(std, liveAgent),
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			return attach(ctx, std, r, args[0], write)
		}),
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "type, and size the agent's terminal")
	return cmd
}

func attach(ctx context.Context, std stdio, r *remote, id string, write bool) error {
	in, out, err := wholeTerminal(std, "attach", "townd logs -f "+id)
	if err != nil {
		return err
	}
	a, err := r.Agent(ctx, id)
	if err != nil {
		return err
	}
	if structured(a) {
		return fmt.Errorf("%s is no program on a terminal: watch it with townd logs -f %s, talk to it with townd message %s TEXT", a.CLI, id, id)
	}
	saved, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("make the terminal raw: %w", err)
	}
	fmt.Fprint(out, pushTitle)
	v := &viewer{id: id, r: r, out: out, screen: onScreen(out), keys: make(chan []byte), mode: town.TicketRead}
	if write {
		v.mode = town.TicketWrite
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	v.resized = resized

	ctx, cancel := untilTold(ctx)
	go v.read(ctx, in) // ends at the next key: a read of a terminal cannot be cancelled
	exit, err := v.watch(ctx)
	if ctx.Err() != nil {
		err = errDetached
	}
	cancel()
	fmt.Fprint(out, terminalReset+popTitle+"\x1b[999;1H\r\n")
	if restoreErr := term.Restore(int(in.Fd()), saved); err == nil && restoreErr != nil {
		err = fmt.Errorf("restore the terminal: %w", restoreErr)
	}
	switch {
	case errors.Is(err, errDetached):
		fmt.Fprintf(std.err, "detached; %s goes on\n", id)
		return nil
	case err != nil:
		return err
	}
	a.Status, a.Reason, a.ExitCode, a.Signal, a.Error = exit.Status, exit.Reason, exit.ExitCode, exit.Signal, exit.Error
	fmt.Fprintln(std.err, ended(a))
	return nil
}

// Of xterm, tmux and others: they keep the title and give it back.
const (
	pushTitle = "\x1b[22;0t"
	popTitle  = "\x1b[23;0t"
)

var errDetached = errors.New("detached")

// viewer shows one agent on a raw terminal.
type viewer struct {
	id      string
	r       *remote
	out     io.Writer // the terminal, for what we say
	screen  io.Writer // the terminal, for what the agent prints
	mode    town.TicketMode
	keys    chan []byte
	resized <-chan os.Signal
	typing  bool // this viewer is the one who types
	detach  detachKeys
}

func (v *viewer) read(ctx context.Context, in io.Reader) {
	for {
		p := make([]byte, 4096)
		n, err := in.Read(p)
		if err != nil {
			return
		}
		select {
		case v.keys <- p[:n]:
		case <-ctx.Done():
			return
		}
	}
}

// attachRetry is the longest wait between two attempts to come back.
const attachRetry = 2 * time.Second

// watch shows the agent until its run ends. It comes back when the connection
// breaks, and returns errDetached when the detach keys were pressed.
func (v *viewer) watch(ctx context.Context) (api.ExitFrame, error) {
	after, wait := "screen", 100*time.Millisecond
	for {
		s, err := v.r.Stream(ctx, v.id, api.StreamOptions{Mode: v.mode, After: after})
		if err == nil {
			wait = 100 * time.Millisecond
			var exit *api.ExitFrame
			exit, err = v.show(ctx, s)
			_ = s.Close() // it has said what it had to say, or is broken
			if exit != nil {
				return *exit, nil
			}
			after = s.Position()
		}
		var refused *api.Error
		switch {
		case errors.Is(err, errDetached), ctx.Err() != nil:
			return api.ExitFrame{}, err
		case errors.As(err, &refused) && !errors.Is(err, town.ErrUnavailable):
			return api.ExitFrame{}, err
		case errors.Is(err, errGap):
			after = "screen"
		}
		if err := v.pause(ctx, wait); err != nil {
			return api.ExitFrame{}, err
		}
		wait = min(2*wait, attachRetry)
	}
}

// pause waits to come back; meanwhile only the detach keys count.
func (v *viewer) pause(ctx context.Context, d time.Duration) error {
	if d >= attachRetry/2 {
		v.notice("the town does not answer, trying again")
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case p := <-v.keys:
			if _, detach := v.detach.filter(p); detach || v.mode == town.TicketRead && bytes.IndexByte(p, ctrlC) >= 0 {
				return errDetached
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// errGap ends a stream whose bytes no longer draw a screen: some are missing.
var errGap = errors.New("bytes are no longer held")

// show shows one stream. It returns the run's exit, or why the stream ended.
func (v *viewer) show(ctx context.Context, s *api.Stream) (*api.ExitFrame, error) {
	ctx, cancel := context.WithCancel(ctx)
	type message struct {
		api.Message
		err error
	}
	messages := make(chan message)
	over := make(chan struct{})
	go func() { // ends with the stream, or with ctx, which closes the stream
		defer close(over)
		for {
			m, err := s.Next(ctx)
			select {
			case messages <- message{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() { cancel(); <-over }() // only then is s.Position at rest
	v.greet(ctx, s)
	var exit *api.ExitFrame
	for {
		select {
		case m := <-messages:
			if errors.Is(m.err, io.EOF) && exit != nil {
				return exit, nil
			}
			if m.err != nil {
				return nil, m.err
			}
			if frame, ok := m.Frame.(api.ExitFrame); ok {
				exit = &frame
			}
			if err := v.draw(ctx, s, m.Message); err != nil {
				return nil, err
			}
		case p := <-v.keys:
			if err := v.typed(ctx, s, p); err != nil {
				return nil, err
			}
		case <-v.resized:
			v.resize(ctx, s)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// greet says what this viewer may do, and sizes the agent's terminal if it may.
// Keys that were typed while there was no stream are lost, so that nothing blind
// goes into a terminal that has moved on.
func (v *viewer) greet(ctx context.Context, s *api.Stream) {
	v.typing = s.Hello.Mode == town.TicketWrite && !s.Hello.Waiting
	v.resize(ctx, s)
	v.notice(v.help(s))
	fmt.Fprintf(v.out, "\x1b]0;townd: %s\x07", printable(v.id))
}

// draw puts a message of the stream on the terminal.
func (v *viewer) draw(ctx context.Context, s *api.Stream, m api.Message) error {
	switch frame := m.Frame.(type) {
	case nil:
		_, err := v.screen.Write(m.Data)
		return err
	case api.ScreenFrame:
		// A full reset would take the lines with it that this terminal has scrolled up.
		fmt.Fprint(v.screen, terminalReset+"\x1b[2J\x1b[H"+strings.TrimPrefix(frame.Data, "\x1bc"))
		v.notice(v.help(s))
	case api.GapFrame:
		return errGap
	case api.ModeFrame:
		v.typing = frame.Mode == town.TicketWrite
		v.resize(ctx, s)
		v.notice(v.help(s))
	case api.ErrorFrame:
		v.notice(frame.Error)
	}
	return nil
}

func (v *viewer) help(s *api.Stream) string {
	switch {
	case v.typing:
		return `you type; Ctrl-\ twice detaches`
	case v.mode == town.TicketWrite:
		return `another types, you are next; Ctrl-\ twice detaches`
	}
	text := `read-only; Ctrl-\ twice detaches`
	if cols, rows, ok := v.size(); ok && (cols < int(s.Hello.Cols) || rows < int(s.Hello.Rows)) {
		text += fmt.Sprintf("; its terminal is larger, %dx%d", s.Hello.Cols, s.Hello.Rows)
	}
	return text
}

// typed sends keys to the agent.
func (v *viewer) typed(ctx context.Context, s *api.Stream, p []byte) error {
	send, detach := v.detach.filter(p)
	switch {
	case detach, v.mode == town.TicketRead && bytes.IndexByte(p, ctrlC) >= 0:
		return errDetached
	case !v.typing:
		v.notice(v.help(s))
		return nil
	case len(send) == 0:
		return nil
	}
	return s.Input(ctx, send)
}

// resize gives the agent's terminal the size of this one.
func (v *viewer) resize(ctx context.Context, s *api.Stream) {
	if v.mode != town.TicketWrite {
		return
	}
	if cols, rows, ok := v.size(); ok {
		_ = s.Resize(ctx, uint16(cols), uint16(rows)) // a broken stream is noticed by who reads it
	}
}

// notice shows a line on the last row and leaves the cursor where it was. What
// the agent prints next may cover it. It is cut where it would scroll the screen.
func (v *viewer) notice(text string) {
	text = " townd: " + printable(text) + " "
	if cols, _, ok := v.size(); ok {
		text = ansi.Truncate(text, cols, "…")
	}
	fmt.Fprintf(v.out, "\x1b7\x1b[999;1H\x1b[0;7m%s\x1b[0m\x1b8", text)
}

// size is that of the terminal, where there is one.
func (v *viewer) size() (cols, rows int, ok bool) {
	f, ok := v.out.(*os.File)
	if !ok {
		return 0, 0, false
	}
	cols, rows, err := term.GetSize(int(f.Fd()))
	return cols, rows, err == nil && cols > 0 && rows > 0
}

const ctrlC = 0x03

// detachKeys finds the detach key, Ctrl-\, pressed twice in a row.
type detachKeys struct {
	held []byte // the first press, not yet sent
}

// filter returns what of p goes to the agent and whether the key was pressed
// twice. A first press is held back until it is known what follows.
func (d *detachKeys) filter(p []byte) (send []byte, detach bool) {
	for len(p) > 0 {
		if n := ctrlBackslash(p); n > 0 {
			if d.held != nil {
				d.held = nil
				return send, true
			}
			d.held = bytes.Clone(p[:n])
			p = p[n:]
			continue
		}
		send = append(append(send, d.held...), p[0])
		d.held, p = nil, p[1:]
	}
	return send, false
}

// ctrlBackslash returns the length of the key at the start of p, 0 for another:
// one byte, or the sequence of terminals in the kitty keyboard protocol.
func ctrlBackslash(p []byte) int {
	for _, key := range []string{"\x1c", "\x1b[92;5u"} {
		if bytes.HasPrefix(p, []byte(key)) {
			return len(key)
		}
	}
	return 0
}
