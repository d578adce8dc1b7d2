package agentcli

import (
	"path/filepath"
	"strings"

	"townd/town"
)

// gemini is Gemini CLI, one process a turn: the message on stdin, lines of JSON
// out. Its long-lived form (--acp) answers 0.8 s sooner, but calls no hooks around
// tools and tells neither their names and input nor cached tokens.
type gemini struct{}

func (gemini) Name() string                    { return "gemini" }
func (gemini) PerTurn() bool                   { return true }
func (gemini) Structured() bool                { return true }
func (gemini) Input(string, string) []byte     { return nil }
func (gemini) Interrupt() []byte               { return nil }
func (gemini) ToolPrefix(server string) string { return "mcp_" + server + "_" }
func (gemini) NewDecoder() Decoder             { return newLineDecoder(&geminiDecoder{}) }
func (gemini) ResumesTurns() bool              { return false }

func (gemini) Program() Program {
	return Program{Name: "gemini", Install: "npm install -g @google/gemini-cli@0.61.0", Tested: "0.61.0"}
}

func (gemini) Dialects() []town.Dialect { return []town.Dialect{town.DialectGemini} }

func (gemini) Credentialed(env map[string]string) bool {
	return anyOf(env, "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI",
		"GOOGLE_GENAI_USE_GCA", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_VERTEX_BASE_URL")
}

// geminiPromptName is a context file of our own beside the repository's: gemini adds
// what it finds of that name in the agent's home to its system instruction.
const geminiPromptName = "townd-system-prompt.md"

// Launch returns one turn of gemini, with every tool allowed: nobody is there to be
// asked, and the agent's worktree and user are its bounds.
func (g gemini) Launch(s Spec) (Launch, error) {
	program, err := s.look(g.Program())
	if err != nil {
		return Launch{}, err
	}
	if s.Prompt == "" {
		return Launch{}, invalid("prompt", "is required: each run of gemini is one turn and begins with a message")
	}
	if s.Fork {
		return Launch{}, invalid("fork", "gemini cannot go on in a copy of a session")
	}
	l := Launch{
		Argv:       []string{program, "--output-format", "stream-json", "--approval-mode", "yolo"},
		Env:        g.environ(s),
		Files:      g.files(s),
		Stdin:      []byte(s.Prompt),
		CloseStdin: true,
		PipeInput:  true,
		Raw:        true,
	}
	if strings.HasPrefix(s.Prompt, "/") { // it would be taken for a command of gemini's
		l.Stdin = append([]byte("\n"), l.Stdin...)
	}
	if !s.ProjectHooks {
		// gemini reads its settings before this flag, so the repository's own, which may
		// hold hooks and servers, are those of a folder that is not trusted. What comes
		// after trusts it: without trust there are no MCP servers and no yolo.
		l.Argv = append(l.Argv, "--skip-trust")
	}
	if model := s.model(); model != "" {
		l.Argv = append(l.Argv, "--model", model)
	}
	if s.SessionID != "" {
		l.Argv = append(l.Argv, "--resume", s.SessionID)
	}
	return l, nil
}

func (gemini) environ(s Spec) map[string]string {
	more := map[string]string{
		"GEMINI_CLI_NO_RELAUNCH": "true", // else it is two processes, and starts twice
		"NO_BROWSER":             "true",
	}
	if s.ProjectHooks {
		more["GEMINI_CLI_TRUST_WORKSPACE"] = "true"
	}
	env := s.environ(more)
	if s.Models != nil {
		env["GEMINI_API_KEY"], env["GOOGLE_GEMINI_BASE_URL"] = s.Models.Key, s.Models.BaseURL
	}
	env["GEMINI_CLI_HOME"] = s.Home // where our files are
	return env
}

func (gemini) files(s Spec) []File {
	dir := filepath.Join(s.Home, ".gemini")
	return []File{
		{Path: filepath.Join(dir, "settings.json"), Data: mustJSON(geminiSettings(s)), Mode: 0o600},
		// Written even when empty: the turn before may have had one.
		{Path: filepath.Join(dir, geminiPromptName), Data: []byte(s.SystemPrompt), Mode: 0o600},
	}
}

type settings = map[string]any

// geminiSettings returns the user's settings.json of gemini
// (geminicli.com/docs/reference/configuration).
func geminiSettings(s Spec) settings {
	all := settings{
		"general": settings{
			"enableAutoUpdate": false, "enableAutoUpdateNotification": false,
			"checkpointing": settings{"enabled": false},
			// The default of 10 is silent for minutes. One more try outlives a hiccup.
			"maxAttempts": 2,
			// Else a session that nobody resumed for 30 days is gone.
			"sessionRetention": settings{"enabled": false},
		},
		"security": settings{
			"auth":        settings{"selectedType": geminiAuth(s)},
			"folderTrust": settings{"enabled": true}, // see Launch
		},
		"context": settings{
			"fileName":     []string{"GEMINI.md", "AGENTS.md", geminiPromptName},
			"importFormat": "flat", // else what looks like @file in a prompt is replaced
		},
		"advanced":  settings{"ignoreLocalEnv": true, "autoConfigureMemory": false},
		"privacy":   settings{"usageStatisticsEnabled": false},
		"telemetry": settings{"enabled": false},
		"tools":     settings{"sandbox": false},
		"model":     settings{"skipNextSpeakerCheck": true}, // each asks the model once more
	}
	if len(s.MCP) > 0 {
		servers := settings{}
		for _, m := range s.MCP {
			args, env := make([]string, len(m.Argv)-1), map[string]string{}
			for i, arg := range m.Argv[1:] {
				args[i] = geminiLiteral(arg)
			}
			for name, value := range m.Env {
				// The variables of a server are expanded once more, by dotenv-expand.
				env[name] = geminiLiteral(strings.ReplaceAll(value, "$", `\$`))
			}
			servers[m.Name] = settings{"command": geminiLiteral(m.Argv[0]), "args": args, "env": env, "trust": true, "timeout": toolPatience.Milliseconds()}
		}
		all["mcpServers"] = servers
	}
	if s.Hooks {
		all["hooks"] = geminiHooks(s.Townd)
	}
	return all
}

// geminiAuth returns the way to log in that the caller's variables are for.
func geminiAuth(s Spec) string {
	switch {
	case s.Models != nil:
		return "gemini-api-key"
	case s.Env["GOOGLE_GENAI_USE_GCA"] == "true":
		return "oauth-personal"
	case s.Env["GOOGLE_GENAI_USE_VERTEXAI"] == "true", s.Env["GOOGLE_API_KEY"] != "" && s.Env["GEMINI_API_KEY"] == "":
		return "vertex-ai"
	}
	return "gemini-api-key"
}

// geminiLiteral returns text as it must stand in settings.json, where gemini
// replaces $NAME and ${NAME:-default}.
func geminiLiteral(text string) string {
	return strings.ReplaceAll(text, "$", "${TOWND_NO_SUCH_VARIABLE:-$}")
}
