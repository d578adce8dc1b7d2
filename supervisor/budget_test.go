package supervisor

import (
	"strings"
	"testing"
	"time"

	"townd/town"
)

// X3, X15: a limit of time is looked at when it is almost used up, and when it is.
func TestTheNextCheckIsTheEarliestOfTheLimits(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	active := start.Add(time.Minute)
	for _, tt := range []struct {
		limits town.Limits
		warned []string
		want   time.Time
	}{
		{town.Limits{}, nil, time.Time{}},
		{town.Limits{Seconds: 90}, nil, start.Add(72 * time.Second)},
		{town.Limits{Seconds: 90}, []string{limitSeconds}, start.Add(90 * time.Second)},
		{town.Limits{IdleSeconds: 10}, nil, active.Add(8 * time.Second)},
		{town.Limits{Seconds: 90, IdleSeconds: 10}, []string{limitIdle}, active.Add(10 * time.Second)},
		{town.Limits{Seconds: 90, IdleSeconds: 60}, []string{limitSeconds}, start.Add(90 * time.Second)},
		{town.Limits{Seconds: 0.5}, []string{limitSeconds}, start.Add(500 * time.Millisecond)},
	} {
		if got := nextCheck(tt.limits, start, active, tt.warned); !got.Equal(tt.want) {
			t.Errorf("nextCheck(%+v, warned %v) = %v, want %v", tt.limits, tt.warned, got, tt.want)
		}
	}
}

func TestSpendingNamesWhatIsUsedUp(t *testing.T) {
	limits := town.Limits{Turns: 2, Tokens: 10, CostUSD: 1, Seconds: 60, IdleSeconds: 30}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		turns  int64
		usage  town.Usage
		after  time.Duration // since the start
		idle   time.Duration
		usedUp string
	}{
		{2, town.Usage{InputTokens: 9, CostUSD: 0.9}, 59 * time.Second, 29 * time.Second, ""},
		{3, town.Usage{}, 0, 0, limitTurns},
		{0, town.Usage{InputTokens: 4, OutputTokens: 3, CacheReadTokens: 2, CacheWriteTokens: 1}, 0, 0, limitTokens},
		{0, town.Usage{CostUSD: 1}, 0, 0, limitCost},
		{0, town.Usage{}, 60 * time.Second, 0, limitSeconds},
		{0, town.Usage{}, 40 * time.Second, 30 * time.Second, limitIdle},
	} {
		now := start.Add(tt.after)
		var usedUp strings.Builder
		for _, s := range spending(limits, tt.turns, tt.usage, start, now.Add(-tt.idle), now) {
			if s.usedUp() {
				usedUp.WriteString(s.limit)
			}
		}
		if usedUp.String() != tt.usedUp {
			t.Errorf("spending(%d turns, %+v, %v, idle %v) uses up %q, want %q", tt.turns, tt.usage, tt.after, tt.idle, usedUp.String(), tt.usedUp)
		}
		if got := spending(town.Limits{}, tt.turns, tt.usage, start, start, now); len(got) > 0 {
			t.Errorf("spending() without limits = %v, want nothing", got)
		}
	}
}
