// A container's tick: what its agents do, and which orders it has carried out.
import { isLive, noUsage, saveAgent, usedSince } from "./agentrows";
import { applyByID } from "./apply";
import type { AgentHeartbeat, Heartbeat, Order, Usage } from "./contract";
import { gone } from "./errors";
import { instanceEpoch } from "./instance";
import { openOrders, ordersDone } from "./orders";
import { seeQuota } from "./quota";
import { beginRun, findRun, openRuns, saveRunUsage } from "./runs";
import type { Tx } from "./store";

/** Takes a tick, and renews the leases of agents that are live with the generation of their lease. An instance that was replaced is refused (410). */
export function heartbeat(t: Tx, hb: Heartbeat): { heartbeat: true; epoch: number; orders: Order[] } {
  const epoch = seeInstance(t, hb);
  seeQuota(t, hb);
  ordersDone(t, hb.ordersDone ?? []);
  const runs = openRuns(t);
  for (const a of hb.agents) {
    saveAgent(t, a, seeRun(t, a, runs));
  }
  seeLeases(t, hb.agents, epoch);
  t.tell("work");
  return { heartbeat: true, epoch, orders: openOrders(t) };
}

const noResources = { cpuPercent: 0, memoryUsed: 0, memoryTotal: 0, diskFreeBytes: 0 };

/** The epoch of a container, which is the newest one. */
function seeInstance(t: Tx, hb: Heartbeat): number {
  const status = hb.status ?? "";
  const version = hb.version ?? "";
  const resources = JSON.stringify(hb.resources ?? noResources);
  const outbox = JSON.stringify(hb.outbox ?? { pending: 0, dead: 0 });
  const seen = t.changed(
    /* sql */ `UPDATE instance SET status = ?, version = ?, resources = ?, outbox = ?, seen_at = ?
      WHERE instance_id = ? AND epoch = (SELECT max(epoch) FROM instance)`,
    status,
    version,
    resources,
    outbox,
    t.now,
    hb.instanceId,
  );
  if (seen === 0) {
    if (t.count("SELECT count(*) AS n FROM instance WHERE instance_id = ?", hb.instanceId) > 0) {
      throw gone(`heartbeat of ${hb.instanceId}: it was replaced by another container`);
    }
    t.exec(
      "INSERT INTO instance (instance_id, status, version, resources, outbox, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
      hb.instanceId,
      status,
      version,
      resources,
      outbox,
      hb.startedAt ? Date.parse(hb.startedAt) : t.now,
      t.now,
    );
  }
  return instanceEpoch(t);
}

/** Keeps what a run consumed, and returns what is new of it. runs are those that have not ended. */
function seeRun(t: Tx, a: AgentHeartbeat, runs: Map<string, Usage>): Usage {
  if (!a.runId) {
    return noUsage;
  }
  const now = a.usage ?? noUsage;
  const before = runs.get(a.runId);
  if (before) {
    const used = usedSince(before, now);
    if (Object.values(used).some((n) => n > 0)) {
      saveRunUsage(t, a.runId, now);
    }
    return used;
  }
  if (findRun(t, a.runId)) {
    return noUsage; // it has ended
  }
  const { runId, agentId, rigId, beadId = "", generation } = a;
  beginRun(t, { runId, agentId, rigId, beadId, generation, branch: "", startedAt: t.now, usage: now });
  return now;
}

/**
 * Renews the leases of agents that live with their generation, and ends those of earlier
 * containers that this one does not show. A lease that is younger than a heartbeat may be
 * of an agent that is being started.
 */
function seeLeases(t: Tx, agents: AgentHeartbeat[], epoch: number): void {
  const leases = t.all<{ id: string; agentId: string; epoch: number; since: number; instance: number }>(
    /* sql */ `SELECT id, agent_id AS agentId, epoch, coalesce(lease_since, 0) AS since, coalesce(lease_instance, 0) AS instance FROM beads WHERE lease_expires_at IS NOT NULL`,
  );
  const shown = new Map(agents.map((a) => [a.agentId, a]));
  for (const l of leases) {
    const a = shown.get(l.agentId);
    if (a && isLive(a.status) && a.generation === l.epoch) {
      // What every agent brings at every tick writes the lease only.
      t.exec("UPDATE beads SET lease_expires_at = ?, lease_instance = ? WHERE id = ?", t.leaseEnd, epoch, l.id);
    } else if (!a && l.instance < epoch && t.now - l.since >= t.town.heartbeatEvery) {
      applyByID(t, l.id, { event: "release", epoch: l.epoch, reason: "its container was replaced" });
    }
  }
}
