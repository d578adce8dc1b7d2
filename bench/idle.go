package main

import (
	"context"
	"fmt"
	"time"
)

// measureIdle measures what a hundred agents that do nothing cost.
func measureIdle(ctx context.Context, s *server) error {
	b := s.b
	empty, emptyShare, err := s.rest(ctx)
	if err != nil {
		return err
	}
	// A few at a time: what a hundred starts at once leave behind is no cost of
	// idle agents (Go keeps every thread it once needed).
	for i := range 25 {
		if _, err := s.launchAll(ctx, 4, fmt.Sprintf("idle%d-", i), idle); err != nil {
			return err
		}
	}
	full, share, err := s.rest(ctx)
	if err != nil {
		return err
	}
	const mib = 1 << 20
	emptyRSS := float64(empty.rss) / mib
	b.report(figure{
		name: "server and keeper, 100 idle agents, RSS", got: float64(full.rss) / mib, unit: "MiB", bound: emptyRSS + 40,
		reference: "empty town", ref: emptyRSS,
	})
	b.report(figure{
		name: "the same, OS threads", got: float64(full.threads), bound: float64(empty.threads + 12),
		reference: "empty town", ref: float64(empty.threads),
	})
	b.report(figure{name: "the same, CPU", got: 100 * share, unit: "% core", bound: 1, reference: "empty town", ref: 100 * emptyShare})
	return nil
}

// rest lets the town be for a while and returns what it holds at the end of it
// and what share of a core it used.
func (s *server) rest(ctx context.Context) (usage, float64, error) {
	if err := pause(ctx, pick(s.b, 3*time.Second, time.Second)); err != nil {
		return usage{}, 0, err
	}
	share, err := s.cpu(ctx, pick(s.b, 20*time.Second, 5*time.Second))
	if err != nil {
		return usage{}, 0, err
	}
	u, err := s.usage()
	return u, share, err
}
