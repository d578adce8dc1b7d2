package coordinator

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"townd/town"
)

// migrations bring an outbox to the next version, the first from nothing. They are
// never changed, only added to.
var migrations = []string{`
	CREATE TABLE items (
		seq    INTEGER PRIMARY KEY AUTOINCREMENT,
		lane   TEXT NOT NULL,
		at     INTEGER NOT NULL,            -- when it happened, ms
		events INTEGER NOT NULL DEFAULT 0,  -- in body, one a line; 0 for a fact
		bulk   INTEGER NOT NULL DEFAULT 0,  -- of them, those that go first when room is short
		path   TEXT NOT NULL DEFAULT '',    -- that follow are a fact's
		key    TEXT,
		agent  TEXT NOT NULL DEFAULT '',
		body   BLOB NOT NULL
	) STRICT;
	CREATE INDEX items_lane ON items (lane, seq);
	CREATE UNIQUE INDEX items_key ON items (key) WHERE key IS NOT NULL;
	CREATE INDEX items_bulk ON items (seq) WHERE bulk > 0;
	CREATE TABLE dead (
		id     INTEGER PRIMARY KEY AUTOINCREMENT,
		lane   TEXT NOT NULL,
		at     INTEGER NOT NULL,
		events INTEGER NOT NULL,
		path   TEXT NOT NULL,
		key    TEXT,
		agent  TEXT NOT NULL,
		body   BLOB NOT NULL,
		status INTEGER NOT NULL,            -- that the coordinator answered with
		answer TEXT NOT NULL,
		died   INTEGER NOT NULL             -- ms
	) STRICT;
	CREATE TABLE cursors (
		agent  TEXT PRIMARY KEY,
		epoch  TEXT NOT NULL,               -- of its event log
		newest INTEGER NOT NULL             -- id of the newest event that was taken
	) STRICT;
	CREATE TABLE orders (
		id    TEXT PRIMARY KEY,             -- of those that were carried out
		error TEXT NOT NULL,
		at    INTEGER NOT NULL,
		told  INTEGER NOT NULL DEFAULT 0    -- the coordinator knows it
	) STRICT;
`}

// applicationID marks our file in its header: "town".
const applicationID = 0x746f776e

// store is the outbox's file. Its writes are one goroutine's; reads may come beside
// them.
type store struct {
	path   string
	writer *sql.DB   // of one connection
	conn   *sql.Conn // that one
	reader *sql.DB
	set    statements
	head   *sql.Stmt
}

// statements are prepared on the one connection that writes.
type statements struct{ event, fact, cursor, remove, trim, bury, order *sql.Stmt }

// busyWait is how long a lock of somebody else is waited for.
const busyWait = 5 * time.Second

// openStore opens or makes the file. One that is broken is moved aside, see asides,
// and a new one made: what was in it is to be reported again. It returns
// town.ErrConflict for a file of a newer version, ErrUnavailable for one that another
// program has locked, ErrNoSpace.
func openStore(ctx context.Context, path string, log *slog.Logger) (*store, error) {
	s, err := tryStore(ctx, path)
	if !isBroken(err) {
		return s, err
	}
	aside := fmt.Sprintf("%s.corrupt-%s", path, time.Now().UTC().Format("20060102T150405.000"))
	log.Error("outbox is broken: moved aside, reports in it may be lost", "file", aside, "error", err)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("move the broken outbox aside: %w", err)
		}
	}
	return tryStore(ctx, path)
}

func tryStore(ctx context.Context, path string) (_ *store, err error) {
	s := &store{path: path}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open outbox %s: %w", path, kindOf(err))
			s.close()
		}
	}()
	// Owner only before SQLite makes it with the umask's mode: bodies are what agents did.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if s.writer, err = sql.Open("sqlite", dsn(path, "auto_vacuum(incremental)", "journal_mode(wal)", "synchronous(full)", "journal_size_limit(4194304)")); err != nil {
		return nil, err
	}
	s.writer.SetMaxOpenConns(1)
	if s.conn, err = s.writer.Conn(ctx); err != nil {
		return nil, err
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// dsn names the file to the driver, whatever is in its path.
func dsn(path string, pragmas ...string) string {
	query := url.Values{"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", busyWait.Milliseconds())}, pragmas...)}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query.Encode()}).String()
}

