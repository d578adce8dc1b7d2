// The schema of a town's SQLite, that of coordinator/townhall with what a Durable
// Object adds. Migrations lead from each version to the next; one that was released is
// never changed.
import migration1 from "../../coordinator/townhall/migration1.sql";
import migration2 from "../../coordinator/townhall/migration2.sql";

const added1 = /* sql */ `
-- An answer is in pieces: a row holds at most 2 MB.
DROP TABLE idempotency;
CREATE TABLE idempotency (
  key         TEXT NOT NULL,
  part        INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  answer      TEXT NOT NULL, -- JSON
  created_at  INTEGER NOT NULL,
  PRIMARY KEY (key, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (created_at);

-- What the dispatcher remembers of something that fails as a whole: "container", or "rig:<id>".
CREATE TABLE gates (
  id         TEXT PRIMARY KEY,
  failures   INTEGER NOT NULL,
  until      INTEGER NOT NULL,
  why        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What it remembers of merges that the container was asked for.
CREATE TABLE asked (
  merge_id TEXT PRIMARY KEY REFERENCES merges (id) ON DELETE CASCADE,
  pull     INTEGER NOT NULL, -- 1: its pull request is open
  instance TEXT NOT NULL,    -- of the container that was asked
  again    INTEGER NOT NULL, -- when it is asked for again
  failures INTEGER NOT NULL  -- calls that failed in a row, or looks at a pull request
) STRICT, WITHOUT ROWID;

-- What GitHub has told, as it came.
CREATE TABLE deliveries (
  n           INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  event       TEXT NOT NULL,
  size        INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  handled_at  INTEGER,
  result      TEXT NOT NULL
) STRICT;
CREATE INDEX deliveries_waiting ON deliveries (n) WHERE handled_at IS NULL;

-- The body of a delivery in pieces: a row holds at most 2 MB.
CREATE TABLE delivery_parts (
  delivery_n INTEGER NOT NULL REFERENCES deliveries (n) ON DELETE CASCADE,
  part       INTEGER NOT NULL,
  data       BLOB NOT NULL,
  PRIMARY KEY (delivery_n, part)
) STRICT, WITHOUT ROWID;
`;

export const migrations: readonly string[] = [migration1 + added1, migration2];

/** Brings a store to the newest version. */
export function migrate(storage: DurableObjectStorage): void {
  storage.sql.exec("CREATE TABLE IF NOT EXISTS version (n INTEGER NOT NULL) STRICT");
  const version = storage.sql.exec<{ n: number }>("SELECT coalesce(max(n), 0) AS n FROM version").one().n;
  for (const [i, step] of migrations.entries()) {
    if (i >= version) {
      storage.transactionSync(() => {
        storage.sql.exec(step);
        storage.sql.exec("INSERT INTO version (n) VALUES (?)", i + 1);
      });
    }
  }
}
