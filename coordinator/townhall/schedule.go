package townhall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"townd/town"
)

// handOut claims ready beads and has their agents started, one for each rig in turn
// while there is room.
func (d *dispatcher) handOut(ctx context.Context, now time.Time) error {
	c := d.cfg.Container()
	if c == nil || d.town.draining { // the next one says that it is there
		return nil
	}
	if err := d.recover(ctx, c); err != nil {
		return err
	}
	live, err := d.h.live(ctx)
	if err != nil {
		return err
	}
	room := d.room(total(live), now)
	if room <= 0 {
		return nil
	}
	ready, err := d.h.ready(ctx)
	if err != nil || len(ready) == 0 {
		return err
	}
	rigs := map[string]town.Rig{}
	for _, id := range slices.Sorted(maps.Keys(ready)) {
		if rigs[id], err = d.h.rigWithSecrets(ctx, id); err != nil {
			return err
		}
	}
	for waiting := inTurn(slices.Sorted(maps.Keys(ready)), d.lastRig); room > 0 && len(waiting) > 0; {
		id := waiting[0]
		waiting = waiting[1:]
		if rigs[id].Paused || live[id] >= cmp.Or(rigs[id].MaxAgents, town.DefaultRigAgents) || !d.open(id, now) {
			continue
		}
		ok, err := d.take(ctx, c, rigs[id])
		if err != nil {
			return err
		}
		if ok {
			d.lastRig = id
			live[id]++
			room--
			waiting = append(waiting, id)
		}
	}
	return nil
}

func total(live map[string]int) int {
	sum := 0
	for _, n := range live {
		sum += n
	}
	return sum
}

// inTurn returns ids beginning with the one after last.
func inTurn(ids []string, last string) []string {
	i, found := slices.BinarySearch(ids, last)
	if found {
		i++
	}
	return slices.Concat(ids[i:], ids[:i])
}

// open reports whether starts of a rig may go through, and asks for a pass when they may again.
func (d *dispatcher) open(rigID string, now time.Time) bool {
	if s := d.town.standby; s != nil {
		d.wakeAt(s.Until)
		return false
	}
	for _, g := range []*gate{&d.container, d.gateOf(rigID)} {
		if !g.lets(now) {
			d.wakeAt(g.opens(now))
			return false
		}
	}
	return true
}

func (d *dispatcher) gateOf(rigID string) *gate {
	g := d.rigs[rigID]
	if g == nil {
		g = new(gate)
		d.rigs[rigID] = g
	}
	return g
}

// take claims the next bead of a rig and has its agent started. ok is false when
// none is ready any more.
func (d *dispatcher) take(ctx context.Context, c Container, rig town.Rig) (ok bool, err error) {
	bead, ok, err := d.h.claimNext(ctx, rig.RigID, d.town.paused, pickName)
	if err != nil || !ok {
		return false, err
	}
	if err := d.claimed(ctx, bead); err != nil {
		return false, err
	}
	d.begin(ctx, c, rig, bead, false)
	return true, nil
}

// begin has the agent of a claimed bead started. With look, only if the container
// does not know that it was.
func (d *dispatcher) begin(ctx context.Context, c Container, rig town.Rig, bead town.Bead, look bool) {
	req, err := d.h.startRequest(ctx, rig, bead)
	if err != nil {
		d.settle(ctx, bead, startEnd{failed: true, blame: ofNobody, reason: fmt.Sprintf("its start could not be prepared: %v", err)})
		return
	}
	gate := d.gateOf(rig.RigID)
	gate.enter()
	d.container.enter()
	d.call(func() func(context.Context) {
		var end startEnd
		if look {
			end = recoverStart(ctx, c, req)
		} else {
			end = tryStart(ctx, c, req)
		}
		return func(ctx context.Context) {
			gate.leave()
			d.container.leave()
			d.settle(ctx, bead, end)
		}
	})
}

// startEnd is how a start ended. The zero value is an agent that was started.
type startEnd struct {
	failed     bool
	blame      blame
	reason     string
	retryAfter time.Duration // that the container asked for
	generation int64         // that the container knows, when it is newer than ours
}

// tryStart asks the container for a start, and when the answer leaves it open for
// what became of it.
func tryStart(ctx context.Context, c Container, req town.StartRequest) startEnd {
	asking, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	_, err := c.Start(asking, req)
	if err == nil {
		return startEnd{}
	}
	end := startEnd{failed: true, blame: judgeStart(err), reason: fmt.Sprintf("start failed: %v", err)}
	if full, ok := errors.AsType[*town.CapacityError](err); ok {
		end.retryAfter = full.RetryAfter
	}
	if end.blame != unknown && !errors.Is(err, town.ErrConflict) {
		return end
	}
	found, err := agentNow(ctx, c, req.AgentID)
	switch {
	case errors.Is(err, town.ErrNotFound), err == nil && found.Generation < req.Generation:
		if end.blame == unknown {
			end.blame = ofContainer // it did not begin
		} else {
			end.blame = ofBead // it conflicts with something else, as its branch in use
		}
	case err != nil:
		end.blame = unknown
	case found.Generation > req.Generation:
		end.blame, end.generation = ofNobody, found.Generation
	case found.Status.Live():
		return startEnd{}
	default: // it ran and has ended: its completion is on the way, or else its lease ends
		end.blame = unknown
	}
	return end
}

// recoverStart starts the agent of a claim that an earlier hall made, unless the
// container knows of it: then it was started, and tells of its end by itself.
func recoverStart(ctx context.Context, c Container, req town.StartRequest) startEnd {
	found, err := agentNow(ctx, c, req.AgentID)
	switch {
	case errors.Is(err, town.ErrNotFound), err == nil && found.Generation < req.Generation:
		return tryStart(ctx, c, req)
	case err != nil:
		return startEnd{failed: true, blame: unknown, reason: fmt.Sprintf("its agent could not be asked for: %v", err)}
	}
	return startEnd{}
}

