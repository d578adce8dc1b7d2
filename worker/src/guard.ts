// The bounds of beads that agents make (R16): an agent may file what it comes across, and
// whoever works on that may again.
import { type BeadRow, beadColumns } from "./beadrows";
import type { Caller } from "./caller";
import { conflict } from "./errors";
import type { Tx } from "./store";

/**
 * Says from where a bead comes that an agent makes, and refuses it where there are too
 * many. Returns the bead of that title that was made on the same one before, if there is
 * one: agents begin anew and forget.
 */
export function guard(t: Tx, c: Caller, b: BeadRow): BeadRow | undefined {
  const { depth, perBead } = t.town.beads;
  const parent = t.first<{ id: string; depth: number }>(
    "SELECT b.id, b.depth FROM agents a JOIN beads b ON b.id = a.bead_id WHERE a.id = ?",
    c.agentId,
  );
  if (!parent) {
    roomForMore(t, 1); // the mayor, and who was started by hand
    return undefined;
  }
  const same = t.first<BeadRow>(
    /* sql */ `SELECT ${beadColumns} FROM beads WHERE parent_id = ? AND parent_id <> '' AND trim(title) = trim(?) COLLATE NOCASE ORDER BY n LIMIT 1`,
    parent.id,
    b.title,
  );
  if (same) {
    return same;
  }
  if (parent.depth >= depth) {
    throw conflict(
      `bead ${parent.id} is the last of ${parent.depth} that agents made one after the other, the most is ${depth} (AGENT_BEADS_DEPTH): ` +
        "do it as part of your own bead, or leave it there as a note for people",
    );
  }
  const made = t.count("SELECT count(*) AS n FROM beads WHERE parent_id = ? AND parent_id <> ''", parent.id);
  if (made >= perBead) {
    throw conflict(
      `${made} beads were made on bead ${parent.id}, the most is ${perBead} (AGENT_BEADS_PER_BEAD): ` +
        "put what is left into one note of your own bead, or do it there",
    );
  }
  roomForMore(t, 1);
  b.parentId = parent.id;
  b.depth = parent.depth + 1;
  return undefined;
}

/** Refuses more beads of agents than the town is to have at once. */
export function roomForMore(t: Tx, more: number): void {
  const open = t.count(
    /* sql */ `SELECT count(*) AS n FROM beads WHERE depth > 0 AND status IN ('open', 'in_progress', 'in_review') AND type <> 'convoy'`,
  );
  const most = t.town.beads.open;
  if (open + more > most) {
    throw conflict(
      `${open} beads that agents made have not ended, the most is ${most} (AGENT_BEADS_OPEN): ` +
        "wait until some have, or have those closed that nobody needs",
    );
  }
}
