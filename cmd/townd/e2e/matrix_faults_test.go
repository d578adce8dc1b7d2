package e2e_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"townd/api"
	"townd/llm/llmtest"
	"townd/town"
)

// playExpired starts an agent whose provider refuses the town's key.
func playExpired(t *testing.T, column *cliColumn) {
	s := newScene(t, column, say)
	s.fault.Store(&llmtest.Step{Status: http.StatusUnauthorized})
	s.prove("expired key", func() string {
		s.start(s.request)
		began := time.Now()
		a := s.untilStatus("toast", town.StatusFailed)
		took := time.Since(began)
		if a.Reason != town.ReasonAuth || a.Error == "" {
			t.Errorf("failed with the reason %q, error %q; want auth and why", a.Reason, a.Error)
		}
		s.checkProvider(town.KindAuth)
		return "fails with `auth` after " + seconds(took)
	})
}

// checkProvider wants /health to say what is wrong with the provider.
func (s *scene) checkProvider(want town.ErrorKind) {
	s.t.Helper()
	h := s.health()
	if len(h.Providers) == 0 || h.Providers[0].Kind != want {
		s.t.Errorf("/health says of the providers %+v, want %s", h.Providers, want)
	}
	if degraded := h.Status == api.HealthDegraded; degraded != (want == town.KindAuth) {
		s.t.Errorf("the town is %s, degraded %v", h.Status, h.Degraded)
	}
}

// proveUsable wants an answer to a message.
func (s *scene) proveUsable(text string) {
	s.t.Helper()
	since := s.newest()
	s.message(text, "")
	events := s.since(since, isEnd)
	if _, ok := ended(events[len(events)-1]); !ok {
		s.t.Errorf("the turn after it failed too:\n%s", render(events))
	}
	if a := s.status("toast"); a.Status != town.StatusRunning {
		s.t.Errorf("the agent is %s %s", a.Status, a.Reason)
	}
}

// playFaults has the model fail in other ways and recover.
func playFaults(t *testing.T, column *cliColumn) {
	s := newScene(t, column, say)
	s.start(s.request)
	s.turns(1)
	overloaded := http.StatusServiceUnavailable
	if column.cli == "claude" {
		overloaded = 529
	}
	s.prove("rate limit", func() string {
		return s.suffer("rate limit", town.KindRateLimit, llmtest.Step{Status: http.StatusTooManyRequests, RetryAfter: time.Second})
	})
	s.prove("overload", func() string {
		return s.suffer("overload", town.KindOverloaded, llmtest.Step{Status: overloaded})
	})
	s.prove("malformed stream", func() string {
		return s.suffer("malformed stream", "", llmtest.Step{})
	})
}

// suffer has the model fail until the CLI tells of it, and then answer again. It
// returns what the CLI makes of that. A fault without a kind is a broken stream.
func (s *scene) suffer(fact string, kind town.ErrorKind, fault llmtest.Step) string {
	s.t.Helper()
	since := s.newest()
	if kind == "" {
		s.broken.Store(true)
	} else {
		s.fault.Store(&fault)
	}
	s.message("news with a "+fact, "")
	s.since(since, func(e town.Event) bool { return len(kinds([]town.Event{e})) > 0 })
	if kind != "" {
		s.checkProvider(kind)
	}
	s.fault.Store(nil)
	s.broken.Store(false)
	events := s.since(since, isEnd)
	if told := kinds(events); kind != "" && slices.ContainsFunc(told, func(k town.ErrorKind) bool { return k != kind }) {
		s.t.Errorf("told %v, want %s alone:\n%s", told, kind, render(events))
	}
	_, ok := ended(events[len(events)-1])
	s.proveUsable("are you there after the " + fact)
	if ok {
		return "tries again"
	}
	return "turn fails, the next goes on"
}
