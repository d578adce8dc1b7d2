package townhall

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"townd/town"
)

// memory is the path of a database that is gone when it is closed.
const memory = ":memory:"

// ErrCorrupt is wrapped by the error for a file that is no sound database. See MoveAside.
var ErrCorrupt = errors.New("database is corrupt")

// store is one writer and several readers on one database file.
type store struct {
	turn   chan struct{} // the writer's: holding its one place is the right to write
	db     *sql.DB
	writer *link
	sync   durability // of the writer now

	readers *sql.DB    // nil in memory: there the writer reads too
	free    chan *link // of readers: whoever has taken one reads; nil is one that is not open yet
}

// link is a connection with the statements that were prepared on it.
type link struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func dial(ctx context.Context, db *sql.DB) (*link, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &link{conn: conn, stmts: map[string]*sql.Stmt{}}, nil
}

func (l *link) close() error {
	var errs []error
	for _, stmt := range l.stmts { // one that stays open keeps SQLite from merging the log into the file
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, l.conn.Close())...)
}

// stmt prepares a statement once; its text must be constant.
func (l *link) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := l.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := l.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	l.stmts[query] = stmt
	return stmt, nil
}

func (l *link) exec(ctx context.Context, query string, args ...any) (changed int64, err error) {
	stmt, err := l.stmt(ctx, query) //nolint:sqlclosecheck // the link keeps it
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (l *link) row(ctx context.Context, query string, args ...any) *sql.Row {
	stmt, err := l.stmt(ctx, query) //nolint:sqlclosecheck // the link keeps it
	if err != nil {
		return l.conn.QueryRowContext(ctx, query, args...) // tells the same error
	}
	return stmt.QueryRowContext(ctx, args...)
}

// openStore opens path; see Open.
func openStore(ctx context.Context, path string, readers int, log *slog.Logger) (_ *store, err error) {
	s := &store{turn: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(kindOf(err), s.close())
		}
	}()
	if path != memory {
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		if err := inspect(ctx, path, log); err != nil {
			return nil, err
		}
	}
	// A reader of another process (a backup) may hold the lock for a moment.
	const common = "_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)"
	if s.db, err = sql.Open("sqlite", dsn(path, common+"&_pragma=journal_mode(wal)")); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(1)
	if s.writer, err = dial(ctx, s.db); err != nil {
		return nil, err
	}
	if err := migrate(ctx, s.writer.conn); err != nil {
		return nil, err
	}
	if path == memory {
		return s, nil
	}
	if s.readers, err = sql.Open("sqlite", dsn(path, common+"&_pragma=query_only(1)")); err != nil {
		return nil, err
	}
	s.free = make(chan *link, readers)
	for range readers {
		s.free <- nil
	}
	return s, nil
}

func dsn(path, query string) string {
	if path == memory {
		return "file::memory:?" + query
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query
}

// inspect looks at an existing file before anything is written to it, and makes one
// that only its owner can read when there is none.
func inspect(ctx context.Context, path string, log *slog.Logger) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	db, err := sql.Open("sqlite", dsn(path, "mode=ro&_pragma=busy_timeout(5000)"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // nothing was written
	db.SetMaxOpenConns(1)
	if err := checkVersion(ctx, db); err != nil {
		return err
	}
	return quickCheck(ctx, db, log)
}

// maxCheck bounds the check at opening: what it does not reach is told when it is read.
const maxCheck = 2 * time.Second

func quickCheck(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	checked, cancel := context.WithTimeout(ctx, maxCheck)
	defer cancel()
	var result string
	err := db.QueryRowContext(checked, `PRAGMA quick_check(1)`).Scan(&result)
	switch {
	case err != nil && checked.Err() != nil && ctx.Err() == nil:
		log.Info("database only partly checked", "after", maxCheck)
		return nil
	case err != nil:
		return err
	case result != "ok":
		return fmt.Errorf("%s: %w", result, ErrCorrupt)
	}
	return nil
}

// MoveAside renames a database with its side files, so that the next Open begins a
// new one, and returns the new name. It is for a person to ask for, never done by itself.
func MoveAside(path string, now time.Time) (string, error) {
	aside := path + ".corrupt-" + now.UTC().Format("20060102T150405Z")
	if _, err := os.Lstat(aside); err == nil {
		return "", fmt.Errorf("move %s aside: %s is there: %w", path, aside, town.ErrConflict)
	}
	// The database last: a log that is left beside a new one would be taken for its own.
	for _, file := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+file, aside+file); err != nil && (file == "" || !errors.Is(err, fs.ErrNotExist)) {
			return "", fmt.Errorf("move the database aside: %w", err)
		}
	}
	return aside, nil
}

