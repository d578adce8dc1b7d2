package gitmgr

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"townd/town"
)

// Policy says what a Sweep may collect.
type Policy struct {
	// Keep says whether a branch belongs to an agent that is known: nothing of it is
	// collected then. It is asked again when the branch is held, so an agent must be
	// known before its Worktree is asked for. It must not call the Manager. Required.
	Keep func(rigID, branch string) bool

	OlderThan    time.Duration // what was not used for this long is collected; 0 for none by age
	MinFreeBytes int64         // with less left on the disk of Home the pools go, then worktrees, oldest first
	QuotaBytes   int64         // of one rig whose settings have no other, likewise; 0 for none

	// A forgotten agent's checkpoint that holds work is deleted, here and on the remote,
	// after this long; 0 for never. One that holds nothing which the remote's branches
	// do not have goes after OlderThan.
	CheckpointsOlderThan time.Duration
}

// Swept is what a Sweep did, and what there is after it.
type Swept struct {
	Removed     []Removed // worktrees
	Unsaved     int       // worktrees that would have gone but hold what cannot be saved
	Branches    int       // deleted here; the remote has all their commits
	Checkpoints int       // deleted
	LFS         int       // files of Git LFS deleted, of the rigs' own store
	Locks       int       // left by dead git processes
	Packed      int       // loose objects that are in a pack now
	FreeBytes   int64     // on the disk of Home
	Rigs        []RigUsage
}

// Removed is a worktree that was collected.
type Removed struct {
	RigID, Branch string
	Checkpoint    string // ref that holds what was in no commit, "" when all was
	Bytes         int64
}

const (
	staleAge  = 10 * time.Minute // of a lock file, and of a worktree that goes for want of space: nobody is at it
	busyGrace = 20 * time.Millisecond
)

// Sweep collects what agents that are forgotten have left: worktrees and branches by
// age and for want of space, their checkpoints, files of Git LFS that nobody needs,
// locks of dead git processes, and packs loose objects. Work is never lost by it: what is in no commit is saved in a
// checkpoint first, a worktree with something that no checkpoint holds (secrets, giants,
// unreadable files, repositories inside it, a rebase half done) stays, and so does a
// branch with commits that the remote lacks. A branch that is in use is passed over.
//
// It walks all files, so once in some minutes is often. An error of one rig does not
// stop the others; all are returned together, with what was done.
func (m *Manager) Sweep(ctx context.Context, p Policy) (Swept, error) {
	if p.Keep == nil {
		return Swept{}, fmt.Errorf("sweep: needs to be told what to keep: %w", town.ErrInvalid)
	}
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return Swept{}, err
	}
	defer done()
	start := time.Now()
	s := &sweeping{m: m, p: p, start: start}
	err = s.run(ctx)
	m.observe("sweep", start, err)
	if err != nil {
		err = fmt.Errorf("sweep: %w", spaceKind(err))
	}
	return s.swept, err
}

// sweeping is one Sweep on its way.
type sweeping struct {
	m     *Manager
	p     Policy
	start time.Time
	rigs  []*rig
	swept Swept
}

