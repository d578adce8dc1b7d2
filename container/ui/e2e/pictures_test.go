package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"townd/cmd/townd/tmuxtest"
	"townd/container/ui/e2e/steps"
)

var update = flag.Bool("update", false, "write the pictures and screens of docs/ instead of only making them")

const docs = "../../../docs"

// TestPicturesOfTheDocs makes the pictures of README.md and docs/, and the screens
// of a terminal there, at a town at work. Without -update they are thrown away.
func TestPicturesOfTheDocs(t *testing.T) {
	s := newScene(t)
	t.Run("dashboard", s.pictures)
	t.Run("terminal", s.screens)
}

// pictures takes those of the dashboard.
func (s *scene) pictures(t *testing.T) {
	dir := t.TempDir()
	fonts := filepath.Join(dir, "fonts.conf")
	if err := os.WriteFile(fonts, []byte(fontSettings), 0o600); err != nil {
		t.Fatal(err)
	}
	if *update {
		dir = filepath.Join(docs, "pictures")
	}
	steps.Run(t, "pictures.mjs", patience, "TOWND_URL="+s.url(), "TOWND_TOKEN="+token, "PICTURES="+dir,
		"AGENT="+s.agentAt(couponTitle), "FONTCONFIG_FILE="+fonts)
}

// fontSettings prefer Roboto where it is installed: a machine without a desktop has
// only fonts that nobody reads a page in.
const fontSettings = `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <match><test name="family"><string>sans-serif</string></test><edit name="family" mode="prepend" binding="strong"><string>Roboto</string></edit></match>
  <match><test name="family"><string>system-ui</string></test><edit name="family" mode="prepend" binding="strong"><string>Roboto</string></edit></match>
</fontconfig>
`

// screens puts what commands show on a terminal into the pages that show it.
func (s *scene) screens(t *testing.T) {
	term := tmuxtest.New(t, 110, 25, append(s.env, "PATH="+filepath.Dir(s.program)+":"+os.Getenv("PATH"))...)
	term.Run("clear; townd top")
	top := term.AwaitThat("agents", func(screen string) bool {
		return strings.Contains(screen, "asks:") && strings.Contains(screen, "Enter attach") && strings.Contains(screen, "watcher")
	})
	s.show(t, "townd top", top)
	term.Press("q")
	term.AwaitThat("the shell again", func(screen string) bool { return strings.HasSuffix(screen, "$\n") })
	term.Resize(110, 50)
	for i, command := range []string{"townd town status", "townd bead ls"} {
		over := fmt.Sprint("over ", i)
		term.Run(fmt.Sprintf("clear; %s; echo over '%d'", command, i))
		screen, _, _ := strings.Cut(term.Await(over), over)
		s.show(t, command, screen)
	}
}

// show writes a screen of a command into the part of the page that is marked for it.
func (s *scene) show(t *testing.T, command, screen string) {
	t.Helper()
	begin, end := "<!-- make pictures: "+command+" -->\n```\n", "```\n<!-- end -->\n"
	path := filepath.Join(docs, "dashboard.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no part between %q and %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+screen+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
