package agentcli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/supervisor/agentcli"
	"townd/town"
)

// spec is one whose programs are all installed.
func spec() agentcli.Spec {
	return agentcli.Spec{
		Role: town.RolePolecat, Prompt: "PROMPT", MessageID: "id-1", SystemPrompt: "SYSTEM", Model: "MODEL",
		Workdir: "/rig/work", Home: "/home/agent", Townd: "/usr/bin/townd", Command: []string{"prog", "--flag"},
		LookPath: func(name string) (string, error) {
			if strings.HasPrefix(name, "/") {
				return name, nil
			}
			return "/usr/bin/" + name, nil
		},
	}
}

func launch(t *testing.T, name string, s agentcli.Spec) agentcli.Launch {
	t.Helper()
	cli, err := agentcli.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	l, err := cli.Launch(s)
	if err != nil {
		t.Fatalf("Launch(%s): %v", name, err)
	}
	return l
}

// issue returns the only issue of an InvalidError.
func issue(t *testing.T, err error) town.Issue {
	t.Helper()
	invalid, ok := errors.AsType[*town.InvalidError](err)
	if !ok || len(invalid.Issues) != 1 {
		t.Fatalf("error %v, want an InvalidError of one issue", err)
	}
	return invalid.Issues[0]
}

func TestLookupNamesTheKnownCLIs(t *testing.T) {
	for _, name := range agentcli.Names() {
		if cli, err := agentcli.Lookup(name); err != nil || cli.Name() != name {
			t.Errorf("Lookup(%q) = %v, %v", name, cli, err)
		}
	}
	_, err := agentcli.Lookup("emacs")
	want := town.Issue{Path: "cli", Message: `must be one of claude, kilo, opencode, codex, gemini, command, demo, not "emacs"`}
	if got := issue(t, err); got != want {
		t.Errorf("issue %+v, want %+v", got, want)
	}
}

// TestLaunches proves H8 and the promise of DESIGN: no prompt in argv, every file
// and directory in the agent's own home.
func TestLaunches(t *testing.T) {
	for _, c := range []struct {
		name  string
		argv  []string
		stdin string
		pipe  bool
		files []string
	}{
		{
			"claude",
			[]string{
				"/usr/bin/claude", "-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose",
				"--replay-user-messages", "--permission-mode", "bypassPermissions", "--setting-sources", "user",
				"--add-dir", "/rig/work", "--strict-mcp-config",
				"--append-system-prompt-file", "/home/agent/.townd/system-prompt.md", "--system-prompt-snapshot", "off",
				"--model", "MODEL",
			},
			`{"type":"user","uuid":"id-1","message":{"role":"user","content":"PROMPT"}}` + "\n", true,
			[]string{"system-prompt.md SYSTEM"},
		},
		{
			"kilo",
			[]string{"/usr/bin/townd", "drive", "--model", "MODEL", "kilo", "/usr/bin/kilo"},
			`{"type":"message","id":"id-1","text":"PROMPT"}` + "\n", true,
			[]string{"system-prompt.md SYSTEM"},
		},
		{
			"opencode",
			[]string{"/usr/bin/townd", "drive", "--model", "MODEL", "opencode", "/usr/bin/opencode"},
			`{"type":"message","id":"id-1","text":"PROMPT"}` + "\n", true,
			[]string{"system-prompt.md SYSTEM"},
		},
		{"command", []string{"/usr/bin/prog", "--flag"}, "", false, []string{"prompt.md PROMPT", "system-prompt.md SYSTEM"}},
		{"demo", []string{"/usr/bin/townd", "demo-agent"}, "", false, []string{"prompt.md PROMPT", "system-prompt.md SYSTEM"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := launch(t, c.name, spec())
			if diff := cmp.Diff(c.argv, l.Argv); diff != "" {
				t.Errorf("argv (-want +got):\n%s", diff)
			}
			if string(l.Stdin) != c.stdin || l.PipeInput != c.pipe || l.Raw != c.pipe {
				t.Errorf("stdin %q, pipe %v, raw %v", l.Stdin, l.PipeInput, l.Raw)
			}
			var files []string
			for _, f := range l.Files {
				if filepath.Dir(f.Path) == "/home/agent/.config/"+c.name || filepath.Base(f.Path) == ".keep" {
					continue // which say that nothing is to be installed
				}
				if filepath.Dir(f.Path) != "/home/agent/.townd" || f.Mode != 0o600 {
					t.Errorf("file %s, mode %o", f.Path, f.Mode)
				}
				files = append(files, filepath.Base(f.Path)+" "+string(f.Data))
			}
			if diff := cmp.Diff(c.files, files); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			for _, name := range []string{"HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"} {
				if !strings.HasPrefix(l.Env[name], "/home/agent") {
					t.Errorf("%s is %q", name, l.Env[name])
				}
			}
			for name, value := range l.Env {
				if strings.Contains(value, "PROMPT") || strings.Contains(value, "SYSTEM") {
					t.Errorf("a prompt is in %s", name)
				}
			}
		})
	}
}

