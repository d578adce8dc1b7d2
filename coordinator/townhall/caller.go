package townhall

import (
	"context"

	"townd/town"
)

// Caller is who asks for an operation. The zero value is a person, or the town
// itself: it may do everything.
type Caller struct {
	AgentID    string
	Role       town.Role
	Generation int64 // of the agent, as the town knows it

	town bool // the town itself, for what is written down
}

// Person is a person at the town's controls.
var Person = Caller{}

// theTown is the coordinator itself.
var theTown = Caller{town: true}

// CallerOf returns the agent of that id as a caller, and town.ErrForbidden for
// one that the town does not know. An empty id is a person.
func (h *Hall) CallerOf(ctx context.Context, agentID string) (Caller, error) {
	return Caller{}, errNotYet
}
