package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"townd/gitmgr"
	"townd/town"
)

var kinds = []Kind{KindGitHub, KindForgejo}

// at returns the forge at a server.
func at(t *testing.T, s *server) Forge {
	t.Helper()
	f, err := New(Config{
		Remote: s.URL + "/o/r.git", RigID: "rig", Kind: s.kind, Client: s.Client(),
		Credential: func(_ context.Context, rigID, host string) (gitmgr.Credential, error) {
			if rigID != "rig" || "http://"+host != s.URL {
				return gitmgr.Credential{}, fmt.Errorf("asked for rig %s at %s", rigID, host)
			}
			return gitmgr.Credential{User: "x", Secret: "secret-token"}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func each(t *testing.T, test func(t *testing.T, s *server, f Forge)) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			s := serve(t, kind)
			test(t, s, at(t, s))
		})
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var request = NewPull{Head: "polecat/toast/1", Base: "main", Title: "Toast", Body: "Made.", Draft: true}

func TestPullRequestFromOpenToMerged(t *testing.T) {
	each(t, func(t *testing.T, s *server, f Forge) {
		ctx := t.Context()
		p := must[Pull](t)(f.Create(ctx, request))
		want := Pull{Number: 1, URL: "https://forge/o/r/pulls/1", Head: request.Head, Base: "main", HeadCommit: shaOf(s.pulls[0]), State: PullOpen, Draft: true, Created: true}
		want.Title = p.Title
		if p != want || !strings.HasSuffix(p.Title, "Toast") {
			t.Errorf("Create = %+v, want %+v", p, want)
		}
		want.Created = false
		if again := must[Pull](t)(f.Create(ctx, request)); again != want || len(s.pulls) != 1 {
			t.Errorf("Create again = %+v, there are %d", again, len(s.pulls))
		}
		title, base := "Toast, done", "next"
		if p = must[Pull](t)(f.Update(ctx, 1, Change{Title: &title, Base: &base})); p.Title != title || p.Base != base || s.pulls[0].Body != request.Body {
			t.Errorf("Update = %+v, the body is %q", p, s.pulls[0].Body)
		}
		if p = must[Pull](t)(f.Find(ctx, request.Head, "next")); p.Number != 1 {
			t.Errorf("Find = %+v", p)
		}
		for range 2 {
			if merged := must[bool](t)(f.AutoMerge(ctx, 1, gitmgr.StrategySquash)); merged || s.pulls[0].Auto != "SQUASH" {
				t.Errorf("AutoMerge = %v, by %q", merged, s.pulls[0].Auto)
			}
		}
		s.checked = true
		if merged := must[bool](t)(f.AutoMerge(ctx, 1, "")); !merged {
			t.Error("what has nothing to wait for is not merged")
		}
		if merged := must[bool](t)(f.AutoMerge(ctx, 1, "")); !merged {
			t.Error("what is merged is not told so")
		}
		if st := must[Status](t)(f.Status(ctx, 1)); st.State != PullMerged || st.MergeCommit != strings.Repeat("e", 40) {
			t.Errorf("Status = %+v", st)
		}
		_, err := f.Find(ctx, request.Head, "next")
		wantKind(t, err, town.ErrNotFound, "no open pull request")
	})
}

func TestCreateIsIdempotentWhateverHappens(t *testing.T) {
	each(t, func(t *testing.T, s *server, f Forge) {
		s.lostOnce = true
		_, err := f.Create(t.Context(), request)
		wantKind(t, err, gitmgr.ErrNetwork, "not reached")
		if p := must[Pull](t)(f.Create(t.Context(), request)); p.Created || p.Number != 1 {
			t.Errorf("after a lost answer: %+v", p)
		}
		s.blind = true // another opens it between the look and the call
		if p := must[Pull](t)(f.Create(t.Context(), request)); p.Created || p.Number != 1 || len(s.pulls) != 1 {
			t.Errorf("in a race: %+v", p)
		}
		s.pulls[0].State = "closed"
		if p := must[Pull](t)(f.Create(t.Context(), request)); !p.Created || p.Number != 2 {
			t.Errorf("after one was closed: %+v", p)
		}
		_, err = f.AutoMerge(t.Context(), 1, "")
		wantKind(t, err, town.ErrConflict, "closed")
	})
}

func TestStatusAddsUpChecksAndReviews(t *testing.T) {
	at := func(login, state string) review { return review{User: user{login}, State: state} }
	for _, c := range []struct {
		name     string
		runs     [][2]string
		statuses []string
		reviews  []review
		checked  CheckState
		verdict  ReviewState
	}{
		{"nothing", nil, nil, nil, ChecksNone, ReviewNone},
		{"good", [][2]string{{"completed", "success"}, {"completed", "skipped"}}, []string{"success"}, []review{at("a", "APPROVED")}, ChecksPassed, ReviewApproved},
		{"running", [][2]string{{"in_progress", ""}}, []string{"success", "pending"}, []review{at("a", "COMMENTED"), at("a", "PENDING")}, ChecksPending, ReviewNone},
		{"failed", [][2]string{{"completed", "timed_out"}}, []string{"pending", "failure"}, []review{at("a", "CHANGES_REQUESTED"), at("b", "APPROVED")}, ChecksFailed, ReviewChanges},
		{"changed mind", nil, []string{"error"}, []review{at("a", "REQUEST_CHANGES"), at("a", "APPROVED"), at("a", "COMMENT")}, ChecksFailed, ReviewApproved},
		{"dismissed", nil, []string{"warning"}, []review{at("a", "APPROVED"), {User: user{"a"}, State: "DISMISSED"}, {User: user{"b"}, State: "APPROVED", Dismissed: true}}, ChecksPassed, ReviewNone},
	} {
		each(t, func(t *testing.T, s *server, f Forge) {
			must[Pull](t)(f.Create(t.Context(), request))
			s.pulls[0].Runs, s.pulls[0].Statuses, s.pulls[0].Reviews = c.runs, c.statuses, c.reviews
			st := must[Status](t)(f.Status(t.Context(), 1))
			if st.Checked != c.checked || st.Review != c.verdict || !st.Mergeable || st.Truncated || st.Number != 1 {
				t.Errorf("%s: Status = %+v", c.name, st)
			}
		})
	}
}

func TestReviewCommentsAreInOrderAndBounded(t *testing.T) {
	each(t, func(t *testing.T, s *server, f Forge) {
		must[Pull](t)(f.Create(t.Context(), request))
		day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		p := s.pulls[0]
		p.Reviews = []review{
			{ID: 7, User: user{"bob"}, State: "CHANGES_REQUESTED", Body: "Not so.", SubmittedAt: day.Add(time.Hour)},
			{ID: 5, User: user{"amy"}, State: "COMMENTED", SubmittedAt: day},
		}
		p.Lines[5] = []line{{50, "a.go", 3, strings.Repeat("é", maxCommentBytes)}}
		p.Lines[7] = []line{{70, "b.go", 9, "Why?"}}
		got := must[Comments](t)(f.ReviewComments(t.Context(), 1))
		var seen []string
		for _, c := range got.List {
			seen = append(seen, fmt.Sprint(c.Author, " ", c.Path, ":", c.Line, " ", c.Verdict))
		}
		if want := "[amy a.go:3 none bob :0 changes_requested bob b.go:9 none]"; fmt.Sprint(seen) != want || got.Truncated {
			t.Errorf("ReviewComments = %v, want %s", seen, want)
		}
		if n := len(got.List[0].Body); n > maxCommentBytes {
			t.Errorf("a comment of %d bytes", n)
		}
	})
}

func TestListsArePagedAndBounded(t *testing.T) {
	each(t, func(t *testing.T, s *server, f Forge) {
		s.page = 3
		for i := range 7 {
			must[Pull](t)(f.Create(t.Context(), NewPull{Head: fmt.Sprint("b", i), Base: "main", Title: "t"}))
		}
		if p := must[Pull](t)(f.Find(t.Context(), "b6", "main")); p.Number != 7 {
			t.Errorf("Find = %+v", p)
		}
		s.page = 1
		for range maxPages + 1 {
			s.pulls[0].Statuses = append(s.pulls[0].Statuses, "success")
		}
		st := must[Status](t)(f.Status(t.Context(), 1))
		if !st.Truncated || len(st.Checks) != maxPages {
			t.Errorf("%d checks, truncated %v", len(st.Checks), st.Truncated)
		}
	})
}

func TestWhatAForgeFailsAtIsToldApart(t *testing.T) {
	each(t, func(t *testing.T, s *server, f Forge) {
		must[Pull](t)(f.Create(t.Context(), request))
		answer := func(status int, body string, header ...string) {
			s.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
				for i := 0; i < len(header); i += 2 {
					w.Header().Set(header[i], header[i+1])
				}
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
				return true
			}
		}
		for _, c := range []struct {
			status int
			body   string
			kind   error
			says   string
		}{
			{401, `{"message":"Bad credentials"}`, gitmgr.ErrAuth, "Bad credentials"},
			{403, `{"message":"Resource not\naccessible\u001b[0m"}`, gitmgr.ErrDenied, "Resource not accessible"},
			{404, `{}`, town.ErrNotFound, "404"},
			{409, `{}`, town.ErrConflict, "409"},
			{422, `{"message":"Validation Failed","errors":["no"]}`, town.ErrInvalid, "Validation Failed: no"},
			{500, `<html>`, gitmgr.ErrNetwork, "500"},
			{301, ``, gitmgr.ErrRepository, "301"},
			{200, `not json`, town.ErrGit, "promises"},
		} {
			answer(c.status, c.body)
			_, err := f.Status(t.Context(), 1)
			wantKind(t, err, c.kind, c.says)
			if strings.Contains(err.Error(), "secret-token") || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error is %q", err)
			}
		}
		for _, c := range []struct {
			status int
			header []string
			min    time.Duration
		}{
			{429, nil, time.Minute},
			{429, []string{"Retry-After", "7"}, 7 * time.Second},
			{403, []string{"Retry-After", "120"}, 2 * time.Minute},
			{403, []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)}, 59 * time.Minute},
			{429, []string{"Retry-After", "999999999999999"}, 24 * time.Hour},
		} {
			answer(c.status, `{"message":"slow down"}`, c.header...)
			_, err := f.Status(t.Context(), 1)
			e, ok := errors.AsType[*town.CapacityError](err)
			if !ok || e.RetryAfter < c.min || e.RetryAfter > c.min+time.Minute {
				t.Errorf("%d %v: %v, %+v", c.status, c.header, err, e)
			}
		}
		s.refuse = nil
		_, err := f.Status(t.Context(), 99)
		wantKind(t, err, town.ErrNotFound, "pull request 99")
		_, err = f.Create(t.Context(), NewPull{Head: "missing", Base: "main", Title: "t"})
		if err == nil || errors.Is(err, gitmgr.ErrNetwork) {
			t.Errorf("a head that is not there: %v", err)
		}
		s.token = "rotated"
		_, err = f.Find(t.Context(), "a", "main")
		wantKind(t, err, gitmgr.ErrAuth, "401")
		s.Close()
		_, err = f.Find(t.Context(), "a", "main")
		wantKind(t, err, gitmgr.ErrNetwork, "not reached")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err = f.Find(ctx, "a", "main"); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who gave up: %v", err)
		}
	})
}