func TestALaterTurnGoesOnWithTheSession(t *testing.T) {
	s := spec()
	s.SessionID = "SESSION"
	for name, flag := range map[string]string{"claude": "--resume", "kilo": "--session", "opencode": "--session"} {
		argv := launch(t, name, s).Argv
		if i := slices.Index(argv, flag); i < 0 || argv[i+1] != "SESSION" {
			t.Errorf("%s: %q", name, argv)
		}
	}
}

// TestWhatTheCallerSetStays: envVars arrive exactly.
func TestWhatTheCallerSetStays(t *testing.T) {
	s := spec()
	s.Env = map[string]string{"CLAUDE_CONFIG_DIR": "/theirs", "XDG_DATA_HOME": "", "KILO_TELEMETRY_LEVEL": "all", "IS_SANDBOX": "0"}
	for _, name := range agentcli.Names() {
		env := launch(t, name, s).Env
		for theirs := range s.Env {
			if ours, ok := env[theirs]; ok {
				t.Errorf("%s sets the caller's %s to %q", name, theirs, ours)
			}
		}
	}
}

func TestEnginesMergeTheCallersConfiguration(t *testing.T) {
	s := spec()
	s.Hooks, s.Effort = true, "high"
	s.Models = &agentcli.Models{ModelEndpoint: town.ModelEndpoint{BaseURL: "http://127.0.0.1:1/v1", Model: "m"}, Key: "KEY"}
	s.MCP = []agentcli.MCPServer{{Name: "gastown", Argv: []string{"/usr/bin/townd", "mcp"}, Env: map[string]string{"A": "B"}}}
	const theirs = `{"provider":{"x":{"n":12345678901234567890}},"model":"a/b","permission":"ask","plugin":[["p",{"o":1}]],
		"agent":{"theirs":{"mode":"subagent"},"townd":{"prompt":"theirs"}},"instructions":["docs/*.md"]}`
	for name, variable := range map[string]string{"kilo": "KILO_CONFIG_CONTENT", "opencode": "OPENCODE_CONFIG_CONTENT"} {
		s.Env = map[string]string{variable: theirs}
		l := launch(t, name, s)
		want := `{"agent":{"theirs":{"mode":"subagent"},"townd":{"mode":"primary",` +
			`"permission":{"*":"allow","plan_enter":"deny","plan_exit":"deny","question":"deny","suggest":"deny"},` +
			`"prompt":"{file:/home/agent/.townd/system-prompt.md}"}},` +
			`"instructions":["docs/*.md","/rig/work/AGENTS.md","/rig/work/CLAUDE.md"],` +
			`"mcp":{"gastown":{"command":["/usr/bin/townd","mcp"],"enabled":true,"environment":{"A":"B"},"timeout":30000,"type":"local"}},` +
			`"model":"a/b","permission":"ask","plugin":[["p",{"o":1}],"file:///home/agent/.townd/hooks.js"],` +
			`"provider":{"town":{"models":{"m":{"attachment":true,"limit":{"context":200000,"output":32000},"name":"m","tool_call":true,` +
			`"variants":{"high":{"reasoningEffort":"high"}}}},"name":"Town","npm":"@ai-sdk/openai-compatible",` +
			`"options":{"apiKey":"KEY","baseURL":"http://127.0.0.1:1/v1"}},"x":{"n":12345678901234567890}},"snapshot":false}`
		if diff := cmp.Diff(want, l.Env[variable]); diff != "" {
			t.Errorf("configuration (-want +got):\n%s", diff)
		}
		if got := l.Argv[2:6]; !slices.Equal(got, []string{"--model", "town/m", "--effort", "high"}) {
			t.Errorf("argv %q", l.Argv)
		}
	}
	kilo, err := agentcli.Lookup("kilo")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"{", "[]", `"x"`, `{"agent":[]}`, `{"instructions":{}}`, `{"x":"` + strings.Repeat("y", 200<<10) + `"}`} {
		s.Env = map[string]string{"KILO_CONFIG_CONTENT": bad}
		if _, err := kilo.Launch(s); issue(t, err).Path != "envVars.KILO_CONFIG_CONTENT" {
			t.Errorf("%.20s: %v", bad, err)
		}
	}
	s.Env["KILO_CONFIG_CONTENT"] = `{"agent":null}`
	launch(t, "kilo", s)
}

// TestTheRepositorysOwnPluginsRunWhenAsked, and its instructions are not told twice.
func TestTheRepositorysOwnPluginsRunWhenAsked(t *testing.T) {
	s := spec()
	s.ProjectHooks = true
	env := launch(t, "opencode", s).Env
	if _, off := env["OPENCODE_DISABLE_PROJECT_CONFIG"]; off || strings.Contains(env["OPENCODE_CONFIG_CONTENT"], "AGENTS.md") {
		t.Errorf("environment %q", env)
	}
	s.ProjectHooks = false
	if env := launch(t, "opencode", s).Env; env["OPENCODE_DISABLE_PROJECT_CONFIG"] != "1" {
		t.Error("the repository's plugins run unasked")
	}
}

