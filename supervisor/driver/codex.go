package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"townd/supervisor/agentcli"
	"townd/town"
)

// codex is a conversation with `codex app-server`: JSON-RPC in lines, whose schema
// `codex app-server generate-json-schema` prints. One goroutine owns it.
type codex struct {
	o    Options
	town *output
	in   io.WriteCloser // codex's input

	system string // the system prompt
	calls  int
	asked  map[int]func(codexLine) error // what to do with the answers still to come
	thread string                        // "" until codex has opened it
	busy   bool                          // a turn is running, or asked for
	turn   string                        // its id, "" until codex tells
	cancel bool                          // the turn, or the next, is to be interrupted once its id is known
	held   []agentcli.DriverInput        // messages for the turns to come
	ending bool                          // no input comes any more
	failed bool                          // the thread could not be opened
}

// codexQuiet are the notifications that codex need not send: pieces of what it
// tells whole later, at many times its length.
var codexQuiet = []string{
	"item/agentMessage/delta", "item/plan/delta",
	"item/reasoning/summaryTextDelta", "item/reasoning/summaryPartAdded", "item/reasoning/textDelta",
	"item/commandExecution/outputDelta", "item/fileChange/outputDelta", "item/fileChange/patchUpdated",
	"turn/diff/updated", "account/rateLimits/updated", "thread/readState/changed", "remoteControl/status/changed",
}

// driveCodex runs codex until it ends. The end of our input ends it too, after the
// turns that were asked for.
func driveCodex(ctx context.Context, o Options, out *output) (int, error) {
	cmd := exec.Command(o.Program, append(slices.Clip(o.Args), "app-server")...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 1, fmt.Errorf("pipe to codex: %w", err)
	}
	p, err := start(cmd)
	if err != nil {
		return 1, fault(out, town.KindCrashed, err)
	}
	defer p.out.Close()
	defer context.AfterFunc(ctx, p.stop)()
	c := &codex{o: o, town: out, in: stdin, asked: map[int]func(codexLine) error{}}
	err = c.talk(p.out)
	stdin.Close()
	_, _ = io.Copy(io.Discard, p.out) // else codex may wait for a reader when it should end
	if code := p.code(); code != 0 || !c.failed {
		return code, err
	}
	return 1, err
}

// talk leads the conversation until codex has no more to say.
func (c *codex) talk(stdout io.Reader) error {
	if err := c.open(); err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	said, wanted := lines(stdout, done), inputs(c.o.In, done)
	for {
		var err error
		select {
		case line, ok := <-said:
			if !ok {
				return c.refuseHeld("codex has ended")
			}
			err = c.hear(line)
		case in, ok := <-wanted:
			if !ok {
				wanted, c.ending = nil, true
				err = c.next()
				break
			}
			err = c.want(in)
		}
		if err != nil {
			return err
		}
	}
}

// open asks for the thread: a new one, one to go on with, or a copy of it.
func (c *codex) open() error {
	params := map[string]any{
		"clientInfo":   map[string]any{"name": "townd", "title": "townd", "version": "1"},
		"capabilities": map[string]any{"experimentalApi": true, "requestAttestation": false, "optOutNotificationMethods": codexQuiet},
	}
	return c.ask("initialize", params, func(l codexLine) error {
		if l.Error != nil {
			return c.fail(l.Error.Message)
		}
		if err := c.send(map[string]any{"method": "initialized"}); err != nil {
			return err
		}
		return c.openThread()
	})
}

func (c *codex) openThread() error {
	wd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("open thread: %w", err)
	}
	config := map[string]any{
		// Its hooks are those that we configured, and the repository's where it is
		// trusted. There is nobody to look at them first.
		"bypass_hook_trust": true,
	}
	params := map[string]any{
		"cwd": wd, "approvalPolicy": "never", "config": config,
		// Not danger-full-access: codex takes that for trust in the repository, and
		// runs its hooks and servers. Each turn lifts the sandbox itself.
		"sandbox": "read-only",
	}
	if c.o.Model != "" {
		params["model"] = c.o.Model
	}
	if c.o.Effort != "" {
		config["model_reasoning_effort"] = c.o.Effort
	}
	if c.o.SystemFile != "" {
		text, err := os.ReadFile(c.o.SystemFile)
		if err != nil {
			return c.fail(err.Error())
		}
		c.system = string(text)
		params["developerInstructions"] = c.system
	}
	method := "thread/start"
	if c.o.Session != "" {
		method = "thread/resume"
		if c.o.Fork {
			method = "thread/fork"
		}
		params["threadId"], params["excludeTurns"] = c.o.Session, true
	}
	return c.ask(method, params, c.opened)
}

