// Package prompts holds the system prompts by role and renders them. It does no
// I/O: its templates are compiled in.
package prompts

import (
	"embed"
	"fmt"
	"strings"
	"text/template"

	"townd/town"
)

// Data is what a prompt is told about its agent. Empty fields are left out.
type Data struct {
	Name, Identity, AgentID, RigID, TownID string
	Branch, DefaultBranch, BeadID          string
	Workdir                                string   // absolute path of the agent's worktree
	Tools                                  []string // the town's tools this agent can call, as gt_done
	ToolPrefix                             string   // what the agent's CLI puts before their names, as mcp__gastown__
}

//go:embed templates
var files embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(files, "templates/*.md.tmpl"))

// Render returns the system prompt of a role. It returns ErrInvalid for a role
// that has none.
func Render(role town.Role, d Data) (string, error) {
	t := templates.Lookup(string(role) + ".md.tmpl")
	if t == nil {
		return "", fmt.Errorf("prompt of role %q: %w", role, town.ErrInvalid)
	}
	var b strings.Builder
	if err := t.Execute(&b, d); err != nil {
		return "", fmt.Errorf("render prompt of role %s: %w", role, err)
	}
	return b.String(), nil
}
