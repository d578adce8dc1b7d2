package supervisor

import (
	"context"

	"townd/gitmgr"
)

// GitCaller returns what the agent whose capability it is may do at the git proxy:
// reach its own rig and push its own branch. It returns ErrUnauthorized for a
// capability of no live agent.
func (s *Supervisor) GitCaller(_ context.Context, capability string) (gitmgr.Caller, error) {
	a, err := s.holder(capability)
	if err != nil {
		return gitmgr.Caller{}, err
	}
	req := a.request.Load()
	return gitmgr.Caller{RigID: req.RigID, Branch: req.Branch}, nil
}

// gitEnv is the environment by which the git of an agent reaches its rig's remote
// through the town's proxy, with the agent's capability for a credential.
func (s *Supervisor) gitEnv(rec *record, capability string) []string {
	if s.cfg.GitProxy == "" {
		return nil
	}
	req := &rec.Request
	lfs, env, err := s.cfg.Git.AgentLFS(req.RigID, req.Branch, s.cfg.GitProxy)
	if err != nil { // the id of a rig that was checked before
		s.log.Error("agent's git without Git LFS", "agent", req.AgentID, "error", err)
	}
	return append(env, gitmgr.ConfigEnv(append(gitmgr.AgentConfig(s.cfg.GitProxy, req.RigID, req.GitURL, capability), lfs...))...)
}
