package gitmgr

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RigSettings say how a rig is cloned and how fresh it is kept. The zero value is
// a whole clone.
type RigSettings struct {
	Depth      int           // commits of history that a new clone has; 0 for all. It is deepened when a merge needs more
	Blobless   bool          // a new clone has file contents only when they are needed (--filter=blob:none)
	FetchEvery time.Duration // a start fetches at most this often, default 30 s

	// Sparse are directories: a new worktree holds what is below them and the files
	// beside the way to them, all when it is empty. A merge's gates see all files.
	Sparse []string

	LFS        bool  // a new worktree holds the files of Git LFS, not what stands for them
	Submodules bool  // a new worktree holds its submodules' files
	QuotaBytes int64 // of the rig on disk, in place of Policy.QuotaBytes; 0 for that
}

// SetRig makes s the settings of a rig, cloned or not yet, until the Manager is closed.
// It returns ErrInvalid for one that cannot be, as LFS where git-lfs is not installed.
func (m *Manager) SetRig(rigID string, s RigSettings) error {
	if err := checkSparse(s.Sparse); err != nil {
		return fmt.Errorf("settings of rig %s: %w", rigID, err)
	}
	if s.LFS {
		if err := m.checkLFS(); err != nil {
			return fmt.Errorf("settings of rig %s: %w", rigID, err)
		}
	}
	s.Sparse = slices.Clone(s.Sparse)
	r, err := m.rig(rigID)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settings = s
	return nil
}

func (r *rig) fetchEvery() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return cmp.Or(r.settings.FetchEvery, fetchEvery)
}

// cloneArgs returns what the rig's settings ask of git clone.
func (r *rig) cloneArgs(tell func(Progress)) (args []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settings.Depth > 0 {
		args = append(args, "--depth="+strconv.Itoa(r.settings.Depth), "--no-single-branch")
	}
	if r.settings.Blobless {
		args = append(args, "--filter=blob:none")
	}
	if tell != nil {
		args = append(args, "--progress")
	}
	return args
}

// RigID returns an id for the repository at a URL that is its own: readable, and
// the same with and without .git.
func RigID(url string) string {
	url = strings.TrimSuffix(strings.TrimRight(url, "/"), ".git")
	sum := sha256.Sum256([]byte(url))
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		rest = url
	}
	name := slug(rest)
	if len(name) > 80 {
		name = strings.TrimLeft(name[len(name)-80:], "-_")
	}
	return strings.TrimLeft(name+"-"+hex.EncodeToString(sum[:4]), "-_")
}

// Prepared is a rig that is ready for its first worktree.
type Prepared struct {
	Cloned        bool   // this call cloned it
	DefaultBranch string // of the remote, "" when it names none
	Commit        string // at its tip, "" in a repository without commits
}

// Prepare clones url if the rig is new and else fetches, now if fresh and otherwise
// when the last time is long ago. Those who ask at once share one clone or fetch. A
// remote that is not well is tried again a few times. tell, if not nil, hears how
// far git is; it must not block. It returns the errors of Worktree, and of the kinds
// of a remote that failed.
func (m *Manager) Prepare(ctx context.Context, rigID, url string, fresh bool, tell func(Progress)) (Prepared, error) {
	if err := CheckURL(url, m.c.Protocols); err != nil {
		return Prepared{}, fmt.Errorf("git url: %w", err)
	}
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return Prepared{}, err
	}
	defer done()
	r, err := m.rig(rigID)
	if err != nil {
		return Prepared{}, err
	}
	start := time.Now()
	p, err := r.prepareRig(ctx, url, fresh, tell)
	m.observe("prepare", start, err)
	if err != nil {
		return Prepared{}, fmt.Errorf("prepare rig %s: %w", rigID, spaceKind(err))
	}
	return p, nil
}

func (r *rig) prepareRig(ctx context.Context, url string, fresh bool, tell func(Progress)) (p Prepared, err error) {
	asked := time.Now()
	l, release, err := r.acquire(ctx)
	if err != nil {
		return p, err
	}
	defer release()
	p.Cloned = !isDir(r.repo)
	if err := r.ensureTold(ctx, l, url, asked, tell); err != nil {
		return p, err
	}
	if fresh || time.Now().After(r.fetchDue) {
		if err := r.fetchSince(ctx, l, asked); err != nil {
			return p, err
		}
	}
	if p.DefaultBranch, err = r.remoteDefault(); err != nil || p.DefaultBranch == "" {
		return p, err
	}
	p.Commit, _, err = r.ref(remotePrefix + p.DefaultBranch)
	return p, err
}

