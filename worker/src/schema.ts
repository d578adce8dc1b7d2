// The schema of a town's SQLite, that of coordinator/townhall with what a Durable
// Object adds. Migrations lead from each version to the next; one that was released is
// never changed.

export const migrations: readonly string[] = [
  /* sql */ `
-- Times are milliseconds since 1970 in UTC; "" and NULL stand for none as noted.
-- n is the order of making, which clocks cannot disturb.

CREATE TABLE settings (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Containers; the one with the highest epoch is the town's.
CREATE TABLE instance (
  epoch       INTEGER PRIMARY KEY AUTOINCREMENT,
  instance_id TEXT NOT NULL UNIQUE,
  status      TEXT NOT NULL,
  version     TEXT NOT NULL,
  resources   TEXT NOT NULL, -- JSON
  outbox      TEXT NOT NULL, -- JSON
  started_at  INTEGER NOT NULL,
  seen_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE rigs (
  id         TEXT PRIMARY KEY,
  settings   TEXT NOT NULL, -- town.RigSettings as JSON, with the values of envVars
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE beads (
  n                INTEGER PRIMARY KEY AUTOINCREMENT,
  id               TEXT NOT NULL UNIQUE,
  rig_id           TEXT NOT NULL REFERENCES rigs (id) ON DELETE CASCADE,
  type             TEXT NOT NULL,
  title            TEXT NOT NULL,
  body             TEXT NOT NULL,
  status           TEXT NOT NULL CHECK (status IN ('open', 'in_progress', 'in_review', 'closed', 'failed')),
  why              TEXT NOT NULL,
  priority         TEXT NOT NULL,
  labels           TEXT NOT NULL, -- JSON
  source           TEXT NOT NULL,
  dedupe_key       TEXT NOT NULL,
  convoy_id        TEXT NOT NULL,
  attempts         INTEGER NOT NULL,
  max_attempts     INTEGER NOT NULL,
  reworks          INTEGER NOT NULL,
  not_before       INTEGER,
  hold             TEXT NOT NULL,
  name             TEXT NOT NULL, -- of its agent
  agent_id         TEXT NOT NULL,
  epoch            INTEGER NOT NULL,
  lease_expires_at INTEGER,       -- NULL: nobody has it
  lease_since      INTEGER,
  lease_instance   INTEGER,       -- epoch of the container that showed its agent last
  nudges           INTEGER NOT NULL,
  nudged_at        INTEGER,
  branch           TEXT NOT NULL,
  start_point      TEXT NOT NULL,
  target           TEXT NOT NULL,
  commit_id        TEXT NOT NULL,
  pull_request     TEXT NOT NULL,
  summary          TEXT NOT NULL,
  feedback         TEXT NOT NULL,
  checkpoint       TEXT,
  metadata         TEXT,
  due              INTEGER NOT NULL, -- created_at less the head start of its priority
  blockers         INTEGER NOT NULL CHECK (blockers >= 0), -- beads it depends on that are not closed
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL,
  closed_at        INTEGER,
  CHECK ((status = 'in_progress') = (lease_expires_at IS NOT NULL))
) STRICT;
-- The queue of each rig: nothing else is read to find the next bead. A bead with a
-- not_before is in beads_later until its time has come, then it loses it.
CREATE INDEX beads_ready ON beads (rig_id, due) WHERE status = 'open' AND blockers = 0 AND hold = '' AND not_before IS NULL AND type <> 'convoy';
CREATE INDEX beads_later ON beads (not_before) WHERE status = 'open' AND not_before IS NOT NULL;
CREATE INDEX beads_open ON beads (due) WHERE status = 'open';
CREATE INDEX beads_leases ON beads (lease_expires_at) WHERE lease_expires_at IS NOT NULL;
CREATE UNIQUE INDEX beads_one_lease ON beads (agent_id) WHERE lease_expires_at IS NOT NULL;
CREATE UNIQUE INDEX beads_dedupe ON beads (rig_id, dedupe_key) WHERE dedupe_key <> '';
CREATE INDEX beads_status ON beads (status, rig_id);
CREATE INDEX beads_rig ON beads (rig_id);
CREATE INDEX beads_agent ON beads (agent_id) WHERE agent_id <> '';
CREATE INDEX beads_convoy ON beads (convoy_id) WHERE convoy_id <> '';

CREATE TABLE bead_deps (
  bead_id  TEXT NOT NULL REFERENCES beads (id) ON DELETE CASCADE,
  needs_id TEXT NOT NULL REFERENCES beads (id) ON DELETE CASCADE,
  PRIMARY KEY (bead_id, needs_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX bead_deps_needs ON bead_deps (needs_id);

-- Names that live beads of a rig have for their agents.
CREATE TABLE names (
  rig_id  TEXT NOT NULL REFERENCES rigs (id) ON DELETE CASCADE,
  name    TEXT NOT NULL,
  bead_id TEXT NOT NULL UNIQUE REFERENCES beads (id) ON DELETE CASCADE,
  PRIMARY KEY (rig_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE notes (
  n          INTEGER PRIMARY KEY AUTOINCREMENT,
  bead_id    TEXT NOT NULL REFERENCES beads (id) ON DELETE CASCADE,
  kind       TEXT NOT NULL,
  by         TEXT NOT NULL,
  text       TEXT NOT NULL,
  epoch      INTEGER NOT NULL,
  branch     TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX notes_bead ON notes (bead_id);

CREATE TABLE convoys (
  n          INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE REFERENCES beads (id) ON DELETE CASCADE, -- it is a bead as well
  rig_id     TEXT NOT NULL REFERENCES rigs (id) ON DELETE CASCADE,
  title      TEXT NOT NULL,
  mode       TEXT NOT NULL,
  status     TEXT NOT NULL,
  branch     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  closed_at  INTEGER
) STRICT;

CREATE TABLE agents (
  id                 TEXT PRIMARY KEY,
  rig_id             TEXT NOT NULL,
  role               TEXT NOT NULL,
  name               TEXT NOT NULL,
  bead_id            TEXT NOT NULL,
  status             TEXT NOT NULL,
  reason             TEXT NOT NULL,
  turn_state         TEXT NOT NULL,
  turn_count         INTEGER NOT NULL,
  says               TEXT NOT NULL,
  generation         INTEGER NOT NULL,
  run_id             TEXT NOT NULL,
  last_seen_at       INTEGER NOT NULL,
  last_activity_at   INTEGER,
  last_event_type    TEXT NOT NULL,
  last_event_at      INTEGER,
  active_tools       TEXT NOT NULL, -- JSON
  message_count      INTEGER NOT NULL,
  event_cursor       INTEGER NOT NULL,
  input_tokens       INTEGER NOT NULL, -- these and what follows of all its runs
  output_tokens      INTEGER NOT NULL,
  cache_read_tokens  INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  cost_usd           REAL NOT NULL,
  tool_calls         INTEGER NOT NULL,
  rss_bytes          INTEGER NOT NULL,
  cpu_percent        REAL NOT NULL,
  processes          INTEGER NOT NULL,
  started_at         INTEGER
) STRICT;
CREATE INDEX agents_seen ON agents (last_seen_at);
CREATE INDEX agents_live ON agents (id) WHERE status IN ('starting', 'running', 'stopping');

CREATE TABLE runs (
  n                  INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id             TEXT NOT NULL UNIQUE,
  agent_id           TEXT NOT NULL,
  rig_id             TEXT NOT NULL,
  bead_id            TEXT NOT NULL,
  generation         INTEGER NOT NULL,
  status             TEXT NOT NULL,
  reason             TEXT NOT NULL,
  error              TEXT NOT NULL,
  branch             TEXT NOT NULL,
  checkpoint         TEXT NOT NULL,
  started_at         INTEGER NOT NULL,
  ended_at           INTEGER,
  exit_code          INTEGER,
  signal             TEXT NOT NULL,
  input_tokens       INTEGER NOT NULL,
  output_tokens      INTEGER NOT NULL,
  cache_read_tokens  INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  cost_usd           REAL NOT NULL,
  tool_calls         INTEGER NOT NULL
) STRICT;
CREATE INDEX runs_agent ON runs (agent_id);
CREATE INDEX runs_bead ON runs (bead_id);
CREATE INDEX runs_open ON runs (n) WHERE ended_at IS NULL;

CREATE TABLE mail (
  n          INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  sender     TEXT NOT NULL,
  recipient  TEXT NOT NULL,
  subject    TEXT NOT NULL,
  body       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  acked_at   INTEGER
) STRICT;
CREATE INDEX mail_unread ON mail (recipient) WHERE acked_at IS NULL;
CREATE INDEX mail_recipient ON mail (recipient);

CREATE TABLE escalations (
  n          INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  severity   TEXT NOT NULL,
  title      TEXT NOT NULL,
  body       TEXT NOT NULL,
  agent_id   TEXT NOT NULL,
  bead_id    TEXT NOT NULL,
  rig_id     TEXT NOT NULL,
  cause      TEXT NOT NULL,
  count      INTEGER NOT NULL,
  status     TEXT NOT NULL,
  answer     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  closed_at  INTEGER
) STRICT;
CREATE UNIQUE INDEX escalations_cause ON escalations (cause) WHERE cause <> '' AND status <> 'closed';
CREATE INDEX escalations_agent ON escalations (agent_id) WHERE status <> 'closed';
CREATE INDEX escalations_status ON escalations (status);
CREATE INDEX escalations_open ON escalations (n) WHERE status <> 'closed';

CREATE TABLE questions (
  n           INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  agent_id    TEXT NOT NULL,
  bead_id     TEXT NOT NULL,
  question    TEXT NOT NULL,
  options     TEXT NOT NULL, -- JSON
  status      TEXT NOT NULL,
  answer      TEXT NOT NULL,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  answered_at INTEGER
) STRICT;
CREATE INDEX questions_open ON questions (expires_at) WHERE status = 'open';
CREATE INDEX questions_agent ON questions (agent_id);

CREATE TABLE merges (
  n          INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  rig_id     TEXT NOT NULL REFERENCES rigs (id) ON DELETE CASCADE,
  bead_id    TEXT NOT NULL REFERENCES beads (id) ON DELETE CASCADE,
  branch     TEXT NOT NULL,
  target     TEXT NOT NULL,
  status     TEXT NOT NULL,
  attempts   INTEGER NOT NULL,
  message    TEXT NOT NULL,
  commit_id  TEXT NOT NULL,
  pr         TEXT NOT NULL,
  reviewer   TEXT NOT NULL, -- of one that waits: who had nothing against it
  not_before INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX merges_one_of_bead ON merges (bead_id) WHERE status IN ('waiting', 'reviewing', 'merging', 'pull_request');
CREATE UNIQUE INDEX merges_one_at_once ON merges (rig_id) WHERE status = 'merging';
CREATE INDEX merges_queue ON merges (rig_id) WHERE status IN ('waiting', 'reviewing', 'merging', 'pull_request');
CREATE INDEX merges_bead ON merges (bead_id);

CREATE TABLE events (
  seq      INTEGER PRIMARY KEY AUTOINCREMENT,
  agent_id TEXT NOT NULL,
  rig_id   TEXT NOT NULL,
  bead_id  TEXT NOT NULL,
  run_id   TEXT NOT NULL,
  event_id INTEGER NOT NULL,
  event    TEXT NOT NULL,
  data     TEXT NOT NULL, -- JSON
  at       INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_once ON events (run_id, event_id);
CREATE INDEX events_agent ON events (agent_id);
CREATE INDEX events_bead ON events (bead_id) WHERE bead_id <> '';

CREATE TABLE orders (
  n          INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  kind       TEXT NOT NULL,
  agent_id   TEXT NOT NULL,
  data       TEXT, -- JSON
  error      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  done_at    INTEGER
) STRICT;
CREATE INDEX orders_open ON orders (n) WHERE done_at IS NULL;
CREATE INDEX orders_done ON orders (done_at) WHERE done_at IS NOT NULL;

-- Attempts that ended without done, for the breaker.
CREATE TABLE failures (
  n       INTEGER PRIMARY KEY AUTOINCREMENT,
  bead_id TEXT NOT NULL,
  reason  TEXT NOT NULL,
  at      INTEGER NOT NULL
) STRICT;
CREATE INDEX failures_at ON failures (at);

-- An answer is in pieces: a row holds at most 2 MB.
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
`,
  /* sql */ `
-- An escalation that nobody acknowledges is raised again.
ALTER TABLE escalations ADD COLUMN raises INTEGER NOT NULL DEFAULT 0; -- how often it was
ALTER TABLE escalations ADD COLUMN raised_at INTEGER;                 -- when last
ALTER TABLE escalations ADD COLUMN raise_at INTEGER;                  -- when next; NULL: never
UPDATE escalations SET raise_at = created_at + 4 * 3600000 WHERE status = 'open';
CREATE INDEX escalations_raise ON escalations (raise_at) WHERE raise_at IS NOT NULL;

-- Beads that agents make are bounded.
ALTER TABLE beads ADD COLUMN parent_id TEXT NOT NULL DEFAULT ''; -- on which the agent was that made it
ALTER TABLE beads ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;   -- 0: no agent made it; else one more than its parent's
UPDATE beads SET depth = 1, parent_id = coalesce((SELECT bead_id FROM agents WHERE agents.id = substr(source, 7)), '') WHERE source LIKE 'agent:%';
CREATE INDEX beads_children ON beads (parent_id) WHERE parent_id <> '';
CREATE INDEX beads_by_agents ON beads (n) WHERE depth > 0 AND status IN ('open', 'in_progress', 'in_review');

-- What was written down about a bead is thrown away some day after its end.
ALTER TABLE beads ADD COLUMN tidied INTEGER NOT NULL DEFAULT 0; -- 1: it was, since the end of closed_at
CREATE INDEX beads_ended ON beads (closed_at) WHERE closed_at IS NOT NULL AND tidied = 0;
CREATE INDEX mail_read ON mail (acked_at) WHERE acked_at IS NOT NULL;
CREATE INDEX escalations_ended ON escalations (closed_at) WHERE closed_at IS NOT NULL;
`,
];

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
