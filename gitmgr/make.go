package gitmgr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

// make makes the empty worktree of a branch: its directory and git's
// administrative directory, both the owner's. It does what `git worktree add
// --no-checkout` does, but the administrative directory appears whole, by a
// rename: git reads all of them when it makes or deletes a branch, and fails on
// one that is half there ("failed to read worktrees/19/commondir", with 50 adds
// at once, while agents work).
func (r *rig) make(s Spec, p plan) (err error) {
	dir, tmp := r.path(s.Branch), filepath.Join(r.dir, "tmp", town.NewID(time.Now()))
	if err := r.parents(s.Branch); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.discard(dir), r.discard(tmp))
		}
	}()
	if err := errors.Join(mkdir(dir, 0o700), mkdir(tmp, 0o700)); err != nil {
		return err
	}
	head := "ref: " + headsPrefix + s.Branch
	if p.isNew {
		head = p.commit
	}
	err = errors.Join(
		r.writeOwned(dir, ".git", "gitdir: "+r.admin(s.Branch), s.Owner),
		r.writeOwned(tmp, "HEAD", head, s.Owner),
		r.writeOwned(tmp, "commondir", "../..", s.Owner),
		r.writeOwned(tmp, "gitdir", filepath.Join(dir, ".git"), s.Owner),
		r.makeSparse(tmp, s),
		r.writeOwned(tmp, filledName, r.filled(), s.Owner),
		r.give(tmp, s.Owner), r.give(dir, s.Owner),
	)
	if err != nil {
		return err
	}
	return os.Rename(tmp, r.admin(s.Branch))
}

// parents makes the directories between worktrees/ and the worktree of a branch.
// They stay ours, so that no agent can put a link in the way of another.
func (r *rig) parents(branch string) error {
	dir := filepath.Join(r.dir, "worktrees")
	for part := range strings.SplitSeq(filepath.Dir(branch), "/") {
		dir = filepath.Join(dir, part)
		err := mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) && !isDir(dir) {
			return fmt.Errorf("%s: is not a directory: %w", dir, town.ErrConflict)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// repair puts right what is wrong around a worktree and touches none of its work:
// a directory that vanished, a link between it and the repository that broke, an
// index that a crash lost, locks that a dead git left, files of an earlier owner.
func (r *rig) repair(ctx context.Context, own *lock, s Spec, f facts) error {
	admin, dir := r.admin(s.Branch), r.path(s.Branch)
	gone := !isDir(dir)
	if gone {
		r.log.Warn("worktree had vanished, making it again", "branch", s.Branch, "path", dir)
		if err := errors.Join(r.parents(s.Branch), mkdir(dir, 0o700), r.give(dir, s.Owner)); err != nil {
			return err
		}
	}
	if err := r.handOver(s); err != nil {
		return err
	}
	for _, want := range []struct{ dir, name, text string }{
		{dir, ".git", "gitdir: " + admin},
		{admin, "commondir", "../.."},
		{admin, "gitdir", filepath.Join(dir, ".git")},
	} {
		if have, err := readOwned(want.dir, want.name); err == nil && strings.TrimSpace(have) == want.text {
			continue
		}
		if err := r.writeOwned(want.dir, want.name, want.text, s.Owner); err != nil {
			return err
		}
	}
	r.sweepLocks(admin, "", 0, admin, dir)
	return r.repairHead(ctx, own, s, f, gone)
}

// repairHead sees to HEAD, index and files of a worktree.
func (r *rig) repairHead(ctx context.Context, own *lock, s Spec, f facts, gone bool) error {
	admin := r.admin(s.Branch)
	head, err := r.head(s.Branch)
	if err != nil {
		r.log.Warn("worktree's HEAD is unreadable, back to its branch", "branch", s.Branch, "err", err)
		if err := r.writeOwned(admin, "HEAD", "ref: "+headsPrefix+s.Branch, s.Owner); err != nil {
			return err
		}
		if head, err = r.head(s.Branch); err != nil {
			return err
		}
	}
	if head == "" {
		return nil // no commit yet
	}
	var todo [][]string
	if text, err := readOwned(admin, headName); err == nil && f.Making && !strings.HasPrefix(text, "ref: ") {
		// Killed between the files and the branch: both are one command's work. Nobody
		// was given the files, so none is lost.
		todo = append(todo, []string{"checkout", "--quiet", "--force", "--no-track", "-B", s.Branch, cmp.Or(f.Start, head)})
	}
	if !isRegular(filepath.Join(admin, "index")) {
		todo = append(todo, []string{"read-tree", "HEAD"})
		gone = true
	}
	if gone { // without --force: what is there stays
		todo = append(todo, []string{"checkout-index", "--all", "--quiet"})
	}
	for _, args := range todo {
		c := r.inWorktree(s.Branch, s.Owner, command{locks: []*lock{own}, args: args})
		c.env = append(c.env, identityEnv(s.Name, s.Email)...)
		_, err := r.runPastLocks(ctx, headsPrefix+s.Branch, c)
		if e, ok := errors.AsType[*runError](err); ok && args[0] == "checkout-index" && e.exit == 1 {
			err = nil // it says so when files are there already
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeOwned writes a line to dir/name for its owner. The directory may be an
// agent's: no link is followed, and what stands in the way is replaced.
func (r *rig) writeOwned(dir, name, line string, o Owner) error {
	d, err := openDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	tmp := ".townd-" + town.NewID(time.Now())
	fd, err := unix.Openat(int(d.Fd()), tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return &fs.PathError{Op: "create", Path: filepath.Join(dir, name), Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(dir, tmp))
	_, err = f.WriteString(line + "\n")
	if o.UID != 0 {
		err = errors.Join(err, f.Chown(int(o.UID), int(o.GID)))
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = unix.Renameat(int(d.Fd()), tmp, int(d.Fd()), name)
	}
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENOTEMPTY) {
		aside := name + ".replaced-" + town.NewID(time.Now())
		err = errors.Join(unix.Renameat(int(d.Fd()), name, int(d.Fd()), aside), unix.Renameat(int(d.Fd()), tmp, int(d.Fd()), name))
	}
	if err != nil {
		_ = unix.Unlinkat(int(d.Fd()), tmp, 0) // err says why already
		return &fs.PathError{Op: "write", Path: filepath.Join(dir, name), Err: err}
	}
	return nil
}

// readOwned reads the small regular file dir/name; an agent may have put
// something else there.
func readOwned(dir, name string) (string, error) {
	d, err := openDir(dir)
	if err != nil {
		return "", err
	}
	defer d.Close()
	fd, err := unix.Openat(int(d.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: filepath.Join(dir, name), Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return "", &fs.PathError{Op: "open", Path: filepath.Join(dir, name), Err: fs.ErrInvalid}
	}
	b := make([]byte, maxRefBytes)
	n, err := f.Read(b)
	return string(b[:n]), err
}

// openDir opens a directory that must not be a link.
func openDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}
