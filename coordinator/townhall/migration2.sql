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
