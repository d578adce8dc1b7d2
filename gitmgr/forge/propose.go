package forge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"townd/gitmgr"
	"townd/town"
)

// What becomes of a branch that is proposed, besides what may become of a merge.
const (
	StatusPullRequest gitmgr.MergeStatus = "pull_request" // it is open
	StatusClosed      gitmgr.MergeStatus = "closed"       // somebody closed it without a merge, and the branch is as it was then
)

// ProposalsConfig says how pull requests are made. Git and Merge are required.
type ProposalsConfig struct {
	Git        *gitmgr.Manager
	Merge      func(context.Context, gitmgr.MergeRequest) (gitmgr.MergeResult, error) // as Git's, gates and all
	Credential gitmgr.CredentialFunc
	Refused    func(host string, c gitmgr.Credential) bool
	Kinds      map[string]Kind   // of forges by host, where New does not guess right
	APIs       map[string]string // base URLs by host, likewise
}

// Proposals makes branches of rigs into pull requests at the forges of their remotes.
// It is safe for concurrent use.
type Proposals struct {
	c     ProposalsConfig
	pause time.Duration // between looks for a push that the forge has not seen yet
}

const (
	headLooks = 5
	headPause = time.Second
)

// NewProposals returns Proposals. They call nobody yet.
func NewProposals(c ProposalsConfig) *Proposals { return &Proposals{c: c, pause: headPause} }

// Propose brings a branch to its remote and opens a pull request for it, or brings the
// one that is open up to date with r. Conflicts with the target are looked for and gates
// run before anything is pushed. Asked again it goes on from what is there: what was
// merged meanwhile is told as gitmgr.MergeDone with the commit, what somebody closed as
// StatusClosed, until the branch has new commits. What the forge refuses is told as
// what the remote refuses. The other errors are those of gitmgr's Merge, ErrInvalid
// for a remote that is at no forge, and ErrConflict or ErrInvalid of the forge.
func (p *Proposals) Propose(ctx context.Context, q gitmgr.MergeRequest, r town.Proposal) (gitmgr.MergeResult, *town.PullRequest, error) {
	x := &proposal{Proposals: p, q: q, r: r}
	err := x.run(ctx)
	if status, known := statusOf(err); known {
		x.res.Status, x.res.Message = status, err.Error()
	} else if err != nil {
		return gitmgr.MergeResult{}, nil, fmt.Errorf("pull request for %s of rig %s: %w", q.Branch, q.RigID, err)
	}
	return x.res, x.pull, nil
}

// statusOf turns what a forge failed at into an answer.
func statusOf(err error) (gitmgr.MergeStatus, bool) {
	var limit *town.CapacityError
	switch {
	case errors.Is(err, gitmgr.ErrAuth), errors.Is(err, gitmgr.ErrDenied), errors.Is(err, gitmgr.ErrRepository):
		return gitmgr.MergeAuth, true
	case errors.Is(err, town.ErrGit), errors.As(err, &limit):
		return gitmgr.MergeNetwork, true
	}
	return "", false
}

// whose adds to the error of a forge that knows of no such thing whose it may be.
func whose(err error) error {
	if errors.Is(err, town.ErrNotFound) {
		return fmt.Errorf("%w: %w", err, gitmgr.ErrRepository)
	}
	return err
}

// proposal is one branch on its way.
type proposal struct {
	*Proposals
	q     gitmgr.MergeRequest
	r     town.Proposal
	forge Forge
	last  Pull // from an earlier time; Number is 0 for none
	res   gitmgr.MergeResult
	pull  *town.PullRequest
}

