package gitmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"townd/town"
)

// Conflict is a file that two branches changed in ways git cannot join.
type Conflict struct {
	Path  string
	Kind  string // as git names it: "contents", "modify/delete", "rename/delete", …
	Hunks string // its conflicting parts between git's markers, cut at 8 KiB; "" where there are none
}

const (
	maxConflicts    = 100
	maxHunkBytes    = 8 << 10  // of one file
	maxHunksBytes   = 64 << 10 // of all files
	maxRebaseCount  = 1000
	maxMergeListing = 4 << 20
)

// build makes the commit that the target is to move to, or sets the result.
func (g *merging) build(ctx context.Context) (commit string, err error) {
	base, head := g.result.Base, g.result.Head
	if in, err := g.isAncestor(ctx, head, base); err != nil || in {
		return "", g.nothing(ctx, err)
	}
	if g.Strategy == StrategyRebase {
		return g.rebase(ctx)
	}
	tree, err := g.mergeTree(ctx, base, head)
	if err != nil || g.result.Status != "" {
		return "", err
	}
	if same, err := g.isTreeOf(ctx, tree, base); err != nil || same {
		return "", g.nothing(ctx, err)
	}
	parents := []string{base, head}
	if g.Strategy == StrategySquash {
		parents = parents[:1]
	}
	who, message := identityEnv(g.Name, g.Email), g.message()
	if g.Author != (Identity{}) {
		who = append(who, "GIT_AUTHOR_NAME="+g.Author.Name, "GIT_AUTHOR_EMAIL="+g.Author.Email)
		others, err := g.coAuthors(ctx)
		if err != nil {
			return "", err
		}
		message = withTrailers(message, others)
	}
	return g.commit(ctx, tree, message, who, parents...)
}

// nothing sets the result of a target that has it all, which it may have from us:
// a push whose answer was lost.
func (g *merging) nothing(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	g.result.Status, g.result.Commit = MergeNothing, g.result.Base
	g.result.Message = fmt.Sprintf("%s has all of %s already", g.Target, g.Branch)
	for _, commit := range g.pushed {
		ours, err := g.isAncestor(ctx, commit, g.result.Base)
		if err != nil {
			return err
		}
		if ours {
			g.result.Status, g.result.Commit = MergeDone, commit
			g.result.Message = fmt.Sprintf("merged %s into %s", g.Branch, g.Target)
		}
	}
	return nil
}

func (g *merging) message() string {
	switch {
	case g.Message != "":
		return g.Message
	case g.Strategy == StrategySquash:
		return fmt.Sprintf("%s (squashed)", g.Branch)
	}
	return fmt.Sprintf("Merge branch '%s' into %s", g.Branch, g.Target)
}

// local runs git on objects alone; the merge's lock keeps others' merges out.
func (g *merging) local(ctx context.Context, c command) (string, error) {
	c.locks = []*lock{g.own}
	out, err := g.m.run(ctx, g.inRepo(c))
	return strings.TrimSpace(string(out)), err
}

// isTreeOf reports whether commit holds tree.
func (g *merging) isTreeOf(ctx context.Context, tree, commit string) (bool, error) {
	have, err := g.local(ctx, command{args: []string{"rev-parse", "--verify", commit + "^{tree}"}})
	return have == tree, err
}

func (g *merging) commit(ctx context.Context, tree, message string, who []string, parents ...string) (string, error) {
	args := []string{"commit-tree", "-F", "-"}
	for _, p := range parents {
		args = append(args, "-p", p)
	}
	c := g.inRepo(command{locks: []*lock{g.own}, args: append(args, tree), stdin: strings.NewReader(message)})
	c.env = append(c.env, who...)
	out, err := g.m.run(ctx, c)
	return strings.TrimSpace(string(out)), err
}

// mergeTree merges two commits in memory. Conflicts become the result.
func (g *merging) mergeTree(ctx context.Context, ours, theirs string) (string, error) {
	out := &capped{max: maxMergeListing}
	_, err := g.local(ctx, command{stdout: out, args: []string{"merge-tree", "--write-tree", "-z", "--messages", ours, theirs}})
	tree, rest, _ := strings.Cut(out.String(), "\x00")
	e, failed := errors.AsType[*runError](err)
	switch {
	case err == nil:
		return tree, nil
	case failed && strings.Contains(e.stderr, "unrelated histories"):
		g.result.Status, g.result.Message = MergeConflict, fmt.Sprintf("%s and %s have no commit in common", g.Branch, g.Target)
		return "", nil
	case !failed || e.exit != 1:
		return "", err
	}
	g.result.Conflicts, g.result.Truncated = parseConflicts(rest)
	g.result.Truncated = g.result.Truncated || out.over
	g.result.Status = MergeConflict
	g.result.Message = fmt.Sprintf("%s and %s change the same in %s", g.Branch, g.Target, countFiles(len(g.result.Conflicts), g.result.Truncated))
	left := maxHunksBytes
	for i := range g.result.Conflicts {
		c := &g.result.Conflicts[i]
		h := &hunks{max: min(maxHunkBytes, left)}
		_, err := g.local(ctx, command{stdout: h, args: []string{"cat-file", "blob", tree + ":" + c.Path}})
		if err != nil && ctx.Err() != nil {
			return "", err
		}
		c.Hunks = h.kept.String() // a file that one side deleted and the merge left out has none
		left -= len(c.Hunks)
	}
	return "", nil
}

