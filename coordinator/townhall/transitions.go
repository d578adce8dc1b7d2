package townhall

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"townd/api"
	"townd/town"
)

// Event is what happens to a bead.
type Event string

// The events of api.TransitionsJSON.
const (
	EventClaim   Event = "claim"
	EventRenew   Event = "renew"
	EventDone    Event = "done"
	EventFinish  Event = "finish"
	EventRelease Event = "release"
	EventExpire  Event = "expire"
	EventGiveUp  Event = "give_up"
	EventBlock   Event = "block"
	EventHold    Event = "hold"
	EventRetry   Event = "retry"
	EventClose   Event = "close"
	EventFail    Event = "fail"
	EventMerged  Event = "merged"
	EventRework  Event = "rework"
)

// Events returns every event.
func Events() []Event {
	return []Event{
		EventClaim, EventRenew, EventDone, EventFinish, EventRelease, EventExpire, EventGiveUp, EventBlock,
		EventHold, EventRetry, EventClose, EventFail, EventMerged, EventRework,
	}
}

// Call is an event with what it brings.
type Call struct {
	Event       Event
	By          string    // "person", "town" or an agent's id; "town" when empty
	Reason      string    // for people: why of the bead, text of the note, hold, body of an escalation
	Epoch       int64     // of the lease that the caller has, for the guards current and expired
	AgentID     string    // claim: who takes it
	Blockers    int       // claim: how many beads it depends on are not closed; apply fills it in
	LeaseEnd    time.Time // claim, renew
	Jitter      float64   // release, expire: 0 to 1, lengthens the back-off by up to a quarter; apply fills it in
	Branch      string    // claim, done, finish, merged
	Commit      string
	Summary     string
	PullRequest string
	Feedback    string // rework
	Cause       string // give_up, block: of the escalation; "bead:<id>" when empty
}

// Effect is something that a transition brings about.
type Effect string

// The effects of api.TransitionsJSON. Apply carries out those on the bead itself;
// the others it returns.
const (
	effectLease   Effect = "lease"
	effectRenew   Effect = "renew"
	effectUnlease Effect = "unlease"
	effectBranch  Effect = "branch"
	effectBackoff Effect = "backoff"
	effectRework  Effect = "feedback"
	effectHold    Effect = "hold"
	effectReset   Effect = "reset"
	effectFinish  Effect = "finish"
	effectReopen  Effect = "reopen"

	EffectEnqueue           Effect = "enqueue"
	EffectDequeue           Effect = "dequeue"
	EffectReleaseDependants Effect = "release_dependants"
	EffectHoldDependants    Effect = "hold_dependants"
	EffectEscalate          Effect = "escalate"
	EffectStop              Effect = "stop"
	EffectAttempt           Effect = "attempt"
)

// Outcome tells what became of a call.
type Outcome int

// The outcomes. A refusal is an error, town.ErrConflict.
const (
	Applied Outcome = iota // the bead is in its new status
	Ignored                // nothing changed
	Kept                   // the call is kept as an attempt, nothing else changed
)

// backoffs is how long a bead rests after its first, second, … attempt; the last
// holds for all that follow.
var backoffs = []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute}

// Apply returns what becomes of b by call: b with its own fields as they are then,
// and the effects that are outside of it, in order. It is pure.
func Apply(b town.Bead, call Call, now time.Time) (town.Bead, []Effect, Outcome, error) {
	cell, ok := table[cellKey{b.Status, call.Event}]
	if !ok {
		return b, nil, Ignored, fmt.Errorf("bead %s is %s, which does not allow %s: %w", b.ID, b.Status, call.Event, town.ErrConflict)
	}
	if cell.guard != nil {
		if failed := cell.guard(b, call, now); failed != "" {
			switch cell.otherwise {
			case otherwiseIgnore:
				return b, nil, Ignored, nil
			case otherwiseKeep:
				return b, []Effect{EffectAttempt}, Kept, nil
			default:
				return b, nil, Ignored, fmt.Errorf("bead %s: %s: %w", b.ID, failed, town.ErrConflict)
			}
		}
	}
	if cell.to == b.Status && len(cell.effects) == 0 {
		return b, nil, Ignored, nil
	}
	if slices.Contains(cell.effects, EffectAttempt) {
		return b, []Effect{EffectAttempt}, Kept, nil
	}
	var outside []Effect
	for _, e := range cell.effects {
		if change := ownEffects[e]; change != nil {
			change(&b, call, now)
		} else {
			outside = append(outside, e)
		}
	}
	b.Status = cell.to
	if call.Event != EventRenew {
		b.UpdatedAt = now
	}
	return b, outside, Applied, nil
}

// guards tell why a call may not be, "" when it may.
var guards = map[string]func(b town.Bead, call Call, now time.Time) string{
	"ready": func(b town.Bead, call Call, now time.Time) string {
		switch {
		case b.Hold != "":
			return "is held: " + b.Hold
		case call.Blockers > 0:
			return fmt.Sprintf("waits for %d other beads", call.Blockers)
		case b.NotBefore != nil && now.Before(*b.NotBefore):
			return "is not to be taken before " + b.NotBefore.Format(time.RFC3339)
		}
		return ""
	},
	"current": current,
	"expired": func(b town.Bead, call Call, now time.Time) string {
		if failed := current(b, call, now); failed != "" {
			return failed
		}
		if now.Before(b.Lease.ExpiresAt) {
			return "the lease has not ended"
		}
		return ""
	},
}

func current(b town.Bead, call Call, _ time.Time) string {
	if b.Lease == nil || call.Epoch != b.Lease.Epoch {
		return fmt.Sprintf("the lease of epoch %d is over", call.Epoch)
	}
	return ""
}

