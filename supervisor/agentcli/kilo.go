package agentcli

import (
	"encoding/json"
	"maps"
	"path/filepath"

	"townd/town"
)

// kilo is the Kilo CLI, one process a turn: the message on stdin, lines of JSON out.
type kilo struct{ noHooks }

func (kilo) Name() string                { return "kilo" }
func (kilo) PerTurn() bool               { return true }
func (kilo) Structured() bool            { return true }
func (kilo) Input(string, string) []byte { return nil }
func (kilo) Interrupt() []byte           { return nil }
func (kilo) NewDecoder() Decoder         { return newLineDecoder(&kiloDecoder{}) }

// maxConfig is what Linux takes for one variable (MAX_ARG_STRLEN in
// linux/binfmts.h), less the longer of the two names, "=" and NUL.
const maxConfig = 128<<10 - len("OPENCODE_CONFIG_CONTENT=") - 1

// kiloAgent is the name of the agent definition that carries our system prompt.
const kiloAgent = "townd"

func (kilo) Program() Program {
	return Program{Name: "kilo", Install: "npm install -g @kilocode/cli@7.7.7", Tested: "7.7.7"}
}

func (kilo) Dialects() []town.Dialect { return []town.Dialect{town.DialectOpenAI} }

func (kilo) Credentialed(env map[string]string) bool {
	return anyOf(env, "KILO_API_KEY", "KILO_CONFIG_CONTENT", "OPENCODE_CONFIG_CONTENT")
}

// Launch returns one turn of kilo. Its configuration goes by environment, so that
// no file lands in the worktree.
func (k kilo) Launch(s Spec) (Launch, error) {
	program, err := s.look(k.Program())
	if err != nil {
		return Launch{}, err
	}
	if s.Prompt == "" {
		return Launch{}, invalid("prompt", "is required: each run of kilo is one turn and begins with a message")
	}
	l := Launch{
		Argv: []string{program, "run", "--format", "json", "--auto", "--thinking", "--agent", kiloAgent},
		Env: s.environ(map[string]string{
			"KILO_DISABLE_AUTOUPDATE": "1",
			// The repository's own configuration may hold plugins, which kilo runs unasked.
			"KILO_DISABLE_PROJECT_CONFIG": "1",
			"KILO_TELEMETRY_LEVEL":        "off",
		}),
		Stdin:      []byte(s.Prompt),
		CloseStdin: true,
		PipeInput:  true,
		Raw:        true,
	}
	var prompt *File
	if s.SystemPrompt != "" {
		f := s.promptFile("system-prompt.md", s.SystemPrompt)
		prompt, l.Files = &f, []File{f}
	}
	config, err := kiloConfig(s, prompt)
	if err != nil {
		return Launch{}, err
	}
	l.Env["KILO_CONFIG_CONTENT"], l.Env["OPENCODE_CONFIG_CONTENT"] = config, config
	if s.Model != "" {
		l.Argv = append(l.Argv, "--model", s.Model)
	}
	if s.SessionID != "" {
		l.Argv = append(l.Argv, "--session", s.SessionID)
	} else {
		l.Argv = append(l.Argv, "--title", kiloAgent) // else it asks the model for one
	}
	return l, nil
}

// kiloConfig returns the configuration: the caller's own, with our agent added,
// and the repository's instructions, which KILO_DISABLE_PROJECT_CONFIG leaves out.
func kiloConfig(s Spec, prompt *File) (string, error) {
	config, err := callersConfig(s)
	if err != nil {
		return "", err
	}
	own := map[string]string{"mode": "primary", "permission": "allow"}
	if prompt != nil {
		// Not the text itself: kilo would replace what looks like {env:NAME} in it.
		own["prompt"] = "{file:" + prompt.Path + "}"
	}
	agents := map[string]json.RawMessage{}
	var instructions []string
	for key, list := range map[string]any{"agent": &agents, "instructions": &instructions} {
		if raw, ok := config[key]; ok {
			if err := json.Unmarshal(raw, list); err != nil {
				return "", invalid("envVars.KILO_CONFIG_CONTENT", "has a member %q of another type than kilo's: %v", key, err)
			}
		}
	}
	if agents == nil {
		agents = map[string]json.RawMessage{}
	}
	agents[kiloAgent] = mustJSON(own)
	for _, name := range []string{"AGENTS.md", "CLAUDE.md"} {
		instructions = append(instructions, filepath.Join(s.Workdir, name))
	}
	config["agent"], config["instructions"] = mustJSON(agents), mustJSON(instructions)
	all := string(mustJSON(config))
	if len(all) > maxConfig {
		return "", invalid("envVars.KILO_CONFIG_CONTENT", "is %d bytes with what the town adds, the most is %d", len(all), maxConfig)
	}
	return all, nil
}

func callersConfig(s Spec) (map[string]json.RawMessage, error) {
	config := map[string]json.RawMessage{}
	for _, name := range []string{"OPENCODE_CONFIG_CONTENT", "KILO_CONFIG_CONTENT"} {
		if s.Env[name] == "" {
			continue
		}
		var given map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s.Env[name]), &given); err != nil {
			return nil, invalid("envVars."+name, "must be a JSON object: %v", err)
		}
		maps.Copy(config, given)
	}
	return config, nil
}
