package e2e_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"townd/town"
)

// The server is killed so often in each phase of a start, and in each stop that
// follows every second of them: 150 times in all.
const killsPerPhase = 20

// A server that is killed at any moment of a start or a stop leaves each agent
// there once or not at all, and repeating the request makes it right.
func TestServerKilledWithinStartAndStop(t *testing.T) {
	t.Parallel()
	tt := newTown(t, nil)
	phases := startPhases()
	for i := range killsPerPhase * len(phases) {
		phase := phases[i%len(phases)]
		c := &crashCycle{testTown: tt, name: fmt.Sprintf("cycle %d, killed when %s", i, phase.name)}
		rig := "rig"
		if i%10 < len(phases) { // a rig that has to be cloned first
			rig = fmt.Sprint("rig-", i)
		}
		for n := range 1 + i%3 {
			req := tt.request(fmt.Sprintf("toast-%d-%d", i, n), tt.mode("sleep")...)
			req.RigID, req.EnvVars = rig, map[string]string{"GIVEN": c.name}
			c.requests = append(c.requests, req)
		}
		c.killWithinStart(phase)
		c.repeatStart()
		if i%2 == 0 {
			c.killWithinStop()
		}
		c.repeatStop()
		if t.Failed() {
			t.Fatalf("in %s", c.name)
		}
	}
}

// startPhase is a moment of a start that can be seen from outside.
type startPhase struct {
	name    string
	reached func(c *crashCycle) bool
}

func startPhases() []startPhase {
	exists := func(path ...string) bool {
		_, err := os.Lstat(filepath.Join(path...))
		return err == nil
	}
	return []startPhase{
		{"asked", func(*crashCycle) bool { return true }},
		{"recorded", func(c *crashCycle) bool { return exists(c.home, "agents", c.requests[0].AgentID, "record.json") }},
		{"checked out", func(c *crashCycle) bool {
			req := c.requests[0]
			return exists(c.home, "rigs", req.RigID, "worktrees", req.Branch)
		}},
		{"given a home", func(c *crashCycle) bool { return exists(c.home, "agents", c.requests[0].AgentID, "tmp") }},
		{"spawned", func(c *crashCycle) bool { return len(c.ofAgent(c.requests[0].AgentID)) > 0 }},
	}
}

// crashCycle is one set of agents that the server is killed under.
type crashCycle struct {
	*testTown
	name     string
	requests []town.StartRequest
}

// killWithinStart starts all agents at once and kills the server a little after
// the first one reaches a phase, and then looks what is there.
func (c *crashCycle) killWithinStart(phase startPhase) {
	c.t.Helper()
	answered := make(chan error, len(c.requests))
	for _, req := range c.requests {
		go func() {
			_, err := c.Start(c.t.Context(), req)
			answered <- err
		}()
	}
	for deadline := time.Now().Add(patience); !phase.reached(c) && time.Now().Before(deadline); {
		time.Sleep(100 * time.Microsecond) // another process's progress has no event
	}
	time.Sleep(rand.N(3 * time.Millisecond)) // anywhere in the phase
	c.restart()
	for range c.requests {
		<-answered // well or badly: the caller cannot tell what became of it
	}
	for _, req := range c.requests {
		waitFor(c.t, "once or not at all of "+req.AgentID, func() bool { return c.once(req.AgentID) })
	}
}

// once reports whether what the town says of the agent is what is there. There
// are never two of it.
func (c *crashCycle) once(id string) bool {
	c.t.Helper()
	a, err := c.Agent(c.t.Context(), id)
	procs := c.ofAgent(id)
	if len(procs) > 1 {
		c.t.Fatalf("%s is there %d times: %v", id, len(procs), procs)
	}
	switch {
	case errors.Is(err, town.ErrNotFound):
		return len(procs) == 0
	case err != nil:
		c.t.Fatalf("status of %s: %v", id, err)
	case a.PID != nil:
		return len(procs) == 1 && procs[0].pid == *a.PID && procs[0].run == a.RunID && a.Workdir != ""
	}
	return len(procs) == 0 && !a.Status.Live()
}

// repeatStart repeats the requests: afterwards each agent runs once.
func (c *crashCycle) repeatStart() {
	c.t.Helper()
	for _, req := range c.requests {
		a := c.start(req)
		if a.Status != town.StatusRunning || !c.once(req.AgentID) {
			c.t.Errorf("repeated start: %s is %s, its processes are %v", req.AgentID, a.Status, c.ofAgent(req.AgentID))
		}
	}
}

// killWithinStop stops all agents at once and kills the server meanwhile.
func (c *crashCycle) killWithinStop() {
	c.t.Helper()
	answered := make(chan error, len(c.requests))
	began := time.Now()
	for _, req := range c.requests {
		go func() {
			_, err := c.Stop(c.t.Context(), req.AgentID, town.StopRequest{})
			answered <- err
		}()
	}
	time.Sleep(rand.N(stopTakes))
	c.restart()
	for range c.requests {
		if <-answered == nil {
			stopTakes = max(time.Since(began), time.Millisecond)
		}
	}
}

// stopTakes is how long a stop takes here, as far as is known.
var stopTakes = 10 * time.Millisecond

// repeatStop repeats the stops: afterwards there is nothing of the agents.
func (c *crashCycle) repeatStop() {
	c.t.Helper()
	for _, req := range c.requests {
		a := c.stop(req.AgentID, town.StopRequest{})
		if left := c.ofAgent(req.AgentID); a.Status != town.StatusExited || len(left) > 0 {
			c.t.Errorf("repeated stop: %s is %s %s, left: %v", req.AgentID, a.Status, a.Reason, left)
		}
	}
}
