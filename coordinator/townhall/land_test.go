package townhall

import (
	"testing"

	"townd/town"
)

func TestConvoyGoesOnAsItsBeadsDo(t *testing.T) {
	const open, failed, closed = town.BeadOpen, town.BeadFailed, town.BeadClosed
	members := func(statuses ...town.BeadStatus) (all []convoyMember) { // each needs the one before
		for i, s := range statuses {
			m := convoyMember{id: string(rune('a' + i)), status: s}
			if i > 0 {
				m.needs = []string{all[i-1].id, "elsewhere"}
			}
			all = append(all, m)
		}
		return all
	}
	sideBySide := []convoyMember{{id: "a", status: failed}, {id: "b", status: open}}
	for _, c := range []struct {
		name    string
		own     town.BeadStatus
		status  town.ConvoyStatus
		mode    town.ConvoyMode
		members []convoyMember
		begun   bool
		want    convoyStep
	}{
		{"staged", open, town.ConvoyStaged, town.LandAtEnd, members(closed), true, convoyWaits},
		{"empty", open, town.ConvoyOpen, town.LandAtEnd, nil, false, convoyWaits},
		{"under way", open, town.ConvoyOpen, town.LandAtEnd, members(closed, open), true, convoyWaits},
		{"all closed, at the end", open, town.ConvoyOpen, town.LandAtEnd, members(closed, closed), true, convoyLands},
		{"all closed, one by one", open, town.ConvoyOpen, town.LandOneByOne, members(closed, closed), false, convoyCloses},
		{"all closed without a change", open, town.ConvoyOpen, town.LandAtEnd, members(closed, closed), false, convoyCloses},
		{"landing", open, town.ConvoyLanding, town.LandAtEnd, members(closed), true, convoyWaits},
		{"one failed, others can", open, town.ConvoyOpen, town.LandOneByOne, sideBySide, false, convoyWaits},
		{"one failed, the rest needs it", open, town.ConvoyOpen, town.LandOneByOne, members(closed, failed, open, open), false, convoyFails},
		{"failed stays failed", failed, town.ConvoyFailed, town.LandOneByOne, members(closed, failed, open), false, convoyWaits},
		{"failed goes on after a retry", failed, town.ConvoyFailed, town.LandOneByOne, members(closed, open, open), false, convoyReopens},
		{"landing failed", failed, town.ConvoyFailed, town.LandAtEnd, members(closed), true, convoyWaits},
		{"landing failed, retried", open, town.ConvoyFailed, town.LandAtEnd, members(closed), true, convoyReopens},
		{"closed by a person", closed, town.ConvoyOpen, town.LandAtEnd, members(open), true, convoyCloses},
		{"failed by a person", failed, town.ConvoyOpen, town.LandAtEnd, members(open), true, convoyFails},
		{"closed by a person while it lands", closed, town.ConvoyLanding, town.LandAtEnd, members(closed), true, convoyCloses},
		{"closed", closed, town.ConvoyClosed, town.LandOneByOne, members(closed), false, convoyWaits},
	} {
		if got := nextStep(town.Convoy{Status: c.status, Mode: c.mode}, c.own, c.members, c.begun); got != c.want {
			t.Errorf("%s: step %d, want %d", c.name, got, c.want)
		}
	}
}
