package townhall

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"townd/town"
)

// beadRow is a bead with what only the store knows of it.
type beadRow struct {
	town.Bead
	n             int64
	name          string // of its agent
	blockers      int
	leaseSince    *time.Time
	leaseInstance int64
	nudges        int
	nudgedAt      *time.Time
	depth         int // of agents that made it, each on a bead of the one before
}

const beadColumns = `n, id, rig_id, type, title, body, status, why, priority, labels, source, dedupe_key, convoy_id, attempts, max_attempts,
	reworks, not_before, hold, name, agent_id, epoch, lease_expires_at, lease_since, coalesce(lease_instance, 0), nudges, nudged_at, branch,
	start_point, target, commit_id, pull_request, summary, feedback, checkpoint, metadata, blockers, parent_id, depth, created_at,
	updated_at, closed_at, (SELECT json_group_array(needs_id) FROM bead_deps WHERE bead_id = beads.id)`

func scanBeadRow(row scanner) (beadRow, error) {
	var (
		b                                             beadRow
		labels, needs                                 string
		notBefore, leaseEnd, leaseSince, nudged, done sql.NullInt64
		checkpoint, metadata                          sql.NullString
		created, updated                              int64
	)
	err := row.Scan(&b.n, &b.ID, &b.RigID, &b.Type, &b.Title, &b.Body, &b.Status, &b.Why, &b.Priority, &labels, &b.Source, &b.DedupeKey, &b.ConvoyID,
		&b.Attempts, &b.MaxAttempts, &b.Reworks, &notBefore, &b.Hold, &b.name, &b.AgentID, &b.Epoch, &leaseEnd, &leaseSince, &b.leaseInstance,
		&b.nudges, &nudged, &b.Branch, &b.StartPoint, &b.Target, &b.Commit, &b.PullRequest, &b.Summary, &b.Feedback, &checkpoint, &metadata,
		&b.blockers, &b.ParentID, &b.depth, &created, &updated, &done, &needs)
	if err != nil {
		return b, err
	}
	b.NotBefore, b.ClosedAt, b.leaseSince, b.nudgedAt = timeOrNil(notBefore), timeOrNil(done), timeOrNil(leaseSince), timeOrNil(nudged)
	if leaseEnd.Valid {
		b.Lease = &town.Lease{Epoch: b.Epoch, ExpiresAt: timeOf(leaseEnd.Int64)}
	}
	b.CreatedAt, b.UpdatedAt = timeOf(created), timeOf(updated)
	b.Checkpoint, b.Metadata = rawOf(checkpoint), rawOf(metadata)
	return b, errors.Join(json.Unmarshal([]byte(labels), &b.Labels), json.Unmarshal([]byte(needs), &b.DependsOn))
}

func scanBead(row scanner) (town.Bead, error) {
	b, err := scanBeadRow(row)
	return b.Bead, err
}

