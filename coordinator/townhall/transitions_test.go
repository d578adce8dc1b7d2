package townhall

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

var update = flag.Bool("update", false, "write the generated part of docs/beads.md instead of comparing it")

// someBead is a lawful bead in a status, with a lease of epoch 3 where it has one.
func someBead(status town.BeadStatus, now time.Time) town.Bead {
	b := town.Bead{ID: "b", Status: status, Epoch: 3, Attempts: 1, MaxAttempts: 3}
	switch status {
	case town.BeadInProgress:
		b.Lease = &town.Lease{Epoch: 3, ExpiresAt: now}
	case town.BeadClosed, town.BeadFailed:
		b.ClosedAt = &now
	case town.BeadOpen, town.BeadInReview:
	}
	return b
}

// TestEveryCellIsInTheTableOrRefused walks every status and every event: what the
// document has happens as it says, all else is a conflict that changes nothing.
func TestEveryCellIsInTheTableOrRefused(t *testing.T) {
	doc, err := parseDocument(api.TransitionsJSON)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	cells := 0
	for _, status := range doc.Statuses {
		for _, event := range Events() {
			i := slices.IndexFunc(doc.Transitions, func(tr transition) bool { return tr.From == status && tr.Event == event })
			before := someBead(status, now)
			call := Call{Event: event, Epoch: 3, AgentID: "a", Reason: "why", LeaseEnd: now.Add(time.Minute)}
			after, effects, outcome, err := Apply(before, call, now)
			if i < 0 {
				if !errors.Is(err, town.ErrConflict) || after.Status != status || len(effects) > 0 {
					t.Errorf("%s in %s: got %s, %v, %v; want a conflict", event, status, after.Status, effects, err)
				}
				continue
			}
			cells++
			want := doc.Transitions[i]
			if err != nil || after.Status != want.To {
				t.Errorf("%s in %s: got %s, %v; want %s", event, status, after.Status, err, want.To)
			}
			var outside []Effect
			for _, e := range want.Effects {
				if slices.Contains(outsideEffects, e) {
					outside = append(outside, e)
				}
			}
			if !slices.Equal(effects, outside) {
				t.Errorf("%s in %s: effects %v, want %v", event, status, effects, outside)
			}
			checkOutcome(t, want, outcome)
			if (after.Status == town.BeadInProgress) != (after.Lease != nil) {
				t.Errorf("%s in %s: a lease %v in %s", event, status, after.Lease, after.Status)
			}
			checkGuard(t, want, before, call, now)
		}
	}
	if cells != len(doc.Transitions) {
		t.Errorf("%d cells were walked, the document has %d", cells, len(doc.Transitions))
	}
}

func checkOutcome(t *testing.T, want transition, got Outcome) {
	t.Helper()
	switch {
	case slices.Contains(want.Effects, EffectAttempt):
		if got != Kept {
			t.Errorf("%s in %s: outcome %v, want kept", want.Event, want.From, got)
		}
	case want.To == want.From && len(want.Effects) == 0:
		if got != Ignored {
			t.Errorf("%s in %s: outcome %v, want ignored", want.Event, want.From, got)
		}
	case got != Applied:
		t.Errorf("%s in %s: outcome %v, want applied", want.Event, want.From, got)
	}
}

// checkGuard makes the guard of a cell fail, and wants what it says then.
func checkGuard(t *testing.T, cell transition, b town.Bead, call Call, now time.Time) {
	t.Helper()
	var bad []Call
	switch cell.Guard {
	case "":
		return
	case "ready":
		blocked := call
		blocked.Blockers = 1
		bad = append(bad, blocked)
	case "expired":
		b.Lease.ExpiresAt = now.Add(time.Millisecond)
		bad = append(bad, call)
		fallthrough
	case "current":
		older, newer := call, call
		older.Epoch, newer.Epoch = 2, 4
		bad = append(bad, older, newer)
	}
	for _, call := range bad {
		after, effects, outcome, err := Apply(b, call, now)
		same := after.Status == b.Status && after.Epoch == b.Epoch
		ok := same
		switch cell.Else {
		case otherwiseRefuse:
			ok = ok && errors.Is(err, town.ErrConflict)
		case otherwiseIgnore:
			ok = ok && err == nil && outcome == Ignored && len(effects) == 0
		case otherwiseKeep:
			ok = ok && err == nil && outcome == Kept && slices.Equal(effects, []Effect{EffectAttempt})
		}
		if !ok {
			t.Errorf("%s in %s with epoch %d, blockers %d: %s, %v, %v, %v; want %s", cell.Event, cell.From, call.Epoch, call.Blockers, after.Status, effects, outcome, err, cell.Else)
		}
	}
}

