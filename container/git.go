package container

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/gitmgr"
	"townd/town"
)

// refreshToken changes the town's credential for the remotes of a host, or, for a
// request that names the town and no host, the one for its coordinator. Agents have
// none of it, so none is restarted.
func (s *Server) refreshToken(r *http.Request) (any, error) {
	var req api.RefreshTokenRequest
	ignored, err := wire.Body(r, &req)
	if err != nil {
		return nil, err
	}
	if req.Token == "" {
		return nil, wire.BadBody("token", "must not be empty")
	}
	s.cfg.Secrets.Add(req.Token)
	if s.refreshCoordinator(&req) {
		return api.RefreshTokenResponse{Refreshed: true, Results: []struct{}{}, Ignored: ignored}, nil
	}
	if s.cfg.SetGitToken == nil {
		return nil, &wire.Refusal{Status: http.StatusNotFound, Text: "this town has no credentials of its own for git remotes"}
	}
	if err := s.cfg.SetGitToken(req.Host, req.Token); err != nil {
		return nil, err
	}
	return api.RefreshTokenResponse{Refreshed: true, Results: []struct{}{}, Ignored: ignored}, nil
}

// setupRepo clones or fetches a rig's repository and answers when that is done.
func (s *Server) setupRepo(r *http.Request) (any, error) {
	var req api.SetupRequest
	ignored, err := wire.Body(r, &req)
	if err != nil {
		return nil, err
	}
	p, err := s.cfg.Supervisor.PrepareRig(r.Context(), req.RigID, req.GitURL)
	if err != nil {
		return nil, err
	}
	return api.SetupResponse{
		RigID: req.RigID, Cloned: p.Cloned, DefaultBranch: p.DefaultBranch, Commit: p.Commit, Ignored: ignored,
	}, nil
}

// merge merges a branch on the remote and answers when that is decided, or for an
// entry of the coordinator's merge queue at once. That it could not be merged is an
// answer, not an error.
func (s *Server) merge(r *http.Request) (any, error) {
	var req api.MergeRequest
	ignored, err := wire.Body(r, &req)
	if err != nil {
		return nil, err
	}
	q, err := mergeRequest(&req)
	if err != nil {
		return nil, err
	}
	if req.EntryID != "" && s.cfg.Coordinator != nil {
		return s.mergeLater(&req, q, ignored)
	}
	if req.CallbackURL != "" {
		ignored = append(ignored, "callbackUrl")
		slices.Sort(ignored)
	}
	res, pull, err := s.mergeNow(r.Context(), &req, q)
	if err != nil {
		return nil, err
	}
	out := s.mergeResult(res)
	out.PullRequest, out.Ignored = pull, ignored
	return out, nil
}

// mergeNow merges a branch, or makes it a pull request, which is nil otherwise.
func (s *Server) mergeNow(ctx context.Context, req *api.MergeRequest, q gitmgr.MergeRequest) (gitmgr.MergeResult, *town.PullRequest, error) {
	if !s.proposes(req) {
		res, err := s.cfg.Supervisor.Merge(ctx, q)
		return res, nil, err
	}
	if s.cfg.PullRequests == nil {
		return gitmgr.MergeResult{}, nil, errNoPullRequests
	}
	var p town.Proposal
	if req.PullRequest != nil {
		p = *req.PullRequest
	}
	return s.cfg.PullRequests.Propose(ctx, q, p)
}

// PullRequests makes branches into pull requests at the forges of their rigs' remotes.
type PullRequests interface {
	// Propose brings a branch to its remote and opens or updates its pull request, which
	// is nil where there is none.
	Propose(ctx context.Context, q gitmgr.MergeRequest, p town.Proposal) (gitmgr.MergeResult, *town.PullRequest, error)
	// PullRequest returns the pull request of a branch, ErrNotFound if there is none.
	PullRequest(ctx context.Context, rigID, branch, target string) (town.PullRequest, error)
}

var errNoPullRequests = &wire.Refusal{Status: http.StatusNotFound, Text: "this town makes no pull requests"}

// The modes of a merge.
const (
	modeMerge       = "merge"
	modePullRequest = "pull-request"
)

func (s *Server) proposes(req *api.MergeRequest) bool {
	return req.Mode == modePullRequest || req.Mode == "" && s.cfg.ByPullRequest != nil && s.cfg.ByPullRequest(req.RigID)
}

