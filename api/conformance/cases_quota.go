package conformance

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"townd/town"
)

// quotaCases are about what is left at model providers.
var quotaCases = []Case{
	{Name: "no agent is started while a quota is below the minimum", run: standby},
	{Name: "a standby ends at the reset", time: true, run: standbyUntilReset},
	{Name: "a standby lasts half an hour at most", time: true, run: standbyAtMost},
	{Name: "a quota that cannot be is refused", run: wrongQuota},
}

// quota has heartbeats tell from now on what is left, as measured now by the
// coordinator's clock, and sends one.
func (t *T) quota(percent float64, reset time.Duration) town.Quota {
	q := town.Quota{Provider: "claude", Name: "requests", Percent: percent, CheckedAt: t.clock()}
	if reset != 0 {
		q.ResetAt = q.CheckedAt.Add(reset)
	}
	t.tellQuota(&q)
	t.beat()
	return q
}

func (t *T) tellQuota(q *town.Quota) {
	t.box.mu.Lock()
	defer t.box.mu.Unlock()
	t.box.quota = q
}

// clock is the coordinator's.
func (t *T) clock() time.Time {
	t.beat()
	return t.status().Instance.SeenAt
}

func (t *T) status() town.TownStatus {
	s, err := t.hall.TownStatus(t.ctx)
	t.must(err)
	return s
}

// minQuota sets the minimum for the case.
func (t *T) minQuota(percent int) {
	t.cleanup(func() {
		t.tellQuota(nil)
		_, err := t.hall.SetMinQuota(t.ctx, 0)
		t.must(err)
	})
	s, err := t.hall.SetMinQuota(t.ctx, percent)
	t.must(err)
	if s.MinQuota != percent {
		t.Errorf("the town is %s, want the minimum %d", raw(s), percent)
	}
}

// held checks that a bead is open, and says that the quota is why.
func (t *T) held(b town.Bead, until time.Time) {
	t.beat()
	t.is(b, town.BeadOpen)
	all := t.status().Waiting
	i := slices.IndexFunc(all, func(w town.Bead) bool { return w.ID == b.ID })
	want := "standby until " + until.UTC().Format("15:04") + ": "
	if i < 0 || !strings.HasPrefix(all[i].Why, want) {
		t.Errorf("waiting are %s, want %s with %q", raw(all), b.ID, want)
	}
}

// standby proves C6 and C7.
func standby(t *T) {
	rig := t.rig()
	running := t.work(rig)
	t.minQuota(10)
	q := t.quota(4.9, 10*time.Minute)
	s := t.status()
	if s.Quota == nil || s.Quota.Provider != q.Provider || s.Quota.Name != q.Name || s.Quota.Percent != q.Percent || !s.Quota.ResetAt.Equal(q.ResetAt) || !s.Quota.CheckedAt.Equal(q.CheckedAt) {
		t.Errorf("the quota of the town is %s, want %s", raw(s.Quota), raw(q))
	}
	if s.Standby == nil {
		t.Fatalf("the town is %s, want it in standby", raw(s))
	}
	if s.Standby.Why != "4 % of claude's requests left" || s.Standby.Until.Before(q.ResetAt) || s.Standby.Until.After(q.ResetAt.Add(time.Minute)) {
		t.Errorf("standby is %s after %s", raw(s.Standby), raw(q))
	}
	b := t.create(rig, "waits")
	t.held(b, s.Standby.Until)
	t.tellQuota(nil) // as an older container, or one that was started anew
	t.held(b, s.Standby.Until)
	t.is(running, town.BeadInProgress)
	t.minQuota(4)
	if s := t.status(); s.Standby != nil {
		t.Errorf("4.9 %% are no less than 4, and the town is in standby: %s", raw(s.Standby))
	}
	t.taken(b.ID, 1)
	t.minQuota(10)
	b = t.create(rig, "waits, too")
	t.held(b, s.Standby.Until)
	t.quota(10, 10*time.Minute)
	t.taken(b.ID, 1)
}

func standbyUntilReset(t *T) {
	rig := t.rig()
	t.minQuota(10)
	t.quota(0, 10*time.Minute)
	s := t.status()
	b := t.create(rig, "waits")
	t.held(b, s.Standby.Until)
	t.tellQuota(nil)
	t.target.Advance(10*time.Minute - 10*time.Second)
	t.held(b, s.Standby.Until)
	t.target.Advance(time.Minute + 10*time.Second)
	t.beat() // after which it looks at its clock
	t.taken(b.ID, 1)
	if s := t.status(); s.Standby != nil || s.Quota == nil {
		t.Errorf("after the reset the town is %s, want no standby, and the quota that was told last", raw(s))
	}
}

// standbyAtMost: without a reset, or with a far one, somebody has to look again.
func standbyAtMost(t *T) {
	for _, reset := range []time.Duration{0, 5 * time.Hour} {
		rig := t.rig()
		t.minQuota(100)
		q := t.quota(99, reset)
		s := t.status()
		if s.Standby == nil || s.Standby.Until.After(q.CheckedAt.Add(30*time.Minute)) {
			t.Fatalf("standby is %s after %s", raw(s.Standby), raw(q))
		}
		b := t.create(rig, "waits")
		t.tellQuota(nil)
		t.target.Advance(25 * time.Minute)
		t.held(b, s.Standby.Until)
		t.target.Advance(5 * time.Minute)
		t.beat()
		t.taken(b.ID, 1)
	}
}

func wrongQuota(t *T) {
	for _, set := range []string{`-1`, `101`, `1.5`, `"10"`} {
		t.issues(t.want(http.StatusBadRequest, "PATCH", "/settings", `{"minQuotaPercent":`+set+`}`))
	}
	beat := func(quota string) string { return `{"instanceId":"x","agents":[],"quota":` + quota + `}` }
	for _, quota := range []string{
		`{"name":"x","percent":101,"checkedAt":"2026-01-02T15:04:05Z"}`, `{"name":"x","percent":-1,"checkedAt":"2026-01-02T15:04:05Z"}`,
		`{"name":"","percent":1,"checkedAt":"2026-01-02T15:04:05Z"}`, `{"name":"x","percent":1}`, `{"name":"x","percent":1,"checkedAt":"now"}`, `1`,
		`{"name":"in\u0007put","percent":1,"checkedAt":"2026-01-02T15:04:05Z"}`, `{"provider":"\u001b","name":"x","percent":1,"checkedAt":"2026-01-02T15:04:05Z"}`,
		`{"name":"` + strings.Repeat("x", 65) + `","percent":1,"checkedAt":"2026-01-02T15:04:05Z"}`,
	} {
		t.issues(t.want(http.StatusBadRequest, "POST", "/heartbeat", beat(quota)))
	}
}
