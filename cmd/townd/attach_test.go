package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

func TestDetachKeys(t *testing.T) {
	const key = "\x1c"
	for _, tt := range []struct {
		name   string
		typed  []string // reads
		want   string
		detach bool
	}{
		{"none", []string{"ls\r"}, "ls\r", false},
		{"twice", []string{"ab" + key + key + "cd"}, "ab", true},
		{"twice in two reads", []string{"a" + key, key}, "a", true},
		{"once, then another key", []string{key, "x"}, key + "x", false},
		{"once is held back", []string{"a" + key}, "a", false},
		{"not in a row", []string{key + "x" + key + "y"}, key + "x" + key + "y", false},
		{"as kitty sends it", []string{"\x1b[92;5u", "\x1b[92;5u"}, "", true},
		{"another key of kitty", []string{"\x1b[92;5u", "\x1b[93;5u"}, "\x1b[92;5u\x1b[93;5u", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d detachKeys
			var sent []byte
			var detach bool
			for _, p := range tt.typed {
				var send []byte
				send, detach = d.filter([]byte(p))
				sent = append(sent, send...)
			}
			if string(sent) != tt.want || detach != tt.detach {
				t.Errorf("sent %q, detach %v; want %q, %v", sent, detach, tt.want, tt.detach)
			}
		})
	}
}

// person is a terminal with somebody at it.
type person struct {
	*os.File // types here
	screen   *buffer
	tty      *os.File
}

func newPerson(t *testing.T, cols, rows uint16) *person {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err == nil {
		err = pty.Setsize(ptmx, &pty.Winsize{Cols: cols, Rows: rows})
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &person{ptmx, newBuffer(), tty}
	over := make(chan struct{})
	go func() { // ends when the terminal is closed below
		defer close(over)
		b := make([]byte, 4096)
		for {
			n, err := ptmx.Read(b)
			if err != nil {
				return
			}
			_, _ = p.screen.Write(b[:n]) // a buffer takes everything
		}
	}()
	t.Cleanup(func() {
		// A last key ends the goroutine of attach that waits for one; closing the
		// terminal's end then ends the one above.
		_, _ = ptmx.Write([]byte("\n"))
		tty.Close()
		<-over
		ptmx.Close()
	})
	return p
}

func (p *person) attach(ctx context.Context, tt *testTown, args ...string) <-chan int {
	env := tt.env()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"attach"}, args...), stdio{p.tty, p.tty, p.screen, func(name string) string { return env[name] }})
	}()
	return done
}

func (p *person) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := p.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// awaitCols returns when the agent's terminal is so wide. Nothing tells us when
// a size has arrived there, so it asks.
func awaitCols(t *testing.T, tt *testTown, id string, want int) {
	t.Helper()
	var screen struct{ Cols int }
	for end := time.Now().Add(30 * time.Second); screen.Cols != want; time.Sleep(10 * time.Millisecond) {
		if err := json.Unmarshal([]byte(tt.ok("screen", "--json", id)), &screen); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("the terminal has %d columns, want %d", screen.Cols, want)
		}
	}
}

func TestAttachedPersonTypesDetachesAndComesBack(t *testing.T) {
	tt := startTown(t)
	tt.ok("start", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c",
		`echo ready; while read -r line; do echo "[$line] $(stty size)"; done`)

	writer := newPerson(t, 100, 30)
	before, err := term.GetState(int(writer.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	done := writer.attach(t.Context(), tt, "--write", "toast")
	writer.screen.await(t, "ready")
	writer.screen.await(t, "you type")
	writer.types(t, "one\r")
	writer.screen.await(t, "[one] 30 100")

	watcher := newPerson(t, 80, 24)
	watching := watcher.attach(t.Context(), tt, "toast")
	watcher.screen.await(t, "[one] 30 100")
	watcher.screen.await(t, "its terminal is larger, 100x30")
	watcher.types(t, "must not arrive\r")

	writer.types(t, "two\r")
	watcher.screen.await(t, "[two] 30 100")
	if err := pty.Setsize(writer.File, &pty.Winsize{Cols: 90, Rows: 20}); err != nil {
		t.Fatal(err)
	}
	winch(t)
	awaitCols(t, tt, "toast", 90)
	writer.types(t, "three\r")
	writer.screen.await(t, "[three] 20 90")

	// The server is killed under both; they come back where they were.
	greetings := strings.Count(writer.screen.String(), "you type")
	tt.kill()
	tt.serve()
	writer.screen.awaitTimes(t, greetings+1, "you type")
	writer.types(t, "four\r")
	writer.screen.await(t, "[four] 20 90")
	watcher.screen.await(t, "[four] 20 90")

	writer.types(t, "\x1c\x1c")
	if code := <-done; code != 0 {
		t.Errorf("attach --write ended with %d", code)
	}
	writer.screen.await(t, "detached; toast goes on")
	after, err := term.GetState(int(writer.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *before != *after {
		t.Errorf("the terminal was left as %+v, it was %+v", after, before)
	}

	tt.ok("stop", "toast")
	if code := <-watching; code != 0 {
		t.Errorf("attach ended with %d", code)
	}
	watcher.screen.await(t, "toast exited: stopped")
	if got := watcher.screen.String(); strings.Contains(got, "[must not arrive]") {
		t.Error("keys of a read-only viewer arrived")
	}
}

// winch tells this process that its terminal has another size, as the kernel
// tells the processes of a terminal.
func winch(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
}
