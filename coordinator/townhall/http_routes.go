package townhall

import (
	"fmt"
	"net/http"

	"townd/town"
)

// who says which agents may call a route. A person, or the town itself, which
// name no agent, may call every one.
type who int

const (
	everyone  who = iota // any agent; the operation looks at what it is about
	itself               // the agent of the path
	refinery             // the agent of the path, when it is a refinery
	mayor                // the mayor
	container            // no agent: it is what the container tells
)

// check refuses an agent that a route is not for.
func (w who) check(c *request) error {
	id, role := c.caller.AgentID, c.caller.Role
	if id == "" {
		return nil
	}
	switch w {
	case everyone:
		return nil
	case itself, refinery:
		if own := c.ids["agentId"]; own != id {
			return fmt.Errorf("agent %s may not act as %s: %w", id, own, town.ErrForbidden)
		}
		if w == refinery && role != town.RoleRefinery {
			return fmt.Errorf("agent %s is a %s, this is for a refinery: %w", id, role, town.ErrForbidden)
		}
		return nil
	case mayor:
		if role != town.RoleMayor {
			return fmt.Errorf("agent %s is a %s, this is for the mayor: %w", id, role, town.ErrForbidden)
		}
		return nil
	case container:
		return fmt.Errorf("agent %s: only the container tells this: %w", id, town.ErrForbidden)
	}
	return fmt.Errorf("access %d: %w", w, town.ErrForbidden)
}

// route is one call. Its path is below townPath.
type route struct {
	method, path string
	who          who
	handle       handler
}

// routes is every call of the coordinator, each also in api/openapi.yaml.
func (f *face) routes() []route {
	return []route{
		{http.MethodGet, "/status", mayor, f.status},
		{http.MethodPatch, "/settings", mayor, with(f.settings)},
		{http.MethodGet, "/rigs", mayor, f.rigs},
		{http.MethodPut, "/rigs/{rigId}", mayor, with(f.putRig)},
		{http.MethodGet, "/rigs/{rigId}", mayor, f.rig},
		{http.MethodDelete, "/rigs/{rigId}", mayor, f.deleteRig},

		{http.MethodPost, "/rigs/{rigId}/beads", everyone, with(f.createBead)},
		{http.MethodGet, "/beads", everyone, f.beads},
		{http.MethodGet, "/beads/{beadId}", everyone, f.bead},
		{http.MethodPatch, "/beads/{beadId}", mayor, with(f.patchBead)},
		{http.MethodPost, "/beads/{beadId}/retry", mayor, withAny(f.retryBead)},
		{http.MethodPost, "/beads/{beadId}/close", everyone, withAny(f.closeBead)},
		{http.MethodGet, "/beads/{beadId}/notes", everyone, f.notes},
		{http.MethodPost, "/beads/{beadId}/notes", everyone, with(f.addNote)},
		{http.MethodGet, "/convoys", mayor, f.convoys},
		{http.MethodPost, "/convoys", mayor, with(f.createConvoy)},
		{http.MethodGet, "/convoys/{convoyId}", mayor, f.convoy},
		{http.MethodPost, "/convoys/{convoyId}/start", mayor, f.startConvoy},
		{http.MethodPost, "/convoys/{convoyId}/close", mayor, withAny(f.closeConvoy)},
		{http.MethodPost, "/convoys/{convoyId}/beads", mayor, with(f.addToConvoy)},

		{http.MethodGet, "/agents", mayor, f.agents},
		{http.MethodGet, "/agents/{agentId}/prime", itself, f.prime},
		{http.MethodPost, "/agents/{agentId}/done", itself, with(f.done)},
		{http.MethodPost, "/agents/{agentId}/request-changes", refinery, with(f.requestChanges)},
		{http.MethodPost, "/agents/{agentId}/checkpoint", itself, with(f.checkpoint)},
		{http.MethodPost, "/agents/{agentId}/status", itself, with(f.sayStatus)},
		{http.MethodPost, "/agents/{agentId}/ask", itself, with(f.ask)},
		{http.MethodPost, "/agents/{agentId}/nudge", everyone, with(f.nudge)},
		{http.MethodPost, "/agents/{agentId}/stop", mayor, withAny(f.stop)},
		{http.MethodGet, "/agents/{agentId}/mail", itself, f.agentMail},
		{http.MethodPost, "/agents/{agentId}/mail/ack", itself, with(f.ackMail)},
		{http.MethodGet, "/mail", mayor, f.mail},
		{http.MethodPost, "/mail", everyone, with(f.sendMail)},
		{http.MethodGet, "/escalations", mayor, f.escalations},
		{http.MethodPost, "/escalations", everyone, with(f.escalate)},
		{http.MethodPost, "/escalations/{escalationId}/acknowledge", mayor, withAny(f.acknowledge)},
		{http.MethodPost, "/escalations/{escalationId}/close", mayor, withAny(f.closeEscalation)},
		{http.MethodGet, "/questions", mayor, f.questions},
		{http.MethodGet, "/questions/{questionId}", everyone, f.question},
		{http.MethodPost, "/questions/{questionId}/answer", mayor, with(f.answerQuestion)},
		{http.MethodPost, "/questions/{questionId}/cancel", everyone, f.cancelQuestion},
		{http.MethodGet, "/merges", mayor, f.merges},
		{http.MethodGet, "/events", mayor, f.events},
		{http.MethodGet, "/runs", mayor, f.runs},

		{http.MethodPost, "/heartbeat", container, with(f.heartbeat)},
		{http.MethodPost, "/events", container, with(f.appendEvents)},
		{http.MethodPost, "/agents/{agentId}/completed", container, with(f.completed)},
		{http.MethodPost, "/rigs/{rigId}/review-queue/{mergeId}/complete", container, with(f.mergeCompleted)},
		{http.MethodPost, "/rigs/{rigId}/agents/{agentId}/heartbeat", container, with(f.agentHeartbeat)},
		{http.MethodPost, "/rigs/{rigId}/agents/{agentId}/completed", container, with(f.oldCompleted)},
	}
}
