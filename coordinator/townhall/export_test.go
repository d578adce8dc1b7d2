package townhall

import (
	"context"

	"townd/town"
)

// Pause stops handing out beads for that reason, or goes on when it is "".
func (h *Hall) Pause(ctx context.Context, c Caller, reason string) (town.TownStatus, error) {
	return h.Set(ctx, c, Settings{Paused: &reason})
}

// SetTransitions has every hall go by another table of transitions, and returns
// what takes that back. No hall may be open meanwhile.
func SetTransitions(doc []byte) (restore func(), err error) {
	cells, err := readTable(doc)
	if err != nil {
		return nil, err
	}
	was := table
	table = cells
	return func() { table = was }, nil
}
