package townhall

import (
	"cmp"
	"context"
	"database/sql"
	"time"
)

// Retention says what is kept for how long. Nothing of a bead that has not ended is
// thrown away but its oldest events. Zero values are the defaults.
type Retention struct {
	Events     int64         // the newest so many; 1,000,000
	Keys       time.Duration // idempotency keys; 48 h
	Done       time.Duration // orders that are done, failures; 7 days
	ReadMail   time.Duration // mail that was acknowledged; 30 days
	ReadMails  int64         // but at most so many; 10,000
	Ended      time.Duration // what was written down about a bead after its end, and closed escalations; 180 days
	EndedBeads int64         // but of so many beads at most; 20,000
}

const day = 24 * time.Hour

func (r *Retention) setDefaults() {
	r.Events = cmp.Or(r.Events, 1_000_000)
	r.Keys = cmp.Or(r.Keys, 2*day)
	r.Done = cmp.Or(r.Done, 7*day)
	r.ReadMail = cmp.Or(r.ReadMail, 30*day)
	r.ReadMails = cmp.Or(r.ReadMails, 10_000)
	r.Ended = cmp.Or(r.Ended, 180*day)
	r.EndedBeads = cmp.Or(r.EndedBeads, 20_000)
}

// tidyAfter is how many rows of events and keys are written between two tidyings,
// tidyEvery how long it takes otherwise.
const (
	tidyAfter = 10_000
	tidyEvery = time.Hour
)

// tidyChunk is how many rows one transaction throws away: others wait for it.
const tidyChunk = 2_000

// wrote counts rows that are thrown away some day, and wakes who does it.
func (t *tx) wrote(rows int) {
	t.h.written += rows
	if t.h.written < tidyAfter {
		return
	}
	t.h.written = 0
	select {
	case t.h.untidy <- struct{}{}:
	default: // it is awake
	}
}

// tidyNowAndThen throws away what is kept no longer, off the way of those who write.
// It ends with ctx.
func (h *Hall) tidyNowAndThen(ctx context.Context) {
	again := time.NewTicker(tidyEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.untidy:
		case <-again.C:
		}
		if err := h.Tidy(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("old rows are not thrown away", "error", err)
		}
	}
}

// Tidy throws away what is kept no longer. It runs by itself now and then.
func (h *Hall) Tidy(ctx context.Context) error {
	now, keep := h.clock.now(), h.cfg.Keep
	before := func(age time.Duration) any { return ms(now.Add(-age)) }
	for _, old := range []struct {
		query string // with bounds, then how many rows at once
		bound []any
	}{
		{`DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - ? LIMIT ?)`, []any{keep.Events}},
		{`DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE created_at < ? LIMIT ?)`, []any{before(keep.Keys)}},
		{`DELETE FROM orders WHERE n IN (SELECT n FROM orders WHERE done_at < ? LIMIT ?)`, []any{before(keep.Done)}},
		{`DELETE FROM failures WHERE n IN (SELECT n FROM failures WHERE at < ? LIMIT ?)`, []any{before(keep.Done)}},
		{`DELETE FROM escalations WHERE n IN (SELECT n FROM escalations WHERE closed_at < ? LIMIT ?)`, []any{before(keep.Ended)}},
		{
			`DELETE FROM mail WHERE n IN (SELECT n FROM mail WHERE acked_at < max(?, coalesce(
			(SELECT acked_at FROM mail WHERE acked_at IS NOT NULL ORDER BY acked_at DESC LIMIT 1 OFFSET ? - 1), 0)) LIMIT ?)`,
			[]any{before(keep.ReadMail), keep.ReadMails},
		},
	} {
		for gone := int64(tidyChunk); gone == tidyChunk; {
			err := h.write(ctx, news, func(t *tx) (err error) {
				gone, err = t.exec(old.query, append(old.bound, tidyChunk)...)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	for more := true; more; {
		err := h.write(ctx, news, func(t *tx) (err error) {
			more, err = tidyEnded(t)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tidyEnded throws away what was written down about beads that ended long ago: the
// beads themselves, and what became of their merges, stay. more tells that there may be
// more of it.
func tidyEnded(t *tx) (more bool, err error) {
	const beads = 100
	keep := t.h.cfg.Keep
	ended, err := collect(t, func(row scanner) (b [2]string, err error) {
		err = row.Scan(&b[0], &b[1])
		return b, err
	}, `SELECT id, agent_id FROM beads INDEXED BY beads_ended WHERE closed_at IS NOT NULL AND tidied = 0 AND closed_at < max(?, coalesce(
		(SELECT closed_at FROM beads INDEXED BY beads_ended WHERE closed_at IS NOT NULL AND tidied = 0 ORDER BY closed_at DESC LIMIT 1 OFFSET ? - 1), 0))
		ORDER BY closed_at LIMIT ?`, ms(t.now.Add(-keep.Ended)), keep.EndedBeads, beads)
	if err != nil {
		return false, err
	}
	gone := int64(0)
	for _, b := range ended {
		for _, query := range []string{
			`DELETE FROM notes WHERE n IN (SELECT n FROM notes WHERE bead_id = :bead LIMIT :most)`,
			`DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE bead_id = :bead AND bead_id <> '' LIMIT :most)`,
			`DELETE FROM runs WHERE n IN (SELECT n FROM runs WHERE bead_id = :bead LIMIT :most)`,
			`DELETE FROM questions WHERE n IN (SELECT n FROM questions WHERE agent_id = :agent AND bead_id = :bead LIMIT :most)`,
			`DELETE FROM mail WHERE n IN (SELECT n FROM mail WHERE recipient = :agent AND recipient <> '' LIMIT :most)`,
		} {
			n, err := t.exec(query, sql.Named("bead", b[0]), sql.Named("agent", b[1]), sql.Named("most", tidyChunk))
			if gone += n; err != nil || gone >= tidyChunk {
				return true, err
			}
		}
		if _, err := t.exec(`UPDATE beads SET tidied = 1 WHERE id = ?`, b[0]); err != nil {
			return false, err
		}
	}
	return len(ended) == beads, nil
}
