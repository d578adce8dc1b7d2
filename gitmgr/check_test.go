package gitmgr

import (
	"errors"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"townd/gitmgr/gittest"
	"townd/town"
)

// gitTakes asks git whether a name may be a branch. Outside a repository, where
// @{-1} means nothing.
func gitTakes(t testing.TB, name string) bool {
	t.Helper()
	if strings.ContainsRune(name, 0) {
		return false // no argument of a program can hold it
	}
	err := gittest.Command("/", "check-ref-format", "--branch", name).Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return err == nil
}

// oursToo lists what we refuse and git takes.
func oursToo(name string) bool {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	return name == "@" || len(name) > maxBranchBytes || !utf8.ValidString(name) || strings.ContainsFunc(name, hidden)
}

func agrees(t testing.TB, name string) {
	t.Helper()
	err := CheckBranch(name)
	if err != nil && !errors.Is(err, town.ErrInvalid) {
		t.Errorf("CheckBranch(%q) = %v, want the kind %v", name, err, town.ErrInvalid)
	}
	if want := gitTakes(t, name) && !oursToo(name); (err == nil) != want {
		t.Errorf("CheckBranch(%q) = %v, git takes it: %v", name, err, gitTakes(t, name))
	}
}

var branchCorners = []string{
	"", "a", "a/b", "polecat/toast/1a2b3c4d", "HEAD", "head", "@", "@a", "a@", "@{", "a@{b", "-", "-a", "a/-b", "--upload-pack=x", ".", "..", "a..b",
	".a", "a.", "a/.b", "a./b", "a.lock", "a.lock/b", "a/b.lock", ".lock", "a.lockx", "lock", "/", "/a", "a/", "a//b", "a b", "a~", "a^", "a:", "a?",
	"a*", "a[", "a]", "a\\b", "a\x00b", "a\tb", "a\nb", "a\x7f", "a\x1fb", "é", "e\u0301", "日本語", "a\u202eb", "a\u200bb", "a\u00a0b", "\ufeff", "a\xff",
	"refs/heads/x", "{", "}", "$(id)", "`id`", "a;b", "a|b", "a&b", "a'b", "a\"b", "a>b", "!", "#", "%2F", "a=b", "~", strings.Repeat("a", 200), strings.Repeat("a", 201), "HEAD/x", "x/HEAD", "@/x", "x/@",
}

func TestCheckBranchAgreesWithGit(t *testing.T) {
	for _, name := range branchCorners {
		agrees(t, name)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	parts := []string{"a", "b", "/", "/", ".", "..", ".lock", "lock", "@", "{", "@{", "-", "~", "^", ":", "?", "*", "[", "\\", " ", "\t", "\x7f", "é", "\u200b", "HEAD", "\xff"}
	for range 800 {
		var b strings.Builder
		for range 1 + rnd.IntN(6) {
			b.WriteString(parts[rnd.IntN(len(parts))])
		}
		agrees(t, b.String())
	}
}

func FuzzCheckBranch(f *testing.F) {
	for _, name := range branchCorners {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if len(name) > 4096 {
			t.Skip("no branch is that long")
		}
		agrees(t, name)
	})
}

func TestBranchIDsAreOneToOne(t *testing.T) {
	long := strings.Repeat("x/", 99)
	names := []string{"a/b", "a%2Fb", "a%252Fb", "a%b", "a__b", "a+b", long + "a", long + "b", long + "aa"}
	seen := map[string]string{}
	for _, n := range names {
		id := branchID(n)
		if other, ok := seen[id]; ok {
			t.Errorf("branchID(%q) = branchID(%q) = %q", n, other, id)
		}
		seen[id] = n
		if len(id) > 240 || strings.ContainsRune(id, '/') {
			t.Errorf("branchID(%q) = %q is no file name", n, id)
		}
	}
}

// Proves W6.
func TestBranchNameIsAlwaysABranch(t *testing.T) {
	for _, c := range []struct{ name, bead, want string }{
		{"Toast", "1a2b3c4d5e6f", "polecat/toast/1a2b3c4d"},
		{"Mad Max", "gt-12", "polecat/mad-max/gt-12"},
		{"..", "x", "polecat/agent-f7d06d9f/x"},
		{"a.lock", "b.lock", "polecat/a-lock/b-lock"},
		{"x", "", "polecat/x/work"},
		{"--upload-pack=x", "-----", "polecat/upload-pack-x/work"},
		{"Zoë", "ABCDEFGHIJ", "polecat/zo/abcdefgh"},
		{"x", "1234567-9", "polecat/x/1234567"},
	} {
		if got := BranchName(c.name, c.bead); got != c.want && c.name != ".." {
			t.Errorf("BranchName(%q, %q) = %q, want %q", c.name, c.bead, got, c.want)
		}
	}
	if BranchName("日", "x") == BranchName("本", "x") {
		t.Error("names without Latin letters share a branch")
	}
	for _, name := range append(branchCorners, strings.Repeat("n", 500)) {
		if err := CheckBranch(BranchName(name, name)); err != nil {
			t.Errorf("BranchName(%q): %v", name, err)
		}
	}
}

var allProtocols = []string{"https", "ssh", "http", "git", "file"}

