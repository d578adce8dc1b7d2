package gitmgr

import (
	"container/heap"
	"errors"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"townd/town"
)

// Log returns the commits of a branch that base does not have, newest first, no
// more than most. An empty base gives the whole history. It returns ErrNotFound
// for an unknown branch or base.
func (m *Manager) Log(rigID, branch, base string, most int) ([]Commit, error) {
	r, err := m.known(rigID, branch)
	if err != nil {
		return nil, err
	}
	tip, ok, err := r.ref(headsPrefix + branch)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("rig %s: no branch %q: %w", rigID, branch, town.ErrNotFound)
	}
	st := r.store("")
	log, err := history(st, tip, base, most)
	if err != nil {
		return nil, fmt.Errorf("log of rig %s branch %s: %w", rigID, branch, err)
	}
	return log, nil
}

// history walks from tip in the order of commit times and leaves out what can be
// reached from base.
func history(st *filesystem.Storage, tip, base string, most int) ([]Commit, error) {
	w := walk{st: st, seen: map[plumbing.Hash]*mark{}}
	if err := w.push(plumbing.NewHash(tip), false); err != nil {
		return nil, err
	}
	if base != "" {
		if err := w.push(plumbing.NewHash(base), true); err != nil {
			return nil, err
		}
	}
	var log []Commit
	for w.wanted > 0 && len(log) < most {
		m, _ := heap.Pop(&w).(*mark)
		if !m.hidden {
			w.wanted--
			log = append(log, commit(m.c))
		}
		for _, p := range m.c.ParentHashes {
			if err := w.push(p, m.hidden); err != nil && !errors.Is(err, town.ErrNotFound) {
				return nil, err // a parent that is not here ends a shallow history
			}
		}
	}
	return log, nil
}

// walk is a heap of commits to visit, newest first.
type walk struct {
	st     *filesystem.Storage
	queue  []*mark
	seen   map[plumbing.Hash]*mark
	wanted int // in the queue and not hidden
}

type mark struct {
	c      *object.Commit
	hidden bool // reachable from base
	queued bool
}

func (w *walk) push(h plumbing.Hash, hidden bool) error {
	if m, ok := w.seen[h]; ok {
		if hidden && !m.hidden {
			m.hidden = true
			if m.queued {
				w.wanted--
			}
		}
		return nil
	}
	c, err := object.GetCommit(w.st, h)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return fmt.Errorf("commit %s: %w", h, town.ErrNotFound)
	}
	if err != nil {
		return err
	}
	m := &mark{c: c, hidden: hidden, queued: true}
	w.seen[h] = m
	if !hidden {
		w.wanted++
	}
	heap.Push(w, m)
	return nil
}

func (w *walk) Len() int { return len(w.queue) }
func (w *walk) Less(i, j int) bool {
	return w.queue[i].c.Committer.When.After(w.queue[j].c.Committer.When)
}
func (w *walk) Swap(i, j int) { w.queue[i], w.queue[j] = w.queue[j], w.queue[i] }

// Push and Pop are heap.Interface.
func (w *walk) Push(x any) {
	m, _ := x.(*mark)
	w.queue = append(w.queue, m)
}

func (w *walk) Pop() any {
	m := w.queue[len(w.queue)-1]
	w.queue = w.queue[:len(w.queue)-1]
	m.queued = false
	return m
}

func commit(c *object.Commit) Commit {
	subject, body, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	parents := make([]string, len(c.ParentHashes))
	for i, p := range c.ParentHashes {
		parents[i] = p.String()
	}
	return Commit{
		Hash: c.Hash.String(), Name: c.Author.Name, Email: c.Author.Email, When: c.Author.When,
		Subject: subject, Body: strings.TrimSpace(body), Parents: parents,
	}
}

// isCheckpointOf reports whether a commit is a checkpoint of tree on top of head.
func (r *rig) isCheckpointOf(hash, head, tree string) bool {
	st := r.store("")
	c, err := object.GetCommit(st, plumbing.NewHash(hash))
	if err != nil || c.TreeHash.String() != tree {
		return false
	}
	if head == "" {
		return len(c.ParentHashes) == 0
	}
	return len(c.ParentHashes) == 1 && c.ParentHashes[0].String() == head
}
