package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"townd/gitmgr"
	"townd/town"
)

// forgejo is a repository at a Forgejo or a Gitea.
type forgejo struct {
	wire
	owner, repo string
}

func (f *forgejo) path(format string, args ...any) string {
	return "/repos/" + url.PathEscape(f.owner) + "/" + url.PathEscape(f.repo) + fmt.Sprintf(format, args...)
}

// draftPrefix of a title makes a pull request a draft there.
const draftPrefix = "WIP: "

// Create implements Forge.
func (f *forgejo) Create(ctx context.Context, p NewPull) (Pull, error) {
	if err := p.check(); err != nil {
		return Pull{}, fmt.Errorf("create pull request: %w", err)
	}
	title := p.Title
	if p.Draft {
		title = draftPrefix + title
	}
	in := map[string]any{"title": title, "head": p.Head, "base": p.Base, "body": p.Body}
	return create(ctx, &f.wire, f, p, f.path("/pulls"), in)
}

// Find implements Forge.
func (f *forgejo) Find(ctx context.Context, head, base string) (Pull, error) {
	return find(ctx, &f.wire, f.path("/pulls"), url.Values{"state": {"open"}}, head, base)
}

// Last implements Forge.
func (f *forgejo) Last(ctx context.Context, head, base string) (Pull, error) {
	return last(ctx, &f.wire, f, f.path("/pulls"), url.Values{"state": {"closed"}, "sort": {"recentupdate"}}, head, base)
}

// DefaultBranch implements Forge.
func (f *forgejo) DefaultBranch(ctx context.Context) (string, error) {
	return defaultBranch(ctx, &f.wire, f.path(""))
}

// Update implements Forge.
func (f *forgejo) Update(ctx context.Context, number int, c Change) (Pull, error) {
	return update(ctx, &f.wire, f.path("/pulls/%d", number), number, c)
}

// AutoMerge implements Forge.
func (f *forgejo) AutoMerge(ctx context.Context, number int, s gitmgr.Strategy) (bool, error) {
	merged, err := f.autoMerge(ctx, number, s)
	if err != nil {
		return false, fmt.Errorf("auto-merge pull request %d: %w", number, err)
	}
	return merged, nil
}

func (f *forgejo) autoMerge(ctx context.Context, number int, s gitmgr.Strategy) (bool, error) {
	method, err := mergeMethod(s)
	if err != nil {
		return false, err
	}
	p, err := f.pull(ctx, number)
	switch {
	case err != nil:
		return false, err
	case p.pull().State == PullMerged:
		return true, nil
	case p.pull().State == PullClosed:
		return false, fmt.Errorf("it is closed: %w", town.ErrConflict)
	}
	in := map[string]any{"Do": method, "merge_when_checks_succeed": true, "head_commit_id": p.Head.SHA}
	_, status, err := f.call(ctx, http.MethodPost, f.path("/pulls/%d/merge", number), in, nil)
	if errors.Is(err, town.ErrConflict) && status == http.StatusConflict {
		// Scheduled already, or the head has moved: the forge tells both alike.
		if now, getErr := f.pull(ctx, number); getErr == nil && now.Head.SHA == p.Head.SHA {
			return now.pull().State == PullMerged, nil
		}
	}
	return err == nil && status == http.StatusOK, err // 201 is for later
}

func (f *forgejo) pull(ctx context.Context, number int) (p pull, err error) {
	_, _, err = f.call(ctx, http.MethodGet, f.path("/pulls/%d", number), nil, &p)
	return p, err
}

// Status implements Forge.
func (f *forgejo) Status(ctx context.Context, number int) (Status, error) {
	s, err := f.status(ctx, number)
	if err != nil {
		return Status{}, fmt.Errorf("status of pull request %d: %w", number, err)
	}
	return s, nil
}

func (f *forgejo) status(ctx context.Context, number int) (Status, error) {
	p, err := f.pull(ctx, number)
	if err != nil {
		return Status{}, err
	}
	s := Status{Pull: p.pull(), Mergeable: p.Mergeable}
	more, err := statuses(ctx, &f.wire, f.path("/commits/%s/status", url.PathEscape(p.Head.SHA)), &s)
	if err != nil {
		return Status{}, err
	}
	reviews, moreReviews, err := listReviews(ctx, &f.wire, f.path("/pulls/%d/reviews", number))
	s.Checked, s.Review, s.Truncated = all(s.Checks), verdict(reviews), more || moreReviews
	return s, err
}

// maxReviews is how many reviews are asked for their comments: each is a call.
const maxReviews = 50

// ReviewComments implements Forge.
func (f *forgejo) ReviewComments(ctx context.Context, number int) (Comments, error) {
	reviews, more, err := listReviews(ctx, &f.wire, f.path("/pulls/%d/reviews", number))
	if err != nil {
		return Comments{}, fmt.Errorf("reviews of pull request %d: %w", number, err)
	}
	out := Comments{Truncated: more}
	if len(reviews) > maxReviews {
		reviews, out.Truncated = reviews[len(reviews)-maxReviews:], true
	}
	for _, r := range reviews {
		if c, ok := r.comment(); ok {
			out.List = append(out.List, c)
		}
		if r.State == "REQUEST_REVIEW" || r.State == "PENDING" {
			continue
		}
		if err := f.lines(ctx, number, r, &out); err != nil {
			return Comments{}, fmt.Errorf("comments of pull request %d: %w", number, err)
		}
	}
	out.sort()
	return out, nil
}

// lines adds what a review says of single lines.
func (f *forgejo) lines(ctx context.Context, number int, r review, out *Comments) error {
	var list []struct {
		ID               int64     `json:"id"`
		User             user      `json:"user"`
		Body             string    `json:"body"`
		Path             string    `json:"path"`
		Position         int       `json:"position"`
		OriginalPosition int       `json:"original_position"`
		HTMLURL          string    `json:"html_url"`
		CreatedAt        time.Time `json:"created_at"`
	}
	if _, _, err := f.call(ctx, http.MethodGet, f.path("/pulls/%d/reviews/%d/comments", number, r.ID), nil, &list); err != nil {
		return err
	}
	for _, l := range list {
		at := l.Position
		if at == 0 {
			at = l.OriginalPosition
		}
		out.List = append(out.List, Comment{
			ID: l.ID, Author: l.User.Login, Body: cut(l.Body), Path: l.Path, Line: at, URL: l.HTMLURL, When: l.CreatedAt, Verdict: ReviewNone,
		})
	}
	return nil
}
