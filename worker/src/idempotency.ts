import { parse } from "./contract";
import { conflict } from "./errors";
import type { Tx } from "./store";

/** The key of a call, with what tells it from other calls with that key. */
export interface Key {
  key: string;
  fingerprint: string;
}

/** Characters of one piece of an answer: a row holds at most 2 MB. */
const piece = 400_000;

/** Runs fn, unless the key was answered before: then that is the answer again. An error is not kept. */
export function once<T>(t: Tx, key: Key | undefined, fn: () => T): T {
  if (!key) {
    return fn();
  }
  const kept = t.all<{ fingerprint: string; answer: string }>(
    "SELECT fingerprint, answer FROM idempotency WHERE key = ? ORDER BY part",
    key.key,
  );
  if (kept[0] && kept[0].fingerprint !== key.fingerprint) {
    throw conflict(`idempotency key "${key.key}" was given with another call`);
  }
  if (kept[0]) {
    return parse<T>(kept.map((k) => k.answer).join(""));
  }
  const made = fn();
  const json = JSON.stringify(made);
  for (let part = 0; part * piece < json.length; part++) {
    t.exec(
      "INSERT INTO idempotency (key, part, fingerprint, answer, created_at) VALUES (?, ?, ?, ?, ?)",
      key.key,
      part,
      key.fingerprint,
      json.slice(part * piece, (part + 1) * piece),
      t.now,
    );
  }
  return made;
}
