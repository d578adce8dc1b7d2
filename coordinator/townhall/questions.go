package townhall

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"townd/town"
)

// The words of Question.Status.
const (
	questionOpen      = "open"
	questionAnswered  = "answered"
	questionExpired   = "expired"
	questionCancelled = "cancelled"
)

const questionColumns = `id, agent_id, bead_id, question, options, status, answer, created_at, expires_at, answered_at`

func scanQuestion(row scanner) (q town.Question, err error) {
	var options string
	var created, expires int64
	var answered sql.NullInt64
	if err := row.Scan(&q.ID, &q.AgentID, &q.BeadID, &q.Question, &options, &q.Status, &q.Answer, &created, &expires, &answered); err != nil {
		return q, err
	}
	q.CreatedAt, q.ExpiresAt, q.AnsweredAt = timeOf(created), timeOf(expires), timeOrNil(answered)
	return q, json.Unmarshal([]byte(options), &q.Options)
}

func loadQuestion(r reader, id string) (town.Question, error) {
	q, err := scanQuestion(r.row(`SELECT `+questionColumns+` FROM questions WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return q, fmt.Errorf("question %s: %w", id, town.ErrNotFound)
	}
	if q.Status == questionOpen && !r.at().Before(q.ExpiresAt) {
		q.Status = questionExpired // it is written down at the next tick
	}
	return q, err
}

// questionsOf returns the newest questions of an agent, oldest first.
func questionsOf(r reader, agentID string) ([]town.Question, error) {
	return collect(r, scanQuestion, `SELECT * FROM (SELECT `+questionColumns+` FROM questions WHERE agent_id = ? ORDER BY n DESC LIMIT 20) ORDER BY created_at`, agentID)
}

// Ask keeps an agent's question to people.
func (h *Hall) Ask(ctx context.Context, c Caller, agentID string, req town.AskRequest) (town.Question, error) {
	if err := firstOf(c.as(agentID), checkAsk(req)); err != nil {
		return town.Question{}, err
	}
	wait := 600 * time.Second
	if req.WaitSeconds > 0 {
		wait = time.Duration(req.WaitSeconds * float64(time.Second))
	}
	return once(ctx, h, fact, func(t *tx) (town.Question, error) {
		a, err := loadAgent(t, agentID)
		if err != nil {
			return town.Question{}, err
		}
		q := town.Question{
			ID: town.NewID(t.now), AgentID: agentID, BeadID: a.BeadID, Question: req.Question, Options: req.Options, Status: questionOpen,
			CreatedAt: t.now, ExpiresAt: timeOf(ms(t.now.Add(wait))),
		}
		t.tell(topicWork)
		t.tell(topicQuestions)
		_, err = t.exec(`INSERT INTO questions (id, agent_id, bead_id, question, options, status, answer, created_at, expires_at)
			VALUES (?, ?, ?, ?, ?, 'open', '', ?, ?)`, q.ID, q.AgentID, q.BeadID, q.Question, jsonText(q.Options), ms(q.CreatedAt), ms(q.ExpiresAt))
		return q, err
	})
}

func checkAsk(req town.AskRequest) error {
	var c check
	c.required("question", req.Question)
	c.text("question", req.Question, maxNote)
	if len(req.Options) < 2 || len(req.Options) > 4 {
		c.add("options", "must be 2 to 4")
	}
	for i, o := range req.Options[:min(len(req.Options), 4)] {
		path := fmt.Sprintf("options[%d]", i)
		c.required(path, o)
		c.line(path, o, maxTitle)
	}
	if req.WaitSeconds < 0 || req.WaitSeconds > 3600 || math.IsNaN(req.WaitSeconds) {
		c.add("waitSeconds", "must be 0 (600) to 3600")
	}
	return c.err()
}

// Questions returns questions of that status (of all when ""), newest first, at most 500.
func (h *Hall) Questions(ctx context.Context, status string) (all []town.Question, err error) {
	err = h.read(ctx, func(r reader) error {
		all, err = listQuestions(r, status)
		return err
	})
	return all, err
}

func listQuestions(r reader, status string) ([]town.Question, error) {
	var w where
	switch now := ms(r.at()); status {
	case questionOpen:
		w.and(`status = 'open' AND expires_at > ?`, now)
	case questionExpired:
		w.and(`(status = 'expired' OR status = 'open' AND expires_at <= ?)`, now)
	default:
		w.equal("status", status)
	}
	all, err := collect(r, scanQuestion, `SELECT `+questionColumns+` FROM questions`+w.String()+` ORDER BY n DESC LIMIT 500`, w.args...)
	for i := range all {
		if all[i].Status == questionOpen && !r.at().Before(all[i].ExpiresAt) {
			all[i].Status = questionExpired
		}
	}
	return all, err
}

// Question returns a question, as soon as it is no longer open but after wait at the latest.
func (h *Hall) Question(ctx context.Context, id string, wait time.Duration) (q town.Question, err error) {
	over, stop := waitUntil(wait)
	defer stop()
	for {
		changed := h.told.next(topicQuestions)
		err := h.read(ctx, func(r reader) error {
			q, err = loadQuestion(r, id)
			return err
		})
		if err != nil || q.Status != questionOpen || wait <= 0 {
			return q, err
		}
		select {
		case <-changed:
		case <-over:
			return q, nil
		case <-ctx.Done():
			return q, context.Cause(ctx)
		}
	}
}

// waitUntil returns a channel that tells when wait is over.
func waitUntil(wait time.Duration) (over <-chan time.Time, stop func() bool) {
	timer := time.NewTimer(wait)
	return timer.C, timer.Stop
}

// AnswerQuestion answers a question. When nobody waits for it any more the agent is
// told by a message, or its bead is taken up again.
func (h *Hall) AnswerQuestion(ctx context.Context, c Caller, id, answer string) (town.Question, error) {
	var ck check
	ck.required("answer", answer)
	ck.text("answer", answer, maxNote)
	if err := firstOf(c.lead("answer questions"), ck.err()); err != nil {
		return town.Question{}, err
	}
	return once(ctx, h, fact, func(t *tx) (town.Question, error) {
		q, err := loadQuestion(t, id)
		switch {
		case err != nil:
			return q, err
		case q.Status == questionAnswered && q.Answer == answer:
			return q, nil
		case q.Status == questionAnswered || q.Status == questionCancelled:
			return q, fmt.Errorf("question %s is %s: %w", id, q.Status, town.ErrConflict)
		}
		late := q.Status == questionExpired
		q.Status, q.Answer, q.AnsweredAt = questionAnswered, answer, &t.now
		if err := saveQuestion(t, q); err != nil {
			return q, err
		}
		return q, answered(t, c, q, late)
	})
}

func saveQuestion(t *tx, q town.Question) error {
	t.tell(topicQuestions)
	t.tell(topicWork)
	_, err := t.exec(`UPDATE questions SET status = ?, answer = ?, answered_at = ? WHERE id = ?`, q.Status, q.Answer, msOrNull(q.AnsweredAt), q.ID)
	return err
}

// answered brings an answer to its agent: who waits gets it, who ended to wait goes
// on, others are told.
func answered(t *tx, c Caller, q town.Question, late bool) error {
	b, err := agentsBead(t, q.AgentID)
	if err != nil && !errors.Is(err, town.ErrNotFound) {
		return err
	}
	if err == nil {
		if _, err := addNote(t, town.Note{BeadID: b.ID, Kind: "note", By: c.by(), Text: fmt.Sprintf("%s\nAnswer: %s", q.Question, q.Answer)}); err != nil {
			return err
		}
		a, err := loadAgent(t, q.AgentID)
		if err == nil && waits(a, b) {
			return giveBack(t, &b, b.Epoch, "its question was answered")
		}
	}
	if late {
		return tellAgent(t, c, q.AgentID, cut("answer to your question: "+q.Question, maxTitle), q.Answer)
	}
	return nil
}

// CancelQuestion takes a question back. An agent may its own.
func (h *Hall) CancelQuestion(ctx context.Context, c Caller, id string) (town.Question, error) {
	return once(ctx, h, fact, func(t *tx) (town.Question, error) {
		q, err := loadQuestion(t, id)
		if err != nil {
			return q, err
		}
		if !c.leads() {
			if err := c.as(q.AgentID); err != nil {
				return q, err
			}
		}
		switch q.Status {
		case questionCancelled:
			return q, nil
		case questionAnswered:
			return q, fmt.Errorf("question %s is answered: %w", id, town.ErrConflict)
		}
		q.Status = questionCancelled
		return q, saveQuestion(t, q)
	})
}

// expireQuestions writes down that nobody waits for questions any more.
func expireQuestions(t *tx) error {
	n, err := t.exec(`UPDATE questions SET status = 'expired' WHERE status = 'open' AND expires_at <= ?`, ms(t.now))
	if n > 0 {
		t.tell(topicQuestions)
		t.tell(topicWork)
	}
	return err
}
