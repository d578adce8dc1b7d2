package townhall

import (
	"cmp"
	"context"
	"database/sql"

	"townd/town"
)

// maxMail bounds lists of mail.
const maxMail = 500

// MailQuery selects mail; without All only what is not acknowledged.
type MailQuery struct {
	To  string // everyone's when empty
	All bool
}

const mailColumns = `id, sender, recipient, subject, body, created_at, acked_at`

func scanMail(row scanner) (m town.Mail, err error) {
	var created int64
	var acked sql.NullInt64
	err = row.Scan(&m.ID, &m.From, &m.To, &m.Subject, &m.Body, &created, &acked)
	m.CreatedAt, m.AckedAt = timeOf(created), timeOrNil(acked)
	return m, err
}

// Mail returns mail, oldest first, at most 500. An agent reads only its own.
func (h *Hall) Mail(ctx context.Context, c Caller, q MailQuery) (mail []town.Mail, err error) {
	if !c.leads() {
		if err := c.as(cmp.Or(q.To, c.AgentID)); err != nil {
			return nil, err
		}
		q.To = c.AgentID
	}
	var w where
	w.equal("recipient", q.To)
	if !q.All {
		w.and("acked_at IS NULL")
	}
	err = h.read(ctx, func(r reader) error {
		mail, err = collect(r, scanMail, `SELECT `+mailColumns+` FROM mail`+w.String()+` ORDER BY n LIMIT ?`, append(w.args, maxMail)...)
		return err
	})
	return mail, err
}

// AckMail acknowledges mail of an agent, and returns how many were not before.
func (h *Hall) AckMail(ctx context.Context, c Caller, agentID string, ids []string) (int, error) {
	var ck check
	if len(ids) > maxMail {
		ck.add("ids", "are %d, the most is %d", len(ids), maxMail)
	}
	if err := firstOf(c.as(agentID), ck.err()); err != nil {
		return 0, err
	}
	return once(ctx, h, fact, func(t *tx) (int, error) {
		acked := 0
		for _, id := range ids {
			n, err := t.exec(`UPDATE mail SET acked_at = ? WHERE id = ? AND recipient = ? AND acked_at IS NULL`, ms(t.now), id, agentID)
			if err != nil {
				return 0, err
			}
			acked += int(n)
		}
		return acked, nil
	})
}

// firstOf returns the first error that is one.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// SendMail sends mail. An agent sends it as itself.
func (h *Hall) SendMail(ctx context.Context, c Caller, req town.MailRequest) (town.Mail, error) {
	var ck check
	ck.id("to", req.To)
	ck.required("subject", req.Subject)
	ck.line("subject", req.Subject, maxTitle)
	ck.text("body", req.Body, maxMailBody)
	ck.line("from", req.From, 200)
	if err := ck.err(); err != nil {
		return town.Mail{}, err
	}
	if c.agent() && req.From != "" {
		if err := c.as(req.From); err != nil {
			return town.Mail{}, err
		}
	}
	return once(ctx, h, fact, func(t *tx) (town.Mail, error) {
		if req.To != string(town.RoleMayor) {
			if _, err := loadAgent(t, req.To); err != nil {
				return town.Mail{}, err
			}
		}
		return post(t, town.Mail{From: cmp.Or(req.From, c.by()), To: req.To, Subject: req.Subject, Body: req.Body})
	})
}

// post puts mail where its reader finds it.
func post(t *tx, m town.Mail) (town.Mail, error) {
	m.ID, m.CreatedAt = town.NewID(t.now), t.now
	t.tell(topicWork)
	_, err := t.exec(`INSERT INTO mail (id, sender, recipient, subject, body, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
		m.ID, m.From, m.To, m.Subject, m.Body, ms(t.now))
	return m, err
}
