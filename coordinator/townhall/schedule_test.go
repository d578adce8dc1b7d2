package townhall

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"townd/town"
)

// Proves C11.
func TestBeadIsHandedOutWithAllThatItsAgentNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.rig(t, "site", func(s *town.RigSettings) {
				s.CLI, s.Model, s.EnvVars, s.Limits.Turns = "claude", "sonnet", map[string]string{"COLOR": "blue"}, 7
			})
		})
		b := d.add(t, "site", town.BeadRequest{Title: "Mend it", Body: "The test fails."})
		synctest.Wait()
		starts := d.started()
		if len(starts) != 1 {
			t.Fatalf("%d starts, want 1 without any time passing", len(starts))
		}
		got := d.want(t, b.ID, town.BeadInProgress)
		s := starts[0]
		if s.BeadID != b.ID || s.Generation != 1 || s.Resume || s.Role != town.RolePolecat || s.AgentID != got.AgentID || s.Branch != got.Branch ||
			s.CLI != "claude" || s.Model != "sonnet" || s.EnvVars["COLOR"] != "blue" || s.Limits.Turns != 7 || s.DefaultBranch != "main" || s.StartPoint != "" {
			t.Errorf("started with %+v", s)
		}
		if !strings.Contains(s.Prompt, "Mend it") || !strings.Contains(s.Prompt, "The test fails.") || s.Branch != "polecat/"+s.Name+"/"+b.ID[18:] {
			t.Errorf("prompt %q, branch %s, name %s", s.Prompt, s.Branch, s.Name)
		}
	})
}

// C26, R7: attempts that fail are made again after 30 s, 1 min …, with the same agent,
// branch and session; after the last one people are told, with the original error (R8).
func TestFailedAttemptsAreMadeAgainThenGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, nil)
		b := d.add(t, "site", town.BeadRequest{})
		waits := []time.Duration{0, 30 * time.Second, time.Minute}
		var first town.StartRequest
		for n, wait := range waits {
			if wait > 0 {
				d.beatFor(t, wait-time.Second)
				d.want(t, b.ID, town.BeadOpen)
				d.beatFor(t, wait/4+2*time.Second) // jitter
			}
			synctest.Wait()
			starts := d.started()
			if len(starts) != n+1 {
				t.Fatalf("%d starts after attempt %d failed", len(starts), n)
			}
			if n == 0 {
				first = starts[0]
			}
			if s := starts[n]; s.AgentID != first.AgentID || s.Branch != first.Branch || s.Generation != int64(n+1) || s.Resume != (n > 0) {
				t.Errorf("attempt %d is %+v", n+1, s)
			}
			d.end(t, first.AgentID, town.ReasonCrashed, "segfault in parser")
			synctest.Wait()
		}
		got := d.want(t, b.ID, town.BeadFailed)
		if got.Attempts != 3 || !strings.Contains(got.Why, "segfault in parser") {
			t.Errorf("failed after %d attempts: %s", got.Attempts, got.Why)
		}
		e := d.escalations(t)
		if len(e) != 1 || e[0].BeadID != b.ID || !strings.Contains(e[0].Body, "segfault in parser") || e[0].Severity != town.PriorityHigh {
			t.Errorf("escalations %+v", e)
		}
		d.beatFor(t, time.Hour)
		if n := len(d.started()); n != 3 {
			t.Errorf("%d starts an hour later", n)
		}
	})
}