func (x *proposal) run(ctx context.Context) (err error) {
	if err := x.look(ctx); err != nil {
		return err
	}
	ended := x.last.State == PullMerged || x.last.State == PullClosed
	if x.q.Publish = true; ended {
		x.q.Settled = x.last.HeadCommit
	}
	x.q.DeleteBranch = x.q.DeleteBranch && x.last.State == PullMerged
	x.res, err = x.c.Merge(ctx, x.q)
	switch {
	case errors.Is(err, town.ErrNotFound) && x.last.State == PullMerged: // and the branch deleted
		x.res = gitmgr.MergeResult{Target: x.q.Target, Head: x.last.HeadCommit, Attempts: 1}
		return x.ended(ctx)
	case err != nil:
		return err
	case x.res.Status == gitmgr.MergeNothing && ended: // since then
		return x.ended(ctx)
	case x.res.Status == gitmgr.MergePublished:
		return x.open(ctx)
	}
	return nil // what stands in the way is in the result
}

// look finds the forge and what became of the branch there before.
func (x *proposal) look(ctx context.Context) (err error) {
	if x.forge, err = x.at(x.q.RigID, x.q.URL); err != nil {
		return err
	}
	if x.q.Target == "" {
		if x.q.Target, err = x.forge.DefaultBranch(ctx); err != nil {
			return whose(err)
		}
	}
	x.last, err = x.forge.Last(ctx, x.q.Branch, x.q.Target)
	if errors.Is(err, town.ErrNotFound) {
		return nil
	}
	return err
}

// at returns the forge of a rig's remote.
func (p *Proposals) at(rigID, remote string) (Forge, error) {
	if remote == "" {
		var err error
		if remote, err = p.c.Git.RemoteURL(rigID); err != nil {
			return nil, err
		}
	}
	if err := p.c.Git.CheckURL(remote); err != nil {
		return nil, fmt.Errorf("git url: %w", err)
	}
	c := Config{Remote: remote, RigID: rigID, Credential: p.c.Credential, Refused: p.c.Refused, Client: p.c.Git.HTTPClient()}
	if at, err := locate(remote); err == nil {
		c.Kind, c.API = p.c.Kinds[at.host], p.c.APIs[at.host]
	}
	return New(c)
}

// ended tells of a pull request that was merged or closed.
func (x *proposal) ended(ctx context.Context) error {
	s, err := x.forge.Status(ctx, x.last.Number)
	if err != nil {
		return whose(err)
	}
	x.tell(s)
	return nil
}

// tell makes the state of the pull request the result.
func (x *proposal) tell(s Status) {
	x.pull = wordsOf(s)
	switch s.State {
	case PullMerged:
		x.res.Status, x.res.Commit = gitmgr.MergeDone, s.MergeCommit
		x.res.Message = fmt.Sprintf("pull request %d is merged into %s", s.Number, s.Base)
	case PullClosed:
		x.res.Status, x.res.Message = StatusClosed, fmt.Sprintf("pull request %d was closed without a merge", s.Number)
	case PullOpen:
		x.res.Status, x.res.Message = StatusPullRequest, fmt.Sprintf("pull request %d is open", s.Number)
	}
}

// open opens the pull request or brings it up to date.
func (x *proposal) open(ctx context.Context) error {
	title := cmp.Or(x.r.Title, strings.TrimSpace(x.res.Subject), x.q.Branch)
	made, err := x.forge.Create(ctx, NewPull{Head: x.q.Branch, Base: x.res.Target, Title: title, Body: x.r.Body, Draft: x.r.Draft})
	if err == nil && !made.Created {
		err = x.update(ctx, made)
	}
	if err != nil {
		return whose(err)
	}
	s, seen, err := x.await(ctx, made.Number)
	if err != nil {
		return whose(err)
	}
	x.tell(s)
	switch {
	case !x.r.AutoMerge || s.State != PullOpen:
		return nil
	case !seen:
		x.res.Message += "; not set to merge by itself: the forge has not seen the push yet, ask again"
		return nil
	}
	return x.autoMerge(ctx, s)
}

