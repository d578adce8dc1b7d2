package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"townd/api"
	"townd/town"
)

// The work that is handed out.
const (
	beadWorkers = 20
	beadsMade   = 1000
)

// measureBeads measures the way of a bead: from its making to its agent's first byte,
// and how many go through agents that do any bead.
func measureBeads(ctx context.Context, s *server) error {
	if err := s.again(ctx, fmt.Sprint("MAX_CONCURRENT_EXECUTIONS=", beadWorkers), "TOWND_HEARTBEAT_SECONDS=1"); err != nil {
		return err
	}
	hall := api.NewHall("http://"+s.address, "local", s.token, &http.Client{Transport: s.http.Transport})
	if err := s.measureFirstBytes(ctx, hall); err != nil {
		return err
	}
	return s.measureWork(ctx, hall)
}

// measureFirstBytes compares a bead's way to its agent's first byte with a start that
// is asked for.
func (s *server) measureFirstBytes(ctx context.Context, hall *api.HallClient) error {
	rig := town.RigSettings{
		GitURL: s.b.repo, DefaultBranch: "main", CLI: "command", Merge: town.MergeSettings{Mode: town.MergeNone},
		Command: []string{"/bin/sh", "-c", `echo here; read -r end`},
	}
	if _, _, err := hall.PutRig(ctx, "warm", rig); err != nil {
		return err
	}
	var given, started []float64
	for i := range pick(s.b, 40, 10) + 1 {
		took, err := s.giveOne(ctx, hall)
		if err != nil {
			return err
		}
		name := fmt.Sprint("start", i)
		began := time.Now()
		agent, stream, err := s.start(ctx, name, "idle")
		direct := time.Since(began)
		if err != nil {
			return err
		}
		if err := errors.Join(stream.Close(), s.halt(ctx, agent)); err != nil {
			return err
		}
		if i > 0 { // the first clones the rig
			given, started = append(given, millis(took)), append(started, millis(direct))
		}
	}
	for _, q := range []struct {
		name     string
		quantile float64
		bound    float64
	}{{"bead made until its agent's first byte, p50", 0.5, 150}, {"the same, p95", 0.95, unbounded}} {
		s.b.report(figure{
			name: q.name, got: quantile(given, q.quantile), unit: "ms", bound: q.bound,
			reference: "start that is asked for", ref: quantile(started, q.quantile),
		})
	}
	return nil
}

// giveOne makes a bead and watches its agent until the first byte; closing it is not
// measured.
func (s *server) giveOne(ctx context.Context, hall *api.HallClient) (took time.Duration, err error) {
	began := time.Now()
	b, _, err := hall.CreateBead(ctx, "warm", town.BeadRequest{Type: town.BeadChore, Title: "say something"})
	if err != nil {
		return 0, err
	}
	err = s.until(ctx, func() (bool, error) { // who has it, and its program
		if b.AgentID == "" {
			if b, err = hall.Bead(ctx, b.ID); b.AgentID == "" {
				return false, err
			}
		}
		a, err := s.Agent(ctx, b.AgentID)
		if errors.Is(err, town.ErrNotFound) {
			return false, nil
		}
		return err == nil && a.PID != nil, err
	})
	if err != nil {
		return 0, err
	}
	_, err = s.Follow(ctx, b.AgentID, api.StreamOptions{}, func(m api.Message) error {
		if len(m.Data) > 0 {
			return io.EOF
		}
		return nil
	})
	took = time.Since(began)
	if !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("no byte of %s: %w", b.AgentID, err)
	}
	if _, err := hall.CloseBead(ctx, b.ID, api.CloseRequest{Reason: "measured"}); err != nil {
		return 0, err
	}
	err = s.until(ctx, func() (bool, error) { // it must not be in the way of the next
		a, err := s.Agent(ctx, b.AgentID)
		return err == nil && !a.Status.Live(), err
	})
	if err == nil {
		err = s.Delete(ctx, b.AgentID)
	}
	return took, err
}

