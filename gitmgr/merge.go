package gitmgr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"townd/town"
)

// Strategy is how a branch gets into another.
type Strategy string

const (
	StrategyMerge  Strategy = "merge"  // a commit with both parents
	StrategySquash Strategy = "squash" // one commit on top of the target
	StrategyRebase Strategy = "rebase" // each commit again on top of the target, merges left out
)

// MergeRequest says what is to be merged into what. RigID and Branch are required.
type MergeRequest struct {
	RigID        string
	URL          string   // of the remote; not needed when the rig has a clone
	Branch       string   // what is merged
	Target       string   // the remote's default branch when empty
	Strategy     Strategy // StrategyMerge when empty
	Message      string   // of the commit; one is made when empty
	Name, Email  string   // who commits
	Author       Identity // of the merge, who commits when zero; else trailers name who committed what is merged
	DeleteBranch bool     // on the remote, once it is merged
	CreateTarget bool     // at the default branch, when the remote has no Target

	Publish bool   // for a pull request: what can be merged is not, the branch is pushed as it is
	Settled string // commit of the branch that needs no merge any more, nor what is before it: MergeNothing, "" for none

	Gates []Gate   // run in a checkout of the result before it is pushed
	Owner Owner    // whose that checkout is; required for gates when there is isolation
	Run   GateFunc // runs a gate; RunGate when nil
}

// MergeStatus is how a merge ended.
type MergeStatus string

const (
	MergeDone        MergeStatus = "merged"
	MergePublished   MergeStatus = "published"    // the remote has the branch; see MergeRequest.Publish
	MergeNothing     MergeStatus = "nothing"      // the target has it all already
	MergeConflict    MergeStatus = "conflict"     // see MergeResult.Conflicts
	MergeRace        MergeStatus = "race"         // the target kept moving
	MergeGatesFailed MergeStatus = "gates_failed" // see the last of MergeResult.Gates
	MergeAuth        MergeStatus = "auth"         // the remote does not let us: credential, rights or no such repository
	MergeNetwork     MergeStatus = "network"      // the remote is not reached; what it has is not known
)

// MergeResult is the answer to a MergeRequest.
type MergeResult struct {
	Status        MergeStatus
	Message       string // for people
	Target        string // the branch it went into
	Commit        string // what the target is at, when merged or nothing
	Head          string // commit of the branch that was looked at
	Base          string // commit of the target that was looked at
	Subject       string // first line of Head's message, when published
	Conflicts     []Conflict
	Truncated     bool // Conflicts leaves some out
	Gates         []GateResult
	Attempts      int
	BranchDeleted bool
}

const (
	mergeAttempts   = 5
	maxMessageBytes = 64 << 10
)

// gateBranch stands for the one checkout of a rig in which gates run, and for the
// turn of its merges: CheckBranch refuses it, so no agent has it.
const gateBranch = "-merge/gate"

// Merge merges a branch into another on the remote, without a checkout: it fetches,
// merges in memory, runs the gates in a clean worktree of the result, and pushes on
// the condition that the target is where it was. When the target moved meanwhile it
// begins again, a bounded number of times. Of a branch that is both here and on the
// remote the one that holds the other is taken; when neither does, the one here if
// it has a worktree here. Merges of one rig take turns.
//
// What stands in the way is told by MergeResult.Status. An error means that nothing
// can be said: ErrInvalid, ErrNotFound for a branch or target that is nowhere,
// ErrNoSpace, or the context's end. Asked again after any failure, also a crash, it
// goes on from what the remote has.
func (m *Manager) Merge(ctx context.Context, q MergeRequest) (MergeResult, error) {
	if err := m.checkMerge(&q); err != nil {
		return MergeResult{}, err
	}
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return MergeResult{}, err
	}
	defer done()
	start := time.Now()
	r, err := m.rig(q.RigID)
	if err != nil {
		return MergeResult{}, err
	}
	res, err := r.merge(ctx, q)
	m.observe("merge", start, err)
	if err != nil {
		return MergeResult{}, fmt.Errorf("merge %s in rig %s: %w", q.Branch, q.RigID, spaceKind(err))
	}
	return res, nil
}

