// Package conformance is a suite of cases over the coordinator's contract, the
// calls of api/openapi.yaml under /api/towns/{townId}, that runs against any
// coordinator by its base URL. It is a container to it: it serves the calls of the
// control API that a coordinator makes, and tells of its agents what the case
// wants. Every answer is held against the document.
//
// The town must be for the suite alone. Cases that need time to pass are skipped
// for a target whose clock cannot be moved.
package conformance

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/api"
)

// Target is a coordinator under test. BaseURL, TownID, Token and Container are required.
type Target struct {
	BaseURL   string // that /api/towns/ follows
	TownID    string
	Token     string
	Transport http.RoundTripper // http.DefaultTransport when nil
	Container *Container        // that the coordinator calls; at least 20 polecats at once

	// Advance moves the coordinator's clock on. nil: it cannot be moved.
	Advance func(time.Duration)

	// Patience is how long the suite waits for what the coordinator does by itself; 10 s when 0.
	Patience time.Duration
}

// Case is one case of the suite.
type Case struct {
	Name string
	Rows []string // of the table of transitions that it proves, as "open/claim" or, for a guard that does not hold, "open/claim/else"
	time bool     // it needs Target.Advance
	run  func(t *T)
}

// Cases returns the suite.
func Cases() []Case {
	return slices.Concat(openCases, progressCases, reviewCases, endCases, refusalCases, keyCases, reportCases, agentCases, quotaCases, convoyCases)
}

// Result is what became of a case.
type Result struct {
	Case     Case
	Skipped  string // why, "" when it was not
	Failures []string
}

// Run runs the whole suite, each case as a subtest.
func Run(t *testing.T, target Target) {
	for _, c := range Cases() {
		t.Run(strings.ReplaceAll(c.Name, " ", "_"), func(t *testing.T) {
			r := c.Run(t.Context(), target)
			if r.Skipped != "" {
				t.Skip(r.Skipped)
			}
			for _, f := range r.Failures {
				t.Error(f)
			}
		})
	}
}

// maxCase is how long a case may take: that of too many reworks waits a dozen times.
const maxCase = 3 * time.Minute

// Run runs one case.
func (c Case) Run(ctx context.Context, target Target) (r Result) {
	r.Case = c
	if c.time && target.Advance == nil {
		r.Skipped = "the target's clock cannot be moved"
		return r
	}
	if target.Patience == 0 {
		target.Patience = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, maxCase)
	defer cancel()
	t := newT(ctx, target)
	t.guard(func() { c.run(t) })
	for _, cleanup := range slices.Backward(t.cleanups) {
		t.guard(cleanup)
	}
	return Result{Case: c, Failures: t.failures}
}

// T is a running case.
type T struct {
	ctx      context.Context
	target   Target
	hall     *api.HallClient // a person
	http     *http.Client    // for what no client of ours sends
	box      *Container
	failures []string
	cleanups []func()
}

func newT(ctx context.Context, target Target) *T {
	t := &T{ctx: ctx, target: target, box: target.Container}
	next := target.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	t.http = &http.Client{Transport: Checked(next, func(err error) {
		first, _, _ := strings.Cut(err.Error(), "\n") // what follows are schema and value
		t.Errorf("%s", first)
	})}
	t.hall = api.NewHall(target.BaseURL, target.TownID, target.Token, t.http)
	return t
}

// stopped ends a case that cannot go on.
type stopped struct{}

func (t *T) guard(run func()) {
	defer func() {
		if v := recover(); v != nil && v != (stopped{}) {
			panic(v)
		}
	}()
	run()
}

// Errorf marks the case as failed.
func (t *T) Errorf(format string, args ...any) {
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
}

// Fatalf marks the case as failed and ends it.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(stopped{})
}

func (t *T) cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// must ends the case if err is one.
func (t *T) must(err error) {
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// eventually waits until holds says that it holds, for as long as the target's patience.
func (t *T) eventually(what string, holds func() bool) {
	if !within(t.ctx, t.target.Patience, holds) {
		t.Fatalf("waited %v in vain: %s", t.target.Patience, what)
	}
}

// within asks again and again, since a coordinator tells only who asks.
func within(ctx context.Context, patience time.Duration, holds func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if holds() {
			return true
		}
		select {
		case <-ctx.Done():
			return holds()
		case <-time.After(pause):
		}
	}
}
