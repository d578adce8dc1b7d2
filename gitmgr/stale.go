package gitmgr

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// isLockedOut reports whether git failed on a lock file that was there.
func isLockedOut(err error) bool {
	e, ok := errors.AsType[*runError](err)
	return ok && strings.Contains(e.stderr, ".lock") && strings.Contains(e.stderr, "File exists")
}

// sweepLocks removes the lock files below dir that dead git processes left, and
// reports whether there were any. The caller holds the rig or the branch that dir
// belongs to, so no git of ours works there; agents' are looked for.
func (r *rig) sweepLocks(dir string) bool {
	found := lockFiles(dir)
	if len(found) == 0 || gitAlive(r.repo, r.dir) {
		return false
	}
	for _, path := range found {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.log.Warn("remove stale lock", "path", path, "err", err)
			continue
		}
		r.log.Warn("removed a lock that a dead git left", "path", path)
	}
	return true
}

// lockFiles lists the lock files that git makes below a repository or an
// administrative directory of a worktree.
func lockFiles(dir string) (found []string) {
	add := func(path string, e fs.DirEntry) {
		if e.Type().IsRegular() && strings.HasSuffix(path, ".lock") {
			found = append(found, path)
		}
	}
	entries, _ := os.ReadDir(dir) // what cannot be read holds no lock of ours
	for _, e := range entries {
		add(filepath.Join(dir, e.Name()), e)
	}
	for _, sub := range []string{"refs", "logs"} {
		_ = filepath.WalkDir(filepath.Join(dir, sub), func(path string, e fs.DirEntry, err error) error {
			if err == nil {
				add(path, e)
			}
			return nil
		})
	}
	return found
}