// pullRequest answers with where a branch's pull request stands.
func (s *Server) pullRequest(r *http.Request) (any, error) {
	p, err := wire.ParseParams(r)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, name := range []string{"rigId", "branch", "targetBranch"} {
		if values[name], err = p.One(name); err != nil {
			return nil, err
		}
	}
	if err := town.CheckID(values["rigId"]); err != nil {
		return nil, wire.BadParam("rigId", "%v", err)
	}
	if err := gitmgr.CheckBranch(values["branch"]); err != nil {
		return nil, wire.BadParam("branch", "%v", err)
	}
	if target := values["targetBranch"]; target != "" && gitmgr.CheckBranch(target) != nil {
		return nil, wire.BadParam("targetBranch", "is no name of a branch")
	}
	if s.cfg.PullRequests == nil {
		return nil, errNoPullRequests
	}
	return s.cfg.PullRequests.PullRequest(r.Context(), values["rigId"], values["branch"], values["targetBranch"])
}

// mergeRequest checks what gitmgr cannot name a field for.
func mergeRequest(req *api.MergeRequest) (gitmgr.MergeRequest, error) {
	q := gitmgr.MergeRequest{
		RigID: req.RigID, URL: req.GitURL, Branch: req.Branch, Target: req.TargetBranch, Strategy: gitmgr.Strategy(req.Strategy),
		Message: req.Message, DeleteBranch: req.DeleteBranch, CreateTarget: req.CreateTarget,
		Name: "townd", Email: "townd@town.invalid",
	}
	var invalid town.InvalidError
	wrong := func(path, message string) {
		invalid.Issues = append(invalid.Issues, town.Issue{Path: path, Message: message})
	}
	if err := town.CheckID(req.RigID); err != nil {
		wrong("rigId", err.Error())
	}
	if err := gitmgr.CheckBranch(req.Branch); err != nil {
		wrong("branch", err.Error())
	}
	if req.Mode != "" && req.Mode != modeMerge && req.Mode != modePullRequest {
		wrong("mode", "must be "+modeMerge+" or "+modePullRequest)
	}
	if p := req.PullRequest; p != nil && (len(p.Title) > maxTitleBytes || len(p.Body) > maxProposalBytes) {
		wrong("pullRequest", fmt.Sprintf("its title must be at most %d bytes, its body %d", maxTitleBytes, maxProposalBytes))
	}
	if len(req.Gates) > maxGates {
		wrong("gates", fmt.Sprintf("are more than %d", maxGates))
	}
	for i, g := range req.Gates {
		if g.Command == "" {
			wrong(fmt.Sprintf("gates[%d].command", i), "is required")
		}
		if !(g.TimeoutSeconds >= 0 && g.TimeoutSeconds <= maxGateSeconds) {
			wrong(fmt.Sprintf("gates[%d].timeoutSeconds", i), fmt.Sprintf("must be 0 to %d", maxGateSeconds))
		}
		q.Gates = append(q.Gates, gitmgr.Gate{
			Name: cmp.Or(g.Name, fmt.Sprint("gate ", i+1)), Command: g.Command, Timeout: time.Duration(g.TimeoutSeconds * float64(time.Second)),
		})
	}
	if len(invalid.Issues) > 0 {
		return q, &invalid
	}
	return q, nil
}

// The bounds of a merge's gates and of what a pull request says, which are GitHub's.
const (
	maxGates         = 20
	maxGateSeconds   = 7200
	maxTitleBytes    = 256
	maxProposalBytes = 64 << 10
)

func (s *Server) mergeResult(res gitmgr.MergeResult) api.MergeResult {
	out := api.MergeResult{
		Status: string(res.Status), Message: s.cfg.Secrets.Mask(res.Message), Target: res.Target, Commit: res.Commit, Head: res.Head, Base: res.Base,
		Conflicts: make([]api.Conflict, 0, len(res.Conflicts)), Truncated: res.Truncated, Gates: make([]api.GateResult, 0, len(res.Gates)),
		Attempts: res.Attempts, BranchDeleted: res.BranchDeleted,
	}
	for _, c := range res.Conflicts {
		out.Conflicts = append(out.Conflicts, api.Conflict{Path: c.Path, Kind: c.Kind, Hunks: strings.ToValidUTF8(c.Hunks, "\uFFFD")})
	}
	for _, g := range res.Gates {
		out.Gates = append(out.Gates, api.GateResult{
			Name: g.Name, ExitCode: g.Exit, TimedOut: g.TimedOut, Output: s.cfg.Secrets.Mask(strings.ToValidUTF8(g.Output, "\uFFFD")), Seconds: g.Took.Seconds(),
		})
	}
	return out
}
