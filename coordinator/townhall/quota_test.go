package townhall

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"townd/town"
)

func (d *dispatching) tellQuota(t testing.TB, q town.Quota) {
	t.Helper()
	d.mu.Lock()
	d.left = &q
	d.mu.Unlock()
	d.beat(t)
	d.mu.Lock()
	d.left = nil // who starts anew knows nothing
	d.mu.Unlock()
	synctest.Wait()
}

func (d *dispatching) minQuota(t testing.TB, percent int) {
	t.Helper()
	if _, err := d.Set(t.Context(), Person, Settings{MinQuota: &percent}); err != nil {
		t.Fatal(err)
	}
}

func (d *dispatching) standby(t testing.TB) *town.Standby {
	t.Helper()
	s, err := d.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Standby
}

// C6: nobody is started until the reset, which the dispatcher wakes at by itself, the next
// hall as well; who runs goes on.
func TestStandbyLastsUntilTheReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, nil)
		running := d.add(t, "site", town.BeadRequest{})
		synctest.Wait()
		d.minQuota(t, 10)
		now := time.Now()
		d.tellQuota(t, town.Quota{Provider: "claude", Name: "requests", Percent: 4, CheckedAt: now, ResetAt: now.Add(10 * time.Minute)})
		d.add(t, "site", town.BeadRequest{})
		synctest.Wait()
		was := d.standby(t)
		if was == nil {
			t.Fatal("no standby")
		}
		d.reopen(t)
		synctest.Wait()
		if is := d.standby(t); is == nil || *is != *was {
			t.Errorf("standby of the next hall %+v, want %+v", is, was)
		}
		d.beatFor(t, 9*time.Minute+30*time.Second)
		if n := len(d.started()); n != 1 {
			t.Errorf("%d starts in standby, want that from before", n)
		}
		d.want(t, running.ID, town.BeadInProgress)
		time.Sleep(time.Until(was.Until) - time.Millisecond)
		synctest.Wait()
		if n := len(d.started()); n != 1 {
			t.Errorf("%d starts just before the end", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := len(d.started()); n != 2 {
			t.Errorf("%d starts after the end, want 2", n)
		}
	})
}

// A review is an agent, too.
func TestStandbyBeginsNoReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, nil, func(d *dispatching) {
			d.rig(t, "site", func(s *town.RigSettings) { s.Merge = town.MergeSettings{Review: true} })
		})
		d.minQuota(t, 10)
		b := d.add(t, "site", town.BeadRequest{})
		synctest.Wait()
		d.tellQuota(t, town.Quota{Name: "quota", Percent: 4, CheckedAt: time.Now()})
		d.done(t, d.bead(t, b.ID).AgentID)
		synctest.Wait()
		if n := len(d.started()); n != 1 {
			t.Errorf("%d starts, want none of a refinery", n)
		}
		d.tellQuota(t, town.Quota{Name: "quota", Percent: 10, CheckedAt: time.Now()})
		if all := d.started(); len(all) != 2 || all[1].Role != town.RoleRefinery {
			t.Errorf("started %+v, want a refinery after the quota has recovered", all)
		}
	})
}

func TestStandbyFollowsFromWhatIsKept(t *testing.T) {
	checked := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	spread := map[time.Time]bool{}
	for i := range 200 {
		id := fmt.Sprintf("town-%d", i)
		for _, c := range []struct {
			what    string
			percent float64
			least   int
			reset   time.Duration // 0 for not known
			from    time.Duration // of the end, 0 for no standby
			to      time.Duration
		}{
			{"enough", 10, 10, time.Minute, 0, 0},
			{"off", 0, 0, time.Minute, 0, 0},
			{"below", 9.9, 10, 10 * time.Minute, 10 * time.Minute, 11 * time.Minute},
			{"no reset", 0, 1, 0, 27 * time.Minute, 30 * time.Minute},
			{"far reset", 0, 1, 24 * time.Hour, 27 * time.Minute, 30 * time.Minute},
			{"reset is past", 0, 1, -time.Second, 0, 0},
		} {
			q := town.Quota{Name: "requests", Percent: c.percent, CheckedAt: checked}
			if c.reset != 0 {
				q.ResetAt = checked.Add(c.reset)
			}
			s := standby(&q, c.least, id, checked)
			switch {
			case c.from == 0 && s != nil:
				t.Fatalf("%s: standby %+v", c.what, s)
			case c.from == 0:
				continue
			case s == nil || s.Until.Before(checked.Add(c.from)) || s.Until.After(checked.Add(c.to)):
				t.Fatalf("%s: standby %+v, want its end between %v and %v", c.what, s, c.from, c.to)
			}
			if again := standby(&q, c.least, id, s.Until.Add(-time.Millisecond)); again == nil || *again != *s {
				t.Fatalf("%s: at its end %+v, want %+v", c.what, again, s)
			}
			if over := standby(&q, c.least, id, s.Until); over != nil {
				t.Fatalf("%s: after its end %+v", c.what, over)
			}
			spread[s.Until.Truncate(time.Second)] = true
		}
	}
	if len(spread) < 100 {
		t.Errorf("200 towns wake within %d different seconds", len(spread))
	}
	if s := standby(nil, 100, "town", checked); s != nil {
		t.Errorf("without a quota %+v", s)
	}
}

// A container whose clock is wrong keeps nobody back for longer.
func TestAQuotaOfTheFutureWasMeasuredNow(t *testing.T) {
	h, clock := newHall(t)
	least := 10
	if _, err := h.Set(t.Context(), Person, Settings{MinQuota: &least}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Heartbeat(t.Context(), town.Heartbeat{
		InstanceID: "box", Quota: &town.Quota{Name: "requests", Percent: 1, CheckedAt: clock.now().Add(24 * time.Hour)},
	}); err != nil {
		t.Fatal(err)
	}
	s, err := h.Status(t.Context())
	if err != nil || !s.Quota.CheckedAt.Equal(clock.now()) || s.Standby.Until.After(clock.now().Add(30*time.Minute)) {
		t.Errorf("Status() = %+v, %+v, %v", s.Quota, s.Standby, err)
	}
}
