package container_test

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"townd/api"
	"townd/container"
	"townd/gitmgr/forge"
	"townd/gitmgr/gittest"
	"townd/town"
)

// W19, K2: the town makes a branch a pull request where it is asked to or set to.
func TestBranchIsMergedByPullRequest(t *testing.T) {
	remote := gittest.NewAt(t, filepath.Join(t.TempDir(), "r.git"), gittest.Options{})
	h := remote.ServeGitHub("", nil)
	tt := newTownWith(t, func(c *container.Config) {
		c.PullRequests = forge.NewProposals(forge.ProposalsConfig{
			Git: c.Git, Merge: c.Supervisor.Merge, Kinds: map[string]forge.Kind{strings.TrimPrefix(h.URL, "http://"): forge.KindGitHub},
		})
		c.ByPullRequest = func(rigID string) bool { return rigID == "r" }
	})
	base := remote.Git("rev-parse", "main")
	head := remote.Commit("work", "work.txt", "work\n")
	req := api.MergeRequest{RigID: "r", GitURL: h.Repo(), Branch: "work", Gates: []api.Gate{{Command: "test -f work.txt"}}}
	for i := range 2 {
		res, err := tt.Merge(t.Context(), req)
		if err != nil || res.Status != "pull_request" || res.Head != head || len(res.Gates) != 1 || remote.Git("rev-parse", "main") != base {
			t.Fatalf("Merge() %d = %+v, %v", i, res, err)
		}
		if p := res.PullRequest; p.Number != 7 || p.URL == "" || p.State != "open" || !p.Mergeable || p.Checked != "pending" || p.Checks[0].Name != "test" || p.Title != "commit" {
			t.Errorf("pull request is %+v", p)
		}
	}
	got, err := tt.PullRequest(t.Context(), "r", "work", "")
	if err != nil || got.Number != 7 || len(got.Comments) != 1 || got.Comments[0].Body != "Why?" || got.Comments[0].Path != "work.txt" {
		t.Errorf("PullRequest() = %+v, %v", got, err)
	}
	commit := h.Merged()
	if res, err := tt.Merge(t.Context(), req); err != nil || res.Status != "merged" || res.Commit != commit || res.PullRequest.State != "merged" {
		t.Errorf("Merge() after it was merged = %+v, %v", res, err)
	}
	req.Mode = "merge"
	if res, err := tt.Merge(t.Context(), req); err != nil || res.Status != "merged" || res.PullRequest != nil || remote.Git("rev-parse", "main") == base {
		t.Errorf("Merge() by itself = %+v, %v", res, err)
	}
}

func TestPullRequestsThatCannotBeAreRefused(t *testing.T) {
	tt := newTown(t)
	none, made := tt.PullRequest(t.Context(), "r", "work", "main")
	if !errors.Is(made, town.ErrNotFound) {
		t.Errorf("PullRequest() of a town without = %+v, %v", none, made)
	}
	if _, err := tt.Merge(t.Context(), api.MergeRequest{RigID: "r", Branch: "b", Mode: "pull-request"}); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("Merge() in a town without = %v", err)
	}
	tt = newTownWith(t, func(c *container.Config) {
		c.PullRequests = forge.NewProposals(forge.ProposalsConfig{Git: c.Git, Merge: c.Supervisor.Merge})
	})
	for body, want := range map[string]string{
		`{"rigId":"r","branch":"b","mode":"magic"}`:                                                                           "mode",
		`{"rigId":"r","branch":"b","pullRequest":{"title":"` + strings.Repeat("x", 257) + `"}}`:                               "pullRequest",
		`{"rigId":"r","branch":"b","pullRequest":{"draft":"yes"}}`:                                                            "pullRequest.draft",
		fmt.Sprintf(`{"rigId":"r","branch":"b","mode":"pull-request","gitUrl":"file://%s"}`, filepath.Join(t.TempDir(), "x")): "forge of remote",
	} {
		refused(t, tt.call(http.MethodPost, "/git/merge", body), http.StatusBadRequest, want)
	}
	for query, want := range map[string]string{
		"": "rigId", "?rigId=r": "branch", "?rigId=r&branch=-x": "branch", "?rigId=../r&branch=b": "rigId", "?rigId=r&branch=b&targetBranch=-m": "targetBranch",
		"?rigId=r&branch=b&branch=c": "branch",
	} {
		refused(t, tt.call(http.MethodGet, "/git/pull-request"+query, ""), http.StatusBadRequest, want)
	}
	refused(t, tt.call(http.MethodGet, "/git/pull-request?rigId=r&branch=b", ""), http.StatusNotFound, "r")
	refused(t, tt.callAs("", http.MethodGet, "/git/pull-request?rigId=r&branch=b", ""), http.StatusUnauthorized, "token")
}
