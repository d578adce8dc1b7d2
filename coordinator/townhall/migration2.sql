-- An escalation that nobody acknowledges is raised again.
ALTER TABLE escalations ADD COLUMN raises INTEGER NOT NULL DEFAULT 0; -- how often it was
ALTER TABLE escalations ADD COLUMN raised_at INTEGER;                 -- when last
ALTER TABLE escalations ADD COLUMN raise_at INTEGER;                  -- when next; NULL: never
UPDATE escalations SET raise_at = created_at + 4 * 3600000 WHERE status = 'open';
CREATE INDEX escalations_raise ON escalations (raise_at) WHERE raise_at IS NOT NULL;
