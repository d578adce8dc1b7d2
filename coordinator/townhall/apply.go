package townhall

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"townd/town"
)

const byTown = "town"

// apply carries out call on a bead of the store, with its effects and a note of
// kind "status", in t.
func apply(t *tx, beadID string, call Call) (town.Bead, Outcome, error) {
	b, err := loadBead(t, beadID)
	if err != nil {
		return town.Bead{}, Ignored, err
	}
	outcome, err := applyTo(t, &b, call)
	return b.Bead, outcome, err
}

func applyTo(t *tx, b *beadRow, call Call) (Outcome, error) {
	call.By = cmp.Or(call.By, byTown)
	call.Blockers = b.blockers
	call.Jitter = rand.Float64()
	before := b.Bead
	after, effects, outcome, err := Apply(before, call, t.now)
	if err != nil || outcome == Ignored {
		return outcome, err
	}
	b.Bead = after
	if outcome == Applied {
		if err := settle(t, b, before, call); err != nil {
			return outcome, err
		}
	}
	for _, e := range effects {
		if err := storeEffects[e](t, b, call); err != nil {
			return outcome, fmt.Errorf("bead %s: %s: %w", b.ID, e, err)
		}
	}
	return outcome, nil
}

// settle keeps a bead that a call has changed, and what follows from its status.
func settle(t *tx, b *beadRow, before town.Bead, call Call) error {
	b.Why = whyOf(*b, call.Reason)
	if b.Lease != nil && before.Lease == nil {
		epoch, err := instanceEpoch(t)
		if err != nil {
			return err
		}
		b.leaseSince, b.leaseInstance, b.nudges, b.nudgedAt = &t.now, epoch, 0, nil
	}
	if err := saveState(t, b); err != nil {
		return err
	}
	if err := keepName(t, b); err != nil {
		return err
	}
	if b.Type == town.BeadConvoy && b.Status != before.Status {
		if err := followBead(t, b.Bead); err != nil {
			return err
		}
	}
	if before.Status == town.BeadFailed && b.Status == town.BeadOpen {
		if err := tellDependants(t, b.ID, "another bead"); err != nil {
			return err
		}
	}
	if call.Event == EventRenew {
		return nil
	}
	text := fmt.Sprintf("%s: %s → %s", call.Event, before.Status, b.Status)
	if call.Reason != "" {
		text += ": " + call.Reason
	}
	epoch := b.Epoch
	if call.Event == EventRetry || call.Event == EventClose || call.Event == EventFail {
		epoch = 0 // of no lease
	}
	_, err := addNote(t, town.Note{BeadID: b.ID, Kind: "status", By: call.By, Text: text, Epoch: epoch, Branch: call.Branch})
	return err
}

