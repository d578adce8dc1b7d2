package townhall

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"townd/api"
	"townd/town"
)

// TestThousandBeadsThroughTwentyAgents: a thousand beads that depend on each other, in
// four rigs, through twenty agents that are done at once or fail at random (the breaker
// and the gates have their part), with two halls one after the other: none is done
// twice, none is lost, each is merged once.
func TestThousandBeadsThroughTwentyAgents(t *testing.T) {
	synctest.Test(t, thousandBeads)
}

func thousandBeads(t *testing.T) {
	const beads, agents = stressBeads, 20
	var (
		mu     sync.Mutex
		now    = map[string]bool{} // agents that run
		most   int                 // at once
		done   = map[string]int{}  // by bead
		landed = map[string]int{}  // by bead
		early  []string            // beads that were begun before what they need
		needs  = map[string][]string{}
		closed = make(chan struct{}, 1)
		runs   sync.WaitGroup
	)
	d := newDispatching(t, nil, func(d *dispatching) {
		d.cfg.MaxAgents = agents
		for i := range 4 {
			d.rig(t, fmt.Sprint("rig", i), func(s *town.RigSettings) { s.MaxAgents = agents })
		}
	})
	var all []string
	d.onLive = func(req town.StartRequest) {
		mu.Lock()
		if now[req.AgentID] {
			t.Errorf("agent %s runs twice", req.AgentID)
		}
		now[req.AgentID] = true
		most = max(most, len(now))
		for _, need := range needs[req.BeadID] {
			if landed[need] == 0 {
				early = append(early, req.BeadID)
			}
		}
		mu.Unlock()
		runs.Go(func() {
			ctx := context.WithoutCancel(t.Context())
			time.Sleep(time.Duration(rand.IntN(20)) * time.Second)
			mu.Lock()
			delete(now, req.AgentID)
			mu.Unlock()
			if rand.IntN(40) == 0 {
				d.set(req.AgentID, func(a *town.AgentHeartbeat) { a.Status, a.Reason = town.StatusFailed, town.ReasonCrashed })
				err := d.report(func(h *Hall) error {
					return h.Completed(ctx, req.AgentID, town.Completion{
						AgentID: req.AgentID, Generation: req.Generation, Status: town.CompletionFailed, Reason: town.ReasonCrashed, Error: "at random",
					})
				})
				if err != nil {
					t.Errorf("completed %s: %v", req.AgentID, err)
				}
				return
			}
			err := d.report(func(h *Hall) error {
				c, err := h.CallerOf(ctx, req.AgentID)
				if err != nil {
					return err
				}
				answer, err := h.Done(ctx, c, req.AgentID, town.DoneRequest{Epoch: req.Generation, Summary: "did it"})
				if err == nil && !answer.Kept {
					mu.Lock()
					done[req.BeadID]++
					mu.Unlock()
				}
				return err
			})
			if err != nil {
				t.Errorf("done %s: %v", req.AgentID, err)
			}
			d.set(req.AgentID, func(a *town.AgentHeartbeat) { a.Status, a.Reason = town.StatusExited, town.ReasonDone })
		})
	}
	d.onStart = func(town.StartRequest) error {
		if rand.IntN(50) == 0 {
			return errCut // before it began
		}
		return nil
	}
	d.onMerge = func(req api.MergeRequest) (api.MergeResult, error) {
		mu.Lock()
		landed[req.BeadID]++
		enough := len(landed) == beads || len(landed) == beads/2
		mu.Unlock()
		if enough {
			select {
			case closed <- struct{}{}:
			default:
			}
		}
		return merged(req)
	}
	for i := range beads {
		var on []string
		for range rand.IntN(3) {
			if i > 0 {
				on = append(on, all[max(0, i-1-rand.IntN(40))])
			}
		}
		b := d.add(t, fmt.Sprint("rig", rand.IntN(4)), town.BeadRequest{Title: fmt.Sprint("bead ", i), DependsOn: unique(on), MaxAttempts: 10})
		mu.Lock()
		needs[b.ID] = b.DependsOn
		mu.Unlock()
		all = append(all, b.ID)
	}
	begin := time.Now()
	wait := func() {
		for {
			select {
			case <-closed:
				return
			case <-time.After(30 * time.Second):
				d.beat(t)
				if time.Since(begin) > 24*time.Hour {
					t.Fatal("not all are merged")
				}
			}
		}
	}
	wait()
	d.reopen(t)
	wait()
	synctest.Wait()
	runs.Wait()
	t.Logf("all merged after %v; at most %d agents at once", time.Since(begin).Round(time.Second), most)
	d.stop()
	for _, id := range all {
		d.want(t, id, town.BeadClosed)
		if done[id] != 1 || landed[id] != 1 {
			t.Errorf("bead %s was done %d times, merged %d times", id, done[id], landed[id])
		}
	}
	if most > agents || len(early) > 0 {
		t.Errorf("%d agents at once, %d beads begun before what they need", most, len(early))
	}
}

// report tells the hall something, the next one if this one is closed, as an outbox does.
func (c *scripted) report(tell func(h *Hall) error) error {
	for {
		c.mu.Lock()
		h := c.hall
		c.mu.Unlock()
		if err := tell(h); !errors.Is(err, town.ErrUnavailable) {
			return err
		}
		time.Sleep(time.Second)
	}
}

func unique(ids []string) (out []string) {
	seen := map[string]bool{}
	for _, id := range ids {
		if !seen[id] {
			out = append(out, id)
		}
		seen[id] = true
	}
	return out
}

// BenchmarkHandOut is what one bead costs from claim to the start call, with so many
// ready beads in the store.
func BenchmarkHandOut(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			started := make(chan town.StartRequest, 1)
			d := newDispatching(b, []string{"site"}, func(d *dispatching) {
				d.cfg.MaxAgents = 1
				fill(b, d.Hall, "site", n)
				d.onLive = func(req town.StartRequest) { started <- req }
			})
			req := <-started
			for b.Loop() {
				// The bead goes back to the end of the queue, so that the store stays as full.
				if err := d.putBack(b.Context(), req.BeadID); err != nil {
					b.Fatal(err)
				}
				req = <-started
			}
		})
	}
}

// fill makes n beads in one transaction.
func fill(b *testing.B, h *Hall, rig string, n int) {
	err := h.write(b.Context(), news, func(t *tx) error {
		for i := range n {
			row := newBead(t, Person, rig, town.BeadRequest{Title: fmt.Sprint("bead ", i)})
			if err := insertBead(t, &row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// putBack makes a bead that an agent has one that waits behind all others.
func (h *Hall) putBack(ctx context.Context, id string) error {
	return h.write(ctx, fact, func(t *tx) error {
		if _, _, err := apply(t, id, Call{Event: EventHold, Reason: "bench"}); err != nil {
			return err
		}
		t.tell(topicWork)
		_, err := t.exec(`UPDATE beads SET hold = '', due = ? WHERE id = ?`, ms(t.now.Add(time.Hour)), id)
		return err
	})
}