// check refuses a file that is not ours, or broken.
func (s *store) check(ctx context.Context) error {
	var id, version int
	if err := s.conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if err := s.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch {
	case id != 0 && id != applicationID:
		return fmt.Errorf("it is another program's database: choose another TOWND_HOME, or move it away: %w", town.ErrConflict)
	case version > len(migrations):
		return fmt.Errorf("it was written by a newer townd (version %d of the file, this program knows %d): run that one; "+
			"this one would lose what it does not understand: %w", version, len(migrations), town.ErrConflict)
	}
	var result string
	if err := s.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return &brokenError{result}
	}
	return nil
}

// brokenError is what a check found in the file.
type brokenError struct{ what string }

func (e *brokenError) Error() string { return "broken: " + e.what }

func (s *store) migrate(ctx context.Context) error {
	var version int
	if err := s.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	for ; version < len(migrations); version++ {
		step := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", migrations[version], applicationID, version+1)
		if _, err := s.conn.ExecContext(ctx, step); err != nil {
			_, _ = s.conn.ExecContext(ctx, "ROLLBACK") // the first error is what there is to tell
			return fmt.Errorf("bring it to version %d: %w", version+1, err)
		}
	}
	return nil
}

func (s *store) prepare(ctx context.Context) (err error) {
	for text, stmt := range map[string]**sql.Stmt{
		"INSERT INTO items (lane, at, events, bulk, body) VALUES (?, ?, ?, ?, ?)":                                                 &s.set.event,
		"INSERT OR IGNORE INTO items (lane, at, path, key, agent, body) VALUES (?, ?, ?, ?, ?, ?)":                                &s.set.fact,
		"INSERT INTO cursors VALUES (?, ?, ?) ON CONFLICT (agent) DO UPDATE SET epoch = excluded.epoch, newest = excluded.newest": &s.set.cursor,
		"DELETE FROM items WHERE seq = ?":                               &s.set.remove,
		"UPDATE items SET events = ?, bulk = ?, body = ? WHERE seq = ?": &s.set.trim,
		"INSERT INTO dead (lane, at, events, path, key, agent, body, status, answer, died) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)": &s.set.bury,
		"INSERT OR REPLACE INTO orders (id, error, at) VALUES (?, ?, ?)":                                                          &s.set.order,
	} {
		if *stmt, err = s.conn.PrepareContext(ctx, text); err != nil { //nolint:sqlclosecheck // close does
			return err
		}
	}
	if s.reader, err = sql.Open("sqlite", dsn(s.path, "query_only(1)")); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(2)
	s.head, err = s.reader.PrepareContext(ctx, "SELECT seq, at, events, bulk, path, coalesce(key, ''), agent, body FROM items WHERE lane = ? ORDER BY seq")
	return err
}

// close lets go of the file, whole or half opened.
func (s *store) close() {
	for _, stmt := range []*sql.Stmt{s.set.event, s.set.fact, s.set.cursor, s.set.remove, s.set.trim, s.set.bury, s.set.order, s.head} {
		if stmt != nil {
			_ = stmt.Close()
		}
	}
	if s.reader != nil {
		_ = s.reader.Close()
	}
	if s.conn != nil {
		_ = s.conn.Close()
	}
	if s.writer != nil {
		_ = s.writer.Close() // the last connection: it brings the log into the file
	}
}

// write runs f in one transaction: all of it or nothing is kept.
func (s *store) write(ctx context.Context, f func() error) error {
	if _, err := s.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("write outbox: %w", kindOf(err))
	}
	err := f()
	if err == nil {
		_, err = s.conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		_, _ = s.conn.ExecContext(ctx, "ROLLBACK") // SQLite has rolled back by itself after some errors
		return fmt.Errorf("write outbox: %w", kindOf(err))
	}
	return nil
}

// row is a row of items.
type row struct {
	seq, at          int64
	events, bulk     int
	path, key, agent string
	body             []byte
}

// bytes is what the row counts for: its body, and what it costs besides.
func (r *row) bytes() int64 { return rowBytes(len(r.body)) }

func rowBytes(body int) int64 { return int64(body) + 160 }

// heads returns the first rows of a lane: one fact, or events up to about a number
// and a size.
func (s *store) heads(ctx context.Context, lane string, events, bytes int) ([]row, error) {
	rows, err := s.head.QueryContext(ctx, lane)
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", kindOf(err))
	}
	defer func() { _ = rows.Close() }() // rows.Err has told what went wrong
	var heads []row
	for events > 0 && bytes > 0 && rows.Next() {
		var r row
		if err := rows.Scan(&r.seq, &r.at, &r.events, &r.bulk, &r.path, &r.key, &r.agent, &r.body); err != nil {
			return nil, fmt.Errorf("read outbox: %w", kindOf(err))
		}
		if r.events == 0 && len(heads) > 0 {
			break
		}
		heads = append(heads, r)
		if r.events == 0 {
			break
		}
		events, bytes = events-r.events, bytes-len(r.body)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read outbox: %w", kindOf(err))
	}
	return heads, nil
}

