package townhall

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"townd/town"
)

// beadIsReady is the condition of the index beads_ready.
const beadIsReady = `status = 'open' AND blockers = 0 AND hold = '' AND not_before IS NULL AND type <> 'convoy'`

// claimNext gives the next bead of a rig to an agent: the one that is due first of
// those that are ready. A bead that was never taken gets a name from name, which is
// given those that live beads of the rig have, and with it its agent id and branch;
// later attempts keep them. ok is false when no bead is ready, or the town or the rig was
// paused, or a standby has begun, since the caller looked: then the town was paused for
// the reason paused, "" for not. The lease ends after Config.Lease. Whether the town or
// the rig is full, the caller knows.
func (h *Hall) claimNext(ctx context.Context, rigID, paused string, name func(taken map[string]bool) string) (bead town.Bead, ok bool, err error) {
	err = h.write(ctx, fact, func(t *tx) error {
		if still, err := h.handsOut(t, rigID, paused); err != nil || !still {
			return err
		}
		if err := wakeLater(t); err != nil {
			return err
		}
		var id string
		err := t.row(`SELECT id FROM beads INDEXED BY beads_ready WHERE rig_id = ? AND `+beadIsReady+` ORDER BY due LIMIT 1`, rigID).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		} else if err != nil {
			return err
		}
		b, err := loadBead(t, id)
		if err != nil {
			return err
		}
		if err := claim(t, &b, name); err != nil {
			return err
		}
		bead, ok = b.Bead, true
		return nil
	})
	if err != nil {
		return town.Bead{}, false, fmt.Errorf("claim a bead of rig %s: %w", rigID, err)
	}
	return bead, ok, nil
}

// handsOut reports whether beads of a rig are handed out as they were when the town was
// paused for that reason.
func (h *Hall) handsOut(t *tx, rigID, paused string) (bool, error) {
	if _, _, standby, err := h.quota(t); err != nil || standby != nil {
		return false, err
	}
	if now, err := getSetting(t, settingPaused); err != nil || now != paused {
		return false, err
	}
	rig, err := loadRig(t, rigID)
	return err == nil && !rig.Paused, err
}

// wakeLater takes the notBefore of beads whose time has come, so that they are in
// the queue.
func wakeLater(t *tx) error {
	_, err := t.exec(`UPDATE beads INDEXED BY beads_later SET not_before = NULL, why = CASE WHEN hold = '' AND blockers = 0 THEN ? ELSE why END
		WHERE status = 'open' AND not_before IS NOT NULL AND not_before <= ?`, waitsForAgent, ms(t.now))
	return err
}

func claim(t *tx, b *beadRow, name func(taken map[string]bool) string) error {
	agentID, branch := b.AgentID, b.Branch
	if b.name == "" {
		taken, err := collect(t, scanString, `SELECT name FROM names WHERE rig_id = ?`, b.RigID)
		if err != nil {
			return err
		}
		all := make(map[string]bool, len(taken))
		for _, n := range taken {
			all[n] = true
		}
		b.name = name(all)
		suffix := b.ID[max(0, len(b.ID)-8):]
		agentID, branch = b.name+"-"+suffix, "polecat/"+b.name+"/"+suffix
		if err := town.CheckID(agentID); err != nil || all[b.name] {
			return fmt.Errorf("name %q cannot be given: taken %v, %w", b.name, all[b.name], errors.Join(err, town.ErrConflict))
		}
	}
	if _, err := applyTo(t, b, Call{Event: EventClaim, AgentID: agentID, Branch: branch, LeaseEnd: t.leaseEnd()}); err != nil {
		return err
	}
	return agentStarts(t, b)
}

// expired ends the leases and questions that have run out by now, and raises what
// waited too long for someone: a bead is open again, or given up after the last
// attempt. unanswered are the epochs of starts of which nobody knows what became of
// them. It returns the beads whose lease it ended.
func (h *Hall) expired(ctx context.Context, now time.Time, unanswered map[string]int64) (beads []town.Bead, err error) {
	err = h.write(ctx, news, func(t *tx) error {
		if now.After(t.now) {
			now = t.now
		}
		over, err := collect(t, scanBeadRow, `SELECT `+beadColumns+` FROM beads INDEXED BY beads_leases WHERE lease_expires_at IS NOT NULL AND lease_expires_at <= ?`, ms(now))
		if err != nil {
			return err
		}
		for _, b := range over {
			if err := expire(t, &b, unanswered[b.ID] == b.Epoch); err != nil {
				return err
			}
			beads = append(beads, b.Bead)
		}
		if err := expireQuestions(t); err != nil {
			return err
		}
		return raiseAgain(t)
	})
	if err != nil {
		return nil, fmt.Errorf("end leases: %w", err)
	}
	return beads, nil
}

// expire ends a lease that has run out. One whose start was not answered, and whose
// agent was never seen to run, was no attempt.
func expire(t *tx, b *beadRow, unanswered bool) error {
	if unanswered {
		ran, err := hasRun(t, *b)
		if err != nil {
			return err
		}
		if !ran {
			return cutOff(t, b, "its start was not answered")
		}
	}
	return lose(t, b, EventExpire, "its agent "+b.AgentID+" was not heard of any more")
}

// hasRun reports whether the agent of a bead in progress was ever seen to run.
func hasRun(r reader, b beadRow) (bool, error) {
	a, err := loadAgent(r, b.AgentID)
	return a.Status != town.StatusStarting, err
}

