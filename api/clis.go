package api

import (
	"context"
	"net/http"
)

// CLI is an agent CLI, as GET /clis tells of it.
type CLI struct {
	Name       string `json:"name"`    // as a start request names it
	Program    string `json:"program"` // "" for one that is built in, or given by the request
	Path       string `json:"path"`    // of the program, "" when it is not installed
	Version    string `json:"version"` // "" when it is not installed or did not tell
	Tested     string `json:"tested"`  // the version that the town was tested with
	InRange    bool   `json:"inRange"` // version is tested, but for its last number
	Installed  bool   `json:"installed"`
	Install    string `json:"install"`    // the command that installs it
	Credential bool   `json:"credential"` // the town has a credential for a model that it speaks to, or it needs none
	Error      string `json:"error,omitempty"`
}

// CLIList is the body of GET /clis.
type CLIList struct {
	CLIs []CLI `json:"clis"`
}

// CLIs returns the agent CLIs that the town knows. The first call may take as long
// as the slowest of their programs takes to tell its version, at most 20 s.
func (c *Client) CLIs(ctx context.Context) ([]CLI, error) {
	var out CLIList
	_, err := c.ask(ctx, call{method: http.MethodGet, path: "/clis"}, &out)
	return out.CLIs, err
}
