package agentcli_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
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

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "drive" {
		os.Exit(drive(os.Args[2:]))
	}
	if play, ok := parts[os.Getenv("AGENTCLI_TEST_PART")]; ok && len(os.Args) > 1 {
		play(os.Args[1:])
	}
	flag.Parse()
	before := runtime.NumGoroutine()
	code := m.Run()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // has goroutines of its own
	if n := runtime.NumGoroutine(); code == 0 && n > before && !fuzzing {
		println("goroutines left over:", n-before)
		code = 1
	}
	os.Exit(code)
}

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
	cmd   *exec.Cmd
	stdin *os.File
	done  chan struct{}
	code  int // valid after done
}

func newAgent(t *testing.T, name string, env map[string]string) *agent {
	t.Helper()
	cli, err := agentcli.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	program := ""
	if cli.Structured() {
		program = llmtest.Program(t, name)
	}
	home, workdir := t.TempDir(), t.TempDir()
	run(t, workdir, "git", "init", "-q")
	self, err := os.Executable() // which is townd as far as drivers go
	if err != nil {
		t.Fatal(err)
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
	p := &process{cmd: cmd, stdin: ptmx, done: make(chan struct{})}
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

// wait returns when n events of a kind have come.
func (a *agent) wait(kind town.EventType, n int) {
	a.t.Helper()
	timeout := time.After(patience)
	for {
		a.mu.Lock()
		count, changed := 0, a.changed
		for _, e := range a.events {
			if e.Event == kind {
				count++
			}
		}
		a.mu.Unlock()
		if count >= n {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			a.t.Fatalf("%d of %d %s events; output:\n%s", count, n, kind, a.output)
		}
	}
}

func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
		return p.code
	case <-time.After(patience):
		t.Fatal("the program does not end")
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

// edits is a model that writes the file that the message names.
func edits(r *llmtest.Request) llmtest.Step {
	if r.Last().Role == "tool" {
		return llmtest.Step{Text: "Done."}
	}
	name := "one.txt"
	if strings.Contains(r.Last().Text, "two.txt") {
		name = "two.txt"
	}
	return llmtest.WriteFile(name, "written\n")(r)
}

const systemPrompt = "You are Toast.\nNever say {env:HOME} or \"quoted\" things. ünï"

func TestClaudeWorksOverTwoMessages(t *testing.T) {
	model, url := llmtest.Serve(t, edits)
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	if err := os.WriteFile(filepath.Join(a.spec.Workdir, "CLAUDE.md"), []byte("House rule 17.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	hook := filepath.Join(t.TempDir(), "hook-ran")
	settings := `{"hooks":{"SessionStart":[{"hooks":[{"type":"command","command":"touch ` + hook + `"}]}]}}`
	if err := os.Mkdir(filepath.Join(a.spec.Workdir, ".claude"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.spec.Workdir, ".claude/settings.json"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	a.spec.Prompt, a.spec.MessageID = "please write one.txt", "01jd4qx8r2mzv7k3n5p9t0w6ab"
	a.spec.SystemPrompt, a.spec.Model = systemPrompt, "claude-sonnet-4-5"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	a.wantFile("one.txt", "written\n")
	second := a.cli.Input("now two.txt", "message-2")
	p.stdin.Write(second)
	a.wait(town.EventTurnEnded, 2)
	a.wantFile("two.txt", "written\n")
	p.stdin.Write(second) // a retry: claude holds this message already
	a.wait(town.EventMessage, 3)
	p.stdin.Close()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}

	requests := model.Requests()
	if len(requests) != 4 {
		t.Fatalf("%d requests, want 4: two turns of two", len(requests))
	}
	for _, r := range requests {
		if r.Model != "claude-sonnet-4-5" || !strings.Contains(r.System, systemPrompt) {
			t.Errorf("model %q, system prompt there: %v", r.Model, strings.Contains(r.System, systemPrompt))
		}
		if !bytes.Contains(r.Body, []byte("House rule 17.")) {
			t.Error("CLAUDE.md of the repository is missing")
		}
	}
	if !bytes.Contains(a.output, []byte(`"messaging_socket_path":"`+a.spec.Home)) {
		t.Error("claude's socket for other sessions is not in the agent's own home")
	}
	if _, err := os.Stat(hook); err == nil {
		t.Error("a hook of the repository ran")
	}
	turn := func(file, message string) []string {
		return []string{
			`turn.started {}`,
			`message {"messageId":"` + message + `","receipt":"delivered"}`,
			`usage {"inputTokens":100,"outputTokens":1,"cacheReadTokens":0,"cacheWriteTokens":0,"costUsd":0}`,
			`text {"text":"I write ` + file + `."}`,
			`tool.call {"name":"Write","input":{"file_path":"` + file + `","content":"written\n"}}`,
			`tool.result {"ok":true}`,
			`usage {"inputTokens":100,"outputTokens":1,"cacheReadTokens":0,"cacheWriteTokens":0,"costUsd":0}`,
			`text {"text":"Done."}`,
			`usage {"inputTokens":0,"outputTokens":38,"cacheReadTokens":0,"cacheWriteTokens":0,"costUsd":0.0012000000000000001}`,
			`turn.ended {"ok":true,"text":"Done."}`,
		}
	}
	want := append([]string{`session {}`}, turn("one.txt", "01jd4qx8r2mzv7k3n5p9t0w6ab")...)
	want = append(want, turn("two.txt", "message-2")...)
	want = append(want, `message {"messageId":"message-2","receipt":"delivered"}`)
	if diff := cmp.Diff(want, a.shape()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	a.record("claude-two-messages")
}

// shape is tell without ids and tools' output.
func (a *agent) shape() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []string
	for _, e := range a.events {
		switch d := e.Data.(type) {
		case town.SessionData:
			e.Data = struct{}{}
		case town.ToolCallData:
			e.Data = struct {
				Name  string          `json:"name"`
				Input json.RawMessage `json:"input"`
			}{d.Name, d.Input}
		case town.ToolResultData:
			e.Data = map[string]bool{"ok": d.OK}
		}
		lines = append(lines, render(a.t, e))
	}
	return lines
}

func (a *agent) session() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if d, ok := e.Data.(town.SessionData); ok {
			return d.ID
		}
	}
	a.t.Fatal("no session")
	return ""
}

// TestClaudeIsInterruptedAndGoesOn: the control message ends a turn in which the
// model says nothing more, and the same process takes the next message.
func TestClaudeIsInterruptedAndGoesOn(t *testing.T) {
	model, url := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Text: "I think", Hang: true}, llmtest.Step{Text: "Here."}))
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt, a.spec.MessageID = "think for ever", "message-1"
	arrived := model.Arrived()
	p := a.start()
	a.wait(town.EventTurnStarted, 1)
	<-arrived
	p.stdin.Write(a.cli.Interrupt())
	a.wait(town.EventTurnEnded, 1)
	p.stdin.Write(a.cli.Input("are you there?", "message-2"))
	a.wait(town.EventTurnEnded, 2)
	p.stdin.Close()
	p.wait(t)
	got := a.shape()
	if i := slices.Index(got, `turn.ended {"ok":false,"text":""}`); i < 0 || slices.Index(got, `turn.ended {"ok":true,"text":"Here."}`) < i {
		t.Errorf("events: %q", got)
	}
	if i := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, "error ") }); i >= 0 {
		t.Errorf("an interrupt is told as %s", got[i])
	}
	a.record("claude-interrupted")
}

