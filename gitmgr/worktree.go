package gitmgr

import (
	"cmp"
	"context"
	"encoding/json"
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

// facts are what is remembered of a branch beside git, in branches/<id>.json.
type facts struct {
	Branch string `json:"branch"`
	Base   string `json:"base"`             // commit it started from, noBase for none, "" while unknown
	Making bool   `json:"making,omitempty"` // its worktree was never handed to anybody yet
	Name   string `json:"name,omitempty"`
	Email  string `json:"email,omitempty"`

	Start     string `json:"start,omitempty"`     // while Making: commit that it is to be checked out at
	Restoring string `json:"restoring,omitempty"` // checkpoint whose files are being written

	Modules []module `json:"modules,omitempty"` // submodules that its worktree was given
}

// noBase is the base of a branch that began in a repository without commits.
const noBase = "none"

// plan is how a worktree that is not there is to be made.
type plan struct {
	commit string // what is checked out; "" in a repository without commits
	isNew  bool   // the branch is to be made at commit, or moved there
	ready  bool   // its files are there, from the pool
}

func (r *rig) worktree(ctx context.Context, s Spec) (Worktree, error) {
	entered := time.Now()
	own, releaseBranch, err := r.acquireBranch(ctx, s.Branch)
	if err != nil {
		return Worktree{}, err
	}
	defer releaseBranch()
	r.freeBranch(s.Branch)

	w := Worktree{Dir: r.path(s.Branch), Branch: s.Branch}
	if r.m.c.GIDBase != 0 {
		if w.GID, err = r.m.RigGroup(r.id); err != nil {
			return Worktree{}, err
		}
		if s.Owner.UID != 0 && s.Owner.GID == 0 {
			s.Owner.GID = w.GID
		}
	}
	p, err := r.prepare(ctx, own, s, &w, entered)
	if err != nil || !w.Created {
		return w, err
	}
	var modules []module
	if err = r.populate(ctx, own, s, p); err == nil {
		modules, err = r.fillModules(ctx, own, s, p.commit)
	}
	if err != nil {
		err = errors.Join(err, r.discard(r.admin(s.Branch)), r.discard(w.Dir))
		if p.isNew { // else the next try would begin where this one failed
			_, dropErr := r.dropBranch(ctx, own, s.Branch)
			err = errors.Join(err, dropErr)
		}
		return w, err
	}
	return w, r.writeFacts(facts{Branch: s.Branch, Base: cmp.Or(w.Base, noBase), Name: s.Name, Email: s.Email, Modules: modules})
}

// prepare does, with the rig held, what concerns the repository: clone, fetch,
// find out where the branch stands, and make its empty worktree.
func (r *rig) prepare(ctx context.Context, own *lock, s Spec, w *Worktree, entered time.Time) (plan, error) {
	l, release, err := r.acquire(ctx)
	if err != nil {
		return plan{}, err
	}
	defer release()
	if err := r.ensure(ctx, l, s, entered); err != nil {
		return plan{}, err
	}
	f, err := r.readFacts(s.Branch)
	if err != nil {
		return plan{}, err
	}
	good, err := r.inspect(ctx, own, s, f)
	if err != nil {
		return plan{}, err
	}
	var p plan
	if !good && f.Base == "" {
		if err := r.checkPlanted(s.Branch); err != nil {
			return plan{}, err
		}
	}
	if !good || f.Base == "" {
		if err := r.refresh(ctx, l); err != nil {
			return plan{}, err
		}
		base := ""
		if p, base, err = r.plan(ctx, l, s); err != nil {
			return plan{}, err
		}
		if f.Base == "" {
			f.Base = base
		}
	}
	if f.Base == "" {
		f.Base = noBase
	}
	if w.Created = !good; f.Base != noBase {
		w.Base = f.Base
	}
	if !good {
		if err := r.fetchFiles(ctx, l, s.Branch, p.commit, w.Base); err != nil {
			return plan{}, err
		}
	}
	f.Name, f.Email, f.Making, f.Start = s.Name, s.Email, !good, p.commit
	if err := r.writeFacts(f); err != nil || good {
		return plan{}, err
	}
	if err := r.refDirs(s.Branch, s.Owner); err != nil {
		return plan{}, err
	}
	if p.commit == "" {
		return p, r.make(s, p)
	}
	at := r.takeSlot(ctx, s)
	if at == "" {
		return p, r.make(s, p)
	}
	_, exists, err := r.ref(headsPrefix + s.Branch)
	p.ready, p.isNew = at == p.commit && !exists, true // HEAD is on no branch yet
	return p, err
}

// plan finds what the branch of s is to be checked out at, and its base.
func (r *rig) plan(ctx context.Context, l *lock, s Spec) (plan, string, error) {
	trunk, err := r.defaultBranch(s)
	if err != nil {
		return plan{}, "", err
	}
	var tip string
	if trunk != "" {
		if tip, _, err = r.ref(remotePrefix + trunk); err != nil {
			return plan{}, "", err
		}
	}
	for _, prefix := range []string{headsPrefix, remotePrefix} {
		at, ok, err := r.ref(prefix + s.Branch)
		if err != nil {
			return plan{}, "", err
		}
		if !ok {
			continue
		}
		if err := r.checkFree(s.Branch); err != nil {
			return plan{}, "", err
		}
		p, err := r.resume(ctx, l, s, plan{commit: at, isNew: prefix == remotePrefix})
		if err != nil {
			return plan{}, "", err
		}
		base, err := r.mergeBase(ctx, l, p.commit, tip)
		return p, base, err
	}
	if s.resume != "" {
		base, err := r.mergeBase(ctx, l, s.resume, tip)
		return plan{commit: s.resume, isNew: true}, base, err
	}
	if s.StartPoint != "" {
		at, err := r.startPoint(ctx, l, s.StartPoint)
		return plan{commit: at, isNew: true}, at, err
	}
	if tip != "" {
		return plan{commit: tip, isNew: true}, tip, nil
	}
	return r.planEmpty(ctx, l, trunk)
}

// resume moves a plan on to the commit that a branch had come to elsewhere, unless
// the branch has gone another way.
func (r *rig) resume(ctx context.Context, l *lock, s Spec, p plan) (plan, error) {
	if s.resume == "" || s.resume == p.commit {
		return p, nil
	}
	behind, err := r.isAncestor(ctx, l, p.commit, s.resume)
	if err != nil || !behind {
		return p, err
	}
	return plan{commit: s.resume, isNew: true}, nil
}

// planEmpty is for a default branch that the remote does not have: an error,
// unless the remote has no commits at all.
func (r *rig) planEmpty(ctx context.Context, l *lock, trunk string) (plan, string, error) {
	fetchErr := r.fetch(ctx, l, min(r.patience, r.m.c.Timeout), remoteRetries)
	names, err := r.remoteBranches(ctx, l)
	switch {
	case err != nil:
		return plan{}, "", err
	case slices.Contains(names, trunk):
		tip, _, err := r.ref(remotePrefix + trunk)
		return plan{commit: tip, isNew: true}, tip, err
	case len(names) == 0 && ctx.Err() == nil:
		if fetchErr != nil {
			r.log.Warn("fetch failed, going on with an empty repository", "err", fetchErr)
		}
		return plan{}, "", nil
	case fetchErr != nil:
		return plan{}, "", fmt.Errorf("default branch %q is not here: %w", trunk, fetchErr)
	case trunk == "":
		return plan{}, "", fmt.Errorf("the remote names no default branch, and neither does the request: %w", town.ErrInvalid)
	}
	if len(names) > 10 {
		names = append(names[:10], "…")
	}
	return plan{}, "", fmt.Errorf("default branch %q: the remote has no such branch, only %s: %w",
		trunk, strings.Join(names, ", "), town.ErrNotFound)
}

// defaultBranch returns the name of the default branch for s, which its own
// branch must not be.
func (r *rig) defaultBranch(s Spec) (string, error) {
	trunk, err := r.remoteDefault()
	if err != nil {
		return "", err
	}
	if s.Branch == trunk {
		return "", fmt.Errorf("branch %q: is the default branch; an agent needs one of its own: %w", s.Branch, town.ErrInvalid)
	}
	if s.DefaultBranch != "" {
		return s.DefaultBranch, nil
	}
	return trunk, nil
}

// startPoint resolves s.StartPoint, asking the remote once if it is unknown.
func (r *rig) startPoint(ctx context.Context, l *lock, name string) (string, error) {
	hash, ok, err := r.commitOf(ctx, l, name)
	if err != nil || ok {
		return hash, err
	}
	fetchErr := r.fetch(ctx, l, r.m.c.Timeout, remoteRetries)
	if hash, ok, err = r.commitOf(ctx, l, name); err != nil || ok {
		return hash, err
	}
	if fetchErr != nil {
		return "", fmt.Errorf("start point %q is not here: %w", name, fetchErr)
	}
	return "", fmt.Errorf("start point %q: no such branch, tag or commit: %w", name, town.ErrNotFound)
}

// mergeBase returns where a branch left the default one; its own commit when they
// have nothing in common.
func (r *rig) mergeBase(ctx context.Context, l *lock, at, tip string) (string, error) {
	if tip == "" || at == tip {
		return at, nil
	}
	base, err := r.commonBase(ctx, l, at, tip)
	return cmp.Or(base, at), err
}

// commonBase returns the merge base of two commits, "" for none. A shallow clone
// is deepened until it is there.
func (r *rig) commonBase(ctx context.Context, l *lock, a, b string) (string, error) {
	for step := 0; ; step++ {
		out, err := r.m.run(ctx, r.inRepo(command{locks: []*lock{l}, args: []string{"merge-base", a, b}}))
		e, ok := errors.AsType[*runError](err)
		if !ok || e.exit != 1 {
			return strings.TrimSpace(string(out)), err
		}
		if deeper, err := r.deepen(ctx, l, step); err != nil || !deeper {
			return "", err
		}
	}
}

// inspect reports whether the worktree of s.Branch is there and usable, and
// clears away a half-made one: nobody was given it, and the index, which a
// checkout writes last, is missing, or its submodules may be.
func (r *rig) inspect(ctx context.Context, own *lock, s Spec, f facts) (bool, error) {
	if err := r.checkPath(s.Branch); err != nil {
		return false, err
	}
	admin, dir := r.admin(s.Branch), r.path(s.Branch)
	if f.Making && (r.hasSubmodules() || !isRegular(filepath.Join(admin, "index"))) {
		return false, errors.Join(r.discard(admin), r.discard(dir))
	}
	if isDir(admin) {
		return true, r.repair(ctx, own, s, f)
	}
	err := os.Remove(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	lost := filepath.Join(r.dir, "lost", town.NewID(time.Now()))
	r.log.Warn("a directory that is no worktree stood in the way, kept aside", "branch", s.Branch, "path", lost)
	if err := os.MkdirAll(filepath.Dir(lost), 0o700); err != nil {
		return false, err
	}
	return false, os.Rename(dir, lost)
}

// populate fills a new worktree as its owner: one git command that makes the
// branch if it is new, writes the files and last the index.
func (r *rig) populate(ctx context.Context, own *lock, s Spec, p plan) error {
	if p.commit == "" {
		return nil
	}
	if !p.ready {
		if err := r.fetchLFS(ctx, own, s.Branch, p.commit); err != nil {
			return err
		}
	}
	select {
	case r.m.checkout <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-r.m.checkout }()
	args := []string{"checkout", "--quiet", "--force", "--no-track", "-B", s.Branch, p.commit}
	switch {
	case p.ready: // git switch -c looks at no file, which git checkout -b does
		args = []string{"switch", "--quiet", "--no-track", "-c", s.Branch}
	case !p.isNew:
		args = []string{"checkout", "--quiet", "--force"}
	}
	c := r.inWorktree(s.Branch, s.Owner, command{locks: []*lock{own}, args: args, timeout: r.m.c.CloneTimeout})
	c.env = append(c.env, identityEnv(s.Name, s.Email)...)
	if len(r.m.checkout) == 1 {
		// Git's helpers shorten a large checkout but cost processor time (20,000 files:
		// a quarter less, a sixth more), so only when nobody else wants it.
		c.settings = append(c.settings,
			[2]string{"checkout.workers", strconv.Itoa(cap(r.m.checkout))}, [2]string{"checkout.thresholdForParallelism", "2000"})
	}
	_, err := r.runPastLocks(ctx, headsPrefix+s.Branch, r.readingLFS(c))
	return err
}

// inWorktree makes c work in the worktree of a branch as its owner. All three
// directories are named: the files that name them otherwise are the agent's, and
// so would be the configuration that git reads there.
func (r *rig) inWorktree(branch string, o Owner, c command) command {
	c.dir, c.owner = r.path(branch), o
	c.env = append(c.env, "GIT_DIR="+r.admin(branch), "GIT_COMMON_DIR="+r.repo, "GIT_WORK_TREE="+c.dir)
	return r.withLFS(branch, c)
}

// checkPath refuses a branch whose worktree would be inside another's or around it.
func (r *rig) checkPath(branch string) error {
	for i, c := range branch {
		if c == '/' && isDir(r.admin(branch[:i])) {
			return fmt.Errorf("branch %q: its worktree would be inside that of branch %q: %w", branch, branch[:i], town.ErrConflict)
		}
	}
	admins, err := os.ReadDir(filepath.Join(r.repo, "worktrees"))
	if err != nil {
		return err
	}
	prefix := escape(branch + "/")
	for _, a := range admins {
		if strings.HasPrefix(a.Name(), prefix) {
			return fmt.Errorf("branch %q: its worktree would hold that of branch %q: %w",
				branch, unescape(a.Name()), town.ErrConflict)
		}
	}
	return nil
}

// checkFree refuses a branch that an agent has switched to in another worktree:
// commits in one would pull the branch away under the other.
func (r *rig) checkFree(branch string) error {
	admins, err := os.ReadDir(filepath.Join(r.repo, "worktrees"))
	if err != nil {
		return err
	}
	for _, a := range admins {
		head, err := readOwned(filepath.Join(r.repo, "worktrees", a.Name()), "HEAD")
		if err == nil && a.Name() != branchID(branch) && strings.TrimSpace(head) == "ref: "+headsPrefix+branch {
			return fmt.Errorf("branch %q: is checked out in the worktree %s: %w", branch, unescape(a.Name()), town.ErrConflict)
		}
	}
	return nil
}

// checkPlanted refuses a branch that is there and was never ours: an agent that
// could guess the name would have another one begin on its commits.
func (r *rig) checkPlanted(branch string) error {
	var st unix.Stat_t
	if r.m.c.GIDBase == 0 || unix.Lstat(filepath.Join(r.repo, headsPrefix+branch), &st) != nil || st.Uid == 0 {
		return nil
	}
	return fmt.Errorf("branch %q: was made in the rig's repository by an agent (user %d): choose another name, and give this one as start point to go on from it: %w",
		branch, st.Uid, town.ErrConflict)
}

func (r *rig) factsPath(branch string) string {
	return filepath.Join(r.dir, "branches", branchID(branch)+".json")
}

// readFacts returns what is remembered of a branch, nothing for a new one or when
// the record was cut off by a crash: it can be found again.
func (r *rig) readFacts(branch string) (facts, error) {
	f := facts{Branch: branch}
	b, err := os.ReadFile(r.factsPath(branch))
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	if json.Unmarshal(b, &f) != nil || f.Branch != branch {
		return facts{Branch: branch}, nil
	}
	return f, nil
}

func (r *rig) writeFacts(f facts) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return writeFile(r.factsPath(f.Branch), string(b), 0o600)
}

func isRegular(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.Mode().IsRegular()
}
