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

// lockPatience is how long a lock file that another git may hold is waited for: git
// holds one for milliseconds.
const lockPatience = 2 * time.Second

// runPastLocks runs c, and again when it failed on lock files that a dead git left in
// the repository: any of them when the caller holds the rig, else, with its branch
// held, that of ref. When c itself is killed its locks are taken away at once: nobody
// is to find them who knows nothing of it, least of all an agent.
func (r *rig) runPastLocks(ctx context.Context, ref string, c command) ([]byte, error) {
	out, err := r.m.run(ctx, c)
	for pause := 10 * time.Millisecond; isLockedOut(err) && pause < lockPatience; pause *= 2 {
		if r.sweepLocks(r.repo, ref, 0, r.dir) == 0 {
			select {
			case <-ctx.Done():
				return out, err
			case <-time.After(pause): // git tells nobody when it gives a lock up
			}
		}
		out, err = r.m.run(ctx, c)
	}
	if wasKilled(err) {
		r.sweepLocks(r.repo, ref, 0, r.dir)
	}
	return out, err
}

// wasKilled reports whether git did not end by itself, when it clears its locks away.
// SIGTERM is no better than SIGKILL: there is a moment when a lock file is made and
// git's handler does not know it yet (tempfile.c).
func wasKilled(err error) bool {
	e, ok := errors.AsType[*runError](err)
	return err != nil && (!ok || e.exit == -1)
}

// freeBranch removes the lock of a branch that a dead git of ours left. The branch is
// held, so what may rightly have it is git in its worktree. Every worktree is
// handed out after this: an agent could neither commit nor remove our file.
func (r *rig) freeBranch(branch string) {
	r.sweepLocks(r.repo, headsPrefix+branch, 0, r.admin(branch), r.path(branch))
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
	for _, l := range lockFiles(root, ref) {
		if time.Since(l.ModTime()) < age || gitAlive(l.uid(), l.ModTime(), works) {
			continue
		}
		if now, err := root.Lstat(l.path); err != nil || !os.SameFile(now, l.FileInfo) || !now.ModTime().Equal(l.ModTime()) {
			continue // another git's by now
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
	fs.FileInfo
	path string
}

func (l lockLeft) uid() uint32 { return l.Sys().(*syscall.Stat_t).Uid }

// lockFiles lists git's lock files in a repository or in an administrative directory
// of a worktree: at its top, and among its refs; that of ref alone unless it is empty.
func lockFiles(root *os.Root, ref string) (found []lockLeft) {
	add := func(path string) {
		// One that is gone is of a git that lives.
		if fi, err := root.Lstat(path); err == nil && fi.Mode().IsRegular() {
			found = append(found, lockLeft{fi, path})
		}
	}
	if ref != "" {
		add(ref + ".lock")
		return found
	}
	entries, _ := fs.ReadDir(root.FS(), ".") // what cannot be read holds no lock of ours
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") {
			add(e.Name())
		}
	}
	_ = fs.WalkDir(root.FS(), "refs", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".lock") {
			add(path)
		}
		return nil
	})
	return found
}
