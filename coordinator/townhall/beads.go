package townhall

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"townd/api"
	"townd/town"
)

// CreateBead makes a bead; created is false when there was one with its
// dedupeKey, which is returned instead. For an agent see guard.
func (h *Hall) CreateBead(ctx context.Context, c Caller, rigID string, req town.BeadRequest) (bead town.Bead, created bool, err error) {
	if err := checkBead(req); err != nil {
		return town.Bead{}, false, err
	}
	out, err := once(ctx, h, fact, func(t *tx) (made[town.Bead], error) {
		if _, err := loadRig(t, rigID); err != nil {
			return made[town.Bead]{}, err
		}
		if req.DedupeKey != "" {
			first, err := scanBead(t.row(`SELECT `+beadColumns+` FROM beads INDEXED BY beads_dedupe WHERE rig_id = ? AND dedupe_key = ? AND dedupe_key <> ''`, rigID, req.DedupeKey))
			if !errors.Is(err, sql.ErrNoRows) {
				return made[town.Bead]{It: first}, err
			}
		}
		b := newBead(t, c, rigID, req)
		if c.agent() {
			if first, known, err := guard(t, c, &b); err != nil || known {
				return made[town.Bead]{It: first}, err
			}
		}
		if b.blockers, err = countBlockers(t, b.DependsOn); err != nil {
			return made[town.Bead]{}, err
		}
		err := insertBead(t, &b)
		return made[town.Bead]{It: b.Bead, Created: true}, err
	})
	if err != nil {
		return town.Bead{}, false, fmt.Errorf("make a bead in rig %s: %w", rigID, err)
	}
	return out.It, out.Created, nil
}

// newBead is the bead that req asks for.
func newBead(t *tx, c Caller, rigID string, req town.BeadRequest) beadRow {
	source := req.Source
	if c.agent() {
		source = "agent:" + c.AgentID
	}
	b := town.Bead{
		ID: town.NewID(t.now), RigID: rigID, Type: cmp.Or(req.Type, town.BeadIssue), Title: req.Title, Body: req.Body, Status: town.BeadOpen,
		Priority: cmp.Or(req.Priority, town.PriorityMedium), Labels: distinct(req.Labels), Source: cmp.Or(source, c.by()),
		DedupeKey: req.DedupeKey, DependsOn: distinct(req.DependsOn), MaxAttempts: cmp.Or(req.MaxAttempts, town.DefaultAttempts),
		StartPoint: req.StartPoint, Target: req.Target, Metadata: req.Metadata, CreatedAt: t.now, UpdatedAt: t.now,
	}
	if req.NotBefore != nil && req.NotBefore.After(t.now) {
		at := timeOf(ms(*req.NotBefore))
		b.NotBefore = &at
	}
	row := beadRow{Bead: b}
	if c.agent() {
		row.depth = 1
	}
	return row
}

// distinct returns what is in all, once, sorted, and never nil.
func distinct(all []string) []string {
	out := append([]string{}, all...) // slices.Concat of nothing is nil
	slices.Sort(out)
	return slices.Compact(out)
}

// countBlockers counts those of the beads that are not closed; one that there is
// not is a town.InvalidError.
func countBlockers(r reader, ids []string) (blockers int, err error) {
	var c check
	for i, id := range ids {
		var status town.BeadStatus
		err := r.row(`SELECT status FROM beads WHERE id = ?`, id).Scan(&status)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			c.add(fmt.Sprintf("dependsOn[%d]", i), "there is no bead %s", id)
		case err != nil:
			return 0, err
		case status != town.BeadClosed:
			blockers++
		}
	}
	return blockers, c.err()
}

func beadsWhere(q api.BeadQuery) (where, error) {
	var w where
	w.equal("rig_id", q.RigID)
	w.equal("status", string(q.Status))
	w.equal("type", string(q.Type))
	w.equal("convoy_id", q.ConvoyID)
	w.equal("agent_id", q.AgentID)
	if q.Label != "" {
		w.and(`EXISTS (SELECT 1 FROM json_each(labels) WHERE value = ?)`, q.Label)
	}
	if q.Text != "" {
		pattern := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(q.Text) + "%"
		w.and(`(title LIKE ? ESCAPE '\' OR body LIKE ? ESCAPE '\' OR id LIKE ? ESCAPE '\')`, pattern, pattern, pattern)
	}
	return w, afterCursor(&w, q.After)
}

// afterCursor goes on after the row that a cursor names.
func afterCursor(w *where, cursor string) error {
	if cursor == "" {
		return nil
	}
	n, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil || n < 1 {
		return &town.InvalidError{Issues: []town.Issue{{Path: "after", Message: "must be the next of a page before"}}}
	}
	w.and("n < ?", n)
	return nil
}

