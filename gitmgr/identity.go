package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"townd/town"
)

// Identity is a person in a commit. The zero value is nobody.
type Identity struct{ Name, Email string }

// String returns the identity as commits have it: Name <mail>.
func (i Identity) String() string {
	if i == (Identity{}) {
		return ""
	}
	return i.Name + " <" + i.Email + ">"
}

// ParseIdentity reads Name <mail>. It returns ErrInvalid for what git would change or
// leave out, and for what is no address.
func ParseIdentity(s string) (Identity, error) {
	name, rest, ok := strings.Cut(s, "<")
	email, end, closed := strings.Cut(rest, ">")
	i := Identity{strings.TrimSpace(name), email}
	local, domain, _ := strings.Cut(i.Email, "@")
	var err error
	switch {
	case !ok || !closed || strings.TrimSpace(end) != "":
		err = errors.New("must be written as Name <mail>")
	case identity(i.Name) == "" || identity(i.Name) != strings.TrimRight(i.Name, "."):
		err = errors.New("the name must not be empty, and not begin or end with punctuation")
	case local == "" || domain == "" || strings.ContainsAny(i.Email, " \t,;:\"\\()") || strings.Contains(domain, "@") || identity(i.Email) != i.Email:
		err = errors.New("the mail must be an address as you@example.com")
	}
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", err, town.ErrInvalid)
	}
	return i, nil
}

const (
	coAuthorKey  = "Co-authored-by: "
	maxCoAuthors = 20
)

// coAuthors returns who committed what the branch has beyond the target, first to
// last, without the author of the merge and who makes it.
func (g *merging) coAuthors(ctx context.Context) (all []string, err error) {
	out := &entries{each: func(who []byte) {
		name, email, _ := strings.Cut(string(who), "\n")
		i := Identity{identity(name), identity(email)}
		known := i.Name == "" || i.Email == "" || i.Email == g.Author.Email || i.Email == g.Email
		if line := coAuthorKey + i.String(); !known && len(all) < maxCoAuthors && !slices.Contains(all, line) {
			all = append(all, line)
		}
	}}
	_, err = g.local(ctx, command{stdout: out, args: []string{
		"log", "-z", "--reverse", "--no-merges", "--format=tformat:%cn%n%ce", g.result.Base + ".." + g.result.Head, "--",
	}})
	return all, err
}

var trailerLine = regexp.MustCompile(`^[A-Za-z0-9-]+: `)

// withTrailers puts lines at the end of a message, into its last paragraph if that
// holds such lines only.
func withTrailers(message string, lines []string) string {
	message = strings.TrimRight(message, "\n")
	between := "\n\n"
	isText := func(line string) bool { return !trailerLine.MatchString(line) }
	if i := strings.LastIndex(message, "\n\n"); i >= 0 && !slices.ContainsFunc(strings.Split(message[i+2:], "\n"), isText) {
		between = "\n"
	}
	for _, line := range lines {
		if !strings.Contains(message+"\n", "\n"+line+"\n") {
			message, between = message+between+line, "\n"
		}
	}
	return message
}
