import { applyTo, maxTitle } from "./apply";
import { type BeadRow, beadColumns, beadOf, insertBead, loadBead, saveState, whyOf } from "./beadrows";
import { letGo, newBead } from "./beads";
import { by, type Caller } from "./caller";
import {
  type Bead,
  type BeadStatus,
  type Convoy,
  type ConvoyMode,
  type ConvoyStatus,
  cut,
  instant,
  instantOr,
  type Schemas,
  text,
} from "./contract";
import { conflict, type Issue, invalid, notFound } from "./errors";
import { raise } from "./escalations";
import { roomForMore } from "./guard";
import { enqueueMerge } from "./merges";
import { mustHaveRig } from "./rigs";
import { type Tx, Where } from "./store";

/** The hold of the beads of a convoy that is not started. */
const holdStaged = "its convoy is not started";

type ConvoyRow = {
  id: string;
  rigId: string;
  title: string;
  mode: ConvoyMode;
  status: ConvoyStatus;
  branch: string;
  createdAt: number;
  closedAt: number | null;
};

const columns = "c.id, c.rig_id AS rigId, c.title, c.mode, c.status, c.branch, c.created_at AS createdAt, c.closed_at AS closedAt";

type Tasks = Schemas["ConvoyRequest"]["tasks"];

function check(req: Schemas["ConvoyRequest"]): number[] {
  const issues: Issue[] = [];
  let edges = 0;
  for (const [i, task] of req.tasks.entries()) {
    for (const [j, on] of (task.dependsOn ?? []).entries()) {
      edges++;
      if (on >= req.tasks.length) {
        issues.push({ path: `tasks[${i}].dependsOn[${j}]`, message: `there is no task ${on}` });
      }
    }
  }
  if (req.tasks.length > 1 && edges === 0 && !req.parallel) {
    issues.push({ path: "tasks", message: "of which none depends on another: say dependsOn, or parallel if all may be done at once" });
  }
  const order = issues.length === 0 ? inOrder(req.tasks) : [];
  if (!order) {
    issues.push({ path: "tasks", message: "wait for each other in a circle" });
  }
  if (issues.length > 0) {
    throw invalid(issues);
  }
  return order ?? [];
}

/** The indices of tasks so that each comes after those it depends on, unless there is a cycle. */
function inOrder(tasks: Tasks): number[] | undefined {
  const order: number[] = [];
  const done = new Set<number>();
  while (order.length < tasks.length) {
    const before = order.length;
    for (const [i, task] of tasks.entries()) {
      if (!done.has(i) && (task.dependsOn ?? []).every((on) => done.has(on))) {
        done.add(i);
        order.push(i);
      }
    }
    if (order.length === before) {
      return undefined;
    }
  }
  return order;
}

/** Makes a convoy and its beads. */
export function createConvoy(t: Tx, c: Caller, req: Schemas["ConvoyRequest"]): { convoy: Convoy; beads: Bead[] } {
  const order = check(req);
  mustHaveRig(t, req.rigId);
  if (c.agentId !== "") {
    roomForMore(t, req.tasks.length);
  }
  const source = req.source ?? "";
  const own = newBead(t, c, req.rigId, { type: "convoy", title: req.title, source });
  own.branch = req.mode === "review-then-land" ? `convoy/${own.id.slice(-8)}` : "";
  insertBead(t, own);
  t.exec(
    "INSERT INTO convoys (id, rig_id, title, mode, status, branch, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
    own.id,
    req.rigId,
    req.title,
    req.mode || "review-and-merge",
    req.staged ? "staged" : "open",
    own.branch,
    t.now,
  );
  const made = new Map<number, Bead>();
  for (const i of order) {
    const task = req.tasks[i];
    if (task) {
      made.set(i, insertTask(t, c, req, own, task, made));
    }
  }
  return { convoy: loadConvoy(t, own.id), beads: req.tasks.flatMap((_, i) => made.get(i) ?? []) };
}

function insertTask(t: Tx, c: Caller, req: Schemas["ConvoyRequest"], own: BeadRow, task: Tasks[number], made: Map<number, Bead>): Bead {
  const dependsOn = (task.dependsOn ?? []).flatMap((on) => made.get(on)?.id ?? []);
  const b = newBead(t, c, req.rigId, { ...task, source: req.source ?? "", dependsOn });
  b.convoyId = own.id;
  b.blockers = new Set(dependsOn).size;
  b.hold = req.staged ? holdStaged : "";
  b.target = own.branch || b.target;
  insertBead(t, b);
  return beadOf(b);
}

