package container

import (
	"net/http"
	"strconv"
	"strings"

	"townd/api"
	"townd/api/wire"
)

// The bounds of a patch in an answer.
const (
	diffBytes     = 4 << 20
	diffBytesMost = 64 << 20
)

// diff answers with what an agent changed, as JSON or as the exact patch.
func (s *Server) diff(r *http.Request) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	p, err := wire.ParseParams(r)
	if err != nil {
		return nil, err
	}
	limit, err := p.Number("maxBytes", 1, diffBytesMost, diffBytes)
	if err != nil {
		return nil, err
	}
	d, err := s.cfg.Supervisor.Diff(r.Context(), id, limit)
	if err != nil {
		return nil, err
	}
	return wire.Writer(func(w http.ResponseWriter) {
		w.Header().Set(api.HeaderTruncated, strconv.FormatBool(d.Truncated))
		if wire.Accepts(r, "text/x-diff") {
			w.Header().Set("Content-Type", "text/x-diff")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			_, _ = w.Write(d.Patch)
			return
		}
		out := api.Diff{
			Base: d.Base, Head: d.Head, Files: make([]api.DiffFile, len(d.Files)),
			Patch: strings.ToValidUTF8(string(d.Patch), "\uFFFD"), Truncated: d.Truncated,
		}
		for i, f := range d.Files {
			out.Files[i] = api.DiffFile{
				Path: f.Path, OldPath: f.OldPath, Status: f.Status, Added: f.Added, Deleted: f.Deleted, Binary: f.Binary,
			}
		}
		wire.Answer(w, out)
	}), nil
}
