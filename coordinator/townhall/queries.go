package townhall

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"townd/town"
)

// call carries out a call on a bead.
func (h *Hall) call(ctx context.Context, beadID string, call Call) error {
	return h.write(ctx, fact, func(t *tx) error {
		_, _, err := apply(t, beadID, call)
		return err
	})
}

// escalateOnce makes an escalation, or counts one of its cause up.
func (h *Hall) escalateOnce(ctx context.Context, req town.EscalationRequest) error {
	_, _, err := h.Escalate(ctx, theTown, req)
	return err
}

// inProgress returns every bead that an agent has.
func (h *Hall) inProgress(ctx context.Context) ([]town.Bead, error) {
	var all []town.Bead
	for q := (BeadQuery{Status: town.BeadInProgress, Limit: 500}); ; {
		page, next, err := h.Beads(ctx, q)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if q.After = next; next == "" {
			return all, nil
		}
	}
}

// handBack ends the claim of a bead that could not be started through no fault of
// its own: it was not an attempt. It is ready again at notBefore, at once when that
// is zero. The next lease is newer than generation, that of an agent which the
// container knows and this hall does not.
func (h *Hall) handBack(ctx context.Context, bead town.Bead, reason string, notBefore time.Time, generation int64) error {
	return h.write(ctx, fact, func(t *tx) error {
		_, outcome, err := apply(t, bead.ID, Call{Event: EventRelease, By: "town", Epoch: bead.Epoch, Reason: reason})
		if err != nil || outcome != Applied {
			return err
		}
		var until any
		if !notBefore.IsZero() {
			until = notBefore.UnixMilli()
		}
		_, err = t.exec(`UPDATE beads SET attempts = max(attempts - 1, 0), not_before = ?, epoch = max(epoch, ?) WHERE id = ?`, until, generation, bead.ID)
		return err
	})
}

// rigsToMerge returns the rigs that have a merge which waits and whose time has come.
func (h *Hall) rigsToMerge(ctx context.Context, now time.Time) (rigs []string, err error) {
	err = h.read(ctx, func(r reader) error {
		rigs, err = collect(r, scanString, `SELECT DISTINCT rig_id FROM merges
			WHERE status = 'waiting' AND (not_before IS NULL OR not_before <= ?) ORDER BY rig_id`, now.UnixMilli())
		return err
	})
	return rigs, err
}

// instance returns the id of the town's container, "" before its first heartbeat.
func (h *Hall) instance(ctx context.Context) (id string, err error) {
	err = h.read(ctx, func(r reader) error {
		err := r.row(`SELECT instance_id FROM instance ORDER BY epoch DESC LIMIT 1`).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return id, err
}

// stray is an agent in the container whose bead is no longer its own.
type stray struct {
	AgentID string
	Live    bool      // else its bead has ended, and the container may forget it
	Since   time.Time // when its bead was last changed
}

// strays returns the strays among the agents of the newest heartbeat for which
// nothing is ordered yet.
func (h *Hall) strays(ctx context.Context) (all []stray, err error) {
	err = h.read(ctx, func(r reader) error {
		all, err = collect(r, func(row scanner) (s stray, err error) {
			var since int64
			err = row.Scan(&s.AgentID, &s.Live, &since)
			s.Since = time.UnixMilli(since)
			return s, err
		}, `SELECT a.id, a.status IN ('starting', 'running', 'stopping'), coalesce(b.updated_at, a.last_seen_at)
			FROM agents a LEFT JOIN beads b ON b.id = a.bead_id
			WHERE a.last_seen_at >= (SELECT max(seen_at) FROM instance) AND a.role = 'polecat'
			AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.agent_id = a.id AND o.done_at IS NULL AND o.kind IN ('stop', 'forget'))
			AND CASE WHEN a.status IN ('starting', 'running')
				THEN b.id IS NULL OR b.status <> 'in_progress' OR b.epoch <> a.generation
				ELSE b.id IS NULL OR b.status IN ('closed', 'failed') END`)
		return err
	})
	return all, err
}

func orderStop(t *tx, agentID string) error {
	_, err := order(t, town.Order{Kind: town.OrderStop, AgentID: agentID})
	return err
}

func forget(t *tx, agentID string) error {
	_, err := order(t, town.Order{Kind: town.OrderForget, AgentID: agentID})
	return err
}

// expireQuestions ends the open questions whose time is over.
func (h *Hall) expireQuestions(ctx context.Context, now time.Time) error {
	due := false
	err := h.read(ctx, func(r reader) error {
		return r.row(`SELECT EXISTS (SELECT 1 FROM questions WHERE status = 'open' AND expires_at <= ?)`, now.UnixMilli()).Scan(&due)
	})
	if err != nil || !due {
		return err
	}
	return h.write(ctx, fact, func(t *tx) error {
		_, err := t.exec(`UPDATE questions SET status = 'expired' WHERE status = 'open' AND expires_at <= ?`, now.UnixMilli())
		t.tell(topicQuestions)
		return err
	})
}

// convoyBegun reports whether a convoy's branch is on the remote: with the first
// merge into it.
func (h *Hall) convoyBegun(ctx context.Context, convoyID string) (begun bool, err error) {
	err = h.read(ctx, func(r reader) error {
		return r.row(`SELECT EXISTS (SELECT 1 FROM beads b JOIN merges m ON m.bead_id = b.id
			WHERE b.convoy_id = ? AND b.target <> '' AND m.target = b.target AND m.status = 'merged')`, convoyID).Scan(&begun)
	})
	return begun, err
}

// review is a merge that a refinery looks at.
type review struct {
	Merge town.Merge
	Since time.Time // when it was given to the refinery
	Live  bool      // the refinery runs, as the newest heartbeat says
	Ended bool      // the refinery has ended since
}

var errNoReview = fmt.Errorf("no branch is reviewed: %w", town.ErrConflict)
