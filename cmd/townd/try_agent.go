package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"townd/api"
	"townd/town"
)

// work starts the first agent and shows it until its task is done.
func (t *trial) work(ctx context.Context) (town.Agent, error) {
	a, err := t.startFirst(ctx)
	if err != nil {
		return town.Agent{}, err
	}
	t.say("an agent on branch %s, its program is %s", a.Branch, a.CLI)
	fmt.Fprintln(t.std.out)
	err = t.follow(ctx, a)
	fmt.Fprintln(t.std.out)
	return a, err
}

// builtIn is the agent program that needs no model.
const builtIn = "demo"

// startFirst starts the best agent that can be started here.
func (t *trial) startFirst(ctx context.Context) (town.Agent, error) {
	cli, err := t.choose(ctx)
	if err != nil {
		return town.Agent{}, err
	}
	a, err := t.start(ctx, cli)
	if err != nil && t.cli == "" && cli != builtIn {
		t.say("%s is installed and has a key, but cannot be started: %v", cli, err)
		a, err = t.start(ctx, builtIn)
	}
	return a, err
}

// choose returns the program of the first agent: the one that was asked for, else
// the first that is installed and has a key. The built-in one is the last of all.
func (t *trial) choose(ctx context.Context) (string, error) {
	noModels := !slices.ContainsFunc(t.modelEnv(), func(entry string) bool { return !strings.HasSuffix(entry, "=") })
	if t.cli == builtIn || t.cli == "" && noModels {
		return builtIn, nil
	}
	p := newProgress(t.std.err, func() string { return "looking for agent programs" })
	clis, err := t.r.CLIs(ctx)
	p.done()
	if err != nil {
		return "", t.r.explain(err)
	}
	for _, c := range clis {
		switch {
		case c.Name == t.cli && !c.Installed:
			return "", fmt.Errorf("%s is not installed: %s", c.Name, c.Install)
		case c.Name == t.cli && !c.Credential:
			return "", fmt.Errorf("there is no key for a model that %s speaks to: set %s", c.Name, keyOf(c.Name))
		case c.Name == t.cli, t.cli == "" && c.Name != "command" && c.Installed && c.Credential:
			return c.Name, nil
		}
	}
	return "", fmt.Errorf("the town does not know %s: %w", t.cli, town.ErrNotFound)
}

func (t *trial) start(ctx context.Context, cli string) (town.Agent, error) {
	flags := requestFlags{repo: "file://" + t.remote()}
	flags.req.CLI, flags.req.Prompt, flags.req.Name, flags.req.Role = cli, sampleTask, "toast", town.RolePolecat
	req, err := flags.request(ctx, t.std, nil, nil)
	if err != nil {
		return town.Agent{}, err
	}
	if cli == builtIn {
		req.EnvVars = map[string]string{"DEMO_STAY": "1", "DEMO_FAST": t.std.getenv("DEMO_FAST"), "NO_COLOR": t.std.getenv("NO_COLOR")}
		if terminalOf(t.std.out) == nil {
			req.EnvVars["NO_COLOR"] = "1"
		}
	}
	started, err := t.r.Start(ctx, req)
	return started.Agent, t.r.explain(err)
}

// errTaskDone ends the first look at the agent, which goes on.
var errTaskDone = errors.New("task done")

// follow shows what the agent does until it waits for more. It returns an error
// when the agent's turn fails or its program ends.
func (t *trial) follow(ctx context.Context, a town.Agent) error {
	options, show := api.StreamOptions{}, t.printer()
	if structured(a) {
		options, show = api.StreamOptions{Events: "0", After: "live"}, t.drawer(a)
	}
	exit, err := t.r.Follow(ctx, a.AgentID, options, show)
	switch {
	case errors.Is(err, errTaskDone):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s ended before its task was done: %s", a.CLI, cmp.Or(string(exit.Reason), string(exit.Status)))
}

// printer shows the bytes of a terminal until the built-in agent waits.
func (t *trial) printer() func(api.Message) error {
	seen := &seeker{text: []byte(demoIdle)}
	return func(m api.Message) error {
		_, err := t.std.out.Write(m.Data)
		if err == nil && seen.write(m.Data) {
			err = errTaskDone
		}
		return err
	}
}

// drawer shows events until the first turn's end.
func (t *trial) drawer(a town.Agent) func(api.Message) error {
	return func(m api.Message) error {
		frame, ok := m.Frame.(api.EventFrame)
		if !ok {
			return nil
		}
		if err := drawEvent(t.std.out, frame.Event); err != nil || frame.Event.Event != town.EventTurnEnded {
			return err
		}
		turn, err := dataOf[town.TurnEndedData](frame.Event)
		switch {
		case err != nil:
			return err
		case !turn.OK:
			return fmt.Errorf("%s could not do its task: %s", a.CLI, printable(turn.Text))
		}
		return errTaskDone
	}
}

// seeker finds a text in what is written to it in parts.
type seeker struct {
	text []byte
	tail []byte // the end of what was written, shorter than text
}

func (s *seeker) write(p []byte) bool {
	s.tail = append(s.tail, p...)
	found := bytes.Contains(s.tail, s.text)
	s.tail = bytes.Clone(s.tail[max(0, len(s.tail)-len(s.text)+1):])
	return found
}
