package town

import "time"

// StartRequest is the body of POST /agents/start: what an agent is to be.
type StartRequest struct {
	AgentID       string            `json:"agentId"`
	RigID         string            `json:"rigId"`
	TownID        string            `json:"townId"`
	Role          Role              `json:"role"`
	Name          string            `json:"name"`
	Identity      string            `json:"identity"`
	Prompt        string            `json:"prompt"`
	Model         string            `json:"model"`
	GitURL        string            `json:"gitUrl"`
	Branch        string            `json:"branch"`
	DefaultBranch string            `json:"defaultBranch"`
	SystemPrompt  string            `json:"systemPrompt,omitempty"` // rendered by us when empty
	EnvVars       map[string]string `json:"envVars,omitempty"`
	CLI           string            `json:"cli,omitempty"`        // DefaultCLI when empty
	Command       []string          `json:"command,omitempty"`    // argv, only with cli=command
	BeadID        string            `json:"beadId,omitempty"`     //
	StartPoint    string            `json:"startPoint,omitempty"` // ref or commit to branch from; the default branch when empty
	Generation    int64             `json:"generation,omitempty"` // a start of an older generation is refused
	Cols          uint16            `json:"cols,omitempty"`       // DefaultCols when 0
	Rows          uint16            `json:"rows,omitempty"`       // DefaultRows when 0
	Resume        bool              `json:"resume,omitempty"`     // go on with the CLI's earlier session of this agent
	Fork          bool              `json:"fork,omitempty"`       // with Resume: in a copy of that session
	Effort        Effort            `json:"effort,omitempty"`     // how hard the model thinks; the CLI's default when empty
	Restart       RestartPolicy     `json:"restart,omitempty"`    // RestartNever when empty
	Limits        Limits            `json:"limits,omitzero"`
}

// DefaultCLI is the CLI of a start request that names none.
const DefaultCLI = "kilo"

// DefaultCols and DefaultRows are the size of a terminal nobody has sized.
const (
	DefaultCols = 120
	DefaultRows = 40
)

// Effort says how much a model may think before it answers.
type Effort string

// Efforts returns every effort from the least.
func Efforts() []Effort { return []Effort{"low", "medium", "high", "xhigh", "max"} }

// RestartPolicy says what follows when an agent's program fails unasked.
type RestartPolicy string

// RestartOnFailure starts a crashed agent again after 1 s, doubling to 300 s,
// with jitter; five failures within ten minutes park it as failed.
const (
	RestartNever     RestartPolicy = "never"
	RestartOnFailure RestartPolicy = "on-failure"
)

// Limits bound one agent. Zero means unlimited.
type Limits struct {
	Turns       int64   `json:"turns,omitempty"`
	Seconds     float64 `json:"seconds,omitempty"`     // wall clock since the start
	IdleSeconds float64 `json:"idleSeconds,omitempty"` // without output
	Tokens      int64   `json:"tokens,omitempty"`
	CostUSD     float64 `json:"costUsd,omitempty"`
	MemoryBytes int64   `json:"memoryBytes,omitempty"` // resident, whole tree
	Processes   int     `json:"processes,omitempty"`   // whole tree
}

// Agent is what the town tells about one agent. It is a snapshot.
type Agent struct {
	AgentID        string        `json:"agentId"`
	RigID          string        `json:"rigId"`
	TownID         string        `json:"townId"`
	Role           Role          `json:"role"`
	Name           string        `json:"name"`
	BeadID         string        `json:"beadId,omitempty"`
	CLI            string        `json:"cli"`
	Model          string        `json:"model"`
	Status         Status        `json:"status"`
	Reason         Reason        `json:"reason,omitempty"`
	Error          string        `json:"error,omitempty"` // what went wrong, for people; set with failed
	PID            *int          `json:"pid"`             // null when no process runs, as between the turns of some CLIs
	ExitCode       *int          `json:"exitCode"`
	Signal         string        `json:"signal,omitempty"` // the signal that ended the program, as SIGTERM
	StartedAt      *time.Time    `json:"startedAt"`
	ExitedAt       *time.Time    `json:"exitedAt"`
	LastActivityAt *time.Time    `json:"lastActivityAt"` // last output or input
	Workdir        string        `json:"workdir"`
	Branch         string        `json:"branch"`
	RunID          string        `json:"runId"`
	SessionID      string        `json:"sessionId,omitempty"` // of the CLI, for resuming
	Turn           Turn          `json:"turn"`
	Usage          Usage         `json:"usage"`
	Resources      Resources     `json:"resources"`
	Generation     int64         `json:"generation"`
	Restart        *RestartState `json:"restart,omitempty"`
}

// TurnState is what an agent's CLI is doing.
type TurnState string

// The states of a turn. A CLI that tells nothing (cli=command) stays TurnNone.
const (
	TurnNone    TurnState = "none"
	TurnWorking TurnState = "working"
	TurnIdle    TurnState = "idle"
)

// Turn tells where the agent's conversation is; Count is the number of turns begun.
type Turn struct {
	State TurnState `json:"state"`
	Count int64     `json:"count"`
}

// Usage is what an agent has consumed since its start, as its CLI reports it.
type Usage struct {
	InputTokens      int64   `json:"inputTokens"`
	OutputTokens     int64   `json:"outputTokens"`
	CacheReadTokens  int64   `json:"cacheReadTokens"`
	CacheWriteTokens int64   `json:"cacheWriteTokens"`
	CostUSD          float64 `json:"costUsd"`
	ToolCalls        int64   `json:"toolCalls"`
}

// Resources is what an agent's whole process tree uses, from the last sample.
type Resources struct {
	RSSBytes   int64   `json:"rssBytes"`
	CPUPercent float64 `json:"cpuPercent"` // of one core
	Processes  int     `json:"processes"`
}

// RestartState tells about automatic restarts of an agent.
type RestartState struct {
	Policy RestartPolicy `json:"policy"`
	Count  int           `json:"count"`            // restarts made since the start request
	NextAt *time.Time    `json:"nextAt,omitempty"` // when the next one is due
	Parked bool          `json:"parked,omitempty"` // gave up: five failures within ten minutes
}

// StopRequest is the body of POST /agents/{id}/stop.
type StopRequest struct {
	Signal       string   `json:"signal,omitempty"`       // SIGTERM (default) or SIGKILL
	GraceSeconds *float64 `json:"graceSeconds,omitempty"` // 0 to 3600; DefaultGrace when absent
}

// DefaultGrace is how long a tree may take to end after SIGTERM before SIGKILL.
const DefaultGrace = 10 * time.Second

// Delivery says when a message goes in.
type Delivery string

// DeliverNow interrupts, DeliverTurnEnd (the default) waits for the turn's end,
// DeliverIdle for an agent with nothing to do.
const (
	DeliverNow     Delivery = "now"
	DeliverTurnEnd Delivery = "turn-end"
	DeliverIdle    Delivery = "idle"
)

// MessageRequest is the body of POST /agents/{id}/message.
type MessageRequest struct {
	Prompt  string   `json:"prompt"`
	Deliver Delivery `json:"deliver,omitempty"`
}

// MaxPromptBytes bounds one message: it goes in whole or not at all.
const MaxPromptBytes = 1 << 20

// TicketMode says what a stream ticket allows.
type TicketMode string

// TicketRead watches; TicketWrite may also type and size the terminal.
const (
	TicketRead  TicketMode = "read"
	TicketWrite TicketMode = "write"
)
