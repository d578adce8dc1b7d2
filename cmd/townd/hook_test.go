package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"townd/coordinator/tools"
	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/town"
)

const testCapability = "capability-of-toast"

// house is a town with one agent, which may not run rm.
type house struct {
	hook func(context.Context, town.HookCall) error // before the answer

	mu      sync.Mutex
	calls   []town.HookCall
	reports []town.Report
}

func (h *house) check(capability string) error {
	if capability != testCapability {
		return fmt.Errorf("no living agent has this capability: %w", town.ErrUnauthorized)
	}
	return nil
}

func (h *house) Hook(ctx context.Context, capability string, call town.HookCall) (town.HookAnswer, error) {
	if err := h.check(capability); err != nil {
		return town.HookAnswer{}, err
	}
	h.mu.Lock()
	h.calls = append(h.calls, call)
	h.mu.Unlock()
	if h.hook != nil {
		if err := h.hook(ctx, call); err != nil {
			return town.HookAnswer{}, err
		}
	}
	if strings.HasPrefix(call.Shell, "rm ") {
		return town.HookAnswer{Deny: true, Reason: "House rule 42: nothing is removed."}, nil
	}
	return town.HookAnswer{}, nil
}

func (h *house) Report(_ context.Context, capability string, r town.Report) error {
	if err := h.check(capability); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reports = append(h.reports, r)
	return nil
}

