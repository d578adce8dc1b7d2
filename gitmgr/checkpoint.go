package gitmgr

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"townd/town"
)

const checkpointPrefix = "refs/town/checkpoints/"

// emptyTree is git's id of a tree without entries, known to it without an object.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// Checkpoint saves the worktree of a branch as it is, untracked files included,
// ignored ones not, as a commit on top of its HEAD, at
// refs/town/checkpoints/<agentID>. Branch and files stay untouched, and so does what is
// in the index; git's notes of when files were looked at may be renewed there. What is
// larger than Config allows and what looks like a secret is left out and named: it is
// as in HEAD there, also when it was added to the index. The
// same state again is the same commit. When everything is in commits it makes none
// and says so; an earlier checkpoint then gives way to one of HEAD. It returns ErrNotFound
// for a worktree that is not there. Checkpoints of different branches do not wait
// for each other, nor for the remote.
func (m *Manager) Checkpoint(ctx context.Context, rigID, branch, agentID string, o Owner) (Checkpoint, error) {
	if err := town.CheckID(agentID); err != nil {
		return Checkpoint{}, fmt.Errorf("agent id %q: %w", agentID, err)
	}
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	defer done()
	start := time.Now()
	r, err := m.known(rigID, branch)
	if err != nil {
		return Checkpoint{}, err
	}
	own, release, err := r.acquireWorktree(ctx, branch)
	if err != nil {
		return Checkpoint{}, err
	}
	defer release()
	cp, err := r.checkpoint(ctx, own, branch, agentID, r.owner(branch, o))
	m.observe("checkpoint", start, err)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint of rig %s branch %s: %w", rigID, branch, spaceKind(err))
	}
	return cp, nil
}

// checkpointRef names an agent's checkpoint. An id may end as no ref may.
func checkpointRef(agentID string) string {
	if short, ok := strings.CutSuffix(agentID, ".lock"); ok {
		agentID = short + "%lock"
	}
	return checkpointPrefix + agentID
}

// acquireWorktree is acquireBranch for a worktree that must be there.
func (r *rig) acquireWorktree(ctx context.Context, branch string) (*lock, func(), error) {
	own, release, err := r.acquireBranch(ctx, branch)
	if err != nil {
		return nil, nil, err
	}
	if !isDir(r.admin(branch)) || !isDir(r.path(branch)) {
		release()
		return nil, nil, fmt.Errorf("rig %s: no worktree of branch %q: %w", r.id, branch, town.ErrNotFound)
	}
	return own, release, nil
}

// owner completes o: whose the worktree is when o is nobody in particular, and
// the rig's group.
func (r *rig) owner(branch string, o Owner) Owner {
	actual := r.ownerOf(branch)
	if o.UID == 0 {
		return actual
	}
	if o.GID == 0 {
		o.GID = actual.GID
	}
	return o
}

// saving is one checkpoint in the making.
type saving struct {
	*rig
	own     *lock // of the branch
	branch  string
	agentID string
	owner   Owner
	facts   facts
	head    string // commit that the worktree is on, "" for none
	index   string // path of the temporary index
	named   named
	leftOut []LeftOut
	staged  []change // of those left out: not as in HEAD in the index
	unread  bool     // git went past files that it could not read
}

