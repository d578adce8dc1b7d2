package townhall

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"townd/town"
)

// maxAgents is how many agents a heartbeat may show.
const maxAgents = 2000

// maxOrders is how many orders one reply carries, oldest first.
const maxOrders = 100

func checkHeartbeat(hb town.Heartbeat) error {
	var c check
	c.id("instanceId", hb.InstanceID)
	c.line("status", hb.Status, 100)
	c.line("version", hb.Version, 200)
	c.quota(hb.Quota)
	if len(hb.Agents) > maxAgents {
		c.add("agents", "are %d, the most is %d", len(hb.Agents), maxAgents)
		return c.err()
	}
	for i := range hb.Agents {
		a := &hb.Agents[i]
		if town.CheckID(a.AgentID) == nil && a.Role != "" && a.Status != "" && a.Generation >= 0 {
			continue
		}
		path := fmt.Sprintf("agents[%d].", i)
		c.id(path+"agentId", a.AgentID)
		c.required(path+"role", string(a.Role))
		c.required(path+"status", string(a.Status))
		if a.Generation < 0 {
			c.add(path+"generation", "must not be negative")
		}
	}
	return c.err()
}

// Heartbeat takes a container's tick: what its agents do, and which orders it has
// carried out. It renews the leases of agents that are live with the generation of
// their lease. An instance that was replaced gets town.ErrGone.
func (h *Hall) Heartbeat(ctx context.Context, hb town.Heartbeat) (reply town.HeartbeatReply, err error) {
	if err := checkHeartbeat(hb); err != nil {
		return reply, err
	}
	d, err := h.durabilityOf(ctx, hb.InstanceID)
	if err != nil {
		return reply, err
	}
	err = h.write(ctx, d, func(t *tx) error {
		reply = town.HeartbeatReply{Heartbeat: true}
		if reply.Epoch, err = seeInstance(t, hb); err != nil {
			return err
		}
		if err := seeQuota(t, hb.Quota); err != nil {
			return err
		}
		if err := orderDone(t, hb.OrdersDone); err != nil {
			return err
		}
		if err := seeAgents(t, hb.Agents); err != nil {
			return err
		}
		if err := seeLeases(t, hb.Agents, reply.Epoch); err != nil {
			return err
		}
		reply.Orders, err = openOrders(t)
		t.tell(topicWork)
		return err
	})
	if err != nil {
		return town.HeartbeatReply{}, fmt.Errorf("heartbeat of %s: %w", hb.InstanceID, err)
	}
	return reply, nil
}

// durabilityOf a heartbeat: the epoch of a new container is a fact, what its agents
// do the next one tells again.
func (h *Hall) durabilityOf(ctx context.Context, instanceID string) (durability, error) {
	known := false
	err := h.read(ctx, func(r reader) error {
		return r.row(`SELECT EXISTS (SELECT 1 FROM instance WHERE instance_id = ?)`, instanceID).Scan(&known)
	})
	return durability(!known), err
}

// seeInstance returns the epoch of a container, which is the newest one.
func seeInstance(t *tx, hb town.Heartbeat) (int64, error) {
	n, err := t.exec(`UPDATE instance SET status = ?, version = ?, resources = ?, outbox = ?, seen_at = ?
		WHERE instance_id = ? AND epoch = (SELECT max(epoch) FROM instance)`,
		hb.Status, hb.Version, jsonText(hb.Resources), jsonText(hb.Outbox), ms(t.now), hb.InstanceID)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		var known bool
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM instance WHERE instance_id = ?)`, hb.InstanceID).Scan(&known); err != nil {
			return 0, err
		}
		if known {
			return 0, fmt.Errorf("it was replaced by another container: %w", town.ErrGone)
		}
		if _, err := t.exec(`INSERT INTO instance (instance_id, status, version, resources, outbox, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			hb.InstanceID, hb.Status, hb.Version, jsonText(hb.Resources), jsonText(hb.Outbox), ms(hb.StartedAt), ms(t.now)); err != nil {
			return 0, err
		}
	}
	return instanceEpoch(t)
}

// instanceEpoch is that of the town's container, 0 before its first heartbeat.
func instanceEpoch(t *tx) (epoch int64, err error) {
	err = t.row(`SELECT coalesce(max(epoch), 0) FROM instance`).Scan(&epoch)
	return epoch, err
}

// isDraining reports whether the town's container said that it ends.
func isDraining(r reader) (draining bool, err error) {
	err = r.row(`SELECT EXISTS (SELECT 1 FROM instance WHERE epoch = (SELECT max(epoch) FROM instance) AND status = 'draining')`).Scan(&draining)
	return draining, err
}

// seeAgents keeps what agents do, and what they consumed on them and on their runs (D12).
func seeAgents(t *tx, agents []town.AgentHeartbeat) error {
	open, err := collect(t, scanRun, `SELECT `+runColumns+` FROM runs WHERE ended_at IS NULL`)
	if err != nil {
		return err
	}
	runs := make(map[string]town.Usage, len(open))
	for _, r := range open {
		runs[r.RunID] = r.Usage
	}
	for i := range agents {
		a := &agents[i]
		used, err := seeRun(t, a, runs)
		if err != nil {
			return err
		}
		if err := saveAgent(t, a, used); err != nil {
			return err
		}
	}
	return nil
}

