package gitmgr

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

// Remove gives the worktree of a branch up; the branch and its commits stay. It
// returns ErrConflict, with counts, when files there are not in a commit, unless
// force. The files are moved away at once and deleted in the background. A
// worktree that is not there is removed already.
func (m *Manager) Remove(ctx context.Context, rigID, branch string, force bool) error {
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	r, err := m.known(rigID, branch)
	if err != nil {
		return err
	}
	own, release, err := r.acquireBranch(ctx, branch)
	if err != nil {
		return err
	}
	defer release()
	start := time.Now()
	err = r.remove(ctx, own, branch, force)
	m.observe("remove", start, err)
	if err != nil {
		return fmt.Errorf("remove worktree of rig %s branch %s: %w", rigID, branch, err)
	}
	return nil
}

// known returns a rig that has a clone, for operations on one of its branches.
func (m *Manager) known(rigID, branch string) (*rig, error) {
	if err := CheckBranch(branch); err != nil {
		return nil, fmt.Errorf("branch %q: %w", branch, err)
	}
	return m.existing(rigID)
}

func (r *rig) remove(ctx context.Context, own *lock, branch string, force bool) error {
	admin, dir := r.admin(branch), r.path(branch)
	if !force && isDir(admin) && isDir(dir) {
		changed, untracked, err := r.unsaved(ctx, own, branch, r.ownerOf(branch))
		if err != nil {
			return err
		}
		if changed+untracked > 0 {
			return fmt.Errorf("it holds %d changed and %d untracked files that are in no commit: %w", changed, untracked, town.ErrConflict)
		}
	}
	_, releaseRig, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer releaseRig()
	if isDir(admin) {
		if err := r.discard(dir); err != nil {
			return err
		}
	}
	return r.discard(admin)
}

// ownerOf returns whose a worktree is.
func (r *rig) ownerOf(branch string) Owner {
	var st unix.Stat_t
	if r.m.c.GIDBase == 0 || unix.Lstat(r.admin(branch), &st) != nil {
		return Owner{}
	}
	return Owner{UID: st.Uid, GID: st.Gid}
}

// unsaved counts the files of a worktree that are not as in its HEAD.
func (r *rig) unsaved(ctx context.Context, own *lock, branch string, o Owner) (changed, untracked int, err error) {
	out, err := r.m.run(ctx, r.inWorktree(branch, o, command{
		locks: []*lock{own},
		args:  []string{"status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=none"},
	}))
	for entry := range strings.SplitSeq(string(out), "\x00") {
		switch {
		case strings.HasPrefix(entry, "??"):
			untracked++
		case entry != "":
			changed++
		}
	}
	return changed, untracked, err
}
