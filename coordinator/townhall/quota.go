package townhall

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"townd/town"
)

const (
	settingMinQuota = "minQuotaPercent" // none for 0
	settingQuota    = "quota"           // the last that a heartbeat brought, as JSON
)

// maxQuotaName is how many characters the name of a limit or a provider has.
const maxQuotaName = 64

func (c *check) quota(q *town.Quota) {
	if q == nil {
		return
	}
	c.line("quota.provider", q.Provider, maxQuotaName)
	c.required("quota.name", q.Name)
	c.line("quota.name", q.Name, maxQuotaName)
	if !(q.Percent >= 0 && q.Percent <= 100) {
		c.add("quota.percent", "must be 0 to 100")
	}
	if q.CheckedAt.IsZero() {
		c.add("quota.checkedAt", "is required")
	}
}

// seeQuota keeps what a heartbeat tells is left; one that tells nothing changes nothing.
func seeQuota(t *tx, q *town.Quota) error {
	if q == nil {
		return nil
	}
	kept := *q
	if kept.CheckedAt.After(t.now) { // by a clock that is ahead of ours
		kept.CheckedAt = t.now
	}
	return setSetting(t, settingQuota, jsonText(kept))
}

// quota returns what is kept of the quota, nil for nothing, the percentage below which
// no agents are started, and until when none are, nil for not now.
func (h *Hall) quota(r reader) (q *town.Quota, minPercent int, s *town.Standby, err error) {
	kept, err := getSetting(r, settingQuota)
	if err != nil {
		return nil, 0, nil, err
	}
	if kept != "" {
		if err := json.Unmarshal([]byte(kept), &q); err != nil {
			return nil, 0, nil, fmt.Errorf("%s: %w", settingQuota, err)
		}
	}
	if kept, err = getSetting(r, settingMinQuota); err != nil {
		return nil, 0, nil, err
	}
	if kept != "" {
		if minPercent, err = strconv.Atoi(kept); err != nil {
			return nil, 0, nil, fmt.Errorf("%s: %w", settingMinQuota, err)
		}
	}
	return q, minPercent, standby(q, minPercent, h.cfg.TownID, r.at()), nil
}

// setMinQuota keeps the percentage below which no agents are started.
func setMinQuota(t *tx, percent int) error {
	text := ""
	if percent > 0 {
		text = strconv.Itoa(percent)
	}
	return setSetting(t, settingMinQuota, text)
}

// standby returns until when a quota keeps agents from being started, nil for not now.
// It follows from what is kept alone: a hall that begins goes on with it, a quota that
// recovers or another minimum end it.
func standby(q *town.Quota, minPercent int, townID string, now time.Time) *town.Standby {
	if q == nil || q.Percent >= float64(minPercent) {
		return nil
	}
	// Towns that share an account must not wake at once: each waits up to a tenth longer, by its id.
	id := fnv.New32a()
	_, _ = id.Write([]byte(townID)) // never fails
	longer := q.Until().Sub(q.CheckedAt) / 10 * time.Duration(id.Sum32()%1000) / 1000
	until := q.Until().Add(longer).UTC().Truncate(time.Millisecond)
	if !now.Before(until) {
		return nil
	}
	return &town.Standby{Until: until, Why: q.String()}
}