// TestClaudeTellsWhyItsModelFailed proves kinds of errors by structure.
func TestClaudeTellsWhyItsModelFailed(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		kind   town.ErrorKind
	}{{"auth", 401, town.KindAuth}, {"rate-limit", 429, town.KindRateLimit}, {"overloaded", 529, town.KindOverloaded}, {"too-large", 413, town.KindContextFull}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Status: c.status} })
			env := llmtest.ClaudeEnv(url)
			env["CLAUDE_CODE_MAX_RETRIES"] = "1"
			a := newAgent(t, "claude", env)
			a.spec.Prompt = "hello"
			p := a.start()
			a.wait(town.EventTurnEnded, 1)
			p.stdin.Close()
			p.wait(t)
			a.record("claude-" + c.name)
			a.wantErrors(c.kind)
		})
	}
}

// wantErrors wants exactly one error, and retries of no other kind.
func (a *agent) wantErrors(kind town.ErrorKind) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	failures := 0
	for _, e := range a.events {
		switch d := e.Data.(type) {
		case town.RetryData:
			if d.Kind != kind {
				a.t.Errorf("retry of kind %q, want %q", d.Kind, kind)
			}
		case town.ErrorData:
			failures++
			if d.Kind != kind {
				a.t.Errorf("error %+v, want kind %q", d, kind)
			}
		}
	}
	if last, ok := a.events[len(a.events)-1].Data.(town.TurnEndedData); failures != 1 || !ok || last.OK {
		a.t.Errorf("%d errors, last %+v; output:\n%s", failures, a.events[len(a.events)-1], a.output)
	}
}

