package townhall

import (
	"cmp"
	"context"
	"slices"

	"townd/town"
)

// settingPaused is why nothing is handed out.
const settingPaused = "paused"

// maxWaiting is how many waiting beads a status shows.
const maxWaiting = 20

// Status returns the town on one screen.
func (h *Hall) Status(ctx context.Context) (s town.TownStatus, err error) {
	err = h.read(ctx, func(r reader) error {
		s, err = h.status(r)
		return err
	})
	return s, err
}

func (h *Hall) status(r reader) (s town.TownStatus, err error) {
	s.TownID = h.cfg.TownID
	if s.Paused, err = getSetting(r, settingPaused); err != nil {
		return s, err
	}
	if s.Quota, s.MinQuota, s.Standby, err = h.quota(r); err != nil {
		return s, err
	}
	if s.Instance, err = instanceStatus(r); err != nil {
		return s, err
	}
	if s.Rigs, err = allRigs(r); err != nil {
		return s, err
	}
	if s.Beads, err = countBeads(r); err != nil {
		return s, err
	}
	if s.Agents, err = collect(r, scanAgent, `SELECT `+agentColumns+liveAgents+` ORDER BY a.role, a.id`); err != nil {
		return s, err
	}
	if s.Waiting, err = waiting(r, s.Rigs); err != nil {
		return s, err
	}
	if err := h.explain(r, &s); err != nil {
		return s, err
	}
	if s.Merges, err = collect(r, scanMerge, `SELECT `+mergeColumns+` FROM merges INDEXED BY merges_queue WHERE `+mergeIsLive+` ORDER BY n`); err != nil {
		return s, err
	}
	if s.Questions, err = listQuestions(r, questionOpen); err != nil {
		return s, err
	}
	s.Escalations, err = collect(r, scanEscalation, `SELECT `+escalationColumns+` FROM escalations INDEXED BY escalations_open WHERE status <> 'closed'
		ORDER BY n DESC LIMIT 500`)
	return s, err
}

func countBeads(r reader) (map[town.BeadStatus]int64, error) {
	counts := map[town.BeadStatus]int64{town.BeadOpen: 0, town.BeadInProgress: 0, town.BeadInReview: 0, town.BeadClosed: 0, town.BeadFailed: 0}
	// The first part reads an index only, however many there are.
	err := each(r, func(row scanner) error {
		var status town.BeadStatus
		var n int64
		err := row.Scan(&status, &n)
		counts[status] = n
		return err
	}, `SELECT status, sum(n) FROM (SELECT status, count(*) AS n FROM beads GROUP BY status
		UNION ALL SELECT b.status, -count(*) FROM convoys c JOIN beads b ON b.id = c.id GROUP BY b.status) GROUP BY status`)
	return counts, err
}

// waiting returns open beads: those that are ready, the next first, then the others.
func waiting(r reader, rigs []town.Rig) ([]town.Bead, error) {
	beads := []town.Bead{}
	for _, rig := range rigs {
		ready, err := collect(r, scanBead, `SELECT `+beadColumns+` FROM beads INDEXED BY beads_ready
			WHERE rig_id = ? AND `+beadIsReady+` ORDER BY due LIMIT ?`, rig.RigID, maxWaiting)
		if err != nil {
			return nil, err
		}
		beads = append(beads, ready...)
	}
	slices.SortStableFunc(beads, func(a, b town.Bead) int { return cmp.Compare(due(a), due(b)) })
	if len(beads) < maxWaiting {
		others, err := collect(r, scanBead, `SELECT `+beadColumns+` FROM beads INDEXED BY beads_open
			WHERE status = 'open' AND NOT (`+beadIsReady+`) AND type <> 'convoy' ORDER BY due LIMIT ?`, maxWaiting-len(beads))
		if err != nil {
			return nil, err
		}
		beads = append(beads, others...)
	}
	return beads[:min(len(beads), maxWaiting)], nil
}

// Settings are what can be changed of the town as a whole. What is nil stays.
type Settings struct {
	Paused   *string // why nothing is handed out; "" goes on
	MinQuota *int    // percent, below which no agents are started; 0 for never
}

func (set Settings) check() error {
	var c check
	if set.Paused != nil {
		c.line("paused", *set.Paused, maxReason)
	}
	if set.MinQuota != nil && (*set.MinQuota < 0 || *set.MinQuota > 100) {
		c.add("minQuotaPercent", "must be 0 to 100")
	}
	return c.err()
}

// Set changes settings.
func (h *Hall) Set(ctx context.Context, c Caller, set Settings) (s town.TownStatus, err error) {
	if err := firstOf(c.lead("change the town's settings"), set.check()); err != nil {
		return s, err
	}
	err = h.write(ctx, fact, func(t *tx) error {
		if set.Paused != nil {
			if err := setSetting(t, settingPaused, *set.Paused); err != nil {
				return err
			}
		}
		if set.MinQuota != nil {
			if err := setMinQuota(t, *set.MinQuota); err != nil {
				return err
			}
		}
		s, err = h.status(t)
		return err
	})
	return s, err
}
