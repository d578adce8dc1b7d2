package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"townd/api"
	"townd/supervisor/agentcli"
	"townd/town"
)

// runHere runs a command that needs no town.
func runHere(t *testing.T, args ...string) result {
	t.Helper()
	return runTownd(t.Context(), map[string]string{"TOWND_HOME": t.TempDir()}, args...)
}

func TestPromptIsPrintedWithoutATown(t *testing.T) {
	for _, role := range town.Roles() {
		got := runHere(t, "prompt", string(role))
		if got.code != 0 || !strings.HasPrefix(got.out, "You are NAME") || strings.Contains(got.out, "gt_") {
			t.Errorf("prompt %s: code %d, %s%s", role, got.code, got.out, got.err)
		}
	}
	got := runHere(t, "prompt", "polecat", "--cli", "claude", "--name", "Toast", "--rig", "web", "--branch", "polecat/toast/bd-1", "--bead", "bd-1", "--tools", "gt_prime,gt_done")
	wantContains(t, "prompt", got.out, "You are Toast, a polecat", "`mcp__gastown__gt_prime`", "push origin HEAD:polecat/toast/bd-1", "bd-1 in the title", "Printing the environment")
	for _, args := range [][]string{{"prompt"}, {"prompt", "king"}, {"prompt", "polecat", "mayor"}} {
		if got := runHere(t, args...); got.code != exitUsage {
			t.Errorf("%v: code %d, want %d: %s", args, got.code, exitUsage, got.err)
		}
	}
	if got := runHere(t, "prompt", "polecat", "--cli", "vim"); got.code != exitFailure || !strings.Contains(got.err, "must be one of") {
		t.Errorf("an unknown CLI: code %d: %s", got.code, got.err)
	}
}

// TestAgentsSaysWhatToDo proves part 8 of issue 3 with programs on the PATH of a
// real server.
func TestAgentsSaysWhatToDo(t *testing.T) {
	bin := t.TempDir()
	for name, script := range map[string]string{
		"claude": "#!/bin/sh\necho '99.1.0 (Claude Code)'\n",
		"kilo":   "#!/bin/sh\necho trouble >&2\nexit 3\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := bin + ":/usr/bin:/bin"
	tt := startTownWith(t, map[string]string{"PATH": path})
	table := tt.ok("agents")
	wantContains(t, "agents", table, "CLI", "TO DO", "99.1.0", "run kilo --version: exit status 3")
	var list api.CLIList
	if err := json.Unmarshal([]byte(tt.ok("agents", "--json")), &list); err != nil || len(list.CLIs) != len(agentcli.Names()) {
		t.Fatalf("agents --json: %v, %d CLIs", err, len(list.CLIs))
	}
	byName := map[string]api.CLI{}
	for _, c := range list.CLIs {
		byName[c.Name] = c
	}
	if c := byName["claude"]; c.Version != "99.1.0" || c.InRange || !c.Installed || c.Credential || c.Path != filepath.Join(bin, "claude") {
		t.Errorf("claude is %+v", c)
	}
	if c := byName["demo"]; !c.Installed || !c.Credential || !c.InRange {
		t.Errorf("demo is %+v", c)
	}
}

func TestWhatIsToBeDoneComesInOrder(t *testing.T) {
	ready := api.CLI{Name: "claude", Program: "claude", Installed: true, Version: "1.2.3", Tested: "1.2.0", InRange: true, Credential: true, Install: "npm i claude"}
	for want, change := range map[string]func(*api.CLI){
		"-":                     func(*api.CLI) {},
		"npm i claude":          func(c *api.CLI) { c.Installed, c.Credential, c.InRange = false, false, false },
		"set ANTHROPIC_API_KEY": func(c *api.CLI) { c.Credential, c.InRange = false, false },
		"tested with 1.2.0":     func(c *api.CLI) { c.InRange = false },
		"exit status 3":         func(c *api.CLI) { c.Error = "exit status 3" },
	} {
		c := ready
		change(&c)
		if got := toDo(c); !strings.Contains(got, want) {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
}

func TestCostFitsItsColumn(t *testing.T) {
	for want, u := range map[string]town.Usage{
		"-": {}, "12 tok": {InputTokens: 12}, "45k tok": {InputTokens: 40_000, OutputTokens: 5_999}, "1.5M tok": {CacheReadTokens: 1_500_000},
		"<$0.01": {CostUSD: 0.001, InputTokens: 10}, "$0.05": {CostUSD: 0.05}, "$12.35": {CostUSD: 12.345001}, "$1234": {CostUSD: 1234.4},
	} {
		if got := costOf(u); got != want {
			t.Errorf("costOf(%+v) = %q, want %q", u, got, want)
		}
	}
}

func TestEventsAreSaidInWords(t *testing.T) {
	event := func(typ town.EventType, data any) town.Event {
		b, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		return town.Event{Event: typ, Data: b}
	}
	for _, c := range []struct {
		event       town.Event
		text, drawn string
	}{
		{event(town.EventHook, town.HookData{Name: town.HookToolBefore, Tool: "Bash", Decision: "allow"}), "tool.before Bash", ""},
		{event(town.EventHook, town.HookData{Name: town.HookToolBefore, Tool: "Bash", Decision: "deny", Reason: "not yours."}), "tool.before Bash: denied: not yours.", "✗ tool.before Bash: denied: not yours."},
		{event(town.EventBudget, town.BudgetData{Limit: "costUsd", Used: 0.8, Of: 1}), "costUsd: $0.80 of $1.00 (80%)", "● costUsd: $0.80 of $1.00 (80%)"},
		{event(town.EventBudget, town.BudgetData{Limit: "seconds", Used: 90, Of: 90}), "seconds: 1m30s of 1m30s, used up", "● seconds: 1m30s of 1m30s, used up"},
		{event(town.EventBudget, town.BudgetData{Limit: "tokens", Used: 1200000, Of: 1500000}), "tokens: 1200000 of 1500000 (80%)", "● tokens: 1200000 of 1500000 (80%)"},
		{event(town.EventMessage, town.MessageData{MessageID: "m1", Receipt: town.ReceiptSeen}), "m1 seen", ""},
		{event(town.EventMessage, town.MessageData{MessageID: "m1", Receipt: town.ReceiptFailed}), "m1 failed", "✗ message m1 did not reach the agent"},
		{event(town.EventToolCall, town.ToolCallData{Name: "Bash", Input: []byte(`{"command":"a && b","timeout":9}`)}), `{"id":"","name":"Bash","input":{"command":"a \u0026\u0026 b","timeout":9}}`, "→ Bash a && b"},
		{event(town.EventToolCall, town.ToolCallData{Name: "Grep", Input: []byte(`{"pattern":"<a&b>"}`)}), `{"id":"","name":"Grep","input":{"pattern":"\u003ca\u0026b\u003e"}}`, `→ Grep {"pattern":"<a&b>"}`},
		{event(town.EventSession, town.SessionData{ID: "s"}), `{"id":"s"}`, ""},
	} {
		text, err := eventText(c.event)
		drawn, err2 := eventLine(c.event)
		if err != nil || err2 != nil || text != c.text || drawn != c.drawn {
			t.Errorf("%s %s is said %q (%v), drawn %q (%v)", c.event.Event, c.event.Data, text, err, drawn, err2)
		}
	}
	if _, err := eventText(town.Event{Event: town.EventHook, Data: []byte("{")}); err == nil {
		t.Error("broken data is said without an error")
	}
}