func TestEnginesHooksAreUnderstood(t *testing.T) {
	cli, err := agentcli.Lookup("opencode")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]town.HookCall{
		`{"hook":"chat.message","text":"hi"}`:  {Point: town.HookThinking, Text: "hi"},
		`{"hook":"session.idle","text":"bye"}`: {Point: town.HookStop, Text: "bye"},
		`{"hook":"session.error","text":"oh"}`: {Point: town.HookError, Text: "oh"},
		`{"hook":"tool.execute.before","tool":"bash","callID":"c","args":{"command":"ls","workdir":"/w"}}`: {
			Point: town.HookToolBefore, ToolID: "c", Tool: "bash", Input: json.RawMessage(`{"command":"ls","workdir":"/w"}`), Shell: "ls", Dir: "/w",
		},
		`{"hook":"tool.execute.before","tool":"edit","args":{"filePath":"a"}}`: {
			Point: town.HookToolBefore, Tool: "edit", Input: json.RawMessage(`{"filePath":"a"}`), Reads: []string{"a"}, Writes: []string{"a"},
		},
		`{"hook":"tool.execute.after","tool":"read","args":{"filePath":7},"output":"x"}`: {
			Point: town.HookToolAfter, Tool: "read", Input: json.RawMessage(`{"filePath":7}`), OK: true, Output: "x",
		},
		`{"hook":"tool.execute.before","tool":"apply_patch","args":{"patchText":"*** Begin Patch\n*** Add File: a\n+x\n*** Update File: b\n*** Move to: c\n*** End Patch"}}`: {
			Point: town.HookToolBefore, Tool: "apply_patch", Writes: []string{"a", "b", "c"},
		},
	} {
		got, err := cli.ParseHook([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if want.Tool == "apply_patch" {
			got.Input = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
	for _, bad := range []string{"", "[]", "{}", `{"hook":"session.born"}`} {
		if _, err := cli.ParseHook([]byte(bad)); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("ParseHook(%s): %v", bad, err)
		}
	}
}

func TestAMissingProgramIsNamedWithItsRemedy(t *testing.T) {
	s := spec()
	s.LookPath = func(name string) (string, error) { return "", fmt.Errorf("exec: %q: %w", name, os.ErrNotExist) }
	for name, want := range map[string]town.Issue{
		"claude":  {Path: "cli", Message: "npm install -g @anthropic-ai/claude-code"},
		"kilo":    {Path: "cli", Message: "npm install -g @kilocode/cli"},
		"command": {Path: "command[0]", Message: `"prog"`},
	} {
		cli, err := agentcli.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = cli.Launch(s)
		if got := issue(t, err); got.Path != want.Path || !strings.Contains(got.Message, want.Message) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestASpecThatCannotBeCarriedOutIsRefused(t *testing.T) {
	for _, c := range []struct {
		cli, path string
		spoil     func(*agentcli.Spec)
	}{
		{"kilo", "cli", func(s *agentcli.Spec) { s.Townd = "" }},
		{"command", "command", func(s *agentcli.Spec) { s.Command = nil }},
		{"command", "command", func(s *agentcli.Spec) { s.Command = []string{""} }},
		{"demo", "cli", func(s *agentcli.Spec) { s.Townd = "" }},
	} {
		s := spec()
		c.spoil(&s)
		cli, err := agentcli.Lookup(c.cli)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cli.Launch(s); issue(t, err).Path != c.path {
			t.Errorf("%s: %v, want an issue of %s", c.cli, err, c.path)
		}
	}
}

// TestACommandWithASlashIsOneOfTheWorktree, as a shell there would take it.
func TestACommandWithASlashIsOneOfTheWorktree(t *testing.T) {
	s := spec()
	s.LookPath, s.Workdir = nil, t.TempDir()
	if err := os.WriteFile(filepath.Join(s.Workdir, "agent"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Command = []string{"./agent", "x"}
	if got := launch(t, "command", s).Argv; !slices.Equal(got, []string{filepath.Join(s.Workdir, "agent"), "x"}) {
		t.Errorf("argv %q", got)
	}
	s.Command = []string{"./other"}
	cli, err := agentcli.Lookup("command")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = cli.Launch(s); issue(t, err).Path != "command[0]" {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestClaudesInputIsOneLineWhateverTheText(t *testing.T) {
	cli, err := agentcli.Lookup("claude")
	if err != nil {
		t.Fatal(err)
	}
	const text = "two\nlines \"quoted\" \u2028 \x07 ünï </script>"
	line := cli.Input(text, "id")
	var got struct {
		UUID    string
		Message struct{ Content string }
	}
	if strings.Count(string(line), "\n") != 1 || json.Unmarshal(line, &got) != nil || got.Message.Content != text || got.UUID != "id" {
		t.Errorf("Input() = %q", line)
	}
}
