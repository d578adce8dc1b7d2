package townhall

import (
	"context"

	"townd/town"
)

// Heartbeat takes a container's tick: what its agents do, and which orders it has
// carried out. It renews the leases of agents that are live with the generation of
// their lease. An instance that was replaced gets town.ErrGone.
func (h *Hall) Heartbeat(ctx context.Context, hb town.Heartbeat) (town.HeartbeatReply, error) {
	return town.HeartbeatReply{}, errNotYet
}

// order makes an order to the container, which heartbeats carry until it is done.
// An order without an id gets one.
func order(tx *tx, o town.Order) (town.Order, error) { return town.Order{}, errNotYet }

// Orders returns the orders that are not done, oldest first.
func (h *Hall) Orders(ctx context.Context) ([]town.Order, error) { return nil, errNotYet }

// orderDone marks orders as carried out or refused. It may be told more than once.
func orderDone(tx *tx, results []town.OrderResult) error { return errNotYet }