func (s *sweeping) run(ctx context.Context) (err error) {
	if s.rigs, err = s.m.cloned(); err != nil {
		return err
	}
	var errs []error
	for _, r := range s.rigs {
		errs = append(errs, s.tidy(ctx, r))
	}
	errs = append(errs, s.makeRoom(ctx))
	for _, r := range s.rigs {
		if ctx.Err() != nil {
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
		u, err := r.usage()
		quota := s.quota(r)
		u.OverQuota = quota > 0 && u.Total() > quota
		s.swept.Rigs = append(s.swept.Rigs, u)
		errs = append(errs, err)
	}
	s.swept.FreeBytes, err = s.m.freeBytes()
	return errors.Join(append(errs, err)...)
}

// cloned returns the rigs that have a clone here, used in this process or not.
func (m *Manager) cloned() (all []*rig, err error) {
	entries, err := os.ReadDir(m.c.Home)
	for _, e := range entries {
		if town.CheckID(e.Name()) != nil {
			continue
		}
		if r, err := m.existing(e.Name()); err == nil {
			all = append(all, r)
		}
	}
	return all, err
}

// tidy does what is due in one rig whatever room there is.
func (s *sweeping) tidy(ctx context.Context, r *rig) error {
	if err := s.clearLeft(ctx, r); err != nil {
		return fmt.Errorf("rig %s: %w", r.id, err)
	}
	all, err := r.idle()
	errs := []error{err}
	for _, b := range all {
		if s.p.OlderThan > 0 && s.start.Sub(b.used) > s.p.OlderThan {
			_, err := s.drop(ctx, b)
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	errs = append(errs, s.dropCheckpoints(ctx, r), s.maintain(ctx, r))
	if s.p.OlderThan > 0 {
		_, err := s.pruneLFS(ctx, r, s.p.OlderThan)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("rig %s: %w", r.id, err)
	}
	return nil
}

// clearLeft takes away half-made things and locks of dead git processes.
func (s *sweeping) clearLeft(ctx context.Context, r *rig) error {
	_, release, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	err = r.collect("tmp")
	s.swept.Locks += r.sweepLocks(r.repo, "", staleAge, r.dir)
	release()
	branches, listErr := r.madeBranches()
	for _, branch := range branches {
		if _, release, ok := r.tryBranch(ctx, branch); ok {
			s.swept.Locks += r.sweepLocks(r.admin(branch), "", staleAge, r.admin(branch), r.path(branch))
			release()
		}
	}
	return errors.Join(err, listErr, r.emptyTrash(ctx))
}

// emptyTrash waits for what is being deleted and deletes what was left.
func (r *rig) emptyTrash(ctx context.Context) error {
	select {
	case r.m.deleting <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-r.m.deleting }()
	trash := filepath.Join(r.dir, "trash")
	left, err := os.ReadDir(trash)
	for _, e := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(trash, e.Name())))
	}
	return err
}

// idleBranch is a branch of ours and when it was used last.
type idleBranch struct {
	rig  *rig
	name string
	used time.Time
}

// madeBranches lists the branches that were made here for agents.
func (r *rig) madeBranches() (names []string, err error) {
	records, err := filepath.Glob(filepath.Join(r.dir, "branches", "*.json"))
	for _, record := range records {
		var f facts
		b, err := os.ReadFile(record)
		if err == nil && json.Unmarshal(b, &f) == nil && CheckBranch(f.Branch) == nil && r.factsPath(f.Branch) == record {
			names = append(names, f.Branch)
		}
	}
	return names, err
}

// idle lists the branches that were made here, the one longest unused first.
func (r *rig) idle() ([]idleBranch, error) {
	names, err := r.madeBranches()
	all := make([]idleBranch, 0, len(names))
	for _, name := range names {
		all = append(all, idleBranch{r, name, r.lastUsed(name)})
	}
	slices.SortFunc(all, func(a, b idleBranch) int { return a.used.Compare(b.used) })
	return all, err
}

// lastUsed returns when git or somebody at the top of a worktree changed something.
func (r *rig) lastUsed(branch string) (used time.Time) {
	admin := r.admin(branch)
	for _, path := range []string{
		r.factsPath(branch), filepath.Join(r.repo, headsPrefix+branch), filepath.Join(r.repo, "logs", headsPrefix+branch),
		r.path(branch), filepath.Join(admin, headName), filepath.Join(admin, "index"), filepath.Join(admin, "logs", headName),
	} {
		if fi, err := os.Lstat(path); err == nil && fi.ModTime().After(used) {
			used = fi.ModTime()
		}
	}
	return used
}

// tryBranch is acquireBranch for what can wait until another time.
func (r *rig) tryBranch(ctx context.Context, branch string) (*lock, func(), bool) {
	soon, cancel := context.WithTimeout(ctx, busyGrace)
	defer cancel()
	own, release, err := r.acquireBranch(soon, branch)
	return own, release, err == nil
}

