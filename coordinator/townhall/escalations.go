package townhall

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"townd/town"
)

// The words of Escalation.Status.
const (
	escalationOpen         = "open"
	escalationAcknowledged = "acknowledged"
	escalationClosed       = "closed"
)

const escalationColumns = `id, severity, title, body, agent_id, bead_id, rig_id, cause, count, raises, raised_at, status, answer, created_at,
	updated_at, closed_at`

func scanEscalation(row scanner) (e town.Escalation, err error) {
	var created, updated int64
	var raised, closed sql.NullInt64
	err = row.Scan(&e.ID, &e.Severity, &e.Title, &e.Body, &e.AgentID, &e.BeadID, &e.RigID, &e.Cause, &e.Count, &e.Raises, &raised, &e.Status,
		&e.Answer, &created, &updated, &closed)
	e.RaisedAt, e.CreatedAt, e.UpdatedAt, e.ClosedAt = timeOrNil(raised), timeOf(created), timeOf(updated), timeOrNil(closed)
	return e, err
}

// Escalate makes an escalation; created is false when an open one of its cause was
// counted up instead.
func (h *Hall) Escalate(ctx context.Context, c Caller, req town.EscalationRequest) (e town.Escalation, created bool, err error) {
	var ck check
	if req.Severity != "" {
		oneOf(&ck, "severity", req.Severity, town.Priorities())
	}
	ck.required("title", req.Title)
	ck.line("title", req.Title, maxTitle)
	ck.text("body", req.Body, maxNote)
	ck.line("cause", req.Cause, 500)
	for path, id := range map[string]string{"agentId": req.AgentID, "beadId": req.BeadID, "rigId": req.RigID} {
		if id != "" {
			ck.id(path, id)
		}
	}
	if err := ck.err(); err != nil {
		return e, false, err
	}
	if c.agent() && req.AgentID != "" && !c.leads() {
		if err := c.as(req.AgentID); err != nil {
			return e, false, err
		}
	}
	out, err := once(ctx, h, fact, func(t *tx) (made[town.Escalation], error) {
		if c.agent() {
			req.AgentID = cmp.Or(req.AgentID, c.AgentID)
			if b, err := agentsBead(t, req.AgentID); err == nil {
				req.BeadID, req.RigID = cmp.Or(req.BeadID, b.ID), cmp.Or(req.RigID, b.RigID)
			}
		}
		e, created, err := raise(t, req)
		return made[town.Escalation]{It: e, Created: created}, err
	})
	return out.It, out.Created, err
}

// raise makes an escalation, or counts up the one of its cause that is not closed: a
// fault that repeats must not bury people.
func raise(t *tx, req town.EscalationRequest) (e town.Escalation, created bool, err error) {
	req.Body = cut(req.Body, maxNote)
	t.tell(topicWork)
	if req.Cause != "" {
		e, err = scanEscalation(t.row(`SELECT `+escalationColumns+` FROM escalations WHERE cause = ? AND cause <> '' AND status <> 'closed'`, req.Cause))
		if err == nil {
			e.Count++
			e.Body, e.UpdatedAt = cmp.Or(req.Body, e.Body), t.now
			_, err = t.exec(`UPDATE escalations SET count = ?, body = ?, updated_at = ? WHERE id = ?`, e.Count, e.Body, ms(t.now), e.ID)
			return e, false, err
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return e, false, err
		}
	}
	e = town.Escalation{
		ID: town.NewID(t.now), Severity: cmp.Or(req.Severity, town.PriorityMedium), Title: req.Title, Body: req.Body, AgentID: req.AgentID,
		BeadID: req.BeadID, RigID: req.RigID, Cause: req.Cause, Count: 1, Status: escalationOpen, CreatedAt: t.now, UpdatedAt: t.now,
	}
	_, err = t.exec(`INSERT INTO escalations (id, severity, title, body, agent_id, bead_id, rig_id, cause, count, status, answer, created_at, updated_at, raise_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 'open', '', ?, ?, ?)`,
		e.ID, string(e.Severity), e.Title, e.Body, e.AgentID, e.BeadID, e.RigID, e.Cause, ms(t.now), ms(t.now), raiseAt(e, t.now))
	return e, true, err
}

// raiseAfter is how long an escalation of a severity waits to be acknowledged before
// it is raised again.
var raiseAfter = map[town.Priority]time.Duration{
	town.PriorityCritical: time.Hour, town.PriorityHigh: 4 * time.Hour, town.PriorityMedium: 8 * time.Hour, town.PriorityLow: 24 * time.Hour,
}

