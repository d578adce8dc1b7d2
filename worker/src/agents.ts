// What agents tell and ask by their tools, and what is told of their ends.

import { type AgentRow, agentOf, mustHaveAgent } from "./agentrows";
import { applyTo, cutOff, failed, giveBack } from "./apply";
import { agentsBead, type BeadRow, beadColumns, beadOf, loadBead, mustHaveBead, notesOf } from "./beadrows";
import { by, type Caller } from "./caller";
import { type Bead, byteLength, type Completion, isID, type Merge, type Schemas, type TownAgent } from "./contract";
import { badBody, conflict, forbidden } from "./errors";
import { openEscalations, say } from "./escalations";
import { isDraining } from "./instance";
import { afterEnd } from "./judge";
import { listMail } from "./mail";
import { approve, endMerge, type MergeRow, mergeColumns, mergeNothing, mergeOf, reviewed, verdictOfReview } from "./merges";
import { type Delivery, orderOnce } from "./orders";
import { questionsOf } from "./questions";
import { endRun } from "./runs";
import type { Tx } from "./store";

const maxCheckpoint = 64 * 1024;

/** What an agent must know to begin or go on. */
export function prime(t: Tx, agentId: string) {
  const a = mustHaveAgent(t, agentId);
  const mayor = a.role === "mayor";
  const b = agentsBead(t, agentId);
  const has = b !== undefined && b.leaseEnd !== null;
  return {
    agent: agentOf(a),
    bead: has ? beadOf(b) : null,
    notes: has ? notesOf(t, b.id) : [],
    mail: listMail(t, { agentId: "", role: "", generation: 0 }, agentId, false),
    openBeads: othersBeads(t, agentId, mayor ? "" : a.rigId),
    questions: questionsOf(t, agentId),
    escalations: openEscalations(t, mayor ? null : agentId),
    reviews: a.role === "refinery" ? reviewsOf(t, agentId) : [],
  };
}

/** How many beads of others an agent is shown. */
const maxOpenBeads = 20;

/** Beads of a rig (of all rigs when "") that have not ended: those that someone works on, then the next ones. */
function othersBeads(t: Tx, agentId: string, rigId: string): Bead[] {
  const of = (condition: string, limit: number) =>
    t
      .all<BeadRow>(
        /* sql */ `SELECT ${beadColumns} FROM beads WHERE ${condition} AND (rig_id = ?1 OR ?1 = '') AND agent_id <> ?2 ORDER BY due LIMIT ?3`,
        rigId,
        agentId,
        limit,
      )
      .map(beadOf);
  const taken = of("status IN ('in_progress', 'in_review')", maxOpenBeads);
  return [...taken, ...of("status = 'open'", maxOpenBeads - taken.length)];
}

function reviewsOf(t: Tx, agentId: string): Merge[] {
  return t
    .all<MergeRow>(/* sql */ `SELECT ${mergeColumns} FROM merges WHERE reviewer = ? AND status = 'reviewing' ORDER BY n`, agentId)
    .map(mergeOf);
}

/** Takes an agent's word that its bead is finished; a refinery's, that it has nothing against the branch that it looks at. */
export function done(t: Tx, agentId: string, req: Schemas["DoneRequest"]): { bead: Bead; kept: boolean } {
  const a = t.first<{ role: string }>("SELECT role FROM agents WHERE id = ?", agentId);
  if (a?.role === "refinery") {
    return { bead: beadOf(approve(t, agentId)), kept: false };
  }
  const b = mustHaveBead(t, agentId);
  const kind = applyTo(t, b, {
    event: "done",
    by: agentId,
    epoch: req.epoch,
    branch: req.branch ?? "",
    commit: req.commit ?? "",
    summary: req.summary ?? "",
    pullRequest: req.prUrl ?? "",
  });
  return { bead: beadOf(kind === "applied" ? mergeNothing(t, b) : b), kept: kind === "kept" };
}

/** Sends a bead that is reviewed back to open. */
export function requestChanges(t: Tx, c: Caller, agentId: string, req: Schemas["ChangesRequest"]): Bead {
  if (c.agentId !== "" && c.role !== "refinery" && c.role !== "mayor") {
    throw forbidden(`${agentId}, a ${c.role}, reviews nothing`);
  }
  const m = reviewed(t, agentId, req.mergeId ?? "");
  const files = req.files && req.files.length > 0 ? `\n\nFiles:\n- ${req.files.join("\n- ")}` : "";
  return beadOf(endMerge(t, m, verdictOfReview(loadBead(t, m.beadId), agentId, req.feedback + files)));
}

/** Keeps an agent's checkpoint with its bead. */
export function saveCheckpoint(t: Tx, agentId: string, req: Schemas["CheckpointRequest"]): Bead {
  const json = JSON.stringify(req.data);
  if (byteLength(json) > maxCheckpoint) {
    throw badBody("data", `is ${byteLength(json)} bytes, the most is ${maxCheckpoint}`);
  }
  const b = mustHaveBead(t, agentId);
  if (b.leaseEnd === null || b.epoch !== req.epoch) {
    throw conflict(`bead ${b.id}: the lease of epoch ${req.epoch} is over`);
  }
  b.checkpoint = json;
  b.updatedAt = t.now;
  t.exec("UPDATE beads SET checkpoint = ?, updated_at = ? WHERE id = ?", json, t.now, b.id);
  return beadOf(b);
}

