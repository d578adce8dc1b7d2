package gitmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"townd/town"
)

// maxStatBytes bounds the list of files of a diff.
const maxStatBytes = 8 << 20

// Diff returns what the worktree of a branch holds beyond base, as one patch:
// commits, staged, unstaged and untracked files together. An empty base is the
// empty tree. Patch is cut after maxBytes. It returns ErrNotFound for a worktree
// that is not there and ErrInvalid for a base that is no commit.
func (m *Manager) Diff(ctx context.Context, rigID, branch, base string, o Owner, maxBytes int64) (Diff, error) {
	if base != "" && !commitPattern.MatchString(base) {
		return Diff{}, fmt.Errorf("base %q: must be the hash of a commit: %w", base, town.ErrInvalid)
	}
	ctx, done, err := m.begin(ctx)
	if err != nil {
		return Diff{}, err
	}
	defer done()
	start := time.Now()
	r, err := m.known(rigID, branch)
	if err != nil {
		return Diff{}, err
	}
	own, release, err := r.acquireWorktree(ctx, branch)
	if err != nil {
		return Diff{}, err
	}
	defer release()
	d, err := r.diff(ctx, own, branch, base, r.owner(branch, o), maxBytes)
	m.observe("diff", start, err)
	if err != nil {
		return Diff{}, fmt.Errorf("diff of rig %s branch %s: %w", rigID, branch, spaceKind(err))
	}
	return d, nil
}

func (r *rig) diff(ctx context.Context, own *lock, branch, base string, o Owner, maxBytes int64) (Diff, error) {
	head, err := r.head(branch)
	if err != nil {
		return Diff{}, err
	}
	index, err := r.copyIndex(branch, o)
	if err != nil {
		return Diff{}, err
	}
	defer index.discard()
	git := func(ctx context.Context, out *diffReader, args ...string) error {
		c := r.inWorktree(branch, o, command{locks: []*lock{own}, args: args})
		if out != nil {
			c.stdout = out
		}
		c.env = append(c.env, "GIT_INDEX_FILE="+index.path)
		_, err := r.m.run(ctx, c)
		return err
	}
	// Only the names of untracked files are added: no object is written.
	all, err := r.exceptGitlinks(ctx, own, branch, o)
	if err != nil {
		return Diff{}, err
	}
	if err := git(ctx, nil, append([]string{"add", "--intent-to-add", "--sparse", "--ignore-errors", "--"}, all...)...); err != nil && !onlyUnreadable(err) {
		return Diff{}, err
	}
	from := base
	if from == "" {
		from = emptyTree
	}
	bounded, full := context.WithCancelCause(ctx)
	defer full(nil)
	out := &diffReader{maxPatch: maxBytes, full: func() { full(errFull) }}
	err = git(bounded, out, "diff", "--raw", "--numstat", "--patch", "-z", "--abbrev=40", "--find-renames", "--binary", "--no-color",
		"--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules=dirty", from, "--")
	if err != nil && !errors.Is(err, errFull) {
		if e, ok := errors.AsType[*runError](err); ok && e.exit == 128 && strings.Contains(e.stderr, "bad object") {
			return Diff{}, fmt.Errorf("base %s: no such commit: %w", base, town.ErrInvalid)
		}
		return Diff{}, err
	}
	files, err := parseStat(out.stat.Bytes())
	if err != nil && !out.truncated {
		return Diff{}, err
	}
	return Diff{Base: base, Head: head, Files: files, Patch: out.patch, Truncated: out.truncated}, nil
}

var errFull = errors.New("diff is longer than asked for")

func onlyUnreadable(err error) bool {
	e, ok := errors.AsType[*runError](err)
	return ok && e.exit == 1 && e.kind == nil
}

// diffReader parts git's output, raw and numstat entries, an empty one, then the
// patch, and calls full when it has enough.
type diffReader struct {
	maxPatch  int64
	full      func()
	stat      bytes.Buffer
	patch     []byte
	inPatch   bool
	truncated bool
}

func (d *diffReader) Write(p []byte) (int, error) {
	n := len(p)
	if !d.inPatch {
		// An entry is never empty, so two NULs in a row end the entries; one may
		// have come with the last write.
		had := max(d.stat.Len()-1, 0)
		d.stat.Write(p)
		p = nil
		if i := bytes.Index(d.stat.Bytes()[had:], []byte{0, 0}); i >= 0 {
			d.inPatch = true
			p = bytes.Clone(d.stat.Bytes()[had+i+2:])
			d.stat.Truncate(had + i + 1)
		} else if d.stat.Len() > maxStatBytes {
			d.truncated = true
			d.full()
		}
	}
	if room := d.maxPatch - int64(len(d.patch)); int64(len(p)) > room {
		p = p[:max(room, 0)]
		d.truncated = true
		d.full()
	}
	d.patch = append(d.patch, p...)
	return n, nil
}

// parseStat reads `git diff --raw --numstat -z`: first all raw entries, then
// the numbers in the same order.
func parseStat(b []byte) ([]FileStat, error) {
	fields := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	var files []FileStat
	i := 0
	next := func() string {
		if i >= len(fields) {
			return ""
		}
		i++
		return fields[i-1]
	}
	for i < len(fields) && strings.HasPrefix(fields[i], ":") {
		meta := strings.Fields(next())
		if len(meta) != 5 {
			return files, fmt.Errorf("git diff: unexpected entry %q", strings.Join(meta, " "))
		}
		f := FileStat{Status: meta[4][:1]}
		if f.Status == "R" || f.Status == "C" {
			f.OldPath = next()
		}
		f.Path = next()
		files = append(files, f)
	}
	for n := range files {
		added, rest, _ := strings.Cut(next(), "\t")
		deleted, path, ok := strings.Cut(rest, "\t")
		if !ok {
			return files, fmt.Errorf("git diff: numbers of %q are missing", files[n].Path)
		}
		if path == "" { // of a rename, both paths follow
			next()
			next()
		}
		if added == "-" {
			files[n].Binary = true
			continue
		}
		files[n].Added, _ = strconv.Atoi(added)
		files[n].Deleted, _ = strconv.Atoi(deleted)
	}
	return files, nil
}
