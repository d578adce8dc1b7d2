// What the container is to do: carried by heartbeats until it is told to be done.
import { cut, newID, type Order, type OrderKind, parse, text } from "./contract";
import type { Tx } from "./store";

export type Delivery = "now" | "turn-end" | "idle";

/** How many orders one reply carries, oldest first. */
const maxOrders = 100;

/** Makes an order to the container, and returns its id. */
function order(t: Tx, kind: OrderKind, agentId: string, data?: object): string {
  const id = newID(t.now);
  t.tell("work");
  t.exec(
    "INSERT INTO orders (id, kind, agent_id, data, error, created_at) VALUES (?, ?, ?, ?, '', ?)",
    id,
    kind,
    agentId,
    data ? JSON.stringify(data) : null,
    t.now,
  );
  return id;
}

/** Makes an order that needs nothing but its agent, and returns its id; that of one that waits already, if there is one. */
export function orderOnce(t: Tx, kind: "stop" | "forget", agentId: string): string {
  const waiting = t.first<{ id: string }>("SELECT id FROM orders WHERE agent_id = ? AND kind = ? AND done_at IS NULL", agentId, kind);
  return waiting?.id ?? order(t, kind, agentId);
}

/** Orders a message into an agent's session. */
export function message(t: Tx, agentId: string, prompt: string, deliver: Delivery): string {
  return order(t, "message", agentId, { prompt, deliver });
}

/** The orders that are not done, oldest first. */
export function openOrders(t: Tx): Order[] {
  return t
    .all<{ id: string; kind: OrderKind; agentId: string; data: string | null }>(
      "SELECT id, kind, agent_id AS agentId, data FROM orders WHERE done_at IS NULL ORDER BY n LIMIT ?",
      maxOrders,
    )
    .map((o) => ({ id: o.id, kind: o.kind, agentId: text(o.agentId), data: o.data === null ? undefined : parse<unknown>(o.data) }));
}

/** Marks orders as carried out or refused. It may be told more than once. */
export function ordersDone(t: Tx, results: { id: string; error?: string }[]): void {
  for (const r of results) {
    t.exec("UPDATE orders SET done_at = ?, error = ? WHERE id = ? AND done_at IS NULL", t.now, cut(r.error ?? "", 4096), r.id);
  }
  if (results.length > 0) {
    t.tell("work");
  }
}
