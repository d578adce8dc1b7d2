package townhall

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

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
	if agentID == "" {
		return Person, nil
	}
	c := Caller{AgentID: agentID}
	err := h.read(ctx, func(r reader) error {
		return r.row(`SELECT role, generation FROM agents WHERE id = ?`, agentID).Scan(&c.Role, &c.Generation)
	})
	if errors.Is(err, sql.ErrNoRows) {
		// These two may call before the first heartbeat that shows them.
		switch {
		case agentID == string(town.RoleMayor):
			c.Role = town.RoleMayor
		case strings.HasPrefix(agentID, string(town.RoleRefinery)+"-"):
			c.Role = town.RoleRefinery
		default:
			return Caller{}, fmt.Errorf("agent %s is not of this town: %w", agentID, town.ErrForbidden)
		}
		return c, nil
	}
	return c, err
}

// by is who the caller is, for what is written down.
func (c Caller) by() string {
	switch {
	case c.AgentID != "":
		return c.AgentID
	case c.town:
		return byTown
	}
	return "person"
}

// agent reports whether an agent calls.
func (c Caller) agent() bool { return c.AgentID != "" }

// leads reports whether the caller may do what is not its own: a person, the town, the mayor.
func (c Caller) leads() bool { return !c.agent() || c.Role == town.RoleMayor }

// as refuses an agent that asks in the name of another.
func (c Caller) as(agentID string) error {
	if c.agent() && c.AgentID != agentID {
		return fmt.Errorf("%s may not act as %s: %w", c.AgentID, agentID, town.ErrForbidden)
	}
	return nil
}

// lead refuses an agent that is not the mayor.
func (c Caller) lead(what string) error {
	if !c.leads() {
		return fmt.Errorf("%s, a %s, may not %s: %w", c.AgentID, c.Role, what, town.ErrForbidden)
	}
	return nil
}
