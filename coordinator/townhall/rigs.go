package townhall

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"townd/town"
)

// PutRig makes or changes a rig; created tells which. Variables of envVars that
// are given with an empty value keep the value that they have.
func (h *Hall) PutRig(ctx context.Context, c Caller, rigID string, set town.RigSettings) (rig town.Rig, created bool, err error) {
	if err := firstOf(c.lead("change rigs"), checkRig(rigID, set)); err != nil {
		return town.Rig{}, false, err
	}
	err = h.write(ctx, fact, func(t *tx) error {
		old, err := loadRig(t, rigID)
		created = errors.Is(err, town.ErrNotFound)
		if err != nil && !created {
			return err
		}
		rig = town.Rig{RigID: rigID, RigSettings: set, CreatedAt: t.now, UpdatedAt: t.now}
		rig.EnvVars = maps.Clone(set.EnvVars)
		for name, value := range rig.EnvVars {
			if value == "" {
				rig.EnvVars[name] = old.EnvVars[name]
			}
		}
		if !created {
			rig.CreatedAt = old.CreatedAt
		}
		t.tell(topicWork)
		_, err = t.exec(`INSERT INTO rigs (id, settings, created_at, updated_at) VALUES (?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at`,
			rigID, jsonText(rig.RigSettings), ms(rig.CreatedAt), ms(rig.UpdatedAt))
		return err
	})
	if err != nil {
		return town.Rig{}, false, fmt.Errorf("keep rig %s: %w", rigID, err)
	}
	return withoutSecrets(rig), created, nil
}

// withoutSecrets returns a rig as it is answered: with the names of its variables only.
func withoutSecrets(rig town.Rig) town.Rig {
	if rig.EnvVars != nil {
		names := make(map[string]string, len(rig.EnvVars))
		for name := range rig.EnvVars {
			names[name] = ""
		}
		rig.EnvVars = names
	}
	return rig
}

const rigColumns = `id, settings, created_at, updated_at`

func scanRig(row scanner) (rig town.Rig, err error) {
	var settings string
	var created, updated int64
	if err := row.Scan(&rig.RigID, &settings, &created, &updated); err != nil {
		return rig, err
	}
	rig.CreatedAt, rig.UpdatedAt = timeOf(created), timeOf(updated)
	return rig, json.Unmarshal([]byte(settings), &rig.RigSettings)
}

func loadRig(r reader, id string) (town.Rig, error) {
	rig, err := scanRig(r.row(`SELECT `+rigColumns+` FROM rigs WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return rig, fmt.Errorf("rig %s: %w", id, town.ErrNotFound)
	}
	return rig, err
}

func allRigs(r reader) ([]town.Rig, error) {
	rigs, err := collect(r, scanRig, `SELECT `+rigColumns+` FROM rigs ORDER BY id`)
	for i := range rigs {
		rigs[i] = withoutSecrets(rigs[i])
	}
	return rigs, err
}

// Rigs returns every rig by id. Values of envVars are "".
func (h *Hall) Rigs(ctx context.Context) (rigs []town.Rig, err error) {
	err = h.read(ctx, func(r reader) error {
		rigs, err = allRigs(r)
		return err
	})
	return rigs, err
}

// Rig returns one rig. Values of envVars are "".
func (h *Hall) Rig(ctx context.Context, rigID string) (town.Rig, error) {
	rig, err := h.rigWithSecrets(ctx, rigID)
	return withoutSecrets(rig), err
}

// rigWithSecrets returns a rig with the values of its envVars, for starts.
func (h *Hall) rigWithSecrets(ctx context.Context, rigID string) (rig town.Rig, err error) {
	err = h.read(ctx, func(r reader) error {
		rig, err = loadRig(r, rigID)
		return err
	})
	return rig, err
}

// DeleteRig forgets a rig with its beads. It returns town.ErrConflict while one is
// in progress or in review.
func (h *Hall) DeleteRig(ctx context.Context, c Caller, rigID string) error {
	if err := c.lead("delete rigs"); err != nil {
		return err
	}
	return h.write(ctx, fact, func(t *tx) error {
		if _, err := loadRig(t, rigID); err != nil {
			return err
		}
		var busy int
		err := t.row(`SELECT count(*) FROM beads WHERE status IN ('in_progress', 'in_review') AND rig_id = ?`, rigID).Scan(&busy)
		if err != nil {
			return err
		}
		if busy > 0 {
			return fmt.Errorf("rig %s has %d beads in progress or in review: %w", rigID, busy, town.ErrConflict)
		}
		// Beads of other rigs that wait for one of this rig wait no longer.
		if _, err := t.exec(`UPDATE beads SET blockers = blockers - (SELECT count(*) FROM bead_deps d JOIN beads n ON n.id = d.needs_id
			WHERE d.bead_id = beads.id AND n.rig_id = ?1 AND n.status <> 'closed')
			WHERE rig_id <> ?1 AND id IN (SELECT d.bead_id FROM bead_deps d JOIN beads n ON n.id = d.needs_id WHERE n.rig_id = ?1)`, rigID); err != nil {
			return err
		}
		t.tell(topicWork)
		_, err = t.exec(`DELETE FROM rigs WHERE id = ?`, rigID)
		return err
	})
}
