package container

import (
	"context"
	"net/http"

	"townd/api"
	"townd/api/wire"
)

// setModel has an agent use another model from its next turn on.
func (s *Server) setModel(r *http.Request) (any, error) {
	return tune(r, func(ctx context.Context, id string, req api.ModelRequest) error {
		return s.cfg.Supervisor.SetModel(ctx, id, req.Model)
	})
}

// setSystemPrompt gives an agent another system prompt from its next turn on.
func (s *Server) setSystemPrompt(r *http.Request) (any, error) {
	return tune(r, func(ctx context.Context, id string, req api.SystemPromptRequest) error {
		return s.cfg.Supervisor.SetSystemPrompt(ctx, id, req.SystemPrompt)
	})
}

// tune decodes the body of a request that changes an agent, and carries it out.
func tune[T any](r *http.Request, change func(context.Context, string, T) error) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	var req T
	if _, err := wire.Body(r, &req); err != nil {
		return nil, err
	}
	if err := change(r.Context(), id, req); err != nil {
		return nil, err
	}
	return api.UpdateResponse{Updated: true}, nil
}