// drop gives up the worktree of a branch and the branch, as far as nothing is lost,
// and returns how many bytes that frees.
func (s *sweeping) drop(ctx context.Context, b idleBranch) (int64, error) {
	r := b.rig
	own, release, ok := r.tryBranch(ctx, b.name)
	if !ok || s.p.Keep(r.id, b.name) || r.lastUsed(b.name).After(b.used) {
		if ok {
			release()
		}
		return 0, nil
	}
	defer release()
	var freed int64
	if isDir(r.admin(b.name)) {
		ref, why, err := r.saveAll(ctx, own, b.name)
		if why != "" {
			s.swept.Unsaved++
			r.log.Warn("worktree of an ended agent not collected", "branch", b.name, "why", why)
		}
		if err != nil || why != "" {
			return 0, err
		}
		freed = diskBytes(r.path(b.name))
		if err := r.remove(ctx, own, b.name, true); err != nil {
			return 0, err
		}
		r.log.Info("worktree of an ended agent collected", "branch", b.name, "checkpoint", ref, "unused", s.start.Sub(b.used).Round(time.Second))
		s.swept.Removed = append(s.swept.Removed, Removed{RigID: r.id, Branch: b.name, Checkpoint: ref, Bytes: freed})
	}
	gone, err := r.dropBranch(ctx, own, b.name)
	if gone {
		s.swept.Branches++
	}
	return freed, err
}

// saveAll brings what only a worktree holds into a checkpoint and returns its ref, or
// says why that cannot be done.
func (r *rig) saveAll(ctx context.Context, own *lock, branch string) (ref, why string, err error) {
	for _, name := range []string{"rebase-merge", "rebase-apply"} {
		if isDir(filepath.Join(r.admin(branch), name)) {
			return "", "a rebase is half done", nil
		}
	}
	if !isDir(r.path(branch)) {
		return "", "", nil
	}
	o := r.ownerOf(branch)
	if why, err = r.innerWork(ctx, own, branch, o); err != nil || why != "" {
		return "", why, err
	}
	agent, err := r.agentOf(ctx, branch)
	if err != nil {
		return "", "", err
	}
	cp, err := r.checkpoint(ctx, own, branch, agent, o)
	switch {
	case err != nil:
		return "", "", err
	case cp.LeftOutCount > 0:
		return "", fmt.Sprintf("%d changed files are in no checkpoint: %s %s", cp.LeftOutCount, cp.LeftOut[0].Path, cp.LeftOut[0].Why), nil
	case cp.Unread:
		return "", "some changed files cannot be read", nil
	case !cp.Clean:
		return cp.Ref, "", nil
	}
	return r.saveDetached(ctx, own, branch, agent)
}

// saveDetached keeps the commit that a clean worktree is on if no branch does.
func (r *rig) saveDetached(ctx context.Context, own *lock, branch, agent string) (ref, why string, err error) {
	head, err := r.head(branch)
	text, readErr := readOwned(r.admin(branch), headName)
	if err != nil || readErr != nil || head == "" || strings.HasPrefix(text, "ref: ") {
		return "", "", errors.Join(err, readErr)
	}
	if unknown, err := r.isUnknownThere(ctx, own, head); err != nil || !unknown {
		return "", "", err
	}
	_, err = r.saveClean(ctx, own, branch, agent, head)
	return checkpointRef(agent), "", err
}

// innerWork says why a worktree holds repositories of its own, which no checkpoint does.
func (r *rig) innerWork(ctx context.Context, own *lock, branch string, o Owner) (why string, err error) {
	whys, err := r.modulesWork(ctx, own, branch, o)
	if err != nil || len(whys) > 0 {
		return strings.Join(whys, "; "), err
	}
	err = r.changes(ctx, own, branch, o, func(c change) {
		if strings.HasSuffix(c.path, "/") {
			why = "a repository is inside it: " + c.path
		}
	})
	return why, err
}

// agentOf returns the agent whose last checkpoint is of a branch, or a name that
// stands for one.
func (r *rig) agentOf(ctx context.Context, branch string) (string, error) {
	states, err := r.savedStates(ctx)
	for _, s := range states {
		if s.Branch == branch {
			return s.AgentID, nil
		}
	}
	return forgotten(branch), err
}

// forgotten stands for the agent of a branch that is not known: Sweep saves its work
// under this name, and Restore finds it there.
func forgotten(branch string) string {
	sum := sha256.Sum256([]byte(branch))
	return "forgotten-" + hex.EncodeToString(sum[:8])
}

