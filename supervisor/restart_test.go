package supervisor

import (
	"testing"
	"time"

	"townd/supervisor/keeper"
	"townd/town"
)

func TestRestartsBackOffAndPark(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var failures []time.Time
	for i, want := range []time.Duration{1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
		failures = append(failures, now)
		delay, recent, ok := nextRestart(failures, now)
		if !ok || len(recent) != i+1 || delay < want*8/10 || delay > want*12/10 {
			t.Errorf("after %d failures: nextRestart() = %v, %d recent, %v; want %v ± 20 %%", i+1, delay, len(recent), ok, want)
		}
	}
	failures = append(failures, now)
	if _, _, ok := nextRestart(failures, now); ok {
		t.Error("the fifth failure within ten minutes did not park the agent")
	}
	if _, recent, ok := nextRestart(failures, now.Add(restartWindow)); !ok || len(recent) != 0 {
		t.Errorf("ten minutes later: %d recent failures, ok %v; want 0, true", len(recent), ok)
	}
}

func TestOutcomeTellsHowTheProgramEnded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		exit    keeper.Exit
		intent  town.Reason
		said    town.Reason
		failure town.ErrorKind
		status  town.Status
		reason  town.Reason
	}{
		{"by itself", keeper.Exit{}, "", "", "", town.StatusExited, town.ReasonExited},
		{"by itself, its work done", keeper.Exit{}, "", town.ReasonDone, "", town.StatusExited, town.ReasonDone},
		{"with its work done, by us", keeper.Exit{Signal: "SIGTERM", Asked: true}, town.ReasonDone, town.ReasonDone, "", town.StatusExited, town.ReasonDone},
		{"with a code, its work done", keeper.Exit{Code: 3}, "", town.ReasonDone, "", town.StatusFailed, town.ReasonCrashed},
		{"with a code", keeper.Exit{Code: 3}, "", "", "", town.StatusFailed, town.ReasonCrashed},
		{"by a signal", keeper.Exit{Signal: "SIGSEGV"}, "", "", "", town.StatusFailed, town.ReasonCrashed},
		{"by the kernel for memory", keeper.Exit{Signal: "SIGKILL", OOM: true}, "", "", "", town.StatusFailed, town.ReasonOOM},
		{"refused by its provider", keeper.Exit{Code: 1}, "", "", town.KindAuth, town.StatusFailed, town.ReasonAuth},
		{"by our stop", keeper.Exit{Signal: "SIGTERM", Asked: true}, town.ReasonStopped, "", "", town.StatusExited, town.ReasonStopped},
		{"by our stop, with a code", keeper.Exit{Code: 143, Asked: true}, town.ReasonStopped, "", "", town.StatusExited, town.ReasonStopped},
		{"by our kill", keeper.Exit{Signal: "SIGKILL", Asked: true, Escalated: true}, town.ReasonStopped, "", "", town.StatusExited, town.ReasonKilled},
		{"with a child that had to be killed", keeper.Exit{Asked: true, Escalated: true}, town.ReasonStopped, "", "", town.StatusExited, town.ReasonKilled},
		{"by a limit", keeper.Exit{Signal: "SIGTERM", Asked: true}, town.ReasonTimeout, "", "", town.StatusFailed, town.ReasonTimeout},
	} {
		status, reason := outcome(tt.exit, tt.intent, tt.said, tt.failure)
		if status != tt.status || reason != tt.reason {
			t.Errorf("%s: outcome() = %s %s, want %s %s", tt.name, status, reason, tt.status, tt.reason)
		}
	}
}

func TestOverLimitNamesWhatWasReached(t *testing.T) {
	limits := town.Limits{MemoryBytes: 100, Processes: 3}
	for _, tt := range []struct {
		res  town.Resources
		want town.Reason
	}{
		{town.Resources{RSSBytes: 100, Processes: 3}, ""},
		{town.Resources{RSSBytes: 101}, town.ReasonOOM},
		{town.Resources{Processes: 4}, town.ReasonBudget},
	} {
		if got := overLimit(limits, tt.res); got != tt.want {
			t.Errorf("overLimit(%+v) = %q, want %q", tt.res, got, tt.want)
		}
		if got := overLimit(town.Limits{}, tt.res); got != "" {
			t.Errorf("overLimit(%+v) without limits = %q, want none", tt.res, got)
		}
	}
}