func countFiles(n int, more bool) string {
	switch {
	case more:
		return fmt.Sprintf("%d files and more", n)
	case n == 1:
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// parseConflicts reads what `git merge-tree -z --messages` prints after the tree:
// an entry for each stage of each file in conflict, an empty one, then messages of
// the form number of paths, paths, kind, text.
func parseConflicts(s string) (found []Conflict, truncated bool) {
	listing, messages, _ := strings.Cut(s, "\x00\x00")
	add := func(path string) int {
		i := slices.IndexFunc(found, func(c Conflict) bool { return c.Path == path })
		if i >= 0 {
			return i
		}
		if len(found) == maxConflicts {
			truncated = true
			return -1
		}
		found = append(found, Conflict{Path: path})
		return len(found) - 1
	}
	for entry := range strings.SplitSeq(listing, "\x00") {
		if _, path, ok := strings.Cut(entry, "\t"); ok {
			add(path)
		}
	}
	fields := strings.Split(messages, "\x00")
	for len(fields) > 2 {
		n := 0
		if _, err := fmt.Sscanf(fields[0], "%d", &n); err != nil || n < 0 || len(fields) < n+3 {
			break
		}
		kind, isConflict := strings.CutPrefix(fields[n+1], "CONFLICT (")
		for _, path := range fields[1 : n+1] {
			if i := slices.IndexFunc(found, func(c Conflict) bool { return c.Path == path }); isConflict && i >= 0 {
				found[i].Kind = strings.TrimSuffix(kind, ")")
			}
		}
		fields = fields[n+3:]
	}
	return found, truncated
}

// hunks keeps what stands between conflict markers, markers included.
type hunks struct {
	max  int
	kept bytes.Buffer
	line []byte // as far as it is kept
	in   bool
}

func (h *hunks) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte("\n"))
		room := maxHunkBytes - len(h.line)
		h.line = append(h.line, part[:min(len(part), max(room, 0))]...)
		if p = rest; ended {
			h.end()
		}
	}
	return n, nil
}

// end takes a whole line.
func (h *hunks) end() {
	if bytes.HasPrefix(h.line, []byte("<<<<<<< ")) {
		h.in = true
	}
	if h.in {
		text := append(h.line, '\n')
		h.kept.Write(text[:min(len(text), h.max-h.kept.Len())])
	}
	if bytes.HasPrefix(h.line, []byte(">>>>>>> ")) {
		h.in = false
	}
	h.line = h.line[:0]
}

// rebase replays the branch's commits on the target, each by a merge whose base is
// that commit's parent. Git finds the base by history, so the target's side is
// given one: a commit of its tree on top of that parent. What the target has
// already becomes empty and is left out.
func (g *merging) rebase(ctx context.Context) (string, error) {
	picks, err := g.picks(ctx)
	if err != nil {
		return "", err
	}
	if len(picks) > maxRebaseCount {
		return "", fmt.Errorf("rebase of more than %d commits: %w", maxRebaseCount, town.ErrTooLarge)
	}
	at := g.result.Base
	tree, err := g.local(ctx, command{args: []string{"rev-parse", "--verify", at + "^{tree}"}})
	if err != nil {
		return "", err
	}
	for _, p := range picks {
		if p.parent == at {
			at, tree = p.hash, p.tree // it stands there as it is
			continue
		}
		if at, tree, err = g.pick(ctx, at, tree, p); err != nil || g.result.Status != "" {
			return "", err
		}
	}
	if at == g.result.Base {
		return "", g.nothing(ctx, nil)
	}
	return at, nil
}

// pick replays p on at, whose tree is given, and returns both of the result.
func (g *merging) pick(ctx context.Context, at, tree string, p pick) (string, string, error) {
	if p.parent == "" {
		return "", "", fmt.Errorf("rebase of %s, which begins a history of its own: %w", p.hash, town.ErrInvalid)
	}
	side, err := g.commit(ctx, tree, "side of a rebase", nil, p.parent)
	if err != nil {
		return "", "", err
	}
	merged, err := g.mergeTree(ctx, side, p.hash)
	if err != nil {
		return "", "", err
	}
	if g.result.Status == MergeConflict {
		g.result.Message += fmt.Sprintf(", at commit %.12s", p.hash)
		return "", "", nil
	}
	if merged == tree {
		return at, tree, nil
	}
	who := append(identityEnv(g.Name, g.Email), "GIT_AUTHOR_DATE=@"+p.date)
	if name, email := identity(p.name), identity(p.email); name != "" && email != "" {
		who = append(who, "GIT_AUTHOR_NAME="+name, "GIT_AUTHOR_EMAIL="+email)
	}
	commit, err := g.commit(ctx, merged, p.message, who, at)
	return commit, merged, err
}

// pick is a commit to be replayed.
type pick struct{ hash, parent, tree, name, email, date, message string }

// picks lists the commits that the target lacks, also as copies, oldest first,
// merges left out.
func (g *merging) picks(ctx context.Context) (picks []pick, err error) {
	out := &entries{each: func(entry []byte) {
		f := strings.SplitN(string(entry), "\n", 7)
		if len(f) == 7 && len(picks) <= maxRebaseCount {
			picks = append(picks, pick{hash: f[0], parent: f[1], tree: f[2], name: f[3], email: f[4], date: f[5], message: f[6]})
		}
	}}
	_, err = g.local(ctx, command{stdout: out, args: []string{
		"log", "-z", "--reverse", "--topo-order", "--no-merges", "--cherry-pick", "--right-only", "--date=raw", "--format=tformat:%H%n%P%n%T%n%an%n%ae%n%ad%n%B",
		g.result.Base + "..." + g.result.Head, "--",
	}})
	return picks, err
}
