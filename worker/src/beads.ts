// Beads: made, asked for, changed by people.
import { applyByID, applyTo } from "./apply";
import { addNote, type BeadRow, beadColumns, beadOf, due, insertBead, loadBead, notesOf, saveState, whyOf } from "./beadrows";
import { by, type Caller, leads } from "./caller";
import { type Bead, type BeadType, byteLength, type Note, newID, parse, type Schemas } from "./contract";
import { badBody, badParam, conflict, forbidden, type Issue, invalid } from "./errors";
import { guard } from "./guard";
import { mustHaveRig } from "./rigs";
import { type Tx, Where } from "./store";

const maxMetadata = 64 * 1024;

/** Makes a bead, unless there is one with its dedupeKey, which is returned instead. For an agent see guard. */
export function createBead(t: Tx, c: Caller, rigId: string, req: Schemas["BeadRequest"]): { bead: Bead; created: boolean } {
  mustHaveRig(t, rigId);
  if (req.dedupeKey) {
    const first = t.first<BeadRow>(
      /* sql */ `SELECT ${beadColumns} FROM beads WHERE rig_id = ? AND dedupe_key = ? AND dedupe_key <> ''`,
      rigId,
      req.dedupeKey,
    );
    if (first) {
      return { bead: beadOf(first), created: false };
    }
  }
  const b = newBead(t, c, rigId, req);
  const known = c.agentId === "" ? undefined : guard(t, c, b);
  if (known) {
    return { bead: beadOf(known), created: false };
  }
  b.blockers = countBlockers(t, parse<string[]>(b.needs));
  insertBead(t, b);
  return { bead: beadOf(b), created: true };
}

/** The bead that a request asks for. */
export function newBead(t: Tx, c: Caller, rigId: string, req: Omit<Schemas["BeadRequest"], "type"> & { type?: BeadType | "" }): BeadRow {
  const metadata = req.metadata === undefined ? null : JSON.stringify(req.metadata);
  if (metadata && byteLength(metadata) > maxMetadata) {
    throw badBody("metadata", `is ${byteLength(metadata)} bytes, the most is ${maxMetadata}`);
  }
  const notBefore = req.notBefore === undefined ? 0 : Date.parse(req.notBefore);
  return {
    n: 0,
    id: newID(t.now),
    rigId,
    type: req.type || "issue",
    title: req.title,
    body: req.body ?? "",
    status: "open",
    why: "",
    priority: req.priority || "medium",
    labels: JSON.stringify(distinct(req.labels)),
    source: c.agentId === "" ? req.source || by(c) : `agent:${c.agentId}`,
    dedupeKey: req.dedupeKey ?? "",
    convoyId: "",
    attempts: 0,
    maxAttempts: req.maxAttempts || 3,
    reworks: 0,
    notBefore: notBefore > t.now ? notBefore : null,
    hold: "",
    name: "",
    agentId: "",
    epoch: 0,
    leaseEnd: null,
    leaseSince: null,
    leaseInstance: 0,
    nudges: 0,
    nudgedAt: null,
    branch: "",
    startPoint: req.startPoint ?? "",
    target: req.target ?? "",
    commit: "",
    pullRequest: "",
    summary: "",
    feedback: "",
    checkpoint: null,
    metadata,
    blockers: 0,
    createdAt: t.now,
    updatedAt: t.now,
    closedAt: null,
    needs: JSON.stringify(distinct(req.dependsOn)),
    parentId: "",
    depth: c.agentId === "" ? 0 : 1,
  };
}

const distinct = (all: string[] = []) => [...new Set(all)].sort(byText);

const byText = (a: string, b: string) => (a < b ? -1 : 1);

/** Counts those of the beads that are not closed; one that there is not is refused. */
function countBlockers(t: Tx, ids: string[]): number {
  const issues: Issue[] = [];
  let blockers = 0;
  for (const [i, id] of ids.entries()) {
    const needed = t.first<{ status: string }>("SELECT status FROM beads WHERE id = ?", id);
    if (!needed) {
      issues.push({ path: `dependsOn[${i}]`, message: `there is no bead ${id}` });
    } else if (needed.status !== "closed") {
      blockers++;
    }
  }
  if (issues.length > 0) {
    throw invalid(issues);
  }
  return blockers;
}

/** Selects beads; empty fields do not restrict. */
export interface BeadQuery {
  rig: string;
  status: string;
  type: string;
  label: string;
  convoy: string;
  agent: string;
  q: string; // in title, body or id, whatever its case
  after: string;
  limit: number;
}

/** Goes on after the row that a cursor names. */
export function afterCursor(w: Where, cursor: string): Where {
  if (cursor === "") {
    return w;
  }
  if (!/^[1-9][0-9]{0,15}$/.test(cursor)) {
    throw badParam("after", "must be the next of a page before");
  }
  return w.and("n < ?", Number(cursor));
}

/** A page of beads, newest first; next is absent on the last one. */
export function listBeads(t: Tx, q: BeadQuery): { beads: Bead[]; next: string | undefined } {
  const w = new Where()
    .equal("rig_id", q.rig)
    .equal("status", q.status)
    .equal("type", q.type)
    .equal("convoy_id", q.convoy)
    .equal("agent_id", q.agent);
  if (q.label !== "") {
    w.and("EXISTS (SELECT 1 FROM json_each(labels) WHERE value = ?)", q.label);
  }
  if (q.q !== "") {
    // Durable Objects take patterns of LIKE up to 50 bytes only.
    w.and("(instr(lower(title), lower(?)) OR instr(lower(body), lower(?)) OR instr(lower(id), lower(?)))", q.q, q.q, q.q);
  }
  afterCursor(w, q.after);
  const { rows, more } = t.page<BeadRow>(q.limit, /* sql */ `SELECT ${beadColumns} FROM beads${w} ORDER BY n DESC`, ...w.values);
  return { beads: rows.map(beadOf), next: more ? String(rows.at(-1)?.n) : undefined };
}

