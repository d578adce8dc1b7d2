package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"townd/coordinator/tools"
	"townd/coordinator/tools/tooltest"
	"townd/town"
)

// worker is a town's only agent, toast, which has a bead.
type worker struct{ house }

func (w *worker) Caller(capability string) (town.Agent, error) {
	return town.Agent{AgentID: "toast", RigID: "web", Role: town.RolePolecat, BeadID: "bead-toast", Generation: 3, Branch: "polecat/toast/1"}, w.check(capability)
}

func (*worker) HandOver(context.Context, string) (town.HandOver, error) {
	return town.HandOver{Commit: "abc", Commits: 1}, nil
}

func (*worker) SaveWork(context.Context, string) (town.CheckpointData, error) {
	return town.CheckpointData{}, nil
}

// serveTown serves the socket of a town with a coordinator.
func serveTown(t *testing.T, path string, hall *tooltest.Hall) (*tools.Server, *worker) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w := &worker{}
	s, err := tools.New(tools.Config{Path: path, Agents: w, Log: log, Desk: tools.NewDesk(tools.DeskConfig{Workers: w, Hall: hall.Client, Log: log})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, w
}

// connectMCP is a CLI with `townd mcp` as its server.
func connectMCP(t *testing.T, path string) *mcp.ClientSession {
	t.Helper()
	fromCLI, toServer := io.Pipe()
	fromServer, toCLI := io.Pipe()
	done := make(chan int, 1)
	go func() { // ends when the CLI closes its output
		var errs bytes.Buffer
		code := run(context.WithoutCancel(t.Context()), []string{"mcp"}, stdio{fromCLI, toCLI, &errs, func(name string) string { return agentEnv(path)[name] }})
		if errs.Len() > 0 {
			fmt.Fprintln(t.Output(), errs.String())
		}
		toCLI.Close()
		done <- code
	}()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "cli", Version: "1"}, nil).Connect(t.Context(), &mcp.IOTransport{Reader: fromServer, Writer: toServer}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = session.Close() // the pipes are closed under it
		if code := <-done; code != 0 {
			t.Errorf("townd mcp ended with %d", code)
		}
	})
	return session
}

func textOf(r *mcp.CallToolResult) string {
	var parts []string
	for _, c := range r.Content {
		if text, ok := c.(*mcp.TextContent); ok {
			parts = append(parts, text.Text)
		}
	}
	return strings.Join(parts, "\n")
}

// TestACLIHasTheTownsToolsByMCP: list and calls, errors as results, and a server that
// is gone while a call comes.
func TestACLIHasTheTownsToolsByMCP(t *testing.T) {
	hall := tooltest.Serve(t)
	hall.Beads["bead-toast"] = town.Bead{ID: "bead-toast", Title: "write a page", AgentID: "toast"}
	path := filepath.Join(t.TempDir(), "sock")
	first, _ := serveTown(t, path, hall)
	session := connectMCP(t, path)
	list, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	want := slices.Sorted(slices.Values(tools.Names(town.RolePolecat)))
	if !slices.Equal(names, want) {
		t.Errorf("tools %q, want %q", names, want)
	}
	call := func(name string, arguments any) (string, bool) {
		t.Helper()
		r, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return textOf(r), !r.IsError
	}
	for _, c := range []struct {
		tool      string
		arguments any
		ok        bool
		says      string
	}{
		{"gt_prime", map[string]any{}, true, "write a page"},
		{"gt_prime", nil, true, "write a page"},
		{"gt_note", map[string]any{"text": 5}, false, "text must be a text"},
		{"gt_bead_status", map[string]any{"bead_id": "none"}, false, "There is no such thing"},
		{"gt_note", map[string]any{"text": strings.Repeat("x", 1<<20)}, false, "at most"},
	} {
		if text, ok := call(c.tool, c.arguments); ok != c.ok || !strings.Contains(text, c.says) {
			t.Errorf("%s with %.40v: ok %v, %.300s", c.tool, c.arguments, ok, text)
		}
	}
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "gt_sling", Arguments: map[string]any{}}); err == nil {
		t.Error("a tool of the mayor's is called")
	}

	if err := first.Close(); err != nil {
		t.Error(err)
	}
	answered := make(chan string, 1)
	go func() { // ends with the answer of the next server
		text, _ := call("gt_done", map[string]any{"summary": "did all of it, tests pass"})
		answered <- text
	}()
	_, next := serveTown(t, path, hall)
	if text := <-answered; !strings.Contains(text, "Handed over") {
		t.Errorf("over a restart: %s", text)
	}
	if len(next.reports) != 1 || next.reports[0].State != town.ReasonDone || len(hall.Told("POST", "/agents/toast/done")) != 1 {
		t.Errorf("reports %+v, requests %+v", next.reports, hall.Requests())
	}
}