// released ends the lease of a bead whose agent ended without done (or could not be
// started): back to open with a back-off, or given up after the last attempt. An
// older epoch changes nothing.
func (h *Hall) released(ctx context.Context, beadID string, epoch int64, reason string) (bead town.Bead, err error) {
	err = h.write(ctx, fact, func(t *tx) error {
		b, err := loadBead(t, beadID)
		if err != nil {
			return err
		}
		if b.Lease != nil && b.Epoch == epoch {
			err = lose(t, &b, EventRelease, reason)
		}
		bead = b.Bead
		return err
	})
	if err != nil {
		return town.Bead{}, fmt.Errorf("release a bead: %w", err)
	}
	return bead, nil
}

// live counts the beads in progress by rig.
func (h *Hall) live(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	err := h.read(ctx, func(r reader) error {
		return each(r, func(row scanner) error {
			var rig string
			var n int
			err := row.Scan(&rig, &n)
			counts[rig] = n
			return err
		}, `SELECT rig_id, count(*) FROM beads INDEXED BY beads_leases WHERE lease_expires_at IS NOT NULL GROUP BY rig_id`)
	})
	return counts, err
}

// ready lists the rigs that have a bead which could be claimed now, with the due
// time of their first.
func (h *Hall) ready(ctx context.Context) (map[string]time.Time, error) {
	first := map[string]time.Time{}
	err := h.read(ctx, func(r reader) error {
		return each(r, func(row scanner) error {
			var rig string
			var at sql.NullInt64
			err := row.Scan(&rig, &at)
			if at.Valid {
				first[rig] = timeOf(at.Int64)
			}
			return err
		}, `SELECT id, (SELECT min(due) FROM (
				SELECT * FROM (SELECT due FROM beads INDEXED BY beads_ready WHERE rig_id = rigs.id AND `+beadIsReady+` ORDER BY due LIMIT 1)
				UNION ALL
				SELECT due FROM beads INDEXED BY beads_later WHERE status = 'open' AND not_before IS NOT NULL AND not_before <= ?
				AND rig_id = rigs.id AND blockers = 0 AND hold = '' AND type <> 'convoy'))
			FROM rigs`, ms(r.at()))
	})
	return first, err
}

// nextDeadline returns when time alone next changes something: a lease ends, a
// notBefore passes (of beads or merges), a question expires, an escalation is raised
// again. ok is false for never.
func (h *Hall) nextDeadline(ctx context.Context) (at time.Time, ok bool, err error) {
	err = h.read(ctx, func(r reader) error {
		var first sql.NullInt64
		now := ms(r.at())
		err := r.row(`SELECT min(at) FROM (
			SELECT min(lease_expires_at) AS at FROM beads INDEXED BY beads_leases WHERE lease_expires_at IS NOT NULL
			UNION ALL SELECT min(not_before) FROM beads INDEXED BY beads_later WHERE status = 'open' AND not_before IS NOT NULL AND not_before > ?1
			UNION ALL SELECT min(not_before) FROM merges WHERE status IN ('waiting', 'reviewing', 'merging', 'pull_request') AND not_before > ?1
			UNION ALL SELECT min(expires_at) FROM questions WHERE status = 'open'
			UNION ALL SELECT min(raise_at) FROM escalations WHERE raise_at IS NOT NULL)`, now).Scan(&first)
		if first.Valid {
			at, ok = timeOf(first.Int64), true
		}
		return err
	})
	return at, ok, err
}

// idleBead is a bead in progress whose agent shows nothing.
type idleBead struct {
	Bead     town.Bead
	Agent    town.TownAgent
	IdleFrom time.Time  // of the agent's last activity
	Nudges   int        // by the coordinator, since the lease began
	NudgedAt *time.Time // the last of them
}

// idle returns the beads in progress whose agent's turn is over since before the
// given time.
func (h *Hall) idle(ctx context.Context, before time.Time) ([]idleBead, error) {
	return h.quiet(ctx, town.TurnIdle, before)
}

// stuck returns the beads in progress whose agent is in a turn but showed no
// activity since before the given time.
func (h *Hall) stuck(ctx context.Context, before time.Time) ([]idleBead, error) {
	return h.quiet(ctx, town.TurnWorking, before)
}

func (h *Hall) quiet(ctx context.Context, turn town.TurnState, before time.Time) (quiet []idleBead, err error) {
	err = h.read(ctx, func(r reader) error {
		rows, err := collect(r, scanBeadRow, `SELECT `+beadColumns+` FROM beads INDEXED BY beads_leases WHERE lease_expires_at IS NOT NULL AND agent_id IN
			(SELECT a.id FROM agents a WHERE a.id = beads.agent_id AND a.generation = beads.epoch AND a.status IN ('starting', 'running')
			AND a.turn_state = ? AND a.last_activity_at <= ?) ORDER BY n`, string(turn), ms(before))
		if err != nil {
			return err
		}
		for _, b := range rows {
			a, err := loadAgent(r, b.AgentID)
			if err != nil {
				return err
			}
			quiet = append(quiet, idleBead{
				Bead: b.Bead, Agent: a.TownAgent, IdleFrom: *a.lastActivityAt, Nudges: b.nudges, NudgedAt: b.nudgedAt,
			})
		}
		return nil
	})
	return quiet, err
}

// nudged counts a nudge of the coordinator to a bead's agent.
func nudged(t *tx, beadID string) error {
	_, err := t.exec(`UPDATE beads SET nudges = nudges + 1, nudged_at = ? WHERE id = ?`, ms(t.now), beadID)
	return err
}

// failures counts the attempts that ended without done since the given time, for the breaker.
func (h *Hall) failures(ctx context.Context, since time.Time) (n int, err error) {
	err = h.read(ctx, func(r reader) error {
		return r.row(`SELECT count(*) FROM failures WHERE at >= ?`, ms(since)).Scan(&n)
	})
	return n, err
}
