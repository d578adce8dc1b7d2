package townhall

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"

	"townd/town"
)

// migrations lead from each version of the database to the next; PRAGMA
// user_version counts them. One that was released is never changed.
var migrations = []string{migration1, migration2}

//go:embed migration1.sql
var migration1 string

//go:embed migration2.sql
var migration2 string

// applicationID marks our databases: "town".
const applicationID = 0x746f776e

// asker is what a *sql.DB and a *sql.Conn have in common here.
type asker interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// checkVersion refuses a database that is newer than this program, or another program's.
func checkVersion(ctx context.Context, db asker) error {
	var version, application, tables int
	if err := db.QueryRowContext(ctx, `SELECT (SELECT user_version FROM pragma_user_version),
		(SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)`).Scan(&version, &application, &tables); err != nil {
		return err
	}
	if tables > 0 && application != applicationID {
		return fmt.Errorf("it is the database of another program: %w", town.ErrConflict)
	}
	if version > len(migrations) {
		return fmt.Errorf("it is of version %d, this program knows version %d: use a newer townd: %w", version, len(migrations), town.ErrConflict)
	}
	return nil
}

// migrate brings the database to the newest version, each step in one transaction.
func migrate(ctx context.Context, conn *sql.Conn) error {
	if err := checkVersion(ctx, conn); err != nil {
		return err
	}
	var version int
	if err := conn.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	for ; version < len(migrations); version++ {
		step := fmt.Sprintf("BEGIN IMMEDIATE;\n%s\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;\nCOMMIT;",
			migrations[version], applicationID, version+1)
		if _, err := conn.ExecContext(ctx, step); err != nil {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // the first error counts
			return fmt.Errorf("migrate to version %d: %w", version+1, err)
		}
	}
	return nil
}
