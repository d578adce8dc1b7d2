package townhall

import (
	"context"
	"errors"
	"fmt"

	"townd/api"
	"townd/town"
)

// The calls of earlier containers: one heartbeat for each agent, and ends that name
// no generation.

func (f *face) agentHeartbeat(c *request, req api.OldHeartbeat) (any, error) {
	return api.HeartbeatSeen{Heartbeat: true}, f.hall.agentSeen(c.Context(), c.ids["agentId"], req)
}

// agentSeen keeps what one agent does, and renews its lease. An agent that the town
// does not know is no error.
func (h *Hall) agentSeen(ctx context.Context, agentID string, hb api.OldHeartbeat) error {
	err := h.write(ctx, news, func(t *tx) error {
		a, err := loadAgent(t, agentID)
		if errors.Is(err, town.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		if hb.LastEventType != nil {
			a.LastEventType = town.EventType(*hb.LastEventType)
		}
		if a.Status == town.StatusStarting {
			a.Status = town.StatusRunning
		}
		activity := hb.LastEventAt
		if activity == nil {
			activity = a.lastActivityAt
		}
		if _, err := t.exec(`UPDATE agents SET status = ?, last_seen_at = ?, last_activity_at = ?, last_event_type = ?, last_event_at = ?,
			active_tools = ?, message_count = ? WHERE id = ?`,
			string(a.Status), ms(t.now), msOrNull(activity), string(a.LastEventType), msOrNull(hb.LastEventAt),
			jsonText(list(hb.ActiveTools)), hb.MessageCount, agentID); err != nil {
			return err
		}
		t.tell(topicWork)
		b, err := agentsBead(t, agentID)
		if errors.Is(err, town.ErrNotFound) || err == nil && (b.Lease == nil || b.Epoch != a.Generation) {
			return nil
		} else if err != nil {
			return err
		}
		_, err = applyTo(t, &b, Call{Event: EventRenew, Epoch: b.Epoch, LeaseEnd: t.leaseEnd()})
		return err
	})
	if err != nil {
		return fmt.Errorf("heartbeat of agent %s: %w", agentID, err)
	}
	return nil
}

func (f *face) oldCompleted(c *request, req town.Completion) (any, error) {
	req.RigID = c.ids["rigId"]
	if req.Generation == 0 {
		agent, err := f.hall.CallerOf(c.Context(), c.ids["agentId"])
		if err != nil && !errors.Is(err, town.ErrForbidden) { // one that the town does not know changes nothing
			return nil, err
		}
		req.Generation = agent.Generation
	}
	return f.completed(c, req)
}
