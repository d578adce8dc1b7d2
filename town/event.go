package town

import (
	"encoding/json"
	"time"
)

// EventType names what happened, in one vocabulary for every CLI.
type EventType string

// The events of an agent; see the data types of the same name.
const (
	EventState       EventType = "state"
	EventSession     EventType = "session"
	EventTurnStarted EventType = "turn.started"
	EventText        EventType = "text"
	EventThinking    EventType = "thinking"
	EventToolCall    EventType = "tool.call"
	EventToolResult  EventType = "tool.result"
	EventUsage       EventType = "usage"
	EventRetry       EventType = "retry"
	EventError       EventType = "error"
	EventTurnEnded   EventType = "turn.ended"
	EventMessage     EventType = "message"
	EventHook        EventType = "hook"
	EventBudget      EventType = "budget"
	EventCheckpoint  EventType = "checkpoint"
	EventGap         EventType = "gap" // events before this one are no longer held
)

// Event is one fact about an agent. IDs grow by one within an agent's epoch.
type Event struct {
	ID        int64           `json:"id"`
	Event     EventType       `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp time.Time       `json:"timestamp"`
}

// The data of events.
type (
	// StateData is the data of EventState.
	StateData struct {
		Status Status `json:"status"`
		Reason Reason `json:"reason,omitempty"`
	}
	// SessionData is the data of EventSession.
	SessionData struct {
		ID string `json:"id"`
	}
	// TextData is the data of EventText and EventThinking.
	TextData struct {
		Text string `json:"text"`
	}
	// ToolCallData is the data of EventToolCall.
	ToolCallData struct {
		ID    string          `json:"id"`
		Name  string          `json:"name"`
		Input json.RawMessage `json:"input,omitempty"`
	}
	// ToolResultData is the data of EventToolResult.
	ToolResultData struct {
		ID     string `json:"id"`
		OK     bool   `json:"ok"`
		Output string `json:"output"`
	}
	// UsageData is the data of EventUsage: what was used since the event before.
	UsageData struct {
		InputTokens      int64   `json:"inputTokens"`
		OutputTokens     int64   `json:"outputTokens"`
		CacheReadTokens  int64   `json:"cacheReadTokens"`
		CacheWriteTokens int64   `json:"cacheWriteTokens"`
		CostUSD          float64 `json:"costUsd"`
	}
	// RetryData is the data of EventRetry: the CLI tries its model again.
	RetryData struct {
		Kind         ErrorKind `json:"kind"`
		Attempt      int       `json:"attempt"`
		DelaySeconds float64   `json:"delaySeconds"`
	}
	// ErrorData is the data of EventError.
	ErrorData struct {
		Kind    ErrorKind `json:"kind"`
		Message string    `json:"message"`
	}
	// TurnEndedData is the data of EventTurnEnded. A turn's end is not the work's end.
	TurnEndedData struct {
		OK   bool   `json:"ok"`
		Text string `json:"text"`
	}
	// MessageData is the data of EventMessage.
	MessageData struct {
		MessageID string  `json:"messageId"`
		Receipt   Receipt `json:"receipt"`
	}
	// HookData is the data of EventHook: what a hook told and what we answered.
	HookData struct {
		Name     HookPoint `json:"name"`
		Tool     string    `json:"tool,omitempty"`
		Decision string    `json:"decision"` // "allow" or "deny"
		Reason   string    `json:"reason,omitempty"`
	}
	// BudgetData is the data of EventBudget: a limit is used up, or almost.
	BudgetData struct {
		Limit string  `json:"limit"` // the field of Limits, as costUsd
		Used  float64 `json:"used"`
		Of    float64 `json:"of"`
	}
	// CheckpointData is the data of EventCheckpoint: the agent's worktree was saved. Ref
	// and Commit are empty when all but what was left out is in commits of its branch.
	CheckpointData struct {
		Ref          string    `json:"ref"`
		Commit       string    `json:"commit"`
		LeftOut      []LeftOut `json:"leftOut,omitempty"` // the first 200
		LeftOutCount int       `json:"leftOutCount,omitempty"`
	}
	// LeftOut is a changed file that a checkpoint does not hold.
	LeftOut struct {
		Path string `json:"path"`
		Why  string `json:"why"` // for people
	}
	// GapData is the data of EventGap: the first id still held.
	GapData struct {
		From int64 `json:"from"`
	}
)

// Receipt says how far a message got.
type Receipt string

// The stages of a message.
const (
	ReceiptQueued    Receipt = "queued"    // held until its time comes
	ReceiptDelivered Receipt = "delivered" // the CLI acknowledged it, or its screen shows that it was entered
	ReceiptSeen      Receipt = "seen"      // the model has answered since
	ReceiptFailed    Receipt = "failed"    // it did not reach the agent
)

// ErrorKind classes what went wrong between a CLI and its model.
type ErrorKind string

// The kinds of CLI and model errors.
const (
	KindAuth        ErrorKind = "auth"
	KindBilling     ErrorKind = "billing"
	KindRateLimit   ErrorKind = "rate_limit"
	KindOverloaded  ErrorKind = "overloaded"
	KindContextFull ErrorKind = "context_full"
	KindRefused     ErrorKind = "refused"
	KindNetwork     ErrorKind = "network"
	KindCrashed     ErrorKind = "crashed"
	KindUnknown     ErrorKind = "unknown"
)
