package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

// poolPrefix begins what stands in for a branch of a worktree that waits in the
// pool, -pool/<uid> and -pool/<uid>.<n>: CheckBranch refuses it, so no agent has it.
const poolPrefix = "-pool/"

// maxPoolUse is the part of a disk's blocks that the pool may bring it to.
const maxPoolUse = 0.8

// Warm makes ready one worktree at the tip of the default branch for each of owners
// that has none, for one that is named n times n of them, and takes those that are
// ready up to that tip. The next Worktree of such an owner takes one over instead of
// writing all files, and it is gone from the pool. While a worktree waits its owner must
// run nothing: it could change what the next agent gets. It returns ErrNotFound for a
// rig that has no clone, ErrNoSpace for a disk that is 80 % full. An owner whose
// worktree cannot be made keeps no other from its own: all errors are returned together.
func (m *Manager) Warm(ctx context.Context, rigID string, owners ...Owner) error {
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	r, err := m.existing(rigID)
	if err != nil {
		return err
	}
	var errs []error
	named := make(map[uint32]int)
	for _, o := range owners {
		start := time.Now()
		err := r.warm(ctx, o, named[o.UID])
		named[o.UID]++
		m.observe("warm", start, err)
		if err != nil {
			errs = append(errs, fmt.Errorf("make a worktree of rig %s ready for user %d: %w", rigID, o.UID, spaceKind(err)))
		}
	}
	return errors.Join(errs...)
}

// Ready returns the users that have a worktree ready in the pool of a rig, each as
// often as it has one.
func (m *Manager) Ready(rigID string) ([]Owner, error) {
	r, err := m.existing(rigID)
	if err != nil {
		return nil, err
	}
	slots, err := r.slots()
	var ready []Owner
	for _, slot := range slots {
		if _, ok := r.readySlot(slot); ok {
			ready = append(ready, r.ownerOf(slot))
		}
	}
	return ready, err
}

// Pools returns whose worktrees are in the pools of rigs, ready or not, by rig: after a
// restart they are what an earlier process has left.
func (m *Manager) Pools() (map[string][]Owner, error) {
	rigs, err := m.cloned()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list pools: %w", err)
	}
	pools := make(map[string][]Owner)
	for _, r := range rigs {
		slots, err := r.slots()
		if err != nil {
			return nil, fmt.Errorf("list pool of rig %s: %w", r.id, err)
		}
		for _, slot := range slots {
			pools[r.id] = append(pools[r.id], Owner{UID: slotUID(slot)})
		}
	}
	return pools, nil
}

// DropReady gives up the worktrees that wait for an owner in the pool of a rig, but
// for the first keep of them. One that is just being made is waited for.
func (m *Manager) DropReady(ctx context.Context, rigID string, o Owner, keep int) error {
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	r, err := m.existing(rigID)
	if err != nil {
		return err
	}
	slots, err := r.slotsOf(o)
	for _, slot := range slots[min(keep, len(slots)):] {
		_, release, lockErr := r.acquireBranch(ctx, slot)
		if lockErr != nil {
			return errors.Join(err, lockErr)
		}
		err = errors.Join(err, r.dropTree(slot))
		release()
	}
	if err != nil {
		return fmt.Errorf("drop ready worktrees of rig %s, user %d: %w", rigID, o.UID, err)
	}
	return nil
}

// poolSlot names the n-th worktree that waits for an owner, from 0.
func poolSlot(o Owner, n int) string {
	if n == 0 {
		return fmt.Sprint(poolPrefix, o.UID)
	}
	return fmt.Sprint(poolPrefix, o.UID, ".", n)
}

// slotUID is the user in the name of a worktree of the pool.
func slotUID(slot string) uint32 {
	name, _, _ := strings.Cut(strings.TrimPrefix(slot, poolPrefix), ".")
	uid, _ := strconv.ParseUint(name, 10, 32) // the name is ours
	return uint32(uid)
}

// slots lists the worktrees of the pool, also those half made.
func (r *rig) slots() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(r.repo, "worktrees", branchID(poolPrefix)+"*"))
	for i, name := range names {
		names[i] = unescape(filepath.Base(name))
	}
	return names, err
}

// slotsOf lists the worktrees of the pool that are for an owner, in order.
func (r *rig) slotsOf(o Owner) ([]string, error) {
	slots, err := r.slots()
	return slices.DeleteFunc(slots, func(slot string) bool { return slotUID(slot) != o.UID }), err
}

// readySlot returns the commit that a worktree of the pool stands at.
func (r *rig) readySlot(slot string) (string, bool) {
	f, err := r.readFacts(slot)
	ok := err == nil && f.Base != "" && !f.Making && isDir(r.path(slot)) && isRegular(filepath.Join(r.admin(slot), "index"))
	return f.Base, ok
}

