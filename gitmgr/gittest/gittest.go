// Package gittest makes real remotes for tests and benchmarks: a bare repository
// with files and commits, reachable by file:// and by HTTP through git's own
// http-backend, with passwords and faults on request.
package gittest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Options say what a new repository holds. The zero value is one commit with one
// small file on main.
type Options struct {
	Files     int    // per commit tree, default 1; spread over directories of 100
	FileBytes int    // of each, default 180
	Commits   int    // default 1; each but the first changes one file
	Branch    string // default branch, default "main"
	Empty     bool   // no commit at all
}

// Remote is a bare repository that plays a remote.
type Remote struct {
	Path   string // of the bare repository
	Branch string // its default branch
	t      testing.TB
}

// New makes a remote below t's temporary directory.
func New(t testing.TB, o Options) *Remote {
	t.Helper()
	return NewAt(t, filepath.Join(t.TempDir(), "remote.git"), o)
}

// NewAt makes a remote at path.
func NewAt(t testing.TB, path string, o Options) *Remote {
	t.Helper()
	if o.Branch == "" {
		o.Branch = "main"
	}
	r := &Remote{Path: path, Branch: o.Branch, t: t}
	run(t, "", nil, "init", "--quiet", "--bare", "--initial-branch="+o.Branch, path)
	if !o.Empty {
		r.Import(script(o))
	}
	return r
}

// URL returns the file:// URL of the repository.
func (r *Remote) URL() string { return "file://" + r.Path }

// Git runs git in the repository and returns what it prints, without the last
// newline. A failure ends the test.
func (r *Remote) Git(args ...string) string {
	r.t.Helper()
	return run(r.t, r.Path, nil, args...)
}

// Commit puts one file with text on a branch, which is made if it is not there,
// and returns the commit.
func (r *Remote) Commit(branch, file, text string) string {
	r.t.Helper()
	var from string
	for _, ref := range []string{"refs/heads/" + branch, "refs/heads/" + r.Branch} {
		if r.has(ref) {
			from = "from " + ref + "^0\n"
			break
		}
	}
	r.Import(fmt.Sprintf("commit refs/heads/%s\ncommitter Somebody <somebody@example.com> now\ndata 6\ncommit\n%sM 100644 inline %s\ndata %d\n%s\n",
		branch, from, quote(file), len(text), text), "--date-format=now")
	return r.Git("rev-parse", "refs/heads/"+branch)
}

// Import feeds git fast-import.
func (r *Remote) Import(stream string, args ...string) {
	r.t.Helper()
	run(r.t, r.Path, []byte(stream), append([]string{"fast-import", "--quiet", "--force"}, args...)...)
}

func (r *Remote) has(ref string) bool {
	cmd := Command(r.Path, "show-ref", "--verify", "--quiet", ref)
	return cmd.Run() == nil
}

// Command returns git with an environment of its own, that no configuration of
// this machine reaches.
func Command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = Env()
	return cmd
}

// Env returns the environment of Command: a person with a name and no settings.
func Env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_TERMINAL_PROMPT=0", "GIT_AUTHOR_NAME=Tester", "GIT_AUTHOR_EMAIL=tester@example.com",
		"GIT_COMMITTER_NAME=Tester", "GIT_COMMITTER_EMAIL=tester@example.com",
	}
}

func run(t testing.TB, dir string, stdin []byte, args ...string) string {
	t.Helper()
	cmd := Command(dir, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// script writes o as a fast-import stream: the same options give the same commits.
func script(o Options) string {
	var b strings.Builder
	files, size := max(o.Files, 1), o.FileBytes
	if size == 0 {
		size = 180
	}
	when := 1_700_000_000
	for c := range max(o.Commits, 1) {
		fmt.Fprintf(&b, "commit refs/heads/%s\ncommitter Somebody <somebody@example.com> %d +0000\ndata <<.\ncommit %d\n.\n", o.Branch, when+c, c)
		changed := files
		if c > 0 {
			changed = 1
		}
		for i := range changed {
			n := (c + i) % files
			text := strings.Repeat(fmt.Sprintf("file %d commit %d line of text\n", n, c), size/20+1)[:size]
			fmt.Fprintf(&b, "M 100644 inline dir%03d/file%05d.txt\ndata %d\n%s\n", n/100, n, len(text), text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func quote(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(path) + `"`
}
