package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// version is one version of a file, as git's index has it.
type version struct {
	mode string // octal, noMode for none
	hash string
}

// Modes of the index.
const (
	noMode      = "000000"
	gitlinkMode = "160000"
)

// change is a file of a worktree that is not as in its HEAD.
type change struct {
	path     string // ends with a slash for a repository inside it that is no submodule
	isNew    bool   // neither in HEAD nor in the index
	conflict bool   // the index has several versions
	head     version
	index    version // none of a conflict
	onDisk   string  // mode, "" for a new one
}

// isGone reports whether a file is deleted in the index too.
func (c change) isGone() bool { return !c.conflict && c.index.mode == noMode && c.onDisk == noMode }

// parseChange reads an entry of `git status --porcelain=v2 -z` without renames
// (Documentation/git-status.txt). Of a conflict, HEAD's version is ours.
func parseChange(entry string) (change, error) {
	kind, rest, _ := strings.Cut(entry, " ")
	fields := map[string]int{"?": 1, "1": 8, "u": 10}[kind]
	f := strings.SplitN(rest, " ", max(fields, 1))
	if len(f) != fields || f[fields-1] == "" {
		return change{}, fmt.Errorf("git status: unexpected entry %q", entry)
	}
	c := change{path: f[fields-1]}
	switch kind {
	case "?":
		c.isNew = true
	case "1": // XY sub mH mI mW hH hI path
		c.head, c.index, c.onDisk = version{f[2], f[5]}, version{f[3], f[6]}, f[4]
	case "u": // XY sub m1 m2 m3 mW h1 h2 h3 path
		c.conflict = true
		c.head, c.onDisk = version{f[3], f[7]}, f[5]
	}
	return c, nil
}

// changes calls each for every file of a worktree that is not as in its HEAD. Git looks by a
// copy of the index, which it may renew where the agent's own it may not lock: what it had
// to read it need not read the next time. Without room for a copy it looks by the agent's.
func (r *rig) changes(ctx context.Context, own *lock, branch string, o Owner, each func(change)) error {
	var bad error
	out := &entries{each: func(entry []byte) {
		c, err := parseChange(string(entry))
		if err != nil {
			bad = errors.Join(bad, err)
			return
		}
		each(c)
	}}
	c := r.inWorktree(branch, o, command{
		locks: []*lock{own}, stdout: out,
		args: []string{"status", "--porcelain=v2", "-z", "--no-branch", "--no-renames", "--untracked-files=all", "--ignore-submodules=dirty"},
	})
	index, err := r.copyIndex(branch, o)
	if err != nil {
		r.log.Debug("no copy of the index", "branch", branch, "err", err)
		_, err := r.m.run(ctx, c)
		return errors.Join(err, bad)
	}
	defer index.discard()
	c.env = append(c.env, "GIT_INDEX_FILE="+index.path, "GIT_OPTIONAL_LOCKS=1")
	if _, err = r.m.run(ctx, c); err == nil {
		index.renew()
	}
	return errors.Join(err, bad)
}
