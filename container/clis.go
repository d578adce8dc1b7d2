package container

import (
	"net/http"

	"townd/api"
)

func (s *Server) listCLIs(r *http.Request) (any, error) {
	list := api.CLIList{CLIs: []api.CLI{}}
	for _, c := range s.cfg.Supervisor.CLIs(r.Context()) {
		list.CLIs = append(list.CLIs, api.CLI(c))
	}
	return list, nil
}
