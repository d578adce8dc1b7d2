// Package townhall is the embedded coordinator: it holds a town's beads, agents,
// mail and merges in one SQLite database, and decides who works on what. It knows
// the container only by what it is told and by its control API.
//
// Every operation is one write transaction; what becomes of a bead is decided by
// one pure function, Apply, over api.TransitionsJSON.
package townhall

import (
	"context"
	"errors"
	"log/slog"
	"time"
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
	KeepEvents     int64                // the newest so many events are kept; 1,000,000 when 0
	KeepKeys       time.Duration        // idempotency keys are kept so long; 48 h when 0
	Readers        int                  // connections that read at once; 4 when 0
}

// Hall is an open town hall. It is safe for concurrent use.
type Hall struct {
	cfg Config
}

var errNotYet = errors.New("not yet")

// Open opens the database of cfg.Path, which it makes when there is none. A
// database of a newer version is refused and left as it is; a corrupted one is an
// ErrCorrupt.
func Open(ctx context.Context, cfg Config) (*Hall, error) { return nil, errNotYet }

// Close waits for the operations that run and closes the database.
func (h *Hall) Close() error { return errNotYet }

// ErrCorrupt is wrapped by Open's error for a file that is no sound database. See MoveAside.
var ErrCorrupt = errors.New("database is corrupt")

// MoveAside renames a database with its side files, so that the next Open begins a
// new one, and returns the new name. It is for a person to ask for, never done by itself.
func MoveAside(path string, now time.Time) (string, error) { return "", errNotYet }

// Changed returns a channel that is closed when beads, merges, agents, rigs or
// settings have changed since the call. Take it before looking, wait after.
func (h *Hall) Changed() <-chan struct{} { return nil }

// WithKey returns a context under which an operation that makes or reports
// something is done once: called again with the same key it returns its first
// answer, for as long as the key is kept. fingerprint tells calls apart (caller,
// method, path and a hash of the body): the same key with another one is
// town.ErrConflict.
func WithKey(ctx context.Context, key, fingerprint string) context.Context { return ctx }
