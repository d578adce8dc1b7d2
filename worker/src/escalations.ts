import { type AgentRow, findAgent, isLive } from "./agentrows";
import { giveBack } from "./apply";
import { addNote, agentsBead, type BeadRow } from "./beadrows";
import { by, type Caller, leads, mustBe } from "./caller";
import {
  cut,
  type Escalation,
  type EscalationStatus,
  instant,
  instantOr,
  isID,
  newID,
  type Priority,
  type Schemas,
  text,
} from "./contract";
import { badBody, conflict, notFound } from "./errors";
import { postMail } from "./mail";
import { type Delivery, message } from "./orders";
import { type Tx, Where } from "./store";

type EscalationRow = {
  id: string;
  severity: Priority;
  title: string;
  body: string;
  agentId: string;
  beadId: string;
  rigId: string;
  cause: string;
  count: number;
  raises: number;
  raisedAt: number | null;
  status: EscalationStatus;
  answer: string;
  createdAt: number;
  updatedAt: number;
  closedAt: number | null;
};

const columns = `id, severity, title, body, agent_id AS agentId, bead_id AS beadId, rig_id AS rigId, cause, count, raises,
  raised_at AS raisedAt, status, answer, created_at AS createdAt, updated_at AS updatedAt, closed_at AS closedAt`;

const maxBody = 64 * 1024;

function escalationOf(e: EscalationRow): Escalation {
  return {
    ...e,
    agentId: text(e.agentId),
    beadId: text(e.beadId),
    rigId: text(e.rigId),
    cause: text(e.cause),
    raises: e.raises || undefined,
    raisedAt: instantOr(e.raisedAt),
    answer: text(e.answer),
    createdAt: instant(e.createdAt),
    updatedAt: instant(e.updatedAt),
    closedAt: instantOr(e.closedAt),
  };
}

type Request = Schemas["EscalationRequest"];

/** Makes an escalation for whoever calls. */
export function escalate(t: Tx, c: Caller, req: Request): { escalation: Escalation; created: boolean } {
  for (const path of ["agentId", "beadId", "rigId"] as const) {
    if (req[path] && !isID(req[path])) {
      throw badBody(path, "must be an id");
    }
  }
  if (c.agentId === "") {
    return raise(t, req);
  }
  if (req.agentId && !leads(c)) {
    mustBe(c, req.agentId);
  }
  const agentId = req.agentId || c.agentId;
  const b = agentsBead(t, agentId);
  return raise(t, { ...req, agentId, beadId: req.beadId || (b?.id ?? ""), rigId: req.rigId || (b?.rigId ?? "") });
}

/** Makes an escalation, or counts up the one of its cause that is not closed: a fault that repeats must not bury people. */
export function raise(t: Tx, req: Request): { escalation: Escalation; created: boolean } {
  const body = cut(req.body ?? "", maxBody);
  t.tell("work");
  const known = req.cause
    ? t.first<EscalationRow>(
        /* sql */ `SELECT ${columns} FROM escalations WHERE cause = ? AND cause <> '' AND status <> 'closed'`,
        req.cause,
      )
    : undefined;
  if (known) {
    const e = { ...known, count: known.count + 1, body: body || known.body, updatedAt: t.now };
    t.exec("UPDATE escalations SET count = ?, body = ?, updated_at = ? WHERE id = ?", e.count, e.body, e.updatedAt, e.id);
    return { escalation: escalationOf(e), created: false };
  }
  const e: EscalationRow = {
    id: newID(t.now),
    severity: req.severity || "medium",
    title: req.title,
    body,
    agentId: req.agentId ?? "",
    beadId: req.beadId ?? "",
    rigId: req.rigId ?? "",
    cause: req.cause ?? "",
    count: 1,
    raises: 0,
    raisedAt: null,
    status: "open",
    answer: "",
    createdAt: t.now,
    updatedAt: t.now,
    closedAt: null,
  };
  t.exec(
    /* sql */ `INSERT INTO escalations (id, severity, title, body, agent_id, bead_id, rig_id, cause, count, status, answer, created_at, updated_at, raise_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 'open', '', ?, ?, ?)`,
    e.id,
    e.severity,
    e.title,
    e.body,
    e.agentId,
    e.beadId,
    e.rigId,
    e.cause,
    t.now,
    t.now,
    raiseAt(e, t.now),
  );
  return { escalation: escalationOf(e), created: true };
}

const hour = 3_600_000;

/** How long an escalation of a severity waits to be acknowledged before it is raised again. */
const raiseAfter: Record<Priority, number> = { critical: hour, high: 4 * hour, medium: 8 * hour, low: 24 * hour };

