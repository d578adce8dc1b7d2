package town

import "encoding/json"

// HookPoint is a moment of a CLI's work at which it tells the town, or asks.
type HookPoint string

// The points at which a CLI's own hooks call `townd hook`. Which of them a CLI
// has is said in docs/clis.md.
const (
	HookThinking   HookPoint = "thinking.started" // a message is about to go to the model
	HookToolBefore HookPoint = "tool.before"      // may be denied
	HookToolAfter  HookPoint = "tool.after"
	HookError      HookPoint = "error"
	HookStop       HookPoint = "stop" // the turn is about to end; may be denied
	HookComplete   HookPoint = "task.complete"
)

// HookCall is what a hook tells, in one vocabulary for every CLI.
type HookCall struct {
	Point HookPoint `json:"point"`
	Text  string    `json:"text,omitempty"` // the prompt, the last words of the turn, or the error
	Told  bool      `json:"told,omitempty"` // it has happened: the answer changes nothing

	// Of tool.before and tool.after.
	ToolID string          `json:"toolId,omitempty"`
	Tool   string          `json:"tool,omitempty"` // as the CLI names it
	Input  json.RawMessage `json:"input,omitempty"`
	Shell  string          `json:"shell,omitempty"` // the command line, of a tool that runs one
	Dir    string          `json:"dir,omitempty"`   // where Shell runs, when the CLI says so
	Reads  []string        `json:"reads,omitempty"` // paths that the tool reads, as given
	Writes []string        `json:"writes,omitempty"`

	// Of tool.after.
	OK     bool   `json:"ok,omitempty"`
	Output string `json:"output,omitempty"`
}

// HookAnswer is what the town answers. Its zero value lets the CLI go on.
type HookAnswer struct {
	Deny   bool   `json:"deny,omitempty"`   // the tool is not called; the turn does not end
	Reason string `json:"reason,omitempty"` // for the agent to read; set with Deny
}

// Report is what an agent says of its work: done, blocked or waiting. A turn's
// end says none of these.
type Report struct {
	State Reason `json:"state"` // ReasonDone, ReasonBlocked or ReasonWaiting
	Text  string `json:"text,omitempty"`
}

// HandOver is how far an agent's work is from being handed over.
type HandOver struct {
	Branch       string
	Commit       string   // tip of the branch
	Commits      int      // of the branch beyond where it started, counted up to a bound
	Changed      []string // files of the worktree that are not as in the tip: the first of them
	ChangedCount int
	PushError    string // why the remote may not have Commit, "" when it has it
}
