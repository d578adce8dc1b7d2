package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

const checkpointPrefix = "refs/town/checkpoints/"

// A temporary index is made under its branch's lock, left-overs are collected
// under the rig's: one this young may be in use.
const (
	indexPrefix = "index-"
	indexAge    = time.Hour
)

// emptyTree is git's id of a tree without entries, known to it without an object.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// Checkpoint saves the worktree of a branch as it is, untracked files included,
// ignored ones not, as a commit on top of its HEAD, at
// refs/town/checkpoints/<agentID>. Branch, index and files stay untouched. When
// everything is in commits it does nothing and says so. It returns ErrNotFound
// for a worktree that is not there.
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
	cp, err := r.checkpoint(ctx, own, branch, checkpointRef(agentID), r.owner(branch, o))
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

func (r *rig) checkpoint(ctx context.Context, own *lock, branch, ref string, o Owner) (Checkpoint, error) {
	changed, untracked, err := r.unsaved(ctx, own, branch, o)
	if err != nil {
		return Checkpoint{}, err
	}
	if changed+untracked == 0 {
		return Checkpoint{Clean: true}, nil
	}
	head, err := r.head(branch)
	if err != nil {
		return Checkpoint{}, err
	}
	index, discard, err := r.tempIndex(branch, o)
	if err != nil {
		return Checkpoint{}, err
	}
	defer discard()
	git := func(args ...string) (string, error) {
		f, err := r.readFacts(branch)
		if err != nil {
			return "", err
		}
		c := r.inWorktree(branch, o, command{locks: []*lock{own}, args: args})
		c.env = append(append(c.env, "GIT_INDEX_FILE="+index), identityEnv(f.Name, f.Email)...)
		out, err := r.m.run(ctx, c)
		return strings.TrimSpace(string(out)), err
	}
	all, err := r.exceptGitlinks(ctx, own, branch, o)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := r.addAll(git, all); err != nil {
		return Checkpoint{}, err
	}
	tree, err := git("write-tree")
	if err != nil {
		return Checkpoint{}, err
	}
	return r.saveTree(ctx, own, git, ref, head, tree)
}

// addAll takes every file into the temporary index. A file that cannot be read
// must not cost the others: git goes on past it and says 1.
func (r *rig) addAll(git func(...string) (string, error), all []string) error {
	_, err := git(append([]string{"add", "--all", "--ignore-errors", "--"}, all...)...)
	if e, ok := errors.AsType[*runError](err); ok && e.exit == 1 && e.kind == nil {
		r.log.Warn("checkpoint without some files", "err", err)
		return nil
	}
	return err
}

// saveTree commits tree on top of head and points ref at it, unless the last
// checkpoint holds the same.
func (r *rig) saveTree(ctx context.Context, own *lock, git func(...string) (string, error), ref, head, tree string) (Checkpoint, error) {
	at := emptyTree
	if head != "" {
		var err error
		if at, err = git("rev-parse", "--verify", head+"^{tree}"); err != nil {
			return Checkpoint{}, err
		}
	}
	if tree == at {
		return Checkpoint{Clean: true}, nil
	}
	args := []string{"commit-tree", "-m", "checkpoint: work that was in no commit", tree}
	if head != "" {
		args = append(args, "-p", head)
	}
	if last, ok, err := r.ref(ref); err == nil && ok && r.isCheckpointOf(last, head, tree) {
		return Checkpoint{Ref: ref, Commit: last}, nil
	}
	commit, err := git(args...)
	if err != nil {
		return Checkpoint{}, err
	}
	_, err = r.runPastLocks(ctx, ref, r.inRepo(command{
		locks: []*lock{own},
		args:  []string{"update-ref", "--no-deref", "-m", "checkpoint", ref, commit},
	}))
	return Checkpoint{Ref: ref, Commit: commit}, err
}

// tempIndex copies the index of a worktree to where its owner can write it.
func (r *rig) tempIndex(branch string, o Owner) (path string, discard func(), err error) {
	dir, err := os.MkdirTemp(filepath.Join(r.dir, "tmp"), indexPrefix)
	if err != nil {
		return "", nil, err
	}
	discard = func() {
		if err := os.RemoveAll(dir); err != nil {
			r.log.Warn("remove temporary index", "path", dir, "err", err)
		}
	}
	path = filepath.Join(dir, "index")
	if err := errors.Join(copyIndex(r.admin(branch), path, o), r.give(dir, o)); err != nil {
		discard()
		return "", nil, err
	}
	return path, discard, nil
}

// copyIndex copies admin/index, which is the agent's: only a plain file of its own
// is read, and never through a link.
func copyIndex(admin, to string, o Owner) error {
	d, err := openDir(admin)
	if err != nil {
		return err
	}
	defer d.Close()
	fd, err := unix.Openat(int(d.Fd()), "index", unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // no commit and nothing added yet
	}
	if err != nil {
		return fmt.Errorf("open index: %w", err)
	}
	src := os.NewFile(uintptr(fd), "index")
	defer src.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 || (o.UID != 0 && st.Uid != o.UID) {
		return fmt.Errorf("index: is not a file that git wrote: %w", fs.ErrInvalid)
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if o.UID != 0 {
		err = errors.Join(err, dst.Chown(int(o.UID), int(o.GID)))
	}
	return errors.Join(err, dst.Close())
}
