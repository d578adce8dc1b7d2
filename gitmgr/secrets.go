package gitmgr

import (
	"bytes"
	"io"
	"os"
	"path"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// maxScanBytes is how much of a file is searched for secrets.
const maxScanBytes = 4 << 20

// secretNames are the files that programs keep their secrets in, as path.Match
// takes them; an example of one is none.
var (
	secretNames = []string{
		".env", ".env.*", "*.env", ".netrc", "_netrc", ".git-credentials", ".pgpass", ".pypirc", ".htpasswd",
		"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx",
	}
	exampleNames = []string{"*.example", "*.sample", "*.template", "*.dist", "*.defaults", "example.env", "sample.env"}
)

// secretShapes are credentials that can be known by their form. What contains none
// of the words is not searched further: that is ten times as fast.
var secretShapes = []struct {
	word    string
	pattern *regexp.Regexp
	what    string
}{
	{"PRIVATE KEY", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----\s+[A-Za-z0-9+/=:, -]{16}`), "a private key"},
	{"AKIA", regexp.MustCompile(`\bAKIA[0-9A-Z]{16}\b`), "an AWS key"},
	{"ASIA", regexp.MustCompile(`\bASIA[0-9A-Z]{16}\b`), "an AWS key"},
	{"gh", regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{36}`), "a GitHub token"},
	{"github_pat_", regexp.MustCompile(`\bgithub_pat_[A-Za-z0-9_]{50}`), "a GitHub token"},
	{"glpat-", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20}`), "a GitLab token"},
	{"xox", regexp.MustCompile(`\bxox[abprs]-[A-Za-z0-9-]{20}`), "a Slack token"},
	{"sk-", regexp.MustCompile(`\bsk-(ant-|or-|proj-)?[A-Za-z0-9_-]{32}`), "a model provider's key"},
	{"AIza", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}`), "a Google key"},
	{"npm_", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}`), "an npm token"},
	{"pypi-", regexp.MustCompile(`\bpypi-[A-Za-z0-9_-]{80}`), "a PyPI token"},
	{"_live_", regexp.MustCompile(`\b[rs]k_live_[A-Za-z0-9]{20}`), "a Stripe key"},
	{"hf_", regexp.MustCompile(`\bhf_[A-Za-z0-9]{34}`), "a Hugging Face token"},
}

// secretIn says what secret a file holds, by its name or its beginning, "" for none.
func secretIn(name string, b []byte) string {
	base := strings.ToLower(path.Base(name))
	if !matchesAny(exampleNames, base) && matchesAny(secretNames, base) {
		return "a file for secrets by its name"
	}
	for _, s := range secretShapes {
		if bytes.Contains(b, []byte(s.word)) && s.pattern.Match(b) {
			return "holds " + s.what
		}
	}
	return ""
}

func matchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return false
}

// LeftOut is a file that a checkpoint does not hold.
type LeftOut struct {
	Path string `json:"path"`
	Why  string `json:"why"` // for people
}

// maxLeftOut is how many files left out are named; more are counted.
const maxLeftOut = 200

// sieve looks at files of a worktree before they are saved.
type sieve struct {
	dir        *os.File // of the worktree
	file, left int64    // bytes that one file may have, and all together still
	out        []LeftOut
}

// look decides on one changed or new file, and reports whether it may be saved. It is an
// agent's: no link is followed and nothing but a plain file is opened.
func (s *sieve) look(name string) bool {
	f, err := openBeneath(s.dir, name)
	if err != nil {
		return true // a link, a pipe, deleted, a directory: nothing of it could be a secret's text
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return true
	}
	switch {
	case fi.Size() > s.file:
		s.out = append(s.out, LeftOut{name, "too large"})
		return false
	case fi.Size() > s.left:
		s.out = append(s.out, LeftOut{name, "beyond what a checkpoint may hold"})
		return false
	}
	b, err := io.ReadAll(io.LimitReader(f, maxScanBytes))
	if why := secretIn(name, b); why != "" && err == nil {
		s.out = append(s.out, LeftOut{name, why})
		return false
	}
	s.left -= fi.Size()
	return true
}

// openBeneath opens the file at a path of plain directories below dir.
func openBeneath(dir *os.File, name string) (*os.File, error) {
	parts := strings.Split(name, "/")
	at := int(dir.Fd())
	for i, part := range parts {
		if part == "" || part == "." || part == ".." {
			return nil, os.ErrInvalid
		}
		flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
		if i < len(parts)-1 {
			flags |= unix.O_DIRECTORY
		}
		fd, err := unix.Openat(at, part, flags, 0)
		if at != int(dir.Fd()) {
			_ = unix.Close(at)
		}
		if err != nil {
			return nil, err
		}
		at = fd
	}
	return os.NewFile(uintptr(at), name), nil
}