// shallowName is git's list of commits at which a shallow clone ends.
const shallowName = "shallow"

// deepen brings more history into a shallow clone, more with every step and at last
// all of it, and reports whether there is more than before.
func (r *rig) deepen(ctx context.Context, l *lock, step int) (bool, error) {
	if !isRegular(filepath.Join(r.repo, shallowName)) {
		return false, nil
	}
	much := "--unshallow"
	if step < 2 {
		much = []string{"--deepen=100", "--deepen=1000"}[step]
	}
	_, err := r.runPastLocks(ctx, "", r.inRepo(command{
		observe: "deepen", locks: []*lock{l}, remote: true, retries: remoteRetries, timeout: r.m.c.CloneTimeout,
		args: []string{
			"fetch", "--quiet", much, "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules",
			"origin", "+refs/heads/*:refs/remotes/origin/*",
		},
	}))
	if err == nil && r.m.c.GIDBase != 0 {
		err = protectShallow(r.repo) // git deletes the list with its last entry
	}
	return err == nil, err
}

// readPartial reports whether the clone lacks objects that its remote has promised.
func (r *rig) readPartial() bool {
	b, err := os.ReadFile(filepath.Join(r.repo, "config"))
	return err == nil && strings.Contains(strings.ToLower(string(b)), "promisor = true")
}

// fetchFiles brings the contents of the files of commits into a partial clone, in
// one fetch: git in a worktree is an agent's user, which cannot reach the remote,
// and would ask for them one by one. Of files that the branch's worktree will not hold it brings none.
func (r *rig) fetchFiles(ctx context.Context, l *lock, branch string, commits ...string) error {
	if !r.partial.Load() {
		return nil
	}
	var paths []string
	if dirs := r.sparseDirs(branch); len(dirs) > 0 {
		paths = sparseSpecs(dirs)
	}
	var missing bytes.Buffer
	for _, commit := range commits {
		if commit == "" {
			continue
		}
		out := &entries{end: '\n', each: func(line []byte) {
			if oid, ok := bytes.CutPrefix(line, []byte("?")); ok {
				missing.Write(append(oid, '\n'))
			}
		}}
		_, err := r.m.run(ctx, r.inRepo(command{
			locks: []*lock{l}, stdout: out, args: append([]string{"rev-list", "--objects", "--missing=print", commit + "^{tree}", "--"}, paths...),
		}))
		if err != nil {
			return err
		}
	}
	if missing.Len() == 0 {
		return nil
	}
	_, err := r.m.run(ctx, r.inRepo(command{
		observe: "fetch files", locks: []*lock{l}, remote: true, timeout: r.m.c.CloneTimeout, stdin: &missing,
		args: []string{
			"-c", "fetch.negotiationAlgorithm=noop", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
			"--recurse-submodules=no", "--filter=blob:none", "--stdin", "origin",
		},
	}))
	return err
}

// Progress is how far a clone is.
type Progress struct {
	Phase   string // as git names it: Receiving objects, Resolving deltas, …
	Percent int
}

var progressPattern = regexp.MustCompile(`^(?:remote: )?([A-Z][A-Za-z ]{2,40}): +(\d{1,3})% `)

// progressReader parts git's progress from what else it says.
type progressReader struct {
	tell func(Progress)
	rest io.Writer
	line []byte
	last Progress
}

func (p *progressReader) Write(b []byte) (int, error) {
	for _, c := range b {
		if c != '\r' && c != '\n' {
			if len(p.line) < maxErrorBytes {
				p.line = append(p.line, c)
			}
			continue
		}
		m := progressPattern.FindSubmatch(p.line)
		if m == nil {
			_, _ = p.rest.Write(append(p.line, '\n')) // it never fails
		} else if percent, _ := strconv.Atoi(string(m[2])); p.last != (Progress{string(m[1]), percent}) {
			p.last = Progress{string(m[1]), percent}
			p.tell(p.last)
		}
		p.line = p.line[:0]
	}
	return len(b), nil
}
