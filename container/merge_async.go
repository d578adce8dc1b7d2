package container

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/gitmgr"
	"townd/town"
)

// mergeTellAgain is how long to wait before an outcome is kept that could not be.
const mergeTellAgain = time.Second

// merges is which entries of merge queues are being worked on. Its zero value is ready.
type merges struct {
	mu      sync.Mutex
	running map[string]bool // by rig and entry
}

// begin reports false for an entry that is being worked on.
func (m *merges) begin(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running[key] {
		return false
	}
	if m.running == nil {
		m.running = make(map[string]bool)
	}
	m.running[key] = true
	return true
}

func (m *merges) end(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.running, key)
}

// mergeLater merges after the answer, and has the outcome told to the coordinator. An
// entry that is being worked on is answered in the same way and not begun again. When
// this process ends before the outcome is kept, the coordinator asks again.
func (s *Server) mergeLater(req *api.MergeRequest, q gitmgr.MergeRequest, ignored []string) (any, error) {
	if err := town.CheckID(req.EntryID); err != nil {
		return nil, wire.BadBody("entryId", "%v", err)
	}
	if err := s.checkCallback(req.CallbackURL); err != nil {
		return nil, err
	}
	key := req.RigID + " " + req.EntryID
	if !s.merges.begin(key) {
		return accepted(req, ignored), nil
	}
	if !s.enter() {
		s.merges.end(key)
		return nil, fmt.Errorf("merge %s: %w", req.EntryID, town.ErrUnavailable)
	}
	go func() { // ends with the merge, or Close
		defer s.wg.Done()
		defer s.merges.end(key)
		s.mergeAndTell(req, q)
	}()
	return accepted(req, ignored), nil
}

// mergeAndTell merges, and keeps the outcome for the coordinator.
func (s *Server) mergeAndTell(req *api.MergeRequest, q gitmgr.MergeRequest) {
	began := time.Now()
	res, pull, err := s.mergeNow(s.ctx, req, q)
	if s.ctx.Err() != nil {
		return // cut short by our end: no outcome
	}
	o := s.mergeOutcome(req.EntryID, res, err)
	if pull != nil {
		o.PR = pull.URL
	}
	s.log.Info("merge ended", "rig", req.RigID, "entry", req.EntryID, "branch", req.Branch, "status", o.Status, "took", time.Since(began))
	run := town.NewID(time.Now())
	for {
		err := s.cfg.Coordinator.MergeEnded(s.ctx, req.RigID, run, req.CallbackURL, o)
		if err == nil || s.ctx.Err() != nil {
			return
		}
		s.log.Error("outcome of a merge not kept, trying again", "entry", req.EntryID, "error", err)
		select {
		case <-time.After(mergeTellAgain):
		case <-s.ctx.Done():
			return
		}
	}
}

// mergeOutcome is what the coordinator is told of a merge.
func (s *Server) mergeOutcome(entry string, res gitmgr.MergeResult, err error) town.MergeOutcome {
	if err != nil {
		status := mergeFailed
		if errors.Is(err, town.ErrGit) {
			status = string(gitmgr.MergeNetwork)
		}
		problem := wire.ProblemOf(err, s.cfg.Secrets.Mask)
		return town.MergeOutcome{EntryID: entry, Status: status, Message: cmp.Or(problem.Detail, problem.Title)}
	}
	out := s.mergeResult(res)
	o := town.MergeOutcome{EntryID: entry, Status: out.Status, Message: out.Message, Commit: out.Commit}
	if o.Status == pullRequestClosed { // a person did not want it
		o.Status = mergeFailed
	}
	if len(out.Conflicts) > 0 {
		o.Conflicts, _ = json.Marshal(out.Conflicts) // strings
	}
	if len(out.Gates) > 0 {
		o.Gates, _ = json.Marshal(out.Gates) // strings and numbers
	}
	return o
}

// pullRequestClosed is how a merge by pull request ends that somebody closed unmerged.
const pullRequestClosed = "closed"

// mergeFailed is the outcome of a merge that could not be tried.
const mergeFailed = "failed"
