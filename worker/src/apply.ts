// Carries out transitions on the store, with their effects outside of the bead.
import { findAgent, isLive } from "./agentrows";
import { addNote, type BeadRow, loadBead, saveState, waitsForAgent, whyOf } from "./beadrows";
import { cut } from "./contract";
import { setConvoy } from "./convoys";
import { raise } from "./escalations";
import { instanceEpoch } from "./instance";
import { cancelMerge, enqueueMerge } from "./merges";
import { orderOnce } from "./orders";
import type { Tx } from "./store";
import { apply, type Call, type Effect, type Outcome } from "./transitions";

/** Characters of a title. */
export const maxTitle = 500;

/** Carries out a call on a bead of the store, with its effects and a note of kind "status". */
export function applyTo(t: Tx, b: BeadRow, call: Call): Outcome["kind"] {
  const full = { ...call, by: call.by || "town", jitter: Math.random() };
  const before = { status: b.status, leased: b.leaseEnd !== null };
  const { kind, effects } = apply(b, full, t.now);
  if (kind === "applied") {
    settle(t, b, before, full);
  }
  for (const effect of effects) {
    storeEffects[effect](t, b, full);
  }
  return kind;
}

export function applyByID(t: Tx, beadId: string, call: Call): { bead: BeadRow; kind: Outcome["kind"] } {
  const bead = loadBead(t, beadId);
  return { bead, kind: applyTo(t, bead, call) };
}

/** Keeps a bead that a call has changed, and what follows from its status. */
function settle(t: Tx, b: BeadRow, before: { status: string; leased: boolean }, call: Call & { by: string }): void {
  b.why = whyOf(b, call.reason ?? "");
  if (b.leaseEnd !== null && !before.leased) {
    b.leaseSince = t.now;
    b.leaseInstance = instanceEpoch(t);
    b.nudges = 0;
    b.nudgedAt = null;
  }
  saveState(t, b);
  keepName(t, b);
  if (b.type === "convoy" && b.status !== before.status) {
    followBead(t, b);
  }
  if (before.status === "failed" && b.status === "open") {
    tellDependants(t, b.id, "another bead");
  }
  if (call.event === "renew") {
    return;
  }
  const text = `${call.event}: ${before.status} → ${b.status}`;
  const ofNoLease = call.event === "retry" || call.event === "close" || call.event === "fail";
  addNote(t, {
    beadId: b.id,
    kind: "status",
    by: call.by,
    text: call.reason ? `${text}: ${call.reason}` : text,
    epoch: ofNoLease ? 0 : b.epoch,
    branch: call.branch ?? "",
  });
}

/** Frees the name of a bead that has ended, for others. */
function keepName(t: Tx, b: BeadRow): void {
  if (b.name === "") {
    return;
  }
  if (b.status === "closed" || b.status === "failed") {
    t.exec("DELETE FROM names WHERE bead_id = ?", b.id);
  } else {
    // A bead that is tried again keeps its name even when another has it by now: its
    // id is in that of its agent.
    t.exec("INSERT INTO names (rig_id, name, bead_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", b.rigId, b.name, b.id);
  }
}

/** The effects outside of a bead. */
const storeEffects: Record<Effect, (t: Tx, b: BeadRow, call: Call & { by: string }) => void> = {
  enqueue: (t, b) => enqueueMerge(t, b),
  dequeue: (t, b, call) => cancelMerge(t, b.id, `${call.event} by ${call.by}`),
  release_dependants: (t, b) => {
    t.exec(
      /* sql */ `UPDATE beads SET blockers = blockers - 1, why = CASE
        WHEN status <> 'open' OR hold <> '' THEN why
        WHEN blockers = 1 THEN ?
        WHEN blockers = 2 THEN 'waits for another bead'
        ELSE 'waits for ' || (blockers - 1) || ' other beads' END
        WHERE id IN (SELECT bead_id FROM bead_deps WHERE needs_id = ?)`,
      waitsForAgent,
      b.id,
    );
  },
  hold_dependants: (t, b) => tellDependants(t, b.id, `bead ${b.id}, which failed`),
  escalate: (t, b, call) => {
    raise(t, {
      severity: "high",
      title: cut(`${call.event === "block" ? "blocked" : "given up"}: ${b.title}`, maxTitle),
      body: call.reason ?? "",
      agentId: b.agentId,
      beadId: b.id,
      rigId: b.rigId,
      cause: call.cause || `bead:${b.id}`,
    });
  },
  stop: (t, b) => {
    const a = findAgent(t, b.agentId);
    if (a && isLive(a.status)) {
      orderOnce(t, "stop", b.agentId);
    }
  },
  attempt: (t, b, call) => {
    const text = [call.event, call.commit, call.pullRequest, call.summary, call.reason].filter(Boolean).join(" ");
    addNote(t, { beadId: b.id, kind: "attempt", by: call.by, text, epoch: call.epoch ?? 0, branch: call.branch ?? "" });
  },
};

