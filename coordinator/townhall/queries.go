package townhall

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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
		b, err := loadBead(t, bead.ID)
		if err != nil || b.Lease == nil || b.Epoch != bead.Epoch {
			return err
		}
		if err := giveBack(t, &b, bead.Epoch, reason); err != nil {
			return err
		}
		var until any
		if !notBefore.IsZero() {
			until = notBefore.UnixMilli()
		}
		_, err = t.exec(`UPDATE beads SET not_before = ?, epoch = max(epoch, ?) WHERE id = ?`, until, generation, bead.ID)
		return err
	})
}

// townState is what each pass of the dispatcher needs of the town as a whole.
type townState struct {
	paused   string // why nothing is handed out
	standby  *town.Standby
	breaker  breaker
	instance string    // id of the container, "" before its first heartbeat
	draining bool      // it said that it starts nothing any more
	seen     time.Time // its newest heartbeat
}

func (h *Hall) townState(ctx context.Context) (s townState, err error) {
	err = h.read(ctx, func(r reader) error {
		if s.paused, err = getSetting(r, settingPaused); err != nil {
			return err
		}
		if _, _, s.standby, err = h.quota(r); err != nil {
			return err
		}
		text, err := getSetting(r, settingBreaker)
		if err != nil {
			return err
		}
		if text != "" {
			if err := json.Unmarshal([]byte(text), &s.breaker); err != nil {
				return fmt.Errorf("state of the breaker: %w", err)
			}
		}
		var seen int64
		err = r.row(`SELECT instance_id, status = 'draining', seen_at FROM instance ORDER BY epoch DESC LIMIT 1`).Scan(&s.instance, &s.draining, &seen)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		s.seen = timeOf(seen)
		return err
	})
	return s, err
}

// stray is an agent in the container whose bead is no longer its own.
type stray struct {
	AgentID string
	Live    bool      // else its bead has ended, and the container may forget it
	Since   time.Time // when its bead was last changed
}

