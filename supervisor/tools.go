package supervisor

import (
	"time"

	"townd/supervisor/agentcli"
	"townd/town"
)

// toolServer is the name by which CLIs know the server of the town's tools.
const toolServer = "gastown"

// townTools returns the names of the town's tools of a role.
func (s *Supervisor) townTools(role town.Role) []string {
	if s.cfg.Tools == nil || s.cfg.Socket == "" {
		return nil
	}
	return s.cfg.Tools(role)
}

// toolServers returns the server of the town's tools for a CLI that takes servers.
// Not every CLI hands its own environment down, so the server's is told.
func (s *Supervisor) toolServers(cli agentcli.CLI, tools []string, capability string) []agentcli.MCPServer {
	if len(tools) == 0 || cli.ToolPrefix(toolServer) == "" {
		return nil
	}
	return []agentcli.MCPServer{{
		Name: toolServer, Argv: []string{s.cfg.Townd, "mcp"},
		Env: map[string]string{"TOWND_SOCKET": s.cfg.Socket, "GASTOWN_SESSION_TOKEN": capability},
	}}
}

// toolCall is a call of a tool that is under way.
type toolCall struct {
	name  string
	began time.Time
}

// maxToolCalls bounds the calls of an agent that are timed at once.
const maxToolCalls = 256

// toolCalled notes when a tool was called. The events carry no times of the CLI's
// own: a call lasts as long as the town sees it last.
func (a *agent) toolCalled(d town.ToolCallData) {
	if len(a.tools) < maxToolCalls {
		a.tools[d.ID] = toolCall{d.Name, time.Now()}
		a.nameTools()
	}
}

func (a *agent) toolEnded(d town.ToolResultData) {
	call, ok := a.tools[d.ID]
	if !ok {
		return
	}
	delete(a.tools, d.ID)
	a.nameTools()
	if a.s.cfg.ToolUsed != nil {
		a.s.cfg.ToolUsed(call.name, d.OK, time.Since(call.began))
	}
}
