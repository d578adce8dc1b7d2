package gitmgr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"townd/town"
)

// A repository that several users share, so that each can commit, rebase, stash
// and branch but none can change another's branch, the default one, or what git
// runs. All directories carry the rig's group (setgid). Three kinds:
//
//	open    root 3775: everybody adds, nobody replaces or deletes another's (sticky)
//	closed  root 2755: only the server writes
//	own     the agent's 2755: its refs/heads/polecat/<name>, its worktree's administration
//
// Open: the top (packed-refs.lock), refs, refs/heads, refs/tags, logs likewise,
// and all 256 object directories, made beforehand since one made by an agent
// would be its own. Closed: hooks, info, objects/info and objects/pack (a pack with a
// forged index shadows true objects), refs/remotes, refs/town, refs/replace,
// worktrees. config, HEAD and packed-refs are root's files in a sticky directory.
// objects/pack being closed, agents fetch into loose objects (unpackLimit).
//
// What an agent cannot do so: git config, git worktree add, git add of a file over
// core.bigFileThreshold (512 MiB, it would become a pack), stash while another's
// stash is there (refs/stash is one for all worktrees), and make a branch x/y
// when another agent's git made x/ first.
const (
	openMode   = 0o775 | os.ModeSetgid | os.ModeSticky
	closedMode = 0o755 | os.ModeSetgid
)

// sharedConfig makes what an agent writes readable to its rig whatever its umask.
const sharedConfig = "[core]\n\tsharedRepository = 0644\n[transfer]\n\tunpackLimit = 1000000\n[receive]\n\tautogc = false\n"

var openDirs = []string{"", "objects", "refs", "refs/heads", "refs/tags", "logs", "logs/refs", "logs/refs/heads"}

// RigGroup returns the group of a rig, the same at every call and after a
// restart, and gives it the next one if it has none. It is 0 without isolation.
func (m *Manager) RigGroup(rigID string) (uint32, error) {
	if m.c.GIDBase == 0 {
		return 0, nil
	}
	r, err := m.rig(rigID)
	if err != nil {
		return 0, err
	}
	return r.group()
}

// group reads or makes the rig's group number, once per process.
func (r *rig) group() (uint32, error) {
	r.m.groupMu.Lock()
	defer r.m.groupMu.Unlock()
	if r.gid != 0 {
		return r.gid, nil
	}
	l, err := r.m.lockFile(r.m.ctx, filepath.Join(r.m.c.Home, ".groups.lock"))
	if err != nil {
		return 0, err
	}
	defer l.release()
	name := filepath.Join(r.m.c.Home, ".groups.json")
	groups := map[string]uint32{}
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if err == nil {
		if err := json.Unmarshal(b, &groups); err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
	}
	gid, ok := groups[r.id]
	if !ok {
		gid = r.m.c.GIDBase
		for _, used := range groups {
			gid = max(gid, used+1)
		}
		groups[r.id] = gid
		if b, err = json.Marshal(groups); err != nil {
			return 0, err
		}
		if err := writeFile(name, string(b), 0o600); err != nil {
			return 0, spaceKind(err)
		}
	}
	r.gid = gid
	return gid, nil
}

// share sees to the permissions of a repository that is there: it may have been
// cloned before isolation was switched on.
func (r *rig) share() error {
	if r.m.c.GIDBase == 0 {
		return nil
	}
	gid, err := r.group()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(r.repo, &st); err != nil {
		return err
	}
	if st.Gid == gid && st.Mode&0o7777 == 0o3775 {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(r.repo, "config"))
	if err != nil {
		return err
	}
	if !strings.Contains(string(b), sharedConfig) {
		if err := writeFile(filepath.Join(r.repo, "config"), string(b)+sharedConfig, 0o644); err != nil {
			return err
		}
	}
	return r.shareNew(r.repo)
}

// shareNew gives a repository the permissions above. Its top comes last: it tells
// that the rest is done.
func (r *rig) shareNew(dir string) error {
	if r.m.c.GIDBase == 0 {
		return nil
	}
	gid, err := r.group()
	if err != nil {
		return err
	}
	if err := errors.Join(os.Chown(r.dir, 0, int(gid)), os.Chmod(r.dir, 0o750)); err != nil {
		return err
	}
	if err := protect(dir); err != nil {
		return err
	}
	for i := range 256 {
		name := filepath.Join(dir, "objects", fmt.Sprintf("%02x", i))
		if err := os.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Type().IsRegular() {
			return shareFile(path, e, gid)
		}
		if !e.IsDir() {
			return os.Lchown(path, 0, int(gid))
		}
		rel, _ := filepath.Rel(dir, path)
		if rel == "." {
			return nil
		}
		return r.setDir(path, dirMode(rel), gid)
	})
	if err != nil {
		return err
	}
	return r.setDir(dir, openMode, gid)
}

