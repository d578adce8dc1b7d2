// Looks after somebody who does not move. What a function returns is when to look
// again, 0 for not by time alone.
import { applyByID } from "./apply";
import { type QuietBead, quietBeads, released } from "./claims";
import { raise } from "./escalations";
import { mergeIsLive } from "./merges";
import { message, orderOnce } from "./orders";
import type { Tx } from "./store";

const idleAfter = 10 * 60_000; // an agent whose turn has ended without done is nudged
const nudgeEvery = 10 * 60_000; // between nudges, and before people are told
const nudges = 2; // before people are told
const silentAfter = 3_600_000; // a working agent without any sign is told to people
const stopSilent = 2 * 3_600_000; // and is ended
const strayAfter = 2 * 60_000; // an agent whose bead is no longer its own is ended
const forgetAfter = 24 * 3_600_000; // an ended agent whose bead has ended is forgotten, with its output
const keepEnded = 200; // but at most so many are kept, for each has a user of its own

const nudgeText =
  "Your turn has ended, but your bead is not handed over: ending a turn is not done. " +
  "If the work is finished, push and call gt_done. If nothing needs to change, close the bead and say why. " +
  "If you cannot go on, call gt_escalate. Otherwise go on now.";

/** The earlier of two times of which 0 is none. */
export function sooner(a: number, b: number): number {
  return a === 0 || b === 0 ? Math.max(a, b) : Math.min(a, b);
}

/** Nudges agents whose turn has ended without a word of what became of their bead, and at last tells people: idle is not done. */
export function watchIdle(t: Tx): number {
  let again = 0;
  for (const b of quietBeads(t, "idle")) {
    const due = b.nudgedAt === null ? b.quietSince + idleAfter : b.nudgedAt + nudgeEvery;
    if (t.now < due) {
      again = sooner(again, due);
    } else if (b.nudges >= nudges) {
      applyByID(t, b.id, {
        event: "block",
        epoch: b.epoch,
        cause: `idle:${b.id}`,
        reason: `its agent ${b.agentId} is idle since ${clock(b.quietSince)}, without done, after ${b.nudges} nudges`,
      });
    } else {
      message(t, b.agentId, nudgeText, "idle");
      t.exec("UPDATE beads SET nudges = nudges + 1, nudged_at = ? WHERE id = ?", t.now, b.id);
      again = sooner(again, t.now + nudgeEvery);
    }
  }
  return again;
}

/** Tells people of agents that work without any sign, and at last ends them. told are those that people were told of, by bead. */
export function watchSilent(t: Tx, told: Map<string, number>): number {
  let again = 0;
  for (const b of quietBeads(t, "working")) {
    again = sooner(again, watchOneSilent(t, b, told));
  }
  return again;
}

function watchOneSilent(t: Tx, b: QuietBead, told: Map<string, number>): number {
  const reason = `its agent ${b.agentId} shows no sign since ${clock(b.quietSince)}`;
  if (t.now < b.quietSince + silentAfter) {
    return b.quietSince + silentAfter;
  }
  if (t.now >= b.quietSince + stopSilent) {
    released(t, b.id, b.epoch, reason); // the agent is a stray from now on
    orderOnce(t, "stop", b.agentId);
    return 0;
  }
  if (told.get(b.id) !== b.epoch) {
    told.set(b.id, b.epoch);
    raise(t, {
      severity: "medium",
      title: `Agent ${b.agentId} is silent`,
      body: `Bead ${b.id}: ${reason}`,
      agentId: b.agentId,
      beadId: b.id,
      rigId: b.rigId,
      cause: `silent:${b.id}:${b.epoch}`,
    });
  }
  return b.quietSince + stopSilent;
}

/** Ends agents whose bead is no longer theirs, and has the container forget agents whose bead has ended: until then people can look at what they did. */
export function clearStrays(t: Tx): number {
  const strays = t.all<{ agentId: string; live: number; since: number }>(
    /* sql */ `SELECT a.id AS agentId, a.status IN ('starting', 'running', 'stopping') AS live, coalesce(b.updated_at, a.last_seen_at) AS since
      FROM agents a LEFT JOIN beads b ON b.id = a.bead_id
      WHERE a.last_seen_at >= (SELECT max(seen_at) FROM instance) AND a.status <> 'stopping'
      AND CASE WHEN a.role = 'refinery'
        THEN NOT EXISTS (SELECT 1 FROM merges m WHERE m.rig_id = a.rig_id AND ${mergeIsLive.replace("status", "m.status")} AND m.status = 'reviewing' AND m.reviewer = a.id)
      WHEN a.role <> 'polecat' THEN 0
      WHEN a.status IN ('starting', 'running') THEN b.id IS NULL OR b.status <> 'in_progress' OR b.epoch <> a.generation
      ELSE b.id IS NULL OR b.status IN ('closed', 'failed') END
      AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.agent_id = a.id AND o.kind IN ('stop', 'forget')
        AND (o.done_at IS NULL OR o.created_at >= a.last_seen_at))
      ORDER BY live DESC, since DESC`,
  );
  let again = 0;
  let kept = 0;
  for (const { agentId, live, since } of strays) {
    kept += live ? 0 : 1;
    const due = since + (live ? strayAfter : forgetAfter);
    if (t.now < due && kept <= keepEnded) {
      again = sooner(again, due);
    } else {
      orderOnce(t, live ? "stop" : "forget", agentId);
    }
  }
  return again;
}

const clock = (ms: number) => new Date(ms).toISOString().slice(11, 16);
