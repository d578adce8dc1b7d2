package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

// poolPrefix begins what stands in for a branch of a worktree that waits in the
// pool, -pool/<uid>: CheckBranch refuses it, so no agent has it.
const poolPrefix = "-pool/"

// maxPoolUse is the part of a disk's blocks that the pool may bring it to.
const maxPoolUse = 0.8

// Warm makes ready, in the background, one worktree at the tip of the default branch
// for each of owners that has none, and takes those that are ready up to that tip.
// The next Worktree of such an owner takes it over instead of writing all files, and
// it is gone from the pool. While a worktree waits its owner must run nothing: it
// could change what the next agent gets. Without isolation there is one, of Owner{}.
// It returns ErrNotFound for a rig that has no clone. A disk that is 80 % full, or a
// worktree that cannot be made, is logged: agents then start without.
func (m *Manager) Warm(rigID string, owners ...Owner) error {
	r, err := m.existing(rigID)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed
	}
	owners = slices.Clone(owners)
	m.wg.Go(func() { // ends when all are ready, or with Close
		for _, o := range owners {
			start := time.Now()
			err := r.warm(m.ctx, o)
			m.observe("warm", start, err)
			if err != nil && m.ctx.Err() == nil {
				r.log.Warn("no worktree made ready", "uid", o.UID, "err", err)
			}
		}
	})
	return nil
}

// Ready returns the users that have a worktree ready in the pool of a rig.
func (m *Manager) Ready(rigID string) ([]Owner, error) {
	r, err := m.existing(rigID)
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(r.repo, "worktrees", branchID(poolPrefix)+"*"))
	var ready []Owner
	for _, name := range names {
		slot := unescape(filepath.Base(name))
		if _, ok := r.readySlot(slot); ok {
			ready = append(ready, r.ownerOf(slot))
		}
	}
	return ready, err
}

func poolSlot(o Owner) string { return fmt.Sprint(poolPrefix, o.UID) }

// readySlot returns the commit that a worktree of the pool stands at.
func (r *rig) readySlot(slot string) (string, bool) {
	f, err := r.readFacts(slot)
	ok := err == nil && f.Base != "" && !f.Making && isDir(r.path(slot)) && isRegular(filepath.Join(r.admin(slot), "index"))
	return f.Base, ok
}

func (r *rig) warm(ctx context.Context, o Owner) error {
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
	slot := poolSlot(o)
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
	ready = ready && r.isSparseAs(slot)
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

// takeSlot makes the worktree that the pool has for s.Owner that of s.Branch, with
// the rig held, and returns the commit it stands at, "" when there is none. The
// administrative directory moves last: cut off before, the rest is no worktree and
// is made anew; after, the checkout that follows is done again by repair.
func (r *rig) takeSlot(ctx context.Context, s Spec) string {
	slot := poolSlot(s.Owner)
	// One that is just being made is not waited for: who makes it may wait for the rig.
	soon, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, release, err := r.acquireBranch(soon, slot)
	if err != nil {
		return ""
	}
	defer release()
	at, ok := r.readySlot(slot)
	if !ok || r.ownerOf(slot).UID != s.Owner.UID || !r.isSparseAs(slot) {
		return ""
	}
	admin, dir := r.admin(s.Branch), r.path(s.Branch)
	err = errors.Join(os.Remove(r.factsPath(slot)), r.parents(s.Branch))
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