func agentNow(ctx context.Context, c Container, id string) (town.Agent, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	return c.Agent(ctx, id)
}

// settle does what follows from a start. Each claim that did not start ends here,
// but for those of which nobody knows: their leases end, or heartbeats renew them.
func (d *dispatcher) settle(ctx context.Context, bead town.Bead, end startEnd) {
	now, gate := d.h.clock.now(), d.gateOf(bead.RigID)
	log := d.log.With("bead", bead.ID, "agent", bead.AgentID, "epoch", bead.Epoch)
	delete(d.unanswered, bead.ID)
	if !end.failed {
		gate.succeed()
		d.container.succeed()
		log.Info("bead handed out", "attempt", bead.Attempts)
		return
	}
	log.Warn("bead not handed out", "why", end.reason, "unknown", end.blame == unknown)
	switch end.blame {
	case ofNobody:
		d.owe(ctx, "release", func(ctx context.Context) error {
			return d.h.handBack(ctx, bead, end.reason, now.Add(time.Second), end.generation)
		})
	case ofContainer:
		d.container.fail(now, end.reason, end.retryAfter)
		d.owe(ctx, "release", func(ctx context.Context) error { return d.h.handBack(ctx, bead, end.reason, time.Time{}, 0) })
		d.complain(ctx, &d.container, noStarts)
	case ofRig:
		gate.fail(now, end.reason, end.retryAfter)
		d.owe(ctx, "release", func(ctx context.Context) error { return d.h.handBack(ctx, bead, end.reason, time.Time{}, 0) })
		d.complain(ctx, gate, town.EscalationRequest{
			Title: "The remote of rig " + bead.RigID + " cannot be reached", Cause: "remote:" + bead.RigID, RigID: bead.RigID,
		})
	case ofBead:
		d.owe(ctx, "release", func(ctx context.Context) error {
			_, err := d.h.released(ctx, bead.ID, bead.Epoch, end.reason)
			return err
		})
	case ofRequest:
		d.owe(ctx, "block", func(ctx context.Context) error {
			return d.h.call(ctx, bead.ID, Call{Event: EventBlock, By: "town", Epoch: bead.Epoch, Reason: end.reason, Cause: "start:" + bead.RigID})
		})
	case unknown:
		d.unanswered[bead.ID] = bead.Epoch
		d.container.fail(now, end.reason, 0)
		d.complain(ctx, &d.container, noStarts)
	}
}

var noStarts = town.EscalationRequest{Title: "The container starts no agents", Cause: "container"}

// complainAfter is how many failures in a row of something as a whole are told to people.
const complainAfter = 4

func (d *dispatcher) complain(ctx context.Context, g *gate, req town.EscalationRequest) {
	if g.failures != complainAfter {
		return
	}
	req.Severity, req.Body = town.PriorityHigh, g.why
	d.owe(ctx, "escalation", func(ctx context.Context) error {
		_, _, err := d.h.Escalate(ctx, theTown, req)
		return err
	})
}

// recover looks once after the beads that were in progress when the dispatcher
// began: their agents may never have been asked for.
func (d *dispatcher) recover(ctx context.Context, c Container) error {
	if d.recovered {
		return nil
	}
	beads, err := d.h.inProgress(ctx)
	if err != nil {
		return err
	}
	for _, b := range beads {
		rig, err := d.h.rigWithSecrets(ctx, b.RigID)
		if err != nil {
			return err
		}
		d.begin(ctx, c, rig, b, true)
	}
	d.recovered = true
	return nil
}

// startRequest says how the agent of a claimed bead is started. Asked again for
// the same claim it is the same request, which the container joins.
func (h *Hall) startRequest(ctx context.Context, rig town.Rig, b town.Bead) (town.StartRequest, error) {
	notes, err := h.Notes(ctx, b.ID)
	if err != nil {
		return town.StartRequest{}, err
	}
	from, err := h.startPoint(ctx, b)
	if err != nil {
		return town.StartRequest{}, err
	}
	name := polecatName(b)
	return town.StartRequest{
		AgentID: b.AgentID, RigID: b.RigID, TownID: h.cfg.TownID, Role: town.RolePolecat, Name: name,
		Identity: fmt.Sprintf("polecat %s of rig %s", name, b.RigID), Prompt: workPrompt(b, notes), Model: rig.Model,
		GitURL: rig.GitURL, Branch: b.Branch, DefaultBranch: rig.DefaultBranch, EnvVars: rig.EnvVars, CLI: rig.CLI, Command: rig.Command,
		BeadID: b.ID, StartPoint: from, Generation: b.Epoch, Resume: b.Epoch > 1, Limits: rig.Limits,
	}, nil
}

// startPoint is where a bead's branch begins: where it says, else at its target. A
// convoy's branch is not there before something was merged into it.
func (h *Hall) startPoint(ctx context.Context, b town.Bead) (string, error) {
	if b.StartPoint != "" || b.Target == "" || b.ConvoyID == "" {
		return cmp.Or(b.StartPoint, b.Target), nil
	}
	begun, err := h.convoyBegun(ctx, b.ConvoyID)
	if err != nil || !begun {
		return "", err
	}
	return b.Target, nil
}

// polecatName is the middle of a bead's branch, polecat/<name>/<bead>.
func polecatName(b town.Bead) string {
	if parts := strings.Split(b.Branch, "/"); len(parts) == 3 {
		return parts[1]
	}
	return b.AgentID
}
