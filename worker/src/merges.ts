// The merge queue of each rig.
import { applyTo } from "./apply";
import { addNote, type BeadRow, loadBead } from "./beadrows";
import { cut, instant, instantOr, type Merge, type MergeOutcome, type MergeStatus, newID, text } from "./contract";
import { badBody, conflict, forbidden, notFound } from "./errors";
import { afterMerge, sentBack, type Verdict } from "./judge";
import { mustHaveRig } from "./rigs";
import { type Tx, Where } from "./store";

export type MergeRow = {
  id: string;
  rigId: string;
  beadId: string;
  branch: string;
  target: string;
  status: MergeStatus;
  attempts: number;
  message: string;
  commit: string;
  pullRequest: string;
  reviewer: string;
  notBefore: number | null;
  createdAt: number;
  updatedAt: number;
};

export const mergeIsLive = "status IN ('waiting', 'reviewing', 'merging', 'pull_request')";

export const mergeColumns = `id, rig_id AS rigId, bead_id AS beadId, branch, target, status, attempts, message, commit_id AS "commit", pr AS pullRequest,
  reviewer, not_before AS notBefore, created_at AS createdAt, updated_at AS updatedAt`;

export function mergeOf(m: MergeRow): Merge {
  return {
    ...m,
    message: text(m.message),
    commit: text(m.commit),
    pullRequest: text(m.pullRequest),
    reviewer: text(m.reviewer),
    notBefore: instantOr(m.notBefore),
    createdAt: instant(m.createdAt),
    updatedAt: instant(m.updatedAt),
  };
}

export function loadMerge(t: Tx, id: string): MergeRow {
  const m = t.first<MergeRow>(/* sql */ `SELECT ${mergeColumns} FROM merges WHERE id = ?`, id);
  if (!m) {
    throw notFound(`merge ${id}: not found`);
  }
  return m;
}

function liveMergeOf(t: Tx, beadId: string): MergeRow | undefined {
  return t.first<MergeRow>(/* sql */ `SELECT ${mergeColumns} FROM merges WHERE bead_id = ? AND ${mergeIsLive}`, beadId);
}

/** Keeps what changes of a merge. */
export function saveMerge(t: Tx, m: MergeRow): void {
  m.updatedAt = t.now;
  t.tell("work");
  t.exec(
    /* sql */ `UPDATE merges SET branch = ?, target = ?, status = ?, attempts = ?, message = ?, commit_id = ?, pr = ?, reviewer = ?,
      not_before = ?, updated_at = ? WHERE id = ?`,
    m.branch,
    m.target,
    m.status,
    m.attempts,
    m.message,
    m.commit,
    m.pullRequest,
    m.reviewer,
    m.notBefore,
    m.updatedAt,
    m.id,
  );
}

/** Merges in the order they were made, at most the newest 500. */
export function listMerges(t: Tx, rigId: string, status: string): Merge[] {
  const w = new Where().equal("rig_id", rigId).equal("status", status);
  return t
    .all<MergeRow>(/* sql */ `SELECT ${mergeColumns} FROM merges${w} ORDER BY n DESC LIMIT 500`, ...w.values)
    .reverse()
    .map(mergeOf);
}

export function liveMerges(t: Tx): Merge[] {
  return t.all<MergeRow>(/* sql */ `SELECT ${mergeColumns} FROM merges WHERE ${mergeIsLive} ORDER BY n`).map(mergeOf);
}

/** Makes the merge of a bead's branch, or sets the one that waits to it. */
export function enqueueMerge(t: Tx, b: Pick<BeadRow, "id" | "rigId" | "branch" | "target" | "pullRequest">): void {
  t.tell("work");
  const known = liveMergeOf(t, b.id);
  if (known) {
    const { branch, target } = b;
    saveMerge(t, { ...known, branch, target, status: "waiting", attempts: 0, notBefore: null, reviewer: "", message: "" });
    return;
  }
  t.exec(
    /* sql */ `INSERT INTO merges (id, rig_id, bead_id, branch, target, status, attempts, message, commit_id, pr, reviewer, created_at, updated_at)
      VALUES (?, ?, ?, ?, ?, 'waiting', 0, '', '', ?, '', ?, ?)`,
    newID(t.now),
    b.rigId,
    b.id,
    b.branch,
    b.target,
    b.pullRequest,
    t.now,
    t.now,
  );
}

/** Ends the merge of a bead that is no longer wanted. */
export function cancelMerge(t: Tx, beadId: string, why: string): void {
  t.tell("work");
  t.exec(
    /* sql */ `UPDATE merges SET status = 'cancelled', message = ?, updated_at = ? WHERE bead_id = ? AND ${mergeIsLive}`,
    why,
    t.now,
    beadId,
  );
}

/**
 * The first merge of a rig that waits and whose time has come, by its bead's priority and
 * age, unless one of the rig is reviewed or merged; a pull request that is open holds nothing up.
 */
