package coordinator

import (
	"context"
	"fmt"
)

// Owes reports whether a fact of a lane waits that was given before, by an earlier
// process too. Events do not count.
func (l *Link) Owes(ctx context.Context, lane string) (owes bool, err error) {
	row := l.outbox.store.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM items WHERE lane = ? AND events = 0)", lane)
	if err := row.Scan(&owes); err != nil {
		return false, fmt.Errorf("read outbox: %w", kindOf(err))
	}
	return owes, nil
}

// Token returns the credential that the coordinator is shown now.
func (l *Link) Token() string { return *l.token.Load() }
