package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/town"
)

// measureMessage measures how long a message to an idle Claude Code takes until
// its model is asked: through a town, with its hooks and the gateway, in turns with
// the same program by itself.
func measureMessage(ctx context.Context, s *server) (err error) {
	program := findClaude()
	if program == "" {
		fmt.Fprintln(s.b.out, "message: claude is not installed: run .tools/clis/install")
		return nil
	}
	asked := make(chan time.Time, 1) // one at a time: the next message waits for the turn's end
	model := llmtest.New(func(r *llmtest.Request) llmtest.Step {
		if !r.Chore {
			asked <- time.Now()
		}
		return llmtest.Step{Text: "Heard."}
	})
	web := httptest.NewServer(model)
	defer web.Close()
	defer model.Close()
	path := "PATH=" + filepath.Dir(program) + ":" + os.Getenv("PATH")
	if err := s.again(ctx, path, "LLM_PROVIDER=claude", "LLM_API_KEY=sk-not-a-real-key", "LLM_BASE_URL="+web.URL); err != nil {
		return err
	}
	inTown, err := s.startClaude(ctx)
	if err != nil {
		return err
	}
	defer inTown.close()
	alone, err := startClaudeAlone(ctx, s.b, program, web.URL)
	if err != nil {
		return err
	}
	defer alone.close()
	return compareMessages(ctx, s.b, asked, inTown, alone)
}

// findClaude returns the program that tests run, else that of PATH, else "".
func findClaude() string {
	for _, name := range []string{".tools/clis/node_modules/.bin/claude", "claude"} {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.Abs(path); err == nil {
				return path
			}
		}
	}
	return ""
}

// talker is a program that is spoken to.
type talker interface {
	say(ctx context.Context, text string) (taken time.Time, err error)
	turnEnded(ctx context.Context) error
	close()
}

func compareMessages(ctx context.Context, b *bench, asked <-chan time.Time, inTown, alone talker) error {
	var through, direct []float64
	for i := range pick(b, 60, 10) {
		for turn := range 2 {
			to, out := inTown, &through
			if turn == i%2 {
				to, out = alone, &direct
			}
			taken, err := to.say(ctx, "message "+strconv.Itoa(i))
			if err != nil {
				return err
			}
			select {
			case at := <-asked:
				*out = append(*out, millis(at.Sub(taken)))
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := to.turnEnded(ctx); err != nil {
				return err
			}
		}
	}
	b.report(figure{
		name: "message to an idle claude, asked of its model, p50", got: median(through), unit: "ms", bound: 100,
		reference: "claude by itself", ref: median(direct),
	})
	b.report(figure{
		name: "the same, p95", got: quantile(through, 0.95), unit: "ms", bound: unbounded,
		reference: "claude by itself", ref: quantile(direct, 0.95),
	})
	return nil
}

// townTalker is a claude of a town.
type townTalker struct {
	s     *server
	ended chan error // an item for each turn; the last one is why no more come
	stop  context.CancelFunc
}

const claudeID = "claude"

// startClaude starts an agent without a task, so that it is idle.
func (s *server) startClaude(ctx context.Context) (*townTalker, error) {
	req := s.request(claudeID)
	req.CLI, req.Command, req.Prompt, req.Model = "claude", nil, "", ""
	if _, err := s.Start(ctx, req); err != nil {
		return nil, fmt.Errorf("start claude: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	t := &townTalker{s: s, ended: make(chan error, 1), stop: stop}
	go func() { // ends with close
		defer close(t.ended)
		for e, err := range s.FollowEvents(ctx, claudeID, "") {
			switch {
			case err != nil:
				t.ended <- err
			case e.Event.Event == town.EventTurnEnded:
				t.ended <- nil
			}
		}
	}()
	return t, nil
}

func (t *townTalker) say(ctx context.Context, text string) (time.Time, error) {
	_, err := t.s.Message(ctx, claudeID, town.MessageRequest{Prompt: text}, "")
	return time.Now(), err
}

func (t *townTalker) turnEnded(ctx context.Context) error {
	select {
	case err := <-t.ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *townTalker) close() {
	t.stop()
	for range t.ended { // until it has ended
	}
}

// aloneTalker is a claude that nobody is between us and.
type aloneTalker struct {
	cli agentcli.CLI
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startClaudeAlone(ctx context.Context, b *bench, program, url string) (*aloneTalker, error) {
	cli, err := agentcli.Lookup("claude")
	if err != nil {
		return nil, err
	}
	home := filepath.Join(b.dir, "alone")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	launch, err := cli.Launch(agentcli.Spec{
		Workdir: home, Home: home, Env: llmtest.ClaudeEnv(url), LookPath: func(string) (string, error) { return program, nil },
	})
	if err != nil {
		return nil, err
	}
	t := &aloneTalker{cli: cli, cmd: exec.CommandContext(ctx, launch.Argv[0], launch.Argv[1:]...)}
	t.cmd.Dir, t.cmd.Env = home, b.environ("HOME="+home)
	for _, env := range []map[string]string{llmtest.ClaudeEnv(url), launch.Env} {
		for name, value := range env {
			t.cmd.Env = append(t.cmd.Env, name+"="+value)
		}
	}
	for _, f := range launch.Files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(f.Path), 0o700), os.WriteFile(f.Path, f.Data, f.Mode)); err != nil {
			return nil, err
		}
	}
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	t.out = bufio.NewReader(out)
	if t.in, err = t.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return t, t.cmd.Start()
}

func (t *aloneTalker) say(_ context.Context, text string) (time.Time, error) {
	_, err := t.in.Write(t.cli.Input(text, ""))
	return time.Now(), err
}

func (t *aloneTalker) turnEnded(context.Context) error {
	for {
		line, err := t.out.ReadBytes('\n') // ends with the process, which ends with the context
		if err != nil {
			return fmt.Errorf("claude by itself ended: %w", err)
		}
		if bytes.Contains(line, []byte(`"type":"result"`)) {
			return nil
		}
	}
}

func (t *aloneTalker) close() {
	_ = t.in.Close()
	_ = t.cmd.Process.Kill()
	_ = t.cmd.Wait() // it was killed
}
