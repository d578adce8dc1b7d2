package forge

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/gitmgr"
	"townd/gitmgr/gittest"
	"townd/town"
)

// site is a forge with a real repository: git and its API on one host.
type site struct {
	*server
	*Proposals
	t      *testing.T
	remote *gittest.Remote
	git    *gitmgr.Manager
	secret string // what the town shows
}

func newSite(t *testing.T, kind Kind) *site {
	t.Helper()
	st := &site{server: serve(t, kind), t: t, secret: "secret-token"}
	st.remote = gittest.NewAt(t, filepath.Join(t.TempDir(), "r.git"), gittest.Options{})
	git := http.StripPrefix("/o", st.remote.ServeHTTP("x-access-token", st.token).Handler())
	api := st.Config.Handler
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/o/") {
			git.ServeHTTP(w, req)
			return
		}
		api.ServeHTTP(w, req)
	}))
	t.Cleanup(front.Close)
	st.heads = func(branch string) string {
		return st.remote.Git("for-each-ref", "--format=%(objectname)", "refs/heads/"+branch)
	}
	credential := func(context.Context, string, string) (gitmgr.Credential, error) {
		return gitmgr.Credential{User: "x-access-token", Secret: st.secret}, nil
	}
	var err error
	st.git, err = gitmgr.New(gitmgr.Config{Home: filepath.Join(t.TempDir(), "rigs"), Protocols: []string{"http"}, Credential: credential})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.git.Close() })
	at, err := url.Parse(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	st.Proposals = NewProposals(ProposalsConfig{Git: st.git, Merge: st.git.Merge, Credential: credential, Kinds: map[string]Kind{at.Host: kind}})
	st.pause = time.Millisecond
	if _, err := st.git.Prepare(t.Context(), "rig", front.URL+"/o/r.git", true, nil); err != nil {
		t.Fatal(err)
	}
	return st
}

// propose proposes a branch and checks how that ended.
func (st *site) propose(q gitmgr.MergeRequest, r town.Proposal, want gitmgr.MergeStatus) (gitmgr.MergeResult, *town.PullRequest) {
	st.t.Helper()
	q.RigID = "rig"
	res, pull, err := st.Propose(st.t.Context(), q, r)
	if err != nil || res.Status != want {
		st.t.Fatalf("Propose = %+v, %+v, %v; want %s", res, pull, err, want)
	}
	return res, pull
}

func eachSite(t *testing.T, test func(t *testing.T, st *site)) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) { test(t, newSite(t, kind)) })
	}
}

// W19: a branch becomes a pull request, once; it is brought up to date, merges by itself
// when it may, and what was merged is told with its commit and not pushed again.
func TestBranchBecomesAPullRequestAndIsMerged(t *testing.T) {
	eachSite(t, func(t *testing.T, st *site) {
		head := st.remote.Commit("work", "f", "1")
		q := gitmgr.MergeRequest{Branch: "work", Strategy: gitmgr.StrategySquash}
		res, pull := st.propose(q, town.Proposal{}, StatusPullRequest)
		if pull.Number != 1 || pull.URL == "" || pull.State != "open" || !pull.Mergeable || pull.Checked != "none" || pull.Head != head || pull.Title != "commit" || pull.Target != "main" {
			t.Errorf("Propose = %+v, %+v", res, pull)
		}
		head = st.remote.Commit("work", "f", "2")
		_, pull = st.propose(q, town.Proposal{Title: "Toast", Body: "Made.", AutoMerge: true}, StatusPullRequest)
		if p := st.pulls[0]; len(st.pulls) != 1 || pull.Head != head || p.Title != "Toast" || p.Body != "Made." || p.Auto != "SQUASH" || !pull.AutoMerge {
			t.Errorf("asked again: %+v, the forge has %+v", pull, p)
		}
		st.propose(q, town.Proposal{}, StatusPullRequest)
		if p := st.pulls[0]; p.Title != "Toast" || p.Body != "Made." {
			t.Errorf("what was not asked for was changed: %+v", p)
		}
		st.checked = true
		res, pull = st.propose(q, town.Proposal{AutoMerge: true}, gitmgr.MergeDone)
		if pull.State != "merged" || res.Commit != strings.Repeat("e", 40) {
			t.Errorf("merged: %+v, %+v", res, pull)
		}
		st.remote.Git("branch", "-D", "work") // by the forge; the agent's is still here, and not brought back
		st.remote.Git("branch", "keep", head)
		for range 2 {
			if res, _ = st.propose(q, town.Proposal{}, gitmgr.MergeDone); res.Commit != strings.Repeat("e", 40) || st.heads("work") != "" {
				t.Errorf("asked after the merge: %+v, work is at %q", res, st.heads("work"))
			}
		}
		st.remote.Commit("work", "g", "more")
		st.checked = false
		if _, pull = st.propose(q, town.Proposal{}, StatusPullRequest); pull.Number != 2 {
			t.Errorf("after new work: %+v", pull)
		}
	})
}

