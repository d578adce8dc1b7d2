package agentcli

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"townd/town"
)

// engine is Kilo or OpenCode, which is one engine under two names. It is kept
// running as `serve` by a driver: one DriverInput a line in, the events of its
// server and one DriverOutput a line out.
type engine struct {
	driven
	name    string // of the CLI, its program and its driver
	install string
	tested  string
	prefix  string   // of its variables
	keys    []string // variables that hold a key of the maker's own models
	quiet   []string // what else to turn off, besides engineQuiet
}

var (
	kilo = engine{
		name: "kilo", install: "npm install -g @kilocode/cli@7.7.7", tested: "7.7.7", prefix: "KILO_",
		keys:  []string{"KILO_API_KEY", "KILO_AUTH_CONTENT"},
		quiet: []string{"KILO_DISABLE_SESSION_INGEST", "KILO_DISABLE_PRESENCE", "KILO_DISABLE_CODEBASE_INDEXING"},
	}
	opencode = engine{
		name: "opencode", install: "npm install -g opencode-ai@1.18.33", tested: "1.18.33", prefix: "OPENCODE_",
		keys: []string{"OPENCODE_API_KEY", "OPENCODE_AUTH_CONTENT"},
	}
)

// engineQuiet is what the engine reaches out for unasked, after the prefix.
var engineQuiet = []string{"DISABLE_AUTOUPDATE", "DISABLE_LSP_DOWNLOAD", "DISABLE_SHARE", "DISABLE_EMBEDDED_WEB_UI"}

// EngineAgent is the name of the engine's agent definition that carries our
// system prompt, and the title of its sessions: without one it asks the model.
const EngineAgent = "townd"

// engineProvider is the name of the town's gateway among the engine's providers.
const engineProvider = "town"

func (e engine) Name() string                  { return e.name }
func (e engine) Program() Program              { return Program{Name: e.name, Install: e.install, Tested: e.tested} }
func (engine) Dialects() []town.Dialect        { return []town.Dialect{town.DialectOpenAI} }
func (engine) ToolPrefix(server string) string { return server + "_" }
func (engine) NewDecoder() Decoder             { return newLineDecoder(&engineDecoder{}) }

func (e engine) Credentialed(env map[string]string) bool {
	return anyOf(env, append(e.keys, e.configVar(), "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY")...)
}

func (e engine) configVar() string { return e.prefix + "CONFIG_CONTENT" }

// Launch returns the driver of the engine's server. The configuration goes by
// environment, so that no file lands in the worktree.
func (e engine) Launch(s Spec) (Launch, error) {
	program, err := s.look(e.Program())
	if err != nil {
		return Launch{}, err
	}
	model := s.Model
	if s.Models != nil {
		model = engineProvider + "/" + s.Models.Model
	}
	argv, err := s.drive(e.name, program, model, "")
	if err != nil {
		return Launch{}, err
	}
	config, files, err := e.config(s)
	if err != nil {
		return Launch{}, err
	}
	l := Launch{Argv: argv, Env: s.environ(e.environ(s)), Files: files, PipeInput: true, Raw: true}
	l.Env[e.configVar()] = config
	if dir := l.Env["XDG_CONFIG_HOME"]; dir != "" {
		l.Files = append(l.Files, noInstall(filepath.Join(dir, e.name))...)
	}
	if s.Prompt != "" {
		l.Stdin = e.Input(s.Prompt, s.MessageID)
	}
	return l, nil
}

func (e engine) environ(s Spec) map[string]string {
	env := map[string]string{}
	if e.prefix == kilo.prefix {
		env["KILO_TELEMETRY_LEVEL"] = "off"
	}
	for _, name := range e.quiet {
		env[name] = "1"
	}
	off := slices.Clone(engineQuiet)
	if !s.ProjectHooks {
		// The repository's own configuration may hold plugins, which run unasked.
		off = append(off, "DISABLE_PROJECT_CONFIG")
	}
	if s.Models != nil { // neither the list of the world's models nor a way to log in to them is needed
		off = append(off, "DISABLE_MODELS_FETCH", "DISABLE_DEFAULT_PLUGINS")
	}
	for _, name := range off {
		env[e.prefix+name] = "1"
	}
	return env
}

// noInstall makes the engine believe that its plugins' library is installed in
// its configuration's directory. Else it fetches that from npm at each first
// start, and plugins wait for it; ours needs none.
func noInstall(dir string) []File {
	return []File{
		{Path: filepath.Join(dir, "package-lock.json"), Data: []byte(`{"packages":{"":{"dependencies":{"@opencode-ai/plugin":"*"}}}}`), Mode: 0o600},
		{Path: filepath.Join(dir, "node_modules/.keep"), Mode: 0o600},
	}
}