// Beads returns a page of beads, newest first; next is "" on the last one.
func (h *Hall) Beads(ctx context.Context, q api.BeadQuery) (beads []town.Bead, next string, err error) {
	w, err := beadsWhere(q)
	if err != nil {
		return nil, "", err
	}
	limit, err := bounded(q.Limit, 100, 500)
	if err != nil {
		return nil, "", err
	}
	err = h.read(ctx, func(r reader) error {
		rows, err := collect(r, scanBeadRow, `SELECT `+beadColumns+` FROM beads`+w.String()+` ORDER BY n DESC LIMIT ?`, append(w.args, limit+1)...)
		if err != nil {
			return err
		}
		if len(rows) > limit {
			rows = rows[:limit]
			next = strconv.FormatInt(rows[limit-1].n, 10)
		}
		beads = beadsOf(rows)
		return nil
	})
	return beads, next, err
}

func beadsOf(rows []beadRow) []town.Bead {
	beads := make([]town.Bead, len(rows))
	for i, b := range rows {
		beads[i] = b.Bead
	}
	return beads
}

// Bead returns one bead.
func (h *Hall) Bead(ctx context.Context, id string) (town.Bead, error) {
	var b beadRow
	err := h.read(ctx, func(r reader) (err error) {
		b, err = loadBead(r, id)
		return err
	})
	return b.Bead, err
}

// PatchBead changes what is set in p.
func (h *Hall) PatchBead(ctx context.Context, c Caller, id string, p town.BeadPatch) (bead town.Bead, err error) {
	if err := firstOf(c.lead("change beads"), checkPatch(p)); err != nil {
		return town.Bead{}, err
	}
	err = h.write(ctx, fact, func(t *tx) error {
		b, err := loadBead(t, id)
		if err != nil {
			return err
		}
		if (p.Type != nil) && (b.Type == town.BeadConvoy) != (*p.Type == town.BeadConvoy) {
			return fmt.Errorf("bead %s: a convoy stays one, and nothing else becomes one: %w", id, town.ErrConflict)
		}
		if err := patch(t, &b, p); err != nil {
			return err
		}
		if err := patchState(t, &b, c, p); err != nil {
			return err
		}
		bead = b.Bead
		return nil
	})
	if err != nil {
		return town.Bead{}, fmt.Errorf("change bead %s: %w", id, err)
	}
	return bead, nil
}

