// Beads as they are kept, and as they are answered.
import { type Bead, type BeadType, instant, instantOr, type Note, type Priority, parse, text } from "./contract";
import { notFound } from "./errors";
import type { Tx } from "./store";
import type { BeadState } from "./transitions";

/** A bead with what only the store knows of it. */
export type BeadRow = BeadState & {
  n: number;
  rigId: string;
  type: BeadType;
  title: string;
  body: string;
  why: string;
  priority: Priority;
  labels: string; // JSON
  source: string;
  dedupeKey: string;
  convoyId: string;
  maxAttempts: number;
  name: string; // of its agent
  leaseSince: number | null;
  leaseInstance: number; // epoch of the container that showed its agent last
  nudges: number;
  nudgedAt: number | null;
  startPoint: string;
  target: string;
  checkpoint: string | null; // JSON
  metadata: string | null; // JSON
  createdAt: number;
  needs: string; // JSON
  parentId: string; // on which the agent was that made it
  depth: number; // of agents that made it, each on a bead of the one before
};

export const beadColumns = `n, id, rig_id AS rigId, type, title, body, status, why, priority, labels, source, dedupe_key AS dedupeKey,
  convoy_id AS convoyId, attempts, max_attempts AS maxAttempts, reworks, not_before AS notBefore, hold, name, agent_id AS agentId, epoch,
  lease_expires_at AS leaseEnd, lease_since AS leaseSince, coalesce(lease_instance, 0) AS leaseInstance, nudges, nudged_at AS nudgedAt,
  branch, start_point AS startPoint, target, commit_id AS "commit", pull_request AS pullRequest, summary, feedback, checkpoint, metadata,
  blockers, parent_id AS parentId, depth, created_at AS createdAt, updated_at AS updatedAt, closed_at AS closedAt,
  (SELECT json_group_array(needs_id) FROM bead_deps WHERE bead_id = beads.id) AS needs`;

export function beadOf(b: BeadRow): Bead {
  return {
    id: b.id,
    rigId: b.rigId,
    type: b.type,
    title: b.title,
    body: b.body,
    status: b.status,
    why: b.why,
    priority: b.priority,
    labels: parse<string[]>(b.labels),
    source: b.source,
    parentId: text(b.parentId),
    dedupeKey: text(b.dedupeKey),
    dependsOn: parse<string[]>(b.needs),
    convoyId: text(b.convoyId),
    attempts: b.attempts,
    maxAttempts: b.maxAttempts,
    reworks: b.reworks,
    notBefore: instantOr(b.notBefore),
    hold: text(b.hold),
    agentId: text(b.agentId),
    lease: b.leaseEnd === null ? undefined : { epoch: b.epoch, expiresAt: instant(b.leaseEnd) },
    epoch: b.epoch,
    branch: text(b.branch),
    startPoint: text(b.startPoint),
    target: text(b.target),
    commit: text(b.commit),
    pullRequest: text(b.pullRequest),
    summary: text(b.summary),
    feedback: text(b.feedback),
    checkpoint: b.checkpoint === null ? undefined : parse<unknown>(b.checkpoint),
    metadata: b.metadata === null ? undefined : parse<Record<string, never>>(b.metadata),
    createdAt: instant(b.createdAt),
    updatedAt: instant(b.updatedAt),
    closedAt: instantOr(b.closedAt),
  };
}

export function findBead(t: Tx, id: string): BeadRow | undefined {
  return t.first<BeadRow>(/* sql */ `SELECT ${beadColumns} FROM beads WHERE id = ?`, id);
}

export function loadBead(t: Tx, id: string): BeadRow {
  const b = findBead(t, id);
  if (!b) {
    throw notFound(`bead ${id}: not found`);
  }
  return b;
}

/** The bead that an agent has, or had last. */
export function agentsBead(t: Tx, agentId: string): BeadRow | undefined {
  return t.first<BeadRow>(
    /* sql */ `SELECT ${beadColumns} FROM beads WHERE agent_id = ? AND agent_id <> '' ORDER BY lease_expires_at IS NOT NULL DESC, n DESC LIMIT 1`,
    agentId,
  );
}

export function mustHaveBead(t: Tx, agentId: string): BeadRow {
  const b = agentsBead(t, agentId);
  if (!b) {
    throw notFound(`agent ${agentId} has no bead`);
  }
  return b;
}

/** How much older than it is a bead of that priority counts, in milliseconds. */
const headStarts: Record<Priority, number> = { low: 0, medium: 3_600_000, high: 6 * 3_600_000, critical: 48 * 3_600_000 };

/** What ready beads are ordered by: a static key, so that age counts without being computed anew. */
export function due(b: { createdAt: number; priority: Priority }): number {
  return b.createdAt - headStarts[b.priority];
}