// close waits for the writer's turn, which it keeps: nobody writes any more.
func (s *store) close() error {
	s.turn <- struct{}{}
	var errs []error
	for range cap(s.free) { // waits for who reads
		if l := <-s.free; l != nil {
			errs = append(errs, l.close())
		}
	}
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	for range cap(s.free) { // who comes now finds the database closed
		s.free <- nil
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	s.writer = nil
	<-s.turn
	return errors.Join(errs...)
}

// durability says what a transaction must survive. In WAL mode either survives the
// death of the process; a loss of power takes back the newest transactions that were
// not synced. For a fact that would be a lie to someone: a lease's epoch handed out
// twice, a report that its outbox has thrown away. What the next heartbeat says
// again needs no sync, nor do events, of which there may be ten thousand a second:
// they sync with the next fact.
type durability bool

const (
	fact durability = true
	news durability = false
)

// reader asks the database. Rows must be closed before the next question.
type reader interface {
	query(query string, args ...any) (*sql.Rows, error)
	row(query string, args ...any) *sql.Row
	at() time.Time // the same for the whole transaction
}

// tx is the write transaction.
type tx struct {
	h    *Hall
	ctx  context.Context // not cancelled: a transaction is short and is not torn
	now  time.Time
	told [topics]bool
}

// write runs fn in the write transaction, alone, and commits unless fn returns an
// error. fn must ask through its tx only.
func (h *Hall) write(ctx context.Context, d durability, fn func(t *tx) error) error {
	select {
	case h.store.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait to write: %w", context.Cause(ctx))
	}
	defer func() { <-h.store.turn }()
	t := &tx{h: h, ctx: context.WithoutCancel(ctx), now: h.clock.now()}
	if err := h.store.transact(t, d, fn); err != nil {
		return kindOf(err)
	}
	for of, told := range t.told {
		if told {
			h.told.tell(topic(of))
		}
	}
	return nil
}

func (s *store) transact(t *tx, d durability, fn func(t *tx) error) (err error) {
	if s.writer == nil {
		return fmt.Errorf("the town hall is closed: %w", town.ErrUnavailable)
	}
	if d != s.sync || len(s.writer.stmts) == 0 {
		level := "NORMAL"
		if d == fact {
			level = "FULL"
		}
		if _, err := t.exec("PRAGMA synchronous = " + level); err != nil {
			return err
		}
		s.sync = d
	}
	if _, err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	committed := false
	defer func() {
		if !committed { // also when fn panicked
			_, rollback := t.exec("ROLLBACK")
			err = errors.Join(err, alreadyRolledBack(rollback))
		}
	}()
	if t.h.clock.jumped(t.now) {
		t.h.log.Warn("clock jumped", "now", t.now)
		if err := spareLeases(t); err != nil {
			return err
		}
	}
	if err := fn(t); err != nil {
		return err
	}
	if _, err = t.exec("COMMIT"); err != nil {
		return err
	}
	committed = true
	t.h.clock.seen(t.now)
	return nil
}

// alreadyRolledBack drops the error of a rollback that SQLite has done by itself, as
// it does when the disk is full.
func alreadyRolledBack(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code() == sqlite3.SQLITE_ERROR {
		return nil
	}
	return err
}

func (t *tx) at() time.Time { return t.now }

// tell wakes those who wait for of, once the transaction is committed.
func (t *tx) tell(of topic) { t.told[of] = true }

// exec runs a statement whose text is constant, and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (changed int64, err error) {
	return t.h.store.writer.exec(t.ctx, query, args...)
}

func (t *tx) query(query string, args ...any) (*sql.Rows, error) {
	return t.h.store.writer.conn.QueryContext(t.ctx, query, args...)
}

func (t *tx) row(query string, args ...any) *sql.Row {
	return t.h.store.writer.row(t.ctx, query, args...)
}

// snapshot is a read transaction: all its questions see the same state.
type snapshot struct {
	ctx  context.Context
	link *link
	now  time.Time
}

// read runs fn on one state of the database, beside the writer. fn must ask through its
// reader only: one who reads within a read would wait for a reader that waits for it.
func (h *Hall) read(ctx context.Context, fn func(r reader) error) error {
	if h.store.free == nil {
		return h.write(ctx, news, func(t *tx) error { return fn(t) })
	}
	l, err := h.store.borrow(ctx)
	if err != nil {
		return kindOf(err)
	}
	defer h.store.putBack(l)
	if _, err := l.exec(ctx, "BEGIN"); err != nil {
		return kindOf(err)
	}
	return kindOf(fn(&snapshot{ctx: ctx, link: l, now: h.clock.now()}))
}

// borrow waits for a reader that is free.
func (s *store) borrow(ctx context.Context) (*link, error) {
	select {
	case l := <-s.free:
		if l != nil {
			return l, nil
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to read: %w", context.Cause(ctx))
	}
	l, err := dial(ctx, s.readers)
	if err != nil {
		s.free <- nil
	}
	return l, err
}

// putBack ends what a reader has read. One that cannot end it is not used again.
func (s *store) putBack(l *link) {
	if _, err := l.exec(context.Background(), "ROLLBACK"); err != nil {
		_ = l.close() // nothing was written
		l = nil
	}
	s.free <- l
}

func (r *snapshot) at() time.Time { return r.now }

func (r *snapshot) query(query string, args ...any) (*sql.Rows, error) {
	return r.link.conn.QueryContext(r.ctx, query, args...)
}

func (r *snapshot) row(query string, args ...any) *sql.Row { return r.link.row(r.ctx, query, args...) }

// each gives every row of a query to fn.
func each(r reader, fn func(row scanner) error, query string, args ...any) error {
	rows, err := r.query(query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is rows.Err's
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// collect reads every row of a query.
func collect[T any](r reader, scan func(row scanner) (T, error), query string, args ...any) ([]T, error) {
	all := []T{} // lists are never null
	err := each(r, func(row scanner) error {
		one, err := scan(row)
		all = append(all, one)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// scanner is a row.
type scanner interface{ Scan(dest ...any) error }

func scanString(row scanner) (s string, err error) {
	err = row.Scan(&s)
	return s, err
}

// kindOf wraps the kinds of the town around what the driver says.
func kindOf(err error) error {
	if errors.Is(err, sql.ErrConnDone) || err != nil && err.Error() == "sql: database is closed" {
		return fmt.Errorf("the town hall is closed: %w", town.ErrUnavailable)
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff { // the rest is the extended code
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", err, town.ErrNoSpace)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w: %w", err, town.ErrUnavailable)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return err
}