// laneSize is what a lane holds.
type laneSize struct{ rows, pending, bytes int64 }

// lanes returns every lane that holds something.
func (s *store) lanes(ctx context.Context) (map[string]laneSize, error) {
	lanes := make(map[string]laneSize)
	err := s.each(ctx, "SELECT lane, count(*), sum(max(events, 1)), sum(length(body) + 160) FROM items GROUP BY lane", func(rows *sql.Rows) error {
		var name string
		var size laneSize
		err := rows.Scan(&name, &size.rows, &size.pending, &size.bytes)
		lanes[name] = size
		return err
	})
	return lanes, err
}

// cursor is how far an agent's events were taken.
type cursor struct {
	epoch  string
	newest int64
}

func (s *store) cursors(ctx context.Context) (map[string]cursor, error) {
	cursors := make(map[string]cursor)
	err := s.each(ctx, "SELECT agent, epoch, newest FROM cursors", func(rows *sql.Rows) error {
		var agent string
		var c cursor
		err := rows.Scan(&agent, &c.epoch, &c.newest)
		cursors[agent] = c
		return err
	})
	return cursors, err
}

// orders returns those that were carried out and may be sent again.
func (s *store) orders(ctx context.Context) (map[string]*known, error) {
	all := make(map[string]*known)
	err := s.each(ctx, "SELECT id, error, at, told FROM orders", func(rows *sql.Rows) error {
		var k known
		var at int64
		err := rows.Scan(&k.result.ID, &k.result.Error, &at, &k.told)
		k.at = time.UnixMilli(at)
		all[k.result.ID] = &k
		return err
	})
	return all, err
}

// dead counts what was refused for good.
func (s *store) dead(ctx context.Context) (n int64, err error) {
	err = s.reader.QueryRowContext(ctx, "SELECT count(*) FROM dead").Scan(&n)
	return n, err
}

// died counts what was refused for good since a time.
func (s *store) died(ctx context.Context, since time.Time) (n int64, err error) {
	if err = s.reader.QueryRowContext(ctx, "SELECT count(*) FROM dead WHERE died >= ?", since.UnixMilli()).Scan(&n); err != nil {
		err = fmt.Errorf("read outbox: %w", kindOf(err))
	}
	return n, err
}

// oldest returns when the oldest item happened, zero when there is none.
func (s *store) oldest(ctx context.Context) (time.Time, error) {
	var at int64
	err := s.reader.QueryRowContext(ctx, "SELECT at FROM items ORDER BY seq LIMIT 1").Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read outbox: %w", kindOf(err))
	}
	return time.UnixMilli(at).UTC(), nil
}

// each calls f for every row of a query.
func (s *store) each(ctx context.Context, query string, f func(*sql.Rows) error, args ...any) error {
	rows, err := s.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read outbox: %w", kindOf(err))
	}
	defer func() { _ = rows.Close() }() // rows.Err has told what went wrong
	for rows.Next() {
		if err := f(rows); err != nil {
			return fmt.Errorf("read outbox: %w", kindOf(err))
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read outbox: %w", kindOf(err))
	}
	return nil
}

// code returns SQLite's primary code of an error, 0 for another's.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// isBroken reports whether the file is no usable database.
func isBroken(err error) bool {
	_, found := errors.AsType[*brokenError](err)
	c := code(err)
	return found || c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB
}

// kindOf adds the kind that a caller can act on.
func kindOf(err error) error {
	switch code(err) {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", err, town.ErrNoSpace)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w; another program holds it: %w", err, town.ErrUnavailable)
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return fmt.Errorf("%w: %w", err, town.ErrUnavailable)
	}
	return err
}

// asides lists the broken outboxes that were moved aside and are still there.
func asides(path string) []string {
	entries, _ := os.ReadDir(filepath.Dir(path)) // it was read a moment ago
	var names []string
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, filepath.Base(path)+".corrupt-") && !strings.HasSuffix(name, "-wal") && !strings.HasSuffix(name, "-shm") {
			names = append(names, name)
		}
	}
	return names
}
