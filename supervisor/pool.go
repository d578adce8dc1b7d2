package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"townd/gitmgr"
	"townd/supervisor/keeper"
	"townd/town"
)

// pools is which rigs' pools of ready worktrees are to be looked at, and when.
type pools struct {
	wake chan struct{} // holds a token when keepPools may have something to do

	mu       sync.Mutex
	due      []string
	starting map[string]int  // worktrees being made for agents, by rig: they go first
	known    map[string]bool // rigs that have a pool, or are to have one
}

func newPools() pools {
	return pools{wake: make(chan struct{}, 1), starting: make(map[string]int), known: make(map[string]bool)}
}

func (p *pools) stir() {
	select {
	case p.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// ask has the pool of a rig filled and taken up to the tip of the default branch.
func (p *pools) ask(rig string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[rig] = true
	if !slices.Contains(p.due, rig) {
		p.due = append(p.due, rig)
	}
	p.stir()
}

// holdBack keeps the pool of a rig as it is while an agent's worktree is made, until end.
func (p *pools) holdBack(rig string) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting[rig]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.starting[rig]--; p.starting[rig] == 0 {
			delete(p.starting, rig)
			p.stir()
		}
	}
}

// next returns a rig that is due and not held back, "" for none.
func (p *pools) next() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, rig := range p.due {
		if p.starting[rig] == 0 {
			p.due = slices.Delete(p.due, i, i+1)
			return rig
		}
	}
	return ""
}

func (p *pools) heldBack(rig string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starting[rig] > 0
}

func (p *pools) rigs() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for rig := range p.known {
		all = append(all, rig)
	}
	return all
}

// adoptPools takes over what an earlier server has left in the pools, and returns what
// there is too much or nobody's: the users of all others stay kept for them.
func (s *Supervisor) adoptPools() (surplus map[string][]gitmgr.Owner, err error) {
	found, err := s.cfg.Git.Pools()
	surplus = make(map[string][]gitmgr.Owner)
	for rig, owners := range found {
		kept := 0
		for _, o := range owners {
			switch {
			case kept < s.cfg.PoolSize && (o.UID == 0 && s.users.count == 0 || s.users.pooled(o.UID, rig)):
				kept++
			default:
				surplus[rig] = append(surplus[rig], o)
			}
		}
		s.askPool(rig)
	}
	return surplus, err
}

// askPool has the pool of a rig looked at in the background.
func (s *Supervisor) askPool(rig string) {
	if s.cfg.PoolSize > 0 {
		s.pools.ask(rig)
	}
}

// keepPools drops surplus and keeps the pools of rigs filled. It ends with the supervisor.
func (s *Supervisor) keepPools(surplus map[string][]gitmgr.Owner) {
	for rig, owners := range surplus {
		for _, o := range owners {
			keep := 0
			if s.users.count == 0 && o.UID == 0 {
				keep = s.cfg.PoolSize
			}
			if err := s.cfg.Git.DropReady(s.ctx, rig, o, keep); err != nil && s.ctx.Err() == nil {
				s.log.Warn("ready worktree not dropped", "rig", rig, "error", err)
			}
		}
	}
	for {
		for rig := s.pools.next(); rig != ""; rig = s.pools.next() {
			s.fillPool(rig)
		}
		select {
		case <-s.pools.wake:
		case <-s.ctx.Done():
			return
		}
	}
}

// fillPool makes the worktrees of a pool ready one after the other, as long as no
// agent is being started. A rig over its quota gets none: each sweep would drop them.
func (s *Supervisor) fillPool(rig string) {
	if s.disk.get().overQuota(rig) {
		return
	}
	for i, uid := range s.users.reserve(rig, s.cfg.PoolSize) {
		if s.pools.heldBack(rig) {
			s.pools.ask(rig)
			return
		}
		if err := s.warm(rig, uid, i+1); err != nil && !errors.Is(err, errTaken) && s.ctx.Err() == nil {
			s.log.Warn("worktree not made ready", "rig", rig, "error", err)
		}
	}
}

// warm makes a worktree ready as a user, or the first n as the server's own. Nothing
// runs as that user from then on: it could change what the next agent gets.
func (s *Supervisor) warm(rig string, uid uint32, n int) error {
	ctx, release, ok := s.users.hold(s.ctx, uid, rig)
	if !ok {
		return nil
	}
	defer release()
	if uid == 0 {
		return s.cfg.Git.Warm(ctx, rig, slices.Repeat([]gitmgr.Owner{{}}, n)...)
	}
	if _, err := keeper.Sweep(ctx, keeper.Match{UID: uid}, 0); err != nil {
		return fmt.Errorf("end what runs as user %d: %w", uid, err)
	}
	return s.cfg.Git.Warm(ctx, rig, gitmgr.Owner{UID: uid})
}

// userFor returns the user of a worktree, one that has one ready in the rig's pool if
// it is to be chosen.
func (s *Supervisor) userFor(key, rig string) (uint32, error) {
	ready, err := s.cfg.Git.Ready(rig)
	if err != nil && !errors.Is(err, town.ErrNotFound) {
		s.log.Warn("pool not read", "rig", rig, "error", err)
	}
	return s.users.of(key, ready)
}

// leavePool sees to it that no pool of another rig than into has a worktree of an agent's user.
func (s *Supervisor) leavePool(ctx context.Context, uid uint32, into string) error {
	rig, err := s.users.leave(ctx, uid)
	if err != nil || rig == "" || rig == into {
		return err
	}
	if err := s.cfg.Git.DropReady(ctx, rig, gitmgr.Owner{UID: uid}, 0); err != nil {
		return err
	}
	s.users.hasLeft(uid)
	return nil
}

// fromPool makes the worktree of an agent's user with make, out of the pool if it has
// one there, and has the pool filled again.
func (s *Supervisor) fromPool(ctx context.Context, rec *record, makeTree func() (gitmgr.Worktree, error)) (gitmgr.Worktree, error) {
	rig := rec.Request.RigID
	defer s.pools.holdBack(rig)()
	if err := s.leavePool(ctx, rec.UID, rig); err != nil {
		return gitmgr.Worktree{}, err
	}
	w, err := makeTree()
	// What was not taken must not wait for another agent: this one could change it.
	err = errors.Join(err, s.leavePool(ctx, rec.UID, ""))
	if err == nil {
		s.askPool(rig)
	}
	return w, err
}

// PoolsReady counts the worktrees that are ready for the next starts, by rig.
func (s *Supervisor) PoolsReady() map[string]int {
	ready := make(map[string]int)
	for _, rig := range s.pools.rigs() {
		if owners, err := s.cfg.Git.Ready(rig); err == nil {
			ready[rig] = len(owners)
		}
	}
	return ready
}
