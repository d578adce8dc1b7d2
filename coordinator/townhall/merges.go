package townhall

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"townd/town"
)

// mergeIsLive is the condition of the indexes of merges that have not ended.
const mergeIsLive = `status IN ('waiting', 'reviewing', 'merging', 'pull_request')`

const mergeColumns = `id, rig_id, bead_id, branch, target, status, attempts, message, commit_id, pr, reviewer, not_before, created_at, updated_at`

func scanMerge(row scanner) (m town.Merge, err error) {
	var notBefore sql.NullInt64
	var created, updated int64
	err = row.Scan(&m.ID, &m.RigID, &m.BeadID, &m.Branch, &m.Target, &m.Status, &m.Attempts, &m.Message, &m.Commit, &m.PR, &m.Reviewer,
		&notBefore, &created, &updated)
	m.NotBefore, m.CreatedAt, m.UpdatedAt = timeOrNil(notBefore), timeOf(created), timeOf(updated)
	return m, err
}

func loadMerge(r reader, id string) (town.Merge, error) {
	m, err := scanMerge(r.row(`SELECT `+mergeColumns+` FROM merges WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return m, fmt.Errorf("merge %s: %w", id, town.ErrNotFound)
	}
	return m, err
}

// saveMerge keeps what changes of a merge.
func saveMerge(t *tx, m *town.Merge) error {
	m.UpdatedAt = t.now
	t.tell(topicWork)
	_, err := t.exec(`UPDATE merges SET branch = ?, target = ?, status = ?, attempts = ?, message = ?, commit_id = ?, pr = ?, reviewer = ?,
		not_before = ?, updated_at = ? WHERE id = ?`, m.Branch, m.Target, string(m.Status), m.Attempts, m.Message, m.Commit, m.PR, m.Reviewer,
		msOrNull(m.NotBefore), ms(m.UpdatedAt), m.ID)
	return err
}

// MergeQuery selects merges; empty fields do not restrict.
type MergeQuery struct {
	RigID  string
	Status town.MergeStatus
}

// Merges returns merges in the order they were made, at most the newest 500.
func (h *Hall) Merges(ctx context.Context, q MergeQuery) (merges []town.Merge, err error) {
	var w where
	w.equal("rig_id", q.RigID)
	w.equal("status", string(q.Status))
	err = h.read(ctx, func(r reader) error {
		merges, err = collect(r, scanMerge, `SELECT `+mergeColumns+` FROM merges`+w.String()+` ORDER BY n DESC LIMIT 500`, w.args...)
		slices.Reverse(merges)
		return err
	})
	return merges, err
}

// enqueueMerge makes the merge of a bead's branch, or sets the one that waits to it.
func enqueueMerge(t *tx, bead town.Bead) (town.Merge, error) {
	t.tell(topicWork)
	m, err := scanMerge(t.row(`SELECT `+mergeColumns+` FROM merges WHERE bead_id = ? AND `+mergeIsLive, bead.ID))
	if err == nil {
		m.Branch, m.Target, m.Status, m.Attempts, m.NotBefore, m.Reviewer, m.Message = bead.Branch, bead.Target, town.MergeWaiting, 0, nil, "", ""
		return m, saveMerge(t, &m)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return m, err
	}
	m = town.Merge{
		ID: town.NewID(t.now), RigID: bead.RigID, BeadID: bead.ID, Branch: bead.Branch, Target: bead.Target, Status: town.MergeWaiting,
		PR: bead.PullRequest, CreatedAt: t.now, UpdatedAt: t.now,
	}
	_, err = t.exec(`INSERT INTO merges (id, rig_id, bead_id, branch, target, status, attempts, message, commit_id, pr, reviewer, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, 'waiting', 0, '', '', ?, '', ?, ?)`, m.ID, m.RigID, m.BeadID, m.Branch, m.Target, m.PR, ms(t.now), ms(t.now))
	return m, err
}

// cancelMerge ends the merge of a bead that is no longer wanted.
func cancelMerge(t *tx, beadID, why string) error {
	t.tell(topicWork)
	_, err := t.exec(`UPDATE merges SET status = 'cancelled', message = ?, updated_at = ? WHERE bead_id = ? AND `+mergeIsLive, why, ms(t.now), beadID)
	return err
}

// nextMerge returns the first merge of a rig that waits and whose time has come: by
// its bead's priority and age. ok is false when there is none, or one of the rig is
// reviewed or merged; a pull request that is open holds nothing up.
func (h *Hall) nextMerge(ctx context.Context, rigID string) (m town.Merge, ok bool, err error) {
	err = h.read(ctx, func(r reader) error {
		var id string
		err := r.row(`SELECT m.id FROM merges m JOIN beads b ON b.id = m.bead_id WHERE m.rig_id = ?1 AND m.status = 'waiting'
			AND (m.not_before IS NULL OR m.not_before <= ?2)
			AND NOT EXISTS (SELECT 1 FROM merges WHERE rig_id = ?1 AND status IN ('reviewing', 'merging'))
			ORDER BY b.due, m.n LIMIT 1`, rigID, ms(r.at())).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		} else if err != nil {
			return err
		}
		ok = true
		m, err = loadMerge(r, id)
		return err
	})
	return m, ok, err
}

// setMerge moves a merge that has not ended to another status (reviewing, merging,
// pull_request, or back to waiting with a message and a time); merging counts an attempt.
func setMerge(t *tx, id string, status town.MergeStatus, message string, notBefore *time.Time) (town.Merge, error) {
	m, err := loadMerge(t, id)
	if err != nil {
		return m, err
	}
	if mergeEnded(m.Status) {
		return m, fmt.Errorf("merge %s is %s: %w", id, m.Status, town.ErrConflict)
	}
	if status == town.MergeMerging && m.Status != town.MergeMerging {
		m.Attempts++
	}
	m.Status, m.Message, m.NotBefore = status, message, notBefore
	return m, saveMerge(t, &m)
}

func mergeEnded(s town.MergeStatus) bool {
	switch s {
	case town.MergeWaiting, town.MergeReviewing, town.MergeMerging, town.MergeAwaitingPR:
		return false
	case town.MergeMerged, town.MergeConflict, town.MergeGatesFailed, town.MergeRejected, town.MergeFailed, town.MergeCancelled:
		return true
	}
	return true
}

// outcomes are the words of town.MergeOutcome.Status; closed is a pull request that was.
var outcomes = []string{"merged", "nothing", "conflict", "race", "gates_failed", "auth", "network", "pull_request", "closed", "failed"}

// MergeCompleted takes the outcome of a merge that the container was asked for.
// One of a merge that has ended changes nothing.
func (h *Hall) MergeCompleted(ctx context.Context, rigID, entryID string, out town.MergeOutcome) error {
	var c check
	oneOf(&c, "status", out.Status, outcomes)
	c.ref("commit", out.Commit)
	c.line("pullRequest", out.PR, maxLine)
	if out.EntryID != "" && out.EntryID != entryID {
		c.add("entryId", "is not that of the path")
	}
	if err := c.err(); err != nil {
		return err
	}
	out.Message = cut(out.Message, maxNote)
	_, err := once(ctx, h, fact, func(t *tx) (struct{}, error) {
		m, err := loadMerge(t, entryID)
		switch {
		case err != nil:
			return struct{}{}, err
		case m.RigID != rigID:
			return struct{}{}, fmt.Errorf("merge %s is not of rig %s: %w", entryID, rigID, town.ErrNotFound)
		case mergeEnded(m.Status):
			return struct{}{}, nil // told before, or cancelled meanwhile
		}
		b, err := loadBead(t, m.BeadID)
		if err != nil {
			return struct{}{}, err
		}
		m.Commit, m.PR, m.Message = cmp.Or(out.Commit, m.Commit), cmp.Or(out.PR, m.PR), out.Message
		v := afterMerge(m, b.Bead, out)
		if b.Type == town.BeadConvoy {
			v = afterLanding(v)
		}
		_, err = endMerge(t, m, v)
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("merge %s completed: %w", entryID, err)
	}
	return nil
}

// endMerge carries out a verdict on a merge and its bead.
func endMerge(t *tx, m town.Merge, v verdict) (town.Bead, error) {
	m.Status, m.NotBefore = v.status, nil
	if v.again > 0 {
		at := t.now.Add(v.again)
		m.NotBefore = &at
	}
	if m.Message == "" {
		m.Message = v.call.Reason
	}
	if err := saveMerge(t, &m); err != nil {
		return town.Bead{}, err
	}
	b, err := loadBead(t, m.BeadID)
	if err != nil || v.call.Event == "" {
		return b.Bead, err
	}
	if _, err := applyTo(t, &b, v.call); err != nil {
		return b.Bead, err
	}
	if v.call.Event == EventRework {
		_, err = addNote(t, town.Note{BeadID: b.ID, Kind: "feedback", By: v.call.By, Text: v.call.Feedback, Epoch: b.Epoch, Branch: m.Branch})
	}
	return b.Bead, err
}

// mergeNothing closes a bead that was just done in a rig that merges nothing: its
// branch is on the remote, which is all that is wanted.
func mergeNothing(t *tx, b *beadRow) error {
	rig, err := loadRig(t, b.RigID)
	if err != nil || rig.Merge.Mode != town.MergeNone {
		return err
	}
	m, err := scanMerge(t.row(`SELECT `+mergeColumns+` FROM merges WHERE bead_id = ? AND `+mergeIsLive, b.ID))
	if err != nil {
		return err
	}
	b.Bead, err = endMerge(t, m, verdict{status: town.MergeMerged, call: Call{Event: EventMerged, Reason: "the rig merges nothing"}})
	return err
}

// reviewed returns the merge that a refinery looks at, or the one of that id.
func reviewed(r reader, agentID, id string) (m town.Merge, err error) {
	if id != "" {
		if m, err = loadMerge(r, id); err != nil {
			return m, err
		}
		if mergeEnded(m.Status) || m.Status == town.MergeMerging {
			return m, fmt.Errorf("merge %s is %s: %w", id, m.Status, town.ErrConflict)
		}
		if m.Status == town.MergeReviewing && m.Reviewer != agentID {
			return m, fmt.Errorf("merge %s is %s's to review: %w", id, m.Reviewer, town.ErrForbidden)
		}
		return m, nil
	}
	m, err = scanMerge(r.row(`SELECT `+mergeColumns+` FROM merges WHERE reviewer = ? AND status = 'reviewing' ORDER BY n LIMIT 1`, agentID))
	if errors.Is(err, sql.ErrNoRows) {
		return m, fmt.Errorf("%s reviews nothing now: %w", agentID, town.ErrConflict)
	}
	return m, err
}

// approve puts the merge that a refinery looks at back into the queue, as one that
// was looked at: its reviewer stays.
func approve(t *tx, agentID string) (town.Bead, error) {
	m, err := reviewed(t, agentID, "")
	if err != nil {
		return town.Bead{}, err
	}
	if m, err = setMerge(t, m.ID, town.MergeWaiting, "reviewed by "+agentID, nil); err != nil {
		return town.Bead{}, err
	}
	b, err := loadBead(t, m.BeadID)
	if err != nil {
		return b.Bead, err
	}
	_, err = addNote(t, town.Note{BeadID: b.ID, Kind: "status", By: agentID, Text: "the refinery has nothing against it", Branch: m.Branch})
	return b.Bead, err
}

// verdictOfReview sends a branch back to who made it.
func verdictOfReview(b town.Bead, agentID, feedback string) verdict {
	return sentBack(town.MergeRejected, b, Call{By: agentID, Reason: "changes requested by " + agentID}, feedback)
}