func TestAnAgentCallsToolsInItsShell(t *testing.T) {
	hall := tooltest.Serve(t)
	path := filepath.Join(t.TempDir(), "sock")
	_, w := serveTown(t, path, hall)
	for _, c := range []struct {
		env       map[string]string
		args      []string
		code      int
		out, errs string
	}{
		{agentEnv(path), []string{"tool"}, 0, "gt_done: Hand over", ""},
		{agentEnv(path), []string{"tool", "--json"}, 0, `"inputSchema":{`, ""},
		{agentEnv(path), []string{"tool", "gt_status", `{"message": "reading"}`}, 0, "Told.\n", ""},
		{agentEnv(path), []string{"tool", "gt_status", `{}`}, exitFailure, "message is required", ""},
		{agentEnv(path), []string{"tool", "gt_sling", `{}`}, exitFailure, "You have no tool", ""},
		{agentEnv(path), []string{"tool", "gt_status", "reading"}, exitUsage, "", "must be a JSON object"},
		{agentEnv(path), []string{"tool", "a", "b", "c"}, exitUsage, "", "accepts at most 2"},
		{agentEnv(path), []string{"report", "waiting", "which", "schema?"}, 0, "", ""},
		{agentEnv(path), []string{"report", "done", "ok"}, exitFailure, "", "at least 20 characters"},
		{agentEnv(path), []string{"report", "done", "did all of it, tests pass"}, 0, "", ""},
		{nil, []string{"tool"}, exitFailure, "", "TOWND_SOCKET is not set"},
		{nil, []string{"mcp"}, exitFailure, "", "TOWND_SOCKET is not set"},
		{map[string]string{socketVariable: path, capabilityVariable: "of another"}, []string{"tool", "gt_prime"}, exitFailure, "", "no living agent"},
		{map[string]string{socketVariable: path, capabilityVariable: "of another"}, []string{"mcp"}, exitFailure, "", "no living agent"},
	} {
		r := asAgent(t, c.env, strings.NewReader(""), c.args...)
		t.Logf("%q as %q: %d %.100s%s", c.args, c.env[capabilityVariable], r.code, r.out, r.err)
		if r.code != c.code || !strings.Contains(r.out, c.out) || !strings.Contains(r.err, c.errs) {
			t.Errorf("%q: %+v, want %d, %q, %q", c.args, r, c.code, c.out, c.errs)
		}
	}
	r := asAgent(t, agentEnv(path), strings.NewReader(""), "tool", "--json", "gt_status", `{"message": "x"}`)
	var result tools.Result
	if err := json.Unmarshal([]byte(r.out), &result); err != nil || result.Text() != "Told." {
		t.Errorf("--json: %+v, %v", r, err)
	}
	if len(w.reports) != 2 || len(hall.Told("POST", "/escalations")) != 1 || len(hall.Told("POST", "/agents/toast/done")) != 1 {
		t.Errorf("reports %+v, requests %+v", w.reports, hall.Requests())
	}
}

// TestATownWithoutACoordinatorHasNoTools: its agents report as before.
func TestATownWithoutACoordinatorHasNoTools(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	h := &house{}
	serveAgents(t, path, h)
	if r := asAgent(t, agentEnv(path), strings.NewReader(""), "tool"); r != (result{}) {
		t.Errorf("the list: %+v", r)
	}
	if r := asAgent(t, agentEnv(path), strings.NewReader(""), "tool", "gt_prime"); r.code != exitFailure || !strings.Contains(r.err, "no coordinator") {
		t.Errorf("a call: %+v", r)
	}
	if r := asAgent(t, agentEnv(path), strings.NewReader(""), "report", "done"); r != (result{}) || len(h.reports) != 1 {
		t.Errorf("a report: %+v", r)
	}
}

// FuzzWhatACLISaysIsAnswered: no line of a CLI's, however broken, brings the server of
// tools down other than in order.
func FuzzWhatACLISaysIsAnswered(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}` + "\n" +
		`{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n" + `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"gt_prime","arguments":{}}}` + "\n"))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}` + "\n"))
	f.Add([]byte("\x00\n[]\n{}\nnull\n"))
	dir := f.TempDir()
	path := filepath.Join(dir, "sock")
	serveAgents(f, path, &house{})
	f.Fuzz(func(t *testing.T, input []byte) {
		asAgent(t, agentEnv(path), bytes.NewReader(input), "mcp") // that it ends, and does not panic
	})
}