/** How often it is: who has not looked then is not to be reached by this. */
const maxRaises = 3;

const above: Record<Priority, Priority> = { low: "medium", medium: "high", high: "critical", critical: "critical" };

/** When an open escalation is raised again, null for never. */
function raiseAt(e: { severity: Priority; raises: number }, now: number): number | null {
  return e.raises >= maxRaises ? null : now + raiseAfter[e.severity];
}

/** Raises the escalations whose time has come, each by one severity. */
export function raiseAgain(t: Tx): void {
  const due = t.all<EscalationRow>(/* sql */ `SELECT ${columns} FROM escalations WHERE raise_at IS NOT NULL AND raise_at <= ?`, t.now);
  for (const e of due) {
    const raised = { severity: above[e.severity], raises: e.raises + 1 };
    t.exec(
      "UPDATE escalations SET severity = ?, raises = ?, raised_at = ?, raise_at = ?, updated_at = ? WHERE id = ?",
      raised.severity,
      raised.raises,
      t.now,
      raiseAt(raised, t.now),
      t.now,
      e.id,
    );
    console.warn({ message: "escalation raised again", escalation: e.id, ...raised });
    t.tell("work");
  }
}

/** Escalations of that status (of all when ""), newest first, at most 500. */
export function listEscalations(t: Tx, status: string): Escalation[] {
  const w = new Where().equal("status", status);
  return t.all<EscalationRow>(/* sql */ `SELECT ${columns} FROM escalations${w} ORDER BY n DESC LIMIT 500`, ...w.values).map(escalationOf);
}

/** Those that are not closed: of an agent, or all when agentId is null. */
export function openEscalations(t: Tx, agentId: string | null): Escalation[] {
  const w = new Where().and("status <> 'closed'");
  if (agentId !== null) {
    w.and("agent_id = ?", agentId);
  }
  const order = agentId === null ? "n DESC LIMIT 500" : "n LIMIT 100";
  return t.all<EscalationRow>(/* sql */ `SELECT ${columns} FROM escalations${w} ORDER BY ${order}`, ...w.values).map(escalationOf);
}

/** Tells that someone looks at an escalation, or ends it. An answer goes to its agent as mail and as a message. */
export function answerEscalation(t: Tx, c: Caller, id: string, answer: string, status: "acknowledged" | "closed"): Escalation {
  const e = t.first<EscalationRow>(/* sql */ `SELECT ${columns} FROM escalations WHERE id = ?`, id);
  if (!e) {
    throw notFound(`escalation ${id}: not found`);
  }
  if (e.status === "closed" && status === "acknowledged") {
    throw conflict(`escalation ${id} is closed`);
  }
  if (e.status === status && answer === "") {
    return escalationOf(e);
  }
  e.status = status;
  e.updatedAt = t.now;
  e.answer = answer || e.answer;
  e.closedAt = status === "closed" ? (e.closedAt ?? t.now) : e.closedAt;
  t.tell("work");
  t.exec(
    "UPDATE escalations SET status = ?, answer = ?, updated_at = ?, closed_at = ?, raise_at = NULL WHERE id = ?",
    e.status,
    e.answer,
    e.updatedAt,
    e.closedAt,
    id,
  );
  if (answer !== "" && e.agentId !== "") {
    tellAgent(t, c, e.agentId, cut(`answer to your escalation: ${e.title}`, 500), answer);
  }
  return escalationOf(e);
}

/** Writes mail to an agent, and says it to one that lives or waits. */
export function tellAgent(t: Tx, c: Caller, agentId: string, subject: string, body: string): void {
  postMail(t, { from: by(c), to: agentId, subject, body });
  const a = findAgent(t, agentId);
  if (a) {
    say(t, c, a, `${subject}\n\n${body}`, "turn-end");
  }
}

/**
 * Gets text to an agent: into its session while it lives, and to one that has ended to wait
 * as a note of its bead, with which it is started again. Nobody hears who has ended otherwise.
 */
export function say(t: Tx, c: Caller, a: AgentRow, words: string, deliver: Delivery): { orderId?: string; heard: boolean } {
  if (isLive(a.status)) {
    return { orderId: message(t, a.agentId, words, deliver), heard: true };
  }
  const b = agentsBead(t, a.agentId);
  if (!b || !waits(a, b)) {
    return { heard: false };
  }
  addNote(t, { beadId: b.id, kind: "note", by: by(c), text: words });
  giveBack(t, b, b.epoch, "its agent was sent a message");
  return { heard: true };
}

/** Whether an agent has ended to wait for a word about its bead. */
export function waits(a: AgentRow, b: BeadRow): boolean {
  return b.leaseEnd !== null && a.reason === "waiting" && a.generation === b.epoch;
}
