package townhall

import (
	"context"
	"fmt"
	"time"

	"townd/town"
)

// convoyStep is what a convoy needs next.
type convoyStep int

const (
	convoyWaits convoyStep = iota
	convoyLands            // its branch goes into the rig's default branch
	convoyCloses
	convoyFails
	convoyReopens // a bead that had failed was taken up again
)

// convoyMember is a bead of a convoy, as far as its convoy is concerned.
type convoyMember struct {
	id     string
	status town.BeadStatus
	needs  []string // beads, of this convoy or not
}

// nextStep says what a convoy needs next. begun tells that its branch is there.
func nextStep(c town.Convoy, members []convoyMember, begun bool) convoyStep {
	if c.Status == town.ConvoyStaged || c.Status == town.ConvoyClosed || len(members) == 0 {
		return convoyWaits
	}
	closed, failed := 0, 0
	for _, m := range members {
		switch m.status {
		case town.BeadClosed:
			closed++
		case town.BeadFailed:
			failed++
		case town.BeadOpen, town.BeadInProgress, town.BeadInReview:
		}
	}
	switch {
	case c.Status == town.ConvoyLanding:
		return convoyWaits
	case closed == len(members) && c.Mode == town.LandAtEnd && begun:
		return convoyLands
	case closed == len(members):
		return convoyCloses
	case failed > 0 && c.Status == town.ConvoyOpen && !canGoOn(members):
		return convoyFails
	case c.Status == town.ConvoyFailed && canGoOn(members):
		return convoyReopens
	}
	return convoyWaits
}

// canGoOn reports whether a bead of a convoy may still get anywhere: it has not
// ended and needs, by whatever way, none of the convoy's that has failed.
func canGoOn(members []convoyMember) bool {
	dead := map[string]bool{}
	for _, m := range members {
		dead[m.id] = m.status == town.BeadFailed
	}
	for changed := true; changed; {
		changed = false
		for _, m := range members {
			for _, need := range m.needs {
				if dead[need] && !dead[m.id] && m.status != town.BeadClosed {
					dead[m.id], changed = true, true
				}
			}
		}
	}
	for _, m := range members {
		if m.status != town.BeadClosed && !dead[m.id] {
			return true
		}
	}
	return false
}

// landConvoys moves convoys on whose beads have ended.
func (d *dispatcher) landConvoys(ctx context.Context, _ time.Time) error {
	convoys, err := d.h.convoysToMove(ctx)
	if err != nil {
		return err
	}
	for _, c := range convoys {
		members, err := d.h.convoyMembers(ctx, c.ID)
		if err != nil {
			return err
		}
		begun, err := d.h.convoyBegun(ctx, c.ID)
		if err != nil {
			return err
		}
		if err := d.moveConvoy(ctx, c, nextStep(c, members, begun)); err != nil {
			return fmt.Errorf("convoy %s: %w", c.ID, err)
		}
	}
	return nil
}

func (d *dispatcher) moveConvoy(ctx context.Context, c town.Convoy, step convoyStep) error {
	switch step {
	case convoyWaits:
		return nil
	case convoyLands:
		d.log.Info("convoy lands", "convoy", c.ID, "branch", c.Branch)
		return d.h.landConvoy(ctx, c)
	case convoyCloses:
		return d.h.call(ctx, c.ID, Call{Event: EventClose, By: "town", Reason: "all its beads are closed"})
	case convoyReopens:
		return d.h.call(ctx, c.ID, Call{Event: EventRetry, By: "town", Reason: "a bead of it goes on"})
	case convoyFails:
		if err := d.h.call(ctx, c.ID, Call{Event: EventFail, By: "town", Reason: "none of its beads can go on: one has failed"}); err != nil {
			return err
		}
		return d.h.escalateOnce(ctx, town.EscalationRequest{
			Severity: town.PriorityHigh, Title: "Convoy has failed: " + cut(c.Title, 200), BeadID: c.ID, RigID: c.RigID, Cause: "convoy:" + c.ID,
			Body: "A bead of convoy " + c.ID + " has failed, and what is left of the convoy depends on it. Retry that bead, or close the convoy.",
		})
	}
	return nil
}