/** A convoy with what its beads are at. */
function convoyOf(t: Tx, c: ConvoyRow): Convoy {
  const members = t.all<{ id: string; status: BeadStatus }>(
    "SELECT id, status FROM beads WHERE convoy_id = ? AND convoy_id <> '' ORDER BY n",
    c.id,
  );
  return {
    ...c,
    branch: text(c.branch),
    beads: members.map((m) => m.id),
    closed: members.filter((m) => m.status === "closed").length,
    failed: members.filter((m) => m.status === "failed").length,
    createdAt: instant(c.createdAt),
    closedAt: instantOr(c.closedAt),
  };
}

export function loadConvoy(t: Tx, id: string): Convoy {
  const c = t.first<ConvoyRow>(/* sql */ `SELECT ${columns} FROM convoys c WHERE c.id = ?`, id);
  if (!c) {
    throw notFound(`convoy ${id}: not found`);
  }
  return convoyOf(t, c);
}

/** The convoys of a rig (of all rigs when rigId is ""), newest first, at most 500. */
export function listConvoys(t: Tx, rigId: string): Convoy[] {
  const w = new Where().equal("c.rig_id", rigId);
  return t
    .all<ConvoyRow>(/* sql */ `SELECT ${columns} FROM convoys c${w} ORDER BY c.n DESC LIMIT 500`, ...w.values)
    .map((c) => convoyOf(t, c));
}

/** Lets the beads of a staged convoy be taken. One that is open stays so. */
export function startConvoy(t: Tx, c: Caller, id: string): Convoy {
  const convoy = loadConvoy(t, id);
  if (convoy.status === "open") {
    return convoy;
  }
  if (convoy.status !== "staged") {
    throw conflict(`convoy ${id} is ${convoy.status}`);
  }
  setConvoy(t, id, "open");
  const held = t.all<BeadRow>(
    /* sql */ `SELECT ${beadColumns} FROM beads WHERE convoy_id = ? AND status = 'open' AND hold = ?`,
    id,
    holdStaged,
  );
  for (const b of held) {
    letGo(t, b, c, "its convoy is started");
  }
  return loadConvoy(t, id);
}

/** Moves a convoy to another status. */
export function setConvoy(t: Tx, id: string, status: ConvoyStatus): void {
  t.tell("work");
  const closedAt = status === "closed" || status === "failed" ? t.now : null;
  t.exec("UPDATE convoys SET status = ?, closed_at = ? WHERE id = ?", status, closedAt, id);
}

/** Closes a convoy and those of its beads that are not closed or failed. */
export function closeConvoy(t: Tx, c: Caller, id: string, reason: string): Convoy {
  const convoy = loadConvoy(t, id);
  if (convoy.status === "closed") {
    return convoy;
  }
  const rows = t.all<{ id: string }>(
    /* sql */ `SELECT id FROM beads WHERE (convoy_id = ?1 OR id = ?1) AND status IN ('open', 'in_progress', 'in_review') ORDER BY n DESC`,
    id,
  );
  for (const row of rows) {
    applyTo(t, loadBead(t, row.id), { event: "close", by: by(c), reason: reason || "its convoy was closed" });
  }
  return loadConvoy(t, id);
}

/** Puts a bead into a convoy that is not over. */
export function addToConvoy(t: Tx, id: string, beadId: string): Convoy {
  const convoy = loadConvoy(t, id);
  const b = loadBead(t, beadId);
  if (b.convoyId === id) {
    return convoy;
  }
  if (convoy.status !== "open" && convoy.status !== "staged") {
    throw conflict(`convoy ${id} is ${convoy.status}`);
  }
  if (b.rigId !== convoy.rigId) {
    throw conflict(`bead ${beadId} is of rig ${b.rigId}, the convoy of ${convoy.rigId}`);
  }
  if (b.convoyId !== "" || b.type === "convoy" || b.status !== "open") {
    throw conflict(`bead ${beadId} is ${b.status}, of convoy "${b.convoyId}": only an open bead of none can be put into one`);
  }
  b.convoyId = id;
  b.target = convoy.branch || b.target;
  if (convoy.status === "staged" && b.hold === "") {
    b.hold = holdStaged;
  }
  b.why = whyOf(b, "");
  b.updatedAt = t.now;
  t.exec("UPDATE beads SET convoy_id = ?, target = ? WHERE id = ?", id, b.target, beadId);
  saveState(t, b);
  return loadConvoy(t, id);
}

/** A bead of a convoy, as far as its convoy is concerned. */
export interface Member {
  id: string;
  status: BeadStatus;
  needs: string[]; // beads, of this convoy or not
}

export type Step = "waits" | "lands" | "closes" | "fails" | "reopens";

