package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"townd/town"
)

// The trees that are stopped.
const (
	trees     = 100
	stopGrace = 2.0 // seconds
)

// measureStop stops a hundred trees at once, each with a process that ignores
// SIGTERM, so that every one needs its whole grace.
func measureStop(ctx context.Context, s *server) error {
	var longest []float64
	var left, lived int
	for range pick(s.b, 3, 1) {
		took, before, after, err := s.stopTrees(ctx)
		if err != nil {
			return err
		}
		longest, lived, left = append(longest, took), lived+before.most(), left+after.most()
	}
	s.b.report(figure{
		name: "100 trees of 5 stopped at once, the last", got: slices.Max(longest), unit: "s", bound: stopGrace + 0.5,
		reference: "grace", ref: stopGrace,
	})
	s.b.report(figure{name: "processes that survived their stop", got: float64(left), bound: 0, reference: "before", ref: float64(lived)})
	return nil
}

// stopTrees starts and stops trees. It returns how many seconds the slowest stop
// took and which processes there were before and after.
func (s *server) stopTrees(ctx context.Context) (took float64, before, after members, err error) {
	agents, err := s.launchAll(ctx, trees, "tree", func(int) []string { return []string{"tree"} })
	if err != nil {
		return 0, before, after, err
	}
	runs := make(map[string]bool)
	for _, a := range agents {
		runs[a.RunID] = true
	}
	if before, err = s.count(runs); err != nil {
		return 0, before, after, err
	}
	want := members{byUser: trees * treeSize, byMarker: trees * (treeSize - 1), byProgram: trees * treeSize} // one has no environment
	if os.Geteuid() != 0 {
		want.byUser = 0 // all are ours
	}
	if before != want {
		return 0, before, after, fmt.Errorf("%d trees are %+v, not %+v", trees, before, want)
	}
	if took, err = s.stopAtOnce(ctx, agents); err == nil {
		after, err = s.count(runs)
	}
	return took, before, after, err
}

// stopAtOnce stops agents and returns how many seconds the slowest took.
func (s *server) stopAtOnce(ctx context.Context, agents []town.Agent) (float64, error) {
	took := make([]float64, len(agents))
	err := together(len(agents), func(i int) error {
		began := time.Now()
		_, err := s.Stop(ctx, agents[i].AgentID, town.StopRequest{GraceSeconds: new(stopGrace)})
		took[i] = time.Since(began).Seconds()
		return err
	})
	return slices.Max(took), err
}
