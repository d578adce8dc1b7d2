// Package townhall is the embedded coordinator: it holds a town's beads, agents,
// mail and merges in one SQLite database, and decides who works on what. It knows
// the container only by what it is told and by its control API.
//
// Every operation is one write transaction; what becomes of a bead is decided by
// one pure function, Apply, over api.TransitionsJSON.
package townhall

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"townd/town"
)

// Config is what a Hall needs. Path and TownID are required.
type Config struct {
	Path           string               // of the database, or ":memory:"
	TownID         string               //
	Now            func() time.Time     // the wall clock; time.Now when nil
	Elapsed        func() time.Duration // a clock that never jumps; follows Now when nil and Now is given
	Log            *slog.Logger         // slog.Default when nil
	HeartbeatEvery time.Duration        // of the container; 30 s when 0
	Lease          time.Duration        // how long an agent has a bead without a heartbeat; 5 min when 0
	Keep           Retention            // what is kept for how long
	Readers        int                  // connections that read at once; 4 when 0
	Beads          BeadCaps             // what agents may make
}

// Hall is an open town hall. It is safe for concurrent use.
type Hall struct {
	cfg   Config
	log   *slog.Logger
	store *store
	told  signals
	clock clock

	dispatching atomic.Pointer[dispatchView] // what Dispatch shows, nil before it first ran

	stop    context.CancelFunc
	wg      sync.WaitGroup
	untidy  chan struct{} // holds at most one: there is something to throw away
	written int           // rows since the last tidying; guarded by the write transaction
}

// Open opens the database of cfg.Path, which it makes when there is none. A
// database of a newer version is refused and left as it is; a corrupted one is an
// ErrCorrupt.
func Open(ctx context.Context, cfg Config) (*Hall, error) {
	if err := town.CheckID(cfg.TownID); err != nil {
		return nil, fmt.Errorf("town %q: id %w", cfg.TownID, err)
	}
	cfg.HeartbeatEvery = cmp.Or(cfg.HeartbeatEvery, 30*time.Second)
	cfg.Lease = cmp.Or(cfg.Lease, 5*time.Minute)
	cfg.Keep.setDefaults()
	cfg.Readers = cmp.Or(cfg.Readers, 4)
	cfg.Beads.setDefaults()
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s, err := openStore(ctx, cfg.Path, cfg.Readers, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("open the town's database %s: %w", cfg.Path, err)
	}
	h := &Hall{cfg: cfg, log: cfg.Log, store: s, clock: newClock(cfg), untidy: make(chan struct{}, 1)}
	if err := h.write(ctx, fact, h.begin); err != nil {
		return nil, errors.Join(fmt.Errorf("open the town's database %s: %w", cfg.Path, err), s.close())
	}
	ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	h.wg.Go(func() { h.tidyNowAndThen(ctx) })
	return h, nil
}

// begin checks whose database it is, and gives every lease the time of a heartbeat:
// nobody could renew it while the town hall was closed.
func (h *Hall) begin(t *tx) error {
	owner, err := getSetting(t, settingTown)
	switch {
	case err != nil:
		return err
	case owner == "":
		if err := setSetting(t, settingTown, h.cfg.TownID); err != nil {
			return err
		}
	case owner != h.cfg.TownID:
		return fmt.Errorf("it is of town %s, not %s: %w", owner, h.cfg.TownID, town.ErrConflict)
	}
	return spareLeases(t)
}

// Close waits for the operations that run and closes the database. Operations after
// it return town.ErrUnavailable.
func (h *Hall) Close() error {
	h.stop()
	h.wg.Wait()
	if err := h.store.close(); err != nil {
		return fmt.Errorf("close the town's database: %w", err)
	}
	return nil
}

// Changed returns a channel that is closed when beads, merges, agents, rigs or
// settings have changed since the call. Take it before looking, wait after.
func (h *Hall) Changed() <-chan struct{} { return h.told.next(topicWork) }

// clock is the wall clock beside one that never jumps.
type clock struct {
	wall    func() time.Time
	elapsed func() time.Duration

	lastWall    time.Time // guarded by the write transaction
	lastElapsed time.Duration
}

func newClock(cfg Config) clock {
	c := clock{wall: cfg.Now, elapsed: cfg.Elapsed}
	if c.wall == nil {
		c.wall = time.Now
		if c.elapsed == nil {
			begin := time.Now()
			c.elapsed = func() time.Duration { return time.Since(begin) }
		}
	}
	if c.elapsed == nil {
		begin := c.wall()
		c.elapsed = func() time.Duration { return c.wall().Sub(begin) }
	}
	return c
}

// now is the time to the millisecond, as it is kept.
func (c *clock) now() time.Time { return c.wall().UTC().Truncate(time.Millisecond) }

// maxDrift is how far the clocks may part between two operations before it counts as a jump.
const maxDrift = 5 * time.Second

// jumped reports whether the wall clock was set since it was last seen.
func (c *clock) jumped(now time.Time) bool {
	drift := now.Sub(c.lastWall) - (c.elapsed() - c.lastElapsed)
	return !c.lastWall.IsZero() && drift.Abs() > maxDrift
}

// seen remembers the clocks as they are. It is called when what followed from a jump is kept.
func (c *clock) seen(now time.Time) { c.lastWall, c.lastElapsed = now, c.elapsed() }

// topic is what someone may wait for.
type topic int

const (
	topicWork topic = iota
	topicEvents
	topicQuestions
	topics
)

// signals wakes those who wait for a change.
type signals struct {
	mu  sync.Mutex
	all [topics]chan struct{}
}

// next returns a channel that is closed at the next change.
func (s *signals) next(of topic) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[of] == nil {
		s.all[of] = make(chan struct{})
	}
	return s.all[of]
}

func (s *signals) tell(of topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[of] != nil {
		close(s.all[of])
		s.all[of] = nil
	}
}

const settingTown = "town"

// getSetting returns a small value that was kept, "" for none.
func getSetting(r reader, name string) (value string, err error) {
	err = r.row(`SELECT value FROM settings WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// setSetting keeps a small value; "" forgets it.
func setSetting(t *tx, name, value string) error {
	t.tell(topicWork)
	if value == "" {
		_, err := t.exec(`DELETE FROM settings WHERE name = ?`, name)
		return err
	}
	_, err := t.exec(`INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
