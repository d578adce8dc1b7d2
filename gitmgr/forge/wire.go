package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"townd/gitmgr"
	"townd/town"
)

const (
	callTimeout     = 30 * time.Second
	maxAnswerBytes  = 16 << 20
	maxCommentBytes = 64 << 10
	maxPages        = 10 // of a list
	perPage         = 50 // most that Gitea gives by default
	maxRetryAfter   = 24 * time.Hour
)

// wire is how one forge is called.
type wire struct {
	base    string // URL of the API
	host    string // whose credential it takes
	scheme  string // of the Authorization header
	rigID   string
	ask     gitmgr.CredentialFunc
	refused func(host string, c gitmgr.Credential) bool // see gitmgr.Config.Refused; may be nil
	client  *http.Client
}

// call sends in, if not nil, and reads the answer into out, if not nil. It returns
// the answer's header and status.
func (w *wire) call(ctx context.Context, method, path string, in, out any) (http.Header, int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, res, err := w.send(ctx, method, path, in)
	if req == nil {
		return nil, 0, err
	}
	if err != nil {
		if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			return nil, 0, context.Cause(ctx)
		}
		return nil, 0, fmt.Errorf("forge %s is not reached: %w", w.host, gitmgr.ErrNetwork) // the error may quote a proxy's password
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	switch {
	case res.StatusCode >= 300:
		return nil, res.StatusCode, w.failed(res, body)
	case err != nil:
		return nil, 0, fmt.Errorf("forge %s: its answer was cut off: %w", w.host, gitmgr.ErrNetwork)
	case len(body) > maxAnswerBytes:
		return nil, 0, fmt.Errorf("forge %s: answers with more than %d bytes: %w", w.host, maxAnswerBytes, town.ErrTooLarge)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			return nil, 0, fmt.Errorf("forge %s: its answer is not what its API promises: %w", w.host, town.ErrGit)
		}
	}
	return res.Header, res.StatusCode, nil
}

// send asks the forge, once more with another credential if there is one after the
// first was refused. There is no request where there is no credential.
func (w *wire) send(ctx context.Context, method, path string, in any) (*http.Request, *http.Response, error) {
	for again := true; ; again = false {
		req, err := w.request(ctx, method, path, in)
		if err != nil {
			return nil, nil, err
		}
		res, err := w.client.Do(req)
		if err != nil || res.StatusCode != http.StatusUnauthorized || w.refused == nil {
			return req, res, err
		}
		secret := strings.TrimPrefix(req.Header.Get("Authorization"), w.scheme)
		if other := w.refused(w.host, gitmgr.Credential{Secret: secret}); !other || !again {
			return req, res, nil
		}
		_ = res.Body.Close() // it was not what was asked for
	}
}

func (w *wire) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	to := path
	if !strings.Contains(path, "://") {
		to = w.base + path
	}
	req, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return nil, fmt.Errorf("forge %s: %w", w.host, town.ErrInvalid)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "townd")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if w.ask == nil {
		return req, nil
	}
	cred, err := w.ask(ctx, w.rigID, w.host)
	if err != nil {
		return nil, gitmgr.CredentialError(w.host, err)
	}
	if strings.ContainsAny(cred.Secret, "\r\n\x00") {
		return nil, fmt.Errorf("credential for %s: holds a line break: %w", w.host, gitmgr.ErrAuth)
	}
	if cred.Secret != "" {
		req.Header.Set("Authorization", w.scheme+cred.Secret)
	}
	return req, nil
}

// failed turns a status into an error.
func (w *wire) failed(res *http.Response, body []byte) error {
	says := fmt.Sprintf("forge %s answered %d", w.host, res.StatusCode)
	var told struct {
		Message string `json:"message"`
		Errors  []any  `json:"errors"` // strings or objects with a message
	}
	if json.Unmarshal(body, &told) == nil && told.Message != "" {
		says += ": " + printable(told.Message, 300)
		if len(told.Errors) > 0 {
			says += ": " + printable(fmt.Sprint(told.Errors...), 300)
		}
	}
	if after, limited := retryAfter(res); limited {
		return fmt.Errorf("%s: %w", says, &town.CapacityError{What: "asked too often, again in " + after.String(), RetryAfter: after})
	}
	return fmt.Errorf("%s: %w", says, kindOf(res.StatusCode))
}

func kindOf(status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return gitmgr.ErrAuth
	case status == http.StatusForbidden:
		return gitmgr.ErrDenied
	case status == http.StatusNotFound, status == http.StatusGone:
		return town.ErrNotFound
	case status == http.StatusConflict, status == http.StatusMethodNotAllowed, status == http.StatusPreconditionFailed, status == http.StatusLocked:
		return town.ErrConflict
	case status >= 500, status == http.StatusRequestTimeout:
		return gitmgr.ErrNetwork
	case status < 400: // a redirect that is not followed: the repository has another name now
		return gitmgr.ErrRepository
	}
	return town.ErrInvalid
}

