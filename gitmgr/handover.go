package gitmgr

import (
	"context"
	"fmt"

	"townd/town"
)

// Bounds of what a HandOver names and counts.
const (
	maxChangedNames  = 20
	maxHandedCommits = 1000
)

// HandOver returns how far the work on a branch is from being handed over: its
// commits beyond base, and what of its worktree is in no commit. It returns
// ErrNotFound for a worktree that is not there.
func (m *Manager) HandOver(ctx context.Context, rigID, branch, base string, o Owner) (town.HandOver, error) {
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return town.HandOver{}, err
	}
	defer done()
	r, err := m.known(rigID, branch)
	if err != nil {
		return town.HandOver{}, err
	}
	own, release, err := r.acquireWorktree(ctx, branch)
	if err != nil {
		return town.HandOver{}, err
	}
	defer release()
	h := town.HandOver{Branch: branch}
	err = r.changes(ctx, own, branch, r.owner(branch, o), func(c change) {
		if h.ChangedCount++; len(h.Changed) < maxChangedNames {
			h.Changed = append(h.Changed, c.path)
		}
	})
	if err != nil {
		return town.HandOver{}, fmt.Errorf("status of rig %s branch %s: %w", rigID, branch, err)
	}
	commits, err := m.Log(rigID, branch, base, maxHandedCommits)
	if err != nil {
		return town.HandOver{}, err
	}
	if h.Commits = len(commits); h.Commits > 0 {
		h.Commit = commits[0].Hash
	}
	return h, nil
}

// PushBranch brings the commits of a branch to the same branch of the remote, which
// it never overwrites. It returns an error of the kinds of a remote that failed.
func (m *Manager) PushBranch(ctx context.Context, rigID, branch string) error {
	return m.onBranch(ctx, rigID, branch, "push branch", func(ctx context.Context, r *rig, own *lock) error {
		return r.pushBranch(ctx, own, branch)
	})
}

func (r *rig) pushBranch(ctx context.Context, own *lock, branch string) error {
	ref := headsPrefix + branch
	at, ok, err := r.ref(ref)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("the branch has no commit: %w", town.ErrNotFound)
	}
	url, err := r.remoteURL()
	if err != nil {
		return err
	}
	_, err = r.m.run(ctx, r.inRepo(command{
		locks: []*lock{own}, remote: true, retries: remoteRetries,
		args: []string{"push", "--porcelain", "--no-verify", "--", url, at + ":" + ref},
	}))
	return err
}