func (m *Manager) checkMerge(q *MergeRequest) error {
	q.Strategy = cmp.Or(q.Strategy, StrategyMerge)
	if err := CheckBranch(q.Branch); err != nil {
		return fmt.Errorf("branch %q: %w", q.Branch, err)
	}
	if q.Target != "" {
		if err := CheckBranch(q.Target); err != nil {
			return fmt.Errorf("target %q: %w", q.Target, err)
		}
	}
	if q.URL != "" {
		if err := CheckURL(q.URL, m.c.Protocols); err != nil {
			return fmt.Errorf("git url: %w", err)
		}
	}
	switch {
	case q.Branch == q.Target:
		return fmt.Errorf("branch %q: is the target: %w", q.Branch, town.ErrInvalid)
	case !slices.Contains([]Strategy{StrategyMerge, StrategySquash, StrategyRebase}, q.Strategy):
		return fmt.Errorf("strategy %q: must be merge, squash or rebase: %w", q.Strategy, town.ErrInvalid)
	case len(q.Message) > maxMessageBytes || strings.ContainsRune(q.Message, 0):
		return fmt.Errorf("message: must be at most %d bytes without NUL: %w", maxMessageBytes, town.ErrInvalid)
	case len(q.Gates) > 0 && q.Owner.UID == 0 && m.c.GIDBase != 0:
		return fmt.Errorf("gates: need a user of their own to run as: %w", town.ErrInvalid)
	case q.Owner.UID != 0 && m.c.GIDBase == 0:
		return fmt.Errorf("gates of user %d: isolation is off: %w", q.Owner.UID, town.ErrInvalid)
	}
	return nil
}

// merging is one merge on its way.
type merging struct {
	*rig
	MergeRequest
	own    *lock // of gateBranch
	result MergeResult
	pushed []string // commits that may have reached the remote
}

func (r *rig) merge(ctx context.Context, q MergeRequest) (MergeResult, error) {
	own, release, err := r.acquireBranch(ctx, gateBranch)
	if err != nil {
		return MergeResult{}, err
	}
	defer release()
	g := &merging{rig: r, MergeRequest: q, own: own}
	for n := 1; ; n++ {
		g.result = MergeResult{Attempts: n, Target: g.Target}
		err := g.attempt(ctx)
		if cause := context.Cause(ctx); cause != nil && err != nil {
			return MergeResult{}, err
		}
		if status, known := mergeStatus(err); known {
			g.result.Status, g.result.Message = status, err.Error()
		} else if err != nil {
			return MergeResult{}, err
		}
		lost := g.result.Status == MergeRace || g.result.Status == MergeNetwork && len(g.pushed) > 0
		if !lost || n == mergeAttempts || !r.m.backOff(ctx, n) {
			return g.result, nil
		}
		r.log.Info("merging again", "branch", g.Branch, "status", g.result.Status)
	}
}

// mergeStatus turns what a remote failed at into an answer.
func mergeStatus(err error) (MergeStatus, bool) {
	switch {
	case errors.Is(err, ErrRace):
		return MergeRace, true
	case errors.Is(err, ErrAuth), errors.Is(err, ErrDenied), errors.Is(err, ErrRepository):
		return MergeAuth, true
	case errors.Is(err, town.ErrGit):
		return MergeNetwork, true
	}
	return "", false
}

// attempt is one way through from fetch to push.
func (g *merging) attempt(ctx context.Context) error {
	if err := g.locate(ctx); err != nil {
		return err
	}
	if g.isSettled(ctx) {
		g.result.Status, g.result.Commit = MergeNothing, g.result.Base
		if g.DeleteBranch {
			g.settle(ctx, g.result.Base)
		}
		return nil
	}
	commit, err := g.build(ctx)
	if err != nil || g.result.Status != "" {
		return err
	}
	if ok, err := g.runGates(ctx, commit); err != nil || !ok {
		return err
	}
	if g.Publish {
		return g.publish(ctx)
	}
	g.pushed = append(g.pushed, commit)
	if err := g.push(ctx, commit); err != nil {
		return err
	}
	g.result.Status, g.result.Commit = MergeDone, commit
	g.result.Message = fmt.Sprintf("merged %s into %s", g.Branch, g.Target)
	g.settle(ctx, commit)
	return nil
}

