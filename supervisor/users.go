package supervisor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"townd/gitmgr"
	"townd/town"
)

// users hands out the user ids that agents run as. An id belongs to a worktree,
// not to an agent: it stays the same as long as any agent that is not forgotten
// has that worktree, so its files need no new owner. One whose worktree waits in the
// pool of a rig runs nothing, and becomes that of the agent who takes it. Safe for
// concurrent use.
type users struct {
	base, count uint32 // count 0: no isolation

	mu    sync.Mutex
	byKey map[string]uint32
	taken map[uint32]string // a user is in taken or in pools, or free
	pools map[uint32]string // the rig in whose pool its worktree is
	left  map[uint32]string // the rig in whose pool something of a user may be that left it
	busy  warming
}

// warming is the one user of a pool whose worktree is being made ready.
type warming struct {
	uid    uint32 // 0 for none
	cancel context.CancelCauseFunc
	over   chan struct{} // closed when it is no more
}

func newUsers(base, count uint32, can bool) *users {
	if !can {
		count = 0
	}
	return &users{
		base: base, count: count,
		byKey: make(map[string]uint32), taken: make(map[uint32]string), pools: make(map[uint32]string), left: make(map[uint32]string),
	}
}

// isolation is "uid" when every agent runs as a user of its own, else "none".
func (u *users) isolation() string {
	if u.count > 0 {
		return "uid"
	}
	return "none"
}

// of returns the user of a worktree, choosing one if it has none: the first of ready
// that is in a pool, else a free one, else one of any pool, which gives it up. 0
// without isolation.
func (u *users) of(key string, ready []gitmgr.Owner) (uint32, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if uid, ok := u.byKey[key]; ok || u.count == 0 {
		return uid, nil
	}
	uid, ok := u.choose(ready)
	if !ok {
		return 0, &town.CapacityError{
			What:       fmt.Sprintf("all %d users for agents are taken; forget agents that have ended", u.count),
			RetryAfter: time.Minute,
		}
	}
	if from, ok := u.pools[uid]; ok {
		delete(u.pools, uid)
		u.left[uid] = from
	}
	u.byKey[key], u.taken[uid] = uid, key
	return uid, nil
}

func (u *users) choose(pool []gitmgr.Owner) (best uint32, found bool) {
	const (
		ready = iota // the best first
		free
		pooled
		busy
		none
	)
	rank := none
	for uid := u.base; uid < u.base+u.count; uid++ {
		if _, ok := u.taken[uid]; ok {
			continue
		}
		r := free
		if _, ok := u.pools[uid]; ok {
			r = pooled
		}
		switch isOf := func(o gitmgr.Owner) bool { return o.UID == uid }; {
		case uid == u.busy.uid:
			r = busy
		case r == pooled && slices.ContainsFunc(pool, isOf):
			r = ready
		}
		if r < rank {
			best, rank = uid, r
		}
	}
	return best, rank < none
}

// reserve brings the pool of a rig to size as far as there are free users, and returns
// its users. The last free one is left to agents. Without isolation all are user 0.
func (u *users) reserve(rig string, size int) (pool []uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.count == 0 {
		return make([]uint32, size)
	}
	var free []uint32
	for uid := u.base; uid < u.base+u.count; uid++ {
		_, taken := u.taken[uid]
		_, left := u.left[uid]
		switch in, pooled := u.pools[uid]; {
		case pooled && in == rig:
			pool = append(pool, uid)
		case !pooled && !taken && !left:
			free = append(free, uid)
		}
	}
	for len(pool) < size && len(free) > 1 {
		u.pools[free[0]] = rig
		pool, free = append(pool, free[0]), free[1:]
	}
	return pool
}

// pooled takes a user whose worktree an earlier server left in the pool of a rig into
// that pool, and reports whether it may be there.
func (u *users) pooled(uid uint32, rig string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, taken := u.taken[uid]
	_, pooled := u.pools[uid] // of another rig: a server was killed while it moved
	if taken || pooled || uid < u.base || uid-u.base >= u.count {
		return false
	}
	u.pools[uid] = rig
	return true
}

// hold lets the caller make the worktree of a user ready, as long as the context lives,
// until release; one at a time. It reports false for a user that is not in the pool of
// that rig any more.
func (u *users) hold(ctx context.Context, uid uint32, rig string) (_ context.Context, release func(), ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if in, pooled := u.pools[uid]; u.count > 0 && (!pooled || in != rig) {
		return ctx, nil, false
	}
	ctx, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	u.busy = warming{uid, cancel, over}
	return ctx, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.busy = warming{}
		cancel(nil)
		close(over)
	}, true
}

// leave returns the rig in whose pool something of an agent's user may still be, "" for
// none, once nobody is at it.
func (u *users) leave(ctx context.Context, uid uint32) (rig string, err error) {
	u.mu.Lock()
	rig, busy := u.left[uid], u.busy
	u.mu.Unlock()
	if rig == "" || busy.uid != uid {
		return rig, nil
	}
	busy.cancel(errTaken)
	select {
	case <-busy.over:
		return rig, nil
	case <-ctx.Done():
		return rig, context.Cause(ctx)
	}
}

var errTaken = fmt.Errorf("an agent has taken its user: %w", town.ErrConflict)

// hasLeft says that nothing of the user is in a pool any more.
func (u *users) hasLeft(uid uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.left, uid)
}

// restore gives uid to key as before a restart.
func (u *users) restore(key string, uid uint32) {
	if uid == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.byKey[key], u.taken[uid] = uid, key
}

// release frees the user of a worktree that is gone.
func (u *users) release(key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if uid, ok := u.byKey[key]; ok {
		delete(u.byKey, key)
		delete(u.taken, uid)
	}
}
