package gitmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"townd/town"
)

// Git LFS keeps large files beside the repository: git holds a pointer for each, a
// filter puts the file in its place. In a rig that is set so, the server brings the
// objects of a commit into one store of the rig, repo.git/lfs, which agents read; what
// an agent adds is in a store of its own below its worktree's administration, and goes
// into the shared one when its name is that of its content: git-lfs looks at no hash
// when it reads. The one filter that git gets is the town's own, by settings that
// outrank every file; the endpoint of a repository's .lfsconfig is never asked.
const (
	lfsProgram = "git-lfs"
	lfsName    = "lfs"

	// lfsNowhere is the endpoint of git that the server runs in a worktree: what is not
	// in a store stays a pointer.
	lfsNowhere = "http://127.0.0.1:1"
)

// lfsFilter is what `git lfs install` writes.
var lfsFilter = [][2]string{
	{"filter.lfs.clean", "git-lfs clean -- %f"},
	{"filter.lfs.smudge", "git-lfs smudge -- %f"},
	{"filter.lfs.process", "git-lfs filter-process"},
	{"filter.lfs.required", "true"},
}

// noLFSFilter makes git take pointers for files like any other, whatever the machine's
// own configuration says.
var noLFSFilter = [][2]string{
	{"filter.lfs.clean", ""}, {"filter.lfs.smudge", ""}, {"filter.lfs.process", ""}, {"filter.lfs.required", "false"},
}

// lfsHook brings the objects of what is pushed to the remote first. It is the only
// hook of a rig, for agents' git: the server's own runs none.
const lfsHook = "#!/bin/sh\ntest -n \"$(git config filter.lfs.process)\" || exit 0\nexec git-lfs pre-push \"$@\"\n"

// checkLFS returns an ErrInvalid when this machine cannot have rigs with LFS.
func (m *Manager) checkLFS() error {
	if _, err := exec.LookPath(lfsProgram); err != nil {
		return fmt.Errorf("git LFS: the program %s is not installed here: %w", lfsProgram, town.ErrInvalid)
	}
	return nil
}

func (r *rig) hasLFS() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settings.LFS
}

// lfsStore is the shared store; its objects are below objects/.
func (r *rig) lfsStore() string { return filepath.Join(r.repo, lfsName) }

// withLFS has git in a worktree put files in place of pointers, as far as they are here.
func (r *rig) withLFS(branch string, c command) command {
	if !r.hasLFS() {
		return c
	}
	c.settings = append(c.settings, lfsFilter...)
	c.settings = append(c.settings, [][2]string{
		{"lfs.storage", filepath.Join(r.admin(branch), lfsName)}, {"lfs.url", lfsNowhere}, {"lfs.transfer.maxretries", "1"},
	}...)
	c.env = append(c.env, r.lfsEnv()...)
	return c
}

// readingLFS is for a checkout that somebody waits for: it reads the shared store, where
// fetchLFS has put all, and copies nothing to the agent's own.
func (r *rig) readingLFS(c command) command {
	if r.hasLFS() {
		c.settings = append(c.settings, [2]string{"lfs.storage", r.lfsStore()})
	}
	return c
}

// lfsEnv names the shared store as one to read from, in the only way that git-lfs has:
// as lfs/objects beside an alternate directory of objects. Git itself finds none there.
func (r *rig) lfsEnv() []string {
	env := []string{"GIT_LFS_SKIP_DOWNLOAD_ERRORS=1"}
	if isDir(r.lfsStore()) { // else git complains
		env = append(env, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+r.lfsStore())
	}
	return env
}

// AgentLFS returns the settings of git and the environment with which the commands of
// an agent in the worktree of a branch read and write files of Git LFS, and push them
// through the proxy at base; or, in a rig without, leave pointers as they are.
func (m *Manager) AgentLFS(rigID, branch, base string) (settings [][2]string, env []string, err error) {
	r, err := m.rig(rigID)
	if err != nil {
		return nil, nil, err
	}
	if !r.hasLFS() {
		return noLFSFilter, nil, nil
	}
	endpoint := strings.TrimRight(base, "/") + "/git/" + rigID + lfsPath
	settings = append(settings, lfsFilter...)
	return append(settings, [][2]string{
		{"lfs.storage", filepath.Join(r.admin(branch), lfsName)}, {"lfs.url", endpoint}, {"lfs." + endpoint + ".locksverify", "false"},
	}...), r.lfsEnv(), nil
}

