package container

import (
	"mime"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/gorilla/mux"

	"townd/api"
	"townd/api/wire"
)

// artifacts answers with what is kept of a run besides its output.
func (s *Server) artifacts(r *http.Request) (any, error) {
	id, run, err := runOf(r)
	if err != nil {
		return nil, err
	}
	return s.cfg.Supervisor.Artifacts(r.Context(), id, run)
}

// artifact answers with one of them. It is an agent's, so it may be anything, and is for
// keeping: no browser shows it, whatever it says of itself.
func (s *Server) artifact(r *http.Request) (any, error) {
	id, run, err := runOf(r)
	if err != nil {
		return nil, err
	}
	name, err := url.PathUnescape(mux.Vars(r)["name"])
	if err != nil {
		return nil, wire.BadParam("name", "cannot be percent-decoded")
	}
	f, a, err := s.cfg.Supervisor.OpenArtifact(r.Context(), id, run, name)
	if err != nil {
		return nil, err
	}
	return wire.Writer(func(w http.ResponseWriter) {
		defer f.Close()
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.Name}))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("ETag", `"`+a.SHA256+`"`)
		if a.Truncated {
			h.Set(api.HeaderTruncated, "true")
		}
		http.ServeContent(w, r, "", time.Time{}, &patientFile{f, http.NewResponseController(w)})
	}), nil
}

// patientFile is a file of which each part gives the caller writeTimeout to take the one before.
type patientFile struct {
	*os.File
	control *http.ResponseController
}

func (p *patientFile) Read(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return p.File.Read(b)
}
