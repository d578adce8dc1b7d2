package townhall

import (
	"context"
	"time"

	"townd/town"
)

// claimNext gives the next bead of a rig to an agent: the one that is due first of
// those that are ready. A bead that was never taken gets a name from name, which is
// given those that live beads of the rig have, and with it its agent id and branch;
// later attempts keep them. ok is false when no bead is ready. The lease ends after
// Config.Lease.
func (h *Hall) claimNext(ctx context.Context, rigID string, name func(taken map[string]bool) string) (bead town.Bead, ok bool, err error) {
	return town.Bead{}, false, errNotYet
}

// expired ends the leases that have run out by now: back to open, or given up after
// the last attempt. It returns the beads whose lease it ended.
func (h *Hall) expired(ctx context.Context, now time.Time) ([]town.Bead, error) {
	return nil, errNotYet
}

// released ends the lease of a bead whose agent ended without done (or could not be
// started): back to open with a back-off, or given up after the last attempt.
func (h *Hall) released(ctx context.Context, beadID string, epoch int64, reason string) (town.Bead, error) {
	return town.Bead{}, errNotYet
}

// live counts the beads in progress by rig.
func (h *Hall) live(ctx context.Context) (map[string]int, error) { return nil, errNotYet }

// ready lists the rigs that have a bead which could be claimed now, with the due
// time of their first.
func (h *Hall) ready(ctx context.Context) (map[string]time.Time, error) { return nil, errNotYet }

// nextDeadline returns when time alone next changes something: a lease ends, a
// notBefore passes (of beads or merges), a question expires. ok is false for never.
func (h *Hall) nextDeadline(ctx context.Context) (at time.Time, ok bool, err error) {
	return time.Time{}, false, errNotYet
}

// idleBead is a bead in progress whose agent's turn is idle.
type idleBead struct {
	Bead     town.Bead
	Agent    town.TownAgent
	IdleFrom time.Time  // of the agent's last activity
	Nudges   int        // by the coordinator, since the lease began or the agent last worked
	NudgedAt *time.Time // the last of them
}

// idle returns the beads in progress whose agent is idle since before the given time.
func (h *Hall) idle(ctx context.Context, before time.Time) ([]idleBead, error) {
	return nil, errNotYet
}

// nudged counts a nudge of the coordinator to a bead's agent.
func nudged(tx *tx, beadID string) error { return errNotYet }

// stuck returns the beads in progress whose agent is live and working but showed no
// activity since before the given time.
func (h *Hall) stuck(ctx context.Context, before time.Time) ([]idleBead, error) {
	return nil, errNotYet
}

// failures counts the beads' attempts that ended without done since the given time, for the breaker.
func (h *Hall) failures(ctx context.Context, since time.Time) (int, error) { return 0, errNotYet }

// setting and setSetting keep small values of the scheduler (as the breaker's state).
func (h *Hall) setting(ctx context.Context, name string) (string, error) { return "", errNotYet }
func setSetting(tx *tx, name, value string) error                        { return errNotYet }