// until asks again every few milliseconds.
func (s *server) until(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// measureWork has the built-in agent do many beads, every second of which waits for
// the one before it.
func (s *server) measureWork(ctx context.Context, hall *api.HallClient) error {
	bare := filepath.Join(s.b.dir, "work.git")
	if err := s.b.git(ctx, s.b.dir, "clone", "-q", "--bare", s.b.repo, bare); err != nil {
		return err
	}
	rig := town.RigSettings{
		GitURL: "file://" + bare, DefaultBranch: "main", CLI: "demo", EnvVars: map[string]string{"DEMO_FAST": "1"}, MaxAgents: beadWorkers,
		Merge: town.MergeSettings{Mode: town.MergeNone},
	}
	if _, _, err := hall.PutRig(ctx, "work", rig); err != nil {
		return err
	}
	n := pick(s.b, beadsMade, beadsMade/10)
	before, err := s.usage()
	if err != nil {
		return err
	}
	began := time.Now()
	last := ""
	for i := range n {
		req := town.BeadRequest{Type: town.BeadChore, Title: fmt.Sprint("write page ", i)}
		if i%2 == 1 {
			req.DependsOn = []string{last}
		}
		b, _, err := hall.CreateBead(ctx, "work", req)
		if err != nil {
			return err
		}
		last = b.ID
	}
	err = s.until(ctx, func() (bool, error) {
		status, err := hall.TownStatus(ctx)
		if err != nil {
			return false, err
		}
		ended := status.Beads[town.BeadOpen]+status.Beads[town.BeadInProgress]+status.Beads[town.BeadInReview] == 0
		return ended, pause(ctx, 200*time.Millisecond)
	})
	took := time.Since(began)
	if err != nil {
		return err
	}
	after, err := s.usage()
	if err != nil {
		return err
	}
	beads, err := allBeads(ctx, hall)
	if err != nil {
		return err
	}
	done, again := countDone(beads)
	s.b.report(figure{name: fmt.Sprintf("%d beads through %d agents, done", n, beadWorkers), got: float64(done), bound: float64(n), atLeast: true, reference: "made", ref: float64(n)})
	s.b.report(figure{name: "the same, done twice or before what they wait for", got: float64(again), bound: 0, reference: "made", ref: float64(n)})
	s.b.report(figure{name: "the same, a second", got: float64(n) / took.Seconds(), unit: "/s", bound: -unbounded, atLeast: true, reference: "agents at once", ref: beadWorkers})
	s.b.report(figure{
		name: "server and keeper, CPU for a bead", got: millis(after.cpu-before.cpu) / float64(n), unit: "ms", bound: unbounded,
		reference: "of the wall clock", ref: millis(took) / float64(n),
	})
	return nil
}

// allBeads lists the beads of rig work.
func allBeads(ctx context.Context, hall *api.HallClient) (all []town.Bead, err error) {
	for q := (api.BeadQuery{RigID: "work", Limit: 500}); ; {
		page, err := hall.Beads(ctx, q)
		all = append(all, page.Beads...)
		if q.After = page.Next; err != nil || page.Next == "" {
			return all, err
		}
	}
}

// countDone counts the beads that were closed with their work, and those that were
// taken more than once or closed before what they wait for.
func countDone(beads []town.Bead) (done, again int) {
	closed := make(map[string]time.Time, len(beads))
	for _, b := range beads {
		if b.ClosedAt != nil {
			closed[b.ID] = *b.ClosedAt
		}
	}
	for _, b := range beads {
		if b.Status == town.BeadClosed && strings.Contains(b.Summary, b.Title) {
			done++
		}
		early := slices.ContainsFunc(b.DependsOn, func(id string) bool { return b.ClosedAt == nil || !closed[id].Before(*b.ClosedAt) })
		if b.Epoch != 1 || early {
			again++
		}
	}
	return done, again
}
