// Package tmuxtest is a real terminal with a shell on it, and somebody who types:
// tmux with a server of its own, whose configuration no one has.
package tmuxtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long Await waits: the machine may be busy.
const patience = 2 * time.Minute

// Terminal is one terminal, without tmux's own line. It is for one test.
type Terminal struct {
	Dir    string // where the shell is, empty at first
	t      testing.TB
	socket string
	env    []string
}

// New opens a terminal of that size, on which a shell runs with just this
// environment and a prompt of "$ ". It skips the test where there is no tmux.
func New(t testing.TB, cols, rows int, env ...string) *Terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed")
	}
	dir, err := os.MkdirTemp("/tmp", "tmux-") //nolint:usetesting // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	term := &Terminal{t: t, Dir: t.TempDir(), socket: filepath.Join(dir, "s"), env: append([]string{"LC_ALL=C.UTF-8"}, env...)}
	term.tmux("-f", "/dev/null", "new-session", "-d", "-c", term.Dir, "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows), "PS1='$ ' exec sh", ";",
		"set", "-g", "status", "off", ";", "set", "-s", "set-clipboard", "on", ";", "set", "-g", "window-size", "manual")
	t.Cleanup(func() {
		term.tmux("kill-server")
		_ = os.RemoveAll(dir)
	})
	term.Resize(cols, rows)
	term.Await("$")
	return term
}

// tmux calls tmux and returns what it prints.
func (term *Terminal) tmux(args ...string) string {
	term.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", term.socket, "-u"}, args...)...)
	cmd.Env = term.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		term.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// Run types a line to the shell and presses Enter.
func (term *Terminal) Run(line string) {
	term.t.Helper()
	term.tmux("send-keys", "-l", line)
	term.Press("Enter")
}

// Press presses keys as tmux names them: q, Enter, C-c.
func (term *Terminal) Press(keys ...string) {
	term.t.Helper()
	term.tmux(append([]string{"send-keys"}, keys...)...)
}

// Resize gives the terminal another size.
func (term *Terminal) Resize(cols, rows int) {
	term.t.Helper()
	term.tmux("resize-window", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows))
}

// Screen returns what is to be seen, without blanks at the ends of lines and of the screen.
func (term *Terminal) Screen() string {
	term.t.Helper()
	return strings.TrimRight(term.tmux("capture-pane", "-p"), "\n") + "\n"
}

// Ask returns a value of tmux's, as #{pane_title} or #{alternate_on}.
func (term *Terminal) Ask(format string) string {
	term.t.Helper()
	return strings.TrimSpace(term.tmux("display-message", "-p", format))
}

// Clipboards returns what was copied.
func (term *Terminal) Clipboards() string {
	term.t.Helper()
	return term.tmux("list-buffers")
}

// Await waits until text is to be seen and returns the screen then.
func (term *Terminal) Await(text string) string {
	term.t.Helper()
	return term.AwaitThat(fmt.Sprintf("%q", text), func(screen string) bool { return strings.Contains(screen, text) })
}

// AwaitThat waits until the screen is as wanted and returns it.
func (term *Terminal) AwaitThat(what string, ok func(screen string) bool) string {
	term.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // a screen has no event
		screen := term.Screen()
		if ok(screen) {
			return screen
		}
		if time.Now().After(deadline) {
			term.t.Fatalf("the terminal did not come to show %s within %v:\n%s", what, patience, screen)
		}
	}
}
