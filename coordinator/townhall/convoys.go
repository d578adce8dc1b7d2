package townhall

import (
	"context"

	"townd/town"
)

// ConvoyMade is a convoy with the beads that were made for it, in the order of its tasks.
type ConvoyMade struct {
	Convoy town.Convoy `json:"convoy"`
	Beads  []town.Bead `json:"beads"`
}

// CreateConvoy makes a convoy and its beads.
func (h *Hall) CreateConvoy(ctx context.Context, c Caller, req town.ConvoyRequest) (ConvoyMade, error) {
	return ConvoyMade{}, errNotYet
}

// Convoys returns every convoy of a rig (of all rigs when rigID is ""), newest first.
func (h *Hall) Convoys(ctx context.Context, rigID string) ([]town.Convoy, error) {
	return nil, errNotYet
}

// Convoy returns one convoy.
func (h *Hall) Convoy(ctx context.Context, id string) (town.Convoy, error) {
	return town.Convoy{}, errNotYet
}

// StartConvoy lets the beads of a staged convoy be taken.
func (h *Hall) StartConvoy(ctx context.Context, c Caller, id string) (town.Convoy, error) {
	return town.Convoy{}, errNotYet
}

// CloseConvoy closes a convoy and those of its beads that are not closed or failed.
func (h *Hall) CloseConvoy(ctx context.Context, c Caller, id, reason string) (town.Convoy, error) {
	return town.Convoy{}, errNotYet
}

// AddToConvoy puts a bead into a convoy.
func (h *Hall) AddToConvoy(ctx context.Context, c Caller, id, beadID string) (town.Convoy, error) {
	return town.Convoy{}, errNotYet
}
