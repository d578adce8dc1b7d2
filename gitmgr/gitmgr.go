// Package gitmgr keeps the repositories of a town: one bare clone per rig, one
// worktree per branch, a pool of ready ones, checkpoints, diffs, logs and merges,
// and the proxy by which agents reach their remotes. It knows git, files, owners and
// locks; it does not know agents' lives. Credentials it asks for when a remote wants
// one, and keeps none.
//
// Below Config.Home a rig has this layout:
//
//	{rigId}/repo.git             the bare clone; what the remote has is in refs/remotes/origin
//	{rigId}/repo.git/lfs         files of Git LFS, where the rig has them
//	{rigId}/modules/             one bare clone per remote of a submodule, likewise
//	{rigId}/worktrees/{branch}   one worktree per branch, its path nested like the name
//	{rigId}/worktrees/-pool/{uid}, -merge/gate   worktrees of no branch
//	{rigId}/lock                 held by whoever changes repo.git, across processes
//	{rigId}/branches/            one lock and one record of facts per branch
//	{rigId}/tmp, {rigId}/trash   half-made and given-up things, collected
//
// In repo.git, refs/town/checkpoints/{agent} is what was saved of an agent last,
// refs/town/pushed/{agent} what the remote has of that, and refs/town/fetched/{agent}
// what it had when the agent was restored.
//
// With isolation (Config.GIDBase) the repository is shared between the users of
// its agents as written in share.go, and git in an agent's worktree runs as that
// agent's user, never as the server's.
package gitmgr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"townd/town"
)

// Config tells a Manager where and how to work. Home is required.
type Config struct {
	Home         string        // absolute; holds one directory per rig. Agents' users must be able to traverse it
	Protocols    []string      // what remotes may be reached by: https, ssh, http, git, file. Default https and ssh
	Git          string        // the git program, 2.38 or newer, default "git"
	SSH          string        // the ssh program with arguments, default "ssh"
	PublicOnly   bool          // remotes at addresses that are not public (private, loopback, link-local, …) are refused,
	AllowHosts   []string      // but for these hosts; redirects are followed on one host only
	GIDBase      uint32        // groups of rigs are numbered from here up; 0 means no isolation. Needs root
	CloneTimeout time.Duration // for one clone, default 30 minutes
	Timeout      time.Duration // for any other git command, default 5 minutes

	CheckpointFileBytes int64 // a larger file is left out of checkpoints, default 32 MiB
	CheckpointBytes     int64 // of all changed files of one checkpoint, default 512 MiB

	Log *slog.Logger // default slog.Default

	// Credential, if set, is asked for what a remote over HTTP wants to see, whenever
	// git of the server's own user calls one. Git of agents never gets any of it.
	Credential CredentialFunc

	// SSHKey, if set, is the town's private key for remotes reached by ssh, in PEM without a
	// passphrase, or several one after another. It stays in memory, and KnownHosts, lines
	// as in a known_hosts file, are all hosts that it is used for: nothing of the user's own
	// ssh is looked at. Needs OpenSSH 8.9.
	SSHKey, KnownHosts []byte

	// Refused, if set, is told that the remote at host has refused a credential, and
	// reports whether Credential has another now: then it is asked once more.
	Refused func(host string, c Credential) bool

	// Observe, if set, is told how long an operation took and how it ended: each git
	// clone, fetch, deepen, fetch files, fetch lfs, fetch submodule, push of a merge and drop checkpoint, and each call as a whole:
	// worktree (with the clone or fetch it needed), prepare, warm (each worktree), diff, result,
	// checkpoint, push checkpoint, restore, merge, remove, sweep.
	Observe func(op string, d time.Duration, err error)
}

// Manager owns the repositories below one Home. It is safe for concurrent use.
// Several processes may hold a Manager of the same Home: they take turns.
type Manager struct {
	c        Config
	env      []string      // of every git command
	keys     *sshKeys      // nil for none
	guard    *hostGuard    // nil for none
	client   *http.Client  // see HTTPClient
	orphans  time.Duration // how long git of a dead server may go on before it is ended
	pause    time.Duration // before the first repetition of what a remote failed at
	checkout chan struct{} // one token per checkout that may run; they are bound by the processor
	deleting chan struct{} // one token: files are deleted one tree after the other
	slots    chan struct{} // one token per git that may run here; each costs a process and a thread

	ctx  context.Context // ends with Close
	stop context.CancelCauseFunc
	wg   sync.WaitGroup // background deletes

	mu     sync.Mutex
	closed bool
	rigs   map[string]*rig

	groupMu sync.Mutex // guards the file of groups and each rig's gid
}

