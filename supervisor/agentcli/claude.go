package agentcli

import (
	"path/filepath"

	"townd/town"
)

// claude is Claude Code, kept running over many turns: lines of JSON in by a
// pipe, lines of JSON out.
type claude struct{}

func (claude) Name() string        { return "claude" }
func (claude) PerTurn() bool       { return false }
func (claude) Structured() bool    { return true }
func (claude) ResumesTurns() bool  { return true }
func (claude) NewDecoder() Decoder { return newLineDecoder(&claudeDecoder{}) }

func (claude) ToolPrefix(server string) string { return "mcp__" + server + "__" }

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
//
// Without --include-partial-messages: each piece of a word would be a line of about 270
// bytes in the transcript (2.1.329, measured: 533 kB for an answer of 8 kB), and a run's
// first output would be dropped for it after some 250,000 tokens.
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
		},
		Env:       s.environ(claudeEnv(s)),
		PipeInput: true,
		Raw:       true,
	}
	if s.ProjectHooks {
		l.Argv = append(l.Argv, "--setting-sources", "user,project")
	} else {
		// The repository's own settings may hold hooks, which claude runs unasked.
		// Its CLAUDE.md goes with them, and comes back by --add-dir.
		l.Argv = append(l.Argv, "--setting-sources", "user", "--add-dir", s.Workdir)
	}
	file := func(name, text string, args ...string) {
		f := s.promptFile(name, text)
		l.Files = append(l.Files, f)
		l.Argv = append(l.Argv, append([]string{args[0], f.Path}, args[1:]...)...)
	}
	if s.Hooks {
		townd, err := s.townd()
		if err != nil {
			return Launch{}, err
		}
		file("claude-settings.json", string(claudeSettings(townd)), "--settings")
	}
	if len(s.MCP) > 0 {
		file("claude-mcp.json", string(claudeMCP(s.MCP)), "--mcp-config")
	}
	l.Argv = append(l.Argv, "--strict-mcp-config")
	if s.SystemPrompt != "" {
		// Without "off" a resumed session keeps the system prompt that it began with.
		file("system-prompt.md", s.SystemPrompt, "--append-system-prompt-file", "--system-prompt-snapshot", "off")
	}
	if model := s.model(); model != "" {
		l.Argv = append(l.Argv, "--model", model)
	}
	if s.Effort != "" {
		l.Argv = append(l.Argv, "--effort", string(s.Effort))
	}
	if s.SessionID != "" {
		l.Argv = append(l.Argv, "--resume", s.SessionID)
		if s.Fork {
			l.Argv = append(l.Argv, "--fork-session")
		}
	}
	if s.Prompt != "" {
		l.Stdin = c.Input(s.Prompt, s.MessageID)
	}
	return l, nil
}

// claudeEnv returns the variables of a start. With a gateway, every errand that
// claude has of its own goes to the same model by the same way, and no other
// credential that is about is taken.
func claudeEnv(s Spec) map[string]string {
	env := map[string]string{
		"CLAUDE_CONFIG_DIR":                            filepath.Join(s.Home, ".claude"),
		"CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC":     "1",
		"CLAUDE_CODE_TMPDIR":                           filepath.Join(s.Home, dataDir),
		"DISABLE_AUTOUPDATER":                          "1",
		// A turn that a crash cut goes on when its session is resumed: see Input.
		"CLAUDE_CODE_RESUME_INTERRUPTED_TURN": "1",
		// A start that fails is told as a result, with its reason as a word.
		"CLAUDE_CODE_STARTUP_FAILURE_RESULTS": "1",
		// claude refuses bypassPermissions to root unless told that it is in a sandbox.
		"IS_SANDBOX": "1",
	}
	if s.Models == nil {
		return env
	}
	env["ANTHROPIC_BASE_URL"] = s.Models.BaseURL
	env["ANTHROPIC_AUTH_TOKEN"] = s.Models.Key
	for _, name := range []string{"ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"} {
		env[name] = ""
	}
	if model := s.model(); model != "" {
		for _, name := range []string{
			"ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL",
			"ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_FABLE_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL",
		} {
			env[name] = model
		}
	}
	return env
}

// claudeMCP returns the file of --mcp-config. Without alwaysLoad the model must
// search for a server's tools before it can call them.
func claudeMCP(servers []MCPServer) []byte {
	type server struct {
		Type       string            `json:"type"`
		Command    string            `json:"command"`
		Args       []string          `json:"args"`
		Env        map[string]string `json:"env,omitempty"`
		AlwaysLoad bool              `json:"alwaysLoad"`
	}
	all := make(map[string]server, len(servers))
	for _, s := range servers {
		all[s.Name] = server{"stdio", s.Argv[0], append([]string{}, s.Argv[1:]...), s.Env, true}
	}
	return mustJSON(map[string]any{"mcpServers": all})
}

// Input returns one user message as a line of JSON. claude takes any text as its
// uuid, and replays the message, which is its receipt.
//
// What claude 2.1.329 does with a message, measured, with the variable
// CLAUDE_CODE_RESUME_INTERRUPTED_TURN that Launch sets:
//   - idle: it asks the model, writes the message to the session's file at about
//     the same time, and prints the replay only with the model's first words. A
//     message that is acknowledged was on disk in every trial; one that is not may
//     have reached the model.
//   - busy: it prints the replay at the next tool's end, when it adds the message
//     to the turn, or as the next turn begins. The session's file has it 50 ms
//     later; until then only a "queue-operation" that resuming does not heed.
//   - killed with -9 anywhere from our write on, then resumed and given the same
//     message under the same uuid: from idle it is run exactly once, whether the
//     file has it (then the cut turn goes on by itself, and the uuid is known) or
//     not. From busy it is run at least once: the cut turn goes on first, and
//     if the message was part of that already, it comes a second time.
//   - given again under the same uuid after its turn: it is replayed, not run.
//
// Killed within the first moments of a new session, claude has no file of it yet
// and refuses to resume: "No conversation found".
//
// Without the variable a turn that was cut is not gone on with, though its message
// is acknowledged; and the file has a message 100 ms after the model only.
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
