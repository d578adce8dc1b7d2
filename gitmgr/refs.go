package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"townd/town"
)

const (
	headsPrefix  = "refs/heads/"
	remotePrefix = "refs/remotes/origin/"
	tagsPrefix   = "refs/tags/"

	maxRefBytes = 4 << 10
	maxSymrefs  = 5
	headName    = "HEAD"
)

// store opens the repository for go-git. Both directories are named by us: go-git
// would believe a "commondir" file, which agents can write. It keeps no descriptor
// open, so there is nothing to close.
func (r *rig) store(admin string) *filesystem.Storage {
	common := osfs.New(r.repo, osfs.WithBoundOS())
	if admin == "" {
		return filesystem.NewStorage(common, cache.NewObjectLRU(8*cache.MiByte))
	}
	own := osfs.New(admin, osfs.WithBoundOS())
	return filesystem.NewStorage(dotgit.NewRepositoryFilesystem(own, common), cache.NewObjectLRU(8*cache.MiByte))
}

// ref resolves a full ref name in the repository; ok is false when there is none.
func (r *rig) ref(name string) (hash string, ok bool, err error) {
	return r.resolve("", plumbing.ReferenceName(name))
}

var headPattern = regexp.MustCompile(`^(ref: refs/\S+|[0-9a-f]{40})\s*$`)

// head resolves HEAD of a worktree. A branch without commits gives "".
func (r *rig) head(branch string) (string, error) {
	admin := r.admin(branch)
	// go-git takes an empty HEAD for a missing one, and a missing one from the repository.
	text, err := readOwned(admin, headName)
	if err != nil || !headPattern.MatchString(text) {
		return "", errors.Join(fmt.Errorf("HEAD of branch %s's worktree is not what git writes", branch), err)
	}
	hash, _, err := r.resolve(admin, headName)
	return hash, err
}

func (r *rig) resolve(admin string, name plumbing.ReferenceName) (string, bool, error) {
	st := r.store(admin)
	for range maxSymrefs {
		ref, err := r.readRef(st, admin, name)
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		if ref.Type() == plumbing.HashReference {
			return ref.Hash().String(), !ref.Hash().IsZero(), nil
		}
		name = ref.Target()
	}
	return "", false, fmt.Errorf("ref %s: points to itself", name)
}

// readRef reads one ref. What an agent put in its place, a pipe or an endless
// file, is not opened: go-git reads all of it.
func (r *rig) readRef(st *filesystem.Storage, admin string, name plumbing.ReferenceName) (*plumbing.Reference, error) {
	dir := r.repo
	if admin != "" && !strings.HasPrefix(name.String(), "refs/") {
		dir = admin
	}
	fi, err := os.Lstat(filepath.Join(dir, name.String()))
	if err == nil && !fi.IsDir() && (!fi.Mode().IsRegular() || fi.Size() > maxRefBytes) {
		return nil, fmt.Errorf("ref %s: is not a file that git wrote", name)
	}
	return st.Reference(name)
}

// remoteDefault returns the branch that the remote's HEAD named when it was
// cloned, "" if none.
func (r *rig) remoteDefault() (string, error) {
	st := r.store("")
	ref, err := r.readRef(st, "", headName)
	if err != nil {
		return "", err
	}
	if ref.Type() != plumbing.SymbolicReference {
		return "", nil
	}
	return strings.TrimPrefix(ref.Target().String(), headsPrefix), nil
}

// listRefs calls each for the refs below a prefix, by name. It is git that lists them:
// go-git reads all refs there are, also locks, and pipes that agents put among theirs.
func (r *rig) listRefs(ctx context.Context, locks []*lock, prefix string, each func(name, hash string)) error {
	out := &entries{end: '\n', each: func(line []byte) {
		if hash, name, ok := strings.Cut(string(line), " "); ok {
			each(name, hash)
		}
	}}
	_, err := r.m.run(ctx, r.inRepo(command{
		locks: locks, stdout: out, args: []string{"for-each-ref", "--format=%(objectname) %(refname)", prefix},
	}))
	return err
}

// remoteBranches lists what the remote has, for error texts.
func (r *rig) remoteBranches(ctx context.Context, l *lock) (names []string, err error) {
	err = r.listRefs(ctx, []*lock{l}, remotePrefix, func(ref, _ string) {
		if name := strings.TrimPrefix(ref, remotePrefix); name != headName {
			names = append(names, name)
		}
	})
	return names, err
}

// readRemote returns the URL that repo.git was cloned from.
func (r *rig) readRemote() (string, error) {
	st := r.store("")
	cfg, err := st.Config()
	if err != nil {
		return "", fmt.Errorf("read config of rig %s: %w", r.id, err)
	}
	origin, ok := cfg.Remotes["origin"]
	if !ok || len(origin.URLs) == 0 {
		return "", fmt.Errorf("rig %s: its clone has no remote: %w", r.id, town.ErrConflict)
	}
	return origin.URLs[0], nil
}

// syncDefault moves refs/heads of the remote's default branch to what the remote
// has. It is ours: nobody works on it here.
func (r *rig) syncDefault(ctx context.Context, l *lock) error {
	branch, err := r.remoteDefault()
	if err != nil || branch == "" {
		return err
	}
	want, ok, err := r.ref(remotePrefix + branch)
	if err != nil || !ok {
		return err
	}
	have, _, err := r.ref(headsPrefix + branch)
	if err != nil || have == want {
		return err
	}
	_, err = r.runPastLocks(ctx, "", r.inRepo(command{
		locks: []*lock{l},
		args:  []string{"update-ref", "--no-deref", "-m", "fetch", headsPrefix + branch, want},
	}))
	return err
}

// commitOf returns the commit that a start point names: a branch here, a branch
// of the remote, a tag or a hash, in this order; ok is false when there is none.
func (r *rig) commitOf(ctx context.Context, l *lock, name string) (hash string, ok bool, err error) {
	candidates := []string{headsPrefix + name, remotePrefix + name, tagsPrefix + name}
	if strings.HasPrefix(name, "refs/") {
		candidates = append([]string{name}, candidates...)
	}
	if short, ok := strings.CutPrefix(name, "origin/"); ok {
		candidates = append(candidates, remotePrefix+short)
	}
	if commitPattern.MatchString(name) {
		candidates = append(candidates, name)
	}
	for _, c := range candidates {
		if c != name || strings.HasPrefix(c, "refs/") {
			if _, ok, err := r.ref(c); err != nil || !ok {
				continue
			}
		}
		hash, ok, err := r.peel(ctx, l, c)
		if err != nil || ok {
			return hash, ok, err
		}
	}
	return "", false, nil
}

// peel returns the commit behind a ref or a hash, full or short.
func (r *rig) peel(ctx context.Context, l *lock, name string) (string, bool, error) {
	out, err := r.m.run(ctx, r.inRepo(command{
		locks: []*lock{l},
		args:  []string{"rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}"},
	}))
	if e, ok := errors.AsType[*runError](err); ok && e.exit >= 1 {
		return "", false, nil
	}
	return strings.TrimSpace(string(out)), err == nil, err
}
