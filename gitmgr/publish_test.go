package gitmgr

import (
	"errors"
	"strings"
	"testing"

	"townd/gitmgr/gittest"
	"townd/town"
)

// W19: for a pull request the branch is pushed and the target left alone; what stands
// in the way is told before anything is pushed.
func TestPublishPushesTheBranchAndLeavesTheTarget(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	head := branchWith(t, m, r, "work", "new=1\n")
	base := r.Commit("main", "other", "other")
	q := MergeRequest{Branch: "work", Publish: true}
	for range 2 {
		res := mustMerge(t, m, q, MergePublished)
		if res.Head != head || res.Base != base || res.Target != "main" || res.Subject != "write new" {
			t.Errorf("Merge = %+v", res)
		}
		if got := r.Git("rev-parse", "work", "main"); got != head+"\n"+base {
			t.Errorf("work and main are at %s, want %s and %s", got, head, base)
		}
	}
	branchWith(t, m, r, "work", "other=mine\n")
	before := r.Git("for-each-ref")
	if res := mustMerge(t, m, q, MergeConflict); len(res.Conflicts) != 1 {
		t.Errorf("Merge = %+v", res)
	}
	failed := q
	failed.Branch, failed.Gates = "late", []Gate{{Name: "no", Command: "exit 3"}}
	late := branchWith(t, m, r, "late", "late=1\n")
	mustMerge(t, m, failed, MergeGatesFailed)
	if r.Git("for-each-ref") != before {
		t.Error("what cannot be merged was pushed")
	}
	failed.Gates[0].Command = "test -f late && test -f other"
	mustMerge(t, m, failed, MergePublished)

	failed.Settled, failed.DeleteBranch = late, true
	if res := mustMerge(t, m, failed, MergeNothing); !res.BranchDeleted || strings.Contains(r.Git("for-each-ref"), "late") {
		t.Errorf("what was merged elsewhere: %+v, there is %s", res, r.Git("for-each-ref"))
	}
}

func TestPublishMovesNoBranchThatSomebodyMoved(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	move := "env -u GIT_DIR -u GIT_COMMON_DIR git -C " + r.Path
	m := newManager(t, func(c *Config) { // somebody rewrites the branch before every push
		c.Git = slowGit(t, `case "$*" in *push*) `+move+` update-ref refs/heads/work $(`+move+` commit-tree -m $(date +%N) 'main^{tree}');; esac`)
	})
	branchWith(t, m, r, "work", "new=1\n")
	res := mustMerge(t, m, MergeRequest{Branch: "work", Publish: true}, MergeRace)
	if res.Attempts != mergeAttempts || r.Git("rev-parse", "work^{tree}") != r.Git("rev-parse", "main^{tree}") {
		t.Errorf("Merge = %+v", res)
	}
}

// C44, W8: with an owner set, merges are the owner's, and trailers name the agents.
func TestMergeByAnOwnerNamesAgentsInTrailers(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	owner := Identity{"Owner", "owner@example.com"}
	for i, c := range []struct{ message, want string }{
		{"", "by%d (squashed)\n\nCo-authored-by: Tester <tester@example.com>"},
		{"Add it\n\nFixes: #1\n", "Add it\n\nFixes: #1\nCo-authored-by: Tester <tester@example.com>"},
		{"Add it: all\n\nwhy: it is\nnot a trailer", "Add it: all\n\nwhy: it is\nnot a trailer\n\nCo-authored-by: Tester <tester@example.com>"},
	} {
		branch := "by" + string(rune('0'+i))
		branchWith(t, m, r, branch, branch+"=1\n", branch+"b=2\n")
		mustMerge(t, m, MergeRequest{Branch: branch, Strategy: StrategySquash, Name: "townd", Email: "t@t.invalid", Message: c.message, Author: owner}, MergeDone)
		if got, want := r.Git("show", "-s", "--format=%an %ae %cn%n%B", "main"), "Owner owner@example.com townd\n"+strings.ReplaceAll(c.want, "by%d", branch); strings.TrimSpace(got) != want {
			t.Errorf("the commit is %q, want %q", got, want)
		}
	}
	branchWith(t, m, r, "own", "own=1\n")
	mustMerge(t, m, MergeRequest{Branch: "own", Author: Identity{"Tester", "tester@example.com"}}, MergeDone)
	if got := r.Git("show", "-s", "--format=%B", "main"); strings.Contains(got, coAuthorKey) {
		t.Errorf("the author is named a second time: %q", got)
	}
}

// Proves W18.
func TestIdentitiesAreWhatGitTakes(t *testing.T) {
	for s, want := range map[string]Identity{
		"Ada Lovelace <ada@example.com>": {"Ada Lovelace", "ada@example.com"}, " Åse J. <a.b+c@x> ": {"Åse J.", "a.b+c@x"},
	} {
		if got, err := ParseIdentity(s); got != want || err != nil || got.String() != strings.TrimSpace(s) {
			t.Errorf("ParseIdentity(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "Ada", "ada@example.com", "<ada@example.com>", "Ada <ada>", "Ada <@x>", "Ada <a@>", "Ada <a@b@c>", "Ada <a b@c>", "Ada <a@b> x",
		"A\nda <a@b>", "Ada <a@b\n>", "Ada <a@b", "...<a@b>", "Ada <<a@b>>", "Ada <a@b.>",
	} {
		if got, err := ParseIdentity(s); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("ParseIdentity(%q) = %q, %v; want ErrInvalid", s, got, err)
		}
	}
}
