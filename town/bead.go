package town

import (
	"encoding/json"
	"slices"
	"time"
)

// Bead is one piece of work that the coordinator holds.
type Bead struct {
	ID          string          `json:"id"`
	RigID       string          `json:"rigId"`
	Type        BeadType        `json:"type"`
	Title       string          `json:"title"`
	Body        string          `json:"body"`
	Status      BeadStatus      `json:"status"`
	Why         string          `json:"why"` // for people: what it waits for, or why it is in this status
	Priority    Priority        `json:"priority"`
	Labels      []string        `json:"labels"`
	Source      string          `json:"source"`               // who made it: "person", "agent:<id>", "github", …
	ParentID    string          `json:"parentId,omitempty"`   // bead on which the agent was that made it
	DedupeKey   string          `json:"dedupeKey,omitempty"`  // a second bead of a rig with it is the first one
	DependsOn   []string        `json:"dependsOn"`            // beads that must be closed before anyone takes it
	ConvoyID    string          `json:"convoyId,omitempty"`   //
	Attempts    int             `json:"attempts"`             // times that it was taken since it was made or retried
	MaxAttempts int             `json:"maxAttempts"`          //
	Reworks     int             `json:"reworks"`              // times that it came back from review
	NotBefore   *time.Time      `json:"notBefore,omitempty"`  // nobody takes it earlier
	Hold        string          `json:"hold,omitempty"`       // why nobody may take it, until it is retried
	AgentID     string          `json:"agentId,omitempty"`    // who has it, or had it last
	Lease       *Lease          `json:"lease,omitempty"`      // while an agent has it
	Epoch       int64           `json:"epoch"`                // of the newest lease; 0 before the first
	Branch      string          `json:"branch,omitempty"`     // that the work is on
	StartPoint  string          `json:"startPoint,omitempty"` // that the branch begins at; the target when empty
	Target      string          `json:"target,omitempty"`     // that the branch goes into; the rig's default branch when empty
	Commit      string          `json:"commit,omitempty"`     // that the target came to with it
	PullRequest string          `json:"pullRequest,omitempty"`
	Summary     string          `json:"summary,omitempty"`    // of what was done, by who did it
	Feedback    string          `json:"feedback,omitempty"`   // of the last review or merge that sent it back
	Checkpoint  json.RawMessage `json:"checkpoint,omitempty"` // what its agent noted last, for the next attempt
	Metadata    json.RawMessage `json:"metadata,omitempty"`   // an object, kept as it was given
	CreatedAt   time.Time       `json:"createdAt"`
	UpdatedAt   time.Time       `json:"updatedAt"`
	ClosedAt    *time.Time      `json:"closedAt,omitempty"` // when it was closed or failed
}

// BeadStatus is where a bead stands. The table of transitions between them is
// api/transitions.json.
type BeadStatus string

// The statuses of a bead. Closed and failed absorb: only a person's retry leaves them.
const (
	BeadOpen       BeadStatus = "open"
	BeadInProgress BeadStatus = "in_progress" // an agent has it, by a lease
	BeadInReview   BeadStatus = "in_review"   // its branch waits to be merged
	BeadClosed     BeadStatus = "closed"
	BeadFailed     BeadStatus = "failed"
)

// BeadType tells what a bead is.
type BeadType string

// The types of beads.
const (
	BeadIssue      BeadType = "issue"
	BeadBug        BeadType = "bug"
	BeadFeature    BeadType = "feature"
	BeadChore      BeadType = "chore"
	BeadDocs       BeadType = "docs"
	BeadConvoy     BeadType = "convoy"     // stands for a convoy; nobody takes it
	BeadEscalation BeadType = "escalation" // made from what an agent could not do
)

// BeadTypes returns every type.
func BeadTypes() []BeadType {
	return []BeadType{BeadIssue, BeadBug, BeadFeature, BeadChore, BeadDocs, BeadConvoy, BeadEscalation}
}

// Priority is how much a bead presses. A bead that waits rises: one of a lower
// priority is taken before one that is younger by the difference of their heads
// starts, so that none starves.
type Priority string

// The priorities, lowest first.
const (
	PriorityLow      Priority = "low"
	PriorityMedium   Priority = "medium"
	PriorityHigh     Priority = "high"
	PriorityCritical Priority = "critical"
)

// Priorities returns every priority, lowest first.
func Priorities() []Priority {
	return []Priority{PriorityLow, PriorityMedium, PriorityHigh, PriorityCritical}
}

// Above is the next higher priority; nothing is above critical.
func (p Priority) Above() Priority {
	all := Priorities()
	return all[min(slices.Index(all, p)+1, len(all)-1)]
}

// HeadStart is how much older than it is a bead of that priority counts.
func (p Priority) HeadStart() time.Duration {
	switch p {
	case PriorityLow:
		return 0
	case PriorityMedium:
		return time.Hour
	case PriorityHigh:
		return 6 * time.Hour
	case PriorityCritical:
		return 48 * time.Hour
	}
	return 0
}

