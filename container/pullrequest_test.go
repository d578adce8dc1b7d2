package container_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"townd/api"
	"townd/container"
	"townd/gitmgr/forge"
	"townd/gitmgr/gittest"
	"townd/town"
)

// hub is a GitHub with one repository, o/r, as far as a pull request needs it; all of
// its API is tested in the package forge.
type hub struct {
	*httptest.Server
	remote *gittest.Remote
	pull   map[string]any // nil for none
}

func newHub(t *testing.T) *hub {
	h := &hub{remote: gittest.NewAt(t, filepath.Join(t.TempDir(), "r.git"), gittest.Options{})}
	git := http.StripPrefix("/o", h.remote.ServeHTTP("", "").Handler())
	const repo = "/api/v3/repos/o/r"
	answer := func(v func(*http.Request) any) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) { _ = json.NewEncoder(w).Encode(v(req)) }
	}
	m := http.NewServeMux()
	m.Handle("/o/", git)
	m.HandleFunc("GET "+repo, answer(func(*http.Request) any { return map[string]any{"default_branch": "main"} }))
	m.HandleFunc("GET "+repo+"/pulls", answer(func(req *http.Request) any {
		if h.pull == nil || h.pull["state"] != req.URL.Query().Get("state") {
			return []any{}
		}
		return []any{h.pull}
	}))
	m.HandleFunc("POST "+repo+"/pulls", answer(func(req *http.Request) any {
		var in struct{ Title, Head, Base string }
		_ = json.NewDecoder(req.Body).Decode(&in)
		h.pull = map[string]any{
			"number": 7, "html_url": "https://hub.example/o/r/pull/7", "title": in.Title, "state": "open", "mergeable": true,
			"head": map[string]any{"ref": in.Head, "sha": h.remote.Git("rev-parse", in.Head)}, "base": map[string]any{"ref": in.Base},
		}
		return h.pull
	}))
	m.HandleFunc("GET "+repo+"/pulls/7", answer(func(*http.Request) any { return h.pull }))
	m.HandleFunc("GET "+repo+"/pulls/7/{list}", answer(func(req *http.Request) any {
		if req.PathValue("list") != "comments" {
			return []any{}
		}
		return []any{map[string]any{"user": map[string]any{"login": "ada"}, "body": "Why?", "path": "work.txt", "line": 1, "created_at": "2026-01-02T03:04:05Z"}}
	}))
	m.HandleFunc("GET "+repo+"/commits/{sha}/check-runs", answer(func(*http.Request) any {
		return map[string]any{"check_runs": []any{map[string]any{"name": "test", "status": "in_progress"}}}
	}))
	m.HandleFunc("GET "+repo+"/commits/{sha}/status", answer(func(*http.Request) any { return map[string]any{} }))
	h.Server = httptest.NewServer(m)
	t.Cleanup(h.Close)
	return h
}

// W19, K2: the town makes a branch a pull request where it is asked to or set to.
func TestBranchIsMergedByPullRequest(t *testing.T) {
	h := newHub(t)
	tt := newTownWith(t, func(c *container.Config) {
		c.PullRequests = forge.NewProposals(forge.ProposalsConfig{
			Git: c.Git, Merge: c.Supervisor.Merge, Kinds: map[string]forge.Kind{strings.TrimPrefix(h.URL, "http://"): forge.KindGitHub},
		})
		c.ByPullRequest = func(rigID string) bool { return rigID == "r" }
	})
	base := h.remote.Git("rev-parse", "main")
	head := h.remote.Commit("work", "work.txt", "work\n")
	req := api.MergeRequest{RigID: "r", GitURL: h.URL + "/o/r.git", Branch: "work", Gates: []api.Gate{{Command: "test -f work.txt"}}}
	for i := range 2 {
		res, err := tt.Merge(t.Context(), req)
		if err != nil || res.Status != "pull_request" || res.Head != head || len(res.Gates) != 1 || h.remote.Git("rev-parse", "main") != base {
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
	h.pull["state"], h.pull["merged_at"], h.pull["merge_commit_sha"] = "closed", "2026-01-02T03:04:05Z", strings.Repeat("e", 40)
	if res, err := tt.Merge(t.Context(), req); err != nil || res.Status != "merged" || res.Commit != strings.Repeat("e", 40) || res.PullRequest.State != "merged" {
		t.Errorf("Merge() after it was merged = %+v, %v", res, err)
	}
	req.Mode = "merge"
	if res, err := tt.Merge(t.Context(), req); err != nil || res.Status != "merged" || res.PullRequest != nil || h.remote.Git("rev-parse", "main") == base {
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
