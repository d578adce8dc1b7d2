package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"townd/coordinator/tools"
)

// demoIdle is what the demo agent prints when it has nothing to do and stays.
const demoIdle = "waiting for a message"

// demoQueue bounds the typed lines that wait while the demo agent works.
const demoQueue = 64

func newDemoAgentCommand(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:    "demo-agent",
		Short:  "Be the agent of --cli demo: work on the task in TOWND_PROMPT_FILE, without a model",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			task, err := os.ReadFile(std.getenv("TOWND_PROMPT_FILE"))
			if err != nil {
				return fmt.Errorf("read the task that TOWND_PROMPT_FILE names: %w", err)
			}
			a := &demoAgent{
				out:   std.out,
				dir:   ".",
				fast:  std.getenv("DEMO_FAST") != "",
				stay:  std.getenv("DEMO_STAY") != "",
				plain: std.getenv("NO_COLOR") != "",
				typed: make(chan string, demoQueue),
			}
			if bead := std.getenv(beadVariable); bead != "" {
				if client, err := agentClient(std); err == nil {
					a.town = client
				}
			}
			ctx, release := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			defer release()
			go a.listen(std.in) // ends with the process: a read of a terminal cannot be cancelled
			return a.work(ctx, string(task))
		},
	}
}

// demoAgent is a program that behaves like a coding agent without a model: it
// shows what it does, at a pace that people can follow, and takes messages.
type demoAgent struct {
	dir   string // the worktree
	fast  bool   // no pauses
	stay  bool   // wait for messages when done, else end
	plain bool   // no colours
	typed chan string
	town  *tools.Client // of an agent with a bead on its hook, else nil

	mu  sync.Mutex // one line at a time: listen answers while live works
	out io.Writer
}

// work is live for an agent that may have a bead: then its first task is that, and
// the town is told how it went.
func (a *demoAgent) work(ctx context.Context, task string) error {
	if !a.begin(ctx) {
		return a.live(ctx, task)
	}
	task = describedIn(task)
	if err := a.do(ctx, task); err != nil {
		if ctx.Err() == nil {
			_, toldErr := a.tool(ctx, "gt_escalate", map[string]any{"title": "the demo agent cannot do this", "body": err.Error(), "blocked": true})
			err = errors.Join(err, toldErr)
		}
		return err
	}
	if _, err := a.tool(ctx, "gt_checkpoint", map[string]any{"done": firstLine(task)}); err != nil {
		return err
	}
	const summary = "The demo agent did the task and committed it: "
	ok, err := a.tool(ctx, "gt_done", map[string]any{"summary": summary + firstLine(task), "verified": "ALIGNED"})
	if err == nil && !ok { // as when there was nothing to do
		ok, err = a.tool(ctx, "gt_bead_close", map[string]any{"reason": "There was nothing to change: " + firstLine(task)})
	}
	if err == nil && !ok {
		err = errors.New("the town takes neither gt_done nor gt_bead_close")
	}
	return err
}

// describedIn takes what is to be done out of the prompt of a bead.
func describedIn(prompt string) string {
	_, task, ok := strings.Cut(prompt, "\n## Title\n")
	if !ok {
		return prompt
	}
	task, _, _ = strings.Cut(task, "\n-----")
	return strings.Replace(task, "\n## Description\n", "\n\n", 1)
}

// begin reports whether the town has tools, having called the first of them.
func (a *demoAgent) begin(ctx context.Context) bool {
	if a.town == nil {
		return false
	}
	list, err := a.town.Tools(ctx)
	if err != nil || !slices.ContainsFunc(list, func(t tools.Tool) bool { return t.Name == "gt_done" }) {
		return false
	}
	_, err = a.tool(ctx, "gt_prime", map[string]any{})
	return err == nil
}

// tool shows and calls a tool of the town's.
func (a *demoAgent) tool(ctx context.Context, name string, arguments map[string]any) (ok bool, err error) {
	data, err := json.Marshal(arguments)
	if err != nil {
		return false, err
	}
	a.say(dim, "$ townd tool %s", name)
	r, err := a.town.Tool(ctx, name, data, nil)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	a.say(dim, "%s", clip(firstLine(r.Text()), 100))
	return !r.IsError, nil
}

// live does the first task and then what was typed meanwhile.
func (a *demoAgent) live(ctx context.Context, task string) error {
	err := a.do(ctx, task)
	for err == nil {
		var next string
		if next, err = a.next(ctx); next == "" || err != nil {
			break
		}
		err = a.do(ctx, next)
	}
	if ctx.Err() != nil {
		a.say(red, "● stopped by a signal")
		return &exitError{code: exitStopped}
	}
	return err
}

