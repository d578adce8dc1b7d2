package townhall

import (
	"context"
	"time"

	"townd/town"
)

// AppendEvents keeps events of agents, each once by its run and id, and returns how
// many were new. At most 1000 at once.
func (h *Hall) AppendEvents(ctx context.Context, instanceID string, events []town.AgentEvent) (accepted int, err error) {
	return 0, errNotYet
}

// EventQuery selects events; empty fields do not restrict.
type EventQuery struct {
	After   int64 // sequence number of the last one that is known
	AgentID string
	BeadID  string
	RigID   string
	Limit   int // 1 to 1000; 100 when 0
}

// Events returns events in order, as soon as there is one but after wait at the
// latest; next is what After takes to go on.
func (h *Hall) Events(ctx context.Context, q EventQuery, wait time.Duration) (events []town.AgentEvent, next int64, err error) {
	return nil, 0, errNotYet
}