func (r *rig) checkpoint(ctx context.Context, own *lock, branch, agentID string, o Owner) (Checkpoint, error) {
	s := &saving{rig: r, own: own, branch: branch, agentID: agentID, owner: o}
	dirty, err := s.sift(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	if s.head, err = r.head(branch); err != nil {
		return Checkpoint{}, err
	}
	cp := Checkpoint{Clean: true}
	if dirty {
		cp, err = s.save(ctx)
	}
	if err == nil && cp.Clean {
		err = s.replace(ctx)
	}
	cp.LeftOut, cp.LeftOutCount = s.leftOut[:min(len(s.leftOut), maxLeftOut)], len(s.leftOut)
	cp.Unread = s.unread
	return cp, err
}

// sift finds what is to be taken and what left out, and reports whether anything has changed.
func (s *saving) sift(ctx context.Context) (dirty bool, err error) {
	dir, err := openDir(s.path(s.branch))
	if err != nil {
		return false, err
	}
	defer dir.Close()
	v := &sieve{dir: dir, file: s.m.c.CheckpointFileBytes, left: s.m.c.CheckpointBytes}
	err = s.changes(ctx, s.own, s.branch, s.owner, func(c change) {
		dirty = true
		switch {
		case c.isGone(): // what is at its path now is ignored, or new by itself
		case v.look(c.path):
			s.named.add(c)
		case !c.isNew && (c.conflict || c.index != c.head):
			s.staged = append(s.staged, c)
		}
	})
	s.leftOut = v.out
	return dirty, err
}

func (s *saving) save(ctx context.Context) (Checkpoint, error) {
	index, err := s.copyIndex(s.branch, s.owner)
	if err != nil {
		return Checkpoint{}, err
	}
	defer index.discard()
	s.index = index.path
	if s.facts, err = s.readFacts(s.branch); err != nil {
		return Checkpoint{}, err
	}
	if err := s.take(ctx); err != nil {
		return Checkpoint{}, err
	}
	tree, err := s.git(ctx, nil, "write-tree")
	if err != nil {
		return Checkpoint{}, err
	}
	at := emptyTree
	if s.head != "" {
		if at, err = s.git(ctx, nil, "rev-parse", "--verify", s.head+"^{tree}"); err != nil {
			return Checkpoint{}, err
		}
	}
	if tree == at {
		return Checkpoint{Clean: true}, nil
	}
	return s.saveTree(ctx, tree)
}

// git runs git in the worktree with the temporary index.
func (s *saving) git(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	c := s.inWorktree(s.branch, s.owner, command{locks: []*lock{s.own}, args: args, stdin: stdin})
	c.env = append(append(c.env, "GIT_INDEX_FILE="+s.index), identityEnv(s.facts.Name, s.facts.Email)...)
	out, err := s.m.run(ctx, c)
	return strings.TrimSpace(string(out)), err
}

// The lines of a checkpoint's message that Restore reads.
const (
	checkpointSubject = "checkpoint: work that was in no commit"
	branchTrailer     = "Town-Branch: "
	baseTrailer       = "Town-Base: "
	leftOutTrailer    = "Town-Left-Out: "
)

// saveTree commits tree on top of HEAD and points the agent's ref at it, unless the
// last checkpoint holds the same.
func (s *saving) saveTree(ctx context.Context, tree string) (Checkpoint, error) {
	ref := checkpointRef(s.agentID)
	if last, ok, err := s.ref(ref); err == nil && ok && s.isCheckpointOf(last, s.head, tree) {
		return Checkpoint{Ref: ref, Commit: last}, nil
	}
	args := []string{"commit-tree", "-F", "-", tree}
	if s.head != "" {
		args = append(args, "-p", s.head)
	}
	commit, err := s.git(ctx, strings.NewReader(checkpointMessage(s.facts, s.leftOut)), args...)
	if err != nil {
		return Checkpoint{}, err
	}
	return Checkpoint{Ref: ref, Commit: commit}, s.pointAt(ctx, s.own, ref, commit)
}

// checkpointMessage says whose a checkpoint is, for people and for Restore.
func checkpointMessage(f facts, leftOut []LeftOut) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s%s\n%s%s\n", checkpointSubject, branchTrailer, f.Branch, baseTrailer, f.Base)
	for _, l := range leftOut[:min(len(leftOut), maxLeftOut)] {
		fmt.Fprintf(&b, "%s%q %s\n", leftOutTrailer, l.Path, l.Why)
	}
	return b.String()
}

// saveClean makes the checkpoint of an agent that of a clean worktree: a commit with
// the files of head on top of it, which tells where the branch was. It returns it.
func (r *rig) saveClean(ctx context.Context, own *lock, branch, agentID, head string) (string, error) {
	ref := checkpointRef(agentID)
	out, err := r.m.run(ctx, r.inRepo(command{locks: []*lock{own}, args: []string{"rev-parse", "--verify", head + "^{tree}"}}))
	if err != nil {
		return "", err
	}
	tree := strings.TrimSpace(string(out))
	if last, ok, err := r.ref(ref); err == nil && ok && r.isCheckpointOf(last, head, tree) {
		return last, nil
	}
	f, err := r.readFacts(branch)
	if err != nil {
		return "", err
	}
	c := r.inRepo(command{
		locks: []*lock{own}, args: []string{"commit-tree", "-F", "-", tree, "-p", head}, stdin: strings.NewReader(checkpointMessage(f, nil)),
	})
	c.env = append(c.env, identityEnv(f.Name, f.Email)...)
	if out, err = r.m.run(ctx, c); err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(out))
	return commit, r.pointAt(ctx, own, ref, commit)
}

// replace lets a clean state take the place of a checkpoint whose work was committed
// or given up since. The ref stays: to delete one takes the lock of all.
func (s *saving) replace(ctx context.Context) error {
	_, ok, err := s.ref(checkpointRef(s.agentID))
	if err != nil || !ok || s.head == "" {
		return err
	}
	_, err = s.saveClean(ctx, s.own, s.branch, s.agentID, s.head)
	return err
}

// pointAt sets a ref of refs/town. A lock on it is a dead git's: own is held.
func (r *rig) pointAt(ctx context.Context, own *lock, ref, commit string) error {
	_, err := r.runPastLocks(ctx, ref, r.inRepo(command{
		locks: []*lock{own}, args: []string{"update-ref", "--no-deref", "-m", "checkpoint", ref, commit},
	}))
	return err
}
