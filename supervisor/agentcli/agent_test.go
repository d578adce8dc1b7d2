package agentcli_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/town"
)

// First -record, then -update: the goldens are of the recordings.
var (
	recording = flag.Bool("record", false, "rewrite the recordings of testdata, from the real CLIs")
	update    = flag.Bool("update", false, "rewrite the goldens of testdata")
)

// patience bounds a wait for a CLI: the start of kilo takes 5 s of CPU, which on a
// busy machine are minutes.
const patience = 6 * time.Minute

// agent is one agent over one or more processes of its CLI, as the supervisor
// would run it: input a pipe, output a raw terminal.
type agent struct {
	t       *testing.T
	cli     agentcli.CLI
	spec    agentcli.Spec
	decoder agentcli.Decoder

	mu      sync.Mutex
	output  []byte
	began   int // where the newest process began in output
	events  []agentcli.Decoded
	changed chan struct{}
}

// process is one process of an agent.
type process struct {
	agent *agent
	cmd   *exec.Cmd
	stdin *os.File
	done  chan struct{}
	code  int // valid after done
}

// newAgent returns an agent of the CLI of that name, whose townd is this test binary.
func newAgent(t *testing.T, name string, env map[string]string) *agent {
	t.Helper()
	cli := lookup(t, name)
	program := ""
	if cli.Structured() {
		program = llmtest.Program(t, name)
	}
	home, workdir := t.TempDir(), t.TempDir()
	run(t, workdir, "git", "init", "-q")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if env == nil {
		env = map[string]string{}
	}
	return &agent{
		t: t, cli: cli, decoder: cli.NewDecoder(), changed: make(chan struct{}),
		spec: agentcli.Spec{
			Role: town.RolePolecat, Workdir: workdir, Home: home, Env: env, Townd: self,
			LookPath: func(string) (string, error) { return program, nil },
		},
	}
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// gateway points the agent to a model of the town's gateway at url.
func (a *agent) gateway(dialect town.Dialect, url, model string) {
	a.spec.Models = &agentcli.Models{ModelEndpoint: town.ModelEndpoint{Dialect: dialect, BaseURL: url, Model: model}, Key: "capability"}
}

// furnish writes files of the repository.
func (a *agent) furnish(files map[string]string) {
	a.t.Helper()
	for name, text := range files {
		path := filepath.Join(a.spec.Workdir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			a.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			a.t.Fatal(err)
		}
	}
}

// turn runs the agent with a prompt until a turn has ended and its process with it,
// and returns the exit code.
func (a *agent) turn(prompt string) int {
	a.t.Helper()
	ended := a.count("turn.ended")
	a.spec.Prompt = prompt
	p := a.start()
	a.wait(town.EventTurnEnded, ended+1)
	return p.finish()
}

// start launches the agent's spec.
func (a *agent) start() *process {
	a.t.Helper()
	l, err := a.cli.Launch(a.spec)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, arg := range l.Argv {
		for _, prompt := range []string{a.spec.Prompt, a.spec.SystemPrompt} {
			if prompt != "" && strings.Contains(arg, prompt) {
				a.t.Errorf("argv holds a prompt: %q", arg)
			}
		}
	}
	for _, f := range l.Files {
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
			a.t.Fatal(err)
		}
		if err := os.WriteFile(f.Path, f.Data, f.Mode); err != nil {
			a.t.Fatal(err)
		}
	}
	p := a.spawn(l)
	if l.PipeInput {
		go func() { // a pipe takes 64 KiB; the rest waits for the program to read
			p.stdin.Write(l.Stdin)
			if l.CloseStdin {
				p.stdin.Close()
			}
		}()
	}
	return p
}

func (a *agent) spawn(l agentcli.Launch) *process {
	a.t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		a.t.Fatal(err)
	}
	if l.Raw {
		if _, err := term.MakeRaw(int(tty.Fd())); err != nil {
			a.t.Fatal(err)
		}
	}
	env := map[string]string{"PATH": os.Getenv("PATH"), "TERM": "xterm-256color"}
	maps.Copy(env, a.spec.Env)
	maps.Copy(env, l.Env)
	cmd := exec.Command(l.Argv[0], l.Argv[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = a.spec.Workdir, tty, tty, tty
	for _, name := range slices.Sorted(maps.Keys(env)) {
		cmd.Env = append(cmd.Env, name+"="+env[name])
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1}
	p := &process{agent: a, cmd: cmd, stdin: ptmx, done: make(chan struct{})}
	if l.PipeInput {
		r, w, err := os.Pipe()
		if err != nil {
			a.t.Fatal(err)
		}
		cmd.Stdin, p.stdin = r, w
		defer r.Close()
	}
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	tty.Close()
	a.t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		ptmx.Close()
		p.stdin.Close()
	})
	a.mu.Lock()
	a.began = len(a.output)
	a.mu.Unlock()
	go a.read(p, ptmx)
	return p
}

