package container

import (
	"context"
	"errors"
	"net/http"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/town"
)

// The deadline of a drain, in seconds.
const (
	drainSeconds     = 60
	drainSecondsMost = 3600
)

// drain saves every agent's work and answers with what was saved where. A caller
// that leaves does not end it: it may be leaving because the machine ends.
func (s *Server) drain(r *http.Request) (any, error) {
	data, err := wire.ReadBody(r)
	if err != nil {
		return nil, err
	}
	req := api.DrainRequest{DeadlineSeconds: drainSeconds}
	if len(data) > 0 {
		if _, err := wire.Decode(data, &req); err != nil {
			return nil, err
		}
	}
	if !(req.DeadlineSeconds > 0 && req.DeadlineSeconds <= drainSecondsMost) {
		return nil, wire.BadBody("deadlineSeconds", "must be above 0, and %d at most", drainSecondsMost)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Duration(req.DeadlineSeconds*float64(time.Second)))
	defer cancel()
	manifest := api.Manifest{Agents: []api.SavedAgent{}}
	for _, saved := range s.cfg.Supervisor.Drain(ctx) {
		a := api.SavedAgent{AgentID: saved.AgentID, Branch: saved.Branch, Status: saved.Status}
		if saved.Err != nil {
			a.Error = s.whyNotSaved(saved.AgentID, saved.Err)
		}
		if saved.Checkpoint.Commit != "" || saved.Checkpoint.LeftOutCount > 0 || saved.Pushed {
			a.Checkpoint = &api.Checkpoint{
				Ref: saved.Checkpoint.Ref, Commit: saved.Checkpoint.Commit, Pushed: saved.Pushed,
				LeftOut: saved.Checkpoint.LeftOut, LeftOutCount: saved.Checkpoint.LeftOutCount,
			}
		}
		manifest.Agents = append(manifest.Agents, a)
	}
	return manifest, nil
}

// whyNotSaved is what a caller may read of it.
func (s *Server) whyNotSaved(agent string, err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "not saved within the deadline"
	case town.HTTPStatus(err) == http.StatusInternalServerError:
		s.log.Error("not saved", "agent", agent, "error", err)
		return "internal error"
	}
	return s.cfg.Secrets.Mask(err.Error())
}
