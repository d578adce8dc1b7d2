// What is kept for how long. Nothing of a bead that has not ended is thrown away but its
// oldest events.
import type { Tx } from "./store";

const day = 24 * 3_600_000;

const keepEvents = 1_000_000; // the newest so many
const keepKeys = 2 * day; // idempotency keys
const keepDone = 7 * day; // orders that are done, failures
const keepReadMail = 30 * day; // mail that was acknowledged
const keepReadMails = 10_000; // but at most so many
const keepEnded = 180 * day; // what was written down about a bead after its end, and closed escalations
const keepEndedBeads = 20_000; // but of so many beads at most

/** How many rows one tidying throws away of each kind. */
const chunk = 2000;

/** Throws away what is kept no longer, and returns whether there may be more of it. */
export function tidy(t: Tx): boolean {
  const gone = [
    t.changed(
      "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - ? LIMIT ?)",
      keepEvents,
      chunk,
    ),
    t.changed("DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE created_at < ? LIMIT ?)", t.now - keepKeys, chunk),
    t.changed("DELETE FROM orders WHERE n IN (SELECT n FROM orders WHERE done_at < ? LIMIT ?)", t.now - keepDone, chunk),
    t.changed("DELETE FROM failures WHERE n IN (SELECT n FROM failures WHERE at < ? LIMIT ?)", t.now - keepDone, chunk),
    t.changed("DELETE FROM escalations WHERE n IN (SELECT n FROM escalations WHERE closed_at < ? LIMIT ?)", t.now - keepEnded, chunk),
    t.changed(
      /* sql */ `DELETE FROM mail WHERE n IN (SELECT n FROM mail WHERE acked_at < max(?, coalesce(
        (SELECT acked_at FROM mail WHERE acked_at IS NOT NULL ORDER BY acked_at DESC LIMIT 1 OFFSET ? - 1), 0)) LIMIT ?)`,
      t.now - keepReadMail,
      keepReadMails,
      chunk,
    ),
  ];
  return tidyEnded(t) || gone.some((n) => n >= chunk);
}

/**
 * Throws away what was written down about beads that ended long ago: the beads themselves,
 * and what became of their merges, stay.
 */
function tidyEnded(t: Tx): boolean {
  const beads = 100;
  const ended = t.all<{ id: string; agentId: string }>(
    /* sql */ `SELECT id, agent_id AS agentId FROM beads WHERE closed_at IS NOT NULL AND tidied = 0 AND closed_at < max(?, coalesce(
      (SELECT closed_at FROM beads WHERE closed_at IS NOT NULL AND tidied = 0 ORDER BY closed_at DESC LIMIT 1 OFFSET ? - 1), 0))
      ORDER BY closed_at LIMIT ?`,
    t.now - keepEnded,
    keepEndedBeads,
    beads,
  );
  let gone = 0;
  for (const { id, agentId } of ended) {
    gone += t.changed("DELETE FROM notes WHERE n IN (SELECT n FROM notes WHERE bead_id = ? LIMIT ?)", id, chunk);
    gone += t.changed("DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE bead_id = ? AND bead_id <> '' LIMIT ?)", id, chunk);
    gone += t.changed("DELETE FROM runs WHERE n IN (SELECT n FROM runs WHERE bead_id = ? LIMIT ?)", id, chunk);
    gone += t.changed(
      "DELETE FROM questions WHERE n IN (SELECT n FROM questions WHERE agent_id = ? AND bead_id = ? LIMIT ?)",
      agentId,
      id,
      chunk,
    );
    gone += t.changed("DELETE FROM mail WHERE n IN (SELECT n FROM mail WHERE recipient = ? AND recipient <> '' LIMIT ?)", agentId, chunk);
    if (gone >= chunk) {
      return true;
    }
    t.exec("UPDATE beads SET tidied = 1 WHERE id = ?", id);
  }
  return ended.length === beads;
}
