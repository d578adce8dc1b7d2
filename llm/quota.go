package llm

import (
	"cmp"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"townd/town"
)

const (
	firstWait   = time.Second      // after a failure that says nothing of when to come back, then doubled
	longestWait = time.Minute      // of these
	firstRest   = time.Minute      // of a provider that refuses our account, then doubled
	longest     = 30 * time.Minute // of these, and of what providers ask for
	probeTime   = 2 * time.Second  // others wait so long for the one that tries
	maxGates    = 1024             // more are forgotten, the next to open first
	maxCooling  = 20               // models of a provider that Health names
)

// quota knows which providers cannot serve now, and when to try them again. A
// rate limit closes a provider for one model. What else goes wrong closes it, too,
// but only as long as another provider can serve. Safe for concurrent use.
type quota struct {
	log *slog.Logger

	mu     sync.Mutex
	gates  map[gateKey]*gate
	left   map[gateKey]town.Quota // as the newest answer of each told; of at most maxGates
	health map[string]*Health
}

type gateKey struct{ provider, model string } // model is empty for all of them

// gate is closed until a time. After that one call tries; its outcome opens the
// gate or closes it again, for longer.
type gate struct {
	hard     bool // nobody passes, even when there is no other way
	until    time.Time
	probing  time.Time // until then somebody tries
	failures int
}

func newQuota(log *slog.Logger) *quota {
	return &quota{log: log, gates: make(map[gateKey]*gate), left: make(map[gateKey]town.Quota), health: make(map[string]*Health)}
}

// verdict says whether a call may go to a provider.
type verdict struct {
	open bool
	soft bool          // closed, but may be tried when nobody else can serve
	wait time.Duration // until it may open
}

// check says whether a call may go to that provider now. Who is told that it is
// open must say how it went: worked or failed.
func (q *quota) check(provider, model string) verdict {
	q.mu.Lock()
	defer q.mu.Unlock()
	now, v := time.Now(), verdict{open: true}
	for _, key := range []gateKey{{provider, ""}, {provider, model}} {
		g := q.gates[key]
		if g == nil || !now.Before(g.until) && !now.Before(g.probing) {
			continue
		}
		until := g.until
		if g.probing.After(until) {
			until = g.probing
		}
		v.soft = !g.hard && (v.open || v.soft)
		v.open, v.wait = false, max(v.wait, until.Sub(now))
	}
	if !v.open {
		return v
	}
	for _, key := range []gateKey{{provider, ""}, {provider, model}} {
		if g := q.gates[key]; g != nil {
			g.probing = now.Add(probeTime) // this call is the one that tries
		}
	}
	return v
}

// worked opens the gates that a call has passed.
func (q *quota) worked(provider, model string) {
	q.mu.Lock()
	delete(q.gates, gateKey{provider, ""})
	delete(q.gates, gateKey{provider, model})
	h := q.of(provider)
	was := h.Kind
	h.Kind, h.Message, h.Since, h.Until = "", "", time.Time{}, time.Time{}
	q.mu.Unlock()
	if was != "" {
		q.log.Info("provider works again", "provider", provider, "kind", string(was))
	}
}

// failed notes why a provider could not serve, and closes it for as long as it
// asks, or for what experience says.
func (q *quota) failed(provider, model string, kind town.ErrorKind, message string, delay time.Duration) {
	if !another(kind) {
		return // it served; the request was at fault
	}
	q.mu.Lock()
	until := q.close(provider, model, kind, delay)
	h := q.of(provider)
	changed := h.Kind != kind
	if changed {
		h.Since = time.Now()
	}
	h.Kind, h.Message, h.Until = kind, message, until
	q.mu.Unlock()
	switch {
	case !changed:
	case kind == town.KindAuth || kind == town.KindBilling:
		q.log.Error("provider refuses the town's account", "provider", provider, "kind", string(kind), "reason", message)
	default:
		q.log.Warn("provider cannot serve", "provider", provider, "model", model, "kind", string(kind), "reason", message, "until", until)
	}
}

