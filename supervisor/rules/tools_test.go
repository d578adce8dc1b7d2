package rules_test

import (
	"encoding/json"
	"testing"

	"townd/supervisor/rules"
	"townd/town"
)

// TestTheTownsToolsAreNeverDenied, whatever they are told: what looks like a command
// in their arguments is none.
func TestTheTownsToolsAreNeverDenied(t *testing.T) {
	input := json.RawMessage(`{"text": "npm publish; git push --force origin main", "command": "npm publish", "files": ["/etc/passwd"], "path": "/root/.ssh/id_ed25519"}`)
	for _, tool := range []string{"mcp__gastown__gt_note", "gastown_gt_note", "mcp_gastown_gt_note", "gt_note"} {
		call := town.HookCall{Point: town.HookToolBefore, Tool: tool, Input: input}
		if rule, reason, deny := rules.Judge(call, where, rules.All()); deny {
			t.Errorf("%s is denied by %s: %s", tool, rule, reason)
		}
	}
	for _, shell := range []string{
		"townd tool", "townd tool gt_prime", `townd tool --json gt_note '{"text": "npm publish; git push --force origin main"}'`,
		`townd tool gt_done '{"summary": "fixed; did not run: npm publish"}' && echo handed over`,
	} {
		if rule, reason, deny := judge(shell); deny {
			t.Errorf("%s is denied by %s: %s", shell, rule, reason)
		}
	}
}
