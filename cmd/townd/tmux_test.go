package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"townd/cmd/townd/tmuxtest"
)

// terminal is a real terminal whose shell knows this town.
func (tt *testTown) terminal(cols, rows int) *tmuxtest.Terminal {
	tt.t.Helper()
	self, err := os.Executable()
	if err != nil {
		tt.t.Fatal(err)
	}
	bin := shortDir(tt.t)
	if err := os.Symlink(self, filepath.Join(bin, "townd")); err != nil {
		tt.t.Fatal(err)
	}
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	for name, value := range tt.env() {
		env = append(env, name+"="+value)
	}
	return tmuxtest.New(tt.t, cols, rows, env...)
}

// hostile prints what would act on the terminal of who looks at it.
const hostile = `printf 'a\033]0;OWNED\007b\033]52;c;T1dORUQ=\007c\302\2350;OWNED\302\234d\033kOWNED\033\\e 日本語\r\n'
head -c 10000000 /dev/zero | tr '\0' A; printf '\033[2;40r\033[40;1H\r\nthe end\r\n\r\n\033)0\016\033[?1000h\033[?25l'; exec cat`

// story of the top of a town: who is there, watching one, and a terminal that is
// left as it was, however top ends.
func TestTopOnARealTerminal(t *testing.T) {
	tt := startTown(t)
	for name, script := range map[string]string{"rye": "echo here is rye; exec cat", "toast": "echo here is toast; exec cat", "zeta": hostile} {
		tt.ok("start", "--repo", tt.repo, "--name", name, "--", "sh", "-c", script)
	}
	term := tt.terminal(80, 24)
	title := term.Ask("#{pane_title}")
	term.Run("stty -a >before; townd top; echo ended=$?; stty -a | cmp before - && echo same")
	term.Await("> rye")

	term.Press("j", "Enter")
	term.Await("here is toast")
	term.Await("its terminal is larger")
	term.Resize(40, 12)
	term.Press(`C-\`, `C-\`)
	screen := term.AwaitThat("toast chosen in a narrow window", func(s string) bool {
		return strings.Contains(s, "> toast") && strings.Contains(s, "Enter attach") && strings.Contains(s, "running")
	})
	if strings.Contains(screen, "BRANCH") || !regexp.MustCompile(`AGENT +RIG +IS +COST +AGE\n`).MatchString(screen) {
		t.Errorf("in a narrow window there is\n%s", screen)
	}

	tt.kill()
	term.Await("no town answers")
	tt.serve()
	term.Await("Enter attach")

	term.Resize(80, 24)
	term.Press("j", "Enter")
	term.Await("the end")
	term.Press("C-c")
	term.Await("> zeta")
	term.Press("q")
	term.Await("ended=0\nsame")
	wantUntouched(t, term, "top", title)
}

func TestATerminalIsLeftAsItWas(t *testing.T) {
	tt := startTown(t)
	tt.ok("start", "--repo", tt.repo, "--name", "zeta", "--", "sh", "-c", hostile)
	term := tt.terminal(80, 24)
	title := term.Ask("#{pane_title}")
	slow := `{"version": 2}` + "\n" + `[0, "o", "\u001b[?1049h\u001b[?25ldrawn"]` + "\n" + `[1000, "o", "late"]` + "\n"
	if err := os.WriteFile(filepath.Join(term.Dir, "slow.cast"), []byte(slow), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ command, shown, signal string }{
		{"top", "> zeta", "TERM"},
		{"top", "> zeta", "HUP"},
		{"top", "> zeta", "INT"},
		{"attach zeta", "the end", "TERM"},
		{"attach zeta", "the end", "HUP"},
		{"attach zeta -w", "the end", "TERM"},
		{"logs zeta", "", ""},
		{"logs -f zeta", "the end", "INT"},
		{"play --speed 1000 zeta", "", ""},
		{"play --idle 1h slow.cast", "drawn", "INT"},
	} {
		term.Run(fmt.Sprintf(`stty -a >before; sh -c 'echo $$ >pid; exec townd %s'; echo ended=$?; stty -a | cmp before - && echo same`, tc.command))
		if tc.signal != "" {
			term.Await(tc.shown)
			tell(t, filepath.Join(term.Dir, "pid"), tc.signal)
		}
		term.Await("\nsame\n")
		wantUntouched(t, term, tc.command+" "+tc.signal, title)
		term.Run("clear")
		term.AwaitThat("a clear screen", func(s string) bool { return s == "$\n" })
	}
	term.Run("clear; TERM=dumb townd top; townd top | cat; TERM=dumb townd attach zeta; echo $?")
	screen := term.Await("\n1\n")
	if strings.Contains(screen, "\x1b") || strings.Count(strings.ReplaceAll(screen, "\n", ""), "townd town status") != 2 {
		t.Errorf("a terminal that cannot be drawn on is told\n%s", screen)
	}
}

// tell sends a signal to the process whose id is in a file.
func tell(t *testing.T, file, signal string) {
	t.Helper()
	pid, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("kill", "-"+signal, strings.TrimSpace(string(pid))).CombinedOutput(); err != nil {
		t.Fatalf("kill: %v\n%s", err, out)
	}
}

// wantUntouched fails the test unless the terminal's title, clipboard, cursor,
// screen and mouse are the person's own.
func wantUntouched(t *testing.T, term *tmuxtest.Terminal, by, title string) {
	t.Helper()
	const asked, want = "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{insert_flag} #{wrap_flag} #{scroll_region_upper} #{keypad_flag}", "0 1 0 0 1 0 0"
	if got := term.Ask(asked); got != want {
		t.Errorf("%s left the terminal with %s, want %s for %s", by, got, want, asked)
	}
	if got := term.Ask("#{pane_title}"); got != title {
		t.Errorf("%s left the title %q, it was %q", by, got, title)
	}
	if got := term.Clipboards(); got != "" {
		t.Errorf("%s left in the clipboard: %s", by, got)
	}
}
