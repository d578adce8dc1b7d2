// Package town holds the words of the domain: ids, roles, what an agent is asked
// to be, what became of it, the events it produces, and the kinds of error a
// caller can act on, each with its JSON form. It does no I/O and knows neither
// processes nor HTTP.
package town

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Role is what an agent does in its town.
type Role string

// The roles of a town. Mayor talks to people and breaks work up, polecat does
// one bead in its worktree, refinery checks and merges; witness and triage look
// after the others.
const (
	RoleMayor    Role = "mayor"
	RolePolecat  Role = "polecat"
	RoleRefinery Role = "refinery"
	RoleWitness  Role = "witness"
	RoleTriage   Role = "triage"
)

// Roles lists every role, in the order shown to people.
func Roles() []Role {
	return []Role{RoleMayor, RolePolecat, RoleRefinery, RoleWitness, RoleTriage}
}

// Status is where an agent is in its life.
type Status string

// An agent goes starting -> running -> stopping -> exited or failed, and may
// leave starting or running for either end directly. Both ends may start again.
const (
	StatusStarting Status = "starting"
	StatusRunning  Status = "running"
	StatusStopping Status = "stopping"
	StatusExited   Status = "exited"
	StatusFailed   Status = "failed"
)

// Live reports whether an agent in this status has, or is about to have, processes.
func (s Status) Live() bool {
	switch s {
	case StatusStarting, StatusRunning, StatusStopping:
		return true
	case StatusExited, StatusFailed:
		return false
	}
	return false
}

// Reason says why an agent is no longer running. It is empty while it lives.
type Reason string

// Ended by our own stop: exited with ReasonStopped, or ReasonKilled when SIGKILL
// was needed. "Idle" is none of these: an agent whose turn ended is running.
const (
	ReasonDone        Reason = "done"         // the agent said that its work is done
	ReasonBlocked     Reason = "blocked"      // the agent said that it cannot go on
	ReasonWaiting     Reason = "waiting"      // the agent waits for an answer
	ReasonExited      Reason = "exited"       // the program ended by itself with code 0
	ReasonStopped     Reason = "stopped"      // our stop, SIGTERM sufficed
	ReasonKilled      Reason = "killed"       // SIGKILL was needed, or its keeper died
	ReasonOOM         Reason = "oom"          // over its memory limit, or the kernel's victim
	ReasonTimeout     Reason = "timeout"      // limits.seconds or limits.idleSeconds passed
	ReasonBudget      Reason = "budget"       // limits.turns, tokens, costUsd or processes reached
	ReasonAuth        Reason = "auth"         // the model's provider refused its credential
	ReasonStartFailed Reason = "start_failed" // the program could not be started
	ReasonCutOff      Reason = "cut_off"      // the server ended while it started the program, which never ran
	ReasonCrashed     Reason = "crashed"      // the program ended by itself with another code or a signal
)

// idPattern is what an id may be: it becomes a file name and a path segment.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// CheckID returns an error that says what an id may be, nil for a valid one.
func CheckID(id string) error {
	if !idPattern.MatchString(id) || strings.HasSuffix(id, ".") || strings.Contains(id, "..") {
		return fmt.Errorf("must be 1 to 128 of A-Z a-z 0-9 . _ - and begin with a letter or digit, without \"..\": %w", ErrInvalid)
	}
	return nil
}

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns a new id of 26 characters whose order is the order of creation
// to the millisecond (the layout of a ULID: 48 bits of time, 80 random bits).
func NewID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // crypto/rand.Read never returns an error (go doc crypto/rand.Read)
	return idEncoding.EncodeToString(b[:])
}
