package gitmgr

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

// Remove gives the worktree of a branch up; the branch and its commits stay. It
// returns ErrConflict, with counts, when files there are not in a commit, unless
// force. The files are moved away at once and deleted in the background. A
// worktree that is not there is removed already.
func (m *Manager) Remove(ctx context.Context, rigID, branch string, force bool) error {
	return m.onBranch(ctx, rigID, branch, "remove", func(ctx context.Context, r *rig, own *lock) error {
		return r.remove(ctx, own, branch, force)
	})
}

// onBranch runs an operation on a branch of a rig, under the lock of the branch. what
// names it in errors and in the figures.
func (m *Manager) onBranch(ctx context.Context, rigID, branch, what string, f func(ctx context.Context, r *rig, own *lock) error) error {
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
	err = f(ctx, r, own)
	m.observe(what, start, err)
	if err != nil {
		return fmt.Errorf("%s of rig %s branch %s: %w", what, rigID, branch, spaceKind(err))
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
		if err := r.checkSaved(ctx, own, branch); err != nil {
			return err
		}
	}
	if err := r.adoptLFS(branch); err != nil {
		return err
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
		for up := filepath.Dir(branch); up != "."; up = filepath.Dir(up) {
			if os.Remove(r.path(up)) != nil {
				break // others have their worktrees there
			}
		}
	}
	if err := r.discard(admin); err != nil {
		return err
	}
	// The user it belonged to is another agent's next.
	if err := r.refDirs(branch, Owner{}); err != nil {
		r.log.Warn("branch not taken back from its user", "branch", branch, "err", err)
	}
	return nil
}

// checkSaved returns an ErrConflict with counts when files of a worktree are in no
// commit. A submodule that an agent has put there counts as changed: it is not looked into.
func (r *rig) checkSaved(ctx context.Context, own *lock, branch string) error {
	o := r.ownerOf(branch)
	changed, untracked, err := r.unsaved(ctx, own, branch, o)
	if err != nil {
		return err
	}
	inner, err := r.modulesWork(ctx, own, branch, o)
	if err != nil {
		return err
	}
	changed += len(inner)
	if changed+untracked > 0 {
		return fmt.Errorf("it holds %d changed and %d untracked files that are in no commit: %w", changed, untracked, town.ErrConflict)
	}
	return nil
}

// ownerOf returns whose a worktree is.
func (r *rig) ownerOf(branch string) Owner {
	var st unix.Stat_t
	if r.m.c.GIDBase == 0 || unix.Lstat(r.admin(branch), &st) != nil {
		return Owner{}
	}
	return Owner{UID: st.Uid, GID: st.Gid}
}

// gitlinks lists the submodules of a worktree. Our git must not enter them: it
// would start another there, which obeys the configuration that the agent wrote.
func (r *rig) gitlinks(ctx context.Context, own *lock, branch string, o Owner) (paths []string, err error) {
	out := &entries{each: func(entry []byte) {
		if meta, path, ok := bytes.Cut(entry, []byte("\t")); ok && bytes.HasPrefix(meta, []byte("160000 ")) {
			paths = append(paths, string(path))
		}
	}}
	_, err = r.m.run(ctx, r.inWorktree(branch, o, command{
		locks: []*lock{own}, stdout: out, args: []string{"ls-files", "--stage", "-z"},
	}))
	return paths, err
}

// entries takes what git prints with -z, or with another end of each entry, and
// hands on one entry after the other: there may be any number.
type entries struct {
	end  byte
	each func(entry []byte)
	part []byte // of an entry whose end is not there yet
}

func (e *entries) Write(p []byte) (int, error) {
	n := len(p)
	for {
		entry, rest, ended := bytes.Cut(p, []byte{e.end})
		e.part = append(e.part, entry...)
		if !ended {
			return n, nil
		}
		e.each(e.part)
		e.part, p = e.part[:0], rest
	}
}

// exceptGitlinks returns pathspecs for all of a worktree but its submodules.
func (r *rig) exceptGitlinks(ctx context.Context, own *lock, branch string, o Owner) ([]string, error) {
	paths, err := r.gitlinks(ctx, own, branch, o)
	specs := []string{"."}
	for _, p := range paths {
		specs = append(specs, ":(exclude,top,literal)"+p)
	}
	return specs, err
}

// unsaved counts the files of a worktree that are not as in its HEAD.
func (r *rig) unsaved(ctx context.Context, own *lock, branch string, o Owner) (changed, untracked int, err error) {
	err = r.changes(ctx, own, branch, o, func(c change) {
		if c.isNew {
			untracked++
		} else {
			changed++
		}
	})
	return changed, untracked, err
}
