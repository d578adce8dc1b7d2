// Who is next, and whose time is over.
import { type AgentRow, agentStarts } from "./agentrows";
import { applyTo, cutOff, giveBack, hasRun, lose } from "./apply";
import { type BeadRow, beadColumns, loadBead, waitsForAgent } from "./beadrows";
import type { TurnState } from "./contract";
import { raiseAgain } from "./escalations";
import { mergeIsLive } from "./merges";
import { pickName } from "./names";
import { expireQuestions } from "./questions";
import { beadIsReady } from "./status";
import type { Tx } from "./store";

/** Gives the next bead of a rig to an agent. Its first attempt gives it a name, agent id and branch, which later ones keep. */
export function claimNext(t: Tx, rigId: string): BeadRow | undefined {
  wakeLater(t);
  const next = t.first<{ id: string }>(
    /* sql */ `SELECT id FROM beads INDEXED BY beads_ready WHERE rig_id = ? AND ${beadIsReady} ORDER BY due LIMIT 1`,
    rigId,
  );
  if (!next) {
    return undefined;
  }
  const b = loadBead(t, next.id);
  let { agentId, branch } = b;
  if (b.name === "") {
    b.name = pickName(new Set(t.all<{ name: string }>("SELECT name FROM names WHERE rig_id = ?", rigId).map((row) => row.name)));
    const suffix = b.id.slice(-8);
    agentId = `${b.name}-${suffix}`;
    branch = `polecat/${b.name}/${suffix}`;
  }
  applyTo(t, b, { event: "claim", agentId, branch, leaseEnd: t.leaseEnd });
  agentStarts(t, b);
  return b;
}

/** Takes the notBefore of beads whose time has come, so that they are in the queue. */
export function wakeLater(t: Tx): void {
  t.exec(
    /* sql */ `UPDATE beads SET not_before = NULL, why = CASE WHEN hold = '' AND blockers = 0 THEN ? ELSE why END
      WHERE status = 'open' AND not_before IS NOT NULL AND not_before <= ?`,
    waitsForAgent,
    t.now,
  );
}

/**
 * Does what time alone brings about: leases and questions end, escalations are raised
 * again. unanswered are the epochs of starts of which nobody knows what became of them.
 */
export function endLeases(t: Tx, unanswered: Map<string, number>): void {
  const over = t.all<BeadRow>(
    /* sql */ `SELECT ${beadColumns} FROM beads WHERE lease_expires_at IS NOT NULL AND lease_expires_at <= ?`,
    t.now,
  );
  for (const b of over) {
    console.warn({ message: "lease ended", bead: b.id, agent: b.agentId, epoch: b.epoch });
    if (unanswered.get(b.id) === b.epoch && !hasRun(t, b)) {
      cutOff(t, b, "its start was not answered");
    } else {
      lose(t, b, "expire", `its agent ${b.agentId} was not heard of any more`);
    }
    unanswered.delete(b.id);
  }
  expireQuestions(t);
  raiseAgain(t);
}

/** Ends the lease of a bead whose agent could not be started. An older epoch changes nothing. */
export function released(t: Tx, beadId: string, epoch: number, reason: string): void {
  const b = loadBead(t, beadId);
  if (b.leaseEnd !== null && b.epoch === epoch) {
    lose(t, b, "release", reason);
  }
}

/**
 * Ends the claim of a bead that could not be started through no fault of its own: it was
 * not an attempt. The next lease is newer than generation, that of an agent which the
 * container knows and this town does not.
 */
export function handBack(t: Tx, bead: BeadRow, reason: string, notBefore: number | null, generation: number): void {
  if (giveBack(t, loadBead(t, bead.id), bead.epoch, reason)) {
    t.exec("UPDATE beads SET not_before = ?, epoch = max(epoch, ?) WHERE id = ?", notBefore, generation, bead.id);
  }
}

/** The beads in progress by rig. */
export function liveByRig(t: Tx): Map<string, number> {
  const rows = t.all<{ rig: string; n: number }>(
    "SELECT rig_id AS rig, count(*) AS n FROM beads WHERE lease_expires_at IS NOT NULL GROUP BY rig_id",
  );
  return new Map(rows.map((row) => [row.rig, row.n]));
}

/** The rigs that have a bead which could be claimed now, by id. */
export function readyRigs(t: Tx): string[] {
  return t
    .all<{ rig: string }>(/* sql */ `SELECT DISTINCT rig_id AS rig FROM beads INDEXED BY beads_ready WHERE ${beadIsReady} ORDER BY rig_id`)
    .map((row) => row.rig);
}

/** When time alone next changes something, 0 for never. */
export function nextDeadline(t: Tx): number {
  return t.count(
    /* sql */ `SELECT coalesce(min(at), 0) AS n FROM (
      SELECT min(lease_expires_at) AS at FROM beads WHERE lease_expires_at IS NOT NULL
      UNION ALL SELECT min(not_before) FROM beads WHERE status = 'open' AND not_before IS NOT NULL AND not_before > ?1
      UNION ALL SELECT min(not_before) FROM merges WHERE ${mergeIsLive} AND not_before > ?1
      UNION ALL SELECT min(expires_at) FROM questions WHERE status = 'open'
      UNION ALL SELECT min(raise_at) FROM escalations WHERE raise_at IS NOT NULL)`,
    t.now,
  );
}

/** A bead in progress whose agent shows no activity, with when it last did. */
export type QuietBead = BeadRow & { quietSince: number };

/** The beads in progress whose agent's turn is over, or that is in a turn, with its last activity. */
export function quietBeads(t: Tx, turn: TurnState): QuietBead[] {
  return t
    .all<BeadRow>(
      /* sql */ `SELECT ${beadColumns} FROM beads WHERE lease_expires_at IS NOT NULL AND agent_id IN
        (SELECT a.id FROM agents a WHERE a.id = beads.agent_id AND a.generation = beads.epoch AND a.status IN ('starting', 'running')
        AND a.turn_state = ? AND a.last_activity_at <= ?) ORDER BY n`,
      turn,
      t.now,
    )
    .map((b) => ({
      ...b,
      quietSince:
        t.first<Pick<AgentRow, "lastActivityAt">>("SELECT last_activity_at AS lastActivityAt FROM agents WHERE id = ?", b.agentId)
          ?.lastActivityAt ?? t.now,
    }));
}