// warm sees to the n-th worktree that is ready for an owner.
func (r *rig) warm(ctx context.Context, o Owner, n int) error {
	var st unix.Statfs_t
	if err := unix.Statfs(r.dir, &st); err != nil || float64(st.Bavail) < (1-maxPoolUse)*float64(st.Blocks) {
		return errors.Join(err, fmt.Errorf("the disk is too full for a pool: %w", town.ErrNoSpace))
	}
	if r.m.c.GIDBase != 0 && o.GID == 0 {
		gid, err := r.group()
		if err != nil {
			return err
		}
		o.GID = gid
	}
	slot := poolSlot(o, n)
	own, release, err := r.acquireBranch(ctx, slot)
	if err != nil {
		return err
	}
	defer release()
	trunk, err := r.remoteDefault()
	if err != nil {
		return err
	}
	tip, ok, err := r.ref(remotePrefix + trunk)
	if err != nil || !ok {
		return err // nothing to check out yet
	}
	at, ready := r.readySlot(slot)
	ready = ready && r.isAsSet(slot)
	switch {
	case ready && at == tip:
		return nil
	case ready: // another checkout of the same files is quick
		if err := r.writeFacts(facts{Branch: slot, Base: tip, Making: true}); err != nil {
			return err
		}
		err = r.checkoutDetached(ctx, own, Spec{Branch: slot, Owner: o}, tip)
	default:
		err = r.newSlot(ctx, own, Spec{Branch: slot, Owner: o}, tip)
	}
	if err != nil {
		return errors.Join(err, r.dropTree(slot))
	}
	return r.writeFacts(facts{Branch: slot, Base: tip})
}

func (r *rig) newSlot(ctx context.Context, own *lock, s Spec, commit string) error {
	if err := r.dropTree(s.Branch); err != nil {
		return err
	}
	if err := r.writeFacts(facts{Branch: s.Branch, Base: commit, Making: true}); err != nil {
		return err
	}
	return r.detachedTree(ctx, own, s, commit)
}

// takeSlot makes a worktree that the pool has for s.Owner that of s.Branch, with the
// rig held, and returns the commit it stands at, "" when there is none.
func (r *rig) takeSlot(ctx context.Context, s Spec) (at string) {
	slots, err := r.slotsOf(s.Owner)
	if err != nil {
		return ""
	}
	for _, slot := range slots {
		if at = r.takeOver(ctx, s, slot); at != "" {
			return at
		}
	}
	return ""
}

// takeOver makes one worktree of the pool that of s.Branch. The administrative
// directory moves last: cut off before, the rest is no worktree and is made anew;
// after, the checkout that follows is done again by repair.
func (r *rig) takeOver(ctx context.Context, s Spec, slot string) string {
	// One that is just being made is not waited for: who makes it may wait for the rig.
	soon, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, release, err := r.acquireBranch(soon, slot)
	if err != nil {
		return ""
	}
	defer release()
	at, ok := r.readySlot(slot)
	if !ok || r.ownerOf(slot).UID != s.Owner.UID || !r.isAsSet(slot) {
		return ""
	}
	admin, dir := r.admin(s.Branch), r.path(s.Branch)
	err = errors.Join(os.Remove(r.factsPath(slot)), r.parents(s.Branch), settleIndex(r.admin(slot)))
	if err == nil {
		err = os.Rename(r.path(slot), dir)
	}
	if err == nil {
		err = errors.Join(
			r.writeOwned(dir, ".git", "gitdir: "+admin, s.Owner),
			r.writeOwned(r.admin(slot), "gitdir", filepath.Join(dir, ".git"), s.Owner),
		)
	}
	if err == nil {
		err = os.Rename(r.admin(slot), admin)
	}
	if err == nil {
		return at
	}
	r.log.Warn("ready worktree not taken", "branch", s.Branch, "err", err)
	if err := errors.Join(r.dropTree(slot), r.discard(dir)); err != nil {
		r.log.Warn("clear away a ready worktree", "err", err)
	}
	return ""
}

// settleIndex spares the first git status of a worktree that nobody has touched to read
// all files that were written in the second of the index, which may have changed since,
// for all that it knows (Documentation/technical/racy-git.txt). When that second is over
// the next one does as well as the index's time: any change to come is no older.
func settleIndex(admin string) error {
	index := filepath.Join(admin, "index")
	fi, err := os.Lstat(index)
	if err != nil {
		return err
	}
	next := fi.ModTime().Truncate(time.Second).Add(time.Second)
	if time.Since(next) < clockSlack {
		return nil
	}
	at := unix.NsecToTimespec(next.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, index, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "change times", Path: index, Err: err}
	}
	return nil
}

// detachedTree makes a worktree of commit that is on no branch.
func (r *rig) detachedTree(ctx context.Context, own *lock, s Spec, commit string) error {
	l, release, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	if err = r.fetchFiles(ctx, l, s.Branch, commit); err == nil {
		err = r.make(s, plan{commit: commit, isNew: true})
	}
	release()
	if err != nil {
		return err
	}
	return r.checkoutDetached(ctx, own, s, commit)
}

func (r *rig) checkoutDetached(ctx context.Context, own *lock, s Spec, commit string) error {
	if err := r.fetchLFS(ctx, own, s.Branch, commit); err != nil {
		return err
	}
	select {
	case r.m.checkout <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-r.m.checkout }()
	c := r.inWorktree(s.Branch, s.Owner, command{
		locks: []*lock{own}, timeout: r.m.c.CloneTimeout, args: []string{"checkout", "--quiet", "--force", "--detach", commit},
	})
	c.env = append(c.env, identityEnv(s.Name, s.Email)...)
	_, err := r.m.run(ctx, r.readingLFS(c))
	return err
}

// dropTree clears away a worktree that is no agent's, or what a crash left of it.
func (r *rig) dropTree(slot string) error {
	return errors.Join(r.discard(r.admin(slot)), r.discard(r.path(slot)))
}