// C12, C14, C23, F14: whatever comes of a start, the claim ends or its agent lives.
func TestClaimThatDidNotStartIsGivenBack(t *testing.T) {
	for _, c := range []struct {
		name     string
		err      error
		hidden   bool // the agent lives all the same
		retry    bool // the next start works
		attempts int
		status   town.BeadStatus
		within   time.Duration
		cause    string // of an escalation
	}{
		{name: "bad request", err: &town.InvalidError{Issues: []town.Issue{{Path: "cli", Message: "is unknown"}}}, status: town.BeadOpen, cause: "start:site"},
		{name: "program not started", err: town.ErrStartFailed, retry: true, attempts: 2, status: town.BeadInProgress, within: time.Minute},
		{name: "program never started", err: town.ErrStartFailed, attempts: 3, status: town.BeadFailed, within: 5 * time.Minute, cause: "bead"},
		{name: "conflict", err: town.ErrConflict, retry: true, attempts: 2, status: town.BeadInProgress, within: time.Minute},
		{name: "full", err: &town.CapacityError{What: "full", RetryAfter: 20 * time.Second}, retry: true, attempts: 1, status: town.BeadInProgress, within: 21 * time.Second},
		{name: "draining", err: town.ErrUnavailable, retry: true, attempts: 1, status: town.BeadInProgress, within: 6 * time.Second},
		{name: "always draining", err: town.ErrUnavailable, status: town.BeadOpen, within: time.Hour, cause: "container"},
		{name: "remote down for a while", err: town.ErrGit, retry: true, attempts: 1, status: town.BeadInProgress, within: 6 * time.Second},
		{name: "remote down", err: town.ErrGit, status: town.BeadOpen, within: time.Hour, cause: "remote:site"},
		{name: "cut before", err: errCut, retry: true, attempts: 1, status: town.BeadInProgress, within: 6 * time.Second},
		{name: "cut after", err: errCut, hidden: true, attempts: 1, status: town.BeadInProgress, within: 50 * time.Minute},
		{name: "conflict with itself", err: town.ErrConflict, hidden: true, attempts: 1, status: town.BeadInProgress, within: 50 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDispatching(t, []string{"site"}, func(d *dispatching) {
					d.onStart = func(req town.StartRequest) error {
						if c.hidden {
							d.scripted.live(req)
						}
						if c.retry && len(d.started()) > 1 {
							return nil
						}
						return fmt.Errorf("start: %w", c.err)
					}
				})
				b := d.add(t, "site", town.BeadRequest{})
				synctest.Wait()
				d.beatFor(t, c.within)
				got := d.want(t, b.ID, c.status)
				if got.Attempts != c.attempts && c.status != town.BeadOpen {
					t.Errorf("%d attempts, want %d", got.Attempts, c.attempts)
				}
				if c.status == town.BeadOpen && c.cause != "start:site" && got.Attempts != 0 {
					t.Errorf("%d attempts are counted", got.Attempts)
				}
				if got.Lease == nil != (c.status != town.BeadInProgress) {
					t.Errorf("lease %+v", got.Lease)
				}
				var causes []string
				for _, e := range d.escalations(t) {
					causes = append(causes, e.Cause)
				}
				if c.cause == "" && len(causes) > 0 || c.cause != "" && (len(causes) != 1 || !strings.HasPrefix(causes[0], c.cause)) {
					t.Errorf("escalations %q, want %q", causes, c.cause)
				}
			})
		})
	}
}

// A start whose server was killed in the middle is no attempt, as long as nobody has seen
// its agent run.
func TestStartThatWasCutOffIsNoAttempt(t *testing.T) {
	for name, seen := range map[string]bool{"never seen": false, "seen to run": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down := true
				d := newDispatching(t, []string{"site"}, func(d *dispatching) {
					d.onStart = func(req town.StartRequest) error {
						if down && seen {
							d.scripted.live(req)
						}
						if down {
							return errCut
						}
						return nil
					}
					d.onAgent = func(string) error {
						if down {
							return errCut
						}
						return nil
					}
				})
				b := d.add(t, "site", town.BeadRequest{MaxAttempts: 1})
				synctest.Wait()
				d.beat(t)
				d.want(t, b.ID, town.BeadInProgress)
				down = false
				d.mu.Lock()
				clear(d.agents)
				d.mu.Unlock()
				d.beatFor(t, 6*time.Minute)
				if seen {
					d.want(t, b.ID, town.BeadFailed)
				} else if got := d.want(t, b.ID, town.BeadInProgress); got.Epoch != 2 || got.Attempts != 1 {
					t.Errorf("epoch %d, attempt %d; want the first attempt again", got.Epoch, got.Attempts)
				}
				if n, err := d.failures(t.Context(), time.Time{}); err != nil || n != 1 {
					t.Errorf("failures() = %d, %v; want one for the breaker", n, err)
				}
			})
		})
	}
}