// maxConfig is what Linux takes for one variable (MAX_ARG_STRLEN in
// linux/binfmts.h), less the longer of the two names, "=" and NUL.
const maxConfig = 128<<10 - len("OPENCODE_CONFIG_CONTENT=") - 1

// config returns the configuration: the caller's own, with our agent, models,
// servers and plugin added. It returns the files that it names, too.
func (e engine) config(s Spec) (string, []File, error) {
	config := map[string]json.RawMessage{}
	if given := s.Env[e.configVar()]; given != "" {
		if err := json.Unmarshal([]byte(given), &config); err != nil {
			return "", nil, invalid("envVars."+e.configVar(), "must be a JSON object: %v", err)
		}
	}
	var files []File
	agent := map[string]any{"mode": "primary", "permission": engineAllows}
	if s.SystemPrompt != "" {
		f := s.promptFile("system-prompt.md", s.SystemPrompt)
		files = append(files, f)
		// Not the text itself: the engine would replace what looks like {env:NAME} in it.
		agent["prompt"] = "{file:" + f.Path + "}"
	}
	objects := map[string]map[string]any{"agent": {EngineAgent: agent}, "mcp": engineServers(s.MCP), "provider": engineModels(s)}
	lists := map[string][]string{}
	if !s.ProjectHooks { // which leaves the repository's instructions out
		lists["instructions"] = []string{filepath.Join(s.Workdir, "AGENTS.md"), filepath.Join(s.Workdir, "CLAUDE.md")}
	}
	if s.Hooks {
		f := e.plugin(s)
		files = append(files, f)
		lists["plugin"] = []string{"file://" + f.Path}
	}
	if config["snapshot"] == nil {
		// It commits the worktree to a repository of its own at every step; the town has checkpoints.
		config["snapshot"] = mustJSON(false)
	}
	if err := e.merge(config, objects, lists); err != nil {
		return "", nil, err
	}
	all := string(mustJSON(config))
	if len(all) > maxConfig {
		return "", nil, invalid("envVars."+e.configVar(), "is %d bytes with what the town adds, the most is %d", len(all), maxConfig)
	}
	return all, files, nil
}

// merge adds members to the objects and elements to the lists of config.
func (e engine) merge(config map[string]json.RawMessage, objects map[string]map[string]any, lists map[string][]string) error {
	wrong := func(key string, err error) error {
		return invalid("envVars."+e.configVar(), "has a member %q of another type than %s's: %v", key, e.name, err)
	}
	for key, add := range objects {
		object := map[string]any{}
		if raw, ok := config[key]; ok {
			var given map[string]json.RawMessage
			if err := json.Unmarshal(raw, &given); err != nil {
				return wrong(key, err)
			}
			for name, value := range given {
				object[name] = value
			}
		}
		maps.Copy(object, add)
		if len(object) > 0 {
			config[key] = mustJSON(object)
		}
	}
	for key, add := range lists {
		var list []json.RawMessage // a plugin may be an array of itself and its options
		if raw, ok := config[key]; ok {
			if err := json.Unmarshal(raw, &list); err != nil {
				return wrong(key, err)
			}
		}
		for _, value := range add {
			list = append(list, mustJSON(value))
		}
		config[key] = mustJSON(list)
	}
	return nil
}

// engineAllows is every permission: nobody is there to be asked, and the agent's
// worktree and user are its bounds. Tools that wait for a person are not offered.
var engineAllows = map[string]string{"*": "allow", "question": "deny", "suggest": "deny", "plan_enter": "deny", "plan_exit": "deny"}

// engineServers returns the configuration of MCP servers.
func engineServers(servers []MCPServer) map[string]any {
	all := map[string]any{}
	for _, m := range servers {
		all[m.Name] = map[string]any{
			"type": "local", "command": m.Argv, "environment": m.Env, "enabled": true,
			"timeout": toolPatience.Milliseconds(), // of its start, too
		}
	}
	return all
}

// engineModels returns the town's gateway as a provider of one model. Its limits
// are generous: the gateway knows the true ones. The library it names is part of
// the engine.
func engineModels(s Spec) map[string]any {
	if s.Models == nil {
		return nil
	}
	model := map[string]any{
		"name": s.Models.Model, "tool_call": true, "attachment": true,
		"limit": map[string]int{"context": 200_000, "output": 32_000},
	}
	if s.Effort != "" {
		model["variants"] = map[string]any{string(s.Effort): map[string]any{"reasoningEffort": s.Effort}}
	}
	return map[string]any{engineProvider: map[string]any{
		"npm": "@ai-sdk/openai-compatible", "name": "Town",
		"options": map[string]string{"baseURL": strings.TrimSuffix(s.Models.BaseURL, "/"), "apiKey": s.Models.Key},
		"models":  map[string]any{s.Models.Model: model},
	}}
}
