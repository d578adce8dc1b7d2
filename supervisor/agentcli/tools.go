package agentcli

// ToolPrefix returns what a CLI puts before the names of the tools that an MCP
// server of this name offers, "" for a CLI that takes no servers.
func ToolPrefix(cli, server string) string {
	switch cli {
	case "claude", "codex":
		return "mcp__" + server + "__"
	case "gemini":
		return "mcp_" + server + "_"
	case "kilo", "opencode":
		return server + "_"
	}
	return ""
}