func TestForgeIsFoundByItsRemote(t *testing.T) {
	for _, c := range []struct {
		remote string
		kind   Kind
		want   string // base of the API and repository, or what the error says
	}{
		{"https://github.com/o/r.git", "", "https://api.github.com o/r"},
		{"git@github.com:o/r.git", "", "https://api.github.com o/r"},
		{"ssh://git@ssh.github.com:443/o/r", "", "https://api.github.com o/r"},
		{"https://git.corp/o/r", KindGitHub, "https://git.corp/api/v3 o/r"},
		{"https://codeberg.org/o/r/", "", "https://codeberg.org/api/v1 o/r"},
		{"http://127.0.0.1:3000/o/r.git", "", "http://127.0.0.1:3000/api/v1 o/r"},
		{"ssh://git@git.corp:2222/o/r.git", "", "https://git.corp/api/v1 o/r"},
		{"git@[::1]:o/r.git", "", "https://[::1]/api/v1 o/r"},
		{"https://git.corp/forge/o/r.git", "", "https://git.corp/forge/api/v1 o/r"},
		{"https://github.com.evil.example/o/r", "", "https://github.com.evil.example/api/v1 o/r"},
		{"https://github.com/r", "", "no owner"},
		{"https://github.com/../r", "", `holds ".."`},
		{"https://user:pw@github.com/o/r", "", "credentials"},
		{"file:///o/r", "", "not allowed"},
		{"https://github.com/o/r", "gitlab", "must be github or forgejo"},
	} {
		f, err := New(Config{Remote: c.remote, Kind: c.kind})
		var got string
		switch f := f.(type) {
		case *github:
			got = f.base + " " + f.owner + "/" + f.repo
		case *forgejo:
			got = f.base + " " + f.owner + "/" + f.repo
		default:
			got = fmt.Sprint(err)
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("New(%s) is %q, want %q", c.remote, got, c.want)
		}
	}
}

