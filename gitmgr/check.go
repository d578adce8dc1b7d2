package gitmgr

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"townd/town"
)

// maxBranchBytes keeps a branch's lock file, its path and its reflog within what
// file systems take.
const maxBranchBytes = 200

// CheckBranch returns an ErrInvalid that says what is wrong with a branch name,
// nil for a good one. It holds every rule of git check-ref-format --branch, and
// refuses besides: "@", which git reads as HEAD; more than 200 bytes; bytes that
// are not UTF-8; and characters that do not print, which hide what a name is.
func CheckBranch(name string) error {
	if why := badBranch(name); why != "" {
		return fmt.Errorf("%s: %w", why, town.ErrInvalid)
	}
	return nil
}

func badBranch(name string) string {
	switch {
	case name == "":
		return "must not be empty"
	case len(name) > maxBranchBytes:
		return fmt.Sprintf("is %d bytes, the most is %d", len(name), maxBranchBytes)
	case name == "HEAD", name == "@":
		return "is git's name for what is checked out"
	case name[0] == '-':
		return "must not begin with -"
	case strings.HasSuffix(name, "."):
		return "must not end with ."
	case strings.Contains(name, ".."):
		return "must not contain .."
	case strings.Contains(name, "@{"):
		return "must not contain @{"
	case !utf8.ValidString(name):
		return "must be valid UTF-8"
	}
	for _, r := range name {
		if strings.ContainsRune(" ~^:?*[\\", r) {
			return fmt.Sprintf("must not contain %q", r)
		}
		if !unicode.IsPrint(r) {
			return fmt.Sprintf("must not contain the invisible character %U", r)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return "must not begin or end with / or contain //"
		case part[0] == '.':
			return "must not have a part that begins with ."
		case strings.HasSuffix(part, ".lock"):
			return "must not have a part that ends with .lock"
		}
	}
	return ""
}

var commitPattern = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// CheckStartPoint returns an ErrInvalid that says what is wrong with the name of a
// commit, nil for a good one: a branch, a tag, either with its full refs/ name, or a
// hash, without the rest of git's revision syntax.
func CheckStartPoint(s string) error {
	if s == "" || commitPattern.MatchString(s) {
		return nil
	}
	return CheckBranch(s)
}

// BranchName returns the branch of a polecat's work on a bead,
// polecat/<name>/<first 8 of the bead>, with whatever a branch may not hold
// replaced. A name without letters or digits becomes a short hash of itself.
func BranchName(name, beadID string) string {
	bead := slug(beadID)
	if len(bead) > 8 {
		bead = strings.TrimRight(bead[:8], "-")
	}
	if bead == "" {
		bead = "work"
	}
	who := slug(name)
	if len(who) > 64 {
		who = strings.TrimRight(who[:64], "-")
	}
	if who == "" {
		sum := sha256.Sum256([]byte(name))
		who = "agent-" + hex.EncodeToString(sum[:4])
	}
	return "polecat/" + who + "/" + bead
}

// slug keeps a-z, 0-9 and _, and puts one - where anything else was.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	return strings.TrimRight(b.String(), "-")
}

var knownProtocols = map[string]bool{"https": true, "ssh": true, "http": true, "git": true, "file": true}

var (
	remoteHelper = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.-]*::`)
	hostPattern  = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])$`)
	userPattern  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
)

// CheckURL returns an ErrInvalid that says what is wrong with a remote's URL, nil
// for one that git may be given. Besides URLs it takes the scp-like form
// git@host:path, which is ssh, and absolute paths, which are file. It refuses
// protocols that are not listed, and credentials: those do not belong in a URL.
func CheckURL(raw string, protocols []string) error {
	if why := badURL(raw, protocols); why != "" {
		return fmt.Errorf("%s: %w", why, town.ErrInvalid)
	}
	return nil
}

