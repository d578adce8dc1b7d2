package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"townd/town"
)

// manyAgents is how many live agents must hardly slow a start.
const manyAgents = 200

// measureStart compares a start, from the request to the first byte at a viewer,
// with git's own `worktree add`: first with one other agent, then with many,
// then with one again, so that what drifts meanwhile falls on both sides.
func measureStart(ctx context.Context, s *server) error {
	b := s.b
	if _, err := s.launch(ctx, "resident", "idle"); err != nil { // warms the rig, too
		return err
	}
	p := &pairs{s: s, clone: filepath.Join(b.dir, "reference.git")}
	if err := b.git(ctx, b.dir, "clone", "-q", "--bare", b.repo, p.clone); err != nil {
		return err
	}
	if _, err := p.measure(ctx, 3); err != nil { // a first time is slower for both
		return err
	}
	n := pick(b, 40, 10)
	few, err := p.measure(ctx, n)
	if err != nil {
		return err
	}
	burst, err := s.startAtOnce(ctx, 100, median(few.git)/1000)
	if err != nil {
		return err
	}
	rest, err := s.launchAll(ctx, manyAgents-len(burst)-1, "more", idle)
	if err != nil {
		return err
	}
	many, err := p.measure(ctx, n)
	if err != nil {
		return err
	}
	if err := s.halt(ctx, append(burst, rest...)...); err != nil {
		return err
	}
	again, err := p.measure(ctx, n)
	if err != nil {
		return err
	}
	b.reportStarts(samples{append(few.git, again.git...), append(few.start, again.start...)}, many)
	return nil
}

func (b *bench) reportStarts(few, many samples) {
	b.report(figure{
		name: "first byte at a viewer, p50", got: median(few.start), unit: "ms", bound: median(few.git) + 15,
		reference: "git worktree add", ref: median(few.git),
	})
	b.report(figure{
		name: fmt.Sprintf("the same with %d live agents, p50", manyAgents), got: median(many.start), unit: "ms",
		bound: 1.3 * median(few.start), reference: "with one", ref: median(few.start),
	})
	b.report(figure{
		name: fmt.Sprintf("git worktree add with %d live agents, p50", manyAgents), got: median(many.git), unit: "ms",
		bound: unbounded, reference: "with one", ref: median(few.git),
	})
}

// startAtOnce reports how n starts at once go, each compared with one of git's
// that takes so many seconds, and returns the agents.
func (s *server) startAtOnce(ctx context.Context, n int, git float64) ([]town.Agent, error) {
	before, err := s.usage()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	agents, failed := s.launchAll(ctx, n, "burst", idle)
	took := time.Since(began)
	after, err := s.usage()
	if err = errors.Join(err, context.Cause(ctx)); err != nil {
		return nil, err
	}
	started := slices.DeleteFunc(agents, func(a town.Agent) bool { return a.AgentID == "" })
	s.b.report(figure{
		name: "starts at once that succeed", got: float64(len(started)), bound: float64(n), atLeast: true,
		reference: "asked", ref: float64(n),
	})
	if failed != nil {
		fmt.Fprintln(s.b.out, failed)
	}
	s.b.report(figure{
		name: "first byte of the last of them", got: took.Seconds(), unit: "s", bound: unbounded,
		reference: "as many git worktree add, one by one", ref: git * float64(n),
	})
	s.b.report(figure{
		name: "OS threads of server and keeper after them", got: float64(after.threads), bound: unbounded,
		reference: "before", ref: float64(before.threads),
	})
	return started, nil
}

// pairs measures starts and git in turns.
type pairs struct {
	s     *server
	clone string // bare
	made  int
}

// samples are in milliseconds.
type samples struct{ git, start []float64 }

func (p *pairs) measure(ctx context.Context, n int) (samples, error) {
	var got samples
	for i := range n {
		p.made++
		for turn := range 2 {
			measure, out := p.startOne, &got.start
			if turn == i%2 { // who comes first changes
				measure, out = p.addOne, &got.git
			}
			took, err := measure(ctx, strconv.Itoa(p.made))
			if err != nil {
				return samples{}, err
			}
			*out = append(*out, millis(took))
		}
	}
	return got, nil
}

// addOne has git make a worktree with a branch of its own.
func (p *pairs) addOne(ctx context.Context, name string) (time.Duration, error) {
	began := time.Now()
	err := p.s.b.git(ctx, p.clone, "worktree", "add", "-q", "--no-track", "-b", "bench/"+name, filepath.Join(p.s.b.dir, "worktrees", name), "main")
	return time.Since(began), err
}

// startOne starts an agent and watches it until its first byte; stopping it is
// not measured.
func (p *pairs) startOne(ctx context.Context, name string) (time.Duration, error) {
	began := time.Now()
	agent, stream, err := p.s.start(ctx, "start"+name, "idle")
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	return took, errors.Join(stream.Close(), p.s.halt(ctx, agent))
}
