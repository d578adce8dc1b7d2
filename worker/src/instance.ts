// The town's container as its heartbeats show it.
import { instant, parse, type Schemas } from "./contract";
import type { Tx } from "./store";

/** The epoch of the town's container, 0 before its first heartbeat. */
export function instanceEpoch(t: Tx): number {
  return t.count("SELECT coalesce(max(epoch), 0) AS n FROM instance");
}

/** Whether the town's container said that it ends. */
export function isDraining(t: Tx): boolean {
  return t.count("SELECT count(*) AS n FROM instance WHERE epoch = (SELECT max(epoch) FROM instance) AND status = 'draining'") > 0;
}

/** Its id, "" before its first heartbeat. */
export function instanceID(t: Tx): string {
  return t.first<{ id: string }>("SELECT instance_id AS id FROM instance ORDER BY epoch DESC LIMIT 1")?.id ?? "";
}

/** When it was last heard of, 0 for never. */
export function instanceSeen(t: Tx): number {
  return t.count("SELECT coalesce(max(seen_at), 0) AS n FROM instance");
}

export function instanceStatus(t: Tx): Schemas["InstanceStatus"] | null {
  const row = t.first<{ epoch: number; instanceId: string; status: string; resources: string; outbox: string; seenAt: number }>(
    "SELECT epoch, instance_id AS instanceId, status, resources, outbox, seen_at AS seenAt FROM instance ORDER BY epoch DESC LIMIT 1",
  );
  return row
    ? {
        ...row,
        seenAt: instant(row.seenAt),
        resources: parse<Schemas["HostResources"]>(row.resources),
        outbox: parse<Schemas["OutboxState"]>(row.outbox),
      }
    : null;
}
