package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"townd/gitmgr"
	"townd/town"
)

// github is a repository at GitHub.
type github struct {
	wire
	owner, repo string
}

func (g *github) path(format string, args ...any) string {
	return "/repos/" + url.PathEscape(g.owner) + "/" + url.PathEscape(g.repo) + fmt.Sprintf(format, args...)
}

// Create implements Forge.
func (g *github) Create(ctx context.Context, p NewPull) (Pull, error) {
	if err := p.check(); err != nil {
		return Pull{}, fmt.Errorf("create pull request: %w", err)
	}
	in := map[string]any{"title": p.Title, "head": p.Head, "base": p.Base, "body": p.Body, "draft": p.Draft}
	return create(ctx, &g.wire, g, p, g.path("/pulls"), in)
}

// create finds or opens a pull request. Another may open the same meanwhile.
func create(ctx context.Context, w *wire, f Forge, p NewPull, path string, in map[string]any) (Pull, error) {
	have, err := f.Find(ctx, p.Head, p.Base)
	if !errors.Is(err, town.ErrNotFound) {
		return have, err
	}
	var out pull
	_, _, err = w.call(ctx, http.MethodPost, path, in, &out)
	if errors.Is(err, town.ErrInvalid) || errors.Is(err, town.ErrConflict) {
		if have, findErr := f.Find(ctx, p.Head, p.Base); findErr == nil {
			return have, nil
		}
	}
	if err != nil {
		return Pull{}, fmt.Errorf("create pull request: %w", err)
	}
	made := out.pull()
	made.Created = true
	return made, nil
}

// Find implements Forge.
func (g *github) Find(ctx context.Context, head, base string) (Pull, error) {
	q := url.Values{"state": {"open"}, "head": {g.owner + ":" + head}, "base": {base}}
	return find(ctx, &g.wire, g.path("/pulls"), q, head, base)
}

// Last implements Forge.
func (g *github) Last(ctx context.Context, head, base string) (Pull, error) {
	q := url.Values{"state": {"closed"}, "head": {g.owner + ":" + head}, "base": {base}, "sort": {"created"}, "direction": {"desc"}}
	return last(ctx, &g.wire, g, g.path("/pulls"), q, head, base)
}

// last is find, and where that finds none a look through the closed ones, of which a
// repository may have any number: those that the forge names first count.
func last(ctx context.Context, w *wire, f Forge, path string, q url.Values, head, base string) (Pull, error) {
	open, err := f.Find(ctx, head, base)
	if !errors.Is(err, town.ErrNotFound) {
		return open, err
	}
	var newest *pull
	_, listErr := pages(ctx, w, path, q, func(list []pull) bool {
		for i := range list {
			if p := &list[i]; p.State == "closed" && p.goes(head, base) && (newest == nil || p.Number > newest.Number) {
				newest = p
			}
		}
		return newest != nil
	})
	switch {
	case listErr != nil:
		return Pull{}, fmt.Errorf("find pull request: %w", listErr)
	case newest == nil:
		return Pull{}, err
	}
	return newest.pull(), nil
}

// DefaultBranch implements Forge.
func (g *github) DefaultBranch(ctx context.Context) (string, error) {
	return defaultBranch(ctx, &g.wire, g.path(""))
}

func defaultBranch(ctx context.Context, w *wire, path string) (string, error) {
	var out struct {
		Name string `json:"default_branch"`
	}
	if _, _, err := w.call(ctx, http.MethodGet, path, nil, &out); err != nil {
		return "", fmt.Errorf("default branch: %w", err)
	}
	if err := gitmgr.CheckBranch(out.Name); err != nil {
		return "", fmt.Errorf("default branch: the forge names none: %w", town.ErrGit)
	}
	return out.Name, nil
}

// find looks through open pull requests: a forge may take no notice of the filters.
func find(ctx context.Context, w *wire, path string, q url.Values, head, base string) (Pull, error) {
	var found *pull
	truncated, err := pages(ctx, w, path, q, func(list []pull) bool {
		i := slices.IndexFunc(list, func(p pull) bool { return p.State == "open" && p.goes(head, base) })
		if i >= 0 {
			found = &list[i]
		}
		return i >= 0
	})
	switch {
	case err != nil:
		return Pull{}, fmt.Errorf("find pull request: %w", err)
	case found != nil:
		return found.pull(), nil
	case truncated:
		return Pull{}, fmt.Errorf("find pull request: more than %d are open: %w", maxPages*perPage, town.ErrTooLarge)
	}
	return Pull{}, fmt.Errorf("no open pull request from %s into %s: %w", head, base, town.ErrNotFound)
}