// What a container tells of a start that its server did not live to make is no attempt
// either.
func TestServerThatEndedDuringAStartIsNoAttempt(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{MaxAttempts: 1})
	for epoch := int64(1); epoch <= 3; epoch++ {
		b := take(t, h)
		starting := shown(b)
		starting.Status = town.StatusStarting
		beat(t, h, "box", starting)
		if err := h.Completed(t.Context(), b.AgentID, completion(b, town.ReasonCutOff)); err != nil {
			t.Fatal(err)
		}
		if got := wantStatus(t, h, b.ID, town.BeadOpen); got.Attempts != 0 || got.NotBefore != nil || got.Epoch != epoch {
			t.Errorf("cut off it is %+v", got)
		}
	}
	if n, err := h.failures(t.Context(), time.Time{}); err != nil || n != 3 {
		t.Errorf("failures() = %d, %v; want each for the breaker", n, err)
	}
}

// A container that knows an agent of a newer generation than the hall, as after the
// hall's database was restored, refuses until the hall is ahead of it.
func TestHallThatIsBehindCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.onStart = func(req town.StartRequest) error {
				if req.Generation > 7 {
					return nil
				}
				req.Generation = 7
				d.scripted.live(req)
				return fmt.Errorf("older generation: %w", town.ErrConflict)
			}
		})
		b := d.add(t, "site", town.BeadRequest{})
		synctest.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := d.want(t, b.ID, town.BeadInProgress); got.Epoch != 8 || got.Attempts != 1 {
			t.Errorf("epoch %d, attempts %d", got.Epoch, got.Attempts)
		}
	})
}

func TestLeaseOfAnAgentThatIsNotHeardOfEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, nil)
		b := d.add(t, "site", town.BeadRequest{})
		synctest.Wait()
		d.beatFor(t, time.Hour)
		d.want(t, b.ID, town.BeadInProgress) // C22: renewed
		time.Sleep(5*time.Minute - time.Second)
		synctest.Wait()
		d.want(t, b.ID, town.BeadInProgress)
		time.Sleep(2 * time.Second) // C27
		synctest.Wait()
		d.want(t, b.ID, town.BeadOpen)
		time.Sleep(time.Minute)
		synctest.Wait()
		got := d.want(t, b.ID, town.BeadInProgress)
		if s := d.started(); got.Attempts != 2 || len(s) != 2 || s[1].Generation != 2 {
			t.Errorf("attempt %d, %d starts", got.Attempts, len(s))
		}
	})
}

func TestRigsTakeTurnsAndKeepTheirBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"a", "b", "c"}, func(d *dispatching) {
			d.cfg.MaxAgents = 6
			d.rig(t, "c", func(s *town.RigSettings) { s.MaxAgents = 1 })
			for range 20 { // a has been waiting for longer
				d.add(t, "a", town.BeadRequest{Priority: town.PriorityHigh})
			}
			for range 20 {
				d.add(t, "b", town.BeadRequest{Priority: town.PriorityLow})
				d.add(t, "c", town.BeadRequest{Priority: town.PriorityCritical})
			}
		})
		synctest.Wait()
		count := func() map[string]int {
			n := map[string]int{}
			for _, s := range d.started() {
				n[s.RigID]++
			}
			return n
		}
		if n := count(); n["a"]+n["b"] != 5 || n["a"] < 2 || n["b"] < 2 || n["c"] != 1 {
			t.Errorf("handed out %v of room for 6", n)
		}
		for i := range 30 { // one at a time makes room for one
			d.done(t, d.started()[i].AgentID)
			synctest.Wait()
		}
		if n := count(); n["a"]+n["b"]+n["c"] != 36 || n["a"]-n["b"] > 2 || n["b"]-n["a"] > 2 || n["c"] < 5 {
			t.Errorf("handed out %v", n)
		}
	})
}

