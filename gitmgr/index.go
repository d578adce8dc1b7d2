package gitmgr

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A copy of an index is made under its branch's lock, left-overs are collected
// under the rig's: one this young may be in use.
const (
	indexPrefix = "index-"
	indexAge    = time.Hour
)

// indexCopy is a copy of the index of a worktree, where its owner can write it.
type indexCopy struct {
	*rig
	branch string
	path   string
	of     unix.Stat_t // the index that was copied, zero when there was none
	ino    uint64      // of the copy, as it was made
}

// copyIndex copies the index of a worktree.
func (r *rig) copyIndex(branch string, o Owner) (*indexCopy, error) {
	dir, err := os.MkdirTemp(filepath.Join(r.dir, "tmp"), indexPrefix)
	if err != nil {
		return nil, err
	}
	c := &indexCopy{rig: r, branch: branch, path: filepath.Join(dir, "index")}
	if err := errors.Join(c.copy(o), r.give(dir, o)); err != nil {
		c.discard()
		return nil, err
	}
	return c, nil
}

func (c *indexCopy) discard() {
	if dir := filepath.Dir(c.path); os.RemoveAll(dir) != nil {
		c.log.Warn("temporary index not removed", "path", dir)
	}
}

// copy copies admin/index, which is the agent's: only a plain file of its own
// is read, and never through a link. Its time goes with it: git reads a file again that
// is no older than the index, for it may have changed since (Documentation/technical/racy-git.txt).
// By a younger index it would take a change of the same second and size for none.
func (c *indexCopy) copy(o Owner) error {
	d, err := openDir(c.admin(c.branch))
	if err != nil {
		return err
	}
	defer d.Close()
	fd, err := unix.Openat(int(d.Fd()), "index", unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // no commit and nothing added yet
	}
	if err != nil {
		return fmt.Errorf("open index: %w", err)
	}
	src := os.NewFile(uintptr(fd), "index")
	defer src.Close()
	if err := unix.Fstat(fd, &c.of); err != nil {
		return err
	}
	if c.of.Mode&unix.S_IFMT != unix.S_IFREG || c.of.Nlink != 1 || (o.UID != 0 && c.of.Uid != o.UID) {
		return fmt.Errorf("index: is not a file that git wrote: %w", fs.ErrInvalid)
	}
	dst, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if o.UID != 0 {
		err = errors.Join(err, dst.Chown(int(o.UID), int(o.GID)))
	}
	var st unix.Stat_t
	err = errors.Join(err, unix.Fstat(int(dst.Fd()), &st), dst.Close())
	if c.ino = st.Ino; err == nil {
		mtime := time.Unix(c.of.Mtim.Unix())
		err = os.Chtimes(c.path, mtime, mtime)
	}
	return err
}

// renew puts the copy, if git has renewed it, in the place of the index that it was made
// of: else git reads all files of a worktree each time that it looks, as long as nobody
// writes its index, when the checkout wrote that in the second of the files. It is done as
// git does it, so that nothing is lost that the agent's git writes meanwhile: whoever has
// index.lock may write, and the index must still be the one that was read. The lock is held for
// three calls of the kernel. Where that does not go now, the next look does it.
func (c *indexCopy) renew() {
	var st, now unix.Stat_t
	if c.of.Ino == 0 || unix.Lstat(c.path, &st) != nil || st.Ino == c.ino || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Uid != c.of.Uid {
		return
	}
	d, err := openDir(c.admin(c.branch))
	if err != nil {
		return
	}
	defer d.Close()
	at := int(d.Fd())
	const lock = "index.lock"
	if unix.Renameat2(unix.AT_FDCWD, c.path, at, lock, unix.RENAME_NOREPLACE) != nil {
		return
	}
	err = unix.Fstatat(at, "index", &now, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && now.Ino == c.of.Ino && now.Size == c.of.Size && now.Mtim == c.of.Mtim && now.Ctim == c.of.Ctim {
		err = unix.Renameat(at, lock, at, "index")
	} else {
		err = unix.Unlinkat(at, lock, 0)
	}
	if err != nil {
		c.log.Warn("index not renewed", "branch", c.branch, "err", err)
	}
}
