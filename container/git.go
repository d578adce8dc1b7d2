package container

import (
	"net/http"

	"townd/api"
)

// refreshToken changes the town's credential for the remotes of a host. Agents have
// none of it, so none is restarted.
func (s *Server) refreshToken(r *http.Request) (any, error) {
	var req api.RefreshTokenRequest
	data, err := readBody(r)
	if err != nil {
		return nil, err
	}
	ignored, err := decode(data, &req)
	if err != nil {
		return nil, err
	}
	if req.Token == "" {
		return nil, badBody("token", "must not be empty")
	}
	s.cfg.Secrets.Add(req.Token)
	if s.cfg.SetGitToken == nil {
		return nil, &problem{status: http.StatusNotFound, text: "this town has no credentials of its own for git remotes"}
	}
	if err := s.cfg.SetGitToken(req.Host, req.Token); err != nil {
		return nil, err
	}
	return api.RefreshTokenResponse{Refreshed: true, Results: []struct{}{}, Ignored: ignored}, nil
}