// A forge may add to a branch, merge it and delete it: what the agent has is then behind,
// and not brought back.
func TestBranchThatTheForgeMovedBeforeTheMergeIsSettled(t *testing.T) {
	eachSite(t, func(t *testing.T, st *site) {
		url, err := st.git.RemoteURL("rig")
		if err != nil {
			t.Fatal(err)
		}
		w, err := st.git.Worktree(t.Context(), gitmgr.Spec{RigID: "rig", URL: url, Branch: "work"})
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"mv", "dir000", "moved"}, {"commit", "--quiet", "-m", "move"}} {
			if out, err := gittest.Command(w.Dir, args...).CombinedOutput(); err != nil {
				t.Fatalf("git %v: %v %s", args, err, out)
			}
		}
		q := gitmgr.MergeRequest{Branch: "work", Target: "main"}
		st.propose(q, town.Proposal{}, StatusPullRequest)
		st.remote.Commit("work", "more", "by the forge")
		st.propose(q, town.Proposal{}, StatusPullRequest)
		st.pulls[0].State = "merged"
		st.remote.Git("branch", "-D", "work")
		if res, _ := st.propose(q, town.Proposal{}, gitmgr.MergeDone); st.heads("work") != "" || len(st.pulls) != 1 {
			t.Errorf("Propose = %+v, work is at %q", res, st.heads("work"))
		}
	})
}

func TestClosedPullRequestStaysClosedUntilThereIsNewWork(t *testing.T) {
	eachSite(t, func(t *testing.T, st *site) {
		st.remote.Commit("work", "f", "1")
		q := gitmgr.MergeRequest{Branch: "work", Target: "main", DeleteBranch: true}
		st.propose(q, town.Proposal{Draft: true, Title: "Toast"}, StatusPullRequest)
		st.propose(q, town.Proposal{Draft: true, Title: "Bread"}, StatusPullRequest)
		if title := st.pulls[0].Title; strings.TrimPrefix(title, draftPrefix) != "Bread" || strings.HasPrefix(title, draftPrefix) != (st.kind == KindForgejo) {
			t.Errorf("the draft is called %q", title)
		}
		st.pulls[0].State = "closed"
		for range 2 {
			if res, pull := st.propose(q, town.Proposal{}, StatusClosed); pull.State != "closed" || res.BranchDeleted || len(st.pulls) != 1 {
				t.Errorf("Propose = %+v, %+v", res, pull)
			}
		}
		st.remote.Commit("work", "f", "2")
		if _, pull := st.propose(q, town.Proposal{}, StatusPullRequest); pull.Number != 2 {
			t.Errorf("after new work: %+v", pull)
		}
		st.pulls[1].State = "merged"
		if res, _ := st.propose(q, town.Proposal{}, gitmgr.MergeDone); !res.BranchDeleted || st.heads("work") != "" {
			t.Errorf("merged: %+v, work is at %q", res, st.heads("work"))
		}
	})
}