export function nextMerge(t: Tx, rigId: string): MergeRow | undefined {
  const next = t.first<{ id: string }>(
    /* sql */ `SELECT m.id FROM merges m JOIN beads b ON b.id = m.bead_id WHERE m.rig_id = ?1 AND m.status = 'waiting'
      AND (m.not_before IS NULL OR m.not_before <= ?2)
      AND NOT EXISTS (SELECT 1 FROM merges WHERE rig_id = ?1 AND status IN ('reviewing', 'merging'))
      ORDER BY b.due, m.n LIMIT 1`,
    rigId,
    t.now,
  );
  return next && loadMerge(t, next.id);
}

function mergeEnded(status: MergeStatus): boolean {
  return status !== "waiting" && status !== "reviewing" && status !== "merging" && status !== "pull_request";
}

/** Moves a merge that has not ended to another status; merging counts an attempt. */
export function setMerge(t: Tx, id: string, status: MergeStatus, message: string): MergeRow {
  const m = loadMerge(t, id);
  if (mergeEnded(m.status)) {
    throw conflict(`merge ${id} is ${m.status}`);
  }
  if (status === "merging" && m.status !== "merging") {
    m.attempts++;
  }
  m.status = status;
  m.message = message;
  m.notBefore = null;
  saveMerge(t, m);
  return m;
}

/** Takes the outcome of a merge that the container was asked for. One of a merge that has ended changes nothing. */
export function mergeCompleted(t: Tx, rigId: string, entryId: string, req: MergeOutcome): void {
  const told = req.entryId || req.entry_id;
  if (told && told !== entryId) {
    throw badBody("entryId", "is not the entry of the path");
  }
  const m = loadMerge(t, entryId);
  if (m.rigId !== rigId) {
    throw notFound(`merge ${entryId} is not of rig ${rigId}`);
  }
  if (mergeEnded(m.status)) {
    return; // told before, or cancelled meanwhile
  }
  const out = { ...req, commit: req.commit || req.commit_sha || "", message: cut(req.message ?? "", 64 * 1024) };
  const b = loadBead(t, m.beadId);
  m.commit = out.commit || m.commit;
  m.pullRequest = out.pullRequest || m.pullRequest;
  m.message = out.message;
  const verdict = afterMerge(mergeOf(m), b, out);
  endMerge(t, m, b.type === "convoy" ? afterLanding(verdict) : verdict);
}

/** Turns what a merge means for a bead into what it means for a convoy, whose own bead stays open till its branch is in. */
function afterLanding(v: Verdict): Verdict {
  switch (v.call?.event) {
    case "merged":
      return { ...v, call: { ...v.call, event: "close" } };
    case "rework":
    case "give_up":
      return { ...v, call: { ...v.call, event: "fail", reason: v.call.feedback || v.call.reason || "" } };
    default:
      return v;
  }
}

/** Carries out a verdict on a merge and its bead. */
export function endMerge(t: Tx, m: MergeRow, v: Verdict): BeadRow {
  m.status = v.status;
  m.notBefore = v.again ? t.now + v.again : null;
  m.message = m.message || (v.call?.reason ?? "");
  saveMerge(t, m);
  const b = loadBead(t, m.beadId);
  if (!v.call) {
    return b;
  }
  applyTo(t, b, v.call);
  if (v.call.event === "rework") {
    addNote(t, { beadId: b.id, kind: "feedback", by: v.call.by || "town", text: v.call.feedback ?? "", epoch: b.epoch, branch: m.branch });
  }
  return b;
}

/** Closes a bead that was just done in a rig that merges nothing: its branch is on the remote, which is all that is wanted. */
export function mergeNothing(t: Tx, b: BeadRow): BeadRow {
  const m = mustHaveRig(t, b.rigId).merge?.mode === "none" ? liveMergeOf(t, b.id) : undefined;
  return m ? endMerge(t, m, { status: "merged", call: { event: "merged", reason: "the rig merges nothing" } }) : b;
}

/** The merge that a refinery looks at, or the one of that id. */
export function reviewed(t: Tx, agentId: string, id: string): MergeRow {
  if (id === "") {
    const m = t.first<MergeRow>(
      /* sql */ `SELECT ${mergeColumns} FROM merges WHERE reviewer = ? AND status = 'reviewing' ORDER BY n LIMIT 1`,
      agentId,
    );
    if (!m) {
      throw conflict(`${agentId} reviews nothing now`);
    }
    return m;
  }
  const m = loadMerge(t, id);
  if (mergeEnded(m.status) || m.status === "merging") {
    throw conflict(`merge ${id} is ${m.status}`);
  }
  if (m.status === "reviewing" && m.reviewer !== agentId) {
    throw forbidden(`merge ${id} is ${m.reviewer}'s to review`);
  }
  return m;
}

/** Puts the merge that a refinery looks at back into the queue, as one that was looked at: its reviewer stays. */
export function approve(t: Tx, agentId: string): BeadRow {
  const m = setMerge(t, reviewed(t, agentId, "").id, "waiting", `reviewed by ${agentId}`);
  const b = loadBead(t, m.beadId);
  addNote(t, { beadId: b.id, kind: "status", by: agentId, text: "the refinery has nothing against it", branch: m.branch });
  return b;
}

/** Sends a branch back to who made it. */
export function verdictOfReview(b: BeadRow, agentId: string, feedback: string): Verdict {
  return sentBack("rejected", b, { by: agentId, reason: `changes requested by ${agentId}` }, feedback);
}