// strays returns the strays among the agents of the newest heartbeat for which
// nothing is ordered yet: live ones first, then those that changed last.
func (h *Hall) strays(ctx context.Context) (all []stray, err error) {
	err = h.read(ctx, func(r reader) error {
		all, err = collect(r, func(row scanner) (s stray, err error) {
			var since int64
			err = row.Scan(&s.AgentID, &s.Live, &since)
			s.Since = time.UnixMilli(since)
			return s, err
		}, `SELECT a.id, a.status IN ('starting', 'running', 'stopping'), coalesce(b.updated_at, a.last_seen_at)
			FROM agents a LEFT JOIN beads b ON b.id = a.bead_id
			WHERE a.last_seen_at >= (SELECT max(seen_at) FROM instance) AND a.status <> 'stopping'
			AND CASE WHEN a.role = 'refinery'
				THEN NOT EXISTS (SELECT 1 FROM merges m WHERE m.rig_id = a.rig_id AND `+mergeIsLive+` AND m.status = 'reviewing' AND m.reviewer = a.id)
			WHEN a.role <> 'polecat' THEN 0
			WHEN a.status IN ('starting', 'running') THEN b.id IS NULL OR b.status <> 'in_progress' OR b.epoch <> a.generation
			ELSE b.id IS NULL OR b.status IN ('closed', 'failed') END
			AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.agent_id = a.id AND o.kind IN ('stop', 'forget')
				AND (o.done_at IS NULL OR o.created_at >= a.last_seen_at))
			ORDER BY 2 DESC, 3 DESC`)
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

// mergeWork is what there is to do about merges.
type mergeWork struct {
	rigs    []string     // that have a merge which waits and whose time has come
	asked   []town.Merge // that the container was asked for
	reviews []review
}

func (h *Hall) mergeWork(ctx context.Context, now time.Time) (w mergeWork, err error) {
	err = h.read(ctx, func(r reader) error {
		merges, err := collect(r, scanMerge, `SELECT `+mergeColumns+` FROM merges WHERE `+mergeIsLive+` AND status <> 'waiting' ORDER BY n`)
		if err != nil {
			return err
		}
		for _, m := range merges {
			if m.Status != town.MergeReviewing {
				w.asked = append(w.asked, m)
				continue
			}
			one, err := h.reviewOf(r, m)
			if err != nil {
				return err
			}
			w.reviews = append(w.reviews, one)
		}
		w.rigs, err = collect(r, scanString, `SELECT id FROM rigs
			WHERE EXISTS (SELECT 1 FROM merges m WHERE m.rig_id = rigs.id AND `+mergeIsLive+` AND status = 'waiting' AND (not_before IS NULL OR not_before <= ?))
			AND NOT EXISTS (SELECT 1 FROM merges m WHERE m.rig_id = rigs.id AND `+mergeIsLive+` AND status IN ('reviewing', 'merging'))`, ms(now))
		return err
	})
	return w, err
}

// review is a merge that a refinery looks at.
type review struct {
	Merge town.Merge
	Ended bool // the refinery that was started for it has ended
	Live  bool // it is known to run
}

const settingReviews = "reviews" // how many reviews there have been: the generation of refineries

// beginReview gives a merge to the refinery of its rig, and returns the generation
// that it is to have.
func (h *Hall) beginReview(ctx context.Context, m town.Merge) (generation int64, err error) {
	err = h.write(ctx, fact, func(t *tx) error {
		text, err := getSetting(t, settingReviews)
		if err != nil {
			return err
		}
		if text != "" {
			if generation, err = strconv.ParseInt(text, 10, 64); err != nil {
				return fmt.Errorf("number of reviews: %w", err)
			}
		}
		generation++
		if err := setSetting(t, settingReviews, strconv.FormatInt(generation, 10)); err != nil {
			return err
		}
		id := refineryID(m.RigID)
		m, err := setMerge(t, m.ID, town.MergeReviewing, id+" looks at it", nil)
		if err != nil {
			return err
		}
		m.Reviewer = id
		if err := saveMerge(t, &m); err != nil {
			return err
		}
		return saveAgent(t, &town.AgentHeartbeat{
			AgentID: id, RigID: m.RigID, BeadID: m.BeadID, Role: town.RoleRefinery, Status: town.StatusStarting, Generation: generation,
			Turn: town.Turn{State: town.TurnNone},
		}, town.Usage{})
	})
	return generation, err
}

// reviewOf tells how the review of a merge is.
func (h *Hall) reviewOf(r reader, m town.Merge) (review, error) {
	a, err := loadAgent(r, m.Reviewer)
	if err != nil && !errors.Is(err, town.ErrNotFound) {
		return review{}, err
	}
	known := err == nil && a.BeadID == m.BeadID
	return review{
		Merge: m, Ended: known && !a.Status.Live(), Live: known && a.Status.Live() && r.at().Sub(a.LastSeenAt) < h.cfg.Lease,
	}, nil
}

// reviewEnded puts a merge back whose refinery has ended without a verdict, or fails it
// when that was the last try.
func (h *Hall) reviewEnded(ctx context.Context, mergeID, reason string) error {
	return h.write(ctx, fact, func(t *tx) error {
		m, err := loadMerge(t, mergeID)
		if err != nil || m.Status != town.MergeReviewing {
			return err
		}
		m.Attempts++ // of the review: none of the merge was made yet
		m.Reviewer, m.Message = "", reason
		v := verdict{status: town.MergeWaiting, again: mergeDelays[min(m.Attempts, len(mergeDelays)-1)]}
		if m.Attempts >= maxReviews {
			v = verdict{status: town.MergeFailed, call: Call{Event: EventGiveUp, Reason: fmt.Sprintf("no verdict after %d reviews: %s", m.Attempts, reason)}}
		}
		_, err = endMerge(t, m, v)
		return err
	})
}

// convoyRow is a convoy with the status of the bead that it is.
type convoyRow struct {
	town.Convoy
	own town.BeadStatus
}

// convoysToMove returns the convoys that may have something to do: whose beads have
// all ended, of which one has failed, or whose own bead a person has changed.
func (h *Hall) convoysToMove(ctx context.Context) (all []convoyRow, err error) {
	err = h.read(ctx, func(r reader) error {
		all, err = collect(r, func(row scanner) (c convoyRow, err error) {
			err = row.Scan(&c.ID, &c.RigID, &c.Title, &c.Mode, &c.Status, &c.Branch, &c.own)
			return c, err
		}, `SELECT c.id, c.rig_id, c.title, c.mode, c.status, c.branch, own.status FROM convoys c JOIN beads own ON own.id = c.id
			WHERE c.status IN ('open', 'landing', 'failed') AND (own.status = 'closed' OR CASE c.status
			WHEN 'open' THEN own.status = 'failed'
				OR EXISTS (SELECT 1 FROM beads b WHERE b.convoy_id = c.id AND b.convoy_id <> '' AND b.status = 'failed')
				OR NOT EXISTS (SELECT 1 FROM beads b WHERE b.convoy_id = c.id AND b.convoy_id <> '' AND b.status <> 'closed')
			WHEN 'failed' THEN own.status = 'open'
				OR EXISTS (SELECT 1 FROM beads b WHERE b.convoy_id = c.id AND b.convoy_id <> '' AND b.status NOT IN ('closed', 'failed'))
			ELSE 0 END) ORDER BY c.n`)
		return err
	})
	return all, err
}

// convoyMembers returns the beads of a convoy with what they need.
func (h *Hall) convoyMembers(ctx context.Context, id string) (all []convoyMember, err error) {
	err = h.read(ctx, func(r reader) error {
		beads, err := collect(r, scanBead, `SELECT `+beadColumns+` FROM beads WHERE convoy_id = ? AND convoy_id <> '' ORDER BY n`, id)
		for _, b := range beads {
			all = append(all, convoyMember{id: b.ID, status: b.Status, needs: b.DependsOn})
		}
		return err
	})
	return all, err
}

// moveConvoy carries out what a convoy needs next.
func (h *Hall) moveConvoy(ctx context.Context, c convoyRow, step convoyStep) error {
	return h.write(ctx, fact, func(t *tx) error {
		own, err := loadBead(t, c.ID)
		if err != nil {
			return err
		}
		var call Call
		var next town.ConvoyStatus
		switch step {
		case convoyWaits:
			return nil
		case convoyLands:
			own.Target = ""
			if _, err := enqueueMerge(t, own.Bead); err != nil {
				return err
			}
			return setConvoy(t, c.ID, town.ConvoyLanding)
		case convoyCloses:
			call, next = Call{Event: EventClose, Reason: "all its beads are closed"}, town.ConvoyClosed
		case convoyFails:
			call, next = Call{Event: EventFail, Reason: "a bead of it has failed, and the others need that one"}, town.ConvoyFailed
		case convoyReopens:
			call, next = Call{Event: EventRetry, Reason: "it goes on"}, town.ConvoyOpen
		}
		if _, err := applyTo(t, &own, call); err != nil {
			return err
		}
		if step == convoyFails {
			if _, _, err := raise(t, town.EscalationRequest{
				Severity: town.PriorityHigh, Title: cut("convoy has failed: "+c.Title, maxTitle), BeadID: c.ID, RigID: c.RigID, Cause: "convoy:" + c.ID,
				Body: "A bead of it has failed, and what is left of it needs that one. Retry that bead, or close the convoy.",
			}); err != nil {
				return err
			}
		}
		return setConvoy(t, c.ID, next)
	})
}

// convoyBegun reports whether a convoy's branch is on the remote: with the first
// merge into it.
func (h *Hall) convoyBegun(ctx context.Context, convoyID string) (begun bool, err error) {
	err = h.read(ctx, func(r reader) error {
		return r.row(`SELECT EXISTS (SELECT 1 FROM beads b JOIN merges m ON m.bead_id = b.id
			WHERE b.convoy_id = ? AND b.convoy_id <> '' AND b.target <> '' AND m.target = b.target AND m.status = 'merged')`, convoyID).Scan(&begun)
	})
	return begun, err
}
