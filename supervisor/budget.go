package supervisor

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"townd/town"
)

// warnAt is the part of a limit at which its use is told.
const warnAt = 0.8

// The limits that are budgets: they are used up, warned of, and end the agent.
const (
	limitTurns   = "turns"
	limitSeconds = "seconds"
	limitIdle    = "idleSeconds"
	limitTokens  = "tokens"
	limitCost    = "costUsd"
)

// spent is how much of one budget is used.
type spent struct {
	limit    string
	used, of float64
	reason   town.Reason // of the end when it is used up
}

// usedUp reports whether the agent must end. Of turns the last one may end first.
func (s spent) usedUp() bool {
	if s.limit == limitTurns {
		return s.used > s.of
	}
	return s.used >= s.of
}

func (s spent) String() string {
	return fmt.Sprintf("%.4g of %.4g %s are used", s.used, s.of, s.limit)
}

// spending is what an agent has used of those of its budgets that are limited.
func spending(l town.Limits, turns int64, u town.Usage, started, active, now time.Time) []spent {
	tokens := u.InputTokens + u.OutputTokens + u.CacheReadTokens + u.CacheWriteTokens
	all := []spent{
		{limitTurns, float64(turns), float64(l.Turns), town.ReasonBudget},
		{limitTokens, float64(tokens), float64(l.Tokens), town.ReasonBudget},
		{limitCost, u.CostUSD, l.CostUSD, town.ReasonBudget},
		{limitSeconds, now.Sub(started).Seconds(), l.Seconds, town.ReasonTimeout},
		{limitIdle, now.Sub(active).Seconds(), l.IdleSeconds, town.ReasonTimeout},
	}
	return slices.DeleteFunc(all, func(s spent) bool { return s.of <= 0 })
}

// nextCheck returns when a limit of time is next to be warned of or is used up;
// the zero time when none is.
func nextCheck(l town.Limits, started, active time.Time, warned []string) time.Time {
	var at time.Time
	for _, t := range []struct {
		limit string
		from  time.Time
		of    float64
	}{{limitSeconds, started, l.Seconds}, {limitIdle, active, l.IdleSeconds}} {
		if t.of <= 0 {
			continue
		}
		part := warnAt
		if slices.Contains(warned, t.limit) {
			part = 1
		}
		if due := t.from.Add(time.Duration(part * t.of * float64(time.Second))); at.IsZero() || due.Before(at) {
			at = due
		}
	}
	return at
}

// overLimit returns why an agent that holds too much must end, empty when it
// need not.
func overLimit(l town.Limits, r town.Resources) town.Reason {
	switch {
	case l.MemoryBytes > 0 && r.RSSBytes > l.MemoryBytes:
		return town.ReasonOOM
	case l.Processes > 0 && r.Processes > l.Processes:
		return town.ReasonBudget
	}
	return ""
}

// checkLimits ends the agent when it uses more than its limits allow, and tells
// when it almost does.
func (a *agent) checkLimits() {
	view := &a.rec.Agent
	if view.Status != town.StatusRunning {
		return
	}
	if r := a.resources.Load(); r != nil {
		if reason := overLimit(a.rec.Request.Limits, *r); reason != "" {
			a.log.Warn("over its limit", "reason", reason)
			a.end(reason, town.StopRequest{})
			return
		}
	}
	for _, s := range a.spending(time.Now()) {
		switch {
		case s.usedUp():
			a.overBudget(s.limit)
			return
		case s.used >= warnAt*s.of:
			a.warn(s)
		case s.limit == limitIdle: // active again
			a.rec.Warned = slices.DeleteFunc(a.rec.Warned, func(limit string) bool { return limit == s.limit })
		}
	}
}

func (a *agent) spending(now time.Time) []spent {
	return spending(a.rec.Request.Limits, a.rec.Agent.Turn.Count, a.usage(), a.rec.Since, a.feed.Load().lastActivity(), now)
}

// warn tells once that a budget is almost used up.
func (a *agent) warn(s spent) {
	if slices.Contains(a.rec.Warned, s.limit) {
		return
	}
	a.rec.Warned = append(a.rec.Warned, s.limit)
	a.dirty = true
	a.log.Warn("budget almost used up", "limit", s.limit, "used", s.used, "of", s.of)
	a.emit(town.EventBudget, town.BudgetData{Limit: s.limit, Used: s.used, Of: s.of})
}

// overBudget ends the agent, which has used up a budget. Its worktree stays.
func (a *agent) overBudget(limit string) {
	for _, s := range a.spending(time.Now()) {
		if s.limit == limit {
			a.log.Warn("budget used up", "limit", s.limit, "used", s.used, "of", s.of)
			a.emit(town.EventBudget, town.BudgetData{Limit: s.limit, Used: s.used, Of: s.of})
			a.rec.FailureText = "its budget ended it: " + s.String()
			a.end(s.reason, town.StopRequest{})
		}
	}
}

// meter counts what the gateway saw an agent use. Safe for concurrent use.
type meter struct {
	mu   sync.Mutex
	used town.Usage
}

func (m *meter) add(u town.UsageData) {
	m.mu.Lock()
	defer m.mu.Unlock()
	addUsage(&m.used, u)
}

func (m *meter) set(u town.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = u
}

func (m *meter) get() town.Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

func addUsage(sum *town.Usage, u town.UsageData) {
	sum.InputTokens += u.InputTokens
	sum.OutputTokens += u.OutputTokens
	sum.CacheReadTokens += u.CacheReadTokens
	sum.CacheWriteTokens += u.CacheWriteTokens
	sum.CostUSD += u.CostUSD
}

// usage is what the agent has used: what its CLI told or what the gateway counted.
func (a *agent) usage() town.Usage { return larger(a.rec.Told, a.metered.get()) }

// larger returns the larger of each figure that both know. A CLI forgets what it
// spent on errands of its own, and the gateway does not see what a caller's own
// credential pays for.
func larger(told, metered town.Usage) town.Usage {
	return town.Usage{
		InputTokens:      max(told.InputTokens, metered.InputTokens),
		OutputTokens:     max(told.OutputTokens, metered.OutputTokens),
		CacheReadTokens:  max(told.CacheReadTokens, metered.CacheReadTokens),
		CacheWriteTokens: max(told.CacheWriteTokens, metered.CacheWriteTokens),
		CostUSD:          max(told.CostUSD, metered.CostUSD),
		ToolCalls:        told.ToolCalls, // the gateway sees none
	}
}

func (a *agent) tellUsage() { a.rec.Agent.Usage = a.usage() }
