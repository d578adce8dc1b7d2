package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"townd/gitmgr"
	"townd/town"
)

// record is all that must survive this process about an agent. It is written
// whole before anything irreversible is done. The caller's environment is not
// in it, for it may hold secrets: that is in the keeper's note, in memory.
type record struct {
	Agent         town.Agent        `json:"agent"`
	Request       town.StartRequest `json:"request"` // without EnvVars
	Base          string            `json:"base"`    // commit the worktree started from
	UID           uint32            `json:"uid,omitempty"`
	GID           uint32            `json:"gid,omitempty"`
	Seq           int               `json:"seq"`              // the run's newest process
	Intent        town.Reason       `json:"intent,omitempty"` // why we are ending it; empty while we are not
	Runs          []string          `json:"runs,omitempty"`   // ids of its earlier runs, the newest last
	Epoch         string            `json:"epoch"`            // of its event log
	Decoder       []byte            `json:"decoder,omitempty"`
	Decoded       int64             `json:"decoded"`           // transcript offset up to which Decoder has read
	Position      position          `json:"position"`          // of the newest event up to there
	Failure       town.ErrorKind    `json:"failure,omitempty"` // the last error its CLI told of in this turn
	FailureText   string            `json:"failureText,omitempty"`
	Queue         []message         `json:"queue,omitempty"`
	Giving        giving            `json:"giving,omitzero"`         // of Queue, not yet acknowledged
	Unseen        []string          `json:"unseen,omitempty"`        // ids of messages delivered, to which the model has not answered yet
	Session       sessionState      `json:"session,omitzero"`        //
	Since         time.Time         `json:"since"`                   // the start request, which limits of time count from
	Task          string            `json:"task,omitempty"`          // what the session began with
	System        string            `json:"system,omitempty"`        // set by SetSystemPrompt, in the place of the request's
	Replacing     bool              `json:"replacing,omitempty"`     // its process is being ended, for the next one to be started
	Retune        bool              `json:"retune,omitempty"`        // the next turn needs a process of its own: the model or the system prompt changed
	Metered       town.Usage        `json:"metered,omitzero"`        // what the gateway counted
	Told          town.Usage        `json:"told,omitzero"`           // what its CLI told
	Warned        []string          `json:"warned,omitempty"`        // limits that are almost used up, and told so
	TurnOK        bool              `json:"turnOk,omitempty"`        // the newest turn has ended well
	Cut           bool              `json:"cut,omitempty"`           // the agent ended in the middle of a turn
	ModelFailures int               `json:"modelFailures,omitempty"` // calls of models through the gateway that failed, in a row
	ModelFault    town.ErrorKind    `json:"modelFault,omitempty"`    // why the newest of them did
	Report        town.Report       `json:"report,omitzero"`         // what the agent said of its work
	Reminders     int               `json:"reminders,omitempty"`     // how often it was told that its work is still open
	Receipts      []receipt         `json:"receipts,omitempty"`      // newest idempotency keys and their message ids
	Failures      []time.Time       `json:"failures,omitempty"`      // recent crashes, for the restart policy

	Checkpoint town.CheckpointData `json:"checkpoint,omitzero"` // what was told last of its saved worktree

	EndOwed string            `json:"endOwed,omitempty"` // the newest run whose end was, or is, in Owed
	Owed    []town.Completion `json:"owed,omitempty"`    // ends of runs that Reports has not yet stored
}

// giving names the message that the program has been given, or is being given.
type giving struct {
	ID      string `json:"id,omitempty"`      // "" for none
	Spawned bool   `json:"spawned,omitempty"` // process Seq was started with it
}

// message is one that waits for its turn, or for its acknowledgement.
type message struct {
	ID     string        `json:"id"`
	Text   string        `json:"text"`
	When   town.Delivery `json:"when"`
	Queued bool          `json:"queued,omitempty"` // its queued receipt has been given
}

// receipt remembers what an idempotency key led to.
type receipt struct {
	Key string `json:"key"`
	ID  string `json:"id"`
}

// note is what the keeper holds for a run, in memory only.
type note struct {
	Agent      string            `json:"agent"`
	EnvVars    map[string]string `json:"envVars"`
	Capability string            `json:"capability"` // what the agent proves itself with at the town's own doors

	// What the start made, for a server that has ended before it could write that down.
	Workdir string `json:"workdir,omitempty"`
	Base    string `json:"base,omitempty"` // record.Base
	GID     uint32 `json:"gid,omitempty"`
}

func (r *record) owner() gitmgr.Owner { return gitmgr.Owner{UID: r.UID, GID: r.GID} }

// branchKey names a worktree: no two live agents may share one, and the user
// that owns its files stays the same.
func branchKey(rig, branch string) string { return rig + "\x00" + branch }

// sameRequest reports whether b asks for exactly what a asked for.
func sameRequest(a, b town.StartRequest, envA, envB map[string]string) bool {
	a.EnvVars, b.EnvVars = nil, nil
	return reflect.DeepEqual(a, b) && maps.Equal(envA, envB)
}

func recordPath(dir string) string { return filepath.Join(dir, "record.json") }

// save writes the record so that a kill at any moment leaves the old or the new
// one. It does not sync: after a power failure no process of ours lives either.
func (r *record) save(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	path := recordPath(dir)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// loadRecord reads the record in dir; ErrNotFound when there is none.
func loadRecord(dir string) (record, error) {
	var r record
	data, err := os.ReadFile(recordPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("record in %s: %w", filepath.Base(dir), town.ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("read record: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read record in %s: %w", filepath.Base(dir), err)
	}
	return r, nil
}
