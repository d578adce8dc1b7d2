package town

import (
	"fmt"
	"time"
)

// Quota is what is left of the limit that a model provider is nearest to.
type Quota struct {
	Provider  string    `json:"provider,omitempty"` // "" in what the town's own command measured
	Name      string    `json:"name"`               // of the limit, as requests, input-tokens
	Percent   float64   `json:"percent"`            // that is left
	ResetAt   time.Time `json:"resetAt,omitzero"`
	CheckedAt time.Time `json:"checkedAt"`
}

// quotaHolds is how long a quota counts that nobody has measured since. With the tenth
// that a standby may be longer it is half an hour.
const quotaHolds = 27 * time.Minute

// Until returns when q says nothing any more: it is reset, or was measured too long ago.
func (q Quota) Until() time.Time {
	until := q.CheckedAt.Add(quotaHolds)
	if !q.ResetAt.IsZero() && q.ResetAt.Before(until) {
		return q.ResetAt
	}
	return until
}

// String says it to people, as "4 % of claude's requests left".
func (q Quota) String() string {
	whose := "the"
	if q.Provider != "" {
		whose = q.Provider + "'s"
	}
	return fmt.Sprintf("%d %% of %s %s left", int(q.Percent), whose, q.Name)
}

// Scarcest returns of quotas that still count now the one of which the least is
// left, nil for none. Any may be nil.
func Scarcest(now time.Time, quotas ...*Quota) *Quota {
	var least *Quota
	for _, q := range quotas {
		if q != nil && now.Before(q.Until()) && (least == nil || q.Percent < least.Percent) {
			least = q
		}
	}
	return least
}

// Standby is why a coordinator starts no agents for a while.
type Standby struct {
	Until time.Time `json:"until"`
	Why   string    `json:"why"` // for people, as Quota's String
}