// seeRun keeps what a run consumed, and returns what is new of it. runs are those
// that have not ended.
func seeRun(t *tx, a *town.AgentHeartbeat, runs map[string]town.Usage) (used town.Usage, err error) {
	if a.RunID == "" {
		return used, nil
	}
	before, ok := runs[a.RunID]
	if !ok {
		if _, ended, err := loadRun(t, a.RunID); err != nil || ended {
			return used, err
		}
		started := t.now
		return a.Usage, beginRun(t, town.Run{
			RunID: a.RunID, AgentID: a.AgentID, RigID: a.RigID, BeadID: a.BeadID, Generation: a.Generation, StartedAt: started, Usage: a.Usage,
		})
	}
	if a.Usage == before {
		return used, nil
	}
	return usedSince(before, a.Usage), saveRunUsage(t, a.RunID, a.Usage)
}

// seeLeases renews the leases of agents that live with their generation, and ends
// those of earlier containers that this one does not show. A lease that is younger
// than a heartbeat may be of an agent that is being started.
func seeLeases(t *tx, agents []town.AgentHeartbeat, epoch int64) error {
	leases, err := collect(t, scanLease, `SELECT id, agent_id, epoch, lease_expires_at, lease_since, lease_instance FROM beads INDEXED BY beads_leases WHERE lease_expires_at IS NOT NULL`)
	if err != nil {
		return err
	}
	shown := make(map[string]*town.AgentHeartbeat, len(agents))
	for i := range agents {
		shown[agents[i].AgentID] = &agents[i]
	}
	for _, l := range leases {
		a := shown[l.AgentID]
		switch {
		case a != nil && a.Status.Live() && a.Generation == l.Epoch:
			err = l.renew(t, epoch)
		case a == nil && l.instance < epoch && t.now.Sub(l.since) >= t.h.cfg.HeartbeatEvery:
			_, _, err = apply(t, l.ID, Call{Event: EventRelease, Epoch: l.Epoch, Reason: "its container was replaced"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lease is a bead in progress as far as its lease goes.
type lease struct {
	town.Bead
	since    time.Time
	instance int64
}

func scanLease(row scanner) (l lease, err error) {
	var end int64
	var since sql.NullInt64
	err = row.Scan(&l.ID, &l.AgentID, &l.Epoch, &end, &since, &l.instance)
	l.Status, l.since = town.BeadInProgress, timeOf(since.Int64)
	l.Lease = &town.Lease{Epoch: l.Epoch, ExpiresAt: timeOf(end)}
	return l, err
}

// renew is apply for what comes from every agent at every tick: it reads and writes
// the lease only.
func (l lease) renew(t *tx, instance int64) error {
	after, _, _, err := Apply(l.Bead, Call{Event: EventRenew, Epoch: l.Epoch, LeaseEnd: t.leaseEnd()}, t.now)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE beads SET lease_expires_at = ?, lease_instance = ? WHERE id = ?`, ms(after.Lease.ExpiresAt), instance, l.ID)
	return err
}

// order makes an order to the container, which heartbeats carry until it is done.
// An order without an id gets one.
func order(t *tx, o town.Order) (town.Order, error) {
	if o.ID == "" {
		o.ID = town.NewID(t.now)
	}
	t.tell(topicWork)
	_, err := t.exec(`INSERT INTO orders (id, kind, agent_id, data, error, created_at) VALUES (?, ?, ?, ?, '', ?)`,
		o.ID, string(o.Kind), o.AgentID, rawOrNull(o.Data), ms(t.now))
	return o, err
}

// Orders returns the orders that are not done, oldest first.
func (h *Hall) Orders(ctx context.Context) (orders []town.Order, err error) {
	err = h.read(ctx, func(r reader) error {
		orders, err = openOrders(r)
		return err
	})
	return orders, err
}

func openOrders(r reader) ([]town.Order, error) {
	return collect(r, func(row scanner) (o town.Order, err error) {
		var data sql.NullString
		err = row.Scan(&o.ID, &o.Kind, &o.AgentID, &data)
		o.Data = rawOf(data)
		return o, err
	}, `SELECT id, kind, agent_id, data FROM orders WHERE done_at IS NULL ORDER BY n LIMIT ?`, maxOrders)
}

// orderDone marks orders as carried out or refused. It may be told more than once.
func orderDone(t *tx, results []town.OrderResult) error {
	for _, r := range results {
		if _, err := t.exec(`UPDATE orders SET done_at = ?, error = ? WHERE id = ? AND done_at IS NULL`, ms(t.now), cut(r.Error, maxReason), r.ID); err != nil {
			return err
		}
	}
	if len(results) > 0 {
		t.tell(topicWork)
	}
	return nil
}

// instanceStatus is the town's container, nil before its first heartbeat.
func instanceStatus(r reader) (*town.InstanceStatus, error) {
	var (
		s                 town.InstanceStatus
		resources, outbox string
		seen              int64
	)
	err := r.row(`SELECT epoch, instance_id, status, resources, outbox, seen_at FROM instance ORDER BY epoch DESC LIMIT 1`).
		Scan(&s.Epoch, &s.InstanceID, &s.Status, &resources, &outbox, &seen)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	s.SeenAt = timeOf(seen)
	return &s, errors.Join(json.Unmarshal([]byte(resources), &s.Resources), json.Unmarshal([]byte(outbox), &s.Outbox))
}