func TestWhatStandsInTheWayOfAPullRequestIsTold(t *testing.T) {
	eachSite(t, func(t *testing.T, st *site) {
		st.remote.Commit("work", "f", "1")
		q := gitmgr.MergeRequest{Branch: "work"}
		st.remote.Git("branch", "clash", "main")
		st.remote.Commit("clash", "same", "mine")
		st.remote.Commit("main", "same", "theirs")
		res, pull := st.propose(gitmgr.MergeRequest{Branch: "clash"}, town.Proposal{}, gitmgr.MergeConflict)
		if pull != nil || len(res.Conflicts) != 1 || len(st.pulls) != 0 {
			t.Errorf("a conflict: %+v, %+v", res, pull)
		}
		q.Gates = []gitmgr.Gate{{Name: "no", Command: "exit 3"}}
		st.propose(q, town.Proposal{}, gitmgr.MergeGatesFailed)
		q.Gates = nil

		answer := func(status int) {
			st.refuse = func(w http.ResponseWriter, req *http.Request) bool {
				w.WriteHeader(status)
				_, _ = w.Write([]byte(`{"message":"so it is"}`))
				return true
			}
		}
		for status, want := range map[int]gitmgr.MergeStatus{
			401: gitmgr.MergeAuth, 403: gitmgr.MergeAuth, 404: gitmgr.MergeAuth, 429: gitmgr.MergeNetwork, 502: gitmgr.MergeNetwork,
		} {
			answer(status)
			st.propose(q, town.Proposal{}, want)
		}
		st.refuse = nil
		st.secret = "wrong"
		if res, _ := st.propose(q, town.Proposal{}, gitmgr.MergeAuth); strings.Contains(res.Message, "wrong") && strings.Contains(res.Message, "token") {
			t.Errorf("the message is %q", res.Message)
		}
		st.secret = "secret-token"
		if len(st.pulls) != 0 {
			t.Errorf("there are pull requests: %+v", st.pulls[0])
		}
		if _, _, err := st.Propose(t.Context(), gitmgr.MergeRequest{RigID: "rig", Branch: "nowhere"}, town.Proposal{}); !errors.Is(err, town.ErrNotFound) {
			t.Errorf("of no branch: %v", err)
		}
		if _, _, err := st.Propose(t.Context(), gitmgr.MergeRequest{RigID: "none", Branch: "work"}, town.Proposal{}); !errors.Is(err, town.ErrNotFound) {
			t.Errorf("of no rig: %v", err)
		}

		// The forge has not seen the push yet, and refuses to merge by itself.
		seen := st.heads
		st.heads = func(string) string { return strings.Repeat("0", 40) }
		res, pull = st.propose(q, town.Proposal{AutoMerge: true}, StatusPullRequest)
		if pull.AutoMerge || !strings.Contains(res.Message, "has not seen the push") {
			t.Errorf("with a forge that lags: %+v, %+v", res, pull)
		}
		st.heads = seen
		st.refuse = func(w http.ResponseWriter, req *http.Request) bool {
			no := strings.HasSuffix(req.URL.Path, "/graphql") || strings.HasSuffix(req.URL.Path, "/merge")
			if no {
				w.WriteHeader(http.StatusForbidden)
			}
			return no
		}
		res, pull = st.propose(q, town.Proposal{AutoMerge: true}, StatusPullRequest)
		if pull.AutoMerge || !strings.Contains(res.Message, "403") {
			t.Errorf("with a forge that does not merge by itself: %+v, %+v", res, pull)
		}
	})
}

// A branch of the same name in somebody's fork is not ours to update or to merge.
func TestPullRequestOfAForkIsNotTakenForTheBranchs(t *testing.T) {
	eachSite(t, func(t *testing.T, st *site) {
		st.remote.Commit("work", "f", "1")
		for _, state := range []string{"open", "merged"} {
			st.pulls = append(st.pulls, &served{Number: len(st.pulls) + 1, Head: "work", Base: "main", State: state, Fork: "eve/r", Commit: st.heads("work"), Title: "Eve's"})
		}
		_, pull := st.propose(gitmgr.MergeRequest{Branch: "work"}, town.Proposal{Title: "Ours"}, StatusPullRequest)
		if pull.Number != 3 || st.pulls[0].Title != "Eve's" {
			t.Errorf("Propose = %+v, the fork's is %+v", pull, st.pulls[0])
		}
	})
}

func TestPullRequestIsToldWithWhatReviewersWrote(t *testing.T) {
	eachSite(t, func(t *testing.T, st *site) {
		if _, err := st.PullRequest(t.Context(), "rig", "work", ""); !errors.Is(err, town.ErrNotFound) {
			t.Errorf("of none: %v", err)
		}
		st.remote.Commit("work", "f", "1")
		st.propose(gitmgr.MergeRequest{Branch: "work"}, town.Proposal{}, StatusPullRequest)
		p := st.pulls[0]
		p.Reviews = []review{{ID: 5, User: user{"ada"}, Body: "Not yet.", State: map[Kind]string{KindGitHub: "CHANGES_REQUESTED", KindForgejo: "REQUEST_CHANGES"}[st.kind]}}
		p.Lines[5] = []line{{ID: 6, Path: "f", Line: 1, Body: "Why 1?"}}
		p.Statuses = []string{"failure"}
		for _, state := range []string{"open", "merged"} {
			p.State = state
			got, err := st.PullRequest(t.Context(), "rig", "work", "main")
			if err != nil || got.State != state || got.Checked != "failed" || got.Checks[0].Name != "ci/0" || got.Review != "changes_requested" || len(got.Comments) != 2 ||
				got.Comments[0].Body != "Not yet." || got.Comments[1].Path != "f" || got.Comments[1].Line != 1 || got.Comments[1].Author != "ada" {
				t.Errorf("PullRequest = %+v, %v", got, err)
			}
		}
		if _, err := st.PullRequest(t.Context(), "none", "work", ""); !errors.Is(err, town.ErrNotFound) {
			t.Errorf("of no rig: %v", err)
		}
	})
}