/** Tells the beads that wait for one what they wait for. */
function tellDependants(t: Tx, id: string, what: string): void {
  t.exec(
    /* sql */ `UPDATE beads SET why = ? WHERE status = 'open' AND hold = '' AND blockers > 0
      AND id IN (SELECT bead_id FROM bead_deps WHERE needs_id = ?)`,
    `waits for ${what}`,
    id,
  );
}

/** Moves a convoy to where its own bead is. */
function followBead(t: Tx, b: BeadRow): void {
  if (b.status === "failed") {
    raise(t, {
      severity: "high",
      title: cut(`convoy failed: ${b.title}`, maxTitle),
      body: b.why,
      beadId: b.id,
      rigId: b.rigId,
      cause: `bead:${b.id}`,
    });
  }
  const over = b.status === "closed" || b.status === "failed" ? b.status : undefined;
  if (over) {
    // The landing of a convoy that is over is not waited for; no transition says so: its bead is never in review.
    cancelMerge(t, b.id, `its convoy is ${over}`);
  }
  setConvoy(t, b.id, over ?? "open");
}

/** Ends the lease of a bead whose agent ended without done: back to open, or given up when that was the last attempt. */
export function lose(t: Tx, b: BeadRow, event: "release" | "expire", reason: string): void {
  const last = b.attempts >= b.maxAttempts;
  const call: Call = last
    ? { event: "give_up", epoch: b.epoch, reason: `after ${b.attempts} attempts: ${reason}` }
    : { event, epoch: b.epoch, reason };
  if (applyTo(t, b, call) === "applied") {
    failed(t, b.id, reason);
  }
}

/** Ends the lease of a bead through no fault of its own: that was no attempt, and it is ready again at once. */
export function giveBack(t: Tx, b: BeadRow, epoch: number, reason: string): boolean {
  const applied = applyTo(t, b, { event: "release", epoch, reason }) === "applied";
  if (applied) {
    t.exec(
      "UPDATE beads SET attempts = max(attempts - 1, 0), not_before = NULL, why = ? WHERE id = ?",
      `${waitsForAgent}: ${reason}`,
      b.id,
    );
  }
  return applied;
}

/**
 * Gives back a bead whose agent never ran: the server that was to start it ended. That was
 * no attempt of the bead's, but it counts for the breaker: there may be something in the
 * bead that ends servers.
 */
export function cutOff(t: Tx, b: BeadRow, reason: string): void {
  giveBack(t, b, b.epoch, reason);
  failed(t, b.id, reason);
}

/** Whether the agent of a bead in progress was ever seen to run. */
export function hasRun(t: Tx, b: BeadRow): boolean {
  return findAgent(t, b.agentId)?.status !== "starting";
}

/** Counts an attempt that ended without done. */
export function failed(t: Tx, beadId: string, reason: string): void {
  t.exec("INSERT INTO failures (bead_id, reason, at) VALUES (?, ?, ?)", beadId, reason, t.now);
}

/** Gives every lease the time of two heartbeats, and takes back what a clock that was ahead gave too much. */
export function spareLeases(t: Tx): void {
  const least = t.now + 2 * t.town.heartbeatEvery;
  const most = t.now + Math.max(t.town.lease, 2 * t.town.heartbeatEvery);
  t.exec(
    /* sql */ `UPDATE beads SET lease_expires_at = CASE
      WHEN lease_expires_at < ?1 THEN ?1
      WHEN lease_expires_at > ?2 AND NOT EXISTS (SELECT 1 FROM questions WHERE status = 'open' AND questions.agent_id = beads.agent_id) THEN ?2
      ELSE lease_expires_at END
      WHERE lease_expires_at IS NOT NULL`,
    least,
    most,
  );
}
