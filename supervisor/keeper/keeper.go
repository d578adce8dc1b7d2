// Package keeper owns the terminals of a town's agents. A keeper is a small
// process, PID 1 of a container or a child subreaper elsewhere, that spawns
// programs on pseudo-terminals, appends what they print to transcripts, reaps
// every orphan, ends whole process trees, and remembers exits until they are
// acknowledged. It knows nothing of agents, towns or worktrees, and decides
// nothing: its clients do, over a unix socket. They may come, crash and be
// upgraded; programs and transcripts go on.
//
// Client and server are both in this package. Linux only.
package keeper

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"syscall"
	"time"
)

// Protocol is the version of what client and keeper say to each other.
const Protocol = 1

// MarkerEnv is the environment variable that marks every process of a run; its
// value is the run's id. Spawn refuses an environment without it.
const MarkerEnv = "TOWND_RUN_ID"

// GuardUID is a user that must own no process where the keeper is root. Signals
// to all processes of an agent's user are sent by a thread whose real and saved
// user is GuardUID, so that the agent can neither signal nor trace that thread.
const GuardUID = 65533

// Limits of one request.
const (
	MaxInputBytes = 1 << 20   // one Input, and Spawn.Stdin
	MaxNoteBytes  = 256 << 10 // Spawn.Note
	MaxLineBytes  = 4095      // one line of input to a canonical terminal, without its end

	maxBodyBytes  = 8 << 20
	maxArgs       = 4096
	maxArgBytes   = 4 << 20
	maxRuns       = 4096
	maxWatchers   = 64
	maxWaiting    = 64 // inputs waiting for one run
	maxRememberID = 64 // ids of inputs remembered for each run
	maxGrace      = 24 * time.Hour
)

// Rung names how process trees are ended.
type Rung string

// RungUID signals every process of an agent's user at once, atomically against
// fork; it needs root. RungSubreaper walks descendants and marked orphans.
const (
	RungUID       Rung = "uid"
	RungSubreaper Rung = "subreaper"
)

// Config says how a keeper works. Dir is required.
type Config struct {
	Dir        string        // holds keeper.sock, keeper.lock and keeper.log; made 0700
	Server     []string      // argv of the server to run and restart, as PID 1 does; empty for none
	FreeBytes  int64         // disk to leave free where transcripts are; 64 MiB when 0
	Log        *slog.Logger  // slog.Default when nil
	StopBudget time.Duration // from the context's end until every tree is killed; 8 s when 0
	Rung       Rung          // the best this process may use when empty
}

// Spawn says what to run. Same Run and Seq mean the same spawn: repeating it
// returns what the first one started. A run that the keeper does not hold may
// begin with any Seq that it has not forgotten.
type Spawn struct {
	Run        string   `json:"run"`
	Seq        int      `json:"seq"`  // 0, 1, 2 … one process after another may belong to a run
	Argv       []string `json:"argv"` // Argv[0] is absolute
	Env        []string `json:"env"`  // the whole environment; holds MarkerEnv=Run
	Dir        string   `json:"dir"`  // working directory, absolute
	UID        uint32   `json:"uid"`  // 0 as the keeper; else a user no other live run has
	GID        uint32   `json:"gid"`
	Cols       uint16   `json:"cols"`
	Rows       uint16   `json:"rows"`
	Raw        bool     `json:"raw"`        // bytes pass the terminal untouched
	PipeInput  bool     `json:"pipeInput"`  // standard input is a pipe, else the terminal
	Stdin      []byte   `json:"stdin"`      // first input, at most MaxInputBytes
	CloseStdin bool     `json:"closeStdin"` // after Stdin; only with PipeInput

	Transcript    string          `json:"transcript"`    // directory of the run's output, absolute
	Segment       int64           `json:"segment"`       // bytes, see transcript.Options
	Total         int64           `json:"total"`         // bytes, see transcript.Options
	Note          json.RawMessage `json:"note"`          // kept in memory for the client, at most MaxNoteBytes
	LeftoverGrace time.Duration   `json:"leftoverGrace"` // between SIGTERM and SIGKILL for what a program left behind when it ended by itself
}

// Run is a snapshot of one run.
type Run struct {
	ID         string          `json:"id"`
	Seq        int             `json:"seq"`
	PID        int             `json:"pid"`
	Start      uint64          `json:"start"` // start time of PID, clock ticks since boot
	Transcript string          `json:"transcript"`
	Size       int64           `json:"size"` // bytes in the transcript
	Cols       uint16          `json:"cols"`
	Rows       uint16          `json:"rows"`
	Raw        bool            `json:"raw"`
	PipeInput  bool            `json:"pipeInput"`
	UID        uint32          `json:"uid"`
	SpawnedAt  time.Time       `json:"spawnedAt"`
	Note       json.RawMessage `json:"note,omitempty"`
	Ending     bool            `json:"ending"`            // its tree is being ended, by End or because its leader ended
	Exit       *Exit           `json:"exit,omitempty"`    // set when the tree is gone and its output is written
	Stalled    string          `json:"stalled,omitempty"` // why output is not read, or what of it was lost
}

// Exit is how a run ended.
type Exit struct {
	Code      int       `json:"code"`                // of the leader; 128+n when signal n ended it, -1 when it is among Survivors
	Signal    string    `json:"signal,omitempty"`    // that ended the leader, as SIGTERM
	Asked     bool      `json:"asked"`               // End was called before the leader ended
	Escalated bool      `json:"escalated"`           // somebody was left for SIGKILL
	OOM       bool      `json:"oom"`                 // the kernel's out-of-memory killer took the leader
	Survivors []int     `json:"survivors,omitempty"` // pids that outlived SIGKILL by 5 s
	At        time.Time `json:"at"`
	Size      int64     `json:"size"` // of the transcript, final
}

// End says how to end a tree: Signal (SIGTERM when 0) to every process, then
// SIGKILL to those that are left after Grace.
type End struct {
	Signal syscall.Signal `json:"signal"`
	Grace  time.Duration  `json:"grace"`
}

// Update tells that a run changed.
type Update struct {
	Run     string `json:"run"`
	Seq     int    `json:"seq"`
	Size    int64  `json:"size"`
	Exit    *Exit  `json:"exit,omitempty"`
	Stalled string `json:"stalled,omitempty"`
}

// Info is what a keeper says of itself.
type Info struct {
	PID         int       `json:"pid"`
	Version     string    `json:"version"` // of the program
	Protocol    int       `json:"protocol"`
	Rung        Rung      `json:"rung"`
	StartedAt   time.Time `json:"startedAt"`
	FreeBytes   int64     `json:"freeBytes"`   // of the file system that holds the socket
	Escalations int64     `json:"escalations"` // trees that needed SIGKILL
}

// VersionError tells that the keeper speaks another protocol than this program.
// The keeper and its programs are left as they are.
type VersionError struct {
	Keeper, Client int    // protocols
	Version        string // of the keeper's program
	PID            int    // of the keeper
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the running keeper (pid %d, version %s) speaks protocol %d and this program %d; its agents go on: "+
		"use the program it was started from, or stop its agents and end it with SIGTERM", e.PID, e.Version, e.Keeper, e.Client)
}

// PartialInputError is an Input of which only the first Written bytes went in.
type PartialInputError struct {
	Written, Total int
	Reason         string
}

func (e *PartialInputError) Error() string {
	return fmt.Sprintf("%d of %d bytes went in: %s", e.Written, e.Total, e.Reason)
}
