package gitmgr

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"townd/town"
)

// Submodules of a rig that is set so. Git's own way obeys what a repository says of
// them; here the server reads .gitmodules for paths and URLs alone. A URL counts when
// the default branch names it, or a submodule does that is reached by such URLs: what an
// agent puts into .gitmodules does not have the town fetch, with its credential, what
// the agent may not see. Each remote has one bare clone per rig, below {rigId}/modules,
// whose objects the agents' repositories borrow.

const (
	maxModuleDepth = 5
	maxModules     = 200 // of one worktree
)

// module is a submodule in a worktree.
type module struct {
	Path   string `json:"path"` // below the worktree
	URL    string `json:"url"`
	Commit string `json:"commit"`
}

func (r *rig) hasSubmodules() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settings.Submodules
}

// filling is a worktree whose submodules are being filled.
type filling struct {
	*rig
	own  *lock
	spec Spec
	dirs []string // sparse ones
	done []module
}

// fillModules checks out the submodules of a new worktree, and theirs, as its owner.
// Those whose URL does not count stay empty, with a word in the log.
func (r *rig) fillModules(ctx context.Context, own *lock, s Spec, commit string) ([]module, error) {
	if !r.hasSubmodules() || commit == "" {
		return nil, nil
	}
	f := &filling{rig: r, own: own, spec: s, dirs: r.sparseDirs(s.Branch)}
	remote, err := r.remoteURL()
	if err != nil {
		return nil, err
	}
	trunk, err := r.remoteDefault()
	if err != nil {
		return nil, err
	}
	tip, ok, err := r.ref(remotePrefix + trunk)
	if err != nil || !ok {
		return nil, err
	}
	trusted, err := f.urls(ctx, r.repo, tip, remote)
	if err != nil {
		return nil, err
	}
	counts := func(url string) bool { return slices.Contains(slices.Collect(maps.Values(trusted)), url) }
	err = f.fill(ctx, r.repo, commit, remote, "", 1, counts)
	return f.done, err
}

// fill checks out the submodules of a commit in a repository whose own URL is base and
// whose files are at path below the worktree.
func (f *filling) fill(ctx context.Context, repo, commit, base, path string, depth int, counts func(url string) bool) error {
	links, err := f.links(ctx, repo, commit)
	if err != nil || len(links) == 0 {
		return err
	}
	urls, err := f.urls(ctx, repo, commit, base)
	if err != nil {
		return err
	}
	for _, link := range links {
		m := module{Path: filepath.Join(path, link.Path), URL: urls[link.Path], Commit: link.Commit}
		switch {
		case depth == 1 && !inSparse(f.dirs, m.Path):
			continue
		case m.URL == "" || !counts(m.URL):
			f.log.Warn("submodule left empty: the default branch does not name it with this URL", "branch", f.spec.Branch, "path", m.Path, "url", redact(m.URL))
			continue
		case depth > maxModuleDepth || len(f.done) >= maxModules:
			return fmt.Errorf("submodule %q: there are more than %d, or they are more than %d deep: %w", m.Path, maxModules, maxModuleDepth, town.ErrTooLarge)
		}
		if err := f.m.CheckURL(m.URL); err != nil {
			return fmt.Errorf("submodule %q: url: %w", m.Path, err)
		}
		cache, err := f.moduleClone(ctx, m)
		if err == nil {
			err = f.checkout(ctx, cache, m)
		}
		if err != nil {
			return fmt.Errorf("submodule %q: %w", m.Path, err)
		}
		f.done = append(f.done, m)
		if err := f.fill(ctx, cache, m.Commit, m.URL, m.Path, depth+1, func(string) bool { return true }); err != nil {
			return err
		}
	}
	return nil
}

// links lists the submodules that a commit holds, without URLs.
func (f *filling) links(ctx context.Context, repo, commit string) (links []module, err error) {
	err = f.list(ctx, repo, func(entry string) {
		head, path, _ := strings.Cut(entry, "\t")
		if at := strings.Fields(head); len(at) == 3 && at[0] == "160000" {
			links = append(links, module{Path: path, Commit: at[2]})
		}
	}, "ls-tree", "-r", "-z", "--full-tree", commit)
	return links, err
}

const modulesFile = ".gitmodules"

var moduleKey = regexp.MustCompile(`(?s)\Asubmodule\.(.+)\.(path|url)\n(.*)\z`)

