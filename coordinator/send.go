package coordinator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// The bounds of one request.
const (
	maxEvents      = 1000
	maxEventsBytes = 1 << 20
	maxInFlight    = 8 // requests at once: a coordinator that hangs costs the lanes of these alone
	sendTimeout    = 15 * time.Second
	maxLanesAtOnce = 64 // looked into for one request of events
)

// lane is the reports that must arrive in order. Its fields are guarded by the
// outbox's lock; who has made it busy alone reads its rows and changes them.
type lane struct {
	name      string
	rows      int64
	busy      bool
	failures  int       // in a row
	refusals  int       // of them those at the end that may be final if they go on
	refused   bool      // the newest failure was a refusal that may be final if it goes on
	link      bool      // they were the way's, not the report's
	notBefore time.Time // of the next try
	limit     int       // events of it in one request
	alone     bool      // its events go in requests of their own
	lost      int       // single events refused in a row
}

// free gives back a lane that was busy. Called under the lock.
func (o *outbox) free(l *lane) {
	l.busy = false
	if l.rows <= 0 {
		delete(o.sending, l.name)
	}
}

// resume has the lanes tried again now that failed because the coordinator could not
// be reached: it can.
func (o *outbox) resume() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slow = false
	for _, l := range o.sending {
		if l.link {
			l.notBefore, l.link = time.Time{}, false
		}
	}
	signal(o.sent)
}

// claimReady makes up to n lanes busy whose time has come, those that wait longest
// first, else tells how long until there is one; 0 for never.
func (o *outbox) claimReady(n int) (ready []*lane, wait time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, l := range o.sending {
		switch until := l.notBefore.Sub(now); {
		case l.busy || l.rows <= 0:
		case until <= 0:
			ready = append(ready, l)
		case wait == 0 || until < wait:
			wait = until
		}
	}
	slices.SortFunc(ready, func(a, b *lane) int { return a.notBefore.Compare(b.notBefore) })
	ready = ready[:min(n, len(ready))]
	for _, l := range ready {
		l.busy = true
	}
	return ready, wait
}

// delivery is one request: a fact, or events of some lanes.
type delivery struct {
	lanes            []*lane
	rows             []taken
	path, key, agent string
	body             []byte // a fact's
	events           int
}

// taken is a row, and how many of its events are in the delivery.
type taken struct {
	row
	lane *lane
	n    int
}

// sender delivers what an outbox holds.
type sender struct {
	o      *outbox
	link   *Link
	events string // path that events go to
	gate   chan struct{}
}

// run ends with ctx, when what is under way has ended.
func (s *sender) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		ready, wait := s.o.claimReady(maxLanesAtOnce)
		for _, d := range s.deliveries(ctx, ready) {
			select {
			case s.gate <- struct{}{}:
			case <-ctx.Done():
				s.release(d.lanes, func(*lane) {})
				continue
			}
			s.link.wg.Go(func() { // ends with its answer, or ctx
				defer func() { <-s.gate }()
				s.deliver(ctx, d)
			})
		}
		if len(ready) > 0 {
			continue
		}
		if timer.Stop(); wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-s.o.sent:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// deliveries makes requests of what is first in each lane.
func (s *sender) deliveries(ctx context.Context, lanes []*lane) []*delivery {
	var all []*delivery
	together := &delivery{}
	size := 0
	for _, l := range lanes {
		rows, err := s.o.store.heads(ctx, l.name, l.limit, maxEventsBytes)
		switch {
		case err != nil || len(rows) == 0:
			if err != nil && ctx.Err() == nil {
				s.o.log.Error("outbox cannot be read", "lane", l.name, "error", err)
			}
			s.release([]*lane{l}, func(l *lane) { l.notBefore = time.Now().Add(writeAgain) })
		case rows[0].events == 0:
			r := rows[0]
			all = append(all, &delivery{
				lanes: []*lane{l}, rows: []taken{{row: r, lane: l, n: 1}}, path: r.path, key: r.key, agent: r.agent, body: r.body,
			})
		case l.alone:
			d := &delivery{}
			d.add(l, rows, l.limit)
			all = append(all, d)
		default:
			bytes := 0
			for _, r := range rows {
				bytes += len(r.body)
			}
			if together.events > 0 && (size+bytes > maxEventsBytes || together.events >= maxEvents) {
				all, together, size = append(all, together), &delivery{}, 0
			}
			together.add(l, rows, min(l.limit, maxEvents-together.events))
			size += bytes
		}
	}
	if together.events > 0 {
		all = append(all, together)
	}
	return all
}

// add puts up to n events of a lane in.
func (d *delivery) add(l *lane, rows []row, n int) {
	d.lanes = append(d.lanes, l)
	for _, r := range rows {
		take := min(r.events, n)
		if take <= 0 {
			break
		}
		d.rows = append(d.rows, taken{row: r, lane: l, n: take})
		d.events += take
		n -= take
	}
}

// request is the body of the delivery and its key.
func (d *delivery) request(instance string) (body []byte, key string) {
	if d.events == 0 {
		return d.body, d.key
	}
	body = fmt.Appendf(nil, `{"instanceId":%q,"events":[`, instance)
	first := true
	for _, r := range d.rows {
		lines, _ := split(r.body, r.n)
		for line := range each(lines) {
			if !first {
				body = append(body, ',')
			}
			first = false
			body = append(body, line...)
		}
	}
	body = append(body, ']', '}')
	// The same events have the same key, however often they go.
	sum := sha256.Sum256(body)
	return body, "events-" + hex.EncodeToString(sum[:16])
}

