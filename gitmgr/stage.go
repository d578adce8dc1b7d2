package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"townd/town"
)

// maxNamedBytes bounds the names of changed files that are kept, and what git prints of
// them. When there are more git walks all files again.
const maxNamedBytes = 1 << 20

// named are the files that git status found changed, and that a checkpoint is to take.
type named struct {
	present, gone []string
	bytes         int
}

// tooMany reports whether they were too many to be kept: not all are there.
func (n *named) tooMany() bool { return n.bytes > maxNamedBytes }

func (n *named) add(c change) {
	path := strings.TrimSuffix(c.path, "/") // git's index has no such name
	switch n.bytes += len(path) + 1; {
	case n.tooMany():
		n.present, n.gone = nil, nil
	case !c.conflict && c.index.mode == gitlinkMode && (c.onDisk == gitlinkMode || c.onDisk == noMode):
		// A submodule stays as in the index.
	case c.onDisk != noMode:
		n.present = append(n.present, path)
	default:
		n.gone = append(n.gone, path)
	}
}

// take brings every file that changed into the temporary index, but those left out. To
// take those that git status has named costs a quarter of walking all again, but what
// has changed meanwhile can make it fail as a whole. What cannot be read does that too.
func (s *saving) take(ctx context.Context) error {
	if err := s.withhold(ctx); err != nil {
		return err
	}
	if s.named.tooMany() {
		return s.addAll(ctx)
	}
	err := s.addNamed(ctx)
	if e, ok := errors.AsType[*runError](err); errors.Is(err, errSkipped) || ok && e.exit == 128 && !errors.Is(err, town.ErrNoSpace) {
		s.log.Debug("checkpoint of all files, not of those that status named", "branch", s.branch, "err", err)
		return s.addAll(ctx)
	}
	return err
}

// addNamed updates the files named. A deleted one may be there again: only what is not
// is dropped.
func (s *saving) addNamed(ctx context.Context) error {
	if err := s.update(ctx, "--remove", s.named.gone); err != nil {
		return err
	}
	return s.update(ctx, "--add", s.named.present)
}

// errSkipped is of files that git would not take, and went past with a word on stderr.
var errSkipped = errors.New("git update-index: it did not take all files")

// update has git update-index take paths as they are; how is what it may do besides to
// change an entry. Unlike git add it takes no path for a pattern, nor fails on tracked
// files in an ignored directory. It takes all of them or returns an error.
func (s *saving) update(ctx context.Context, how string, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	out, err := s.git(ctx, strings.NewReader(strings.Join(paths, "\x00")), "update-index", how, "--verbose", "-z", "--stdin")
	if err != nil {
		return err
	}
	var done strings.Builder
	for _, path := range paths {
		fmt.Fprintf(&done, "add '%s'\n", path) // it says so of removed ones too
	}
	if out != strings.TrimSpace(done.String()) {
		return errSkipped
	}
	return nil
}

// withhold gives files that are left out the version of HEAD in the temporary index: the
// agent may have added them to its own.
func (s *saving) withhold(ctx context.Context) error {
	if len(s.staged) == 0 {
		return nil
	}
	var in strings.Builder
	for _, c := range s.staged {
		fmt.Fprintf(&in, "0 %040d\t%s\x00", 0, c.path) // all versions of a conflict
		if c.head.mode != noMode {
			fmt.Fprintf(&in, "%s %s\t%s\x00", c.head.mode, c.head.hash, c.path)
		}
	}
	_, err := s.git(ctx, strings.NewReader(in.String()), "update-index", "-z", "--index-info")
	return err
}

// addAll takes every file into the temporary index but those left out. A file that
// cannot be read must not cost the others: git goes on past it and says 1.
func (s *saving) addAll(ctx context.Context) error {
	specs, err := s.exceptGitlinks(ctx, s.own, s.branch, s.owner)
	if err != nil {
		return err
	}
	for _, l := range s.leftOut {
		specs = append(specs, ":(exclude,top,literal)"+l.Path)
	}
	_, err = s.git(ctx, strings.NewReader(strings.Join(specs, "\x00")), "add", "--all", "--sparse", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul")
	if onlyUnreadable(err) {
		s.log.Warn("checkpoint without some files", "err", err)
		s.unread = true
		return nil
	}
	return err
}