func TestClaudeResumesItsSession(t *testing.T) {
	model, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Text: "Yes."} })
	a := newAgent(t, "claude", llmtest.ClaudeEnv(url))
	a.spec.Prompt, a.spec.SystemPrompt = "remember the number 7", "old rules"
	p := a.start()
	a.wait(town.EventTurnEnded, 1)
	p.cmd.Process.Kill()
	p.wait(t)
	a.spec.SessionID, a.spec.Prompt, a.spec.SystemPrompt = a.session(), "which number?", "new rules"
	p = a.start()
	a.wait(town.EventTurnEnded, 2)
	p.stdin.Close()
	p.wait(t)
	last := model.Requests()[1]
	if !bytes.Contains(last.Body, []byte("remember the number 7")) {
		t.Error("the resumed session has forgotten its first message")
	}
	if !strings.Contains(last.System, "new rules") || strings.Contains(last.System, "old rules") {
		t.Error("the resumed session keeps its old system prompt")
	}
}

func TestClaudeSaysThatASessionIsUnknown(t *testing.T) {
	a := newAgent(t, "claude", llmtest.ClaudeEnv("http://127.0.0.1:1"))
	a.spec.Prompt, a.spec.SessionID = "hello", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
	if code := a.start().wait(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if got := a.tell(); len(got) != 1 || !strings.Contains(got[0], "No conversation found") {
		t.Errorf("events: %q; output:\n%s", got, a.output)
	}
	a.record("claude-unknown-session")
}

// TestCommandReadsItsPromptsAndIsTyped: a shell finds its prompts in files, prints
// nothing typed unasked, and reads a message as a line.
func TestCommandReadsItsPromptsAndIsTyped(t *testing.T) {
	a := newAgent(t, "command", map[string]string{"GREETING": "hi\nthere"})
	a.spec.LookPath = nil
	a.spec.Prompt, a.spec.SystemPrompt = "the prompt", "the system prompt"
	a.spec.Command = []string{"bash", "-c", `stty -echo; cat "$TOWND_SYSTEM_PROMPT_FILE" "$TOWND_PROMPT_FILE"; echo; echo "$HOME $GREETING"; read -r line; echo "got $line"`}
	p := a.start()
	p.stdin.Write(a.cli.Input("a message", "id"))
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := "the system promptthe prompt\r\n" + a.spec.Home + " hi\r\nthere\r\ngot a message\r\n"
	if got := strings.TrimPrefix(string(a.output), "a message\r\n"); got != want { // echoed when typed before stty
		t.Errorf("output %q, want %q", got, want)
	}
}