// isSettled reports whether the branch has nothing beyond Settled, a commit that may
// never have been here.
func (g *merging) isSettled(ctx context.Context) bool {
	if g.Settled == "" || g.Settled == g.result.Head {
		return g.Settled != ""
	}
	in, err := g.isAncestor(ctx, g.result.Head, g.Settled)
	return err == nil && in
}

// locate fetches and finds where target and branch stand.
func (g *merging) locate(ctx context.Context) error {
	asked := time.Now()
	l, release, err := g.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	if g.URL == "" && !isDir(g.repo) {
		return fmt.Errorf("it has no clone here: %w", town.ErrNotFound)
	}
	if g.URL == "" {
		if g.URL, err = g.remoteURL(); err != nil {
			return err
		}
	}
	if err := g.ensure(ctx, l, Spec{URL: g.URL}, asked); err != nil {
		return err
	}
	if err := g.fetchSince(ctx, l, asked); err != nil {
		return err
	}
	if g.Target == "" {
		if g.Target, err = g.remoteDefault(); err != nil {
			return err
		}
	}
	g.result.Target = g.Target
	if g.Branch == g.Target {
		return fmt.Errorf("branch %q: is the target: %w", g.Branch, town.ErrInvalid)
	}
	base, ok, err := g.ref(remotePrefix + g.Target)
	if err == nil && !ok {
		base, err = g.createTarget(ctx, l)
	}
	if err != nil {
		return err
	}
	g.result.Base = base
	if g.result.Head, err = g.tip(ctx); err == nil {
		_, err = g.commonBase(ctx, l, base, g.result.Head) // deepens a shallow clone while the rig is held
	}
	return err
}

// createTarget makes the target on the remote, where the default branch is, and
// returns its commit. Somebody who makes it meanwhile is a race.
func (g *merging) createTarget(ctx context.Context, l *lock) (string, error) {
	missing := fmt.Errorf("target %q: the remote has no such branch: %w", g.Target, town.ErrNotFound)
	if !g.CreateTarget {
		return "", missing
	}
	name, err := g.remoteDefault()
	if err != nil {
		return "", err
	}
	base, ok, err := g.ref(remotePrefix + name)
	if err != nil || !ok {
		return "", cmp.Or(err, missing)
	}
	ref := headsPrefix + g.Target
	_, err = g.m.run(ctx, g.inRepo(command{
		observe: "push", locks: []*lock{g.own, l}, remote: true,
		args: []string{"push", "--porcelain", "--no-verify", "--force-with-lease=" + ref + ":", "--", g.URL, base + ":" + ref},
	}))
	if err != nil {
		return "", err
	}
	_, err = g.runPastLocks(ctx, "", g.inRepo(command{
		locks: []*lock{l}, args: []string{"update-ref", "--no-deref", "-m", "create", remotePrefix + g.Target, base},
	}))
	return base, err
}

// tip returns the commit of the branch that is to be merged.
func (g *merging) tip(ctx context.Context) (string, error) {
	here, isHere, err := g.ref(headsPrefix + g.Branch)
	if err != nil {
		return "", err
	}
	there, isThere, err := g.ref(remotePrefix + g.Branch)
	switch {
	case err != nil:
		return "", err
	case !isHere && !isThere:
		return "", fmt.Errorf("branch %q: is neither here nor on the remote: %w", g.Branch, town.ErrNotFound)
	case !isThere || here == there:
		return here, nil
	case !isHere:
		return there, nil
	}
	if newer, err := g.isAncestor(ctx, here, there); err != nil || newer {
		return there, err
	}
	if newer, err := g.isAncestor(ctx, there, here); err != nil || newer || isDir(g.admin(g.Branch)) {
		return here, err
	}
	return there, nil
}

