package townhall

import (
	"context"
	"time"
)

// tidyEvery is how many rows of events and keys are written between two tidyings.
const tidyEvery = 10_000

// tidyChunk is how many rows one transaction throws away: others wait for it.
const tidyChunk = 2_000

// wrote counts rows that are thrown away some day, and wakes who does it.
func (t *tx) wrote(rows int) {
	t.h.written += rows
	if t.h.written < tidyEvery {
		return
	}
	t.h.written = 0
	select {
	case t.h.untidy <- struct{}{}:
	default: // it is awake
	}
}

// tidyWhenTold throws away what is kept no longer, off the way of those who write.
// It ends with ctx.
func (h *Hall) tidyWhenTold(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.untidy:
			if err := h.Tidy(ctx); err != nil && ctx.Err() == nil {
				h.log.Error("old rows are not thrown away", "error", err)
			}
		}
	}
}

// keepDone is how long orders that are done and failures are kept.
const keepDone = 7 * 24 * time.Hour

// Tidy throws away what is kept no longer: the oldest events, idempotency keys,
// orders that are done, failures. It runs by itself now and then.
func (h *Hall) Tidy(ctx context.Context) error {
	now := h.clock.now()
	for _, old := range []struct {
		query string
		bound int64
	}{
		{`DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - ? LIMIT ?)`, h.cfg.KeepEvents},
		{`DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE created_at < ? LIMIT ?)`, ms(now.Add(-h.cfg.KeepKeys))},
		{`DELETE FROM orders WHERE n IN (SELECT n FROM orders WHERE done_at < ? LIMIT ?)`, ms(now.Add(-keepDone))},
		{`DELETE FROM failures WHERE n IN (SELECT n FROM failures WHERE at < ? LIMIT ?)`, ms(now.Add(-keepDone))},
	} {
		for gone := int64(tidyChunk); gone == tidyChunk; {
			err := h.write(ctx, news, func(t *tx) (err error) {
				gone, err = t.exec(old.query, old.bound, tidyChunk)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
