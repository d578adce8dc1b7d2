package town

import (
	"encoding/json"
	"time"
)

// Heartbeat is what a container tells its coordinator at each tick: all its agents
// in one request. It is never a completion.
type Heartbeat struct {
	InstanceID string           `json:"instanceId"` // of the container: a new one each time that its keeper starts
	StartedAt  time.Time        `json:"startedAt"`  // of the instance
	SentAt     time.Time        `json:"sentAt"`
	Status     string           `json:"status"` // as in /health
	Version    string           `json:"version,omitempty"`
	Agents     []AgentHeartbeat `json:"agents"` // every agent that is not forgotten
	Resources  HostResources    `json:"resources"`
	Outbox     OutboxState      `json:"outbox"`
	OrdersDone []OrderResult    `json:"ordersDone,omitempty"` // since the last heartbeat that was answered
	Quota      *Quota           `json:"quota,omitempty"`      // the scarcest; nil when nothing is known that still counts
}

// AgentHeartbeat is one agent in a Heartbeat.
type AgentHeartbeat struct {
	AgentID        string     `json:"agentId"`
	RigID          string     `json:"rigId"`
	BeadID         string     `json:"beadId,omitempty"`
	Role           Role       `json:"role"`
	Status         Status     `json:"status"`
	Reason         Reason     `json:"reason,omitempty"`
	RunID          string     `json:"runId,omitempty"`
	Generation     int64      `json:"generation"`
	Turn           Turn       `json:"turn"`
	LastActivityAt *time.Time `json:"lastActivityAt,omitempty"`
	LastEventType  EventType  `json:"lastEventType,omitempty"`
	LastEventAt    *time.Time `json:"lastEventAt,omitempty"`
	ActiveTools    []string   `json:"activeTools"`
	MessageCount   int64      `json:"messageCount"` // events so far
	Cursor         int64      `json:"cursor"`       // id of its newest event
	Usage          Usage      `json:"usage"`
	Resources      Resources  `json:"resources"`
}

// HostResources are figures of the machine that a container runs on.
type HostResources struct {
	CPUPercent    float64 `json:"cpuPercent"` // of all cores
	MemoryUsed    int64   `json:"memoryUsed"`
	MemoryTotal   int64   `json:"memoryTotal"`
	DiskFreeBytes int64   `json:"diskFreeBytes"`
}

// OutboxState is how far a container's reports are behind.
type OutboxState struct {
	Pending  int64      `json:"pending"`
	Dead     int64      `json:"dead"`               // that the coordinator refused for good
	OldestAt *time.Time `json:"oldestAt,omitempty"` // of what is pending
}

// HeartbeatReply is the coordinator's answer.
type HeartbeatReply struct {
	Heartbeat bool    `json:"heartbeat"` // true, as earlier coordinators answered
	Epoch     int64   `json:"epoch"`     // of this instance; a replaced one gets 410 instead of a reply
	Orders    []Order `json:"orders"`    // until they are told to be done; each is applied once, by its id
}

// Order is something a coordinator wants its container to do.
type Order struct {
	ID      string          `json:"id"`
	Kind    OrderKind       `json:"kind"`
	AgentID string          `json:"agentId,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"` // the body of the call of the control API that the kind stands for
}

// OrderKind is a call of the control API.
type OrderKind string

// The orders.
const (
	OrderStop     OrderKind = "stop"     // POST /agents/{id}/stop
	OrderMessage  OrderKind = "message"  // POST /agents/{id}/message
	OrderForget   OrderKind = "forget"   // DELETE /agents/{id}
	OrderDrain    OrderKind = "drain"    // POST /drain
	OrderSettings OrderKind = "settings" // POST /sync-config
)

// OrderResult tells that an order was carried out, or why not.
type OrderResult struct {
	ID    string `json:"id"`
	Error string `json:"error,omitempty"`
}

// Completion tells that a run of an agent has ended.
type Completion struct {
	AgentID    string     `json:"agentId"`
	RigID      string     `json:"rigId"`
	BeadID     string     `json:"beadId,omitempty"`
	RunID      string     `json:"runId"`
	Generation int64      `json:"generation"`
	Status     string     `json:"status"` // "completed" or "failed"
	Reason     Reason     `json:"reason"`
	Error      string     `json:"error,omitempty"`
	ExitCode   *int       `json:"exitCode,omitempty"`
	Signal     string     `json:"signal,omitempty"`
	Branch     string     `json:"branch,omitempty"`
	Checkpoint string     `json:"checkpoint,omitempty"` // commit that holds what was in no commit, "" when all was
	StartedAt  *time.Time `json:"startedAt,omitempty"`
	ExitedAt   *time.Time `json:"exitedAt,omitempty"`
	Usage      Usage      `json:"usage"`
}