// retryAfter reads when a forge that was asked too often may be asked again. GitHub
// says so with 403 as well.
func retryAfter(res *http.Response) (time.Duration, bool) {
	h := res.Header
	used := h.Get("X-RateLimit-Remaining") == "0"
	if res.StatusCode != http.StatusTooManyRequests && (res.StatusCode != http.StatusForbidden || !used && h.Get("Retry-After") == "") {
		return 0, false
	}
	after := time.Minute // as GitHub asks of those who are told no time
	if n, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		after = time.Duration(min(max(n, 1), int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		after = time.Until(at)
	} else if n, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil && used {
		after = time.Until(time.Unix(n, 0))
	}
	return min(max(after, time.Second), maxRetryAfter).Round(time.Second), true
}

// pages calls each page of a list until there are no more, it is enough, or they are
// too many, and reports the latter.
func pages[T any](ctx context.Context, w *wire, path string, query url.Values, each func(T) (enough bool)) (truncated bool, err error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("per_page", strconv.Itoa(perPage)) // GitHub's word
	query.Set("limit", strconv.Itoa(perPage))    // Gitea's
	for page := 1; page <= maxPages; page++ {
		query.Set("page", strconv.Itoa(page))
		var out T
		h, _, err := w.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &out)
		if err != nil {
			return false, err
		}
		if each(out) || !strings.Contains(h.Get("Link"), `rel="next"`) {
			return false, nil
		}
	}
	return true, nil
}

// printable is text of a forge as an error may hold it.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// user, ref, pull and review are what both APIs call alike.
type user struct {
	Login string `json:"login"`
}

type ref struct {
	Ref  string `json:"ref"`
	SHA  string `json:"sha"`
	Repo *repo  `json:"repo"` // null when it was deleted
}

type repo struct {
	FullName string `json:"full_name"`
}

type pull struct {
	Number         int    `json:"number"`
	NodeID         string `json:"node_id"`
	HTMLURL        string `json:"html_url"`
	Title          string `json:"title"`
	State          string `json:"state"`
	Draft          bool   `json:"draft"`
	Merged         bool   `json:"merged"`
	MergedAt       string `json:"merged_at"`
	Mergeable      bool   `json:"mergeable"`
	MergeCommitSHA string `json:"merge_commit_sha"`
	Head           ref    `json:"head"`
	Base           ref    `json:"base"`
}

// goes reports whether p is from the branch head into base. A branch of that name in
// somebody's fork is another: what is there is not ours.
func (p pull) goes(head, base string) bool {
	ours := p.Base.Repo == nil || p.Head.Repo != nil && p.Head.Repo.FullName == p.Base.Repo.FullName
	return ours && p.Head.Ref == head && p.Base.Ref == base
}

func (p pull) pull() Pull {
	out := Pull{
		Number: p.Number, URL: p.HTMLURL, Title: p.Title, Head: p.Head.Ref, Base: p.Base.Ref, HeadCommit: p.Head.SHA,
		State: PullOpen, Draft: p.Draft,
	}
	switch {
	case p.Merged || p.MergedAt != "":
		out.State, out.MergeCommit = PullMerged, p.MergeCommitSHA
	case p.State == "closed":
		out.State = PullClosed
	}
	return out
}

type review struct {
	ID          int64     `json:"id"`
	User        user      `json:"user"`
	Body        string    `json:"body"`
	State       string    `json:"state"`
	HTMLURL     string    `json:"html_url"`
	SubmittedAt time.Time `json:"submitted_at"`
	Dismissed   bool      `json:"dismissed"` // Gitea's
}

func (r review) dismissed() bool { return r.Dismissed || r.State == "DISMISSED" }

func (r review) state() ReviewState {
	switch r.State {
	case "APPROVED":
		return ReviewApproved
	case "CHANGES_REQUESTED", "REQUEST_CHANGES":
		return ReviewChanges
	}
	return ReviewNone
}

// comment is what a review says as a whole, if it says anything.
func (r review) comment() (Comment, bool) {
	c := Comment{ID: r.ID, Author: r.User.Login, Body: cut(r.Body), URL: r.HTMLURL, When: r.SubmittedAt, Verdict: r.state()}
	return c, strings.TrimSpace(r.Body) != "" && r.State != "PENDING"
}

// cut bounds a text.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxCommentBytes)], "") }
