package gitmgr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"townd/town"
)

const (
	fetchEvery    = 30 * time.Second // a start fetches at most this often per rig, unless its settings say otherwise
	fetchPatience = 20 * time.Second // of a fetch that may fail: the start goes on without it
)

// rig is one repository and its worktrees.
type rig struct {
	m    *Manager
	id   string
	dir  string // {home}/{id}
	repo string // {dir}/repo.git
	log  *slog.Logger

	turn gate // serialises this process before the lock file does the others

	lfsTurn gate // who brings objects of Git LFS: the others find them

	// Guarded by turn.
	opened    bool          // left-overs collected, permissions right
	fetchDue  time.Time     // no fetch before
	fetched   time.Time     // when the last fetch that succeeded began
	patience  time.Duration // with the next one; grows with every one that took too long
	clonedBad time.Time     // when cloneErr happened
	cloneErr  error         // of the last clone; those who waited for it share it

	gid uint32 // guarded by Manager.groupMu; 0 while unknown

	partial atomic.Bool // the clone lacks file contents until they are needed

	mu       sync.Mutex
	settings RigSettings
	remote   string // URL of the clone, "" while unknown
	branches map[string]*branchGate
}

// branchGate is the turn of one branch in this process.
type branchGate struct {
	gate
	users int // guarded by rig.mu
}

func newRig(m *Manager, id string) *rig {
	dir := filepath.Join(m.c.Home, id)
	return &rig{
		m: m, id: id, dir: dir, repo: filepath.Join(dir, "repo.git"),
		log: m.c.Log.With("rig", id), turn: newGate(), lfsTurn: newGate(), patience: fetchPatience, branches: map[string]*branchGate{},
	}
}

// path returns where the worktree of a branch is.
func (r *rig) path(branch string) string { return filepath.Join(r.dir, "worktrees", branch) }

// admin returns git's administrative directory of the worktree of a branch.
func (r *rig) admin(branch string) string {
	return filepath.Join(r.repo, "worktrees", branchID(branch))
}

// acquire takes the rig: repo.git is ours to change until the release.
func (r *rig) acquire(ctx context.Context) (*lock, func(), error) {
	if err := r.turn.enter(ctx); err != nil {
		return nil, nil, err
	}
	if err := r.layout(); err != nil {
		r.turn.leave()
		return nil, nil, err
	}
	l, err := r.m.lockFile(ctx, filepath.Join(r.dir, "lock"))
	if err != nil {
		r.turn.leave()
		return nil, nil, err
	}
	release := func() {
		l.release()
		r.turn.leave()
	}
	if err := r.open(); err != nil {
		release()
		return nil, nil, err
	}
	return l, release, nil
}

// acquireBranch takes the worktree of a branch. Who needs the rig too takes it
// after this one.
func (r *rig) acquireBranch(ctx context.Context, branch string) (*lock, func(), error) {
	r.mu.Lock()
	g, ok := r.branches[branch]
	if !ok {
		g = &branchGate{gate: newGate()}
		r.branches[branch] = g
	}
	g.users++
	r.mu.Unlock()
	forget := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if g.users--; g.users == 0 {
			delete(r.branches, branch)
		}
	}
	if err := g.enter(ctx); err != nil {
		forget()
		return nil, nil, err
	}
	leave := func() {
		g.leave()
		forget()
	}
	if err := r.layout(); err != nil {
		leave()
		return nil, nil, err
	}
	l, err := r.m.lockFile(ctx, filepath.Join(r.dir, "branches", branchID(branch)+".lock"))
	if err != nil {
		leave()
		return nil, nil, err
	}
	return l, func() {
		l.release()
		leave()
	}, nil
}

// layout makes the directories of the rig.
func (r *rig) layout() error {
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{{"", 0o750}, {"worktrees", 0o755}, {"branches", 0o700}, {"tmp", 0o711}, {"trash", 0o700}} {
		if err := mkdir(filepath.Join(r.dir, d.name), d.mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return spaceKind(err)
		}
	}
	return nil
}

// open does what is due once per process: collect what was left half-made and see
// to the permissions.
func (r *rig) open() error {
	if r.opened {
		return nil
	}
	for _, name := range []string{"tmp", "trash"} {
		if err := r.collect(name); err != nil {
			return err
		}
	}
	if isDir(r.repo) {
		if err := r.share(); err != nil {
			return err
		}
		r.partial.Store(r.readPartial())
	}
	r.opened = true
	return nil
}

