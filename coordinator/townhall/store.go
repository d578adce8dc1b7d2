package townhall

import (
	"context"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// tx is the one write transaction. now is the same for all of it.
type tx struct {
	h   *Hall
	now time.Time
}

// durability says what a transaction must survive.
type durability bool

const (
	fact durability = true  // survives a loss of power: something that was promised to someone
	news durability = false // survives the process; the next heartbeat tells it again
)

// write runs fn in the write transaction, alone, and commits unless fn returns an error.
func (h *Hall) write(ctx context.Context, d durability, fn func(tx *tx) error) error {
	return errNotYet
}
