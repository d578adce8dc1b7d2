// Package agentcli knows each agent CLI: how it is started in a worktree with a
// prompt, a system prompt and a model, how a follow-up message goes in, how it is
// interrupted, and how its output decodes to the town's events. It starts nothing
// and writes nothing: it says what to run and what bytes mean.
package agentcli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"townd/town"
)

// Spec is one start of a CLI: its first, one more turn of a CLI that ends with
// each, or a resumption.
type Spec struct {
	Role         town.Role
	Prompt       string // the first message of this process; may be empty for a CLI that is not PerTurn
	MessageID    string // ours, given back in the receipt of a CLI that acknowledges messages; may be empty
	SystemPrompt string
	Model        string
	Workdir      string            // absolute, exists
	Home         string            // the agent's own HOME: absolute, exists
	SessionID    string            // the CLI's session to go on with, "" for a new one
	Command      []string          // argv, for cli "command"
	Townd        string            // absolute path of our own program
	Env          map[string]string // the caller's envVars
	Effort       town.Effort       // "" for the CLI's own default
	Fork         bool              // go on in a copy of SessionID
	Models       *Models           // the town's gateway; nil when the CLI reaches its model by Env
	MCP          []MCPServer       // servers whose tools it gets
	Hooks        bool              // its hooks call `townd hook NAME`, which finds the town by its environment
	ProjectHooks bool              // the repository's own hooks and settings may run

	LookPath func(string) (string, error) // exec.LookPath when nil
}

// Models is the way to a CLI's models through the town's gateway.
type Models struct {
	town.ModelEndpoint
	Key string // the agent's capability, in the place of an API key
}

// MCPServer is a program that offers tools on its standard input and output.
type MCPServer struct {
	Name string // as "gastown"; CLIs put it into the names of its tools
	Argv []string
	Env  map[string]string
}

// toolPatience is how long a CLI waits for a server's tool, longer than any takes: one
// that asks people waits for an hour at most. claude's own patience is a day.
const toolPatience = 65 * time.Minute

// Program is the program behind a CLI.
type Program struct {
	Name    string // as it is found in PATH, "" for one that is built in or given
	Install string // the command that brings it
	Tested  string // the version that the tests ran with
}

// Launch is what to run. The program's environment is, later wins: what the
// town gives to every agent, Spec.Env, Env. Env holds a name of Spec.Env only
// where it merged the caller's value in.
type Launch struct {
	Argv       []string // Argv[0] is absolute
	Env        map[string]string
	Files      []File // to be written before the program starts, owned by the agent
	Stdin      []byte // the first input
	CloseStdin bool   // end of input follows Stdin
	PipeInput  bool   // input is a pipe, else the terminal
	Raw        bool   // the terminal's line discipline is raw, else cooked
}

// File is a file below the agent's Home; its directories may be missing.
type File struct {
	Path string // absolute
	Data []byte
	Mode fs.FileMode
}

// CLI describes one agent CLI. It holds no state and is safe for concurrent use.
type CLI interface {
	Name() string
	Program() Program
	// Dialects returns what model APIs the CLI can be pointed at, the best first;
	// nil for one that cannot be.
	Dialects() []town.Dialect
	// Credentialed reports whether the caller's envVars name a model or its key
	// already, so that the gateway is left alone.
	Credentialed(env map[string]string) bool
	// PerTurn reports whether each turn is a process of its own, which the next
	// message starts with the session's id.
	PerTurn() bool
	// ResumesTurns reports whether a resumed session goes on by itself with a turn
	// that was cut off.
	ResumesTurns() bool
	// Structured reports whether the CLI tells turns, tools and usage in lines of
	// JSON. If not, its output is a terminal for people.
	Structured() bool
	// Launch returns how to start the CLI. It returns a *town.InvalidError for a
	// program that is not installed and for a spec that the CLI cannot carry out.
	Launch(Spec) (Launch, error)
	// Input returns the bytes that give text to a running program, nil for a CLI
	// that is PerTurn and for a terminal, which is typed into. A structured program acknowledges it: its decoder emits an
	// EventMessage with that messageID and ReceiptDelivered.
	Input(text, messageID string) []byte
	// Interrupt returns the bytes that end the turn of a running program and leave
	// it waiting for input, nil if it knows none.
	Interrupt() []byte
	// ToolPrefix returns what the CLI puts before the names of the tools that an MCP
	// server of that name offers, "" for a CLI that takes no servers.
	ToolPrefix(server string) string
	// NewDecoder returns a decoder of this CLI's output.
	NewDecoder() Decoder
	// ParseHook reads what the CLI gives to a program that it calls as a hook.
	ParseHook(stdin []byte) (town.HookCall, error)
	// AnswerHook returns what that program must print and exit with, so that the
	// CLI does as the town answers.
	AnswerHook(town.HookCall, town.HookAnswer) HookOutput
}

