// Package forge speaks to the places where pull requests live: GitHub, and Forgejo
// or Gitea. It knows their HTTP APIs as far as a town needs them; it runs no git and
// keeps nothing. The credential is that of the remote, asked for at every call.
//
// Errors are told apart by gitmgr.ErrAuth and gitmgr.ErrDenied for a credential,
// gitmgr.ErrNetwork for a forge that is not reached or not well, a
// *town.CapacityError that says when to come back for one that is asked too often,
// town.ErrNotFound for a repository or pull request that is not there (or that the
// credential may not see), town.ErrConflict for what its state forbids, and
// town.ErrInvalid for what the forge does not take.
package forge

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"townd/gitmgr"
	"townd/town"
)

// Forge is one repository at a forge. It is safe for concurrent use.
type Forge interface {
	// Create opens a pull request. One that is open already for the same head and
	// base is returned as it is: after an answer that was lost, ask again.
	Create(ctx context.Context, p NewPull) (Pull, error)
	// Find returns the open pull request from head into base, ErrNotFound if there is none.
	Find(ctx context.Context, head, base string) (Pull, error)
	// Last returns the open pull request from head into base, else the newest closed or
	// merged one, ErrNotFound if there is none among those that changed last.
	Last(ctx context.Context, head, base string) (Pull, error)
	// DefaultBranch returns the branch that pull requests go into by themselves.
	DefaultBranch(ctx context.Context) (string, error)
	// Update changes what c names.
	Update(ctx context.Context, number int, c Change) (Pull, error)
	// AutoMerge has the forge merge the pull request as soon as it may, at once if it
	// may now, and reports whether it is merged. Asked again it changes nothing.
	AutoMerge(ctx context.Context, number int, s gitmgr.Strategy) (merged bool, err error)
	// Status returns where a pull request stands.
	Status(ctx context.Context, number int) (Status, error)
	// ReviewComments returns what reviewers wrote, oldest first.
	ReviewComments(ctx context.Context, number int) (Comments, error)
}

// Kind is the sort of a forge's API.
type Kind string

const (
	KindGitHub  Kind = "github"
	KindForgejo Kind = "forgejo" // Gitea too
)

// Config says which repository is meant and how it is reached. Remote is required.
type Config struct {
	Remote     string                                      // URL that git clones from; its host is the forge's
	RigID      string                                      // what Credential is asked for
	Kind       Kind                                        // KindGitHub for github.com and KindForgejo elsewhere, when empty
	API        string                                      // base URL of the API, made from Remote when empty
	Credential gitmgr.CredentialFunc                       // its secret is the token; nil for none
	Refused    func(host string, c gitmgr.Credential) bool // see gitmgr.Config.Refused; may be nil
	Client     *http.Client                                // see gitmgr.Manager.HTTPClient; required
}

// NewPull is a pull request to open.
type NewPull struct {
	Head, Base  string // branches of the repository
	Title, Body string
	Draft       bool
}

// Change is what is to be different; nil leaves a field as it is.
type Change struct{ Title, Body, Base *string }

// PullState is whether a pull request is open.
type PullState string

const (
	PullOpen   PullState = "open"
	PullClosed PullState = "closed" // without a merge
	PullMerged PullState = "merged"
)

// Pull is a pull request.
type Pull struct {
	Number      int
	URL         string // for people
	Title       string
	Head, Base  string // branches
	HeadCommit  string
	MergeCommit string // when merged
	State       PullState
	Draft       bool
	Created     bool // by this call
}

// CheckState is how checks ended, one or all.
type CheckState string

const (
	ChecksNone    CheckState = "none" // there are no checks
	ChecksPending CheckState = "pending"
	ChecksPassed  CheckState = "passed"
	ChecksFailed  CheckState = "failed"
)

// Check is one check of a pull request's head.
type Check struct {
	Name  string
	State CheckState
	URL   string // of its log, for people
}

// ReviewState is what reviewers decided.
type ReviewState string

const (
	ReviewNone     ReviewState = "none"
	ReviewApproved ReviewState = "approved"
	ReviewChanges  ReviewState = "changes_requested" // by at least one
)

// Status is where a pull request stands.
type Status struct {
	Pull
	Mergeable bool       // without a conflict, as far as the forge has found out
	Checked   CheckState // of all: failed if one did, else pending if one is
	Checks    []Check
	Review    ReviewState
	Truncated bool // Checks or reviews were too many to ask for all
}

// Comment is what somebody wrote in a review. It is anybody's text.
type Comment struct {
	ID      int64
	Author  string
	Body    string // at most 64 KiB
	Path    string // file that it is about, "" for the whole
	Line    int    // in the new file, 0 for none
	URL     string
	When    time.Time
	Verdict ReviewState // of a review as a whole
}