// deliver sends d and takes in what became of it.
func (s *sender) deliver(ctx context.Context, d *delivery) {
	body, key := d.request(s.link.instanceID())
	path := d.path
	if d.events > 0 {
		path = s.events
	}
	header := http.Header{"Idempotency-Key": {key}}
	if d.agent != "" {
		header.Set("X-Townd-Agent", d.agent)
	}
	sending, cancel := context.WithTimeout(ctx, s.link.sendTimeout)
	a, err := s.link.call(sending, path, header, body)
	cancel()
	if ctx.Err() != nil {
		s.release(d.lanes, func(*lane) {})
		return
	}
	s.link.counted(a.status, err)
	if err != nil {
		s.retry(d, 0, 0, err.Error())
		return
	}
	refusals := 0
	for _, l := range d.lanes { // busy, so ours
		l.refusals++
		refusals = max(refusals, l.refusals)
	}
	if s.link.heart.failing() {
		refusals /= unreachedPatience
	}
	switch judge(a.status, refusals) {
	case delivered:
		s.accepted(d)
	case later:
		s.retry(d, a.status, max(a.after, slow(a.status)), a.text)
	case refused:
		s.refused(d, a)
	}
}

// unreachedPatience is how many times as often a refusal is taken for a passing one
// while no heartbeat is answered either: then it is the town, or the coordinator, that
// is not there. Of a 404 that makes about eight hours.
const unreachedPatience = 12

// slow is the least wait after an answer that only people can change.
func slow(status int) time.Duration {
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return retrySlow
	}
	return 0
}

// release gives lanes back, each changed by f.
func (s *sender) release(lanes []*lane, f func(*lane)) {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	for _, l := range lanes {
		f(l)
		s.o.free(l)
	}
	signal(s.o.sent)
}

// retry has d sent again later; status is 0 when there was no answer.
func (s *sender) retry(d *delivery, status int, atLeast time.Duration, why string) {
	link := status == 0 || status == http.StatusUnauthorized || s.link.heart.failing()
	now := time.Now()
	s.release(d.lanes, func(l *lane) {
		l.failures++
		if l.refused = mayBeFinal(status); !l.refused {
			l.refusals = 0
		}
		l.link = link
		l.notBefore = now.Add(max(backoff(l.failures), atLeast))
	})
	s.o.mu.Lock()
	s.o.slow = s.o.slow || link
	s.o.mu.Unlock()
	s.o.log.Debug("reports not delivered, later again", "lanes", len(d.lanes), "events", d.events, "path", d.path, "why", why)
}

// accepted removes what was delivered. Until that is on disk the lanes stay busy.
func (s *sender) accepted(d *delivery) {
	s.o.do(func(t *tally) error { return s.o.remove(t, d.rows) }, func(error) {
		s.release(d.lanes, func(l *lane) {
			l.failures, l.refusals, l.refused, l.link, l.notBefore, l.lost = 0, 0, false, false, time.Now(), 0
			if l.limit = min(2*l.limit, maxEvents); l.limit == maxEvents {
				l.alone = false
			}
		})
		s.o.resume()
	})
}

// refused makes d a dead letter, when it is so small that it is known what was
// refused; else it is sent again in smaller parts.
func (s *sender) refused(d *delivery, a answer) {
	lost := d.lanes[0].lost // nobody changes it while the lane is busy
	if len(d.lanes) > 1 || d.events > 1 && lost < lostMost {
		s.release(d.lanes, func(l *lane) {
			if l.alone {
				l.limit = max(d.events/2, 1)
			}
			l.alone, l.notBefore = true, time.Now()
		})
		return
	}
	s.o.log.Error("report refused for good by the coordinator", "lane", d.lanes[0].name, "path", d.path, "events", d.events, "key", d.key,
		"status", a.status, "answer", a.text)
	s.o.do(func(t *tally) error {
		if err := s.o.bury(t, d.rows, a); err != nil {
			return err
		}
		return s.o.remove(t, d.rows)
	}, func(error) {
		s.release(d.lanes, func(l *lane) {
			l.failures, l.refusals, l.refused, l.link, l.notBefore = 0, 0, false, false, time.Now()
			if d.events > 0 {
				l.lost++
			}
			if l.lost >= lostMost {
				l.limit = maxEvents
			}
		})
	})
}

// lostMost is how many single events are refused before it is believed that all are.
const lostMost = 5

// remove takes delivered rows out, or of a row the events that were.
func (o *outbox) remove(t *tally, rows []taken) error {
	for _, r := range rows {
		if r.n >= r.events {
			if _, err := o.store.set.remove.ExecContext(t.ctx, r.seq); err != nil {
				return err
			}
			t.add(r.lane.name, -1, -int64(max(r.events, 1)), -r.bytes())
			continue
		}
		_, rest := split(r.body, r.n)
		left := thin(rest, none)
		if _, err := o.store.set.trim.ExecContext(t.ctx, left.events, left.bulk, left.body, r.seq); err != nil {
			return err
		}
		t.add(r.lane.name, 0, int64(left.events-r.events), int64(len(left.body)-len(r.body)))
	}
	return nil
}

// bury keeps what was refused for people to look at, the newest of it.
func (o *outbox) bury(t *tally, rows []taken, a answer) error {
	for _, r := range rows {
		body, _ := split(r.body, r.n)
		events := r.n
		if r.events == 0 {
			body, events = r.body, 0
		}
		var key any
		if r.key != "" {
			key = r.key
		}
		if _, err := o.store.set.bury.ExecContext(t.ctx, r.lane.name, r.at, events, r.path, key, r.agent, body, a.status, a.text,
			time.Now().UnixMilli()); err != nil {
			return err
		}
		t.dead++
	}
	res, err := o.store.conn.ExecContext(t.ctx, "DELETE FROM dead WHERE id <= (SELECT id FROM dead ORDER BY id DESC LIMIT 1 OFFSET ?)", maxDead)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	t.dead -= n
	return err
}