// fetchLFS brings what the worktree of a branch will hold of Git LFS into the shared
// store. Objects that the remote does not have stay pointers.
func (r *rig) fetchLFS(ctx context.Context, own *lock, branch, commit string) error {
	if !r.hasLFS() || commit == "" {
		return nil
	}
	if err := r.lfsTurn.enter(ctx); err != nil {
		return err
	}
	defer r.lfsTurn.leave()
	if err := r.layoutLFS(); err != nil {
		return fmt.Errorf("store of Git LFS: %w", err)
	}
	pointers, err := r.lfsPointers(ctx, own, branch, commit)
	if err != nil {
		return err
	}
	var missing []lfsPointer
	for _, p := range pointers {
		if r.haveLFS(p) && r.touchLFS(p) == nil { // else a sweep has just deleted it
			continue
		}
		switch ok, err := r.adoptLFSFrom("*", p.OID); {
		case err != nil:
			return fmt.Errorf("store of Git LFS: %w", err)
		case !ok:
			missing = append(missing, p)
		}
	}
	if err := r.downloadLFS(ctx, missing); err != nil {
		return fmt.Errorf("files of Git LFS: %w", err)
	}
	return nil
}

// layoutLFS makes the shared store and the hook. The top of the repository is open to
// agents: what one has put there in their place is no store.
func (r *rig) layoutLFS() error {
	var st unix.Stat_t
	if err := unix.Lstat(r.lfsStore(), &st); err == nil && (st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != uint32(os.Geteuid())) {
		if err := r.discard(r.lfsStore()); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{{"", 0o755}, {"objects", 0o755}, {"tmp", 0o700}} {
		if err := mkdir(filepath.Join(r.lfsStore(), d.name), d.mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	hook := filepath.Join(r.repo, "hooks", "pre-push")
	if isRegular(hook) {
		return nil
	}
	return writeFile(hook, lfsHook, 0o755)
}

// lfsPointer names an object of Git LFS, as its batch API does.
type lfsPointer struct {
	OID  string `json:"oid"` // SHA-256 in hex
	Size int64  `json:"size"`
}

func (p lfsPointer) path() string { return filepath.Join("objects", p.OID[:2], p.OID[2:4], p.OID) }

// haveLFS reports whether the shared store holds an object, put there by us.
func (r *rig) haveLFS(p lfsPointer) bool {
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(r.lfsStore(), p.path()), &st)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == p.Size
}

// The sizes of pointers, by their specification.
const (
	minPointerBytes = 100
	maxPointerBytes = 1024
)

var (
	lfsOID         = regexp.MustCompile(`^[0-9a-f]{64}$`)
	pointerPattern = regexp.MustCompile(`\Aversion https://git-lfs\.github\.com/spec/v1\n(?:[a-z0-9.-]+ [^\n]*\n)*?oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n`)
)

// parsePointer reads what stands for a file of Git LFS; ok is false for anything else.
func parsePointer(text []byte) (p lfsPointer, ok bool) {
	m := pointerPattern.FindSubmatch(text)
	if m == nil {
		return p, false
	}
	size, err := strconv.ParseInt(string(m[2]), 10, 64)
	return lfsPointer{OID: string(m[1]), Size: size}, err == nil
}

// lfsPointers finds the pointers among the files of a commit that the worktree of a
// branch will hold.
func (r *rig) lfsPointers(ctx context.Context, own *lock, branch, commit string) ([]lfsPointer, error) {
	var blobs bytes.Buffer
	dirs := r.sparseDirs(branch)
	err := r.readLines(ctx, own, '\x00', nil, func(line []byte) { // mode SP type SP object TAB path
		head, path, _ := strings.Cut(string(line), "\t")
		if f := strings.Fields(head); len(f) == 3 && f[1] == "blob" && f[0] != "120000" && inSparse(dirs, path) {
			blobs.WriteString(f[2] + "\n")
		}
	}, "ls-tree", "-r", "-z", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	return r.pointersAmong(ctx, own, &blobs)
}

// pointersAmong finds the pointers among objects of git, whose names are lines. An object of
// Git LFS is named once.
func (r *rig) pointersAmong(ctx context.Context, own *lock, objects *bytes.Buffer) ([]lfsPointer, error) {
	var small bytes.Buffer
	err := r.readLines(ctx, own, '\n', objects, func(line []byte) {
		f := strings.Fields(string(line))
		if len(f) != 3 || f[1] != "blob" {
			return
		}
		if n, err := strconv.Atoi(f[2]); err == nil && n >= minPointerBytes && n <= maxPointerBytes {
			small.WriteString(f[0] + "\n")
		}
	}, "cat-file", "--batch-check", "--buffer")
	if err != nil || small.Len() == 0 {
		return nil, err
	}
	var all []lfsPointer
	seen := map[string]bool{}
	var text []byte // of one blob: the header of the next ends it
	take := func() {
		if p, ok := parsePointer(text); ok && !seen[p.OID] {
			seen[p.OID] = true
			all = append(all, p)
		}
		text = text[:0]
	}
	err = r.readLines(ctx, own, '\n', &small, func(line []byte) {
		if blobHeader.Match(line) {
			take()
		} else if len(text) <= maxPointerBytes {
			text = append(append(text, line...), '\n')
		}
	}, "cat-file", "--batch", "--buffer")
	take()
	return all, err
}

var blobHeader = regexp.MustCompile(`^[0-9a-f]{40} blob [0-9]+$`)

// readLines runs git on the repository and calls each with every line it prints.
func (r *rig) readLines(ctx context.Context, own *lock, end byte, stdin *bytes.Buffer, each func(line []byte), args ...string) error {
	c := r.inRepo(command{locks: heldBy(own), stdout: &entries{end: end, each: each}, args: args})
	if stdin != nil {
		c.stdin = stdin
	}
	_, err := r.m.run(ctx, c)
	return err
}

// adoptLFS brings what an agent has added in the worktree of a branch into the shared
// store, for the worktree goes. It returns an error when that has no room for it.
func (r *rig) adoptLFS(branch string) error {
	own := filepath.Join(r.admin(branch), lfsName, "objects")
	if !isDir(own) {
		return nil
	}
	if err := r.layoutLFS(); err != nil {
		return fmt.Errorf("store of Git LFS: %w", err)
	}
	return filepath.WalkDir(own, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !lfsOID.MatchString(e.Name()) {
			return nil //nolint:nilerr // what cannot be read is not there
		}
		if fi, err := e.Info(); err == nil && r.haveLFS(lfsPointer{OID: e.Name(), Size: fi.Size()}) {
			return nil
		}
		_, err = r.adoptLFSFrom(branchID(branch), e.Name())
		return err
	})
}

// adoptLFSFrom copies an object into the shared store from the store of an agent, by
// the pattern of its worktree's id, if its content is what its name says. It returns an
// error when the shared store cannot take it.
func (r *rig) adoptLFSFrom(id, oid string) (bool, error) {
	p := lfsPointer{OID: oid}
	found, _ := filepath.Glob(filepath.Join(r.repo, "worktrees", id, lfsName, p.path())) // a bad pattern finds nothing
	for _, path := range found {
		src, err := openOwned(path)
		if err != nil {
			continue
		}
		fi, err := src.Stat()
		if err == nil && !fi.Mode().IsRegular() {
			err = fmt.Errorf("object %s: is no file: %w", oid, town.ErrGit)
		}
		if err == nil {
			p.Size = fi.Size()
			err = r.storeLFS(p, src)
		}
		_ = src.Close() // read only
		switch {
		case err == nil:
			return true, nil
		case !errors.Is(err, town.ErrGit):
			return false, err
		}
		r.log.Warn("file of Git LFS not taken over", "oid", oid, "err", err)
	}
	return false, nil
}

// openOwned opens a file below an agent's administration without following a link on
// the last steps, which are the agent's.
func openOwned(path string) (*os.File, error) {
	top := filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(path))))) // objects/aa/bb/oid below lfs below the administration
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	rel, err := filepath.Rel(top, path)
	if err != nil {
		return nil, err
	}
	return root.OpenFile(rel, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}
