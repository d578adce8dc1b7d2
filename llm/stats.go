package llm

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"townd/town"
)

// Stats is what a gateway has counted since it was made.
type Stats struct {
	Requests  []Requests
	Tokens    []Tokens
	CostUSD   float64
	Providers []Health // in the order of the chain
}

// Requests counts what was asked of a provider's model. Status is ok, canceled,
// rate_limited, failed, or another town.ErrorKind. A request that two providers
// were asked is counted at both.
type Requests struct {
	Provider, Model, Status string
	Count                   int64
}

// Tokens counts tokens. Type is input, output, cache_read or cache_write.
type Tokens struct {
	Provider, Model, Type string
	Count                 int64
}

// Health is how it stands with a provider.
type Health struct {
	Provider string
	Kind     town.ErrorKind // why it did not serve when last asked; empty when it did
	Message  string
	Since    time.Time   // of Kind
	Until    time.Time   // it is not asked before then, if another one can serve
	Quota    *town.Quota // the scarcest of its models', nil while it has told none
	Cooling  []Cooling   // the next to be asked again first, at most 20
}

// Cooling is a model that its provider is not asked for before Until, if another one can serve.
type Cooling struct {
	Model string
	Until time.Time
}

// maxModels bounds the names of models in Stats that are not in the settings:
// agents may ask for any.
const maxModels = 100

// otherModel stands for the rest.
const otherModel = "other"

type counters struct {
	mu       sync.Mutex
	models   map[string]bool
	room     int
	requests map[Requests]int64 // by all but Count
	tokens   map[Tokens]int64
	cost     float64
}

func newCounters(providers []*provider, prices map[string]Price) *counters {
	c := &counters{models: make(map[string]bool), room: maxModels, requests: make(map[Requests]int64), tokens: make(map[Tokens]int64)}
	for model := range prices {
		c.models[model] = true
	}
	for _, p := range providers {
		for _, d := range p.dialects {
			for _, model := range d.models {
				c.models[model] = true
			}
		}
	}
	return c
}

func (c *counters) count(call *town.ModelCall, canceled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	model := call.Model
	switch {
	case model == "":
		model = otherModel
	case !c.models[model] && c.room == 0:
		model = otherModel
	case !c.models[model]:
		c.models[model] = true
		c.room--
	}
	c.requests[Requests{Provider: call.Provider, Model: model, Status: statusOf(call, canceled)}]++
	for kind, n := range map[string]int64{
		"input": call.Usage.InputTokens, "output": call.Usage.OutputTokens,
		"cache_read": call.Usage.CacheReadTokens, "cache_write": call.Usage.CacheWriteTokens,
	} {
		if n > 0 {
			c.tokens[Tokens{Provider: call.Provider, Model: model, Type: kind}] += n
		}
	}
	c.cost += call.Usage.CostUSD
}

func statusOf(call *town.ModelCall, canceled bool) string {
	switch {
	case canceled:
		return "canceled"
	case call.Kind == "":
		return "ok"
	case call.Kind == town.KindRateLimit:
		return "rate_limited"
	case call.Kind == town.KindUnknown:
		return "failed"
	}
	return string(call.Kind)
}

// Stats returns what was counted so far, sorted.
func (g *Gateway) Stats() Stats {
	s := g.counters.snapshot()
	for _, p := range g.providers {
		s.Providers = append(s.Providers, g.quota.snapshot(p.name))
	}
	return s
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{CostUSD: c.cost}
	for _, r := range slices.SortedFunc(maps.Keys(c.requests), func(a, b Requests) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Status, b.Status))
	}) {
		n := c.requests[r]
		r.Count = n
		s.Requests = append(s.Requests, r)
	}
	for _, t := range slices.SortedFunc(maps.Keys(c.tokens), func(a, b Tokens) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Type, b.Type))
	}) {
		n := c.tokens[t]
		t.Count = n
		s.Tokens = append(s.Tokens, t)
	}
	return s
}
