import type { Tx } from "./store";

/** How many rows one tidying throws away of each kind. */
const chunk = 2000;

/** How long orders that are done and failures are kept, in milliseconds. */
const keepDone = 7 * 24 * 3_600_000;

/** Throws away what is kept no longer: the oldest events, idempotency keys, orders that are done, failures. */
export function tidy(t: Tx): void {
  t.exec(
    "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - ? LIMIT ?)",
    t.town.keepEvents,
    chunk,
  );
  t.exec("DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE created_at < ? LIMIT ?)", t.now - t.town.keepKeys, chunk);
  t.exec("DELETE FROM orders WHERE n IN (SELECT n FROM orders WHERE done_at < ? LIMIT ?)", t.now - keepDone, chunk);
  t.exec("DELETE FROM failures WHERE n IN (SELECT n FROM failures WHERE at < ? LIMIT ?)", t.now - keepDone, chunk);
}