// close closes a gate and returns until when. Only a rate limit closes it for a
// call that has no other way: it would be refused anyhow, and counted.
func (q *quota) close(provider, model string, kind town.ErrorKind, delay time.Duration) time.Time {
	key, first, most := gateKey{provider, model}, firstWait, longestWait
	switch kind {
	case town.KindAuth, town.KindBilling:
		key.model, first, most = "", firstRest, longest
	case town.KindNetwork:
		key.model = ""
	default:
	}
	g := q.gates[key]
	if g == nil {
		q.makeRoom()
		g = new(gate)
		q.gates[key] = g
	}
	if delay == 0 {
		delay = min(first<<min(g.failures, 12), most)
	}
	g.failures++
	delay = min(delay, longest-longest/10)
	delay += rand.N(delay/10 + time.Millisecond) // or every town that waits wakes at once
	g.hard, g.until, g.probing = kind == town.KindRateLimit, time.Now().Add(delay), time.Time{}
	return g.until
}

// rest keeps calls away from a provider that says it has nothing left until then,
// as long as another one can serve.
func (q *quota) rest(provider, model string, until time.Time) {
	now := time.Now()
	if until = minTime(until, now.Add(longest)); !until.After(now) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if key := (gateKey{provider, model}); q.gates[key] == nil {
		q.makeRoom()
		q.gates[key] = &gate{until: until}
	}
}

// makeRoom forgets what is open, or else what opens next.
func (q *quota) makeRoom() {
	if len(q.gates) < maxGates {
		return
	}
	var first gateKey
	var when time.Time
	for key, g := range q.gates {
		if when.IsZero() || g.until.Before(when) {
			first, when = key, g.until
		}
	}
	delete(q.gates, first)
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// of returns a provider's health, which is guarded by q.mu.
func (q *quota) of(provider string) *Health {
	h := q.health[provider]
	if h == nil {
		h = &Health{Provider: provider}
		q.health[provider] = h
	}
	return h
}

// saw notes what a provider said is left for a model, nil when it said nothing.
func (q *quota) saw(provider, model string, left *town.Quota) {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := gateKey{provider, model}
	if left == nil {
		delete(q.left, key)
		return
	}
	if _, known := q.left[key]; !known && len(q.left) >= maxGates {
		var oldest gateKey
		var when time.Time
		for other, q := range q.left {
			if oldest == (gateKey{}) || q.CheckedAt.Before(when) {
				oldest, when = other, q.CheckedAt
			}
		}
		delete(q.left, oldest)
	}
	q.left[key] = *left
}

// leftOf returns what is left of a provider's limits: of its models' that still count
// the least, else the newest; nil for none. q.mu is held.
func (q *quota) leftOf(provider string, now time.Time) *town.Quota {
	var all []*town.Quota
	for key, left := range q.left {
		if key.provider == provider {
			all = append(all, &left)
		}
	}
	if least := town.Scarcest(now, all...); least != nil || len(all) == 0 {
		return least
	}
	return slices.MaxFunc(all, func(a, b *town.Quota) int { return a.CheckedAt.Compare(b.CheckedAt) })
}

// cooling returns the models that a provider is not asked for now. q.mu is held.
func (q *quota) cooling(provider string, now time.Time) []Cooling {
	var all []Cooling
	for key, g := range q.gates {
		if key.provider == provider && key.model != "" && now.Before(g.until) {
			all = append(all, Cooling{Model: key.model, Until: g.until})
		}
	}
	slices.SortFunc(all, func(a, b Cooling) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Model, b.Model)) })
	return all[:min(len(all), maxCooling)]
}

func (q *quota) snapshot(provider string) Health {
	q.mu.Lock()
	defer q.mu.Unlock()
	now, h := time.Now(), *q.of(provider)
	h.Quota, h.Cooling = q.leftOf(provider, now), q.cooling(provider, now)
	return h
}