/** Makes a bead and its dependencies; why is filled in. */
export function insertBead(t: Tx, b: BeadRow): void {
  b.why = whyOf(b, "");
  t.exec(
    /* sql */ `INSERT INTO beads (id, rig_id, type, title, body, status, why, priority, labels, source, dedupe_key, convoy_id, attempts,
      max_attempts, reworks, not_before, hold, name, agent_id, epoch, nudges, branch, start_point, target, commit_id, pull_request, summary,
      feedback, metadata, due, blockers, parent_id, depth, created_at, updated_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, ?, ?, '', '', 0, 0, ?, ?, ?, '', '', '', '', ?, ?, ?, ?, ?, ?, ?)`,
    b.id,
    b.rigId,
    b.type,
    b.title,
    b.body,
    b.status,
    b.why,
    b.priority,
    b.labels,
    b.source,
    b.dedupeKey,
    b.convoyId,
    b.maxAttempts,
    b.notBefore,
    b.hold,
    b.branch,
    b.startPoint,
    b.target,
    b.metadata,
    due(b),
    b.blockers,
    b.parentId,
    b.depth,
    b.createdAt,
    b.updatedAt,
  );
  for (const needed of parse<string[]>(b.needs)) {
    t.exec("INSERT INTO bead_deps (bead_id, needs_id) VALUES (?, ?)", b.id, needed);
  }
  t.tell("work");
}

/** Keeps what transitions change. */
export function saveState(t: Tx, b: BeadRow): void {
  const leased = b.leaseEnd !== null;
  t.exec(
    /* sql */ `UPDATE beads SET status = ?, why = ?, attempts = ?, reworks = ?, not_before = ?, hold = ?, name = ?, agent_id = ?, epoch = ?,
      lease_expires_at = ?, lease_since = ?, lease_instance = ?, nudges = ?, nudged_at = ?, branch = ?, commit_id = ?, pull_request = ?,
      summary = ?, feedback = ?, updated_at = ?, closed_at = ?, tidied = 0 WHERE id = ?`,
    b.status,
    b.why,
    b.attempts,
    b.reworks,
    b.notBefore,
    b.hold,
    b.name,
    b.agentId,
    b.epoch,
    b.leaseEnd,
    leased ? b.leaseSince : null,
    leased ? b.leaseInstance : null,
    b.nudges,
    b.nudgedAt,
    b.branch,
    b.commit,
    b.pullRequest,
    b.summary,
    b.feedback,
    b.updatedAt,
    b.closedAt,
    b.id,
  );
  t.tell("work");
}

export const waitsForAgent = "waits for an agent";

/** Says for people why a bead is where it is. */
export function whyOf(b: BeadRow, reason: string): string {
  const because = (what: string) => (reason === "" ? what : `${what}: ${reason}`);
  switch (b.status) {
    case "in_progress":
      return `${b.agentId} has it`;
    case "in_review":
      return "its branch waits to be merged";
    case "closed":
    case "failed":
      return because(b.status);
    case "open":
  }
  if (b.hold !== "") {
    return `is held: ${b.hold}`;
  }
  if (b.blockers > 0) {
    return b.blockers === 1 ? "waits for another bead" : `waits for ${b.blockers} other beads`;
  }
  if (b.notBefore !== null) {
    return because(`waits until ${instant(b.notBefore)}`);
  }
  if (b.type === "convoy") {
    return "is a convoy";
  }
  return b.feedback === "" ? because(waitsForAgent) : `came back from review, ${waitsForAgent}`;
}

type NoteRow = { n: number; beadId: string; kind: string; by: string; text: string; epoch: number; branch: string; createdAt: number };

interface NewNote {
  beadId: string;
  kind: string;
  by: string;
  text: string;
  epoch?: number;
  branch?: string;
}

function noteOf(n: NoteRow): Note {
  const { n: id, epoch, branch, createdAt, ...rest } = n;
  return { id, ...rest, epoch: epoch || undefined, branch: text(branch), createdAt: instant(createdAt) };
}

/** Writes something down about a bead. */
export function addNote(t: Tx, note: NewNote): Note {
  const { beadId, kind, epoch = 0, branch = "" } = note;
  const made = t.first<{ n: number }>(
    /* sql */ `INSERT INTO notes (bead_id, kind, by, text, epoch, branch, created_at) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING n`,
    beadId,
    kind,
    note.by,
    note.text,
    epoch,
    branch,
    t.now,
  );
  return noteOf({ n: made?.n ?? 0, beadId, kind, by: note.by, text: note.text, epoch, branch, createdAt: t.now });
}

/** What was written down about a bead, oldest first, at most the newest 500. */
export function notesOf(t: Tx, beadId: string): Note[] {
  return t
    .all<NoteRow>(
      /* sql */ `SELECT n, bead_id AS beadId, kind, by, text, epoch, branch, created_at AS createdAt FROM notes WHERE bead_id = ? ORDER BY n DESC LIMIT 500`,
      beadId,
    )
    .reverse()
    .map(noteOf);
}
