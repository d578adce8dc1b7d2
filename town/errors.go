package town

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The kinds of error a caller can act on. They are wrapped last:
// fmt.Errorf("agent %s: %w", id, ErrNotFound).
var (
	ErrInvalid      = errors.New("invalid")             // the request is wrong; repeating it changes nothing
	ErrUnauthorized = errors.New("unauthorized")        // no or an unknown credential
	ErrForbidden    = errors.New("forbidden")           // known, but not allowed this
	ErrNotFound     = errors.New("not found")           //
	ErrConflict     = errors.New("conflict")            // what is asked contradicts what is
	ErrGone         = errors.New("gone")                // it was held once and is no longer
	ErrTooLarge     = errors.New("too large")           //
	ErrBudget       = errors.New("budget used up")      // of turns, tokens or money
	ErrCapacity     = errors.New("at capacity")         // try again later, see CapacityError
	ErrGit          = errors.New("git remote failed")   // the remote refused, hung or could not be reached
	ErrUnavailable  = errors.New("unavailable")         // not now: draining or closed
	ErrNoSpace      = errors.New("no space left")       // the disk is full
	ErrStartFailed  = errors.New("program not started") // the agent's program could not be run
)

// httpStatuses pairs each kind with its status, most specific first. It is the
// only place that knows, for the server's answers and the client's errors alike.
var httpStatuses = []struct {
	kind   error
	status int
}{
	{ErrInvalid, http.StatusBadRequest},
	{ErrUnauthorized, http.StatusUnauthorized},
	{ErrBudget, http.StatusPaymentRequired},
	{ErrForbidden, http.StatusForbidden},
	{ErrNotFound, http.StatusNotFound},
	{ErrConflict, http.StatusConflict},
	{ErrGone, http.StatusGone},
	{ErrTooLarge, http.StatusRequestEntityTooLarge},
	{ErrStartFailed, http.StatusUnprocessableEntity},
	{ErrCapacity, http.StatusTooManyRequests},
	{ErrGit, http.StatusBadGateway},
	{ErrUnavailable, http.StatusServiceUnavailable},
	{ErrNoSpace, http.StatusInsufficientStorage},
}

// HTTPStatus returns the status of err's kind, 500 for an error of none.
func HTTPStatus(err error) int {
	for _, s := range httpStatuses {
		if errors.Is(err, s.kind) {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// KindOf returns the kind of error that a status stands for, nil for none.
func KindOf(status int) error {
	for _, s := range httpStatuses {
		if s.status == status {
			return s.kind
		}
	}
	return nil
}

// Issue is one thing wrong with a request. Path names the field as in
// limits.seconds or envVars.PATH.
type Issue struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

// InvalidError is an ErrInvalid with every issue found.
type InvalidError struct{ Issues []Issue }

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Issues))
	for i, is := range e.Issues {
		parts[i] = fmt.Sprintf("%s %s", is.Path, is.Message)
	}
	return "invalid: " + strings.Join(parts, "; ")
}

// Unwrap makes errors.Is(e, ErrInvalid) true.
func (e *InvalidError) Unwrap() error { return ErrInvalid }

// CapacityError is an ErrCapacity that says when to come back.
type CapacityError struct {
	What       string // as "32 agents run, the most allowed"
	RetryAfter time.Duration
}

func (e *CapacityError) Error() string { return e.What }

// Unwrap makes errors.Is(e, ErrCapacity) true.
func (e *CapacityError) Unwrap() error { return ErrCapacity }