// read decodes the terminal until its program has ended and it is drained.
func (a *agent) read(p *process, ptmx *os.File) {
	defer close(p.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := ptmx.Read(buf)
		a.mu.Lock()
		off := int64(len(a.output))
		a.output = append(a.output, buf[:n]...)
		a.decoder.Decode(buf[:n], off, a.emit)
		a.notify()
		a.mu.Unlock()
		if err != nil { // EIO: no one holds the terminal any more
			break
		}
	}
	p.cmd.Wait()
	p.code = p.cmd.ProcessState.ExitCode()
	if ws := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		p.code = 128 + int(ws.Signal())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.decoder.Finish(p.code, int64(len(a.output)), a.emit)
	a.notify()
}

func (a *agent) emit(d agentcli.Decoded) { a.events = append(a.events, d) }

func (a *agent) notify() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// until waits for what changes with output. It calls done under the lock.
func (a *agent) until(what string, done func() bool) {
	a.t.Helper()
	timeout := time.After(patience)
	for {
		a.mu.Lock()
		ok, changed := done(), a.changed
		a.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			a.t.Fatalf("no %s; output:\n%s", what, a.output)
		}
	}
}

// wait returns when n events of a kind have come.
func (a *agent) wait(kind town.EventType, n int) {
	a.t.Helper()
	a.until(fmt.Sprintf("%s %d times", kind, n), func() bool {
		count := 0
		for _, e := range a.events {
			if e.Event == kind {
				count++
			}
		}
		return count >= n
	})
}

func (a *agent) waitReceipt(id string, receipt town.Receipt) {
	a.t.Helper()
	want := town.MessageData{MessageID: id, Receipt: receipt}
	a.until(fmt.Sprintf("%+v", want), func() bool {
		return slices.ContainsFunc(a.events, func(e agentcli.Decoded) bool { return e.Data == any(want) })
	})
}

func (a *agent) waitOutput(text string) {
	a.t.Helper()
	a.until(text, func() bool { return bytes.Contains(a.output, []byte(text)) })
}

// say gives the program a message.
func (p *process) say(text, id string) {
	p.agent.t.Helper()
	if _, err := p.stdin.Write(p.agent.cli.Input(text, id)); err != nil {
		p.agent.t.Fatal(err)
	}
}

// interrupt ends the turn.
func (p *process) interrupt() {
	p.agent.t.Helper()
	if _, err := p.stdin.Write(p.agent.cli.Interrupt()); err != nil {
		p.agent.t.Fatal(err)
	}
}

// kill ends the program and all that it started, without warning.
func (p *process) kill() {
	p.agent.t.Helper()
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.wait()
}

// finish ends the program's input, and returns the code that it exits with.
func (p *process) finish() int {
	p.agent.t.Helper()
	p.stdin.Close()
	return p.wait()
}

// finishWell wants the program to end well as its input ends.
func (p *process) finishWell() {
	p.agent.t.Helper()
	if code := p.finish(); code != 0 {
		p.agent.t.Errorf("exit code %d; output:\n%s", code, p.agent.output)
	}
}

// wait returns the exit code, 128 + n for signal n.
func (p *process) wait() int {
	p.agent.t.Helper()
	select {
	case <-p.done:
		return p.code
	case <-time.After(patience):
		p.agent.t.Fatal("the program does not end")
		return 0
	}
}

// tell renders events without what differs between runs.
func (a *agent) tell() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []string
	for _, e := range a.events {
		lines = append(lines, strings.ReplaceAll(render(a.t, e), a.spec.Workdir, "WORKDIR"))
	}
	return lines
}

func render(t *testing.T, e agentcli.Decoded) string {
	t.Helper()
	b, err := json.Marshal(e.Data)
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Event) + " " + string(b)
}

// madePaths are names that a CLI makes of the directory it works in.
var madePaths = regexp.MustCompile(`-tmp-Test[A-Za-z0-9-]*`)

// modulePaths are where a CLI is installed, in the stacks that it prints.
var modulePaths = regexp.MustCompile(`file://\S*?/node_modules/`)

// record keeps what the CLI's newest process printed as a fixture of the decoder's tests.
func (a *agent) record(name string) {
	a.t.Helper()
	if !*recording {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	out := bytes.ReplaceAll(a.output[a.began:], []byte(a.spec.Workdir), []byte("/work"))
	out = bytes.ReplaceAll(out, []byte(a.spec.Home), []byte("/home/agent"))
	out = madePaths.ReplaceAll(out, []byte("-work"))
	out = modulePaths.ReplaceAll(out, []byte("file:///node_modules/"))
	if err := os.WriteFile(filepath.Join("testdata", name+".out"), out, 0o644); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) wantFile(name, want string) {
	a.t.Helper()
	got, err := os.ReadFile(filepath.Join(a.spec.Workdir, name))
	if err != nil || string(got) != want {
		a.t.Errorf("%s = %q, %v, want %q", name, got, err, want)
	}
}

func (a *agent) wantNoFile(name string) {
	a.t.Helper()
	if _, err := os.Stat(filepath.Join(a.spec.Workdir, name)); err == nil {
		a.t.Errorf("%s is there; output:\n%s", name, a.output)
	}
}