// update changes the title and the text that differ from what is asked for.
func (x *proposal) update(ctx context.Context, have Pull) error {
	var c Change
	if title := x.r.Title; title != "" && strings.TrimPrefix(have.Title, draftPrefix) != title {
		if strings.HasPrefix(have.Title, draftPrefix) {
			title = draftPrefix + title
		}
		c.Title = &title
	}
	if x.r.Body != "" {
		c.Body = &x.r.Body
	}
	if c == (Change{}) {
		return nil
	}
	_, err := x.forge.Update(ctx, have.Number, c)
	return err
}

// await returns where a pull request stands when the forge has seen the commit that
// was pushed, which may take it a moment, or after a while when it has not.
func (x *proposal) await(ctx context.Context, number int) (s Status, seen bool, err error) {
	for n := 1; ; n++ {
		if s, err = x.forge.Status(ctx, number); err != nil {
			return s, false, err
		}
		if s.HeadCommit == x.res.Head || n == headLooks {
			return s, s.HeadCommit == x.res.Head, nil
		}
		select {
		case <-ctx.Done():
			return s, false, context.Cause(ctx)
		case <-time.After(x.pause):
		}
	}
}

// autoMerge has the forge merge the pull request. That it does not leaves it open.
func (x *proposal) autoMerge(ctx context.Context, s Status) error {
	merged, err := x.forge.AutoMerge(ctx, s.Number, x.q.Strategy)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		x.res.Message += "; not set to merge by itself: " + err.Error()
		return nil
	}
	x.pull.AutoMerge = true
	if !merged {
		x.res.Message += " and merges by itself when it may"
		return nil
	}
	if s, err = x.forge.Status(ctx, s.Number); err != nil {
		return whose(err)
	}
	x.tell(s)
	x.pull.AutoMerge = true
	return nil
}

// PullRequest returns where the pull request of a rig's branch stands, the open one or
// else the newest, and what reviewers wrote. An empty target is the forge's default
// branch. It returns ErrNotFound where there is none, ErrInvalid for a remote that is
// at no forge, and the kinds of a remote that failed.
func (p *Proposals) PullRequest(ctx context.Context, rigID, branch, target string) (town.PullRequest, error) {
	x := &proposal{Proposals: p, q: gitmgr.MergeRequest{RigID: rigID, Branch: branch, Target: target}}
	err := x.look(ctx)
	if err == nil && x.last.Number == 0 {
		err = fmt.Errorf("there is none into %s: %w", x.q.Target, town.ErrNotFound)
	}
	var s Status
	if err == nil {
		s, err = x.forge.Status(ctx, x.last.Number)
	}
	var comments Comments
	if err == nil {
		comments, err = x.forge.ReviewComments(ctx, x.last.Number)
	}
	if err != nil {
		return town.PullRequest{}, fmt.Errorf("pull request of %s of rig %s: %w", branch, rigID, err)
	}
	out := wordsOf(s)
	out.Truncated = out.Truncated || comments.Truncated
	for _, c := range comments.List {
		out.Comments = append(out.Comments, town.ReviewComment{
			Author: c.Author, Body: c.Body, Path: c.Path, Line: c.Line, URL: c.URL, When: c.When, Verdict: string(c.Verdict),
		})
	}
	return *out, nil
}

// wordsOf is a status in the words of the town.
func wordsOf(s Status) *town.PullRequest {
	out := &town.PullRequest{
		Number: s.Number, URL: s.URL, Title: s.Title, State: string(s.State), Draft: s.Draft, Branch: s.Head, Target: s.Base, Head: s.HeadCommit,
		MergeCommit: s.MergeCommit, Mergeable: s.Mergeable, Checked: string(s.Checked), Checks: make([]town.Check, 0, len(s.Checks)),
		Review: string(s.Review), Truncated: s.Truncated,
	}
	for _, c := range s.Checks {
		out.Checks = append(out.Checks, town.Check{Name: c.Name, State: string(c.State), URL: c.URL})
	}
	return out
}