func badURL(raw string, protocols []string) string {
	switch {
	case raw == "":
		return "must not be empty"
	case len(raw) > 4096:
		return fmt.Sprintf("is %d bytes, the most is 4096", len(raw))
	case raw[0] == '-':
		return "must not begin with -"
	case !utf8.ValidString(raw):
		return "must be valid UTF-8"
	case strings.ContainsFunc(raw, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }):
		return "must not contain control or invisible characters"
	case remoteHelper.MatchString(raw):
		return "must not name a remote helper (::)"
	case raw[0] == '/':
		return badProtocol("file", protocols)
	}
	scheme, _, ok := strings.Cut(raw, "://")
	if !ok {
		return badSCP(raw, protocols)
	}
	if why := badProtocol(scheme, protocols); why != "" {
		return why
	}
	u, err := url.Parse(raw)
	if err != nil { // the error quotes the URL, which may hold a password
		return "is not a well-formed URL"
	}
	return badParts(scheme, u)
}

func badProtocol(scheme string, protocols []string) string {
	if !knownProtocols[scheme] || !slices.Contains(protocols, scheme) {
		return fmt.Sprintf("protocol %q is not allowed here, only %s", scheme, strings.Join(protocols, ", "))
	}
	return ""
}

func badParts(scheme string, u *url.URL) string {
	password := false
	user := ""
	if u.User != nil {
		user = u.User.Username()
		_, password = u.User.Password()
	}
	host, port := u.Hostname(), u.Port()
	switch {
	case u.User != nil && (scheme != "ssh" || password):
		return "must not contain credentials; give them to the town as GH_TOKEN"
	case u.User != nil && !userPattern.MatchString(user):
		return "has a user name that ssh would not take"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "must not have a query or fragment"
	case strings.ContainsFunc(u.Path, unicode.IsControl):
		return "must not contain control characters"
	case scheme == "file" && u.Host != "":
		return "must be file:/// and an absolute path"
	case u.Path == "" || u.Path == "/":
		return "names no repository"
	case scheme == "file":
		return ""
	case strings.HasPrefix(u.Host, "["):
		host = "[" + host + "]"
	}
	if !hostPattern.MatchString(host) {
		return "has no usable host"
	}
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
		return "has a port that is not 1 to 65535"
	}
	return ""
}

// badSCP checks [user@]host:path, with git's own rule that a slash before the
// first colon makes it a local path.
func badSCP(raw string, protocols []string) string {
	authority, file, ok := strings.Cut(raw, ":")
	if strings.HasPrefix(raw, "[") || strings.Contains(authority, "@[") {
		if end := strings.Index(raw, "]:"); end >= 0 {
			authority, file, ok = raw[:end+1], raw[end+2:], true
		}
	}
	if !ok || strings.Contains(authority, "/") {
		return "must be https://host/path, ssh://host/path, git@host:path or an absolute path"
	}
	if why := badProtocol("ssh", protocols); why != "" {
		return why
	}
	user, host, named := strings.Cut(authority, "@")
	if !named {
		user, host = "git", authority
	}
	switch {
	case !userPattern.MatchString(user):
		return "has a user name that ssh would not take"
	case !hostPattern.MatchString(host):
		return "has no usable host"
	case file == "" || file == "/":
		return "names no repository"
	case file[0] == '-':
		return "has a path that begins with -"
	}
	return ""
}

// sameRemote reports whether two URLs name one repository: git servers take
// theirs with and without .git and a last slash.
func sameRemote(a, b string) bool {
	trim := func(s string) string { return strings.TrimSuffix(strings.TrimRight(s, "/"), ".git") }
	return trim(a) == trim(b)
}

// branchID names a branch as one path segment, one to one, so that it can be a
// file name and the id of git's administrative directory of its worktree.
func branchID(branch string) string {
	id := escape(branch)
	if len(id) <= maxBranchBytes {
		return id
	}
	sum := sha256.Sum256([]byte(branch)) // ids with a hash are longer than any without: no two branches share one
	return id[:maxBranchBytes] + "%" + hex.EncodeToString(sum[:16])
}

func escape(branch string) string {
	return strings.NewReplacer("%", "%25", "/", "%2F").Replace(branch)
}

// unescape tells people which branch an id stands for.
func unescape(id string) string {
	return strings.NewReplacer("%2F", "/", "%25", "%").Replace(id)
}

// CheckURL is the function of that name with the protocols allowed here.
func (m *Manager) CheckURL(raw string) error { return CheckURL(raw, m.c.Protocols) }