/** What a convoy needs next, whose own bead has the status own. begun tells that its branch is there. */
function nextStep(c: { status: ConvoyStatus; mode: ConvoyMode }, own: BeadStatus, members: Member[], begun: boolean): Step {
  const closed = members.filter((m) => m.status === "closed").length;
  const failed = members.filter((m) => m.status === "failed").length;
  switch (c.status) {
    case "staged":
    case "closed":
      return "waits";
    case "landing":
      return own === "closed" ? "closes" : "waits"; // by a person
    case "failed":
      if (own === "closed") {
        return "closes";
      }
      // A person retried it, or a bead of it.
      return own === "open" || (closed + failed < members.length && canGoOn(members)) ? "reopens" : "waits";
    case "open":
  }
  if (own === "closed") {
    return "closes";
  }
  if (own === "failed" || (failed > 0 && !canGoOn(members))) {
    return "fails";
  }
  if (members.length === 0 || closed < members.length) {
    return "waits";
  }
  return c.mode === "review-then-land" && begun ? "lands" : "closes";
}

/** Whether a bead of a convoy may still get anywhere: it has not ended and needs none of the convoy's that has failed. */
function canGoOn(members: Member[]): boolean {
  const dead = new Set(members.filter((m) => m.status === "failed").map((m) => m.id));
  for (let size = -1; size !== dead.size; ) {
    size = dead.size;
    for (const m of members) {
      if (m.status !== "closed" && m.needs.some((need) => dead.has(need))) {
        dead.add(m.id);
      }
    }
  }
  return members.some((m) => m.status !== "closed" && !dead.has(m.id));
}

/** Whether a convoy's branch is on the remote: with the first merge into it. */
export function convoyBegun(t: Tx, convoyId: string): boolean {
  return (
    t.count(
      /* sql */ `SELECT EXISTS (SELECT 1 FROM beads b JOIN merges m ON m.bead_id = b.id
        WHERE b.convoy_id = ? AND b.convoy_id <> '' AND b.target <> '' AND m.target = b.target AND m.status = 'merged') AS n`,
      convoyId,
    ) > 0
  );
}

/** Moves convoys on whose beads have ended, or whose own bead a person has changed. */
export function moveConvoys(t: Tx): void {
  const convoys = t.all<ConvoyRow & { own: BeadStatus }>(
    /* sql */ `SELECT ${columns}, own.status AS own FROM convoys c JOIN beads own ON own.id = c.id
      WHERE c.status IN ('open', 'landing', 'failed') AND (own.status = 'closed' OR CASE c.status
      WHEN 'open' THEN own.status = 'failed'
        OR EXISTS (SELECT 1 FROM beads b WHERE b.convoy_id = c.id AND b.convoy_id <> '' AND b.status = 'failed')
        OR NOT EXISTS (SELECT 1 FROM beads b WHERE b.convoy_id = c.id AND b.convoy_id <> '' AND b.status <> 'closed')
      WHEN 'failed' THEN own.status = 'open'
        OR EXISTS (SELECT 1 FROM beads b WHERE b.convoy_id = c.id AND b.convoy_id <> '' AND b.status NOT IN ('closed', 'failed'))
      ELSE 0 END) ORDER BY c.n`,
  );
  for (const c of convoys) {
    const members = t
      .all<BeadRow>(/* sql */ `SELECT ${beadColumns} FROM beads WHERE convoy_id = ? AND convoy_id <> '' ORDER BY n`, c.id)
      .map((b) => ({ id: b.id, status: b.status, needs: beadOf(b).dependsOn }));
    move(t, c, nextStep(c, c.own, members, convoyBegun(t, c.id)));
  }
}

function move(t: Tx, c: ConvoyRow, step: Step): void {
  const own = loadBead(t, c.id);
  switch (step) {
    case "waits":
      return;
    case "lands":
      enqueueMerge(t, { ...own, target: "" });
      setConvoy(t, c.id, "landing");
      return;
    case "closes":
      applyTo(t, own, { event: "close", reason: "all its beads are closed" });
      setConvoy(t, c.id, "closed");
      return;
    case "fails":
      applyTo(t, own, { event: "fail", reason: "a bead of it has failed, and the others need that one" });
      raise(t, {
        severity: "high",
        title: cut(`convoy has failed: ${c.title}`, maxTitle),
        beadId: c.id,
        rigId: c.rigId,
        cause: `convoy:${c.id}`,
        body: "A bead of it has failed, and what is left of it needs that one. Retry that bead, or close the convoy.",
      });
      setConvoy(t, c.id, "failed");
      return;
    case "reopens":
      applyTo(t, own, { event: "retry", reason: "it goes on" });
      setConvoy(t, c.id, "open");
  }
}
