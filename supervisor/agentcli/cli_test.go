package agentcli_test

import (
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

func lookup(t testing.TB, name string) agentcli.CLI {
	t.Helper()
	cli, err := agentcli.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return cli
}

func launch(t *testing.T, name string, s agentcli.Spec) agentcli.Launch {
	t.Helper()
	l, err := lookup(t, name).Launch(s)
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

func TestToolsOfAServerAreNamedAsTheCLIDoes(t *testing.T) {
	for name, want := range map[string]string{
		"claude": "mcp__gastown__", "codex": "mcp__gastown__", "gemini": "mcp_gastown_", "kilo": "gastown_", "opencode": "gastown_",
		"command": "", "demo": "",
	} {
		if got := lookup(t, name).ToolPrefix("gastown"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
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

func TestAMissingProgramIsNamedWithItsRemedy(t *testing.T) {
	s := spec()
	s.LookPath = func(name string) (string, error) { return "", fmt.Errorf("exec: %q: %w", name, os.ErrNotExist) }
	for name, want := range map[string]town.Issue{
		"claude":  {Path: "cli", Message: "npm install -g @anthropic-ai/claude-code"},
		"kilo":    {Path: "cli", Message: "npm install -g @kilocode/cli"},
		"command": {Path: "command[0]", Message: `"prog"`},
	} {
		cli := lookup(t, name)
		_, err := cli.Launch(s)
		if got := issue(t, err); got.Path != want.Path || !strings.Contains(got.Message, want.Message) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestASpecThatCannotBeCarriedOutIsRefused(t *testing.T) {
	server := func(name string) agentcli.MCPServer {
		return agentcli.MCPServer{Name: name, Argv: []string{"/bin/mcp"}, Env: map[string]string{"NAME": name}}
	}
	for _, c := range []struct {
		cli, path string
		spoil     func(*agentcli.Spec)
	}{
		{"kilo", "cli", func(s *agentcli.Spec) { s.Townd = "" }},
		{"codex", "cli", func(s *agentcli.Spec) { s.Townd = "" }},
		{"codex", "mcp", func(s *agentcli.Spec) { s.MCP = []agentcli.MCPServer{server("a"), server("b")} }},
		{"codex", "envVars.OPENAI_BASE_URL", func(s *agentcli.Spec) {
			s.Env = map[string]string{"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://me:password@127.0.0.1/"}
		}},
		{"gemini", "prompt", func(s *agentcli.Spec) { s.Prompt = "" }},
		{"gemini", "fork", func(s *agentcli.Spec) { s.Fork = true }},
		{"command", "command", func(s *agentcli.Spec) { s.Command = nil }},
		{"command", "command", func(s *agentcli.Spec) { s.Command = []string{""} }},
		{"demo", "cli", func(s *agentcli.Spec) { s.Townd = "" }},
	} {
		s := spec()
		c.spoil(&s)
		cli := lookup(t, c.cli)
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
	if _, err := lookup(t, "command").Launch(s); issue(t, err).Path != "command[0]" {
		t.Errorf("a program that is not there: %v", err)
	}
}
