package supervisor

import (
	"fmt"
	"sync"
	"time"

	"townd/town"
)

// users hands out the user ids that agents run as. An id belongs to a worktree,
// not to an agent: it stays the same as long as any agent that is not forgotten
// has that worktree, so its files need no new owner. Safe for concurrent use.
type users struct {
	base, count uint32 // count 0: no isolation

	mu    sync.Mutex
	byKey map[string]uint32
	taken map[uint32]string
}

func newUsers(base, count uint32, can bool) *users {
	if !can {
		count = 0
	}
	return &users{base: base, count: count, byKey: make(map[string]uint32), taken: make(map[uint32]string)}
}

// isolation is "uid" when every agent runs as a user of its own, else "none".
func (u *users) isolation() string {
	if u.count > 0 {
		return "uid"
	}
	return "none"
}

// of returns the user of a worktree, choosing one if it has none; 0 without
// isolation.
func (u *users) of(key string) (uint32, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if uid, ok := u.byKey[key]; ok || u.count == 0 {
		return uid, nil
	}
	for uid := u.base; uid < u.base+u.count; uid++ {
		if _, ok := u.taken[uid]; !ok {
			u.byKey[key], u.taken[uid] = uid, key
			return uid, nil
		}
	}
	return 0, &town.CapacityError{
		What:       fmt.Sprintf("all %d users for agents are taken; forget agents that have ended", u.count),
		RetryAfter: time.Minute,
	}
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
