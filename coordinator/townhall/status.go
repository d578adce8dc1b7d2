package townhall

import (
	"context"

	"townd/town"
)

// Status returns the town on one screen.
func (h *Hall) Status(ctx context.Context) (town.TownStatus, error) {
	return town.TownStatus{}, errNotYet
}

// Pause stops handing out beads for that reason, or goes on when it is "".
func (h *Hall) Pause(ctx context.Context, c Caller, reason string) (town.TownStatus, error) {
	return town.TownStatus{}, errNotYet
}