func (c *codex) opened(l codexLine) error {
	if l.Error != nil {
		return c.fail(l.Error.Message)
	}
	var result struct {
		Thread struct {
			ID string `json:"id"`
		} `json:"thread"`
	}
	if err := json.Unmarshal(l.Result, &result); err != nil || result.Thread.ID == "" {
		return c.fail("codex opened a thread without an id")
	}
	if c.o.Session == "" || c.system == "" {
		c.thread = result.Thread.ID
		return c.next()
	}
	// A history keeps the instructions that it began with, and takes no others.
	item := map[string]any{"type": "message", "role": "developer", "content": []any{
		map[string]any{"type": "input_text", "text": "These are your instructions from now on, in the place of the earlier ones:\n\n" + c.system},
	}}
	params := map[string]any{"threadId": result.Thread.ID, "items": []any{item}}
	return c.ask("thread/inject_items", params, func(l codexLine) error {
		if l.Error != nil {
			return c.fail(l.Error.Message)
		}
		c.thread = result.Thread.ID
		return c.next()
	})
}

// fail ends a conversation that cannot begin.
func (c *codex) fail(why string) error {
	c.failed, c.ending = true, true
	if err := fault(c.town, town.KindUnknown, errors.New(why)); err != nil {
		return err
	}
	if err := c.refuseHeld(why); err != nil {
		return err
	}
	return c.end()
}

func (c *codex) refuseHeld(why string) error {
	for _, m := range c.held {
		if err := c.receipt(agentcli.DriverRefused, m, why); err != nil {
			return err
		}
	}
	c.held = nil
	return nil
}

// receipt tells what became of a message that has an id.
func (c *codex) receipt(kind string, m agentcli.DriverInput, why string) error {
	if m.ID == "" {
		return nil
	}
	return c.town.say(agentcli.DriverOutput{Townd: kind, ID: m.ID, Message: why})
}

// want takes what the town wants.
func (c *codex) want(m agentcli.DriverInput) error {
	switch m.Type {
	case agentcli.DriverMessage:
		if c.failed {
			return c.receipt(agentcli.DriverRefused, m, "codex has no thread")
		}
		c.held = append(c.held, m)
		return c.next()
	case agentcli.DriverInterrupt:
		c.cancel = c.busy || len(c.held) > 0
		return c.interrupt()
	}
	return fault(c.town, town.KindUnknown, strange(m))
}

// interrupt ends the turn if that is wanted and possible yet.
func (c *codex) interrupt() error {
	if !c.cancel || c.turn == "" {
		return nil
	}
	c.cancel = false
	return c.ask("turn/interrupt", map[string]any{"threadId": c.thread, "turnId": c.turn}, nil)
}

// next begins the next turn when it is time for it, and ends codex's input when
// none will come. codex adds a message to the turn that is running, so we wait.
func (c *codex) next() error {
	switch {
	case c.thread == "" || c.busy:
		return nil
	case len(c.held) == 0 && c.ending:
		return c.end()
	case len(c.held) == 0:
		return nil
	}
	m := c.held[0]
	c.held, c.busy, c.turn = c.held[1:], true, ""
	params := map[string]any{
		"threadId": c.thread, "input": []any{map[string]any{"type": "text", "text": m.Text}},
		// The agent's user and worktree are its bounds.
		"sandboxPolicy": map[string]any{"type": "dangerFullAccess"},
	}
	if m.ID != "" {
		params["clientUserMessageId"] = m.ID
	}
	return c.ask("turn/start", params, func(l codexLine) error { return c.started(m, l) })
}

// end closes codex's input, on which it ends. It may be called again.
func (c *codex) end() error {
	if err := c.in.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close codex's input: %w", err)
	}
	return nil
}

func (c *codex) started(m agentcli.DriverInput, l codexLine) error {
	if l.Error != nil {
		c.busy, c.cancel = false, false
		return errors.Join(c.receipt(agentcli.DriverRefused, m, l.Error.Message), c.next())
	}
	return c.receipt(agentcli.DriverAccepted, m, "")
}

// hear takes a line of codex's, after it has been passed on.
func (c *codex) hear(line []byte) error {
	if err := c.town.line(line); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	var l codexLine
	if json.Unmarshal(line, &l) != nil {
		return nil // not of the protocol
	}
	switch {
	case l.Method != "" && l.ID != nil:
		return c.reply(l)
	case l.Method != "":
		return c.note(l)
	}
	var id int
	if json.Unmarshal(l.ID, &id) != nil {
		return nil
	}
	then := c.asked[id]
	delete(c.asked, id)
	if then == nil {
		return nil
	}
	return then(l)
}

// note follows the turns of our thread; those of codex's subagents are its own.
func (c *codex) note(l codexLine) error {
	var p struct {
		ThreadID string `json:"threadId"`
		Turn     struct {
			ID string `json:"id"`
		} `json:"turn"`
	}
	if !strings.HasPrefix(l.Method, "turn/") || json.Unmarshal(l.Params, &p) != nil || p.ThreadID != c.thread {
		return nil
	}
	switch l.Method {
	case "turn/started":
		c.busy, c.turn = true, p.Turn.ID
		return c.interrupt()
	case "turn/completed":
		c.busy, c.turn, c.cancel = false, "", false
		return c.next()
	}
	return nil
}
