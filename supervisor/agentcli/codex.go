package agentcli

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"townd/town"
)

// codex is Codex, kept running over many turns as `codex app-server` behind its
// driver.
type codex struct{ driven }

func (codex) Name() string                    { return "codex" }
func (codex) ToolPrefix(server string) string { return "mcp__" + server + "__" }
func (codex) NewDecoder() Decoder             { return newLineDecoder(&codexDecoder{}) }

func (codex) Program() Program {
	return Program{Name: "codex", Install: "npm install -g @openai/codex@0.169.0", Tested: "0.169.0"}
}

func (codex) Dialects() []town.Dialect { return []town.Dialect{town.DialectResponses} }

// codexKeys are the variables in which callers give a key, the first one first.
var codexKeys = []string{"CODEX_API_KEY", "OPENAI_API_KEY"}

func (codex) Credentialed(env map[string]string) bool {
	return anyOf(env, append([]string{"CODEX_HOME", "CODEX_ACCESS_TOKEN", "OPENAI_BASE_URL"}, codexKeys...)...)
}

const (
	codexModelKey = "TOWND_MODEL_KEY" // the variable of the key to the town's gateway
	openAIURL     = "https://api.openai.com/v1"
)

// Launch returns codex behind its driver. All configuration is in arguments, which
// go before every file; no secret is among it.
func (c codex) Launch(s Spec) (Launch, error) {
	program, err := s.look(c.Program())
	if err != nil {
		return Launch{}, err
	}
	l := Launch{Env: s.environ(nil), PipeInput: true, Raw: true}
	if s.Models != nil {
		l.Env[codexModelKey] = s.Models.Key
	}
	systemFile := ""
	if s.SystemPrompt != "" {
		l.Files = []File{s.promptFile("system-prompt.md", s.SystemPrompt)}
		systemFile = l.Files[0].Path
	}
	if l.Argv, err = s.drive("codex", program, s.model(), systemFile); err != nil {
		return Launch{}, err
	}
	config, err := codexConfig(&s, l.Env)
	if err != nil {
		return Launch{}, err
	}
	for _, setting := range config {
		l.Argv = append(l.Argv, "-c", setting)
	}
	if s.Prompt != "" {
		l.Stdin = c.Input(s.Prompt, s.MessageID)
	}
	return l, nil
}

// codexConfig returns codex's settings, as its flag -c takes them, and adds to env
// what they refer to.
func codexConfig(s *Spec, env map[string]string) ([]string, error) {
	config := []string{
		"analytics.enabled=false",
		"check_for_update_on_startup=false",
		"feedback.enabled=false",
		`web_search="disabled"`,
		"allow_login_shell=false", // /etc/profile would set another PATH, without townd
		"features.apps=false",     // else it asks its maker's servers
		"features.plugins=false",  // likewise
		// A goal begins turns by itself, which nobody asked for.
		"features.goals=false",
		// Without an end to its retries a model out of reach is never told.
		"features.unbounded_connection_retries=false",
	}
	provider, err := codexProvider(s)
	if err != nil {
		return nil, err
	}
	if provider != nil {
		config = append(config, `model_provider="town"`, "model_providers="+toml(map[string]any{"town": provider}))
	}
	servers, err := codexServers(s, env)
	if err != nil {
		return nil, err
	}
	if servers != nil {
		config = append(config, "mcp_servers="+toml(servers))
	}
	if s.Hooks {
		// A command on a terminal takes more input later, past every hook.
		config = append(config, "hooks="+toml(codexHooks(s.Townd)), "features.unified_exec_tty=false")
	}
	if s.ProjectHooks {
		config = append(config, "projects="+toml(map[string]any{s.Workdir: map[string]any{"trust_level": "trusted"}}))
	}
	return config, nil
}

// codexProvider returns the way to the model: the town's gateway, or the caller's
// key, for which codex would want a login. It is nil when neither is given.
func codexProvider(s *Spec) (map[string]any, error) {
	base, key := "", ""
	switch i := slices.IndexFunc(codexKeys, func(name string) bool { return s.Env[name] != "" }); {
	case s.Models != nil:
		base, key = s.Models.BaseURL, codexModelKey
	case i >= 0:
		base, key = firstOf(s.Env["OPENAI_BASE_URL"], openAIURL), codexKeys[i]
	case s.Env["OPENAI_BASE_URL"] != "":
		base = s.Env["OPENAI_BASE_URL"]
	default:
		return nil, nil
	}
	if u, err := url.Parse(base); err != nil || u.User != nil || u.RawQuery != "" {
		return nil, invalid("envVars.OPENAI_BASE_URL", "must be a URL without user, password or query: codex is given it in its arguments")
	}
	provider := map[string]any{
		"name": "town", "base_url": base, "wire_api": "responses",
		"request_max_retries": 2, "stream_max_retries": 2, // its own 4 and 5 keep an error back for a minute
	}
	if key != "" {
		provider["env_key"] = key
	}
	return provider, nil
}

// codexServers returns the MCP servers. Their variables reach them by way of
// codex's own, so that none is in an argument.
func codexServers(s *Spec, env map[string]string) (map[string]any, error) {
	servers := map[string]any{}
	for _, m := range s.MCP {
		for name, value := range m.Env {
			given, ok := env[name]
			if !ok {
				given, ok = s.Env[name]
			}
			if ok && given != value {
				return nil, invalid("mcp", "%s wants another %s than codex has", m.Name, name)
			}
			env[name] = value
		}
		servers[m.Name] = map[string]any{
			"command": m.Argv[0], "args": m.Argv[1:], "env_vars": append([]string{}, slices.Sorted(maps.Keys(m.Env))...),
			// An agent without the town's tools is no use: its start fails, and says why.
			"required": true, "startup_timeout_sec": 60, "tool_timeout_sec": toolPatience.Seconds(),
			"default_tools_approval_mode": "approve",
		}
	}
	if len(servers) == 0 {
		return nil, nil
	}
	return servers, nil
}

// toml writes v in one line of TOML. Its strings are JSON's, which escapes all
// that TOML's must but DEL.
func toml(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var members []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			members = append(members, toml(key)+"="+toml(v[key]))
		}
		return "{" + strings.Join(members, ",") + "}"
	case []any:
		items := make([]string, len(v))
		for i := range v {
			items[i] = toml(v[i])
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	return strings.ReplaceAll(string(mustJSON(v)), "\x7f", `\u007f`)
}
