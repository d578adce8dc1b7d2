package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// codexLine is a line of codex's: an answer, a notification, or a request of ours.
type codexLine struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *codexError     `json:"error"`
}

type codexError struct {
	Message string `json:"message"`
}

// reply answers a request of codex's, so that no turn waits for a person.
func (c *codex) reply(l codexLine) error {
	result := codexReply(l)
	if result == nil {
		return c.send(map[string]any{"id": l.ID, "error": map[string]any{"code": -32601, "message": "townd does not know " + l.Method}})
	}
	return c.send(map[string]any{"id": l.ID, "result": result})
}

// codexReply grants what codex asks leave for, and answers nothing to what only a
// person can; nil for what we do not know.
func codexReply(l codexLine) any {
	switch l.Method {
	case "item/commandExecution/requestApproval", "item/fileChange/requestApproval":
		return map[string]any{"decision": "accept"}
	case "execCommandApproval", "applyPatchApproval":
		return map[string]any{"decision": "approved"}
	case "item/permissions/requestApproval":
		var p struct {
			Permissions json.RawMessage `json:"permissions"`
		}
		if json.Unmarshal(l.Params, &p) != nil || p.Permissions == nil {
			return nil
		}
		return map[string]any{"permissions": p.Permissions, "scope": "turn"}
	case "item/tool/requestUserInput":
		return map[string]any{"answers": map[string]any{}}
	case "mcpServer/elicitation/request":
		return codexElicitation(l.Params)
	case "item/tool/call":
		return map[string]any{"contentItems": []any{}, "success": false}
	}
	return nil
}

// codexElicitation lets a tool of an MCP server be called, and fills in no form.
func codexElicitation(params json.RawMessage) any {
	var p struct {
		Meta struct {
			Kind string `json:"codex_approval_kind"`
		} `json:"_meta"`
	}
	if json.Unmarshal(params, &p) == nil && p.Meta.Kind == "mcp_tool_call" {
		return map[string]any{"action": "accept", "content": map[string]any{}}
	}
	return map[string]any{"action": "decline"}
}

// ask sends a request; then is called with its answer.
func (c *codex) ask(method string, params any, then func(codexLine) error) error {
	c.calls++
	c.asked[c.calls] = then
	return c.send(map[string]any{"id": c.calls, "method": method, "params": params})
}

// send writes a line. codex reads its input whether or not its output is read, so
// that writing here holds up nothing for long.
func (c *codex) send(m map[string]any) error {
	p, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode for codex: %w", err)
	}
	if _, err := c.in.Write(append(p, '\n')); err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("write to codex: %w", err)
	}
	return nil // codex that has gone says so by the end of its output
}
