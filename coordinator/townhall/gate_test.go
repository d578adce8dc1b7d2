package townhall

import (
	"testing"
	"time"
)

func TestGateOpensForOneAtATimeUntilItSucceeds(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var g gate
	if !g.lets(now) || !g.opens(now).IsZero() {
		t.Fatal("a new gate is shut")
	}
	g.enter()
	g.enter()
	g.fail(now, "down", 0)
	g.fail(now, "down", 0) // of the same outage
	g.leave()
	g.leave()
	if g.failures != 1 || g.lets(now.Add(gateDelays[0]-1)) || !g.opens(now).Equal(now.Add(gateDelays[0])) {
		t.Errorf("after one outage: %+v", g)
	}
	now = now.Add(gateDelays[0])
	if !g.lets(now) {
		t.Error("nobody may try after the delay")
	}
	g.enter()
	if g.lets(now) {
		t.Error("a second one may try at once")
	}
	g.leave()
	g.fail(now, "down", time.Hour)
	if want := now.Add(time.Hour); !g.opens(now).Equal(want) {
		t.Errorf("opens at %v, asked to wait until %v", g.opens(now), want)
	}
	for range 20 {
		now = g.until
		g.fail(now, "down", 0)
	}
	if got := g.until.Sub(now); got != 10*time.Minute {
		t.Errorf("the longest delay is %v", got)
	}
	g.succeed()
	if g.enter(); !g.lets(now) {
		t.Error("shut after a success")
	}
}
