package townhall

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"townd/api"
	"townd/town"
)

// Container is what the hall needs of a container's control API. *api.Client is
// one. Its errors wrap the kinds of town; an error of no kind means that nobody
// knows whether the call was carried out.
type Container interface {
	Start(ctx context.Context, req town.StartRequest) (api.StartResponse, error)
	Agent(ctx context.Context, id string) (town.Agent, error)
	Stop(ctx context.Context, id string, req town.StopRequest) (town.Agent, error)
	Message(ctx context.Context, id string, req town.MessageRequest, key string) (string, error)
	Delete(ctx context.Context, id string) error

	// Merge asks for a merge whose outcome is reported by its entry id. A container
	// that answers when it is decided has the status in the result.
	Merge(ctx context.Context, req api.MergeRequest) (api.MergeResult, error)
}

// Bounds of calls to a container. A start may clone a repository first; the
// container goes on with it when its caller has left, and a repeated one joins it.
const (
	startTimeout  = 10 * time.Minute
	statusTimeout = 15 * time.Second
	orderTimeout  = time.Minute
)

// blame says what is to be left alone for a while after a failure, and so what a
// failure counts against.
type blame int

const (
	ofNobody    blame = iota // an accident of order: try again soon
	ofBead                   // one of its attempts
	ofRig                    // its remote: no bead of the rig could start
	ofContainer              // no bead at all could start
	ofRequest                // what is asked for is wrong, and stays so until a person changes it
	unknown                  // it may have started
)

// judgeStart says what is to blame for a start that failed.
func judgeStart(err error) blame {
	for _, k := range startBlames {
		if errors.Is(err, k.kind) {
			return k.blame
		}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "dial" || errors.Is(op, syscall.ECONNREFUSED)) {
		return ofContainer // nothing was sent
	}
	return unknown
}

var startBlames = []struct {
	kind  error
	blame blame
}{
	{town.ErrInvalid, ofRequest},
	{town.ErrTooLarge, ofRequest},
	{town.ErrConflict, ofNobody},
	{town.ErrNotFound, ofBead}, // its start point is nowhere
	{town.ErrStartFailed, ofBead},
	{town.ErrBudget, ofBead},
	{town.ErrGit, ofRig},
	{town.ErrUnauthorized, ofContainer},
	{town.ErrForbidden, ofContainer},
	{town.ErrGone, ofContainer},
	{town.ErrCapacity, ofContainer},
	{town.ErrUnavailable, ofContainer},
	{town.ErrNoSpace, ofContainer},
}
