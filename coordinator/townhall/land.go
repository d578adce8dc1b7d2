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

// nextStep says what a convoy needs next, whose own bead has the status own. begun
// tells that its branch is there.
func nextStep(c town.Convoy, own town.BeadStatus, members []convoyMember, begun bool) convoyStep {
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
	all, rest := closed == len(members), closed+failed < len(members)
	switch c.Status {
	case town.ConvoyStaged, town.ConvoyClosed:
		return convoyWaits
	case town.ConvoyLanding:
		if own == town.BeadClosed { // by a person
			return convoyCloses
		}
		return convoyWaits
	case town.ConvoyFailed:
		switch {
		case own == town.BeadClosed:
			return convoyCloses
		case own == town.BeadOpen, rest && canGoOn(members): // a person retried it, or a bead of it
			return convoyReopens
		}
		return convoyWaits
	case town.ConvoyOpen:
	}
	switch {
	case own == town.BeadClosed:
		return convoyCloses
	case own == town.BeadFailed, failed > 0 && !canGoOn(members):
		return convoyFails
	case len(members) == 0 || !all:
		return convoyWaits
	case c.Mode == town.LandAtEnd && begun:
		return convoyLands
	}
	return convoyCloses
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
		step := nextStep(c.Convoy, c.own, members, begun)
		if step == convoyWaits {
			continue
		}
		d.log.Info("convoy moves", "convoy", c.ID, "status", c.Status, "step", step)
		if err := d.h.moveConvoy(ctx, c, step); err != nil {
			return fmt.Errorf("convoy %s: %w", c.ID, err)
		}
	}
	return nil
}