func loadBead(r reader, id string) (beadRow, error) {
	b, err := scanBeadRow(r.row(`SELECT `+beadColumns+` FROM beads WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return b, fmt.Errorf("bead %s: %w", id, town.ErrNotFound)
	}
	return b, err
}

// agentsBead returns the bead that an agent has, or had last.
func agentsBead(r reader, agentID string) (beadRow, error) {
	b, err := scanBeadRow(r.row(`SELECT `+beadColumns+` FROM beads INDEXED BY beads_agent WHERE agent_id = ? AND agent_id <> ''
		ORDER BY lease_expires_at IS NOT NULL DESC, n DESC LIMIT 1`, agentID))
	if errors.Is(err, sql.ErrNoRows) {
		return b, fmt.Errorf("agent %s has no bead: %w", agentID, town.ErrNotFound)
	}
	return b, err
}

// due is what ready beads are ordered by: a static key, so that age counts without
// being computed anew.
func due(b town.Bead) int64 { return ms(b.CreatedAt.Add(-b.Priority.HeadStart())) }

// insertBead makes a bead and its dependencies; why is filled in.
func insertBead(t *tx, b *beadRow) error {
	b.Why = whyOf(*b, "")
	_, err := t.exec(`INSERT INTO beads (id, rig_id, type, title, body, status, why, priority, labels, source, dedupe_key, convoy_id, attempts,
		max_attempts, reworks, not_before, hold, name, agent_id, epoch, nudges, branch, start_point, target, commit_id, pull_request, summary,
		feedback, metadata, due, blockers, parent_id, depth, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, ?, ?, '', '', 0, 0, '', ?, ?, '', '', '', '', ?, ?, ?, ?, ?, ?, ?)`,
		b.ID, b.RigID, string(b.Type), b.Title, b.Body, string(b.Status), b.Why, string(b.Priority), jsonText(b.Labels), b.Source, b.DedupeKey,
		b.ConvoyID, b.MaxAttempts, msOrNull(b.NotBefore), b.Hold, b.StartPoint, b.Target, rawOrNull(b.Metadata), due(b.Bead), b.blockers,
		b.ParentID, b.depth, ms(b.CreatedAt), ms(b.UpdatedAt))
	if err != nil {
		return err
	}
	for _, needed := range b.DependsOn {
		if _, err := t.exec(`INSERT INTO bead_deps (bead_id, needs_id) VALUES (?, ?)`, b.ID, needed); err != nil {
			return err
		}
	}
	t.tell(topicWork)
	return nil
}

// saveState keeps what transitions change.
func saveState(t *tx, b *beadRow) error {
	var leaseEnd, leaseSince, leaseInstance any
	if b.Lease != nil {
		leaseEnd, leaseSince, leaseInstance = ms(b.Lease.ExpiresAt), msOrNull(b.leaseSince), b.leaseInstance
	}
	_, err := t.exec(`UPDATE beads SET status = ?, why = ?, attempts = ?, reworks = ?, not_before = ?, hold = ?, name = ?, agent_id = ?, epoch = ?,
		lease_expires_at = ?, lease_since = ?, lease_instance = ?, nudges = ?, nudged_at = ?, branch = ?, commit_id = ?, pull_request = ?,
		summary = ?, feedback = ?, updated_at = ?, closed_at = ?, tidied = 0 WHERE id = ?`,
		string(b.Status), b.Why, b.Attempts, b.Reworks, msOrNull(b.NotBefore), b.Hold, b.name, b.AgentID, b.Epoch,
		leaseEnd, leaseSince, leaseInstance, b.nudges, msOrNull(b.nudgedAt), b.Branch, b.Commit, b.PullRequest,
		b.Summary, b.Feedback, ms(b.UpdatedAt), msOrNull(b.ClosedAt), b.ID)
	t.tell(topicWork)
	return err
}

const waitsForAgent = "waits for an agent"

// whyOf says for people why a bead is where it is.
func whyOf(b beadRow, reason string) string {
	because := func(what string) string {
		if reason == "" {
			return what
		}
		return what + ": " + reason
	}
	switch b.Status {
	case town.BeadInProgress:
		return b.AgentID + " has it"
	case town.BeadInReview:
		return "its branch waits to be merged"
	case town.BeadClosed, town.BeadFailed:
		return because(string(b.Status))
	case town.BeadOpen:
	}
	switch {
	case b.Hold != "":
		return "is held: " + b.Hold
	case b.blockers == 1:
		return "waits for another bead"
	case b.blockers > 0:
		return fmt.Sprintf("waits for %d other beads", b.blockers)
	case b.NotBefore != nil:
		return because("waits until " + b.NotBefore.Format(time.RFC3339))
	case b.Type == town.BeadConvoy:
		return "is a convoy"
	case b.Feedback != "":
		return "came back from review, " + waitsForAgent
	}
	return because(waitsForAgent)
}

// addNote writes something down about a bead.
func addNote(t *tx, note town.Note) (town.Note, error) {
	note.CreatedAt = t.now
	_, err := t.exec(`INSERT INTO notes (bead_id, kind, by, text, epoch, branch, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		note.BeadID, note.Kind, note.By, note.Text, note.Epoch, note.Branch, ms(note.CreatedAt))
	if err != nil {
		return note, err
	}
	err = t.row(`SELECT last_insert_rowid()`).Scan(&note.ID)
	return note, err
}

func scanNote(row scanner) (n town.Note, err error) {
	var created int64
	err = row.Scan(&n.ID, &n.BeadID, &n.Kind, &n.By, &n.Text, &n.Epoch, &n.Branch, &created)
	n.CreatedAt = timeOf(created)
	return n, err
}

// maxNotes is how many notes of a bead are shown: its newest.
const maxNotes = 500

func notesOf(r reader, beadID string) ([]town.Note, error) {
	return collect(r, scanNote, `SELECT * FROM (SELECT n, bead_id, kind, by, text, epoch, branch, created_at FROM notes WHERE bead_id = ?
		ORDER BY n DESC LIMIT ?) ORDER BY n`, beadID, maxNotes)
}
