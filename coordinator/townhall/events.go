package townhall

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"townd/town"
)

// MaxEvents is how many events are appended, or asked for, at once.
const MaxEvents = 1000

// AppendEvents keeps events of agents, each once by its run and id, and returns how
// many were new. At most MaxEvents at once; of a container that was replaced too:
// what happened, happened.
func (h *Hall) AppendEvents(ctx context.Context, instanceID string, events []town.AgentEvent) (accepted int, err error) {
	if err := checkEvents(instanceID, events); err != nil {
		return 0, err
	}
	err = h.write(ctx, news, func(t *tx) error {
		accepted = 0
		for i := range events {
			e := &events[i]
			data := string(e.Data)
			if data == "" {
				data = "null"
			}
			n, err := t.exec(`INSERT INTO events (agent_id, rig_id, bead_id, run_id, event_id, event, data, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (run_id, event_id) DO NOTHING`, e.AgentID, e.RigID, e.BeadID, e.RunID, e.ID, string(e.Event.Event), data, ms(e.Timestamp))
			if err != nil {
				return err
			}
			accepted += int(n)
		}
		if accepted > 0 {
			t.wrote(accepted)
			t.tell(topicEvents)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("keep events: %w", err)
	}
	return accepted, nil
}

func checkEvents(instanceID string, events []town.AgentEvent) error {
	var c check
	if instanceID != "" {
		c.id("instanceId", instanceID)
	}
	if len(events) > MaxEvents {
		c.add("events", "are %d, the most is %d", len(events), MaxEvents)
		return c.err()
	}
	for i := range events {
		e := &events[i]
		if town.CheckID(e.AgentID) == nil && town.CheckID(e.RunID) == nil && e.ID > 0 && e.Event.Event != "" && len(e.Data) <= maxEventData {
			continue // names of fields are made only for what is wrong
		}
		path := fmt.Sprintf("events[%d].", i)
		c.id(path+"agentId", e.AgentID)
		c.id(path+"runId", e.RunID)
		c.required(path+"event", string(e.Event.Event))
		if e.ID < 1 {
			c.add(path+"id", "must be 1 or more")
		}
		c.json(path+"data", e.Data, maxEventData)
	}
	return c.err()
}

// EventQuery selects events; empty fields do not restrict.
type EventQuery struct {
	After   int64 // sequence number of the last one that is known
	AgentID string
	BeadID  string
	RigID   string
	Limit   int // 1 to MaxEvents; 100 when 0
}

func scanEvent(row scanner) (e town.AgentEvent, err error) {
	var data string
	var at int64
	err = row.Scan(&e.Seq, &e.AgentID, &e.RigID, &e.BeadID, &e.RunID, &e.ID, &e.Event.Event, &data, &at)
	e.Data, e.Timestamp = json.RawMessage(data), timeOf(at)
	return e, err
}

// Events returns events in order, as soon as there is one but after wait at the
// latest; next is what After takes to go on.
func (h *Hall) Events(ctx context.Context, q EventQuery, wait time.Duration) (events []town.AgentEvent, next int64, err error) {
	limit, err := bounded(q.Limit, 100, MaxEvents)
	if err != nil {
		return nil, 0, err
	}
	var w where
	w.and("seq > ?", q.After)
	w.equal("agent_id", q.AgentID)
	w.equal("bead_id", q.BeadID)
	w.equal("rig_id", q.RigID)
	query := `SELECT seq, agent_id, rig_id, bead_id, run_id, event_id, event, data, at FROM events` + w.String() + ` ORDER BY seq LIMIT ?`
	over, stop := waitUntil(wait)
	defer stop()
	for {
		appended := h.told.next(topicEvents)
		err := h.read(ctx, func(r reader) error {
			events, err = collect(r, scanEvent, query, append(w.args, limit)...)
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		if len(events) > 0 {
			return events, events[len(events)-1].Seq, nil
		}
		if wait <= 0 {
			return events, q.After, nil
		}
		select {
		case <-appended:
		case <-over:
			return events, q.After, nil
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
	}
}
