package gitmgr

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"crypto/sha1" // git names objects by it
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxLoose = 2000 // loose objects that are left so: below, packing gains nothing
	maxPacks = 50   // packs that are left apart
	mostDrop = 50   // checkpoints that one Sweep deletes in a rig, each is a call of the remote
)

// maintain packs loose objects when there are many, and packs when there are many. It
// looks at no ref and drops nothing: what an agent has just written is not yet
// reachable, and what it planted must not decide what is. The refs stay loose, each
// its owner's file (share.go), and are few.
func (s *sweeping) maintain(ctx context.Context, r *rig) error {
	if n := r.countLoose(); n < maxLoose && r.countPacks() < maxPacks {
		return nil
	}
	l, release, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	if r.countLoose() >= maxLoose {
		n, err := r.packLoose(ctx, l)
		if err != nil {
			return fmt.Errorf("pack loose objects: %w", err)
		}
		s.swept.Packed += n
		r.log.Info("packed loose objects", "objects", n)
	}
	if r.countPacks() < maxPacks || r.partial.Load() { // packs of a partial clone are marked as the remote's
		return nil
	}
	for _, args := range [][]string{{"write"}, {"repack", "--batch-size=0"}, {"expire"}} {
		_, err := r.m.run(ctx, r.inRepo(command{
			locks: []*lock{l}, timeout: r.m.c.CloneTimeout, args: append([]string{"multi-pack-index"}, args...),
		}))
		if err != nil {
			return fmt.Errorf("join packs: %w", err)
		}
	}
	return nil
}

func (r *rig) countPacks() int {
	packs, _ := filepath.Glob(filepath.Join(r.repo, "objects/pack/pack-*.pack")) // the pattern is a good one
	return len(packs)
}

// countLoose estimates the number of loose objects as git does: they spread evenly.
func (r *rig) countLoose() int {
	n := 0
	for _, dir := range []string{"17", "5a", "a3", "e8"} {
		entries, _ := os.ReadDir(filepath.Join(r.repo, "objects", dir)) // none there
		n += len(entries)
	}
	return n * 64
}

// packLoose moves loose objects into one new pack. Agents write loose objects, so the
// name of each is checked against its content first; and index-pack names what it is
// given by its content, so that none that was exchanged meanwhile gets another's name.
func (r *rig) packLoose(ctx context.Context, l *lock) (int, error) {
	ids, err := r.trueObjects(ctx)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	tmp, err := os.CreateTemp(filepath.Join(r.dir, "tmp"), "pack-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err := errors.Join(tmp.Close(), os.Remove(tmp.Name())); err != nil {
			r.log.Warn("remove half-made pack", "err", err)
		}
	}()
	run := func(in io.Reader, out io.Writer, args ...string) error {
		_, err := r.m.run(ctx, r.inRepo(command{locks: []*lock{l}, timeout: r.m.c.CloneTimeout, stdin: in, stdout: out, args: args}))
		return err
	}
	if err := run(strings.NewReader(strings.Join(ids, "\n")+"\n"), tmp, "pack-objects", "--quiet", "--stdout"); err != nil {
		return 0, err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	if err := run(tmp, nil, "index-pack", "--stdin"); err != nil {
		return 0, err
	}
	return len(ids), run(nil, nil, "prune-packed", "--quiet")
}

// trueObjects lists the loose objects whose name is that of their content.
func (r *rig) trueObjects(ctx context.Context) (ids []string, err error) {
	for i := range 256 {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		prefix := fmt.Sprintf("%02x", i)
		d, err := openDir(filepath.Join(r.repo, "objects", prefix))
		if err != nil {
			continue // none there
		}
		names, _ := d.Readdirnames(-1)
		for _, name := range names {
			if isTrueObject(d, name, prefix+name) {
				ids = append(ids, prefix+name)
			}
		}
		_ = d.Close() // read only
	}
	slices.Sort(ids)
	return ids, nil
}

func isTrueObject(dir *os.File, name, id string) bool {
	want, err := hex.DecodeString(id)
	if err != nil || len(want) != sha1.Size {
		return false
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return false
	}
	z, err := zlib.NewReader(f)
	if err != nil {
		return false
	}
	sum := sha1.New()
	_, err = io.Copy(sum, z)
	return err == nil && bytes.Equal(sum.Sum(nil), want)
}

// dropCheckpoints deletes old checkpoints of agents that are forgotten, on the remote
// too if we brought them there.
func (s *sweeping) dropCheckpoints(ctx context.Context, r *rig) error {
	if s.p.OlderThan <= 0 {
		return nil
	}
	states, err := r.savedStates(ctx)
	errs := []error{err}
	dropped := 0
	for _, state := range slices.Backward(states) { // the oldest first
		age := s.start.Sub(state.When)
		if age < s.p.OlderThan || dropped == mostDrop || ctx.Err() != nil {
			break
		}
		if s.p.Keep(r.id, state.Branch) {
			continue
		}
		gone, err := r.dropCheckpoint(ctx, state, s.p.CheckpointsOlderThan > 0 && age > s.p.CheckpointsOlderThan)
		errs = append(errs, err)
		if gone {
			dropped++
		}
		if errors.Is(err, ErrNetwork) {
			break
		}
	}
	s.swept.Checkpoints += dropped
	return errors.Join(errs...)
}

// dropCheckpoint deletes a checkpoint, one that holds work only if it may. The remote's
// goes only while it is the one that we brought there: another town may have gone on.
func (r *rig) dropCheckpoint(ctx context.Context, state SavedState, work bool) (bool, error) {
	own, release, ok := r.tryBranch(ctx, cmp.Or(state.Branch, gateBranch))
	if !ok || isDir(r.admin(state.Branch)) {
		if ok {
			release()
		}
		return false, nil
	}
	defer release()
	if !work && state.Work {
		return false, nil
	}
	if !work && state.Parent != "" {
		if unknown, err := r.isUnknownThere(ctx, own, state.Parent); err != nil || unknown {
			return false, err
		}
	}
	ref := checkpointRef(state.AgentID)
	name := strings.TrimPrefix(ref, checkpointPrefix)
	if at, ok, err := r.ref(pushedPrefix + name); err != nil {
		return false, err
	} else if ok {
		if gone, err := r.dropRemote(ctx, own, ref, at); err != nil || !gone {
			return false, err
		}
	}
	l, releaseRig, err := r.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer releaseRig()
	if at, _, err := r.ref(ref); err != nil || at != state.Commit {
		return false, err // a newer one came meanwhile
	}
	for _, ref := range []string{pushedPrefix + name, fetchedPrefix + name, ref} {
		if _, ok, err := r.ref(ref); err != nil || !ok {
			continue
		}
		_, err := r.runPastLocks(ctx, "", r.inRepo(command{locks: []*lock{l}, args: []string{"update-ref", "--no-deref", "-d", ref}}))
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// dropRemote deletes a ref on the remote if it is still at a commit, and reports
// whether it is gone.
func (r *rig) dropRemote(ctx context.Context, own *lock, ref, at string) (bool, error) {
	url, err := r.remoteURL()
	if err != nil {
		return false, err
	}
	_, err = r.m.run(ctx, r.inRepo(command{
		observe: "drop checkpoint", locks: []*lock{own}, remote: true,
		args: []string{"push", "--porcelain", "--no-verify", "--force-with-lease=" + ref + ":" + at, "--", url, ":" + ref},
	}))
	switch {
	case err != nil && strings.Contains(err.Error(), "remote ref does not exist"):
		return true, nil
	case errors.Is(err, ErrRace):
		return false, nil // it is another town's by now
	}
	return err == nil, err
}