// keepName frees the name of a bead that has ended, for others.
func keepName(t *tx, b *beadRow) error {
	if b.name == "" {
		return nil
	}
	if b.Status == town.BeadClosed || b.Status == town.BeadFailed {
		_, err := t.exec(`DELETE FROM names WHERE bead_id = ?`, b.ID)
		return err
	}
	// A bead that is tried again keeps its name even when another has it by now: its id
	// is in that of its agent.
	_, err := t.exec(`INSERT INTO names (rig_id, name, bead_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, b.RigID, b.name, b.ID)
	return err
}

// storeEffects are the effects outside of a bead.
var storeEffects map[Effect]func(t *tx, b *beadRow, call Call) error

func init() { // not where it is declared: enqueueMerge leads back to apply
	storeEffects = map[Effect]func(t *tx, b *beadRow, call Call) error{
		EffectEnqueue: func(t *tx, b *beadRow, _ Call) error {
			_, err := enqueueMerge(t, b.Bead)
			return err
		},
		EffectDequeue: func(t *tx, b *beadRow, call Call) error {
			return cancelMerge(t, b.ID, fmt.Sprintf("%s by %s", call.Event, call.By))
		},
		EffectReleaseDependants: func(t *tx, b *beadRow, _ Call) error {
			_, err := t.exec(`UPDATE beads SET blockers = blockers - 1, why = CASE
				WHEN status <> 'open' OR hold <> '' THEN why
				WHEN blockers = 1 THEN ?
				WHEN blockers = 2 THEN 'waits for another bead'
				ELSE 'waits for ' || (blockers - 1) || ' other beads' END
				WHERE id IN (SELECT bead_id FROM bead_deps WHERE needs_id = ?)`, waitsForAgent, b.ID)
			return err
		},
		EffectHoldDependants: func(t *tx, b *beadRow, _ Call) error {
			return tellDependants(t, b.ID, "bead "+b.ID+", which failed")
		},
		EffectEscalate: func(t *tx, b *beadRow, call Call) error {
			_, _, err := raise(t, town.EscalationRequest{
				Severity: town.PriorityHigh,
				Title:    cut(fmt.Sprintf("%s: %s", escalatedAs(call.Event), b.Title), maxTitle),
				Body:     call.Reason,
				AgentID:  b.AgentID, BeadID: b.ID, RigID: b.RigID,
				Cause: cmp.Or(call.Cause, "bead:"+b.ID),
			})
			return err
		},
		EffectStop: func(t *tx, b *beadRow, _ Call) error {
			a, err := loadAgent(t, b.AgentID)
			if err != nil || !a.Status.Live() {
				return err
			}
			_, err = orderOnce(t, town.OrderStop, b.AgentID)
			return err
		},
		EffectAttempt: func(t *tx, b *beadRow, call Call) error {
			text := strings.TrimSpace(strings.Join([]string{string(call.Event), call.Commit, call.PullRequest, call.Summary, call.Reason}, " "))
			_, err := addNote(t, town.Note{BeadID: b.ID, Kind: "attempt", By: call.By, Text: text, Epoch: call.Epoch, Branch: call.Branch})
			return err
		},
	}
	for _, e := range outsideEffects {
		if storeEffects[e] == nil {
			panic("townhall: nothing carries out the effect " + string(e))
		}
	}
}

func escalatedAs(e Event) string {
	if e == EventBlock {
		return "blocked"
	}
	return "given up"
}

// tellDependants tells the beads that wait for one what they wait for.
func tellDependants(t *tx, id, what string) error {
	_, err := t.exec(`UPDATE beads SET why = ? WHERE status = 'open' AND hold = '' AND blockers > 0
		AND id IN (SELECT bead_id FROM bead_deps WHERE needs_id = ?)`, "waits for "+what, id)
	return err
}

// lose ends the lease of a bead whose agent ended without done, by event (release or
// expire): back to open, or given up when that was the last attempt.
func lose(t *tx, b *beadRow, event Event, reason string) error {
	call := Call{Event: event, Epoch: b.Epoch, Reason: reason}
	if b.Attempts >= b.MaxAttempts {
		call.Event = EventGiveUp
		call.Reason = fmt.Sprintf("after %d attempts: %s", b.Attempts, reason)
	}
	outcome, err := applyTo(t, b, call)
	if err != nil || outcome != Applied {
		return err
	}
	return failed(t, b.ID, reason)
}

// failed counts an attempt that ended without done.
func failed(t *tx, beadID, reason string) error {
	_, err := t.exec(`INSERT INTO failures (bead_id, reason, at) VALUES (?, ?, ?)`, beadID, reason, ms(t.now))
	return err
}

// spareLeases gives every lease the time of two heartbeats, and takes back what a
// clock that was ahead gave too much. A lease that waits for an answer may be longer.
func spareLeases(t *tx) error {
	least := t.now.Add(2 * t.h.cfg.HeartbeatEvery)
	most := t.now.Add(max(t.h.cfg.Lease, 2*t.h.cfg.HeartbeatEvery))
	_, err := t.exec(`UPDATE beads INDEXED BY beads_leases SET lease_expires_at = CASE
		WHEN lease_expires_at < ?1 THEN ?1
		WHEN lease_expires_at > ?2 AND NOT EXISTS (SELECT 1 FROM questions WHERE status = 'open' AND questions.agent_id = beads.agent_id) THEN ?2
		ELSE lease_expires_at END
		WHERE lease_expires_at IS NOT NULL`, ms(least), ms(most))
	return err
}

// cut shortens s to at most n bytes, at a character.
func cut(s string, n int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}

// leaseEnd is when a lease that begins or is renewed now ends.
func (t *tx) leaseEnd() time.Time { return t.now.Add(t.h.cfg.Lease) }
