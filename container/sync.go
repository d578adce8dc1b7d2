package container

import (
	"errors"
	"maps"
	"net/http"
	"slices"

	"townd/api"
	"townd/api/wire"
	"townd/town"
)

// syncConfig takes over what the coordinator says of the town. Each rig's settings are
// replaced as a whole; rigs that are not named stay as they are. All that is wrong is
// told, with nothing of those rigs taken over.
func (s *Server) syncConfig(r *http.Request) (any, error) {
	var req api.SyncRequest
	ignored, err := wire.Body(r, &req)
	if err != nil {
		return nil, err
	}
	for _, rig := range req.Rigs {
		s.cfg.Secrets.AddEnv(rig.EnvVars)
	}
	var invalid town.InvalidError
	for _, id := range slices.Sorted(maps.Keys(req.Rigs)) {
		err := s.cfg.Supervisor.SetRig(id, req.Rigs[id])
		if wrong, ok := errors.AsType[*town.InvalidError](err); ok {
			for _, issue := range wrong.Issues {
				invalid.Issues = append(invalid.Issues, town.Issue{Path: "rigs." + id + "." + issue.Path, Message: issue.Message})
			}
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	if len(invalid.Issues) > 0 {
		return nil, &invalid
	}
	return api.SyncResponse{Synced: true, Ignored: ignored}, nil
}
