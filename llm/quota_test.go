package llm

import (
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"townd/town"
)

// TestTheScarcestOfAProvidersQuotasIsShown while it counts, and then the newest.
func TestTheScarcestOfAProvidersQuotasIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(slog.New(slog.DiscardHandler))
		saw := func(model string, percent float64, reset time.Duration) {
			var at time.Time
			if reset > 0 {
				at = time.Now().Add(reset)
			}
			q.saw("p", model, quotaOf("p", "requests", percent, at, time.Now()))
		}
		want := func(percent float64) {
			t.Helper()
			if got := q.snapshot("p").Quota; got == nil || got.Percent != percent || got.Provider != "p" {
				t.Errorf("quota %+v, want %v %%", got, percent)
			}
		}
		if got := q.snapshot("p").Quota; got != nil {
			t.Errorf("before any answer: %+v", got)
		}
		saw("large", 4, 10*time.Minute)
		saw("small", 80, time.Hour)
		want(4)
		time.Sleep(10 * time.Minute)
		want(80)
		time.Sleep(30 * time.Minute) // longer than anything counts
		saw("large", 90, time.Minute)
		time.Sleep(time.Minute)
		want(90)
		q.saw("p", "large", nil) // it answered, and tells no limits any more
		want(80)
		for i := range 2 * maxGates {
			saw(fmt.Sprint(i), 50, time.Hour)
		}
		if len(q.left) > maxGates {
			t.Errorf("%d quotas are kept", len(q.left))
		}
		if got := q.snapshot("other"); got.Quota != nil || got.Cooling != nil {
			t.Errorf("of another provider: %+v", got)
		}
	})
}

// TestARefusalForALimitTellsTheQuota: in its headers, else that nothing is left.
func TestARefusalForALimitTellsTheQuota(t *testing.T) {
	limited := `{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}`
	for _, c := range []struct {
		what    string
		header  map[string]string
		name    string
		percent float64
		reset   time.Duration
	}{
		{"headers", map[string]string{
			"Retry-After": "60", "Anthropic-Ratelimit-Input-Tokens-Limit": "1000", "Anthropic-Ratelimit-Input-Tokens-Remaining": "30",
			"Anthropic-Ratelimit-Input-Tokens-Reset": time.Now().Add(5 * time.Minute).UTC().Format(time.RFC3339),
		}, "input-tokens", 3, 5 * time.Minute},
		{"delay", map[string]string{"Retry-After": "600"}, "requests", 0, 10 * time.Minute},
		{"nothing", nil, "", 0, 0},
	} {
		f := open(t, Provider{Name: "claude", BaseURL: upstream(t, says(429, c.header, limited))})
		f.ask(t, "POST", path("claude", town.DialectAnthropic), `{"model":"m"}`)
		f.agents.called(t)
		h := f.Stats().Providers[0]
		if len(h.Cooling) != 1 || h.Cooling[0].Model != "m" || !h.Cooling[0].Until.After(time.Now()) {
			t.Errorf("%s: cooling %+v", c.what, h.Cooling)
		}
		if c.name == "" {
			if h.Quota != nil {
				t.Errorf("%s: quota %+v", c.what, h.Quota)
			}
			continue
		}
		if q := h.Quota; q == nil || q.Name != c.name || q.Percent != c.percent || time.Until(q.ResetAt) > c.reset || time.Until(q.ResetAt) < c.reset-time.Minute {
			t.Errorf("%s: quota %+v", c.what, q)
		}
	}
}

// TestLimitsWithStrangeNamesAndTimesFitIntoAHeartbeat, whatever a provider says.
func TestLimitsWithStrangeNamesAndTimesFitIntoAHeartbeat(t *testing.T) {
	now := time.Now()
	long := http.Header{"X-Ratelimit-Limit-" + fmt.Sprintf("%0100d", 1): {"1"}, "X-Ratelimit-Remaining-" + fmt.Sprintf("%0100d", 1): {"1"}}
	if limits := readLimits(long, now); len(limits) != 0 {
		t.Errorf("limits %v", limits)
	}
	for reset, want := range map[string]time.Time{
		"9999-12-31T23:59:59-23:00": now.Add(maxDelay), "0000-01-01T00:00:00+23:00": now, "99999999999999": now.Add(maxDelay), "x": {},
	} {
		q := quotaOf("p", "requests", 50, readTime(reset, now), now)
		if !q.ResetAt.Equal(want) {
			t.Errorf("reset %s is %v, want %v", reset, q.ResetAt, want)
		}
		if _, err := q.ResetAt.MarshalJSON(); err != nil {
			t.Error(err)
		}
	}
}