// protect takes the places where our git, which is root's, would believe or follow
// what an agent plants. A file "commondir" moves the whole repository elsewhere
// (git's ref store reads it whatever GIT_COMMON_DIR says): ours says "here". And a
// reflog that is there is appended to, also through a link.
func protect(dir string) error {
	for _, sub := range []string{"tags", "remotes", "town"} {
		if err := os.MkdirAll(filepath.Join(dir, "logs/refs", sub), 0o755); err != nil {
			return err
		}
	}
	if err := protectShallow(dir); err != nil {
		return err
	}
	head, err := os.ReadFile(filepath.Join(dir, headName))
	if err != nil {
		return err
	}
	places := map[string]string{"commondir": ".\n"}
	if trunk, ok := strings.CutPrefix(strings.TrimSpace(string(head)), "ref: "); ok {
		places["logs/"+trunk] = ""
	}
	for name, text := range places {
		path := filepath.Join(dir, name)
		if isRegular(path) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := writeFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// protectShallow takes the name of the list of commits at which history ends: one
// that an agent wrote would cut off that of all. Git takes a directory for none.
func protectShallow(dir string) error {
	if err := os.Mkdir(filepath.Join(dir, shallowName), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// shareFile makes a file of the clone readable, whatever our umask was.
func shareFile(path string, e fs.DirEntry, gid uint32) error {
	fi, err := e.Info()
	if err != nil {
		return err
	}
	return errors.Join(os.Lchown(path, 0, int(gid)), os.Chmod(path, fi.Mode().Perm()|0o444))
}

func (r *rig) setDir(path string, mode os.FileMode, gid uint32) error {
	return errors.Join(os.Lchown(path, 0, int(gid)), os.Chmod(path, mode))
}

// dirMode returns the mode of a directory of the repository, by its path in it.
func dirMode(rel string) os.FileMode {
	if dir, base := filepath.Split(rel); dir == "objects/" && len(base) == 2 {
		return openMode
	}
	if slices.Contains(openDirs, rel) {
		return openMode
	}
	return closedMode
}

// refDirs makes the directories of a branch's ref and reflog, so that its owner
// can write them. Those of polecat/<name>/… are the agent's from <name> on, all
// others open.
func (r *rig) refDirs(branch string, o Owner) error {
	if r.m.c.GIDBase == 0 {
		return nil
	}
	gid, err := r.group()
	if err != nil {
		return err
	}
	parts := strings.Split(branch, "/")
	for _, base := range []string{"refs/heads", "logs/refs/heads"} {
		if err := r.refDir(base, parts, o, gid); err != nil {
			return err
		}
	}
	return nil
}

// refDir walks down from base by descriptors: agents can write in these
// directories, and a link that one planted must not lead us elsewhere.
func (r *rig) refDir(base string, parts []string, o Owner, gid uint32) error {
	d, err := openDir(filepath.Join(r.repo, base))
	if err != nil {
		return err
	}
	for i, name := range parts[:len(parts)-1] {
		sub, made, err := subDir(d, name)
		if err != nil {
			return errors.Join(fmt.Errorf("make directories of branch %s: %w", strings.Join(parts, "/"), err), d.Close())
		}
		_ = d.Close() // read only
		d = sub
		own := o.UID != 0 && i == 1 && parts[0] == "polecat"
		if err := ownRefDir(d, made, own, o, gid); err != nil {
			return errors.Join(err, d.Close())
		}
	}
	err = r.ownRef(d, parts[len(parts)-1], o)
	return errors.Join(err, d.Close())
}

// ownRefDir gives a directory of refs to o if it is to be its own, else to all of
// the rig. One that had another owner becomes everybody's: both may have branches in it.
func ownRefDir(d *os.File, made, own bool, o Owner, gid uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return err
	}
	if own && (made || st.Uid == o.UID) {
		return errors.Join(d.Chown(int(o.UID), int(gid)), d.Chmod(closedMode))
	}
	return errors.Join(d.Chown(0, int(gid)), d.Chmod(openMode))
}

// ownRef gives an existing ref or reflog to the branch's new owner.
func (r *rig) ownRef(d *os.File, name string, o Owner) error {
	fd, err := unix.Openat(int(d.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ref %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		return fmt.Errorf("ref %s: is not a file that git wrote: %w", name, town.ErrConflict)
	}
	if st.Uid == o.UID {
		return nil
	}
	return f.Chown(int(o.UID), int(o.GID))
}

// subDir opens d/name, making it if it is not there.
func subDir(d *os.File, name string) (sub *os.File, made bool, err error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	err = unix.Mkdirat(int(d.Fd()), name, 0o755)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, false, err
	}
	fd, openErr := unix.Openat(int(d.Fd()), name, flags, 0)
	if openErr != nil {
		return nil, false, fmt.Errorf("%s: %w: %w", name, openErr, town.ErrConflict)
	}
	return os.NewFile(uintptr(fd), name), err == nil, nil
}

// give makes path the owner's.
func (r *rig) give(path string, o Owner) error {
	if o.UID == 0 {
		return nil
	}
	return os.Lchown(path, int(o.UID), int(o.GID))
}

// handOver makes a worktree s.Owner's that was another's. Only what belonged to
// the one before changes hands: anything else in there is a trick.
func (r *rig) handOver(s Spec) error {
	if r.m.c.GIDBase == 0 {
		return nil
	}
	if err := r.refDirs(s.Branch, s.Owner); err != nil {
		return err
	}
	for _, top := range []string{r.admin(s.Branch), r.path(s.Branch)} {
		var st unix.Stat_t
		if err := unix.Lstat(top, &st); err != nil {
			return err
		}
		if st.Uid == s.Owner.UID {
			continue
		}
		if err := chownTree(top, st.Uid, s.Owner); err != nil {
			return err
		}
	}
	return nil
}

// chownTree gives every file below top that is from's to o, without following links.
func chownTree(top string, from uint32, o Owner) error {
	root, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := root.Lstat(path)
		if err != nil {
			return err
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok || st.Uid != from || (st.Nlink > 1 && !fi.IsDir()) {
			return nil
		}
		return root.Lchown(path, int(o.UID), int(o.GID))
	})
}
