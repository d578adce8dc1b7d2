package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gitHere makes git independent of the machine's own settings and gives it a name.
func gitHere(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"HOME": t.TempDir(), "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "toast", "GIT_AUTHOR_EMAIL": "toast@town",
		"GIT_COMMITTER_NAME": "toast", "GIT_COMMITTER_EMAIL": "toast@town",
	} {
		t.Setenv(name, value)
	}
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestDemoAgentMakesTheFailingTestPassAndCommits(t *testing.T) {
	gitHere(t)
	dir := filepath.Join(t.TempDir(), "work")
	git(t, ".", "clone", "-q", makeRepository(t), dir)
	if err := exec.Command("sh", "-c", "cd "+dir+" && sh test.sh").Run(); err == nil {
		t.Fatal("the sample's test passes before anybody mended it")
	}
	var out strings.Builder
	a := &demoAgent{dir: dir, fast: true, out: &out, typed: make(chan string, demoQueue)}
	a.typed <- "Write a haiku"
	if err := a.live(t.Context(), sampleTask); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if got, err := exec.Command("sh", "-c", "cd "+dir+" && sh test.sh").CombinedOutput(); err != nil {
		t.Errorf("the test still fails: %v\n%s", err, got)
	}
	wantContains(t, "output", out.String(), "FAIL 'Hello, World!'", "ok   'Hello, World!'", "+   tr -cs", "write write-a-haiku.md", "done in")
	if got, want := git(t, dir, "log", "--format=%s", "origin/main.."), "Add write-a-haiku.md\nslug: squeeze and trim dashes\n"; got != want {
		t.Errorf("commits:\n%swant:\n%s", got, want)
	}
	if got := git(t, dir, "status", "--porcelain"); got != "" {
		t.Errorf("left uncommitted: %s", got)
	}
}

func TestDemoAgentTakesTypedLinesAndEndsBySignal(t *testing.T) {
	gitHere(t)
	dir := filepath.Join(t.TempDir(), "work")
	git(t, ".", "clone", "-q", makeRepository(t), dir)
	out := newBuffer()
	a := &demoAgent{dir: dir, fast: true, stay: true, plain: true, out: out, typed: make(chan string, demoQueue)}
	in, person := io.Pipe()
	listening := make(chan struct{})
	go func() { defer close(listening); a.listen(in) }()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.live(ctx, "Add a changelog") }()
	out.await(t, demoIdle)
	if _, err := io.WriteString(person, "\n  Say hello  \n"); err != nil {
		t.Fatal(err)
	}
	out.await(t, "● noted: Say hello\n")
	out.await(t, "● task: Say hello\n")
	cancel()
	exit, ok := errors.AsType[*exitError](<-ended)
	if !ok || exit.code != exitStopped {
		t.Errorf("ended with %v, want code %d", exit, exitStopped)
	}
	person.Close()
	<-listening
	if _, err := os.Stat(filepath.Join(dir, "add-a-changelog.md")); err != nil {
		t.Error(err)
	}
}

func TestSlug(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"Write a haiku", "write-a-haiku"},
		{"  Ünïcode & more!  ", "n-code-more"},
		{"…", "task"},
		{"", "task"},
		{strings.Repeat("long words ", 10), "long-words-long-words-long-words-long-wo"},
		{"../../etc/passwd", "etc-passwd"},
	} {
		if got := slug(tt.text); got != tt.want {
			t.Errorf("slug(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
