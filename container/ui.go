package container

import (
	"net/http"

	"github.com/gorilla/mux"

	"townd/container/ui"
)

// serveUI serves the dashboard: static files that everybody may have. Pages of
// other sites are kept out as elsewhere.
func (s *Server) serveUI(router *mux.Router) {
	page, err := ui.New(ui.Town{TownID: s.cfg.TownID, Version: s.cfg.Version, Hall: s.cfg.Hall != nil})
	if err != nil {
		s.log.Error("no dashboard", "error", err)
		return
	}
	for _, path := range page.Paths() {
		router.Handle(path, s.near(page)).Methods(http.MethodGet, http.MethodHead)
	}
}
