package gitmgr

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// isLockedOut reports whether git failed on a lock file that was there.
func isLockedOut(err error) bool {
	e, ok := errors.AsType[*runError](err)
	return ok && strings.Contains(e.stderr, ".lock") && strings.Contains(e.stderr, "File exists")
}

// runPastLocks runs c, and once more when it failed on lock files that a dead git
// left in the repository: any of them when the caller holds the rig, else, with
// its branch held, that of ref.
func (r *rig) runPastLocks(ctx context.Context, ref string, c command) ([]byte, error) {
	out, err := r.m.run(ctx, c)
	if isLockedOut(err) && r.sweepLocks(r.repo, ref, 0, r.dir) > 0 {
		return r.m.run(ctx, c)
	}
	return out, err
}

// sweepLocks removes the lock files below dir that dead git processes left, that
// of ref alone unless it is empty and none younger than age, and returns how many. The
// caller holds the rig or the branch they belong to, so no git of ours made them; for
// agents' own, the processes of each file's owner are looked at, below works.
func (r *rig) sweepLocks(dir, ref string, age time.Duration, works ...string) (removed int) {
	root, err := os.OpenRoot(dir) // agents can write there: no link leads out
	if err != nil {
		return 0
	}
	defer func() { _ = root.Close() }()
	for _, l := range lockFiles(root) {
		if ref != "" && l.path != ref+".lock" || time.Since(l.made) < age || gitAlive(l.uid, works) {
			continue
		}
		if err := root.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.log.Warn("remove stale lock", "path", l.path, "err", err)
			continue
		}
		r.log.Warn("removed a lock that a dead git left", "dir", dir, "path", l.path)
		removed++
	}
	return removed
}

type lockLeft struct {
	path string
	uid  uint32
	made time.Time
}

// lockFiles lists git's lock files in a repository or in an administrative
// directory of a worktree: at its top, and among its refs.
func lockFiles(root *os.Root) (found []lockLeft) {
	add := func(path string, e fs.DirEntry) {
		if !e.Type().IsRegular() || !strings.HasSuffix(path, ".lock") {
			return
		}
		fi, err := e.Info()
		if err != nil {
			return // gone: its git lives
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			found = append(found, lockLeft{path, st.Uid, fi.ModTime()})
		}
	}
	entries, _ := fs.ReadDir(root.FS(), ".") // what cannot be read holds no lock of ours
	for _, e := range entries {
		add(e.Name(), e)
	}
	_ = fs.WalkDir(root.FS(), "refs", func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			add(path, e)
		}
		return nil
	})
	return found
}
