package coordinator

import (
	"context"
	"database/sql"

	"townd/town"
)

// compactRows is how many rows are compacted in one transaction.
const compactRows = 50

// compact makes room by leaving out events, the oldest first: those that only show
// how an agent went, and if that is not enough all of them. A gap event says where
// some are missing. Facts stay. It is the writer's.
func (o *outbox) compact() {
	before := o.held()
	for _, c := range []*compaction{{o: o, where: "bulk > 0", drop: isBulk}, {o: o, where: "events > 0", drop: all, gaps: make(map[string]laneRow)}} {
		for more := true; more && o.held() > o.most*3/4; {
			var err error
			if more, err = c.some(); err != nil {
				o.log.Error("outbox not compacted", "error", err)
				return
			}
		}
	}
	after := o.held()
	if after < before {
		o.log.Warn("outbox compacted: events left out", "bytes_before", before, "bytes", after)
	}
	if over := after > o.most; over != o.facts {
		if o.facts = over; over {
			o.log.Error("outbox is larger than it should be: facts are never left out", "bytes", after)
		}
	}
}

func (o *outbox) held() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// compaction goes through rows in order.
type compaction struct {
	o     *outbox
	where string
	drop  func(town.EventType) bool
	after int64              // seq of the last row it looked at
	gaps  map[string]laneRow // by lane: the row before, where each becomes nothing but a gap; else nil
}

// laneRow is a row with its lane.
type laneRow struct {
	row
	lane string
}

// some compacts the next rows. It reports whether there are more.
func (c *compaction) some() (more bool, err error) {
	ctx := context.Background() // local, as in flush
	var rows []laneRow
	query := "SELECT seq, lane, events, bulk, body FROM items WHERE " + c.where + " AND seq > ? ORDER BY seq LIMIT ?"
	if err := c.o.store.each(ctx, query, func(r *sql.Rows) error {
		var row laneRow
		err := r.Scan(&row.seq, &row.lane, &row.events, &row.bulk, &row.body)
		rows = append(rows, row)
		return err
	}, c.after, compactRows); err != nil || len(rows) == 0 {
		return false, err
	}
	c.after = rows[len(rows)-1].seq
	claimed := c.claim(rows)
	defer c.release(claimed)
	t := tally{ctx: ctx, lanes: make(map[string]laneSize)}
	if err := c.o.store.write(ctx, func() error {
		for _, r := range rows {
			if claimed[r.lane] != nil {
				if err := c.compact(&t, r); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		return false, err
	}
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	for name, size := range t.lanes {
		c.o.resize(name, size)
	}
	return len(rows) == compactRows, nil
}

// compact writes one row anew.
func (c *compaction) compact(t *tally, r laneRow) error {
	left := thin(r.body, c.drop)
	if _, err := c.o.store.set.trim.ExecContext(t.ctx, left.events, left.bulk, left.body, r.seq); err != nil {
		return err
	}
	t.add(r.lane, 0, int64(left.events-r.events), int64(len(left.body)-len(r.body)))
	if c.gaps == nil {
		return nil
	}
	if before, ok := c.gaps[r.lane]; ok { // this gap tells of that one's events, too
		if _, err := c.o.store.set.remove.ExecContext(t.ctx, before.seq); err != nil {
			return err
		}
		t.add(r.lane, -1, -1, -before.bytes())
	}
	r.body = left.body
	c.gaps[r.lane] = r
	return nil
}

// claim takes the rows' lanes that nobody sends from.
func (c *compaction) claim(rows []laneRow) map[string]*lane {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	claimed := make(map[string]*lane)
	for _, r := range rows {
		if l := c.o.sending[r.lane]; l != nil && !l.busy {
			l.busy = true
			claimed[r.lane] = l
		}
	}
	return claimed
}

func (c *compaction) release(claimed map[string]*lane) {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	for _, l := range claimed {
		c.o.free(l)
	}
	signal(c.o.sent)
}
