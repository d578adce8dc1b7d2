package agentcli

import (
	"encoding/json"
	"path/filepath"

	"townd/town"
)

// claude is Claude Code, kept running over many turns: lines of JSON in by a
// pipe, lines of JSON out.
type claude struct{ noHooks }

func (claude) Name() string        { return "claude" }
func (claude) PerTurn() bool       { return false }
func (claude) Structured() bool    { return true }
func (claude) NewDecoder() Decoder { return newLineDecoder(&claudeDecoder{}) }

func (claude) Program() Program {
	return Program{Name: "claude", Install: "npm install -g @anthropic-ai/claude-code@2.1.329", Tested: "2.1.329"}
}

func (claude) Dialects() []town.Dialect { return []town.Dialect{town.DialectAnthropic} }

func (claude) Credentialed(env map[string]string) bool {
	return anyOf(env, "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN",
		"CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")
}

// Launch returns claude in its headless mode with every permission granted: nobody
// is there to be asked, and the agent's worktree and user are its bounds.
func (c claude) Launch(s Spec) (Launch, error) {
	program, err := s.look(c.Program())
	if err != nil {
		return Launch{}, err
	}
	l := Launch{
		Argv: []string{
			program, "-p",
			"--input-format", "stream-json", "--output-format", "stream-json", "--verbose", "--replay-user-messages",
			"--permission-mode", "bypassPermissions",
			// The repository's own settings may hold hooks, which claude runs unasked.
			// Its CLAUDE.md goes with them, and comes back by --add-dir.
			"--setting-sources", "user", "--add-dir", s.Workdir,
			"--strict-mcp-config",
		},
		Env: s.environ(map[string]string{
			"CLAUDE_CONFIG_DIR":                            filepath.Join(s.Home, ".claude"),
			"CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
			"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC":     "1",
			"CLAUDE_CODE_TMPDIR":                           filepath.Join(s.Home, dataDir),
			"DISABLE_AUTOUPDATER":                          "1",
			// claude refuses bypassPermissions to root unless told that it is in a sandbox.
			"IS_SANDBOX": "1",
		}),
		PipeInput: true,
		Raw:       true,
	}
	if s.SystemPrompt != "" {
		f := s.promptFile("system-prompt.md", s.SystemPrompt)
		l.Files = append(l.Files, f)
		// Without "off" a resumed session keeps the system prompt that it began with.
		l.Argv = append(l.Argv, "--append-system-prompt-file", f.Path, "--system-prompt-snapshot", "off")
	}
	if s.Model != "" {
		l.Argv = append(l.Argv, "--model", s.Model)
	}
	if s.SessionID != "" {
		l.Argv = append(l.Argv, "--resume", s.SessionID)
	}
	if s.Prompt != "" {
		l.Stdin = c.Input(s.Prompt, s.MessageID)
	}
	return l, nil
}

// Input returns one user message as a line of JSON. claude takes any text as its
// uuid, replays it, and runs a message whose uuid the session holds already no
// second time.
func (claude) Input(text, messageID string) []byte {
	type content struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	return line(struct {
		Type    string  `json:"type"`
		UUID    string  `json:"uuid,omitempty"`
		Message content `json:"message"`
	}{"user", messageID, content{"user", text}})
}

// Interrupt returns claude's own request to end the turn.
func (claude) Interrupt() []byte {
	return line(map[string]any{
		"type": "control_request", "request_id": "townd-interrupt", "request": map[string]string{"subtype": "interrupt"},
	})
}

func line(v any) []byte { return append(mustJSON(v), '\n') }

// mustJSON is for values that always marshal.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