// Lease is an agent's claim of a bead. It is renewed by heartbeats that show its
// agent; when it ends the bead is free again.
type Lease struct {
	Epoch     int64     `json:"epoch"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// BeadRequest makes a bead.
type BeadRequest struct {
	Type        BeadType        `json:"type,omitempty"` // BeadIssue when empty
	Title       string          `json:"title"`
	Body        string          `json:"body,omitempty"`
	Priority    Priority        `json:"priority,omitempty"` // PriorityMedium when empty
	Labels      []string        `json:"labels,omitempty"`
	Source      string          `json:"source,omitempty"`
	DedupeKey   string          `json:"dedupeKey,omitempty"`
	DependsOn   []string        `json:"dependsOn,omitempty"`
	NotBefore   *time.Time      `json:"notBefore,omitempty"`
	MaxAttempts int             `json:"maxAttempts,omitempty"` // DefaultAttempts when 0
	StartPoint  string          `json:"startPoint,omitempty"`
	Target      string          `json:"target,omitempty"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
}

// DefaultAttempts is how often a bead is taken before it fails (Q5).
const DefaultAttempts = 3

// BeadPatch changes what is set.
type BeadPatch struct {
	Title     *string    `json:"title,omitempty"`
	Body      *string    `json:"body,omitempty"`
	Type      *BeadType  `json:"type,omitempty"`
	Priority  *Priority  `json:"priority,omitempty"`
	Labels    *[]string  `json:"labels,omitempty"`
	DependsOn *[]string  `json:"dependsOn,omitempty"`
	NotBefore *time.Time `json:"notBefore,omitempty"`
	Hold      *string    `json:"hold,omitempty"`   // "" lets it go
	Status    BeadStatus `json:"status,omitempty"` // closed or failed, by a person
	Reason    string     `json:"reason,omitempty"` // of Status
}

// Note is something that was written down about a bead. Each change of its status
// is one as well.
type Note struct {
	ID        int64     `json:"id"`
	BeadID    string    `json:"beadId"`
	Kind      string    `json:"kind"` // "note", "status", "attempt", "feedback", "checkpoint"
	By        string    `json:"by"`   // "person", "town" or an agent's id
	Text      string    `json:"text"`
	Epoch     int64     `json:"epoch,omitempty"` // of the lease it was written under
	Branch    string    `json:"branch,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
}

// Convoy is a set of beads that make one thing. It is itself a bead of type convoy.
type Convoy struct {
	ID        string       `json:"id"`
	RigID     string       `json:"rigId"`
	Title     string       `json:"title"`
	Mode      ConvoyMode   `json:"mode"`
	Status    ConvoyStatus `json:"status"`
	Branch    string       `json:"branch,omitempty"` // that its beads go into, with LandAtEnd
	Beads     []string     `json:"beads"`
	Closed    int          `json:"closed"` // of Beads
	Failed    int          `json:"failed"`
	CreatedAt time.Time    `json:"createdAt"`
	ClosedAt  *time.Time   `json:"closedAt,omitempty"`
}

// ConvoyMode is how a convoy's beads get into the rig's default branch.
type ConvoyMode string

// The modes of a convoy.
const (
	LandAtEnd    ConvoyMode = "review-then-land" // all into the convoy's branch, which goes in as a whole
	LandOneByOne ConvoyMode = "review-and-merge" // each by itself
)

// ConvoyStatus is where a convoy stands.
type ConvoyStatus string

// The statuses of a convoy.
const (
	ConvoyStaged  ConvoyStatus = "staged" // waits for a person to start it
	ConvoyOpen    ConvoyStatus = "open"
	ConvoyLanding ConvoyStatus = "landing" // all its beads are in its branch
	ConvoyClosed  ConvoyStatus = "closed"
	ConvoyFailed  ConvoyStatus = "failed"
)

// ConvoyRequest makes a convoy and its beads. Two or more tasks of which none
// depends on another are refused unless Parallel is set.
type ConvoyRequest struct {
	RigID    string       `json:"rigId"`
	Title    string       `json:"title"`
	Mode     ConvoyMode   `json:"mode,omitempty"` // LandOneByOne when empty
	Staged   bool         `json:"staged,omitempty"`
	Parallel bool         `json:"parallel,omitempty"`
	Source   string       `json:"source,omitempty"`
	Tasks    []ConvoyTask `json:"tasks"`
}

// ConvoyTask is a bead of a convoy that is to be made.
type ConvoyTask struct {
	Title     string   `json:"title"`
	Body      string   `json:"body,omitempty"`
	Type      BeadType `json:"type,omitempty"`
	Priority  Priority `json:"priority,omitempty"`
	Labels    []string `json:"labels,omitempty"`
	DependsOn []int    `json:"dependsOn,omitempty"` // indices of tasks
}
