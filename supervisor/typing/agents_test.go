package typing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/llm/llmtest"
	"townd/supervisor/typing"
)

// asked waits until the model was asked with text, and returns how many requests
// have it and not what comes after it.
func asked(ctx context.Context, s *llmtest.Server, text, next string) int {
	for {
		arrived := s.Arrived()
		n := 0
		for _, r := range s.Requests() {
			if bytes.Contains(r.Body, []byte(text)) && !bytes.Contains(r.Body, []byte(next)) {
				n++
			}
		}
		if n > 0 {
			return n
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return 0
		}
	}
}

// TestClaudesOwnTerminalGetsAMessageOnce types into the interactive Claude Code.
func TestClaudesOwnTerminalGetsAMessageOnce(t *testing.T) {
	claude := llmtest.Program(t, "claude")
	server, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "Understood."} })
	home := t.TempDir()
	writeJSON(t, filepath.Join(home, ".claude.json"), map[string]any{
		"hasCompletedOnboarding": true, "theme": "dark", "bypassPermissionsModeAccepted": true,
		"customApiKeyResponses": map[string]any{"approved": []string{"scripted"}, "rejected": []string{}},
		"projects":              map[string]any{home: map[string]any{"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true}},
	})
	env := []string{"HOME=" + home, "CLAUDE_CONFIG_DIR=" + home, "DISABLE_AUTOUPDATER=1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "IS_SANDBOX=1"}
	for name, value := range llmtest.ClaudeEnv(url) {
		env = append(env, name+"="+value)
	}
	typeToAgent(t, server, home, env, claude)
}

// TestOpencodesOwnTerminalGetsAMessageOnce types into the interactive OpenCode.
func TestOpencodesOwnTerminalGetsAMessageOnce(t *testing.T) {
	opencode := llmtest.Program(t, "opencode")
	server, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "Understood."} })
	home := t.TempDir()
	typeToAgent(t, server, home, []string{
		"HOME=" + home, "OPENCODE_CONFIG_CONTENT=" + strings.Replace(llmtest.KiloEnv(url)["KILO_CONFIG_CONTENT"], "{", `{"model":"`+llmtest.KiloModel+`",`, 1),
		"OPENCODE_DISABLE_AUTOUPDATE=1", "OPENCODE_DISABLE_MODELS_FETCH=1",
	}, opencode)
}

// typeToAgent types messages into an agent's own terminal: the model is asked with
// each of them once, and each receipt says so.
func typeToAgent(t *testing.T, server *llmtest.Server, dir string, env []string, program string) {
	t.Helper()
	k := newKeeping(t)
	y := k.spawnIn(t, dir, env, program)
	defer y.end(t)
	for i, text := range agentMessages {
		y.message = agentMarks[i]
		began := time.Now()
		err := typing.Type(t.Context(), y, text, typing.Options{Program: program})
		t.Logf("message %d: %v after %v", i, err, time.Since(began))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		n := asked(ctx, server, agentMarks[i], agentMarks[i+1])
		cancel()
		if err != nil || n != 1 {
			t.Fatalf("message %d: %v, the model was asked %d times; keys %q\n%s", i, err, n, y.sent, y.text(t))
		}
	}
}

var (
	agentMessages = []string{"say hello, number one", "fix these, number two:\n  1. the slug\n  2. the tests\n\nand tell me", "/help is what this is about, number three", "#4 ends in a backslash, number four \\"}
	agentMarks    = []string{"number one", "number two", "number three", "number four", "number five"}
)

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
