// The town on one screen.
import { liveAgents } from "./agentrows";
import { type BeadRow, beadColumns, due } from "./beadrows";
import { type BeadStatus, type Rig, text } from "./contract";
import { openEscalations } from "./escalations";
import { instanceStatus } from "./instance";
import { liveMerges } from "./merges";
import { listQuestions } from "./questions";
import { quotaState } from "./quota";
import { listRigs } from "./rigs";
import type { Tx } from "./store";
import { explained } from "./why";

/** How many waiting beads are shown. */
const maxWaiting = 20;

/** The condition of the index beads_ready. */
export const beadIsReady = "status = 'open' AND blockers = 0 AND hold = '' AND not_before IS NULL AND type <> 'convoy'";

export function townStatus(t: Tx) {
  const rigs = listRigs(t);
  const paused = t.setting("paused");
  return {
    townId: t.town.townId,
    paused: text(paused),
    ...quotaState(t),
    instance: instanceStatus(t),
    rigs,
    beads: countBeads(t),
    agents: liveAgents(t),
    waiting: explained(t, waiting(t, rigs), rigs, paused),
    merges: liveMerges(t),
    questions: listQuestions(t, "open"),
    escalations: openEscalations(t, null),
  };
}

function countBeads(t: Tx): Record<BeadStatus, number> {
  const counts = { open: 0, in_progress: 0, in_review: 0, closed: 0, failed: 0 };
  for (const row of t.all<{ status: BeadStatus; n: number }>(
    "SELECT status, count(*) AS n FROM beads WHERE type <> 'convoy' GROUP BY status",
  )) {
    counts[row.status] = row.n;
  }
  return counts;
}

/** Open beads: those that are ready, the next first, then the others. */
function waiting(t: Tx, rigs: Rig[]): BeadRow[] {
  const ready = rigs
    .flatMap((rig) =>
      t.all<BeadRow>(
        /* sql */ `SELECT ${beadColumns} FROM beads INDEXED BY beads_ready WHERE rig_id = ? AND ${beadIsReady} ORDER BY due LIMIT ?`,
        rig.rigId,
        maxWaiting,
      ),
    )
    .sort((a, b) => due(a) - due(b))
    .slice(0, maxWaiting);
  const others = t.all<BeadRow>(
    /* sql */ `SELECT ${beadColumns} FROM beads WHERE status = 'open' AND NOT (${beadIsReady}) AND type <> 'convoy' ORDER BY due LIMIT ?`,
    maxWaiting - ready.length,
  );
  return [...ready, ...others];
}
