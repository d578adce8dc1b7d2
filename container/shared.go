package container

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gorilla/mux"

	"townd/api"
	"townd/api/wire"
	"townd/town"
)

// shareRun makes a link to one run of an agent.
func (s *Server) shareRun(r *http.Request) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	var req api.ShareRequest
	data, err := wire.ReadBody(r)
	if err == nil && len(data) > 0 { // it may be absent
		_, err = wire.Decode(data, &req)
	}
	if err != nil {
		return nil, err
	}
	life, err := s.cfg.Shares.lifetime(req.Seconds)
	if err != nil {
		return nil, err
	}
	run, err := s.openRun(r.Context(), id, req.Run)
	if err != nil {
		return nil, err
	}
	run.close()
	made, token, err := s.cfg.Shares.add(run, life)
	if err != nil {
		return nil, err
	}
	s.log.Info("run shared", "agent", id, "run", run.id, "share", made.ID, "expires", made.ExpiresAt)
	// The part after # stays in the browser: no server on the way sees or logs it.
	return wire.Reply{Status: http.StatusCreated, Value: api.ShareMade{Share: made, URL: s.cfg.PublicURL + "/#/shared/" + token}}, nil
}

func (s *Server) listShares(r *http.Request) (any, error) {
	alive := func(sh api.Share) bool { return s.holds(r.Context(), sh) }
	return api.ShareList{Shares: s.cfg.Shares.list(alive), LongestSeconds: s.cfg.Shares.longest.Seconds()}, nil
}

func (s *Server) revokeShare(r *http.Request) (any, error) {
	id, err := wire.PathID("id", mux.Vars(r)["id"])
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Shares.remove(id); err != nil {
		return nil, err
	}
	s.log.Info("shared link taken back", "share", id)
	return api.DeleteResponse{Deleted: true}, nil
}

// holds reports whether the run of a link is still known: it goes with its agent.
func (s *Server) holds(ctx context.Context, sh api.Share) bool {
	run, err := s.openRun(ctx, sh.AgentID, sh.Run)
	if err == nil {
		run.close()
	}
	return !errors.Is(err, town.ErrNotFound)
}

// withShare is a call for the holder of a link, and for nobody else.
func (s *Server) withShare(handle func(*http.Request, *share) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		token, err := wire.Bearer(r)
		if err != nil {
			return nil, errShare
		}
		sh, err := s.cfg.Shares.find(token)
		if err != nil {
			return nil, err
		}
		if !s.holds(r.Context(), sh.Share) {
			return nil, errShare
		}
		return handle(r, sh)
	}
}

// sharedRun tells what a link shows.
func (s *Server) sharedRun(r *http.Request, sh *share) (any, error) {
	run, err := s.openRun(r.Context(), sh.AgentID, sh.Run)
	if err != nil {
		return nil, err
	}
	run.close()
	agent, err := s.cfg.Supervisor.Agent(sh.AgentID)
	if err != nil {
		return nil, err
	}
	return api.SharedRun{
		TownID: s.cfg.TownID, AgentID: sh.AgentID, Name: agent.Name, Run: sh.Run, Structured: sh.Structured, Status: run.status, ExpiresAt: sh.ExpiresAt,
	}, nil
}

// sharedTranscript answers as transcript does, for a run on a terminal.
func (s *Server) sharedTranscript(r *http.Request, sh *share) (any, error) {
	if sh.Structured {
		return nil, errSharedWords
	}
	return s.transcriptOf(r, sh.AgentID, sh.Run)
}

// sharedTicket gives a ticket for a stream of a run on a terminal, to watch.
func (s *Server) sharedTicket(r *http.Request, sh *share) (any, error) {
	mode, err := ticketMode(r)
	if err != nil {
		return nil, err
	}
	if mode != town.TicketRead {
		return nil, fmt.Errorf("a shared link is for watching only: %w", town.ErrForbidden)
	}
	if sh.Structured {
		return nil, errSharedWords
	}
	return s.ticketFor(ticket{agent: sh.AgentID, mode: mode, share: sh})
}

// sharedEvents answers as events does, for a run without a terminal.
func (s *Server) sharedEvents(r *http.Request, sh *share) (any, error) {
	if !sh.Structured {
		return nil, errSharedScreen
	}
	return s.eventsOf(r, eventSource{agent: sh.AgentID, run: sh.Run, share: sh})
}

// A link shows what a person would look at: of a program without a terminal not its
// protocol, which may hold more than what was said and done.
var (
	errSharedWords  = fmt.Errorf("this run has no terminal; what was said and done is at GET /shared/events: %w", town.ErrConflict)
	errSharedScreen = fmt.Errorf("this run has a terminal: GET /shared/transcript, POST /shared/stream-ticket: %w", town.ErrConflict)
)

// errShareOver ends what a link has opened.
var errShareOver = errors.New("the shared link has ended")