// New checks c, makes Home and returns a Manager. The caller closes it.
func New(c Config) (*Manager, error) {
	if !filepath.IsAbs(c.Home) {
		return nil, fmt.Errorf("git home %q: must be an absolute path: %w", c.Home, town.ErrInvalid)
	}
	if c.GIDBase != 0 && os.Geteuid() != 0 {
		return nil, fmt.Errorf("isolation of worktrees by user: needs root: %w", town.ErrInvalid)
	}
	if len(c.Protocols) == 0 {
		c.Protocols = []string{"https", "ssh"}
	}
	for _, p := range c.Protocols {
		if !knownProtocols[p] {
			return nil, fmt.Errorf("git protocol %q: must be one of https, ssh, http, git, file: %w", p, town.ErrInvalid)
		}
	}
	if c.Git == "" {
		c.Git = "git"
	}
	c.SSH = cmp.Or(c.SSH, "ssh")
	if c.CloneTimeout == 0 {
		c.CloneTimeout = 30 * time.Minute
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Minute
	}
	c.CheckpointFileBytes = cmp.Or(c.CheckpointFileBytes, 32<<20)
	c.CheckpointBytes = cmp.Or(c.CheckpointBytes, 512<<20)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Home = filepath.Clean(c.Home)
	if err := checkTraversable(c); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Home, 0o755); err != nil {
		return nil, fmt.Errorf("git home: %w", spaceKind(err))
	}
	keys, err := openSSHKeys(c)
	if err != nil {
		return nil, err
	}
	c.SSH = strings.Join(append([]string{c.SSH}, keys.options()...), " ")
	c.SSHKey = nil
	env, err := prepareHome(c)
	if err != nil {
		return nil, err
	}
	m := &Manager{c: c, env: env, keys: keys, guard: newGuard(c), orphans: orphanGrace, pause: retryPause, checkout: make(chan struct{}, runtime.NumCPU()), deleting: make(chan struct{}, 1), slots: make(chan struct{}, 4*runtime.NumCPU()), rigs: map[string]*rig{}}
	m.client = &http.Client{Transport: m.guard.transport(), CheckRedirect: sameHost}
	m.ctx, m.stop = context.WithCancelCause(context.Background())
	return m, nil
}

// Close ends git commands that still run and waits for background deletes.
// Calls after it return ErrUnavailable.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop(errClosed)
	m.wg.Wait()
	m.client.CloseIdleConnections()
	return nil
}

var errClosed = fmt.Errorf("git manager closed: %w", town.ErrUnavailable)

// Owner is the user whose files a worktree holds and as whom git runs there.
// The zero value is the server's own user.
type Owner struct{ UID, GID uint32 }

// Spec describes the worktree that an agent is to have.
type Spec struct {
	RigID         string
	URL           string
	Branch        string
	DefaultBranch string // the remote's HEAD when empty
	StartPoint    string // branch, tag or commit that a new branch starts from; the default branch when empty
	Owner         Owner
	Name, Email   string // identity for reflogs and checkpoints of this worktree

	resume string // commit that the branch had come to, "" for none: Restore sets it
}

// Worktree is a checkout of a branch.
type Worktree struct {
	Dir     string
	Branch  string
	Base    string // commit the branch started from; "" in a repository without commits
	Created bool   // this call made it; false when it was there
	GID     uint32 // group of the rig, 0 without isolation
}

// Checkpoint is a saved state of a worktree: a commit on top of its HEAD that no
// branch points to.
type Checkpoint struct {
	Ref          string    // refs/town/checkpoints/<agent>, "" when clean
	Commit       string    // "" when clean
	Clean        bool      // there was nothing to save that is not in a commit of the branch
	LeftOut      []LeftOut // changed files that it does not hold, the first 200
	LeftOutCount int
	Unread       bool // some changed files could not be read, and are not in it
}

