package supervisor

import (
	"fmt"
	"time"

	"townd/town"
)

// errForgotten is what a request gets that reached an agent just forgotten.
var errForgotten = fmt.Errorf("forgotten: %w", town.ErrNotFound)

// findOrMake returns the agent of that id, a new one that never ran if there is
// none.
func (s *Supervisor) findOrMake(id string) (*agent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.agents[id]; ok {
		return a, nil
	}
	rec := record{Agent: town.Agent{AgentID: id, Status: town.StatusExited}, Epoch: town.NewID(time.Now())}
	a, err := s.newAgent(id, rec)
	if err != nil {
		return nil, err
	}
	s.agents[id] = a
	s.wg.Go(a.live)
	return a, nil
}

// newAgent makes an agent of rec; its live is not yet running.
func (s *Supervisor) newAgent(id string, rec record) (*agent, error) {
	dir := s.agentDir(id)
	if err := makeDir(dir, 0o711); err != nil {
		return nil, fmt.Errorf("make agent %s: %w", id, err)
	}
	events, err := openEventLog(dir, rec.Epoch)
	if err != nil {
		return nil, fmt.Errorf("make agent %s: %w", id, err)
	}
	a := &agent{
		id: id, s: s, dir: dir, log: s.log.With("agent", id), events: events,
		inbox: make(chan func()), gone: make(chan struct{}), rec: rec, typed: make(map[string]func(error)), tools: make(map[string]toolCall),
		telling: make(map[string]bool),
	}
	a.snapshot.Store(new(rec.Agent))
	return a, nil
}

// admit gives a place among the live agents and its branch to a.
func (s *Supervisor) admit(a *agent, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch holder := s.branches[key]; {
	case s.draining:
		return fmt.Errorf("the town is shutting down: %w", town.ErrUnavailable)
	case s.admitted >= s.cfg.MaxAgents:
		return &town.CapacityError{What: fmt.Sprintf("%d agents are live, the most allowed here", s.admitted), RetryAfter: 10 * time.Second}
	case holder != "" && holder != a.id:
		return fmt.Errorf("agent %s works on this branch: %w", holder, town.ErrConflict)
	}
	s.admitted++
	s.branches[key] = a.id
	return nil
}

// readmit gives an adopted agent its place and branch back: it lives already.
func (s *Supervisor) readmit(a *agent, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admitted++
	s.branches[key] = a.id
	a.held = key
}

// release takes back what admit gave.
func (s *Supervisor) release(a *agent, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admitted--
	if s.branches[key] == a.id {
		delete(s.branches, key)
	}
}

// claim holds a branch without a live agent.
func (s *Supervisor) claim(key, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if holder := s.branches[key]; holder != "" {
		return fmt.Errorf("agent %s works on this branch: %w", holder, town.ErrConflict)
	}
	s.branches[key] = id
	return nil
}

func (s *Supervisor) unclaim(key, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.branches[key] == id {
		delete(s.branches, key)
	}
}

// route has the keeper's news of run delivered to a.
func (s *Supervisor) route(run string, a *agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[run] = a
}

func (s *Supervisor) unroute(run string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, run)
}