// collect discards what was left half-made or given up in tmp or trash. The rig is held.
func (r *rig) collect(name string) error {
	left, err := os.ReadDir(filepath.Join(r.dir, name))
	if err != nil {
		return err
	}
	for _, e := range left {
		if fi, err := e.Info(); err != nil || strings.HasPrefix(e.Name(), indexPrefix) && time.Since(fi.ModTime()) < indexAge {
			continue // gone, or another process works with it under its branch's lock
		}
		if err := r.discard(filepath.Join(r.dir, name, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// ensure sees to it that the rig has its clone. The rig is held with l; entered is
// when its caller began to wait.
func (r *rig) ensure(ctx context.Context, l *lock, s Spec, entered time.Time) error {
	return r.ensureTold(ctx, l, s.URL, entered, nil)
}

// ensureTold is ensure with progress.
func (r *rig) ensureTold(ctx context.Context, l *lock, url string, entered time.Time, tell func(Progress)) error {
	if isDir(r.repo) {
		return r.checkRemote(url)
	}
	if r.cloneErr != nil && entered.Before(r.clonedBad) {
		return r.cloneErr
	}
	err := r.clone(ctx, l, url, tell)
	r.cloneErr, r.clonedBad = err, time.Now()
	if err != nil && ctx.Err() != nil {
		r.cloneErr = nil // its caller gave up; that says nothing to the others
	}
	return err
}

// refresh fetches when the last time is fetchEvery ago. A remote that fails is no
// reason not to go on from what is here.
func (r *rig) refresh(ctx context.Context, l *lock) error {
	if time.Now().Before(r.fetchDue) {
		return nil
	}
	start := time.Now()
	err := r.fetch(ctx, l, min(r.patience, r.m.c.Timeout), 0)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if took := time.Since(start); took >= r.patience {
		// It hangs, or there is much to fetch: more time, but less often.
		r.patience *= 2
		r.fetchDue = time.Now().Add(max(r.fetchEvery(), 3*took))
	}
	r.log.Warn("fetch failed, going on with what is here", "err", err)
	return nil
}

// checkRemote refuses to mix two repositories in one rig.
func (r *rig) checkRemote(url string) error {
	remote, err := r.remoteURL()
	if err != nil {
		return err
	}
	if !sameRemote(remote, url) {
		return fmt.Errorf("it is a clone of %s, not of %s; give the other repository its own rig: %w",
			redact(remote), redact(url), town.ErrConflict)
	}
	return nil
}

// remoteURL returns the URL of the clone.
func (r *rig) remoteURL() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.remote == "" {
		remote, err := r.readRemote()
		if err != nil {
			return "", err
		}
		r.remote = remote
	}
	return r.remote, nil
}

// clone makes repo.git. It is made under another name and renamed when complete,
// so that a repo.git that is there is whole.
func (r *rig) clone(ctx context.Context, l *lock, url string, tell func(Progress)) error {
	tmp, err := os.MkdirTemp(filepath.Join(r.dir, "tmp"), "clone-")
	if err != nil {
		return spaceKind(err)
	}
	defer func() {
		if err := os.RemoveAll(tmp); err != nil {
			r.log.Warn("remove half-made clone", "path", tmp, "err", err)
		}
	}()
	start := time.Now()
	// Not --bare: that would put the remote's branches where ours are.
	args := []string{"clone", "--no-checkout", "--no-local", "--template=", "--no-recurse-submodules", "--origin=origin"}
	_, err = r.m.run(ctx, command{
		observe: "clone", dir: tmp, rigID: r.id, url: url, locks: []*lock{l}, timeout: r.m.c.CloneTimeout, remote: true, retries: remoteRetries, tell: tell,
		args: append(append(args, r.cloneArgs(tell)...), "--", url, "clone"),
	})
	if err != nil {
		return err
	}
	dir := filepath.Join(tmp, "clone", ".git")
	if err := r.configure(dir); err != nil {
		return spaceKind(err)
	}
	if err := r.shareNew(dir); err != nil {
		return spaceKind(err)
	}
	if err := os.Rename(dir, r.repo); err != nil {
		return err
	}
	r.fetchDue, r.fetched = time.Now().Add(r.fetchEvery()), start
	r.partial.Store(r.readPartial())
	r.log.Info("cloned", "url", redact(url))
	return nil
}

// configure turns a new clone into a bare repository of ours.
func (r *rig) configure(dir string) error {
	name := filepath.Join(dir, "config")
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if strings.Contains(strings.ToLower(string(b)), "objectformat") {
		return fmt.Errorf("repository uses object ids other than SHA-1, which is not supported: %w", town.ErrInvalid)
	}
	text := string(b) + "[core]\n\tbare = true\n\tlogAllRefUpdates = true\n[gc]\n\tauto = 0\n\tpackRefs = false\n" +
		"[maintenance]\n\tauto = false\n"
	if r.m.c.GIDBase != 0 {
		// What the remote has is written down by us alone: without this line agents'
		// git does not try to, and fail, after each fetch and push.
		text = strings.Replace(text, "\tfetch = +refs/heads/*:"+remotePrefix+"*\n", "", 1) + sharedConfig
	}
	for _, sub := range []string{"hooks", "info", "worktrees", "objects/info", "objects/pack", "logs/refs/heads", "refs/heads", "refs/tags", "refs/remotes/origin", "refs/town/checkpoints", "refs/replace"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	packed := filepath.Join(dir, "packed-refs")
	if _, err := os.Lstat(packed); errors.Is(err, fs.ErrNotExist) {
		if err := writeFile(packed, "# pack-refs with: peeled fully-peeled sorted \n", 0o644); err != nil {
			return err
		}
	}
	return writeFile(name, text, 0o644)
}

// fetchSince fetches unless a fetch has begun after asked: who waited for the rig
// while another fetched needs none.
func (r *rig) fetchSince(ctx context.Context, l *lock, asked time.Time) error {
	if r.fetched.After(asked) {
		return nil
	}
	return r.fetch(ctx, l, r.m.c.Timeout, remoteRetries)
}

// fetch brings refs/remotes/origin and the default branch up to the remote.
func (r *rig) fetch(ctx context.Context, l *lock, timeout time.Duration, retries int) error {
	start := time.Now()
	r.fetchDue = start.Add(r.fetchEvery())
	args := []string{
		"fetch", "--quiet", "--prune", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules",
		"origin", "+refs/heads/*:refs/remotes/origin/*",
	}
	_, err := r.runPastLocks(ctx, "", r.inRepo(command{observe: "fetch", locks: []*lock{l}, timeout: timeout, remote: true, retries: retries, args: args}))
	if err != nil {
		return err
	}
	r.patience, r.fetched = fetchPatience, start
	return r.syncDefault(ctx, l)
}

// inRepo makes c work on the repository as a whole, as our own user.
func (r *rig) inRepo(c command) command {
	c.dir = r.repo
	c.env = append(c.env, "GIT_DIR="+r.repo, "GIT_COMMON_DIR="+r.repo)
	c.env = append(c.env, identityEnv("", "")...)
	c.network = r.partial.Load()
	if c.remote || c.network {
		c.rigID = r.id
		c.url, _ = r.remoteURL() // one that cannot be read fails the command itself
	}
	return c
}

// identityEnv names who commits and whom reflogs tell of; git asks for a passwd
// entry, which agents' users lack, when it is not told.
func identityEnv(name, email string) []string {
	name, email = cmp.Or(identity(name), "townd"), cmp.Or(identity(email), "townd@localhost")
	return []string{
		"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + email,
		"GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + email,
	}
}

// identity leaves out of a name what git does: it refuses one of nothing else.
func identity(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '<' || r == '>' || unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
	return strings.Trim(s, " .,:;\"\\'")
}

// mkdir is os.Mkdir whatever the umask: agents' users must be able to pass.
func mkdir(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// discard moves path out of the way at once and deletes it in the background.
func (r *rig) discard(path string) error {
	trash := filepath.Join(r.dir, "trash", town.NewID(time.Now()))
	if err := os.Rename(path, trash); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	r.m.wg.Go(func() { // ends when the tree is gone; Close waits
		r.m.deleting <- struct{}{}
		defer func() { <-r.m.deleting }()
		if err := os.RemoveAll(trash); err != nil {
			r.log.Warn("delete", "path", trash, "err", err)
		}
	})
	return nil
}