// The words of Completion.Status.
const (
	CompletionCompleted = "completed"
	CompletionFailed    = "failed"
)

// AgentEvent is an event of an agent in the coordinator's order.
type AgentEvent struct {
	Seq     int64  `json:"seq,omitempty"` // the coordinator's: what after= takes; absent in what a container sends
	AgentID string `json:"agentId"`
	RigID   string `json:"rigId,omitempty"`
	BeadID  string `json:"beadId,omitempty"`
	RunID   string `json:"runId,omitempty"`
	Event
}

// DoneRequest is gt_done: the agent says that its work is finished.
type DoneRequest struct {
	Epoch   int64  `json:"epoch"` // of the agent's lease; an older one is kept as an attempt
	Branch  string `json:"branch,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Summary string `json:"summary,omitempty"`
	PRURL   string `json:"prUrl,omitempty"`
}

// Prime is gt_prime: what an agent must know to begin or go on.
type Prime struct {
	Agent       TownAgent    `json:"agent"`
	Bead        *Bead        `json:"bead"` // on its hook
	Notes       []Note       `json:"notes"`
	Mail        []Mail       `json:"mail"`
	OpenBeads   []Bead       `json:"openBeads"` // of its rig, at most 20
	Questions   []Question   `json:"questions"` // of the agent
	Escalations []Escalation `json:"escalations"`
	Reviews     []Merge      `json:"reviews"` // for a refinery: the branches that wait, in order
}

// TownAgent is an agent as the coordinator knows it.
type TownAgent struct {
	AgentID       string     `json:"agentId"`
	RigID         string     `json:"rigId"`
	Role          Role       `json:"role"`
	Name          string     `json:"name"`
	BeadID        string     `json:"beadId,omitempty"`
	Status        Status     `json:"status"`
	Reason        Reason     `json:"reason,omitempty"`
	Turn          Turn       `json:"turn"`
	Says          string     `json:"says,omitempty"` // its own last gt_status
	Why           string     `json:"why"`            // what it does, for people
	Generation    int64      `json:"generation"`
	RunID         string     `json:"runId,omitempty"`
	LastSeenAt    time.Time  `json:"lastSeenAt"`
	LastEventType EventType  `json:"lastEventType,omitempty"`
	ActiveTools   []string   `json:"activeTools"`
	Usage         Usage      `json:"usage"`
	Resources     Resources  `json:"resources"`
	StartedAt     *time.Time `json:"startedAt,omitempty"`
}

// Mail is a message that lasts until its reader acknowledges it.
type Mail struct {
	ID        string     `json:"id"`
	From      string     `json:"from"` // an agent's id, "person" or "town"
	To        string     `json:"to"`   // an agent's id, or "mayor"
	Subject   string     `json:"subject"`
	Body      string     `json:"body"`
	CreatedAt time.Time  `json:"createdAt"`
	AckedAt   *time.Time `json:"ackedAt,omitempty"`
}

// MailRequest sends mail.
type MailRequest struct {
	From    string `json:"from,omitempty"` // who calls, when empty
	To      string `json:"to"`
	Subject string `json:"subject"`
	Body    string `json:"body,omitempty"`
}

// Escalation is something that needs someone's judgement.
type Escalation struct {
	ID        string     `json:"id"`
	Severity  Priority   `json:"severity"`
	Title     string     `json:"title"`
	Body      string     `json:"body"`
	AgentID   string     `json:"agentId,omitempty"`
	BeadID    string     `json:"beadId,omitempty"`
	RigID     string     `json:"rigId,omitempty"`
	Cause     string     `json:"cause,omitempty"` // an open escalation with it is counted up instead of made again
	Count     int        `json:"count"`
	Status    string     `json:"status"` // open, acknowledged or closed
	Answer    string     `json:"answer,omitempty"`
	CreatedAt time.Time  `json:"createdAt"`
	UpdatedAt time.Time  `json:"updatedAt"`
	ClosedAt  *time.Time `json:"closedAt,omitempty"`
}

// EscalationRequest makes one.
type EscalationRequest struct {
	Severity Priority `json:"severity,omitempty"` // PriorityMedium when empty
	Title    string   `json:"title"`
	Body     string   `json:"body,omitempty"`
	AgentID  string   `json:"agentId,omitempty"`
	BeadID   string   `json:"beadId,omitempty"`
	RigID    string   `json:"rigId,omitempty"`
	Cause    string   `json:"cause,omitempty"`
}

// Question is what an agent asks a person (K11).
type Question struct {
	ID         string     `json:"id"`
	AgentID    string     `json:"agentId"`
	BeadID     string     `json:"beadId,omitempty"`
	Question   string     `json:"question"`
	Options    []string   `json:"options"`
	Status     string     `json:"status"` // open, answered, expired or cancelled
	Answer     string     `json:"answer,omitempty"`
	CreatedAt  time.Time  `json:"createdAt"`
	ExpiresAt  time.Time  `json:"expiresAt"` // nobody waits for it any more; it can be answered still
	AnsweredAt *time.Time `json:"answeredAt,omitempty"`
}

// AskRequest is gt_ask.
type AskRequest struct {
	Question    string   `json:"question"`
	Options     []string `json:"options"`               // 2 to 4
	WaitSeconds float64  `json:"waitSeconds,omitempty"` // 600 when 0, at most 3600
}

// Merge is a finished branch on its way into its target.
type Merge struct {
	ID        string      `json:"id"`
	RigID     string      `json:"rigId"`
	BeadID    string      `json:"beadId"` // of the work, or of the convoy that lands
	Branch    string      `json:"branch"`
	Target    string      `json:"target"`
	Status    MergeStatus `json:"status"`
	Attempts  int         `json:"attempts"`
	Message   string      `json:"message,omitempty"`
	Commit    string      `json:"commit,omitempty"`
	PR        string      `json:"pullRequest,omitempty"`
	Reviewer  string      `json:"reviewer,omitempty"` // agent that looks at it
	NotBefore *time.Time  `json:"notBefore,omitempty"`
	CreatedAt time.Time   `json:"createdAt"`
	UpdatedAt time.Time   `json:"updatedAt"`
}

// MergeStatus is where a Merge stands.
type MergeStatus string

// The statuses of a Merge; merged, conflict, gates_failed, rejected, failed and cancelled are its ends.
const (
	MergeWaiting     MergeStatus = "waiting"
	MergeReviewing   MergeStatus = "reviewing"    // an agent looks at it
	MergeMerging     MergeStatus = "merging"      // the container was asked
	MergeAwaitingPR  MergeStatus = "pull_request" // is open and watched
	MergeMerged      MergeStatus = "merged"
	MergeConflict    MergeStatus = "conflict"
	MergeGatesFailed MergeStatus = "gates_failed"
	MergeRejected    MergeStatus = "rejected" // by the refinery
	MergeFailed      MergeStatus = "failed"   // auth, or too many attempts
	MergeCancelled   MergeStatus = "cancelled"
)

// MergeOutcome is what a container tells of a merge that it was asked for.
type MergeOutcome struct {
	EntryID   string          `json:"entryId"`
	Status    string          `json:"status"` // merged, nothing, conflict, race, gates_failed, auth, network, pull_request, failed
	Message   string          `json:"message,omitempty"`
	Commit    string          `json:"commit,omitempty"`
	PR        string          `json:"pullRequest,omitempty"`
	Conflicts json.RawMessage `json:"conflicts,omitempty"`
	Gates     json.RawMessage `json:"gates,omitempty"`
}

// Run is one run of an agent, as it is kept for audit (D4, H12).
type Run struct {
	RunID      string     `json:"runId"`
	AgentID    string     `json:"agentId"`
	RigID      string     `json:"rigId"`
	BeadID     string     `json:"beadId,omitempty"`
	Generation int64      `json:"generation"`
	Status     string     `json:"status"` // running, success, error or cancelled
	Reason     Reason     `json:"reason,omitempty"`
	Error      string     `json:"error,omitempty"`
	Branch     string     `json:"branch,omitempty"`
	StartedAt  time.Time  `json:"startedAt"`
	EndedAt    *time.Time `json:"endedAt,omitempty"`
	DurationMS int64      `json:"durationMs,omitempty"`
	Usage      Usage      `json:"usage"`
}

// TownStatus is the town on one screen.
type TownStatus struct {
	TownID      string               `json:"townId"`
	Paused      string               `json:"paused,omitempty"` // why nothing is handed out
	MinQuota    int                  `json:"minQuotaPercent,omitempty"`
	Quota       *Quota               `json:"quota,omitempty"`   // the last that a heartbeat brought
	Standby     *Standby             `json:"standby,omitempty"` // while Quota is below MinQuota percent
	Instance    *InstanceStatus      `json:"instance"`          // null before its first heartbeat
	Rigs        []Rig                `json:"rigs"`
	Beads       map[BeadStatus]int64 `json:"beads"`
	Agents      []TownAgent          `json:"agents"`  // live ones
	Waiting     []Bead               `json:"waiting"` // open, the next first, at most 20
	Merges      []Merge              `json:"merges"`  // not ended
	Questions   []Question           `json:"questions"`
	Escalations []Escalation         `json:"escalations"`
}

// InstanceStatus is the container as the coordinator sees it.
type InstanceStatus struct {
	InstanceID string        `json:"instanceId"`
	Epoch      int64         `json:"epoch"`
	Status     string        `json:"status"`
	SeenAt     time.Time     `json:"seenAt"`
	Resources  HostResources `json:"resources"`
	Outbox     OutboxState   `json:"outbox"`
}
