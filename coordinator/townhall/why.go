package townhall

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"townd/town"
)

// surroundings are what else decides whether an open bead is taken.
type surroundings struct {
	now               time.Time
	blockers          []town.Bead // that it depends on and that are not closed
	paused            string      // the town, and why
	standby           *town.Standby
	noContainer       bool
	containerWhy      string // why the container is left alone for now
	rig               town.Rig
	remoteWhy         string // why the rig's remote is left alone for now
	rigLive, rigMax   int
	townLive, townMax int
	ahead             int // ready beads of its rig that come first
}

// whyOpen says to people what an open bead waits for.
func whyOpen(b town.Bead, s surroundings) string {
	switch {
	case b.Type == town.BeadConvoy:
		return "stands for its convoy"
	case b.Hold != "":
		return "is held: " + b.Hold
	case len(s.blockers) > 0:
		return whyBlocked(s.blockers)
	case b.NotBefore != nil && b.NotBefore.After(s.now):
		return whyLater(b)
	case s.paused != "":
		return "town paused: " + s.paused
	case s.rig.Paused:
		return "rig paused"
	case s.standby != nil:
		return fmt.Sprintf("standby until %s: %s", clockTime(s.standby.Until), s.standby.Why)
	case s.noContainer:
		return "no container"
	case s.containerWhy != "":
		return "container is left alone for now: " + s.containerWhy
	case s.remoteWhy != "":
		return "the rig's remote is left alone for now: " + s.remoteWhy
	case s.rigLive >= s.rigMax:
		return fmt.Sprintf("no room: %d of %d agents in rig", s.rigLive, s.rigMax)
	case s.townLive >= s.townMax:
		return fmt.Sprintf("no room: %d of %d agents in the town", s.townLive, s.townMax)
	case s.ahead > 0:
		return fmt.Sprintf("%d before it in its rig", s.ahead)
	}
	return "is next"
}

// whyBlocked names at most three of the beads that one waits for, failed ones first:
// those need somebody.
func whyBlocked(blockers []town.Bead) string {
	var failed, waiting []string
	for _, b := range blockers {
		if b.Status == town.BeadFailed {
			failed = append(failed, b.ID+", which has failed")
		} else {
			waiting = append(waiting, b.ID)
		}
	}
	names := append(failed, waiting...)
	more := ""
	if len(names) > 3 {
		more = fmt.Sprintf(" and %d more", len(names)-3)
		names = names[:3]
	}
	if len(blockers) == 1 {
		return "waits for bead " + names[0]
	}
	return fmt.Sprintf("waits for %d beads: %s%s", len(blockers), strings.Join(names, ", "), more)
}

func whyLater(b town.Bead) string {
	text := "waits until " + clockTime(*b.NotBefore)
	if b.Attempts > 0 {
		text += fmt.Sprintf(": attempt %d of %d", b.Attempts+1, b.MaxAttempts)
		why := strings.TrimPrefix(b.Why, "waits until ")
		if why != b.Why { // what the store wrote at the end of the last attempt
			_, why, _ = strings.Cut(why, ": ")
		}
		if why != "" {
			text += " after " + why
		}
	}
	return text
}

// dispatchView is what a dispatcher lets others see of what it remembers.
type dispatchView struct {
	noContainer  bool
	containerWhy string            // why the container is left alone for now
	remoteWhy    map[string]string // by rig
	maxAgents    int
}

// show publishes what the dispatcher remembers.
func (d *dispatcher) show(now time.Time) {
	v := dispatchView{noContainer: d.cfg.Container() == nil, maxAgents: d.cfg.MaxAgents, remoteWhy: map[string]string{}}
	switch {
	case d.town.draining:
		v.containerWhy = "it drains, and starts nothing until it is replaced or its server is started again"
	case !d.container.lets(now):
		v.containerWhy = d.container.why
	}
	for id, g := range d.rigs {
		if !g.lets(now) {
			v.remoteWhy[id] = g.why
		}
	}
	d.h.dispatching.Store(&v)
}

// explain sets what the open beads of st, in the order in which they are next, wait for.
func (h *Hall) explain(r reader, st *town.TownStatus) error {
	beads := st.Waiting
	common := surroundings{now: r.at(), paused: st.Paused, standby: st.Standby, townMax: math.MaxInt}
	v := h.dispatching.Load()
	if v != nil {
		common.noContainer, common.containerWhy, common.townMax = v.noContainer, v.containerWhy, v.maxAgents
	}
	live := map[string]int{}
	rigIDs, err := collect(r, scanString, `SELECT rig_id FROM beads WHERE lease_expires_at IS NOT NULL`)
	if err != nil {
		return err
	}
	for _, id := range rigIDs {
		live[id]++
	}
	common.townLive = len(rigIDs)
	byID := map[string]town.Rig{}
	for _, rig := range st.Rigs {
		byID[rig.RigID] = rig
	}
	ahead := map[string]int{}
	for i := range beads {
		b, s := &beads[i], common
		s.rig, s.rigLive = byID[b.RigID], live[b.RigID]
		s.rigMax = cmp.Or(s.rig.MaxAgents, town.DefaultRigAgents)
		if v != nil {
			s.remoteWhy = v.remoteWhy[b.RigID]
		}
		if len(b.DependsOn) > 0 {
			if s.blockers, err = collect(r, func(row scanner) (need town.Bead, err error) {
				err = row.Scan(&need.ID, &need.Status)
				return need, err
			}, `SELECT id, status FROM beads WHERE status <> 'closed' AND id IN (SELECT needs_id FROM bead_deps WHERE bead_id = ?) ORDER BY n`, b.ID); err != nil {
				return err
			}
		}
		s.ahead = ahead[b.RigID]
		if b.Hold == "" && len(s.blockers) == 0 && (b.NotBefore == nil || !b.NotBefore.After(s.now)) {
			ahead[b.RigID]++
		}
		b.Why = whyOpen(*b, s)
	}
	return nil
}
