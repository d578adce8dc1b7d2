package gitmgr

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"townd/town"
)

// pushedPrefix holds, for each agent, what of its checkpoints the remote has.
const pushedPrefix = "refs/town/pushed/"

// fetchedPrefix holds, for each agent that was restored, what the remote had.
const fetchedPrefix = "refs/town/fetched/"

// SavedState is a checkpoint as it is found again.
type SavedState struct {
	AgentID string
	Branch  string
	Commit  string
	Parent  string // commit that the worktree was on, "" for none
	Base    string // that its branch started from, "" when not known
	When    time.Time
	Work    bool // holds work that was in no commit
}

// PushCheckpoint brings what an agent's last Checkpoint saved to the remote, at the
// same ref, with the commits of its branch that the remote lacks; also when the
// worktree was clean. It reports false when there was nothing that the remote does
// not have. It returns an error of the kinds of a remote that failed.
func (m *Manager) PushCheckpoint(ctx context.Context, rigID, branch, agentID string) (pushed bool, err error) {
	if err := town.CheckID(agentID); err != nil {
		return false, fmt.Errorf("agent id %q: %w", agentID, err)
	}
	err = m.onBranch(ctx, rigID, branch, "push checkpoint", func(ctx context.Context, r *rig, own *lock) (err error) {
		pushed, err = r.pushCheckpoint(ctx, own, branch, agentID)
		return err
	})
	return pushed, err
}

func (r *rig) pushCheckpoint(ctx context.Context, own *lock, branch, agentID string) (bool, error) {
	ref := checkpointRef(agentID)
	had := pushedPrefix + strings.TrimPrefix(ref, checkpointPrefix)
	at, ok, err := r.ref(ref)
	if err != nil {
		return false, err
	}
	if !ok {
		head, ok, err := r.ref(headsPrefix + branch)
		if err != nil || !ok {
			return false, err
		}
		if unknown, err := r.isUnknownThere(ctx, own, head); err != nil || !unknown {
			return false, err
		}
		if at, err = r.saveClean(ctx, own, branch, agentID, head); err != nil {
			return false, err
		}
	}
	if last, ok, err := r.ref(had); err != nil || ok && last == at {
		return false, err
	}
	url, err := r.remoteURL()
	if err != nil {
		return false, err
	}
	_, err = r.m.run(ctx, r.inRepo(command{
		locks: []*lock{own}, remote: true, retries: remoteRetries,
		args: []string{"push", "--porcelain", "--no-verify", "--", url, "+" + at + ":" + ref},
	}))
	if err != nil {
		return false, err
	}
	return true, r.pointAt(ctx, own, had, at)
}

// isUnknownThere reports whether no branch of the remote, as it was fetched last, has
// commit. With a pattern git would read all refs, also what agents put among theirs.
func (r *rig) isUnknownThere(ctx context.Context, own *lock, commit string) (bool, error) {
	out, err := r.m.run(ctx, r.inRepo(command{
		locks: []*lock{own}, args: []string{"rev-list", "--max-count=1", commit, "--not", "--remotes", "--"},
	}))
	return len(out) > 0, err
}

// Checkpoints lists what is saved in a rig here, newest first.
func (m *Manager) Checkpoints(rigID string) ([]SavedState, error) {
	r, err := m.existing(rigID)
	if err != nil {
		return nil, err
	}
	ctx, done, err := m.begin(context.Background())
	if err != nil {
		return nil, err
	}
	defer done()
	return r.savedStates(ctx)
}

func (r *rig) savedStates(ctx context.Context) (all []SavedState, err error) {
	var errs []error
	err = r.listRefs(ctx, nil, checkpointPrefix, func(ref, hash string) {
		if s, err := r.savedState(ref, hash); err == nil {
			all = append(all, s)
		} else {
			errs = append(errs, err)
		}
	})
	err = errors.Join(append(errs, err)...)
	slices.SortFunc(all, func(a, b SavedState) int { return b.When.Compare(a.When) })
	return all, err
}