// push moves the target on the remote from where it was looked at to commit. The
// remote is named by its URL, so that git writes no ref here: the rig is not held.
func (g *merging) push(ctx context.Context, commit string) error {
	ref := headsPrefix + g.Target
	_, err := g.m.run(ctx, g.inRepo(command{
		observe: "push", locks: []*lock{g.own}, remote: true,
		args: []string{"push", "--porcelain", "--no-verify", "--force-with-lease=" + ref + ":" + g.result.Base, "--", g.URL, commit + ":" + ref},
	}))
	return err
}

// publish brings the branch to the remote, unless somebody has moved it there since it
// was looked at.
func (g *merging) publish(ctx context.Context) error {
	at, _, err := g.ref(remotePrefix + g.Branch)
	if err != nil {
		return err
	}
	if g.result.Subject, err = g.local(ctx, command{args: []string{"log", "-1", "--format=%s", g.result.Head, "--"}}); err != nil {
		return err
	}
	if at != g.result.Head {
		ref := headsPrefix + g.Branch
		_, err = g.m.run(ctx, g.inRepo(command{
			observe: "push", locks: []*lock{g.own}, remote: true,
			args: []string{"push", "--porcelain", "--no-verify", "--force-with-lease=" + ref + ":" + at, "--", g.URL, g.result.Head + ":" + ref},
		}))
	}
	if err == nil {
		g.result.Status, g.result.Message = MergePublished, fmt.Sprintf("pushed %s for %s", g.Branch, g.Target)
	}
	return err
}

// settle does what follows a push that succeeded. It is owed whether or not the
// caller still waits, and nothing of it undoes the merge: the next fetch repairs.
func (g *merging) settle(ctx context.Context, commit string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.m.c.Timeout)
	defer cancel()
	if g.DeleteBranch {
		if err := g.deleteBranch(ctx); err != nil {
			g.log.Warn("merged branch not deleted", "branch", g.Branch, "err", err)
		}
	}
	l, release, err := g.acquire(ctx)
	if err != nil {
		g.log.Warn("merge not recorded here", "branch", g.Branch, "err", err)
		return
	}
	defer release()
	if at, _, _ := g.ref(remotePrefix + g.Target); at == g.result.Base { // else a fetch was here meanwhile
		_, err = g.runPastLocks(ctx, "", g.inRepo(command{
			locks: []*lock{l}, args: []string{"update-ref", "--no-deref", "-m", "merge", remotePrefix + g.Target, commit},
		}))
	}
	if err = errors.Join(err, g.syncDefault(ctx, l)); err != nil {
		g.log.Warn("merge not recorded here", "branch", g.Branch, "err", err)
	}
	if g.result.BranchDeleted {
		_, err := g.runPastLocks(ctx, "", g.inRepo(command{
			locks: []*lock{l}, args: []string{"update-ref", "--no-deref", "-d", remotePrefix + g.Branch},
		}))
		if err != nil {
			g.log.Warn("deleted branch still known here", "branch", g.Branch, "err", err)
		}
	}
}

// deleteBranch deletes the merged branch on the remote unless somebody has moved it.
func (g *merging) deleteBranch(ctx context.Context) error {
	at, ok, err := g.ref(remotePrefix + g.Branch)
	if err != nil || !ok {
		return err
	}
	if in, err := g.isAncestor(ctx, at, g.result.Head); err != nil || !in {
		return err
	}
	ref := headsPrefix + g.Branch
	_, err = g.m.run(ctx, g.inRepo(command{
		locks: []*lock{g.own}, remote: true,
		args: []string{"push", "--porcelain", "--no-verify", "--force-with-lease=" + ref + ":" + at, "--", g.URL, ":" + ref},
	}))
	g.result.BranchDeleted = err == nil
	return err
}

// isAncestor reports whether a is b or before it.
func (g *merging) isAncestor(ctx context.Context, a, b string) (bool, error) {
	return g.rig.isAncestor(ctx, g.own, a, b)
}

func (r *rig) isAncestor(ctx context.Context, l *lock, a, b string) (bool, error) {
	_, err := r.m.run(ctx, r.inRepo(command{locks: []*lock{l}, args: []string{"merge-base", "--is-ancestor", a, b}}))
	if e, ok := errors.AsType[*runError](err); ok && e.exit == 1 {
		return false, nil
	}
	return err == nil, err
}