/** Changes what is set in a patch. */
export function patchBead(t: Tx, c: Caller, id: string, p: Schemas["BeadPatch"]): Bead {
  const b = loadBead(t, id);
  if (p.type !== undefined && (b.type === "convoy") !== (p.type === "convoy")) {
    throw conflict(`bead ${id}: a convoy stays one, and nothing else becomes one`);
  }
  patch(t, b, p);
  patchState(t, b, c, p);
  return beadOf(b);
}

/** Changes what is no transition. */
function patch(t: Tx, b: BeadRow, p: Schemas["BeadPatch"]): void {
  b.title = p.title ?? b.title;
  b.body = p.body ?? b.body;
  b.type = p.type ?? b.type;
  b.priority = p.priority ?? b.priority;
  b.labels = p.labels ? JSON.stringify(distinct(p.labels)) : b.labels;
  if (p.dependsOn) {
    setDependencies(t, b, distinct(p.dependsOn));
  }
  if (p.notBefore !== undefined) {
    const at = Date.parse(p.notBefore);
    b.notBefore = at > t.now ? at : null;
  }
  b.updatedAt = t.now;
  if (b.status === "open") {
    b.why = whyOf(b, "");
  }
  t.tell("work");
  t.exec(
    /* sql */ `UPDATE beads SET title = ?, body = ?, type = ?, priority = ?, labels = ?, blockers = ?, due = ?, not_before = ?, why = ?, updated_at = ?
      WHERE id = ?`,
    b.title,
    b.body,
    b.type,
    b.priority,
    b.labels,
    b.blockers,
    due(b),
    b.notBefore,
    b.why,
    b.updatedAt,
    b.id,
  );
}

/** Changes what a bead waits for, and refuses a cycle. */
function setDependencies(t: Tx, b: BeadRow, needs: string[]): void {
  b.blockers = countBlockers(t, needs);
  b.needs = JSON.stringify(needs);
  t.exec("DELETE FROM bead_deps WHERE bead_id = ?", b.id);
  for (const needed of needs) {
    t.exec("INSERT INTO bead_deps (bead_id, needs_id) VALUES (?, ?)", b.id, needed);
  }
  const cycle = t.count(
    /* sql */ `WITH RECURSIVE needed (id) AS (
        SELECT needs_id FROM bead_deps WHERE bead_id = ?1
        UNION SELECT d.needs_id FROM bead_deps d JOIN needed ON d.bead_id = needed.id)
      SELECT EXISTS (SELECT 1 FROM needed WHERE id = ?1) AS n`,
    b.id,
  );
  if (cycle) {
    throw badBody("dependsOn", "would make the bead wait for itself");
  }
}

/** Carries out the transitions of a patch. */
function patchState(t: Tx, b: BeadRow, c: Caller, p: Schemas["BeadPatch"]): void {
  if (p.hold !== undefined && p.hold !== b.hold) {
    if (p.hold === "") {
      letGo(t, b, c, p.reason ?? "");
    } else {
      applyTo(t, b, { event: "hold", by: by(c), reason: p.hold });
    }
  }
  if (p.status) {
    applyTo(t, b, { event: p.status === "failed" ? "fail" : "close", by: by(c), reason: p.reason ?? "" });
  }
}

/** Takes a hold from a bead and leaves what it was tried. */
export function letGo(t: Tx, b: BeadRow, c: Caller, reason: string): void {
  if (b.status !== "open") {
    throw conflict(`bead ${b.id} is ${b.status}, which is not held`);
  }
  b.hold = "";
  b.why = whyOf(b, "");
  b.updatedAt = t.now;
  saveState(t, b);
  addNote(t, { beadId: b.id, kind: "status", by: by(c), text: reason === "" ? "no longer held" : `no longer held: ${reason}` });
}

/** Lets a bead begin anew. */
export function retryBead(t: Tx, c: Caller, id: string, reason: string): Bead {
  return beadOf(applyByID(t, id, { event: "retry", by: by(c), reason }).bead);
}

/** Closes a bead: for a person or the mayor by close, for the agent that has it by finish (there was nothing to change). */
export function closeBead(t: Tx, c: Caller, id: string, req: Schemas["CloseRequest"]): Bead {
  const b = loadBead(t, id);
  const reason = req.reason ?? "";
  if (leads(c)) {
    applyTo(t, b, { event: "close", by: by(c), reason });
  } else if (b.agentId === c.agentId) {
    applyTo(t, b, { event: "finish", by: by(c), reason, epoch: req.epoch ?? 0, summary: reason });
  } else {
    throw forbidden(`bead ${id} is not ${c.agentId}'s`);
  }
  return beadOf(b);
}

export function listNotes(t: Tx, beadId: string): Note[] {
  loadBead(t, beadId);
  return notesOf(t, beadId);
}

/** Writes something down about a bead: an agent about one that it has, or reviews. */
export function noteBead(t: Tx, c: Caller, beadId: string, req: Schemas["NoteRequest"]): Note {
  const b = loadBead(t, beadId);
  const reviews = () =>
    t.count("SELECT count(*) AS n FROM merges WHERE bead_id = ? AND reviewer = ? AND status = 'reviewing'", beadId, c.agentId) > 0;
  if (!leads(c) && b.agentId !== c.agentId && !reviews()) {
    throw forbidden(`bead ${beadId} is not ${c.agentId}'s`);
  }
  return addNote(t, {
    beadId,
    kind: req.kind || "note",
    by: by(c),
    text: req.text,
    epoch: leads(c) ? 0 : c.generation,
  });
}