// ownEffects are the effects on the bead itself.
var ownEffects = map[Effect]func(b *town.Bead, call Call, now time.Time){
	effectLease: func(b *town.Bead, call Call, _ time.Time) {
		b.Epoch++
		b.Attempts++
		b.AgentID = call.AgentID
		b.Branch = call.Branch
		b.Lease = &town.Lease{Epoch: b.Epoch, ExpiresAt: call.LeaseEnd}
	},
	effectRenew: func(b *town.Bead, call Call, _ time.Time) {
		b.Lease = &town.Lease{Epoch: b.Lease.Epoch, ExpiresAt: call.LeaseEnd}
	},
	effectUnlease: func(b *town.Bead, _ Call, _ time.Time) { b.Lease = nil },
	effectBranch: func(b *town.Bead, call Call, _ time.Time) {
		for _, f := range []struct {
			field *string
			value string
		}{{&b.Branch, call.Branch}, {&b.Summary, call.Summary}, {&b.Commit, call.Commit}, {&b.PullRequest, call.PullRequest}} {
			if f.value != "" {
				*f.field = f.value
			}
		}
	},
	effectBackoff: func(b *town.Bead, call Call, now time.Time) {
		wait := backoffs[min(max(b.Attempts, 1), len(backoffs))-1]
		until := now.Add(wait + time.Duration(call.Jitter*float64(wait)/4)).Truncate(time.Millisecond)
		b.NotBefore = &until
	},
	effectRework: func(b *town.Bead, call Call, _ time.Time) {
		b.Feedback = call.Feedback
		b.Reworks++
		b.NotBefore = nil
	},
	effectHold: func(b *town.Bead, call Call, _ time.Time) { b.Hold = call.Reason },
	effectReset: func(b *town.Bead, _ Call, _ time.Time) {
		b.Attempts, b.Reworks, b.Hold, b.Feedback, b.NotBefore = 0, 0, "", "", nil
	},
	effectFinish: func(b *town.Bead, _ Call, now time.Time) {
		b.ClosedAt, b.Hold, b.NotBefore = &now, "", nil
	},
	effectReopen: func(b *town.Bead, _ Call, _ time.Time) { b.ClosedAt = nil },
}

// outsideEffects are those that the store carries out.
var outsideEffects = []Effect{
	EffectEnqueue, EffectDequeue, EffectReleaseDependants, EffectHoldDependants, EffectEscalate, EffectStop, EffectAttempt,
}

// otherwise is what follows when a guard does not hold.
type otherwise string

const (
	otherwiseRefuse otherwise = "refuse"
	otherwiseIgnore otherwise = "ignore"
	otherwiseKeep   otherwise = "keep"
)

// cell is what an event does in a status.
type cell struct {
	to        town.BeadStatus
	guard     func(b town.Bead, call Call, now time.Time) string // nil: none
	otherwise otherwise
	effects   []Effect
}

type cellKey struct {
	from  town.BeadStatus
	event Event
}

// document is api.TransitionsJSON.
type document struct {
	Comment     string            `json:"comment"`
	Statuses    []town.BeadStatus `json:"statuses"`
	Terminal    []town.BeadStatus `json:"terminal"`
	Guards      map[string]string `json:"guards"`  // name to meaning
	Effects     map[Effect]string `json:"effects"` // name to meaning
	Transitions []transition      `json:"transitions"`
}

type transition struct {
	From    town.BeadStatus `json:"from"`
	Event   Event           `json:"event"`
	Guard   string          `json:"guard"`
	Else    otherwise       `json:"else"`
	To      town.BeadStatus `json:"to"`
	Effects []Effect        `json:"effects"`
}

// table is the document by cell. A name in it that this program does not know is a
// fault of the program, so that it does not start.
var table = func() map[cellKey]cell {
	cells, err := readTable(api.TransitionsJSON)
	if err != nil {
		panic(fmt.Sprintf("api/transitions.json: %v", err))
	}
	return cells
}()

// readTable reads a document of transitions and refuses what it does not know.
func readTable(doc []byte) (map[cellKey]cell, error) {
	d, err := parseDocument(doc)
	if err != nil {
		return nil, err
	}
	cells := map[cellKey]cell{}
	for _, t := range d.Transitions {
		key := cellKey{t.From, t.Event}
		where := fmt.Sprintf("%s in %s", t.Event, t.From)
		switch {
		case !slices.Contains(d.Statuses, t.From) || !slices.Contains(d.Statuses, t.To):
			return nil, fmt.Errorf("%s: unknown status", where)
		case !slices.Contains(Events(), t.Event):
			return nil, fmt.Errorf("%s: unknown event", where)
		case t.Guard != "" && guards[t.Guard] == nil:
			return nil, fmt.Errorf("%s: unknown guard %q", where, t.Guard)
		case t.Guard == "" && t.Else != "", t.Guard != "" && !slices.Contains([]otherwise{otherwiseRefuse, otherwiseIgnore, otherwiseKeep}, t.Else):
			return nil, fmt.Errorf("%s: else %q does not fit its guard", where, t.Else)
		}
		for _, e := range t.Effects {
			if ownEffects[e] == nil && !slices.Contains(outsideEffects, e) {
				return nil, fmt.Errorf("%s: unknown effect %q", where, e)
			}
		}
		if _, ok := cells[key]; ok {
			return nil, fmt.Errorf("%s is there twice", where)
		}
		cells[key] = cell{to: t.To, guard: guards[t.Guard], otherwise: t.Else, effects: t.Effects}
	}
	return cells, nil
}

func parseDocument(doc []byte) (document, error) {
	var d document
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	err := dec.Decode(&d)
	return d, err
}
