package supervisor

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"townd/supervisor/keeper"
	"townd/town"
)

// The restart policy: 1 s doubling to 300 s with 20 % of jitter; five failures
// within ten minutes park the agent (limits.md section 9 rule 11, after kubelet
// and OTP).
const (
	restartFirst  = time.Second
	restartMost   = 300 * time.Second
	restartWindow = 10 * time.Minute
	restartLimit  = 5
)

// nextRestart returns how long to wait after the newest of failures, and which
// of them still count. ok is false when the agent must be parked.
func nextRestart(failures []time.Time, now time.Time) (delay time.Duration, recent []time.Time, ok bool) {
	for _, at := range failures {
		if now.Sub(at) < restartWindow {
			recent = append(recent, at)
		}
	}
	if len(recent) >= restartLimit {
		return 0, recent, false
	}
	delay = min(restartFirst<<max(len(recent)-1, 0), restartMost)
	jitter := 0.8 + 0.4*rand.Float64()
	return time.Duration(float64(delay) * jitter), recent, true
}

// outcome says what the end of an agent's program means. intent is why we were
// ending it, empty when we were not; failure is the last error its CLI told of.
// said is what the agent said of its work.
func outcome(exit keeper.Exit, intent, said town.Reason, failure town.ErrorKind) (town.Status, town.Reason) {
	switch intent {
	case town.ReasonStopped:
		if exit.Escalated || exit.Signal == "SIGKILL" {
			return town.StatusExited, town.ReasonKilled
		}
		return town.StatusExited, town.ReasonStopped
	case town.ReasonDone, town.ReasonBlocked:
		return town.StatusExited, intent
	case "":
	default: // a limit was passed
		return town.StatusFailed, intent
	}
	switch {
	case exit.OOM:
		return town.StatusFailed, town.ReasonOOM
	case exit.Code == 0 && exit.Signal == "":
		return town.StatusExited, cmp.Or(said, town.ReasonExited)
	case failure == town.KindAuth:
		return town.StatusFailed, town.ReasonAuth
	}
	return town.StatusFailed, town.ReasonCrashed
}

// cancelRestart gives up the start that is planned for a crashed agent.
func (a *agent) cancelRestart() {
	a.restartAt = time.Time{}
	a.dropRun()
	a.oweCrash()
	if r := a.rec.Agent.Restart; r != nil && r.NextAt != nil {
		state := *r
		state.NextAt = nil
		a.rec.Agent.Restart = &state
	}
	a.tellOwed()
}

// oweCrash has the end of a crashed run told that was to be followed by a restart,
// and is not.
func (a *agent) oweCrash() {
	if r := a.rec.Agent.Restart; r != nil && r.NextAt != nil && !a.rec.Agent.Status.Live() {
		a.owe(a.rec.Agent.Status, a.rec.Agent.Reason)
	}
}

// scheduleRestart plans the next start of a crashed agent whose policy wants
// it. It reports false when there is none, or too many have failed.
func (a *agent) scheduleRestart() bool {
	if a.rec.Request.Restart != town.RestartOnFailure {
		return false
	}
	now := time.Now()
	delay, recent, ok := nextRestart(append(a.rec.Failures, now), now)
	a.rec.Failures = recent
	state := *a.rec.Agent.Restart
	if state.Parked = !ok; ok {
		a.restartAt = now.Add(delay)
		state.NextAt = new(a.restartAt.UTC())
	}
	a.rec.Agent.Restart = &state
	a.publish()
	return ok
}

// mayRestart reports whether scheduleRestart would start the agent again.
func (a *agent) mayRestart() bool {
	if a.rec.Request.Restart != town.RestartOnFailure {
		return false
	}
	now := time.Now()
	_, _, ok := nextRestart(append(slices.Clone(a.rec.Failures), now), now)
	return ok
}

// restart starts a crashed agent again.
func (a *agent) restart() {
	a.restartAt = time.Time{}
	state := *a.rec.Agent.Restart
	state.Count, state.NextAt = state.Count+1, nil
	req := a.rec.Request
	req.Resume = true
	a.restarting = true
	a.begin(req, a.env, &state, func(_ town.Agent, err error) {
		a.restarting = false
		if err == nil {
			return
		}
		a.log.Warn("not restarted", "error", err)
		if !a.scheduleRestart() && !a.rec.Agent.Status.Live() {
			a.owe(a.rec.Agent.Status, a.rec.Agent.Reason)
			a.save()
			a.tellOwed()
		}
	})
}
