package gitmgr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"townd/town"
)

// Result is what a run in a worktree came to.
type Result struct {
	Base, Head string   // commits; "" for none
	Commits    []Commit // of Head that Base does not have, newest first
	More       bool     // there are older ones of those
	Patch      []byte   // from Base, as git apply takes it; binary files included
	Truncated  bool     // Patch ends early
}

// Result returns what the worktree of a branch came to since base, "" for the empty tree,
// from what was saved of it: saved is the commit of its checkpoint, "" when that was clean.
// So no file of the worktree is looked at, and what a checkpoint leaves out is not in it.
// No more than most commits are named, and Patch is cut after maxBytes. Where nothing has
// changed no git runs. It returns ErrNotFound for a worktree that is not there.
func (m *Manager) Result(ctx context.Context, rigID, branch, base, saved string, most int, maxBytes int64) (Result, error) {
	for _, c := range []string{base, saved} {
		if c != "" && !commitPattern.MatchString(c) {
			return Result{}, fmt.Errorf("commit %q: must be the hash of one: %w", c, town.ErrInvalid)
		}
	}
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return Result{}, err
	}
	defer done()
	start := time.Now()
	r, err := m.known(rigID, branch)
	if err != nil {
		return Result{}, err
	}
	res, err := r.result(ctx, branch, base, saved, most, maxBytes)
	m.observe("result", start, err)
	if err != nil {
		return Result{}, fmt.Errorf("result of rig %s branch %s: %w", rigID, branch, err)
	}
	return res, nil
}

func (r *rig) result(ctx context.Context, branch, base, saved string, most int, maxBytes int64) (res Result, err error) {
	res.Base = base
	if !isDir(r.admin(branch)) {
		return res, fmt.Errorf("no worktree: %w", town.ErrNotFound)
	}
	if res.Head, err = r.head(branch); err != nil {
		return res, err
	}
	if res.Head != "" && res.Head != base {
		log, err := history(r.store(""), res.Head, base, most+1)
		if err != nil {
			return res, err
		}
		res.Commits, res.More = log[:min(len(log), most)], len(log) > most
	}
	tip := cmp.Or(saved, res.Head)
	if tip == base {
		return res, nil
	}
	bounded, full := context.WithCancelCause(ctx)
	defer full(nil)
	out := &diffReader{maxPatch: maxBytes, inPatch: true, full: func() { full(errFull) }}
	_, err = r.m.run(bounded, r.inRepo(command{stdout: out, args: []string{
		"diff", "--patch", "--find-renames", "--binary", "--no-color", "--no-ext-diff", "--no-textconv",
		"--src-prefix=a/", "--dst-prefix=b/", cmp.Or(base, emptyTree), tip, "--",
	}}))
	if err != nil && !errors.Is(err, errFull) {
		return res, err
	}
	res.Patch, res.Truncated = out.patch, out.truncated
	return res, nil
}