/** Keeps what an agent says of itself. */
export function sayStatus(t: Tx, agentId: string, says: string): TownAgent {
  t.exec("UPDATE agents SET says = ? WHERE id = ?", says, agentId);
  t.tell("work");
  return agentOf(mustHaveAgent(t, agentId));
}

const nudgeModes: Record<string, Delivery> = { "": "idle", "wait-idle": "idle", immediate: "now", queue: "turn-end" };

/** Gets a message to an agent. Everyone may. One that has ended to wait is started again with it; then there is no order. */
export function nudge(t: Tx, c: Caller, agentId: string, req: Schemas["NudgeRequest"]): string | undefined {
  const a = mustHaveAgent(t, agentId);
  const said = say(t, c, a, `Message from ${by(c)}:\n${req.message}`, nudgeModes[req.mode ?? ""] ?? "idle");
  if (!said.heard) {
    const why = a.reason || "it is not known why";
    throw conflict(
      `agent ${agentId} has ended (${why}) and waits for no word: leave it as a note of its bead, which the next attempt is given, ` +
        "or send it mail (townd mail send)",
    );
  }
  return said.orderId;
}

/** Stops an agent, by an order, and holds its bead until it is retried. */
export function orderStop(t: Tx, c: Caller, agentId: string, reason: string): string {
  mustHaveAgent(t, agentId);
  const b = agentsBead(t, agentId);
  if (b && b.leaseEnd !== null) {
    const why = `stopped by ${by(c)}`;
    applyTo(t, b, { event: "hold", by: by(c), reason: reason === "" ? why : `${why}: ${reason}` });
  }
  return orderOnce(t, "stop", agentId); // that of the hold, or of one who has no bead
}

/** Takes the end of an agent's run. It may be told more than once. */
export function completed(t: Tx, agentId: string, req: Completion): void {
  if (req.agentId && req.agentId !== agentId) {
    throw badBody("agentId", "is not the agent of the path");
  }
  if (req.runId && !isID(req.runId)) {
    throw badBody("runId", "must be an id");
  }
  const c = { ...req, agentId, generation: req.generation ?? 0 };
  t.tell("work");
  if (c.runId && !endRun(t, agentId, { ...c, runId: c.runId })) {
    return;
  }
  t.exec(
    "UPDATE agents SET status = ?, reason = ?, turn_state = 'none', active_tools = '[]' WHERE id = ? AND generation <= ?",
    c.status === "failed" ? "failed" : "exited",
    c.reason ?? "",
    agentId,
    c.generation,
  );
  const b = agentsBead(t, agentId);
  if (b && b.leaseEnd !== null && b.epoch === c.generation) {
    beadCompleted(t, b, c);
  }
}

/** Carries out what the end of its agent's run means for a bead. */
function beadCompleted(t: Tx, b: BeadRow, c: Completion & { agentId: string; generation: number }): void {
  if (c.reason === "waiting") {
    waitForAnswer(t, b);
    return;
  }
  if (c.reason === "cut_off") {
    cutOff(t, b, "its server ended while it was started");
    return;
  }
  if ((c.reason === "stopped" || c.reason === "killed") && isDraining(t)) {
    // Nobody stopped this agent, and it did not fail: its container ends.
    giveBack(t, b, c.generation, "its container ends");
    return;
  }
  const call = afterEnd(b, c);
  if (!call || applyTo(t, b, call) !== "applied") {
    return;
  }
  if (call.event === "done") {
    mergeNothing(t, b);
  } else if (call.event === "release" || call.event === "give_up") {
    failed(t, b.id, call.reason ?? "");
  }
}

/** Keeps the lease of a bead whose agent has ended to wait for an answer: until nobody waits any more. */
function waitForAnswer(t: Tx, b: BeadRow): void {
  const ends = questionsOf(t, b.agentId)
    .filter((q) => q.status === "open")
    .map((q) => Date.parse(q.expiresAt) + t.town.lease);
  applyTo(t, b, { event: "renew", epoch: b.epoch, leaseEnd: Math.max(t.leaseEnd, ...ends) });
}

/** Keeps what one agent does, as earlier containers tell it, and renews its lease. An agent that the town does not know is no error. */
export function agentSeen(t: Tx, agentId: string, hb: Schemas["AgentHeartbeatRequest"]): void {
  const a = t.first<Pick<AgentRow, "status" | "lastActivityAt" | "lastEventType" | "generation">>(
    "SELECT status, last_activity_at AS lastActivityAt, last_event_type AS lastEventType, generation FROM agents WHERE id = ?",
    agentId,
  );
  if (!a) {
    return;
  }
  const at = hb.lastEventAt ? Date.parse(hb.lastEventAt) : null;
  t.exec(
    /* sql */ `UPDATE agents SET status = ?, last_seen_at = ?, last_activity_at = ?, last_event_type = ?, last_event_at = ?,
      active_tools = ?, message_count = ? WHERE id = ?`,
    a.status === "starting" ? "running" : a.status,
    t.now,
    at ?? a.lastActivityAt,
    hb.lastEventType ?? a.lastEventType,
    at,
    JSON.stringify(hb.activeTools ?? []),
    hb.messageCount ?? 0,
    agentId,
  );
  t.tell("work");
  const b = agentsBead(t, agentId);
  if (b && b.leaseEnd !== null && b.epoch === a.generation) {
    applyTo(t, b, { event: "renew", epoch: b.epoch, leaseEnd: t.leaseEnd });
  }
}
