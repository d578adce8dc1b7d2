package agentcli

import (
	"path/filepath"
	"strings"
)

// command is any program on a terminal. Nothing is typed unasked: it finds its
// prompts in the files that TOWND_PROMPT_FILE and TOWND_SYSTEM_PROMPT_FILE name.
type command struct{ builtIn }

func (command) Name() string        { return "command" }
func (command) PerTurn() bool       { return false }
func (command) Structured() bool    { return false }
func (command) ResumesTurns() bool  { return false }
func (command) Interrupt() []byte   { return nil }
func (command) NewDecoder() Decoder { return terminalDecoder{} }

// Launch returns Spec.Command. A relative path with a slash is one in the worktree.
func (command) Launch(s Spec) (Launch, error) {
	if len(s.Command) == 0 || s.Command[0] == "" {
		return Launch{}, invalid("command", "is required with cli \"command\": the program and its arguments")
	}
	program := s.Command[0]
	if strings.Contains(program, "/") && !filepath.IsAbs(program) {
		program = filepath.Join(s.Workdir, program)
	}
	path, err := s.lookPath(program)
	if err != nil {
		return Launch{}, invalid("command[0]", "is %q, which cannot be run: %v; give a program of the town's PATH, an absolute path, or a path in the worktree", s.Command[0], err)
	}
	return terminal(s, append([]string{path}, s.Command[1:]...)), nil
}

// Input returns text followed by Enter.
func (command) Input(text, _ string) []byte { return typed(text) }

// demo is the agent built into townd, which needs no model.
type demo struct{ builtIn }

func (demo) Name() string        { return "demo" }
func (demo) PerTurn() bool       { return false }
func (demo) Structured() bool    { return false }
func (demo) ResumesTurns() bool  { return false }
func (demo) Interrupt() []byte   { return nil }
func (demo) NewDecoder() Decoder { return terminalDecoder{} }

// Launch returns `townd demo-agent`.
func (demo) Launch(s Spec) (Launch, error) {
	if !filepath.IsAbs(s.Townd) {
		return Launch{}, invalid("cli", "\"demo\" needs the path of townd itself, which is %q", s.Townd)
	}
	return terminal(s, []string{s.Townd, "demo-agent"}), nil
}

// Input returns text followed by Enter.
func (demo) Input(text, _ string) []byte { return typed(text) }

func terminal(s Spec, argv []string) Launch {
	prompt, system := s.promptFile("prompt.md", s.Prompt), s.promptFile("system-prompt.md", s.SystemPrompt)
	return Launch{
		Argv:  argv,
		Env:   s.environ(map[string]string{"TOWND_PROMPT_FILE": prompt.Path, "TOWND_SYSTEM_PROMPT_FILE": system.Path}),
		Files: []File{prompt, system},
	}
}

// typed returns what a person who types text presses: its lines, then Enter. A
// line feed inside is left as it is, since Enter would send the text in parts.
func typed(text string) []byte { return append([]byte(text), '\r') }