func TestBadRequestsAreNotSent(t *testing.T) {
	each(t, func(t *testing.T, s *server, f Forge) {
		for _, p := range []NewPull{
			{Head: "a", Base: "a", Title: "t"},
			{Head: "../a", Base: "main", Title: "t"},
			{Head: "a", Base: "-x", Title: "t"},
			{Head: "a", Base: "main", Title: " "},
		} {
			if _, err := f.Create(t.Context(), p); !errors.Is(err, town.ErrInvalid) {
				t.Errorf("Create(%+v): %v", p, err)
			}
		}
		if _, err := f.AutoMerge(t.Context(), 1, "octopus"); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("AutoMerge: %v", err)
		}
		if len(s.calls) > 0 {
			t.Errorf("calls were made: %v", s.calls)
		}
	})
}

func wantKind(t *testing.T, err, kind error, says string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) {
		t.Errorf("error is %v, want %q of the kind %q", err, says, kind)
	}
}

func TestRefusedCredentialIsReplacedOnce(t *testing.T) {
	each(t, func(t *testing.T, s *server, _ Forge) {
		secret, next := "revoked", "secret-token"
		var refused []string
		f, err := New(Config{
			Remote: s.URL + "/o/r.git", Kind: s.kind, Client: s.Client(),
			Credential: func(context.Context, string, string) (gitmgr.Credential, error) {
				return gitmgr.Credential{Secret: secret}, nil
			},
			Refused: func(host string, c gitmgr.Credential) bool {
				refused = append(refused, c.Secret)
				secret = next
				return true
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if p := must[Pull](t)(f.Create(t.Context(), request)); p.Number != 1 {
			t.Errorf("Create = %+v", p)
		}
		secret, next = "bad", "bad too"
		_, err = f.DefaultBranch(t.Context())
		wantKind(t, err, gitmgr.ErrAuth, "Bad credentials")
		if got := strings.Join(refused, ", "); got != "revoked, bad, bad too" {
			t.Errorf("told of %s", got)
		}
	})
}
