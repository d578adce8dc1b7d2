package agentcli

import (
	"encoding/json"

	"townd/town"
)

// kilo is the Kilo CLI, one process a turn: the message on stdin, lines of JSON out.
type kilo struct{}

func (kilo) Name() string                { return "kilo" }
func (kilo) PerTurn() bool               { return true }
func (kilo) Structured() bool            { return true }
func (kilo) Input(string, string) []byte { return nil }
func (kilo) Interrupt() []byte           { return nil }
func (kilo) NewDecoder() Decoder         { return newLineDecoder(&kiloDecoder{}) }

// kiloAgent is the name of the agent definition that carries our system prompt.
const kiloAgent = "townd"

// Launch returns one turn of kilo. Its configuration goes by environment alone, so
// that no file lands in the worktree.
func (kilo) Launch(s Spec) (Launch, error) {
	program, err := s.look("kilo", "npm install -g @kilocode/cli")
	if err != nil {
		return Launch{}, err
	}
	if s.Prompt == "" {
		return Launch{}, invalid("prompt", "is required: each run of kilo is one turn and begins with a message")
	}
	config, err := kiloConfig(s)
	if err != nil {
		return Launch{}, err
	}
	l := Launch{
		Argv:       []string{program, "run", "--format", "json", "--auto", "--thinking", "--agent", kiloAgent},
		Env:        s.environ(map[string]string{}),
		Stdin:      []byte(s.Prompt),
		CloseStdin: true,
		PipeInput:  true,
		Raw:        true,
	}
	l.Env["KILO_CONFIG_CONTENT"], l.Env["OPENCODE_CONFIG_CONTENT"] = config, config
	if s.Model != "" {
		l.Argv = append(l.Argv, "--model", s.Model)
	}
	if s.SessionID != "" {
		l.Argv = append(l.Argv, "--session", s.SessionID)
	}
	return l, nil
}

// kiloConfig returns the configuration: the caller's own, with our agent added.
func kiloConfig(s Spec) (string, error) {
	config := map[string]any{}
	for _, name := range []string{"OPENCODE_CONFIG_CONTENT", "KILO_CONFIG_CONTENT"} {
		if s.Env[name] == "" {
			continue
		}
		if err := json.Unmarshal([]byte(s.Env[name]), &config); err != nil {
			return "", invalid("envVars."+name, "must be a JSON object: %v", err)
		}
	}
	agents, _ := config["agent"].(map[string]any)
	if agents == nil {
		agents = map[string]any{}
	}
	own := map[string]any{"mode": "primary", "permission": "allow"}
	if s.SystemPrompt != "" {
		own["prompt"] = s.SystemPrompt
	}
	agents[kiloAgent] = own
	config["agent"] = agents
	b, err := json.Marshal(config)
	return string(b), err
}

// kiloDecoder reads the events of `kilo run --format json`.
type kiloDecoder struct{}

func (*kiloDecoder) line([]byte, func(town.EventType, any))        {}
func (*kiloDecoder) finish(int, string, func(town.EventType, any)) {}