// urls reads the URLs of submodules in a commit, by path, relative ones resolved.
func (f *filling) urls(ctx context.Context, repo, commit, base string) (map[string]string, error) {
	there := false
	err := f.list(ctx, repo, func(entry string) { there = strings.Contains(entry, " blob ") }, "ls-tree", "-z", commit, "--", modulesFile)
	if err != nil || !there {
		return nil, err
	}
	byName := map[string][2]string{}
	err = f.list(ctx, repo, func(entry string) {
		if m := moduleKey.FindStringSubmatch(entry); m != nil {
			named := byName[m[1]]
			named[map[string]int{"path": 0, "url": 1}[m[2]]] = m[3]
			byName[m[1]] = named
		}
	}, "config", "--blob="+commit+":"+modulesFile, "--no-includes", "-z", "--list")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", modulesFile, err)
	}
	urls := map[string]string{}
	for _, named := range byName {
		urls[named[0]] = resolveModule(base, named[1])
	}
	return urls, nil
}

// list runs git on a bare repository of ours and calls each with what it prints.
func (f *filling) list(ctx context.Context, repo string, each func(entry string), args ...string) error {
	_, err := f.m.run(ctx, command{
		dir: repo, env: []string{"GIT_DIR=" + repo, "GIT_COMMON_DIR=" + repo}, locks: []*lock{f.own}, args: args,
		stdout: &entries{each: func(entry []byte) { each(string(entry)) }},
	})
	return err
}

// resolveModule returns the URL of a submodule, one that begins with ./ or ../ as seen
// from its repository's.
func resolveModule(base, url string) string {
	if !strings.HasPrefix(url, "./") && !strings.HasPrefix(url, "../") {
		return url
	}
	base, sep := strings.TrimRight(base, "/"), "/"
	for {
		rest, up := strings.CutPrefix(url, "../")
		if !up {
			if rest, up = strings.CutPrefix(url, "./"); !up {
				return base + sep + url
			}
			url = rest
			continue
		}
		url = rest
		at := strings.LastIndexAny(base, "/:")
		if scheme, rest, ok := strings.Cut(base, "://"); ok {
			if at = strings.LastIndexByte(rest, '/'); at >= 0 {
				at += len(scheme + "://")
			}
		}
		if at < 0 {
			return "" // above the host
		}
		base, sep = base[:at], base[at:at+1]
	}
}

// moduleRepo is where the bare clone of a submodule's remote is.
func (r *rig) moduleRepo(m module) string {
	sum := sha256.Sum256([]byte(m.URL))
	return filepath.Join(r.dir, "modules", hex.EncodeToString(sum[:8])+".git")
}

// moduleClone returns the bare clone of a submodule's remote, which has its commit.
func (f *filling) moduleClone(ctx context.Context, m module) (string, error) {
	repo := f.moduleRepo(m)
	if err := mkdir(filepath.Dir(repo), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", spaceKind(err)
	}
	l, err := f.m.lockFile(ctx, repo+".lock")
	if err != nil {
		return "", err
	}
	defer l.release()
	remote := command{
		observe: "fetch submodule", dir: f.dir, rigID: f.id, url: m.URL, locks: []*lock{l}, timeout: f.m.c.CloneTimeout, remote: true, retries: remoteRetries,
		settings: [][2]string{{"core.sharedRepository", "0644"}}, // agents read it whatever our umask
	}
	if !isDir(repo) {
		if err := f.newModuleClone(ctx, remote, repo); err != nil {
			return "", err
		}
	}
	has := command{
		dir: repo, env: []string{"GIT_DIR=" + repo, "GIT_COMMON_DIR=" + repo}, locks: []*lock{l}, args: []string{"cat-file", "-e", m.Commit + "^{commit}"},
	}
	if _, err := f.m.run(ctx, has); err == nil {
		return repo, nil
	}
	remote.dir, remote.env = repo, has.env
	remote.args = []string{
		"fetch", "--quiet", "--prune", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules", "--",
		m.URL, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*",
	}
	if _, err := f.m.run(ctx, remote); err != nil {
		return "", err
	}
	if _, err := f.m.run(ctx, has); err != nil {
		return "", fmt.Errorf("commit %s: is on no branch or tag of %s: %w", m.Commit, redact(m.URL), town.ErrNotFound)
	}
	return repo, nil
}