// savedState reads a checkpoint's commit.
func (r *rig) savedState(ref, hash string) (SavedState, error) {
	st := r.store("")
	c, err := object.GetCommit(st, plumbing.NewHash(hash))
	if err != nil {
		return SavedState{}, fmt.Errorf("checkpoint %s: %w", hash, err)
	}
	agent := strings.TrimPrefix(ref, checkpointPrefix)
	if short, ok := strings.CutSuffix(agent, "%lock"); ok {
		agent = short + ".lock"
	}
	s := SavedState{AgentID: agent, Commit: hash, When: c.Committer.When, Work: true}
	if !strings.HasPrefix(c.Message, checkpointSubject+"\n") || len(c.ParentHashes) > 1 {
		return SavedState{}, fmt.Errorf("%s: is not a checkpoint of a town: %w", ref, town.ErrConflict)
	}
	if len(c.ParentHashes) == 1 {
		s.Parent = c.ParentHashes[0].String()
		parent, err := object.GetCommit(st, c.ParentHashes[0])
		if err != nil {
			return SavedState{}, fmt.Errorf("checkpoint %s: %w", hash, err)
		}
		s.Work = parent.TreeHash != c.TreeHash
	}
	for line := range strings.Lines(c.Message) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, branchTrailer); ok && CheckBranch(v) == nil {
			s.Branch = v
		}
		if v, ok := strings.CutPrefix(line, baseTrailer); ok && commitPattern.MatchString(v) {
			s.Base = v
		}
	}
	return s, nil
}

// Restored is what came of a Restore.
type Restored struct {
	Worktree
	State   SavedState // zero when nothing was saved
	Applied bool       // the work of State is in the worktree, in no commit, as it was
	Why     string     // it is not, for people
}

// Restore is Worktree for an agent that goes on: the branch continues from the
// commit that its last checkpoint was made on, and the work that was in no commit
// is in the worktree again, changed and untracked files as such. The checkpoint is
// the newest of the one here and the one on the remote. A worktree that holds work
// is left as it is, and so is a branch that has moved on from the checkpoint.
func (m *Manager) Restore(ctx context.Context, s Spec, agentID string) (Restored, error) {
	if err := errors.Join(town.CheckID(agentID), m.checkSpec(s)); err != nil {
		return Restored{}, fmt.Errorf("restore agent %q: %w", agentID, err)
	}
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return Restored{}, err
	}
	defer done()
	r, err := m.rig(s.RigID)
	if err != nil {
		return Restored{}, err
	}
	start := time.Now()
	res, err := r.restore(ctx, s, agentID)
	m.observe("restore", start, err)
	if err != nil {
		return Restored{}, fmt.Errorf("restore agent %s in rig %s: %w", agentID, s.RigID, spaceKind(err))
	}
	return res, nil
}

func (r *rig) restore(ctx context.Context, s Spec, agentID string) (Restored, error) {
	state, err := r.newestState(ctx, s, agentID)
	if err != nil {
		return Restored{}, err
	}
	s.resume = state.Parent
	w, err := r.worktree(ctx, s)
	if err != nil {
		return Restored{}, err
	}
	res := Restored{Worktree: w, State: state}
	if !state.Work {
		return res, nil
	}
	own, release, err := r.acquireBranch(ctx, s.Branch)
	if err != nil {
		return res, err
	}
	defer release()
	if s.Owner.UID != 0 && s.Owner.GID == 0 {
		s.Owner.GID = w.GID
	}
	f, err := r.readFacts(s.Branch)
	if err != nil {
		return res, err
	}
	if res.Why, err = r.whyNotRestore(ctx, own, s, f, state); err != nil || res.Why != "" {
		return res, err
	}
	if state.Base != "" && w.Created {
		f.Base, res.Base = state.Base, state.Base
	}
	res.Applied = true
	return res, r.applyState(ctx, own, s, f, state)
}