func serveAgents(t testing.TB, path string, h *house) *tools.Server {
	t.Helper()
	s, err := tools.New(tools.Config{Path: path, Agents: h, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// agentEnv is by what an agent's programs find their town.
func agentEnv(path string) map[string]string {
	return map[string]string{socketVariable: path, capabilityVariable: testCapability}
}

// asAgent runs a command of ours as an agent's program would.
func asAgent(t testing.TB, env map[string]string, in io.Reader, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := run(t.Context(), args, stdio{in, &out, &err, func(name string) string { return env[name] }})
	return result{code, out.String(), err.String()}
}

func before(command string) string {
	b, err := json.Marshal(map[string]any{
		"hook_event_name": "PreToolUse", "cwd": "/work", "tool_use_id": "t1", "tool_name": "Bash", "tool_input": map[string]string{"command": command},
	})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// denied reports whether claude would not run the tool, and takes the reason.
func denied(r result) (reason string, ok bool) {
	var out struct {
		Hook struct {
			Decision string `json:"permissionDecision"`
			Reason   string `json:"permissionDecisionReason"`
		} `json:"hookSpecificOutput"`
	}
	if r.code == exitDenied {
		return r.err, true
	}
	if r.code != 0 || json.Unmarshal([]byte(r.out), &out) != nil {
		return "", false
	}
	return out.Hook.Reason, out.Hook.Decision == "deny"
}

func TestAHookAsksTheTown(t *testing.T) {
	h := &house{}
	path := filepath.Join(t.TempDir(), "sock")
	serveAgents(t, path, h)
	if r := asAgent(t, agentEnv(path), strings.NewReader(before("ls")), "hook", "claude", "tool.before"); r != (result{}) {
		t.Errorf("what is allowed: %+v", r)
	}
	r := asAgent(t, agentEnv(path), strings.NewReader(before("rm -rf /")), "hook", "claude")
	if reason, ok := denied(r); !ok || reason != "House rule 42: nothing is removed." {
		t.Errorf("what is denied: %+v", r)
	}
	if len(h.calls) != 2 || h.calls[1].Shell != "rm -rf /" || h.calls[1].Dir != "/work" {
		t.Errorf("told %+v", h.calls)
	}
}

// TestAHookThatGoesWrongDeniesTheTool proves that it fails closed before a tool,
// and lets everything else go on.
func TestAHookThatGoesWrongDeniesTheTool(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	serveAgents(t, path, &house{})
	refusing := filepath.Join(t.TempDir(), "sock")
	serveAgents(t, refusing, &house{hook: func(context.Context, town.HookCall) error { return errors.New("a fault") }})
	stranger := map[string]string{socketVariable: path, capabilityVariable: "of another"}
	for name, c := range map[string]struct {
		env map[string]string
		in  string
		err error // of reading, after in
	}{
		"no town":          {nil, before("ls"), nil},
		"no capability":    {map[string]string{socketVariable: path}, before("ls"), nil},
		"not its agent":    {stranger, before("ls"), nil},
		"a fault":          {agentEnv(refusing), before("ls"), nil},
		"garbage":          {agentEnv(path), "\x00{", nil},
		"nothing":          {agentEnv(path), "", nil},
		"another hook":     {agentEnv(path), `{"hook_event_name":"FromTomorrow"}`, nil},
		"an unknown input": {agentEnv(path), strings.Replace(before("ls"), `"ls"`, `["ls"]`, 1), nil},
		"too much":         {agentEnv(path), strings.Repeat(" ", maxHookBytes+1), nil},
		"a broken pipe":    {agentEnv(path), before("ls"), io.ErrUnexpectedEOF},
	} {
		for _, args := range [][]string{{"hook", "claude", "tool.before"}, {"hook", "claude"}} {
			var in io.Reader = strings.NewReader(c.in)
			if c.err != nil {
				in = io.MultiReader(in, iotest.ErrReader(c.err))
			}
			r := asAgent(t, c.env, in, args...)
			if reason, ok := denied(r); !ok || reason == "" || strings.Contains(reason+r.err, testCapability) || strings.Contains(reason+r.err, "of another") {
				t.Errorf("%s, %q: exit %d, %q, %q", name, args, r.code, r.out, r.err)
			}
		}
	}
	for _, c := range []struct {
		env       map[string]string
		point, in string
	}{
		{nil, "stop", `{"hook_event_name":"Stop"}`},
		{stranger, "thinking.started", `{"hook_event_name":"UserPromptSubmit","prompt":"x"}`},
		{agentEnv(refusing), "tool.after", strings.Replace(before("ls"), "PreToolUse", "PostToolUse", 1)},
		{agentEnv(path), "stop", "garbage"},
	} {
		if r := asAgent(t, c.env, strings.NewReader(c.in), "hook", "claude", c.point); r.code != 0 || r.out != "" || r.err == "" {
			t.Errorf("%s: exit %d, %q, %q", c.point, r.code, r.out, r.err)
		}
	}
	for _, args := range [][]string{{"hook"}, {"hook", "emacs"}, {"hook", "claude", "a", "b"}} {
		if r := asAgent(t, agentEnv(path), strings.NewReader(before("ls")), args...); r.code != exitDenied {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

func TestAHookWaitsHalfAMinuteForItsTown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := asAgent(t, agentEnv(path), strings.NewReader(before("ls")), "hook", "claude", "tool.before")
		if _, ok := denied(r); !ok || time.Since(began) != tools.Patience {
			t.Errorf("after %v: %+v", time.Since(began), r)
		}
	})
}

// TestClaudesToolIsDeniedByItsTown is the whole way: claude, its hook as a program
// of its own, the socket, the town, and back to the model. The server restarts
// while the hook is asking.
func TestClaudesToolIsDeniedByItsTown(t *testing.T) {
	program := llmtest.Program(t, "claude")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	model, url := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Tools: []llmtest.Tool{{
		Name: "Bash", Input: map[string]any{"command": "rm precious", "description": "x"},
	}}}))
	path := filepath.Join(t.TempDir(), "agents", "sock")
	asking := make(chan struct{}, 1)
	first := serveAgents(t, path, &house{hook: func(ctx context.Context, call town.HookCall) error {
		if call.Point != town.HookToolBefore {
			return nil
		}
		asking <- struct{}{}
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	cli, err := agentcli.Lookup("claude")
	if err != nil {
		t.Fatal(err)
	}
	spec := agentcli.Spec{
		Prompt: "tidy up", Workdir: t.TempDir(), Home: t.TempDir(), Townd: self, Hooks: true, Env: llmtest.ClaudeEnv(url),
		LookPath: func(string) (string, error) { return program, nil },
	}
	precious := filepath.Join(spec.Workdir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := startCLI(t, cli, spec, agentEnv(path))
	<-asking
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	h := &house{}
	serveAgents(t, path, h)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error("the tool ran")
	}
	requests := model.Requests()
	if len(requests) != 2 || !bytes.Contains(requests[1].Body, []byte("House rule 42: nothing is removed.")) {
		t.Errorf("%d requests, last one %q", len(requests), requests[len(requests)-1].Last().Text)
	}
	var points []town.HookPoint
	for _, c := range h.calls {
		points = append(points, c.Point)
	}
	if len(points) != 2 || points[0] != town.HookToolBefore || points[1] != town.HookStop {
		t.Errorf("the second server was asked %q", points)
	}
}

// startCLI runs one turn of a CLI whose input ends after the prompt.
func startCLI(t *testing.T, cli agentcli.CLI, spec agentcli.Spec, more map[string]string) <-chan error {
	t.Helper()
	l, err := cli.Launch(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range l.Files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(f.Path), 0o700), os.WriteFile(f.Path, f.Data, f.Mode)); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"PATH": os.Getenv("PATH")}
	for _, m := range []map[string]string{more, spec.Env, l.Env} {
		maps.Copy(env, m)
	}
	cmd := exec.CommandContext(t.Context(), l.Argv[0], l.Argv[1:]...)
	cmd.Dir, cmd.Stdin = spec.Workdir, bytes.NewReader(l.Stdin)
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	done := make(chan error, 1)
	go func() { // ends with the program
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w:\n%s", err, out)
		}
		done <- err
	}()
	return done
}

// BenchmarkHook is the whole round trip of a hook, its program's start included.
func BenchmarkHook(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "sock")
	serveAgents(b, path, &house{})
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), self, "hook", "claude", "tool.before")
		cmd.Env = []string{socketVariable + "=" + path, capabilityVariable + "=" + testCapability}
		cmd.Stdin = strings.NewReader(before("ls"))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			b.Fatalf("%v: %s", err, out)
		}
	}
}