func (f *filling) newModuleClone(ctx context.Context, remote command, repo string) error {
	tmp, err := os.MkdirTemp(filepath.Join(f.dir, "tmp"), "module-")
	if err != nil {
		return spaceKind(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // collected later, else
	remote.dir = tmp
	remote.args = []string{"clone", "--quiet", "--bare", "--no-local", "--template=", "--no-recurse-submodules", "--", remote.url, "clone"}
	if _, err := f.m.run(ctx, remote); err != nil {
		return err
	}
	clone := filepath.Join(tmp, "clone")
	err = filepath.WalkDir(clone, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
	return errors.Join(err, os.Rename(clone, repo))
}

// moduleDir is the repository of a submodule in a worktree, where git has its own.
func (r *rig) moduleDir(branch, path string) string {
	return filepath.Join(r.admin(branch), "modules", branchID(path))
}

// checkout makes the repository of a submodule, which borrows its objects, and writes
// its files.
func (f *filling) checkout(ctx context.Context, cache string, m module) error {
	branch, o := f.spec.Branch, f.spec.Owner
	admin, dir := f.moduleDir(branch, m.Path), filepath.Join(f.path(branch), m.Path)
	if !isDir(dir) {
		return fmt.Errorf("its directory is not there: %w", town.ErrConflict)
	}
	git := func(args ...string) error {
		c := command{
			dir: dir, owner: o, locks: []*lock{f.own}, args: args, timeout: f.m.c.CloneTimeout,
			env: append(identityEnv(f.spec.Name, f.spec.Email), "GIT_DIR="+admin, "GIT_WORK_TREE="+dir),
		}
		_, err := f.m.run(ctx, c)
		return err
	}
	if err := mkdir(filepath.Dir(admin), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := f.give(filepath.Dir(admin), o); err != nil {
		return err
	}
	if err := git("init", "--quiet", "--template="); err != nil {
		return err
	}
	if err := mkdir(filepath.Join(admin, "objects", "info"), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err := errors.Join(
		f.writeOwned(filepath.Join(admin, "objects", "info"), "alternates", filepath.Join(cache, "objects"), o),
		f.writeOwned(dir, ".git", "gitdir: "+admin, o),
		f.give(filepath.Join(admin, "objects", "info"), o),
	)
	if err != nil {
		return err
	}
	if err := git("remote", "add", "--", "origin", m.URL); err != nil {
		return err
	}
	return git("checkout", "--quiet", "--force", "--detach", m.Commit)
}

// modulesWork says, for each submodule of a worktree that holds what its remote lacks,
// why, as far as that can be known: of a repository that we have not put there all.
func (r *rig) modulesWork(ctx context.Context, own *lock, branch string, o Owner) (whys []string, err error) {
	links, err := r.gitlinks(ctx, own, branch, o)
	if err != nil {
		return nil, err
	}
	f, err := r.readFacts(branch)
	if err != nil {
		return nil, err
	}
	for _, m := range f.Modules {
		links = slices.DeleteFunc(links, func(path string) bool { return path == m.Path })
		why, err := r.moduleWork(ctx, own, branch, o, m)
		if err != nil {
			return nil, err
		}
		if why != "" {
			whys = append(whys, why)
		}
	}
	for _, path := range links {
		if _, err := os.Lstat(filepath.Join(r.path(branch), path, ".git")); err == nil {
			whys = append(whys, "a submodule has a repository of its own: "+path)
		}
	}
	return whys, nil
}

// moduleWork says why the submodule that a worktree was given holds what its remote
// lacks, "" when it does not. Nothing is run that reads the agent's configuration there.
func (r *rig) moduleWork(ctx context.Context, own *lock, branch string, o Owner, m module) (why string, err error) {
	dir := filepath.Join(r.path(branch), m.Path)
	if !isDir(dir) {
		return "", nil
	}
	head, err := readOwned(r.moduleDir(branch, m.Path), headName)
	if err != nil || strings.TrimSpace(head) != m.Commit {
		return "a submodule has moved on: " + m.Path, nil //nolint:nilerr // what cannot be read is not known to be saved
	}
	for _, name := range []string{"refs/heads", "refs/stash", "packed-refs"} {
		if has, err := holdsFiles(filepath.Join(r.moduleDir(branch, m.Path), name)); err != nil || has {
			return "a submodule has branches of its own: " + m.Path, nil //nolint:nilerr // likewise
		}
	}
	index, err := r.copyIndex(branch, o)
	if err != nil {
		return "", err
	}
	defer index.discard()
	repo := r.moduleRepo(m)
	var out bytes.Buffer
	for _, args := range [][]string{
		{"read-tree", m.Commit},
		{"ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard"},
	} {
		out.Reset()
		_, err := r.m.run(ctx, command{
			dir: dir, owner: o, locks: []*lock{own}, args: args, stdout: &out,
			env: []string{"GIT_DIR=" + repo, "GIT_COMMON_DIR=" + repo, "GIT_WORK_TREE=" + dir, "GIT_INDEX_FILE=" + index.path},
		})
		if err != nil {
			return "", err
		}
	}
	if out.Len() > 0 {
		return "a submodule holds changes: " + m.Path, nil
	}
	return "", nil
}

// holdsFiles reports whether there is a file at path or below it.
func holdsFiles(path string) (has bool, err error) {
	err = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !e.IsDir() {
			has = true
			return fs.SkipAll
		}
		return err
	})
	return has, err
}
