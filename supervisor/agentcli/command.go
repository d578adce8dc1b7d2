package agentcli

import (
	"path/filepath"
	"strings"
)

// command is any program on a terminal. Nothing is typed unasked: it finds its
// prompts in the files that TOWND_PROMPT_FILE and TOWND_SYSTEM_PROMPT_FILE name.
type command struct{ builtIn }

func (command) Name() string { return "command" }

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

// demo is the agent built into townd, which needs no model.
type demo struct{ builtIn }

func (demo) Name() string { return "demo" }

// Launch returns `townd demo-agent`.
func (demo) Launch(s Spec) (Launch, error) {
	townd, err := s.townd()
	if err != nil {
		return Launch{}, err
	}
	return terminal(s, []string{townd, "demo-agent"}), nil
}

func terminal(s Spec, argv []string) Launch {
	prompt, system := s.promptFile("prompt.md", s.Prompt), s.promptFile("system-prompt.md", s.SystemPrompt)
	return Launch{
		Argv:  argv,
		Env:   s.environ(map[string]string{"TOWND_PROMPT_FILE": prompt.Path, "TOWND_SYSTEM_PROMPT_FILE": system.Path}),
		Files: []File{prompt, system},
	}
}