// Update implements Forge.
func (g *github) Update(ctx context.Context, number int, c Change) (Pull, error) {
	return update(ctx, &g.wire, g.path("/pulls/%d", number), number, c)
}

func update(ctx context.Context, w *wire, path string, number int, c Change) (Pull, error) {
	in := map[string]string{}
	for name, value := range map[string]*string{"title": c.Title, "body": c.Body, "base": c.Base} {
		if value != nil {
			in[name] = *value
		}
	}
	var out pull
	if _, _, err := w.call(ctx, http.MethodPatch, path, in, &out); err != nil {
		return Pull{}, fmt.Errorf("update pull request %d: %w", number, err)
	}
	return out.pull(), nil
}

// enableAutoMerge is not in GitHub's REST API.
const enableAutoMerge = `mutation($id: ID!, $method: PullRequestMergeMethod!, $head: GitObjectID) {
	enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $method, expectedHeadOid: $head}) { clientMutationId }
}`

// AutoMerge implements Forge.
func (g *github) AutoMerge(ctx context.Context, number int, s gitmgr.Strategy) (bool, error) {
	merged, err := g.autoMerge(ctx, number, s)
	if err != nil {
		return false, fmt.Errorf("auto-merge pull request %d: %w", number, err)
	}
	return merged, nil
}