// next returns the next typed line, "" when there is none and the agent may end.
func (a *demoAgent) next(ctx context.Context) (string, error) {
	select {
	case line := <-a.typed:
		return line, nil
	default:
	}
	if !a.stay {
		return "", nil
	}
	a.say(dim, "● %s", demoIdle)
	select {
	case line := <-a.typed:
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// listen acknowledges each line typed and queues it as a task.
func (a *demoAgent) listen(in io.Reader) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20) // a message is at most that long (town.MaxPromptBytes)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		select {
		case a.typed <- line:
			a.say(cyan, "● noted: %s", line)
		default:
			a.say(red, "● too much to do already, not noted: %s", line)
		}
	}
}

func (a *demoAgent) do(ctx context.Context, task string) error {
	begin := time.Now()
	a.say(bold, "● task: %s", firstLine(task))
	a.pause(ctx, 600*time.Millisecond)
	var err error
	if strings.Contains(task, "test.sh") && a.broken() {
		err = a.fix(ctx)
	} else {
		err = a.write(ctx, task)
	}
	if err != nil {
		return err
	}
	a.say(green, "● done in %.1f s", time.Since(begin).Seconds())
	return nil
}

// The defect of the sample repository, and its cure.
const (
	sampleProgram = "slug.sh"
	sampleDefect  = `  tr -c 'a-z0-9\n' '-'`
	sampleCure    = `  tr -cs 'a-z0-9\n' '-' |` + "\n" + `  sed 's/^-//; s/-$//'`
)

// broken reports whether the worktree is the sample repository with its defect.
func (a *demoAgent) broken() bool {
	program, err := os.ReadFile(a.path(sampleProgram))
	return err == nil && strings.Contains(string(program), sampleDefect)
}

// fix is the demonstration: see the test fail, read, edit, test, commit.
func (a *demoAgent) fix(ctx context.Context) error {
	if err := a.run(ctx, "sh", "test.sh"); err == nil {
		a.say(dim, "● the tests pass already")
		return nil
	}
	a.say(bold, "● runs of - become one, and none is left at the ends: that is what the tests want")
	a.pause(ctx, 400*time.Millisecond)
	if err := a.run(ctx, "cat", sampleProgram); err != nil {
		return err
	}
	if err := a.edit(ctx, sampleProgram, sampleDefect, sampleCure); err != nil {
		return err
	}
	if err := a.run(ctx, "sh", "test.sh"); err != nil {
		return fmt.Errorf("the tests still fail: %w", err)
	}
	return a.run(ctx, "git", "commit", "-q", "-a", "-m", "slug: squeeze and trim dashes")
}

// edit replaces text in a file of the worktree and shows the change.
func (a *demoAgent) edit(ctx context.Context, name, old, replacement string) error {
	text, err := os.ReadFile(a.path(name))
	if err != nil {
		return err
	}
	a.say(bold, "● edit %s", name)
	for line := range strings.Lines(old) {
		a.say(red, "- %s", strings.TrimRight(line, "\n"))
	}
	for line := range strings.Lines(replacement) {
		a.say(green, "+ %s", strings.TrimRight(line, "\n"))
	}
	a.pause(ctx, 600*time.Millisecond)
	return os.WriteFile(a.path(name), []byte(strings.Replace(string(text), old, replacement, 1)), 0o644)
}

// write does any other task: it commits one file that is named by the task.
func (a *demoAgent) write(ctx context.Context, task string) error {
	name := slug(firstLine(task)) + ".md"
	a.say(bold, "● write %s", name)
	f, err := os.OpenFile(a.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.TrimSpace(task) + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	a.pause(ctx, 300*time.Millisecond)
	if err := a.run(ctx, "git", "add", "--", name); err != nil {
		return err
	}
	return a.run(ctx, "git", "commit", "-q", "-m", "Add "+name, "--", name)
}

// run shows and runs a program in the worktree, its output line by line.
func (a *demoAgent) run(ctx context.Context, program string, args ...string) error {
	a.say(dim, "$ %s", strings.Join(append([]string{program}, args...), " "))
	a.pause(ctx, 200*time.Millisecond)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = a.dir
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "FAIL"):
			a.say(red, "%s", line)
		case strings.HasPrefix(line, "ok "):
			a.say(green, "%s", line)
		default:
			a.say(normal, "%s", line)
		}
		a.pause(ctx, 60*time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	return nil
}

func (a *demoAgent) say(c colour, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !a.plain {
		text = c.paint(text)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(a.out, text)
}

// pause waits so that people can follow; a signal ends it.
func (a *demoAgent) pause(ctx context.Context, d time.Duration) {
	if a.fast {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (a *demoAgent) path(name string) string { return a.dir + string(os.PathSeparator) + name }

// firstLine returns the first line of text that says something.
func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(strings.TrimLeft(line, "# ")); line != "" {
			return line
		}
	}
	return ""
}

// maxSlug bounds the length of slug's answer in bytes.
const maxSlug = 40

// slug makes a file or branch name of a text: lower case, digits, single dashes.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case b.Len() == maxSlug:
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return cmp.Or(strings.Trim(b.String(), "-"), "task")
}