// maxRaises is how often it is: who has not looked then is not to be reached by this.
const maxRaises = 3

// raiseAt is when an open escalation is raised again, nil for never.
func raiseAt(e town.Escalation, now time.Time) any {
	if e.Raises >= maxRaises {
		return nil
	}
	return ms(now.Add(raiseAfter[e.Severity]))
}

// raiseAgain raises the escalations whose time has come, each by one severity.
func raiseAgain(t *tx) error {
	due, err := collect(t, scanEscalation, `SELECT `+escalationColumns+` FROM escalations INDEXED BY escalations_raise
		WHERE raise_at IS NOT NULL AND raise_at <= ?`, ms(t.now))
	for _, e := range due {
		e.Severity, e.Raises = e.Severity.Above(), e.Raises+1
		if _, err := t.exec(`UPDATE escalations SET severity = ?, raises = ?, raised_at = ?, raise_at = ?, updated_at = ? WHERE id = ?`,
			string(e.Severity), e.Raises, ms(t.now), raiseAt(e, t.now), ms(t.now), e.ID); err != nil {
			return err
		}
		t.h.log.Warn("escalation raised again", "escalation", e.ID, "severity", e.Severity, "times", e.Raises, "since", e.CreatedAt)
		t.tell(topicWork)
	}
	return err
}

// Escalations returns escalations of that status (of all when ""), newest first, at most 500.
func (h *Hall) Escalations(ctx context.Context, status string) (all []town.Escalation, err error) {
	var w where
	w.equal("status", status)
	err = h.read(ctx, func(r reader) error {
		all, err = collect(r, scanEscalation, `SELECT `+escalationColumns+` FROM escalations`+w.String()+` ORDER BY n DESC LIMIT 500`, w.args...)
		return err
	})
	return all, err
}

// AcknowledgeEscalation tells that someone looks at it. An answer goes to its agent
// as mail and as a message.
func (h *Hall) AcknowledgeEscalation(ctx context.Context, c Caller, id, answer string) (town.Escalation, error) {
	return h.answerEscalation(ctx, c, id, answer, escalationAcknowledged)
}

// CloseEscalation ends it. An answer goes to its agent as mail and as a message.
func (h *Hall) CloseEscalation(ctx context.Context, c Caller, id, answer string) (town.Escalation, error) {
	return h.answerEscalation(ctx, c, id, answer, escalationClosed)
}

func (h *Hall) answerEscalation(ctx context.Context, c Caller, id, answer, status string) (town.Escalation, error) {
	var ck check
	ck.text("answer", answer, maxNote)
	if err := firstOf(c.lead("answer escalations"), ck.err()); err != nil {
		return town.Escalation{}, err
	}
	return once(ctx, h, fact, func(t *tx) (town.Escalation, error) {
		e, err := scanEscalation(t.row(`SELECT `+escalationColumns+` FROM escalations WHERE id = ?`, id))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return e, fmt.Errorf("escalation %s: %w", id, town.ErrNotFound)
		case err != nil:
			return e, err
		case e.Status == escalationClosed && status == escalationAcknowledged:
			return e, fmt.Errorf("escalation %s is closed: %w", id, town.ErrConflict)
		case e.Status == status && answer == "":
			return e, nil
		}
		e.Status, e.UpdatedAt, e.Answer = status, t.now, cmp.Or(answer, e.Answer)
		if status == escalationClosed && e.ClosedAt == nil {
			e.ClosedAt = &t.now
		}
		t.tell(topicWork)
		if _, err := t.exec(`UPDATE escalations SET status = ?, answer = ?, updated_at = ?, closed_at = ?, raise_at = NULL WHERE id = ?`,
			e.Status, e.Answer, ms(t.now), msOrNull(e.ClosedAt), id); err != nil {
			return e, err
		}
		if answer == "" || e.AgentID == "" {
			return e, nil
		}
		return e, tellAgent(t, c, e.AgentID, cut("answer to your escalation: "+e.Title, maxTitle), answer)
	})
}

// tellAgent writes mail to an agent, and says it to one that lives or waits.
func tellAgent(t *tx, c Caller, agentID, subject, body string) error {
	if _, err := post(t, town.Mail{From: c.by(), To: agentID, Subject: subject, Body: body}); err != nil {
		return err
	}
	a, err := loadAgent(t, agentID)
	if errors.Is(err, town.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	_, _, err = say(t, c, a, subject+"\n\n"+body, town.DeliverTurnEnd)
	return err
}