// patch changes what is no transition.
func patch(t *tx, b *beadRow, p town.BeadPatch) error {
	set(&b.Title, p.Title)
	set(&b.Body, p.Body)
	set(&b.Type, p.Type)
	set(&b.Priority, p.Priority)
	if p.Labels != nil {
		b.Labels = distinct(*p.Labels)
	}
	if p.DependsOn != nil {
		if err := setDependencies(t, b, distinct(*p.DependsOn)); err != nil {
			return err
		}
	}
	if p.NotBefore != nil {
		b.NotBefore = nil
		if p.NotBefore.After(t.now) {
			at := timeOf(ms(*p.NotBefore))
			b.NotBefore = &at
		}
	}
	b.UpdatedAt = t.now
	if b.Status == town.BeadOpen {
		b.Why = whyOf(*b, "")
	}
	t.tell(topicWork)
	_, err := t.exec(`UPDATE beads SET title = ?, body = ?, type = ?, priority = ?, labels = ?, blockers = ?, due = ?, not_before = ?, why = ?, updated_at = ?
		WHERE id = ?`, b.Title, b.Body, string(b.Type), string(b.Priority), jsonText(b.Labels), b.blockers, due(b.Bead), msOrNull(b.NotBefore), b.Why,
		ms(b.UpdatedAt), b.ID)
	return err
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// setDependencies changes what a bead waits for, and refuses a cycle.
func setDependencies(t *tx, b *beadRow, needs []string) error {
	blockers, err := countBlockers(t, needs)
	if err != nil {
		return err
	}
	if _, err := t.exec(`DELETE FROM bead_deps WHERE bead_id = ?`, b.ID); err != nil {
		return err
	}
	for _, needed := range needs {
		if _, err := t.exec(`INSERT INTO bead_deps (bead_id, needs_id) VALUES (?, ?)`, b.ID, needed); err != nil {
			return err
		}
	}
	var cycle bool
	err = t.row(`WITH RECURSIVE needed (id) AS (
			SELECT needs_id FROM bead_deps WHERE bead_id = ?1
			UNION SELECT d.needs_id FROM bead_deps d JOIN needed ON d.bead_id = needed.id)
		SELECT EXISTS (SELECT 1 FROM needed WHERE id = ?1)`, b.ID).Scan(&cycle)
	if err != nil {
		return err
	}
	if cycle {
		return &town.InvalidError{Issues: []town.Issue{{Path: "dependsOn", Message: "would make the bead wait for itself"}}}
	}
	b.DependsOn, b.blockers = needs, blockers
	return nil
}

// patchState carries out the transitions of a patch.
func patchState(t *tx, b *beadRow, c Caller, p town.BeadPatch) error {
	if p.Hold != nil && *p.Hold != b.Hold {
		if *p.Hold == "" {
			if err := letGo(t, b, c, p.Reason); err != nil {
				return err
			}
		} else if _, err := applyTo(t, b, Call{Event: EventHold, By: c.by(), Reason: *p.Hold}); err != nil {
			return err
		}
	}
	if p.Status == "" {
		return nil
	}
	event := EventClose
	if p.Status == town.BeadFailed {
		event = EventFail
	}
	_, err := applyTo(t, b, Call{Event: event, By: c.by(), Reason: p.Reason})
	return err
}

// letGo takes a hold from a bead and leaves what it was tried.
func letGo(t *tx, b *beadRow, c Caller, reason string) error {
	if b.Status != town.BeadOpen {
		return fmt.Errorf("is %s, which is not held: %w", b.Status, town.ErrConflict)
	}
	b.Hold = ""
	b.Why = whyOf(*b, "")
	b.UpdatedAt = t.now
	if err := saveState(t, b); err != nil {
		return err
	}
	_, err := addNote(t, town.Note{BeadID: b.ID, Kind: "status", By: c.by(), Text: strings.TrimSuffix("no longer held: "+reason, ": ")})
	return err
}

// RetryBead lets a bead begin anew.
func (h *Hall) RetryBead(ctx context.Context, c Caller, id, reason string) (town.Bead, error) {
	if err := firstOf(c.lead("retry beads"), checkReason(reason)); err != nil {
		return town.Bead{}, err
	}
	return once(ctx, h, fact, func(t *tx) (town.Bead, error) {
		b, _, err := apply(t, id, Call{Event: EventRetry, By: c.by(), Reason: reason})
		return b, err
	})
}

func checkReason(reason string) error {
	var c check
	c.text("reason", reason, maxNote)
	return c.err()
}

// CloseBead closes a bead: for a person or the mayor by close, for the agent that
// has it by finish (there was nothing to change). An old epoch is kept as an attempt.
func (h *Hall) CloseBead(ctx context.Context, c Caller, id string, req api.CloseRequest) (town.Bead, error) {
	if err := checkReason(req.Reason); err != nil {
		return town.Bead{}, err
	}
	return once(ctx, h, fact, func(t *tx) (town.Bead, error) {
		b, err := loadBead(t, id)
		if err != nil {
			return town.Bead{}, err
		}
		call := Call{Event: EventClose, By: c.by(), Reason: req.Reason}
		if !c.leads() {
			if b.AgentID != c.AgentID {
				return town.Bead{}, fmt.Errorf("bead %s is not %s's: %w", id, c.AgentID, town.ErrForbidden)
			}
			call.Event, call.Epoch, call.Summary = EventFinish, req.Epoch, req.Reason
		}
		_, err = applyTo(t, &b, call)
		return b.Bead, err
	})
}

// Notes returns what was written down about a bead, oldest first, at most the newest 500.
func (h *Hall) Notes(ctx context.Context, beadID string) (notes []town.Note, err error) {
	err = h.read(ctx, func(r reader) error {
		if _, err := loadBead(r, beadID); err != nil {
			return err
		}
		notes, err = notesOf(r, beadID)
		return err
	})
	return notes, err
}

// AddNote writes something down about a bead. kind is "note" when empty.
func (h *Hall) AddNote(ctx context.Context, c Caller, beadID, text, kind string) (town.Note, error) {
	kind = cmp.Or(kind, "note")
	var ck check
	ck.required("text", text)
	ck.text("text", text, maxNote)
	oneOf(&ck, "kind", kind, []string{"note", "attempt", "feedback", "checkpoint"})
	if err := ck.err(); err != nil {
		return town.Note{}, err
	}
	return once(ctx, h, fact, func(t *tx) (town.Note, error) {
		b, err := loadBead(t, beadID)
		if err != nil {
			return town.Note{}, err
		}
		note := town.Note{BeadID: beadID, Kind: kind, By: c.by(), Text: text}
		if !c.leads() {
			if err := mayNote(t, c, b); err != nil {
				return town.Note{}, err
			}
			note.Epoch = c.Generation
		}
		return addNote(t, note)
	})
}

// mayNote refuses an agent that neither has a bead nor reviews its branch.
func mayNote(r reader, c Caller, b beadRow) error {
	if b.AgentID == c.AgentID {
		return nil
	}
	var reviews bool
	err := r.row(`SELECT EXISTS (SELECT 1 FROM merges WHERE bead_id = ? AND reviewer = ? AND status = 'reviewing')`, b.ID, c.AgentID).Scan(&reviews)
	if err == nil && !reviews {
		err = fmt.Errorf("bead %s is not %s's: %w", b.ID, c.AgentID, town.ErrForbidden)
	}
	return err
}

// saveCheckpointOf keeps what an agent noted last.
func saveCheckpointOf(t *tx, b *beadRow, data json.RawMessage) error {
	b.Checkpoint, b.UpdatedAt = data, t.now
	_, err := t.exec(`UPDATE beads SET checkpoint = ?, updated_at = ? WHERE id = ?`, rawOrNull(data), ms(t.now), b.ID)
	return err
}
