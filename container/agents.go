package container

import (
	"context"
	"errors"
	"net/http"

	"townd/api"
	"townd/api/wire"
	"townd/town"
)

// startAgent answers 201 for an agent it started and 200 for one that the
// identical request started before.
func (s *Server) startAgent(r *http.Request) (any, error) {
	var req town.StartRequest
	ignored, err := wire.Body(r, &req)
	if err != nil {
		return nil, err
	}
	s.cfg.Secrets.AddEnv(req.EnvVars)
	agent, created, err := s.cfg.Supervisor.Start(r.Context(), req)
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return wire.Reply{Status: status, Value: api.StartResponse{Agent: agent, Ignored: ignored}}, nil
}

func (s *Server) listAgents(r *http.Request) (any, error) {
	if !wire.WantsEvents(r) {
		return s.agentList(r.Context())
	}
	reader, err := s.agents.Join(r.Context())
	if err != nil {
		return nil, err
	}
	return wire.Writer(func(w http.ResponseWriter) {
		ctx, stop := s.whileOpen(r)
		defer stop()
		_ = reader.Send(ctx, w) // whoever reads sees that it ends
	}), nil
}

func (s *Server) agentList(context.Context) (any, error) {
	return api.AgentList{Agents: s.cfg.Supervisor.Agents()}, nil
}

// newAgentsLive returns what follows the agents. Nothing tells that one of them has
// printed, so they are looked at every second.
func (s *Server) newAgentsLive() *wire.Live {
	always := make(chan struct{})
	close(always)
	return wire.NewLive("agents", s.agentList, func() <-chan struct{} { return always })
}

func (s *Server) agentStatus(r *http.Request) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	return s.cfg.Supervisor.Agent(id)
}

// stopAgent takes a body that is not JSON for an empty one, as the first servers
// of this contract did: a stop must not fail for a comma.
func (s *Server) stopAgent(r *http.Request) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	var req town.StopRequest
	if _, err := wire.Body(r, &req); err != nil {
		if _, notJSON := errors.AsType[*wire.NotJSONError](err); !notJSON {
			return nil, err
		}
	}
	agent, err := s.cfg.Supervisor.Stop(r.Context(), id, req)
	if err != nil {
		return nil, err
	}
	return api.StopResponse{Stopped: true, Agent: agent}, nil
}

func (s *Server) messageAgent(r *http.Request) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	key, err := wire.IdempotencyKey(r)
	if err != nil {
		return nil, err
	}
	var req town.MessageRequest
	if _, err := wire.Body(r, &req); err != nil {
		return nil, err
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	messageID, err := s.cfg.Supervisor.Message(r.Context(), id, req, key)
	if err != nil {
		return nil, err
	}
	return api.MessageResponse{Sent: true, MessageID: messageID}, nil
}

func (s *Server) resizeAgent(r *http.Request) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	var req api.ResizeRequest
	if _, err := wire.Body(r, &req); err != nil {
		return nil, err
	}
	if err := town.CheckTerminalSize(req.Cols, req.Rows); err != nil {
		return nil, err
	}
	if err := s.cfg.Supervisor.Resize(r.Context(), id, req.Cols, req.Rows); err != nil {
		return nil, err
	}
	return api.ResizeResponse{Resized: true, Cols: req.Cols, Rows: req.Rows}, nil
}

func (s *Server) deleteAgent(r *http.Request) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Supervisor.Forget(r.Context(), id); err != nil {
		return nil, err
	}
	return api.DeleteResponse{Deleted: true}, nil
}
