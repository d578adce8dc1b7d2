package townhall

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"

	"townd/town"
)

// BeadCaps bound the beads that agents make (R16): an agent may file what it comes
// across, and whoever works on that may again. Zero values are the defaults.
type BeadCaps struct {
	Depth   int // that agents make one after the other, each on the one before
	PerBead int // that the agents of one bead make, in all its attempts
	Open    int // that agents made and that have not ended, in the town
}

// The defaults of BeadCaps.
const (
	DefaultBeadDepth    = 3
	DefaultBeadsPerBead = 20
	DefaultOpenBeads    = 200
)

func (c *BeadCaps) setDefaults() {
	c.Depth = cmp.Or(c.Depth, DefaultBeadDepth)
	c.PerBead = cmp.Or(c.PerBead, DefaultBeadsPerBead)
	c.Open = cmp.Or(c.Open, DefaultOpenBeads)
}

// guard says from where a bead comes that an agent makes, and refuses it with
// town.ErrConflict where there are too many. known tells that first, of the same title,
// was made on the same bead before: agents begin anew and forget.
func guard(t *tx, c Caller, b *beadRow) (first town.Bead, known bool, err error) {
	caps := t.h.cfg.Beads
	err = t.row(`SELECT b.id, b.depth + 1 FROM agents a JOIN beads b ON b.id = a.bead_id WHERE a.id = ?`, c.AgentID).Scan(&b.ParentID, &b.depth)
	if errors.Is(err, sql.ErrNoRows) { // the mayor, and who was started by hand
		return first, false, roomForMore(t, 1)
	} else if err != nil {
		return first, false, err
	}
	first, err = scanBead(t.row(`SELECT `+beadColumns+` FROM beads INDEXED BY beads_children WHERE parent_id = ? AND parent_id <> ''
		AND trim(title) = trim(?) COLLATE NOCASE ORDER BY n LIMIT 1`, b.ParentID, b.Title))
	if !errors.Is(err, sql.ErrNoRows) {
		return first, err == nil, err
	}
	if b.depth > caps.Depth {
		return first, false, fmt.Errorf("bead %s is the last of %d that agents made one after the other, the most is %d (TOWND_AGENT_BEADS_DEPTH): "+
			"do it as part of your own bead, or leave it there as a note for people: %w", b.ParentID, b.depth-1, caps.Depth, town.ErrConflict)
	}
	var made int
	if err := t.row(`SELECT count(*) FROM beads INDEXED BY beads_children WHERE parent_id = ? AND parent_id <> ''`, b.ParentID).Scan(&made); err != nil {
		return first, false, err
	}
	if made >= caps.PerBead {
		return first, false, fmt.Errorf("%d beads were made on bead %s, the most is %d (TOWND_AGENT_BEADS_PER_BEAD): "+
			"put what is left into one note of your own bead, or do it there: %w", made, b.ParentID, caps.PerBead, town.ErrConflict)
	}
	return first, false, roomForMore(t, 1)
}

// roomForMore refuses more beads of agents than the town is to have at once.
func roomForMore(t *tx, more int) error {
	var open int
	if err := t.row(`SELECT count(*) FROM beads INDEXED BY beads_by_agents WHERE depth > 0 AND status IN ('open', 'in_progress', 'in_review')
		AND type <> 'convoy'`).Scan(&open); err != nil {
		return err
	}
	if most := t.h.cfg.Beads.Open; open+more > most {
		return fmt.Errorf("%d beads that agents made have not ended, the most is %d (TOWND_AGENT_BEADS_OPEN): "+
			"wait until some have, or have those closed that nobody needs: %w", open, most, town.ErrConflict)
	}
	return nil
}
