package gitmgr

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RigUsage is what a rig takes of the disk, in bytes of blocks.
type RigUsage struct {
	RigID     string
	Repo      int64 // the clone
	Worktrees int64 // all of them, the pool's too
	Other     int64 // trash, half-made and kept aside
	Count     int   // worktrees of branches
	OverQuota bool  // although everything was collected that may be
}

// Total returns all bytes of the rig.
func (u RigUsage) Total() int64 { return u.Repo + u.Worktrees + u.Other }

// usage walks all files of the rig. Agents may be at work there, so it is an estimate.
func (r *rig) usage() (RigUsage, error) {
	u := RigUsage{RigID: r.id}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return u, err
	}
	for _, e := range entries {
		switch n := diskBytes(filepath.Join(r.dir, e.Name())); e.Name() {
		case "repo.git":
			u.Repo = n
		case "worktrees":
			u.Worktrees = n
		default:
			u.Other += n
		}
	}
	branches, err := r.madeBranches()
	for _, b := range branches {
		if isDir(r.admin(b)) {
			u.Count++
		}
	}
	return u, err
}

// maxDepth is how deep directories are counted: each level costs a descriptor.
const maxDepth = 128

// diskBytes returns the bytes of blocks of a tree, of what of it can be read.
func diskBytes(path string) int64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	total := st.Blocks * 512
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return total
	}
	d, err := openDir(path)
	if err != nil {
		return total
	}
	return total + bytesBelow(d, 0)
}

// bytesBelow counts by descriptors, so that no link that an agent puts in the way
// leads out, and closes d.
func bytesBelow(d *os.File, depth int) (total int64) {
	defer d.Close()
	names, _ := d.Readdirnames(-1) // what cannot be read is not counted
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue
		}
		total += st.Blocks * 512
		if st.Mode&unix.S_IFMT != unix.S_IFDIR || depth == maxDepth {
			continue
		}
		fd, err := unix.Openat(int(d.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			total += bytesBelow(os.NewFile(uintptr(fd), name), depth+1)
		}
	}
	return total
}

// freeBytes returns what the disk of Home has left for us.
func (m *Manager) freeBytes() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(m.c.Home, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}