func (g *github) autoMerge(ctx context.Context, number int, s gitmgr.Strategy) (bool, error) {
	method, err := mergeMethod(s)
	if err != nil {
		return false, err
	}
	var p pull
	if _, _, err := g.call(ctx, http.MethodGet, g.path("/pulls/%d", number), nil, &p); err != nil {
		return false, err
	}
	switch p.pull().State {
	case PullMerged:
		return true, nil
	case PullClosed:
		return false, fmt.Errorf("it is closed: %w", town.ErrConflict)
	case PullOpen:
	}
	vars := map[string]string{"id": p.NodeID, "method": strings.ToUpper(method), "head": p.Head.SHA}
	var out struct {
		Errors []struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	graphql := strings.TrimSuffix(g.base, "/v3") + "/graphql"
	_, _, err = g.call(ctx, http.MethodPost, graphql, map[string]any{"query": enableAutoMerge, "variables": vars}, &out)
	if err != nil || len(out.Errors) == 0 {
		return false, err
	}
	told := out.Errors[0]
	switch {
	case strings.Contains(told.Message, "clean status"): // nothing to wait for
		in := map[string]string{"merge_method": method, "sha": p.Head.SHA}
		_, _, err := g.call(ctx, http.MethodPut, g.path("/pulls/%d/merge", number), in, nil)
		return err == nil, err
	case told.Type == "FORBIDDEN":
		return false, fmt.Errorf("%s: %w", printable(told.Message, 300), gitmgr.ErrDenied)
	}
	return false, fmt.Errorf("%s: %w", printable(told.Message, 300), town.ErrConflict)
}

func mergeMethod(s gitmgr.Strategy) (string, error) {
	switch s {
	case "", gitmgr.StrategyMerge:
		return "merge", nil
	case gitmgr.StrategySquash, gitmgr.StrategyRebase:
		return string(s), nil
	}
	return "", fmt.Errorf("strategy %q: must be merge, squash or rebase: %w", s, town.ErrInvalid)
}

// Status implements Forge.
func (g *github) Status(ctx context.Context, number int) (Status, error) {
	s, err := g.status(ctx, number)
	if err != nil {
		return Status{}, fmt.Errorf("status of pull request %d: %w", number, err)
	}
	return s, nil
}

func (g *github) status(ctx context.Context, number int) (Status, error) {
	var p pull
	if _, _, err := g.call(ctx, http.MethodGet, g.path("/pulls/%d", number), nil, &p); err != nil {
		return Status{}, err
	}
	s := Status{Pull: p.pull(), Mergeable: p.Mergeable}
	type runs struct {
		Runs []struct {
			Name       string `json:"name"`
			Status     string `json:"status"`
			Conclusion string `json:"conclusion"`
			HTMLURL    string `json:"html_url"`
		} `json:"check_runs"`
	}
	more, err := pages(ctx, &g.wire, g.path("/commits/%s/check-runs", url.PathEscape(p.Head.SHA)), nil, func(r runs) bool {
		for _, c := range r.Runs {
			s.Checks = append(s.Checks, Check{Name: c.Name, State: runState(c.Status, c.Conclusion), URL: c.HTMLURL})
		}
		return false
	})
	if err != nil {
		return Status{}, err
	}
	moreStatuses, err := statuses(ctx, &g.wire, g.path("/commits/%s/status", url.PathEscape(p.Head.SHA)), &s)
	if err != nil {
		return Status{}, err
	}
	reviews, moreReviews, err := g.reviews(ctx, number)
	s.Checked, s.Review, s.Truncated = all(s.Checks), verdict(reviews), more || moreStatuses || moreReviews
	return s, err
}

// statuses adds the statuses of a commit, which both forges have.
func statuses(ctx context.Context, w *wire, path string, s *Status) (truncated bool, err error) {
	type combined struct {
		Statuses []struct {
			Context   string `json:"context"`
			State     string `json:"state"`  // GitHub's
			Status    string `json:"status"` // Gitea's
			TargetURL string `json:"target_url"`
		} `json:"statuses"`
	}
	return pages(ctx, w, path, nil, func(c combined) bool {
		for _, one := range c.Statuses {
			s.Checks = append(s.Checks, Check{Name: one.Context, State: commitState(one.State + one.Status), URL: one.TargetURL})
		}
		return false
	})
}

func commitState(s string) CheckState {
	switch s {
	case "success", "warning", "skipped":
		return ChecksPassed
	case "failure", "error":
		return ChecksFailed
	}
	return ChecksPending
}

func runState(status, conclusion string) CheckState {
	if status != "completed" {
		return ChecksPending
	}
	switch conclusion {
	case "success", "neutral", "skipped":
		return ChecksPassed
	}
	return ChecksFailed
}

func (g *github) reviews(ctx context.Context, number int) ([]review, bool, error) {
	return listReviews(ctx, &g.wire, g.path("/pulls/%d/reviews", number))
}

func listReviews(ctx context.Context, w *wire, path string) (list []review, truncated bool, err error) {
	truncated, err = pages(ctx, w, path, nil, func(page []review) bool {
		list = append(list, page...)
		return false
	})
	return list, truncated, err
}

// ReviewComments implements Forge.
func (g *github) ReviewComments(ctx context.Context, number int) (Comments, error) {
	reviews, more, err := g.reviews(ctx, number)
	if err != nil {
		return Comments{}, fmt.Errorf("reviews of pull request %d: %w", number, err)
	}
	out := Comments{Truncated: more}
	for _, r := range reviews {
		if c, ok := r.comment(); ok {
			out.List = append(out.List, c)
		}
	}
	type line struct {
		ID           int64     `json:"id"`
		User         user      `json:"user"`
		Body         string    `json:"body"`
		Path         string    `json:"path"`
		Line         int       `json:"line"` // null when the code has changed since
		OriginalLine int       `json:"original_line"`
		HTMLURL      string    `json:"html_url"`
		CreatedAt    time.Time `json:"created_at"`
	}
	more, err = pages(ctx, &g.wire, g.path("/pulls/%d/comments", number), nil, func(page []line) bool {
		for _, l := range page {
			at := l.Line
			if at == 0 {
				at = l.OriginalLine
			}
			out.List = append(out.List, Comment{
				ID: l.ID, Author: l.User.Login, Body: cut(l.Body), Path: l.Path, Line: at, URL: l.HTMLURL, When: l.CreatedAt, Verdict: ReviewNone,
			})
		}
		return false
	})
	if err != nil {
		return Comments{}, fmt.Errorf("comments of pull request %d: %w", number, err)
	}
	out.Truncated = out.Truncated || more
	out.sort()
	return out, nil
}

func (c *Comments) sort() {
	slices.SortStableFunc(c.List, func(a, b Comment) int { return a.When.Compare(b.When) })
}