// newestState finds an agent's checkpoint. A remote that cannot be asked does not
// keep an agent from what is here.
func (r *rig) newestState(ctx context.Context, s Spec, agentID string) (SavedState, error) {
	asked := time.Now()
	l, release, err := r.acquire(ctx)
	if err != nil {
		return SavedState{}, err
	}
	defer release()
	if err := r.ensure(ctx, l, s, asked); err != nil {
		return SavedState{}, err
	}
	ref := checkpointRef(agentID)
	there := fetchedPrefix + strings.TrimPrefix(ref, checkpointPrefix)
	_, err = r.runPastLocks(ctx, "", r.inRepo(command{
		locks: []*lock{l}, remote: true, timeout: fetchPatience,
		args: []string{"fetch", "--quiet", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules", "--no-tags", "origin", "+" + ref + ":" + there},
	}))
	e, ok := errors.AsType[*runError](err)
	if none := ok && strings.Contains(e.stderr, "couldn't find remote ref"); err != nil && !none {
		if ctx.Err() != nil {
			return SavedState{}, err
		}
		r.log.Warn("checkpoint not asked for at the remote", "agent", agentID, "err", err)
	}
	var newest SavedState
	swept := checkpointRef(forgotten(s.Branch))
	for _, name := range []string{swept, there, ref} { // the agent's own here wins a tie
		hash, ok, err := r.ref(name)
		if err != nil || !ok {
			continue
		}
		state, err := r.savedState(ref, hash)
		if err != nil {
			r.log.Warn("checkpoint not usable", "agent", agentID, "err", err)
			continue
		}
		if newest.Commit == "" || !state.When.Before(newest.When) {
			newest = state
		}
	}
	err = r.adopt(ctx, l, agentID, newest.Commit, there)
	if _, ok, refErr := r.ref(swept); err == nil && ok && newest.Commit != "" {
		// It has come back, or something newer: it is nobody's any more.
		_, err = r.runPastLocks(ctx, "", r.inRepo(command{locks: []*lock{l}, args: []string{"update-ref", "--no-deref", "-d", swept}}))
		err = errors.Join(err, refErr)
	}
	if err != nil || newest.Branch != s.Branch {
		return SavedState{}, err // nothing, or what it did on another branch before
	}
	return newest, nil
}

// adopt makes a checkpoint that was found the last one here and notes what the
// remote has: the next one replaces both, or the old one would come back.
func (r *rig) adopt(ctx context.Context, l *lock, agentID, commit, there string) error {
	ref := checkpointRef(agentID)
	if have, _, err := r.ref(ref); err != nil || commit == "" {
		return err
	} else if have != commit {
		if err := r.pointAt(ctx, l, ref, commit); err != nil {
			return err
		}
	}
	onRemote, ok, err := r.ref(there)
	if err != nil || !ok {
		return err
	}
	return r.pointAt(ctx, l, pushedPrefix+strings.TrimPrefix(ref, checkpointPrefix), onRemote)
}

// whyNotRestore says what speaks against putting a state's work into the worktree of
// its branch. One that was cut off in the middle of that is begun again.
func (r *rig) whyNotRestore(ctx context.Context, own *lock, s Spec, f facts, state SavedState) (string, error) {
	head, err := r.head(s.Branch)
	if err != nil || f.Restoring == state.Commit && head == state.Parent {
		return "", err
	}
	if head != state.Parent {
		return "the branch is not where the checkpoint was made", nil
	}
	changed, untracked, err := r.unsaved(ctx, own, s.Branch, s.Owner)
	if err == nil && changed+untracked > 0 {
		return fmt.Sprintf("the worktree holds %d changed and %d untracked files", changed, untracked), nil
	}
	return "", err
}

// applyState writes the files of a checkpoint into a clean worktree and sets the
// index back to HEAD. Until both are done the branch's facts say so.
func (r *rig) applyState(ctx context.Context, own *lock, s Spec, f facts, state SavedState) error {
	f.Restoring = state.Commit
	if err := r.writeFacts(f); err != nil {
		return err
	}
	back := []string{"read-tree", "--empty"}
	if state.Parent != "" {
		back = []string{"reset", "--quiet"}
	}
	steps := []command{{args: []string{"read-tree", "--reset", "-u", state.Commit}}, {args: back}}
	if isRegular(filepath.Join(r.admin(s.Branch), "info", sparseName)) {
		outside, err := r.changedFiles(ctx, own, cmp.Or(state.Parent, emptyTree), state.Commit)
		if err != nil {
			return err
		}
		// read-tree writes nothing beside the directories of a sparse checkout.
		steps = slices.Insert(steps, 1, command{args: []string{"checkout-index", "-z", "--stdin", "--force", "--quiet", "--ignore-skip-worktree-bits"}, stdin: outside})
	}
	for _, c := range steps {
		c.locks, c.timeout = []*lock{own}, r.m.c.CloneTimeout
		c = r.inWorktree(s.Branch, s.Owner, c)
		c.env = append(c.env, identityEnv(s.Name, s.Email)...)
		run := func() ([]byte, error) { return r.runPastLocks(ctx, headsPrefix+s.Branch, c) }
		if c.stdin != nil { // cannot be read twice
			run = func() ([]byte, error) { return r.m.run(ctx, c) }
		}
		if _, err := run(); err != nil {
			return err
		}
	}
	f.Restoring = ""
	return r.writeFacts(f)
}

// changedFiles returns the files that one commit has and another has not so, each
// with a NUL after it.
func (r *rig) changedFiles(ctx context.Context, own *lock, from, to string) (io.Reader, error) {
	out := &bytes.Buffer{}
	_, err := r.m.run(ctx, r.inRepo(command{
		locks: []*lock{own}, stdout: out, args: []string{"diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=d", from, to},
	}))
	return out, err
}
