package keeper

import "testing"

// A tree can be proven gone before the leader's end is told to the warden: telling
// of it must not have it ended twice.
func TestLeaderToldOfAfterItsTreeIsOver(t *testing.T) {
	w := newWarden(nil)
	r := &run{hunt: &hunt{phase: phaseGone}}
	w.leaderEnded(r)
	if len(w.hunts) > 0 {
		t.Error("the tree is to be ended again")
	}
}