// Comments are those of a pull request.
type Comments struct {
	List      []Comment
	Truncated bool // there are more
}

// New returns the forge of a repository. It calls nobody yet.
func New(c Config) (Forge, error) {
	if err := gitmgr.CheckURL(c.Remote, []string{"https", "http", "ssh"}); err != nil {
		return nil, fmt.Errorf("forge of remote: %w", err)
	}
	at, err := locate(c.Remote)
	if err != nil {
		return nil, err
	}
	if c.Kind == "" && at.host == "github.com" {
		c.Kind = KindGitHub
	}
	c.Kind = cmp.Or(c.Kind, KindForgejo)
	w := wire{host: at.host, rigID: c.RigID, ask: c.Credential, refused: c.Refused, client: c.Client}
	switch c.Kind {
	case KindGitHub:
		w.scheme, w.base = "Bearer ", cmp.Or(c.API, at.github())
		return &github{wire: w, owner: at.owner, repo: at.repo}, nil
	case KindForgejo:
		w.scheme, w.base = "token ", cmp.Or(c.API, at.site+"/api/v1")
		return &forgejo{wire: w, owner: at.owner, repo: at.repo}, nil
	}
	return nil, fmt.Errorf("forge %q: must be github or forgejo: %w", c.Kind, town.ErrInvalid)
}

// place is where a repository is.
type place struct {
	host        string // of the remote, with its port: whose credential it takes
	site        string // URL of the forge's pages
	owner, repo string
}

// locate parts a remote's URL: …/owner/repo, below a path of the forge if it has one.
func locate(remote string) (place, error) {
	scheme, host, file := "https", "", ""
	if u, err := url.Parse(remote); err == nil && u.Host != "" {
		host, file = u.Host, u.Path
		if u.Scheme == "http" {
			scheme = "http"
		}
		if u.Scheme == "ssh" {
			host = u.Hostname() // its port is not that of HTTP
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
		}
	} else { // [user@]host:path, as CheckURL took it
		_, rest, ok := strings.Cut(remote, "@")
		if !ok {
			rest = remote
		}
		end := strings.Index(rest, ":")
		if i := strings.Index(rest, "]:"); i >= 0 {
			end = i + 1
		}
		host, file = rest[:end], rest[end+1:]
	}
	host = strings.ToLower(host)
	parts := strings.Split(strings.Trim(strings.TrimSuffix(strings.TrimRight(file, "/"), ".git"), "/"), "/")
	n := len(parts)
	if n < 2 || parts[n-1] == "" || parts[n-2] == "" {
		return place{}, fmt.Errorf("remote names no owner and repository: %w", town.ErrInvalid)
	}
	for _, p := range parts {
		if p == "." || p == ".." {
			return place{}, fmt.Errorf("remote's path holds %q: %w", p, town.ErrInvalid)
		}
	}
	if host == "ssh.github.com" {
		host = "github.com" // by another port
	}
	site := url.URL{Scheme: scheme, Host: host}
	if n > 2 {
		site.Path = "/" + strings.Join(parts[:n-2], "/")
	}
	return place{host: host, site: site.String(), owner: parts[n-2], repo: parts[n-1]}, nil
}

// github returns the API of GitHub, or of a server of one's own.
func (p place) github() string {
	if p.host == "github.com" {
		return "https://api.github.com"
	}
	return p.site + "/api/v3"
}

func (n NewPull) check() error {
	for name, branch := range map[string]string{"head": n.Head, "base": n.Base} {
		if err := gitmgr.CheckBranch(branch); err != nil {
			return fmt.Errorf("%s %q: %w", name, branch, err)
		}
	}
	switch {
	case n.Head == n.Base:
		return fmt.Errorf("head %q: is the base: %w", n.Head, town.ErrInvalid)
	case strings.TrimSpace(n.Title) == "":
		return fmt.Errorf("title: must not be empty: %w", town.ErrInvalid)
	}
	return nil
}

// all returns the state of checks together.
func all(checks []Check) CheckState {
	sum := ChecksNone
	for _, c := range checks {
		switch {
		case c.State == ChecksFailed:
			return ChecksFailed
		case c.State == ChecksPending, sum == ChecksNone:
			sum = c.State
		}
	}
	return sum
}

// verdict adds up reviews, oldest first: the last decision of each reviewer counts,
// one that was dismissed is none.
func verdict(reviews []review) ReviewState {
	last := map[string]ReviewState{}
	for _, r := range reviews {
		switch {
		case r.dismissed():
			delete(last, r.User.Login)
		case r.state() != ReviewNone:
			last[r.User.Login] = r.state()
		}
	}
	sum := ReviewNone
	for _, s := range last {
		if s == ReviewChanges {
			return s
		}
		sum = s
	}
	return sum
}