// Q1: a bead of low priority that waits long enough comes before younger ones that press.
func TestLowPriorityDoesNotStarve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) { d.cfg.MaxAgents = 1 })
		d.onLive = func(req town.StartRequest) {
			go func() { // each takes ten minutes
				time.Sleep(10 * time.Minute)
				d.done(t, req.AgentID)
			}()
		}
		low := d.add(t, "site", town.BeadRequest{Priority: town.PriorityLow})
		d.add(t, "site", town.BeadRequest{Priority: town.PriorityHigh})
		begin := time.Now()
		for time.Since(begin) < 7*time.Hour {
			d.add(t, "site", town.BeadRequest{Priority: town.PriorityHigh}) // more than one agent can do
			d.beatFor(t, 9*time.Minute)
		}
		if b := d.bead(t, low.ID); b.Epoch != 1 || len(d.started()) < 40 {
			t.Errorf("taken %d times in 7 h, beside %d others", b.Epoch, len(d.started()))
		}
		d.stop()
		time.Sleep(10 * time.Minute) // for the last to be done
	})
}

func TestPausedTownAndRigHandOutNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"a", "b"}, func(d *dispatching) {
			d.rig(t, "a", func(s *town.RigSettings) { s.Paused = true })
		})
		d.add(t, "a", town.BeadRequest{})
		synctest.Wait()
		if n := len(d.started()); n != 0 {
			t.Errorf("%d starts in a paused rig", n)
		}
		if _, err := d.Pause(t.Context(), Person, "lunch"); err != nil {
			t.Fatal(err)
		}
		d.add(t, "b", town.BeadRequest{})
		d.beatFor(t, time.Hour)
		if n := len(d.started()); n != 0 {
			t.Errorf("%d starts in a paused town", n)
		}
		if _, err := d.Pause(t.Context(), Person, ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(d.started()); n != 1 {
			t.Errorf("%d starts after the pause", n)
		}
		d.rig(t, "a", func(s *town.RigSettings) {})
		synctest.Wait()
		if n := len(d.started()); n != 2 {
			t.Errorf("%d starts after the rig's pause", n)
		}
	})
}

// A claim whose start the hall did not live to ask for is started by the next one; an
// agent that runs is left alone, and one that has ended is not started again.
// Proves P4.
func TestNextHallGoesOnWithTheClaimsOfTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, nil)
		runs, lost, ended := d.add(t, "site", town.BeadRequest{}), d.add(t, "site", town.BeadRequest{}), d.add(t, "site", town.BeadRequest{})
		synctest.Wait()
		d.stop()
		d.mu.Lock()
		delete(d.agents, d.bead(t, lost.ID).AgentID)
		d.starts = nil
		d.mu.Unlock()
		d.set(d.bead(t, ended.ID).AgentID, func(a *town.AgentHeartbeat) { a.Status = town.StatusExited })
		d.reopen(t)
		synctest.Wait()
		starts := d.started()
		if len(starts) != 1 || starts[0].BeadID != lost.ID || starts[0].Generation != 1 {
			t.Errorf("started again: %+v", starts)
		}
		for _, id := range []string{runs.ID, lost.ID} {
			if b := d.want(t, id, town.BeadInProgress); b.Attempts != 1 {
				t.Errorf("attempts %d", b.Attempts)
			}
		}
	})
}

func TestNothingIsHandedOutTwiceWhileAStartTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.onStart = func(town.StartRequest) error { time.Sleep(4 * time.Minute); return nil }
		})
		for range 8 {
			d.add(t, "site", town.BeadRequest{})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		starts := d.started()
		ids := map[string]bool{}
		for _, s := range starts {
			ids[s.BeadID] = true
		}
		if len(starts) != DefaultTownAgents || len(ids) != len(starts) {
			t.Errorf("%d starts of %d beads, want %d", len(starts), len(ids), DefaultTownAgents)
		}
		time.Sleep(4 * time.Minute)
	})
}

func TestDispatchNeedsAContainerFunction(t *testing.T) {
	h, err := Open(t.Context(), Config{Path: memory, TownID: "town"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Dispatch(t.Context(), DispatchConfig{}); err == nil {
		t.Error("Dispatch without Container succeeds")
	}
}

func TestTurnsBeginAfterTheLast(t *testing.T) {
	ids := []string{"a", "b", "c"}
	for last, want := range map[string]string{"": "abc", "a": "bca", "b": "cab", "c": "abc", "bb": "cab"} {
		if got := strings.Join(inTurn(slices.Clone(ids), last), ""); got != want {
			t.Errorf("after %q: %s, want %s", last, got, want)
		}
	}
}
