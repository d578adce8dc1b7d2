package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"townd/api"
	"townd/town"
)

// work gives the town its first bead and shows its way until it is merged.
func (t *trial) work(ctx context.Context) error {
	cli, err := t.choose(ctx)
	if err != nil {
		return err
	}
	b, err := t.giveWork(ctx, cli)
	if err != nil {
		return t.r.explain(err)
	}
	t.say("bead %s: %s", shortID(b.ID), b.Title)
	b, err = t.await(ctx, b.ID, func(b town.Bead) bool { return b.AgentID != "" })
	if err != nil {
		return err
	}
	t.say("%s takes it, on branch %s; its program is %s", b.AgentID, b.Branch, cli)
	fmt.Fprintln(t.std.out)
	err = t.follow(ctx, b.AgentID)
	fmt.Fprintln(t.std.out)
	if err != nil {
		return err
	}
	t.say("what it changed:")
	fmt.Fprintln(t.std.out)
	if err := printPatch(ctx, t.std, t.r, b.AgentID); err != nil {
		return err
	}
	fmt.Fprintln(t.std.out)
	return t.land(ctx, b.ID)
}

// builtIn is the agent program that needs no model.
const builtIn = "demo"

// choose returns the program of the agents: the one that was asked for, else
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

// giveWork makes the rig, whose merges its own test must pass, and the first bead.
func (t *trial) giveWork(ctx context.Context, cli string) (town.Bead, error) {
	rig := town.RigSettings{
		GitURL: "file://" + t.remote(), DefaultBranch: "main", CLI: cli, Gates: []town.Gate{{Name: "test", Command: sampleTest}},
	}
	if cli == builtIn {
		rig.EnvVars = map[string]string{"DEMO_FAST": t.std.getenv("DEMO_FAST"), "NO_COLOR": t.std.getenv("NO_COLOR")}
		if terminalOf(t.std.out) == nil {
			rig.EnvVars["NO_COLOR"] = "1"
		}
	}
	if _, _, err := t.r.hall.PutRig(ctx, sampleRig, rig); err != nil {
		return town.Bead{}, err
	}
	b, _, err := t.r.hall.CreateBead(ctx, sampleRig, town.BeadRequest{Type: town.BeadBug, Title: sampleTitle, Body: sampleTask, Source: "person"})
	return b, err
}

// await waits until a bead is as wanted, or has failed or is held.
func (t *trial) await(ctx context.Context, id string, wanted func(town.Bead) bool) (b town.Bead, err error) {
	err = t.poll(ctx, func() (bool, error) {
		switch b, err = t.r.hall.Bead(ctx, id); {
		case err != nil:
			return false, err
		case wanted(b):
			return true, nil
		case b.Status == town.BeadFailed || b.Hold != "":
			return false, fmt.Errorf("bead %s: %s: %s", shortID(b.ID), b.Status, b.Why)
		}
		return false, nil
	})
	return b, err
}

// started waits until an agent that was given a bead has been started.
func (t *trial) started(ctx context.Context, id string) (a town.Agent, err error) {
	err = t.poll(ctx, func() (bool, error) {
		a, err = t.r.Agent(ctx, id)
		if errors.Is(err, town.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	})
	return a, err
}

// poll asks again and again until it is done: beads have no stream of their own.
func (t *trial) poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-t.ended:
			return fmt.Errorf("the town ended by itself: %w", t.endErr)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// follow shows what the agent does until its program ends, which it does when its
// work is handed over. It returns an error when it ends otherwise.
func (t *trial) follow(ctx context.Context, id string) error {
	a, err := t.started(ctx, id)
	if err != nil {
		return err
	}
	options, show := api.StreamOptions{}, t.printer()
	if structured(a) {
		options, show = api.StreamOptions{Events: "0", After: "live"}, t.drawer(a)
	}
	exit, err := t.r.Follow(ctx, id, options, show)
	switch {
	case err != nil:
		return err
	case exit.Reason != town.ReasonDone:
		return fmt.Errorf("%s ended before its task was done: %s", a.CLI, cmp.Or(string(exit.Reason), string(exit.Status)))
	}
	return nil
}

// printer shows the bytes of a terminal.
func (t *trial) printer() func(api.Message) error {
	out := onScreen(t.std.out)
	return func(m api.Message) error {
		_, err := out.Write(m.Data)
		return err
	}
}

// drawer shows events, until a turn fails.
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
		if err == nil && !turn.OK {
			err = fmt.Errorf("%s could not do its task: %s", a.CLI, printable(turn.Text))
		}
		return err
	}
}

// land shows how the bead goes through the merge queue.
func (t *trial) land(ctx context.Context, id string) error {
	t.say("the refinery runs `%s` on what main comes to with it, and merges", sampleTest)
	shown := int64(0)
	b, err := t.await(ctx, id, func(b town.Bead) bool {
		notes, err := t.r.hall.Notes(ctx, id)
		if err != nil {
			return false // so is asking for the bead, which tells it
		}
		for _, n := range notes {
			if n.ID > shown {
				shown = n.ID
				fmt.Fprintf(t.std.out, "  %s  %s\n", n.CreatedAt.Local().Format("15:04:05"), printable(clip(n.Text, 120)))
			}
		}
		return b.Status == town.BeadClosed
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(t.std.out)
	t.say("merged into main as %.10s, and bead %s is closed", b.Commit, shortID(b.ID))
	return nil
}
