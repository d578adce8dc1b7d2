package townhall

import (
	"fmt"
	"strings"
	"time"

	"townd/town"
)

// surroundings are what else decides whether an open bead is taken.
type surroundings struct {
	now               time.Time
	blockers          []town.Bead // that it depends on and that are not closed
	paused            string      // the town, and why
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
		return "on hold: " + b.Hold
	case len(s.blockers) > 0:
		return whyBlocked(s.blockers)
	case b.NotBefore != nil && b.NotBefore.After(s.now):
		return whyLater(b)
	case s.paused != "":
		return "town paused: " + s.paused
	case s.rig.Paused:
		return "rig paused"
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
