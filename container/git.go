package container

import (
	"cmp"
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
	res, err := s.cfg.Supervisor.Merge(r.Context(), q)
	if err != nil {
		return nil, err
	}
	out := s.mergeResult(res)
	out.Ignored = ignored
	return out, nil
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

// The bounds of a merge's gates.
const (
	maxGates       = 20
	maxGateSeconds = 7200
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
