package llm

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"townd/town"
)

// Limit is what a provider says is left of the limit that it is nearest to.
type Limit struct {
	Name      string // as requests, input-tokens
	Limit     float64
	Remaining float64
	Percent   float64 // that is left
	ResetAt   time.Time
}

// quotaOf returns what is left at a provider. It counts until its reset, which is
// zero when that is not known.
func quotaOf(provider, name string, percent float64, resetAt, checkedAt time.Time) *town.Quota {
	q := town.Quota{Provider: provider, Name: name, Percent: min(max(percent, 0), 100), CheckedAt: checkedAt.UTC()}
	switch last := checkedAt.Add(maxDelay); {
	case resetAt.IsZero():
	case resetAt.Before(checkedAt):
		q.ResetAt = q.CheckedAt
	case resetAt.After(last):
		q.ResetAt = last.UTC()
	default:
		q.ResetAt = resetAt.UTC()
	}
	return &q
}

// maxLimitName is more than any limit's name has.
const maxLimitName = 64

// readLimits reads the rate-limit headers of an answer. They are named
// anthropic-ratelimit-tokens-remaining, x-ratelimit-remaining-tokens or
// x-ratelimit-remaining; a reset is a time, seconds until then, or a duration as 6m0s.
func readLimits(h http.Header, now time.Time) map[string]*Limit {
	var limits map[string]*Limit
	for name, values := range h {
		_, what, ok := strings.Cut(strings.ToLower(name), "ratelimit-")
		if !ok || len(values) == 0 || len(what) > maxLimitName {
			continue
		}
		for _, member := range []string{"limit", "remaining", "reset"} {
			bucket, ok := cutWord(what, member)
			if !ok {
				continue
			}
			if limits == nil {
				limits = make(map[string]*Limit)
			}
			l := limits[bucket]
			if l == nil {
				l = &Limit{Name: bucket, Limit: -1, Remaining: -1}
				limits[bucket] = l
			}
			l.set(member, values[0], now)
		}
	}
	for name, l := range limits {
		if l.Limit <= 0 || l.Remaining < 0 {
			delete(limits, name) // half a limit says nothing
			continue
		}
		l.Percent = min(100, 100*l.Remaining/l.Limit)
	}
	return limits
}

// cutWord takes a word from the beginning or the end of words joined by dashes.
func cutWord(words, word string) (rest string, ok bool) {
	if words == word {
		return "requests", true // a limit without a name is one of requests
	}
	if rest, ok = strings.CutPrefix(words, word+"-"); ok {
		return rest, true
	}
	return strings.CutSuffix(words, "-"+word)
}

func (l *Limit) set(member, value string, now time.Time) {
	if member == "reset" {
		l.ResetAt = readTime(value, now)
		return
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || !(n >= 0 && n < 1e15) {
		return
	}
	if member == "limit" {
		l.Limit = n
	} else {
		l.Remaining = n
	}
}

// readTime reads a time in any of the forms that providers write, zero if it is
// in none.
func readTime(value string, now time.Time) time.Time {
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseFloat(value, 64); err == nil {
		switch {
		case !(n >= 0 && n < 1e14):
			return time.Time{}
		case n > 1e11:
			return time.UnixMilli(int64(n))
		case n > 1e8:
			return time.Unix(int64(n), 0)
		}
		return now.Add(seconds(n))
	}
	if d, err := time.ParseDuration(value); err == nil && d >= 0 {
		return now.Add(d)
	}
	if t, err := time.Parse(time.RFC3339, value); err == nil {
		return t
	}
	if t, err := http.ParseTime(value); err == nil {
		return t
	}
	return time.Time{}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// tightest returns the limit of which the least is left, nil for none.
func tightest(limits map[string]*Limit) *Limit {
	var least *Limit
	for _, l := range limits {
		if least == nil || l.Percent < least.Percent || l.Percent == least.Percent && l.Name < least.Name {
			least = l
		}
	}
	return least
}

// usedUp returns when the last of the limits that are used up is reset, zero when
// none is.
func usedUp(limits map[string]*Limit) time.Time {
	var last time.Time
	for _, l := range limits {
		if l.Remaining == 0 && l.ResetAt.After(last) {
			last = l.ResetAt
		}
	}
	return last
}

// maxDelay is the longest wait that is believed.
const maxDelay = 31 * 24 * time.Hour

// readDelay returns how long a provider that refused asks to wait, 0 when it does
// not say.
func readDelay(h http.Header, t *told, now time.Time) time.Duration {
	until := time.Time{}
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 && ms < 1e12 {
		until = now.Add(seconds(ms / 1000))
	}
	for _, value := range []string{h.Get("Retry-After"), t.retryDelay} {
		if until.IsZero() && value != "" {
			until = readTime(value, now)
		}
	}
	if until.IsZero() {
		until = usedUp(readLimits(h, now))
	}
	return min(max(0, until.Sub(now)), maxDelay)
}
