package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"townd/town"
)

// longOutput is what an agent with a long history has printed, in bytes.
const longOutput = 52_000_000

// measureScreens measures how long the first look at an agent with a long history
// takes, when its server was there all along, was killed just before, when the agent has
// ended as well, and when its last screen was drawn before the server was killed.
func measureScreens(ctx context.Context, s *server) error {
	n := pick(s.b, 5, 2)
	agents, err := s.launchAll(ctx, n, "long", func(int) []string {
		return []string{"lines", "4000000", strconv.Itoa(longOutput)}
	})
	if err != nil {
		return err
	}
	for _, a := range agents {
		if err := s.printedAll(ctx, a.AgentID); err != nil {
			return err
		}
	}
	for _, look := range []struct {
		name   string
		before func() error
	}{
		{"first screen of an agent that printed 52 MB", func() error { return nil }},
		{"a later one", func() error { return nil }},
		{"the first, the server was killed just before", func() error { return s.again(ctx) }},
		{"the same, and the agent has ended", func() error { return errors.Join(s.halt(ctx, agents...), s.again(ctx)) }},
		{"the same, drawn once after its end", func() error { return s.again(ctx) }},
	} {
		if err := look.before(); err != nil {
			return err
		}
		times, cpu, err := s.lookAtAll(ctx, agents)
		if err != nil {
			return err
		}
		s.b.report(figure{name: look.name + ", p50", got: median(times), unit: "ms", bound: 300, reference: "of a processor", ref: cpu})
		s.b.report(figure{name: "the slowest of them", got: slices.Max(times), unit: "ms", bound: unbounded, reference: "fastest", ref: slices.Min(times)})
	}
	return nil
}

// printedAll waits until an agent has printed its long output.
func (s *server) printedAll(ctx context.Context, id string) error {
	for {
		at, err := s.position(ctx, id)
		if err != nil || at >= longOutput {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// lookAtAll asks for one screen after the other and returns how many milliseconds
// each took, and how many of a processor the town used for one.
func (s *server) lookAtAll(ctx context.Context, agents []town.Agent) (times []float64, cpu float64, err error) {
	before, err := s.usage()
	if err != nil {
		return nil, 0, err
	}
	for _, a := range agents {
		began := time.Now()
		screen, err := s.Screen(ctx, a.AgentID)
		if err != nil {
			return nil, 0, err
		}
		if screen.Offset < longOutput {
			return nil, 0, fmt.Errorf("screen of %s is of offset %d", a.AgentID, screen.Offset)
		}
		times = append(times, millis(time.Since(began)))
	}
	after, err := s.usage()
	return times, millis(after.cpu-before.cpu) / float64(len(agents)), err
}
