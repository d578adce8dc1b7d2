// Package prompts holds the system prompts by role and renders them. It does no
// I/O: its templates are compiled in.
package prompts

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"townd/town"
)

// Data is what a prompt is told about its agent. What is empty is left out.
type Data struct {
	Name, Identity, AgentID, RigID, TownID string
	Branch, DefaultBranch, BeadID          string
	Workdir                                string   // absolute path of the agent's worktree
	Tools                                  []string // the town's tools that the agent can call, as gt_done
	ToolPrefix                             string   // what the agent's CLI puts before their names, as mcp__gastown__
	Report                                 bool     // the agent can run `townd report` in its shell
	Rules                                  []string // what its hooks deny, a sentence each
	CustomInstructions                     string   // the town's own, as they are
}

// ShellPrefix is the ToolPrefix of an agent whose CLI takes no servers: it calls
// the town's tools as commands in its shell.
const ShellPrefix = "townd tool "

// InShell reports whether the agent calls its tools as commands.
func (d Data) InShell() bool { return d.ToolPrefix == ShellPrefix }

// Tool returns the name under which the agent's CLI offers a tool of the town's,
// "" when the agent does not have it: a prompt names no tool that is not there.
func (d Data) Tool(name string) string {
	if !slices.Contains(d.Tools, name) {
		return ""
	}
	return d.ToolPrefix + name
}

//go:embed templates
var files embed.FS

var templates = template.Must(template.ParseFS(files, "templates/*"))

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