// HookOutput is how a hook program ends.
type HookOutput struct {
	Stdout, Stderr []byte
	Exit           int
}

// noHooks is what a CLI without hooks has in their place.
type noHooks struct{}

func (noHooks) ParseHook([]byte) (town.HookCall, error) {
	return town.HookCall{}, fmt.Errorf("this CLI has no hooks: %w", town.ErrInvalid)
}

func (noHooks) AnswerHook(town.HookCall, town.HookAnswer) HookOutput { return HookOutput{} }

// builtIn is a CLI on a terminal, with no model that we know of and no program of
// its own.
type builtIn struct{ noHooks }

func (builtIn) Program() Program                    { return Program{} }
func (builtIn) Dialects() []town.Dialect            { return nil }
func (builtIn) Credentialed(map[string]string) bool { return true }
func (builtIn) ToolPrefix(string) string            { return "" }
func (builtIn) PerTurn() bool                       { return false }
func (builtIn) Structured() bool                    { return false }
func (builtIn) ResumesTurns() bool                  { return false }
func (builtIn) Input(string, string) []byte         { return nil }
func (builtIn) Interrupt() []byte                   { return nil }
func (builtIn) NewDecoder() Decoder                 { return terminalDecoder{} }

// anyOf reports whether env has a value for one of names.
func anyOf(env map[string]string, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return env[name] != "" })
}

// clis lists the known CLIs in the order shown to people.
var clis = []CLI{claude{}, kilo, opencode, codex{}, gemini{}, command{}, demo{}}

// Lookup returns the CLI of that name, or a *town.InvalidError naming the known ones.
func Lookup(name string) (CLI, error) {
	for _, c := range clis {
		if c.Name() == name {
			return c, nil
		}
	}
	return nil, invalid("cli", "must be one of %s, not %q", strings.Join(Names(), ", "), name)
}

// Names returns the names of the known CLIs.
func Names() []string {
	names := make([]string, len(clis))
	for i, c := range clis {
		names[i] = c.Name()
	}
	return names
}

func invalid(path, format string, args ...any) error {
	return &town.InvalidError{Issues: []town.Issue{{Path: path, Message: fmt.Sprintf(format, args...)}}}
}

// look returns the absolute path of an installed CLI, or an error that says how
// to get it.
func (s *Spec) look(p Program) (string, error) {
	path, err := s.lookPath(p.Name)
	if err != nil {
		return "", invalid("cli", "%s is not installed (%v); get it with: %s", p.Name, err, p.Install)
	}
	return path, nil
}

// townd returns the path of our own program, for a CLI that calls it.
func (s *Spec) townd() (string, error) {
	if !filepath.IsAbs(s.Townd) {
		return "", invalid("cli", "needs the path of townd itself, which is %q", s.Townd)
	}
	return s.Townd, nil
}

func (s *Spec) lookPath(program string) (string, error) {
	look := s.LookPath
	if look == nil {
		look = exec.LookPath
	}
	path, err := look(program)
	if execErr, ok := errors.AsType[*exec.Error](err); ok {
		return "", execErr.Err // without the name, which our message has
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// dataDir is where our own files lie below an agent's Home.
const dataDir = ".townd"

// model returns the model's name where the CLI asks for it.
func (s *Spec) model() string {
	if s.Models != nil && s.Models.Model != "" {
		return s.Models.Model
	}
	return s.Model
}

// promptFile returns the file for a prompt, readable by the agent alone.
func (s *Spec) promptFile(name, text string) File {
	return File{Path: filepath.Join(s.Home, dataDir, name), Data: []byte(text), Mode: 0o600}
}

// environ returns the variables that keep a program's files in the agent's own
// Home, with more added; what the caller set is left to the caller.
func (s *Spec) environ(more map[string]string) map[string]string {
	env := map[string]string{
		"XDG_CACHE_HOME":  filepath.Join(s.Home, ".cache"),
		"XDG_CONFIG_HOME": filepath.Join(s.Home, ".config"),
		"XDG_DATA_HOME":   filepath.Join(s.Home, ".local/share"),
		"XDG_RUNTIME_DIR": filepath.Join(s.Home, dataDir),
		"XDG_STATE_HOME":  filepath.Join(s.Home, ".local/state"),
	}
	maps.Copy(env, more)
	for name := range s.Env {
		delete(env, name)
	}
	env["HOME"] = s.Home
	return env
}