// Diff is what a worktree holds beyond a commit.
type Diff struct {
	Base, Head string // commits; "" for none
	Files      []FileStat
	Patch      []byte // as git apply takes it; binary files included
	Truncated  bool   // Patch ends early, Files may too
}

// FileStat is one file of a diff.
type FileStat struct {
	Path    string
	OldPath string // of a rename or copy, else ""
	Status  string // A, M, D, R, C or T, as git names them
	Added   int    // lines; 0 for a binary file
	Deleted int
	Binary  bool
}

// Commit is one entry of a log.
type Commit struct {
	Hash, Name, Email string
	When              time.Time
	Subject, Body     string
	Parents           []string
}

// Worktree returns a checkout of s.Branch for s.Owner and clones s.URL first if
// the rig is new. A worktree of that branch that is there already is returned as
// it is, with its work. A branch without one is checked out where it stands, here
// or on the remote; else it starts from s.StartPoint. A repository without
// commits gives an empty worktree on an unborn branch: the first commit is the
// agent's.
//
// It returns ErrInvalid for a branch or URL that cannot be used, ErrConflict for
// a rig of another URL or a path inside another worktree, ErrNotFound for an
// unknown start point, ErrGit for a remote that failed, ErrNoSpace for a full
// disk. A failed fetch of a rig that has a clone is logged, not returned.
func (m *Manager) Worktree(ctx context.Context, s Spec) (Worktree, error) {
	if err := m.checkSpec(s); err != nil {
		return Worktree{}, err
	}
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return Worktree{}, err
	}
	defer done()
	start := time.Now()
	r, err := m.rig(s.RigID)
	if err != nil {
		return Worktree{}, err
	}
	w, err := r.worktree(ctx, s)
	m.observe("worktree", start, err)
	if err != nil {
		return Worktree{}, fmt.Errorf("worktree of rig %s: %w", s.RigID, spaceKind(err))
	}
	return w, nil
}

func (m *Manager) checkSpec(s Spec) error {
	if err := CheckURL(s.URL, m.c.Protocols); err != nil {
		return fmt.Errorf("git url: %w", err)
	}
	if err := CheckBranch(s.Branch); err != nil {
		return fmt.Errorf("branch %q: %w", s.Branch, err)
	}
	if s.DefaultBranch != "" {
		if err := CheckBranch(s.DefaultBranch); err != nil {
			return fmt.Errorf("default branch %q: %w", s.DefaultBranch, err)
		}
	}
	if err := CheckStartPoint(s.StartPoint); err != nil {
		return fmt.Errorf("start point %q: %w", s.StartPoint, err)
	}
	if s.Branch == s.DefaultBranch {
		return fmt.Errorf("branch %q: is the default branch; an agent needs one of its own: %w", s.Branch, town.ErrInvalid)
	}
	if s.Owner.UID != 0 && m.c.GIDBase == 0 {
		return fmt.Errorf("worktree for user %d: isolation is off: %w", s.Owner.UID, town.ErrInvalid)
	}
	return nil
}

// begin counts an operation in, so that Close waits for it, and returns a context
// that ends with ctx or with the Manager.
func (m *Manager) begin(ctx context.Context) (context.Context, func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, errClosed
	}
	m.wg.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(m.ctx, func() { cancel(errClosed) })
	return ctx, func() {
		unhook()
		cancel(nil)
		m.wg.Done()
	}, nil
}

// rig returns the rig of that id, known or not yet cloned.
func (m *Manager) rig(id string) (*rig, error) {
	if err := town.CheckID(id); err != nil {
		return nil, fmt.Errorf("rig id %q: %w", id, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rigs[id]
	if !ok {
		r = newRig(m, id)
		m.rigs[id] = r
	}
	return r, nil
}

// existing is rig for operations that need its clone.
func (m *Manager) existing(id string) (*rig, error) {
	r, err := m.rig(id)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(r.repo, "HEAD")); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("rig %s: has no clone here: %w", id, town.ErrNotFound)
		}
		return nil, fmt.Errorf("rig %s: %w", id, err)
	}
	return r, nil
}
