package townhall

import (
	"time"

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

// Call is an event with what it brings.
type Call struct {
	Event       Event
	By          string    // "person", "town" or an agent's id
	Reason      string    // for people: why of the bead, text of the note, hold, title of an escalation
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
type Effect int

// Outcome tells what became of a call.
type Outcome int

// The outcomes. A refusal is an error, town.ErrConflict.
const (
	Applied Outcome = iota // the bead is in its new status
	Ignored                // nothing changed
	Kept                   // the call is kept as an attempt, nothing else changed
)

// Apply returns what becomes of b by call: b with its own fields as they are then,
// and the effects that are outside of it, in order. It is pure.
func Apply(b town.Bead, call Call, now time.Time) (town.Bead, []Effect, Outcome, error) {
	return b, nil, Ignored, errNotYet
}

// apply carries out call on a bead of the store, with its effects and a note of
// kind "status", in tx.
func apply(tx *tx, beadID string, call Call) (town.Bead, Outcome, error) {
	return town.Bead{}, Ignored, errNotYet
}
