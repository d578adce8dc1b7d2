package gitmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"townd/town"
)

// lfsGrace is how long an object of the shared store stays at least after it was found
// needed: longer than a checkout may take until it reads it.
const lfsGrace = time.Hour

// storedLFS is an object of the shared store. Its file's time is when it was found needed
// last: who brings or finds it sets that, and so does a sweep.
type storedLFS struct {
	lfsPointer
	needed time.Time
}

// pruneLFS deletes what of the shared store was not needed for an age, and returns its
// bytes. Needed is what a worktree or a branch is at, here or on the remote, and all of
// what no branch of the remote has yet. The rest is deleted if the remote says that it has
// it, so that whoever goes back to an old commit gets it again; what it does not have is
// kept as long as a checkpoint.
func (s *sweeping) pruneLFS(ctx context.Context, r *rig, age time.Duration) (freed int64, err error) {
	old, err := r.oldLFS(s.start.Add(-max(age, lfsGrace)))
	if err != nil || len(old) == 0 {
		return 0, err
	}
	if old, err = r.unneededLFS(ctx, nil, old); err != nil || len(old) == 0 {
		return 0, err
	}
	there, err := r.remoteHasLFS(ctx, old)
	if err != nil {
		return 0, fmt.Errorf("which files of Git LFS the remote has: %w", err)
	}
	var gone []storedLFS
	for _, o := range old {
		if given := s.p.CheckpointsOlderThan; there[o.lfsPointer] || given > 0 && s.start.Sub(o.needed) > given {
			gone = append(gone, o)
		}
	}
	return s.dropLFS(ctx, r, gone)
}

// dropLFS deletes objects if they are still not needed: while the rig is held no worktree
// is made, and while it has its turn nobody counts on what it finds.
func (s *sweeping) dropLFS(ctx context.Context, r *rig, gone []storedLFS) (freed int64, err error) {
	if len(gone) == 0 {
		return 0, nil
	}
	if err := r.lfsTurn.enter(ctx); err != nil {
		return 0, err
	}
	defer r.lfsTurn.leave()
	l, release, err := r.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if gone, err = r.unneededLFS(ctx, l, gone); err != nil {
		return 0, err
	}
	for _, o := range gone {
		path := filepath.Join(r.lfsStore(), o.path())
		if fi, err := os.Lstat(path); err != nil || !fi.ModTime().Equal(o.needed) {
			continue // another server has just found it needed
		}
		if err := os.Remove(path); err != nil {
			return freed, err
		}
		freed += o.Size
		s.swept.LFS++
	}
	if freed > 0 {
		r.log.Info("files of Git LFS that nobody needs deleted", "bytes", freed)
	}
	return freed, nil
}

// oldLFS lists the objects of the shared store that were needed last before a time, and
// deletes what is half there since then.
func (r *rig) oldLFS(before time.Time) (old []storedLFS, err error) {
	if !isDir(r.lfsStore()) {
		return nil, nil
	}
	half, _ := os.ReadDir(filepath.Join(r.lfsStore(), "tmp")) // none there
	for _, e := range half {
		if fi, err := e.Info(); err == nil && fi.ModTime().Before(before) {
			_ = os.Remove(filepath.Join(r.lfsStore(), "tmp", e.Name())) // the next sweep tries again
		}
	}
	err = filepath.WalkDir(filepath.Join(r.lfsStore(), "objects"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() || !lfsOID.MatchString(e.Name()) {
			return err
		}
		if fi, err := e.Info(); err == nil && fi.ModTime().Before(before) {
			old = append(old, storedLFS{lfsPointer{OID: e.Name(), Size: fi.Size()}, fi.ModTime()})
		}
		return nil
	})
	return old, err
}

// unneededLFS returns those of objects that are not needed, and notes of the others that they are.
func (r *rig) unneededLFS(ctx context.Context, l *lock, objects []storedLFS) (rest []storedLFS, err error) {
	needed, err := r.neededLFS(ctx, l)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if !needed[o.OID] {
			rest = append(rest, o)
		} else if err := r.touchLFS(o.lfsPointer); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return rest, nil
}

// touchLFS notes that an object of the shared store is needed now.
func (r *rig) touchLFS(p lfsPointer) error {
	now := time.Now()
	return os.Chtimes(filepath.Join(r.lfsStore(), p.path()), now, now)
}

// neededLFS returns the ids of the objects that what is in use names. Agents write some of
// the refs: what one of them hides the remote must have, or it is kept for a time.
func (r *rig) neededLFS(ctx context.Context, l *lock) (map[string]bool, error) {
	var tips, unpushed strings.Builder
	for _, prefix := range []string{headsPrefix, "refs/town/", "refs/stash", remotePrefix} {
		err := r.listRefs(ctx, heldBy(l), prefix, func(_, hash string) {
			tips.WriteString(hash + "\n")
			if prefix == remotePrefix {
				hash = "^" + hash
			}
			unpushed.WriteString(hash + "\n")
		})
		if err != nil {
			return nil, err
		}
	}
	admins, err := os.ReadDir(filepath.Join(r.repo, "worktrees"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, a := range admins {
		if at, err := r.head(unescape(a.Name())); err == nil && at != "" { // else there is nothing that it is at
			tips.WriteString(at + "\n")
			unpushed.WriteString(at + "\n")
		}
	}
	var objects bytes.Buffer
	for _, walk := range []struct{ how, from string }{{"--no-walk", tips.String()}, {"--topo-order", unpushed.String()}} {
		err := r.readLines(ctx, l, '\n', bytes.NewBufferString(walk.from), func(line []byte) {
			objects.Write(append(line, '\n'))
		}, "rev-list", "--objects", "--no-object-names", "--ignore-missing", "--missing=allow-any", walk.how, "--stdin")
		if err != nil {
			return nil, err
		}
	}
	pointers, err := r.pointersAmong(ctx, l, &objects)
	needed := make(map[string]bool, len(pointers))
	for _, p := range pointers {
		needed[p.OID] = true
	}
	return needed, err
}

// heldBy is the locks that a command inherits when the rig is held by l, or by nobody.
func heldBy(l *lock) []*lock {
	if l == nil {
		return nil
	}
	return []*lock{l}
}

// remoteHasLFS asks the remote which objects it has. One that cannot be asked by its kind has none.
func (r *rig) remoteHasLFS(ctx context.Context, objects []storedLFS) (map[lfsPointer]bool, error) {
	there := map[lfsPointer]bool{}
	remote, err := r.remoteURL()
	if err != nil {
		return nil, err
	}
	endpoint, err := lfsEndpoint(remote)
	if errors.Is(err, town.ErrInvalid) {
		return there, nil
	}
	if err != nil {
		return nil, err
	}
	for len(objects) > 0 {
		q := lfsBatch{Operation: "download", HashAlgo: "sha256"}
		n := min(len(objects), lfsBatchMost)
		for _, o := range objects[:n] {
			q.Objects = append(q.Objects, lfsObject{lfsPointer: o.lfsPointer})
		}
		objects = objects[n:]
		a, _, err := r.askLFS(ctx, endpoint, q)
		if err != nil {
			return nil, err
		}
		for _, o := range a.Objects {
			if _, ok := o.Actions["download"]; ok && o.Error == nil {
				there[o.lfsPointer] = true
			}
		}
	}
	return there, nil
}