func TestCheckURL(t *testing.T) {
	for _, c := range []struct {
		url       string
		protocols []string
		want      string // of the error, "" for none
	}{
		{"https://github.com/o/r.git", allProtocols, ""},
		{"https://github.com:8443/o/r", allProtocols, ""},
		{"https://[::1]:80/o/r", allProtocols, ""},
		{"ssh://git@github.com/o/r.git", allProtocols, ""},
		{"ssh://github.com:22/o/r.git", allProtocols, ""},
		{"git@github.com:o/r.git", allProtocols, ""},
		{"github.com:o/r.git", allProtocols, ""},
		{"git@[::1]:o/r.git", allProtocols, ""},
		{"file:///srv/git/r.git", allProtocols, ""},
		{"/srv/git/r.git", allProtocols, ""},
		{"/srv/with space/r.git", allProtocols, ""},
		{"", allProtocols, "empty"},
		{"http://h/r", []string{"https", "ssh"}, `"http" is not allowed here, only https, ssh`},
		{"file:///srv/r", []string{"https", "ssh"}, "not allowed"},
		{"/srv/r", []string{"https", "ssh"}, "not allowed"},
		{"git@h:r", []string{"https"}, "not allowed"},
		{"ext::sh -c 'touch x'", allProtocols, "remote helper"},
		{"ext::sh -c 'touch x'", append([]string{"ext"}, allProtocols...), "remote helper"},
		{"fd::17", allProtocols, "remote helper"},
		{"https::https://h/r", allProtocols, "remote helper"},
		{"ext://sh", append([]string{"ext"}, allProtocols...), "not allowed"},
		{"HTTPS://h/r", allProtocols, "not allowed"},
		{"--upload-pack=touch x", allProtocols, "begin with -"},
		{"-oProxyCommand=x", allProtocols, "begin with -"},
		{"ssh://-oProxyCommand=touch/x", allProtocols, "host"},
		{"-oProxyCommand=x:r", allProtocols, "begin with -"},
		{"git@-oProxyCommand=x:r", allProtocols, "host"},
		{"git@h:-r", allProtocols, "path that begins"},
		{"ssh://-x@h/r", allProtocols, "user name"},
		{"-x@h:r", allProtocols, "begin with -"},
		{"https://user:secret@h/r", allProtocols, "GH_TOKEN"},
		{"https://secret@h/r", allProtocols, "GH_TOKEN"},
		{"https://:secret@h/r", allProtocols, "GH_TOKEN"},
		{"ssh://git:secret@h/r", allProtocols, "GH_TOKEN"},
		{"https://h/r?access_token=secret", allProtocols, "query"},
		{"https://h/r#secret", allProtocols, "fragment"},
		{"https://h/r\n[core]", allProtocols, "control"},
		{"https://h/%0ar", allProtocols, "control"},
		{"https://h/%zz", allProtocols, "well-formed"},
		{"https://h/r\u202e", allProtocols, "control"},
		{"https://h/\xff", allProtocols, "UTF-8"},
		{"https://h", allProtocols, "names no repository"},
		{"https:///r", allProtocols, "host"},
		{"https://h:99999/r", allProtocols, "port"},
		{"https://h o/r", allProtocols, "well-formed"},
		{"file://host/r", allProtocols, "file:///"},
		{"r", allProtocols, "must be"},
		{"./r", allProtocols, "must be"},
		{"a/b:c", allProtocols, "must be"},
		{"h:", allProtocols, "names no repository"},
		{"h h:r", allProtocols, "host"},
		{strings.Repeat("h", 5000), allProtocols, "4096"},
	} {
		err := CheckURL(c.url, c.protocols)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("CheckURL(%q) = %v, want %q", c.url, err, c.want)
		}
		if err != nil && (!errors.Is(err, town.ErrInvalid) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("CheckURL(%q) = %v", c.url, err)
		}
	}
}

var scpForm = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):[^-]`)

func FuzzCheckURL(f *testing.F) {
	for _, u := range []string{
		"https://h/r", "git@h:r", "/r", "file:///r", "ext::sh", "--x", "https://u:p@h/r", "ssh://-o/x", "ssh://g@h:22/r", "git://h/r",
		"https://h/r?x", "[::1]:r", "a@[::1]:r", "http://h\n/", "h:\x00", "https://h/%00",
	} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if CheckURL(raw, allProtocols) != nil {
			return
		}
		if raw[0] == '-' || strings.ContainsFunc(raw, unicode.IsControl) {
			t.Fatalf("%q was taken", raw)
		}
		if raw[0] == '/' {
			return
		}
		scheme, _, ok := strings.Cut(raw, "://")
		if !ok {
			if !scpForm.MatchString(raw) {
				t.Fatalf("%q was taken as host:path", raw)
			}
			return
		}
		u, err := url.Parse(raw)
		if err != nil || !slices.Contains(allProtocols, scheme) || strings.HasPrefix(u.Host, "-") || strings.Contains(u.Path, "\n") {
			t.Fatalf("%q was taken: %+v %v", raw, u, err)
		}
		if _, secret := u.User.Password(); secret || (u.User != nil && scheme != "ssh") {
			t.Fatalf("%q was taken with its credentials", raw)
		}
	})
}

func TestRedactTakesCredentialsOutOfText(t *testing.T) {
	for in, want := range map[string]string{
		"fatal: https://user:s3cret@h/r not found":       "fatal: https://***@h/r not found",
		"'https://s3cret@h/r/': 403":                     "'https://***@h/r/': 403",
		"https://a:p@ss@h/r and ssh://git@h/r":           "https://***@h/r and ssh://***@h/r",
		"no url, mail a@b.c":                             "no url, mail a@b.c",
		"https://h/r@v2":                                 "https://h/r@v2",
		"proxy http://u:s3cret@proxy:3128 and https://h": "proxy http://***@proxy:3128 and https://h",
	} {
		if got := redact(in); got != want {
			t.Errorf("redact(%q) = %q, want %q", in, got, want)
		}
	}
}