// dropBranch deletes a branch whose commits are all on the remote, and with it, or when
// it is gone, what is remembered of it. One with more stays: a start goes on from it.
func (r *rig) dropBranch(ctx context.Context, own *lock, branch string) (bool, error) {
	if r.checkFree(branch) != nil {
		return false, nil // an agent has switched to it
	}
	at, ok, err := r.ref(headsPrefix + branch)
	if err != nil {
		return false, err
	}
	if !ok {
		return false, os.Remove(r.factsPath(branch))
	}
	if unknown, err := r.isUnknownThere(ctx, own, at); err != nil || unknown {
		return false, err
	}
	l, release, err := r.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	_, err = r.runPastLocks(ctx, "", r.inRepo(command{
		locks: []*lock{l}, args: []string{"update-ref", "--no-deref", "-d", headsPrefix + branch, at},
	}))
	if err != nil {
		return false, err
	}
	return true, os.Remove(r.factsPath(branch))
}

// makeRoom collects beyond what age asks for while a rig is over its quota or the
// disk short: the pool first, which costs only time, then what is longest unused.
func (s *sweeping) makeRoom(ctx context.Context) error {
	var errs []error
	for _, r := range s.rigs {
		quota := s.quota(r)
		if quota <= 0 {
			continue
		}
		u, err := r.usage()
		errs = append(errs, err)
		over := u.Total() - quota
		errs = append(errs, s.shrink(ctx, []*rig{r}, func() (bool, error) { return over > 0, nil }, func(freed int64) { over -= freed }))
	}
	short := func() (bool, error) {
		free, err := s.m.freeBytes()
		return free < s.p.MinFreeBytes, err
	}
	errs = append(errs, s.shrink(ctx, s.rigs, short, func(int64) {}))
	return errors.Join(errs...)
}

// quota returns how many bytes a rig may take, 0 for any number.
func (s *sweeping) quota(r *rig) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return cmp.Or(r.settings.QuotaBytes, s.p.QuotaBytes)
}

// shrink collects from rigs as long as more is needed, and tells freed of each step.
func (s *sweeping) shrink(ctx context.Context, rigs []*rig, more func() (bool, error), freed func(int64)) error {
	var all []idleBranch
	var errs []error
	step := func(r *rig, drop func() (int64, error)) bool {
		need, err := more()
		if err != nil || !need || ctx.Err() != nil {
			errs = append(errs, err, context.Cause(ctx))
			return false
		}
		n, err := drop()
		freed(n)
		errs = append(errs, err)
		if n > 0 {
			errs = append(errs, r.emptyTrash(ctx))
		}
		return true
	}
	for _, r := range rigs {
		if !step(r, func() (int64, error) { return r.dropPool(ctx) }) || !step(r, func() (int64, error) { return s.pruneLFS(ctx, r, lfsGrace) }) {
			return errors.Join(errs...)
		}
		idle, err := r.idle()
		all, errs = append(all, idle...), append(errs, err)
	}
	slices.SortFunc(all, func(a, b idleBranch) int { return a.used.Compare(b.used) })
	for _, b := range all {
		if s.start.Sub(b.used) < staleAge || !isDir(b.rig.admin(b.name)) {
			continue
		}
		if !step(b.rig, func() (int64, error) { return s.drop(ctx, b) }) {
			break
		}
	}
	return errors.Join(errs...)
}

// dropPool gives up the worktrees that wait in the pool, and the one for gates.
func (r *rig) dropPool(ctx context.Context) (freed int64, err error) {
	slots, err := filepath.Glob(filepath.Join(r.repo, "worktrees", branchID(poolPrefix)+"*"))
	for i := range slots {
		slots[i] = unescape(filepath.Base(slots[i]))
	}
	for _, slot := range append(slots, gateBranch) {
		_, release, ok := r.tryBranch(ctx, slot)
		if !ok {
			continue
		}
		freed += diskBytes(r.path(slot))
		err = errors.Join(err, r.dropTree(slot))
		release()
	}
	return freed, err
}