func TestWhatEffectsDoToABead(t *testing.T) {
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	later := now.Add(time.Hour)
	apply := func(b town.Bead, call Call) town.Bead {
		t.Helper()
		after, _, outcome, err := Apply(b, call, now)
		if err != nil || outcome != Applied {
			t.Fatalf("%s in %s: %v, %v", call.Event, b.Status, outcome, err)
		}
		return after
	}
	b := apply(town.Bead{ID: "b", Status: town.BeadOpen}, Call{Event: EventClaim, AgentID: "a", Branch: "br", LeaseEnd: later})
	if b.Epoch != 1 || b.Attempts != 1 || b.AgentID != "a" || b.Branch != "br" || *b.Lease != (town.Lease{Epoch: 1, ExpiresAt: later}) {
		t.Errorf("claim: %+v", b)
	}
	if r := apply(b, Call{Event: EventRenew, Epoch: 1, LeaseEnd: later.Add(time.Hour)}); !r.Lease.ExpiresAt.Equal(later.Add(time.Hour)) || !b.Lease.ExpiresAt.Equal(later) {
		t.Errorf("renew: %+v of %+v", r.Lease, b.Lease)
	}
	for attempts, want := range []time.Duration{30 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
		b := b
		b.Attempts = attempts
		if r := apply(b, Call{Event: EventRelease, Epoch: 1}); !r.NotBefore.Equal(now.Add(want)) {
			t.Errorf("release of attempt %d: waits %v, want %v", attempts, r.NotBefore.Sub(now), want)
		}
		if r := apply(b, Call{Event: EventRelease, Epoch: 1, Jitter: 1}); !r.NotBefore.Equal(now.Add(want * 5 / 4)) {
			t.Errorf("release of attempt %d with jitter: waits %v", attempts, r.NotBefore.Sub(now))
		}
	}
	review := apply(b, Call{Event: EventDone, Epoch: 1, Commit: "c", Summary: "s", PullRequest: "p"})
	if review.Lease != nil || review.Branch != "br" || review.Commit != "c" || review.Summary != "s" || review.PullRequest != "p" {
		t.Errorf("done: %+v", review)
	}
	rework := apply(review, Call{Event: EventRework, Feedback: "f"})
	if rework.Reworks != 1 || rework.Feedback != "f" || rework.NotBefore != nil {
		t.Errorf("rework: %+v", rework)
	}
	held := apply(rework, Call{Event: EventHold, Reason: "h"})
	if held.Hold != "h" {
		t.Errorf("hold: %+v", held)
	}
	failed := apply(held, Call{Event: EventFail})
	if failed.ClosedAt == nil || failed.Hold != "" {
		t.Errorf("fail: %+v", failed)
	}
	again := apply(failed, Call{Event: EventRetry})
	if again.ClosedAt != nil || again.Attempts != 0 || again.Reworks != 0 || again.Feedback != "" || again.Epoch != 1 {
		t.Errorf("retry: %+v", again)
	}
}

// A program that does not know a word of the document must not run with it.
func TestATableWithUnknownWordsIsRefused(t *testing.T) {
	for name, change := range map[string]func(d map[string]any, first map[string]any){
		"status":      func(_, first map[string]any) { first["to"] = "gone" },
		"event":       func(_, first map[string]any) { first["event"] = "sneeze" },
		"guard":       func(_, first map[string]any) { first["guard"] = "lucky" },
		"else":        func(_, first map[string]any) { first["else"] = "shrug" },
		"effect":      func(_, first map[string]any) { first["effects"] = []string{"confetti"} },
		"field":       func(d, _ map[string]any) { d["extra"] = 1 },
		"second cell": func(d, first map[string]any) { d["transitions"] = append(d["transitions"].([]any), first) },
	} {
		var d map[string]any
		if err := json.Unmarshal(api.TransitionsJSON, &d); err != nil {
			t.Fatal(err)
		}
		change(d, d["transitions"].([]any)[0].(map[string]any))
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readTable(b); err == nil {
			t.Errorf("a table with an unknown %s is read", name)
		}
	}
}

func TestDocsOfTransitionsAreUpToDate(t *testing.T) {
	const page, begin, end = "../../docs/beads.md", "<!-- generated from api/transitions.json -->\n", "<!-- end -->\n"
	doc, err := parseDocument(api.TransitionsJSON)
	if err != nil {
		t.Fatal(err)
	}
	want := transitionsText(doc)
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no part between %q and %q", page, begin, end)
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != want {
		t.Errorf("%s is not up to date: go test ./coordinator/townhall -run UpToDate -update", page)
	}
}

// transitionsText is the document for people.
func transitionsText(doc document) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, s := range doc.Statuses {
		fmt.Fprintf(&b, " %s |", s)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(doc.Statuses)) + "\n")
	for _, event := range Events() {
		fmt.Fprintf(&b, "| **%s** |", event)
		for _, s := range doc.Statuses {
			i := slices.IndexFunc(doc.Transitions, func(tr transition) bool { return tr.From == s && tr.Event == event })
			if i < 0 {
				b.WriteString(" – |")
				continue
			}
			b.WriteString(" " + cellText(doc.Transitions[i]) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n| guard | holds when |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(doc.Guards)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, doc.Guards[name])
	}
	b.WriteString("\n| effect | what happens |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(doc.Effects)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, doc.Effects[name])
	}
	return b.String()
}

func cellText(tr transition) string {
	to := "→ " + string(tr.To)
	if tr.To == tr.From {
		to = "stays"
	}
	if tr.Guard != "" {
		to += fmt.Sprintf(" if `%s` (else %s)", tr.Guard, tr.Else)
	}
	for i, e := range tr.Effects {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		to += fmt.Sprintf("%s`%s`", sep, e)
	}
	return to
}
