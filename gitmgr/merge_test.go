package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"townd/gitmgr/gittest"
	"townd/town"
)

// branchWith makes a worktree of a branch with one commit for each file of the
// form name=text, and returns its tip.
func branchWith(t testing.TB, m *Manager, r *gittest.Remote, branch string, files ...string) string {
	t.Helper()
	w := mustWorktree(t, m, spec(r, branch))
	for _, f := range files {
		name, text, _ := strings.Cut(f, "=")
		write(t, filepath.Join(w.Dir, name), text)
		git(t, w.Dir, "add", "-A")
		git(t, w.Dir, "commit", "--quiet", "-m", "write "+name)
	}
	return git(t, w.Dir, "rev-parse", "HEAD")
}

func mustMerge(t testing.TB, m *Manager, q MergeRequest, want MergeStatus) MergeResult {
	t.Helper()
	q.RigID = "rig"
	res, err := m.Merge(t.Context(), q)
	if err != nil || res.Status != want {
		t.Fatalf("Merge = %+v, %v, want %s", res, err, want)
	}
	return res
}

func TestMergeHasBothParentsAndIsOnTheRemote(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 3})
	m := newManager(t)
	head := branchWith(t, m, r, "polecat/toast/1", "new=1\n", "new2=2\n")
	base := r.Commit("main", "other", "other")
	res := mustMerge(t, m, MergeRequest{Branch: "polecat/toast/1", Name: "Refinery", Email: "refinery@example.com"}, MergeDone)
	if got := r.Git("rev-parse", "main", "main^1", "main^2"); got != res.Commit+"\n"+base+"\n"+head {
		t.Errorf("main, its parents: %s", got)
	}
	if got := r.Git("show", "-s", "--format=%an %ce %s", "main"); got != "Refinery refinery@example.com Merge branch 'polecat/toast/1' into main" {
		t.Errorf("the commit is %s", got)
	}
	if got := r.Git("ls-tree", "--name-only", "main"); got != "dir000\nnew\nnew2\nother" {
		t.Errorf("its files are %q", got)
	}
	repo := m.rigs["rig"].repo
	if got := git(t, repo, "rev-parse", "main", "origin/main"); got != res.Commit+"\n"+res.Commit {
		t.Errorf("here main and origin/main are %s", got)
	}
	again := mustMerge(t, m, MergeRequest{Branch: "polecat/toast/1", Target: "main"}, MergeNothing)
	if again.Commit != res.Commit {
		t.Errorf("again = %+v", again)
	}
	sound(t, m)
}

// A convoy's branch begins with the first merge into it.
func TestMergeMakesItsTargetWhenToldTo(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 3})
	m := newManager(t)
	for i := range 4 {
		branchWith(t, m, r, fmt.Sprint("work/", i), fmt.Sprintf("new%d=1\n", i))
	}
	branchWith(t, m, r, "work/empty")
	base := r.Git("rev-parse", "main")
	if _, err := m.Merge(t.Context(), MergeRequest{RigID: "rig", Branch: "work/0", Target: "convoy/a/head"}); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("untold: %v, want not found", err)
	}
	mustMerge(t, m, MergeRequest{Branch: "work/empty", Target: "convoy/b/head", CreateTarget: true}, MergeNothing)
	if got := r.Git("rev-parse", "convoy/b/head"); got != base {
		t.Errorf("with nothing to merge the target is at %s, want %s", got, base)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			mustMerge(t, m, MergeRequest{Branch: fmt.Sprint("work/", i), Target: "convoy/a/head", CreateTarget: true}, MergeDone)
		})
	}
	wg.Wait()
	if got := r.Git("ls-tree", "--name-only", "convoy/a/head"); got != "dir000\nnew0\nnew1\nnew2\nnew3" {
		t.Errorf("its files are %q", got)
	}
	if got := r.Git("rev-parse", "main"); got != base {
		t.Errorf("main moved to %s", got)
	}
	mustMerge(t, m, MergeRequest{Branch: "convoy/a/head"}, MergeDone)
	sound(t, m)
}

func TestSquashAndRebaseGiveOneParent(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 3})
	m := newManager(t)
	branchWith(t, m, r, "squash", "a=1\n", "b=2\n")
	branchWith(t, m, r, "rebase", "c=1\n", "d=2\n", "c=3\n")
	base := r.Commit("main", "other", "other")
	res := mustMerge(t, m, MergeRequest{Branch: "squash", Strategy: StrategySquash, Message: "both\n\n# kept\n"}, MergeDone)
	if got := r.Git("log", "--format=%P|%B", "-1", "main"); got != base+"|both\n\n# kept\n" {
		t.Errorf("squashed: %q", got)
	}
	mustMerge(t, m, MergeRequest{Branch: "squash", Strategy: StrategySquash}, MergeNothing)

	rebased := mustMerge(t, m, MergeRequest{Branch: "rebase", Strategy: StrategyRebase, Name: "Refinery", Email: "r@example.com"}, MergeDone)
	if got := r.Git("log", "--reverse", "--format=%an %cn %s", res.Commit+"..main"); got != "Tester Refinery write c\nTester Refinery write d\nTester Refinery write c" {
		t.Errorf("rebased: %s", got)
	}
	if got := r.Git("show", "main:c") + r.Git("show", "main:a") + r.Git("show", "main:other"); got != "31other" || r.Git("rev-parse", "main") != rebased.Commit {
		t.Errorf("its files hold %q", got)
	}
	mustMerge(t, m, MergeRequest{Branch: "rebase", Strategy: StrategyRebase}, MergeNothing)

	head := branchWith(t, m, r, "straight", "e=1\n", "f=2\n")
	if got := mustMerge(t, m, MergeRequest{Branch: "straight", Strategy: StrategyRebase}, MergeDone); got.Commit != head {
		t.Errorf("what stands on the target already was rewritten: %+v", got)
	}
	sound(t, m)
}

// TestRebaseIsWhatGitMakes compares with git's own rebase, over commits that undo
// and overlap each other, a merge among them.
func TestRebaseIsWhatGitMakes(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 10})
	m := newManager(t)
	branchWith(t, m, r, "a", "x=1\n2\n3\n4\n5\n6\n7\n8\n9\n", "x=1\n2\n3\n4\n5\n6\n7\n8\nnine\n", "y=1\n", "x=one\n2\n3\n4\n5\n6\n7\n8\nnine\n")
	dir := m.rigs["rig"].path("a")
	git(t, dir, "switch", "--quiet", "-c", "side", "HEAD~2")
	write(t, filepath.Join(dir, "side"), "side")
	git(t, dir, "add", "side")
	git(t, dir, "commit", "--quiet", "-m", "side")
	git(t, dir, "switch", "--quiet", "a")
	git(t, dir, "merge", "--quiet", "--no-ff", "-m", "merged", "side")
	git(t, dir, "mv", "dir000/file00001.txt", "moved")
	git(t, dir, "commit", "--quiet", "-m", "moved")
	git(t, dir, "revert", "--no-edit", "HEAD~3")
	r.Commit("main", "dir000/file00001.txt", strings.Repeat("file 1 commit 0 line of text\n", 8)+"more\n")
	git(t, dir, "fetch", "--quiet")
	git(t, dir, "switch", "--quiet", "-c", "by-git", "a")
	git(t, dir, "rebase", "--quiet", "origin/main")
	git(t, dir, "switch", "--quiet", "a")
	res := mustMerge(t, m, MergeRequest{Branch: "a", Strategy: StrategyRebase}, MergeDone)
	for _, format := range []string{"--format=%s %an %T"} {
		want := git(t, dir, "log", format, "origin/main@{1}..by-git")
		if diff := cmp.Diff(want, git(t, dir, "log", format, "origin/main@{1}.."+res.Commit)); diff != "" {
			t.Errorf("rebased (-git +ours):\n%s", diff)
		}
	}
}

func TestConflictTellsFilesAndHunks(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	r.Commit("main", "f", "1\n2\n3\n")
	r.Commit("main", "gone", "x\n")
	branchWith(t, m, r, "a", "f=1\ntwo\n3\n", "gone=y\n", "bin=\x00\x01", "odd\tname=1")
	before := r.Commit("main", "f", "1\nTWO\n3\n")
	r.Import("commit refs/heads/main\ncommitter S <s@example.com> now\ndata 1\nc\nfrom refs/heads/main^0\nD gone\nM 100644 inline bin\ndata 2\n\x00\x02\nM 100644 inline \"odd\\tname\"\ndata 1\n2\n", "--date-format=now")
	for _, s := range []Strategy{StrategyMerge, StrategySquash, StrategyRebase} {
		res := mustMerge(t, m, MergeRequest{Branch: "a", Strategy: s}, MergeConflict)
		got := map[string]string{}
		for _, c := range res.Conflicts {
			got[c.Path] = c.Kind
		}
		want := map[string]string{"f": "contents", "gone": "modify/delete", "bin": "binary", "odd\tname": "add/add"}
		if s == StrategyRebase {
			want = map[string]string{"f": "contents"}
		}
		if s != StrategyRebase && len(got) == 4 {
			delete(got, "bin") // its name differs between versions of git
			delete(want, "bin")
			got["odd\tname"] = "add/add"
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: conflicts (-want +got):\n%s", s, diff)
		}
		for _, c := range res.Conflicts {
			if c.Path == "f" && (!strings.HasPrefix(c.Hunks, "<<<<<<< ") || !strings.Contains(c.Hunks, "\nTWO\n=======\ntwo\n>>>>>>> ")) {
				t.Errorf("%s: hunks are %q", s, c.Hunks)
			}
		}
	}
	if r.Git("rev-parse", "main~1") != before {
		t.Error("the remote was changed")
	}
	sound(t, m)
}

func TestConflictsAreBounded(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	var files []string
	for i := range 120 {
		files = append(files, fmt.Sprintf("f%03d=%s", i, strings.Repeat("mine\n", 4000)))
	}
	w := mustWorktree(t, m, spec(r, "a"))
	for _, f := range files {
		name, text, _ := strings.Cut(f, "=")
		write(t, filepath.Join(w.Dir, name), text)
	}
	git(t, w.Dir, "add", "-A")
	git(t, w.Dir, "commit", "--quiet", "-m", "all")
	var b strings.Builder
	b.WriteString("commit refs/heads/main\ncommitter S <s@example.com> now\ndata 1\nc\nfrom refs/heads/main^0\n")
	for i := range 120 {
		text := strings.Repeat("other\n", 4000)
		fmt.Fprintf(&b, "M 100644 inline f%03d\ndata %d\n%s\n", i, len(text), text)
	}
	r.Import(b.String(), "--date-format=now")
	res := mustMerge(t, m, MergeRequest{Branch: "a"}, MergeConflict)
	total := 0
	for _, c := range res.Conflicts {
		total += len(c.Hunks)
	}
	if len(res.Conflicts) != maxConflicts || !res.Truncated || total > maxHunksBytes || len(res.Conflicts[0].Hunks) != maxHunkBytes {
		t.Errorf("%d conflicts, truncated %v, %d bytes of hunks", len(res.Conflicts), res.Truncated, total)
	}
}

// TestTargetThatMovesIsMergedAgain moves the target while the gates run.
func TestTargetThatMovesIsMergedAgain(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	branchWith(t, m, r, "a", "mine=1")
	moves := 2
	q := MergeRequest{Branch: "a", Gates: []Gate{{Name: "g"}}, Run: func(context.Context, GateRun, io.Writer) (int, error) {
		if moves--; moves >= 0 {
			r.Commit("main", fmt.Sprint("theirs", moves), "1")
		}
		return 0, nil
	}}
	res := mustMerge(t, m, q, MergeDone)
	if res.Attempts != 3 || r.Git("ls-tree", "--name-only", "main") != "dir000\nmine\ntheirs0\ntheirs1" {
		t.Errorf("%d attempts, main holds %s", res.Attempts, r.Git("ls-tree", "--name-only", "main"))
	}
	branchWith(t, m, r, "b", "more=1")
	moves, q.Branch = 1000, "b"
	tip := func() string { return r.Git("rev-list", "--count", "--first-parent", "main") }
	before := tip()
	res = mustMerge(t, m, q, MergeRace)
	if res.Attempts != mergeAttempts || before == tip() {
		t.Errorf("Merge = %+v", res)
	}
	sound(t, m)
}

func TestTargetThatIsRewrittenWhileGatesRunIsNotOverwritten(t *testing.T) {
	r := gittest.New(t, gittest.Options{Commits: 5})
	m := newManager(t)
	branchWith(t, m, r, "a", "mine=1")
	var once sync.Once
	res := mustMerge(t, m, MergeRequest{Branch: "a", Strategy: StrategySquash, Gates: []Gate{{}}, Run: func(context.Context, GateRun, io.Writer) (int, error) {
		once.Do(func() { r.Git("update-ref", "refs/heads/main", "main~2") })
		return 0, nil
	}}, MergeDone)
	if res.Attempts != 2 || r.Git("rev-list", "--count", "main") != "6" { // the branch brings the two commits back, squashed with its own
		if got := r.Git("rev-list", "--count", "main"); got != "4" {
			t.Errorf("%d attempts, %s commits", res.Attempts, got)
		}
	}
}

func TestTenMergesAtOnceAllLand(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m, other := newManager(t), newManager(t)
	var raced atomic.Int64
	var wg sync.WaitGroup
	for i := range 10 {
		at := []*Manager{m, other}[i%2]
		branchWith(t, at, r, fmt.Sprint("b", i), fmt.Sprintf("f%d=%d", i, i))
	}
	for i := range 10 {
		wg.Go(func() {
			for { // a race is answered when the other town wins five times
				res, err := []*Manager{m, other}[i%2].Merge(t.Context(), MergeRequest{RigID: "rig", Branch: fmt.Sprint("b", i)})
				raced.Add(int64(res.Attempts - 1))
				if err != nil || res.Status != MergeDone && res.Status != MergeRace {
					t.Errorf("Merge = %+v, %v", res, err)
					return
				}
				if res.Status == MergeDone {
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d races", raced.Load())
	if got := r.Git("rev-list", "--count", "--merges", "--first-parent", "main"); got != "10" {
		t.Errorf("%s merges are in main", got)
	}
	sound(t, m)
}

func TestGatesRunInACleanWorktreeOfTheResult(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	branchWith(t, m, r, "a", "mine=1")
	base := r.Commit("main", "theirs", "1")
	write(t, filepath.Join(m.rigs["rig"].path("a"), "untracked"), "x")
	res := mustMerge(t, m, MergeRequest{Branch: "a", Gates: []Gate{
		{Name: "files", Command: "test -f mine && test -f theirs && ! test -e untracked && test -z \"$(git status --porcelain)\" && echo good"},
		{Name: "tests", Command: "yes failing | head -c 100000; echo the end >&2; exit 3"},
		{Name: "never", Command: "touch never"},
	}}, MergeGatesFailed)
	if len(res.Gates) != 2 || res.Gates[0].Output != "good\n" || res.Gates[1].Exit != 3 || len(res.Gates[1].Output) != maxGateOutput ||
		!strings.HasSuffix(res.Gates[1].Output, "the end\n") {
		t.Errorf("Gates = %+v", res.Gates)
	}
	if r.Git("rev-parse", "main") != base {
		t.Error("it was pushed")
	}
	res = mustMerge(t, m, MergeRequest{Branch: "a", Gates: []Gate{{Name: "slow", Command: "sleep 60 & sleep 60", Timeout: 50 * time.Millisecond}}}, MergeGatesFailed)
	if !res.Gates[0].TimedOut || res.Gates[0].Took > 10*time.Second {
		t.Errorf("Gates = %+v", res.Gates)
	}
	_, err := m.Merge(t.Context(), MergeRequest{RigID: "rig", Branch: "a", Gates: []Gate{{Name: "x"}}, Run: func(context.Context, GateRun, io.Writer) (int, error) {
		return 0, errors.New("no user is free")
	}})
	if err == nil || !strings.Contains(err.Error(), "gate x: no user is free") {
		t.Errorf("error is %v", err)
	}
	mustMerge(t, m, MergeRequest{Branch: "a", Gates: []Gate{{Name: "ok", Command: "true"}}}, MergeDone)
	if left, _ := filepath.Glob(filepath.Join(m.c.Home, "rig/worktrees/-merge/*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if got := git(t, m.rigs["rig"].repo, "worktree", "list", "--porcelain"); strings.Contains(got, "-merge") {
		t.Errorf("git lists %s", got)
	}
	sound(t, m)
}

// TestGatesRunAsTheirUser: what is merged is an agent's, so its tests are too.
func TestGatesRunAsTheirUser(t *testing.T) {
	m := isolated(t)
	r := gittest.New(t, gittest.Options{})
	w := mustWorktree(t, m, ownedSpec(r, "polecat/alice/1", uidA))
	_, err := shellAs(uidA, w.GID, w.Dir, "", "echo hers > hers && chmod 600 hers && git add hers && git commit -qm hers")
	must(t, err)
	main := r.Commit("main", "f", "f")
	q := MergeRequest{Branch: w.Branch, RigID: "rig", Gates: []Gate{{
		Name: "who", Command: "id -u; cat hers f; touch ~/y; git config core.hooksPath .; git update-ref refs/heads/main HEAD; git update-ref refs/heads/polecat/alice/1 HEAD~1; cat " + w.Dir + "/hers",
	}}}
	_, err = m.Merge(t.Context(), q)
	wantKind(t, err, town.ErrInvalid, "user of their own")
	q.Owner = Owner{UID: uidB}
	res, err := m.Merge(t.Context(), q)
	must(t, err)
	if res.Status != MergeGatesFailed || !strings.HasPrefix(res.Gates[0].Output, fmt.Sprint(uidB, "\nhers\nf")) || strings.Count(res.Gates[0].Output, "denied")+strings.Count(res.Gates[0].Output, "not permitted") != 4 {
		t.Errorf("Merge = %+v", res)
	}
	if git(t, m.rigs["rig"].repo, "-c", "safe.directory=*", "rev-parse", "main") != main || r.Git("rev-parse", "main") != main {
		t.Error("a gate moved main")
	}
	q.Gates[0].Command = "test $(id -u) != 0"
	if res, err := m.Merge(t.Context(), q); err != nil || res.Status != MergeDone {
		t.Errorf("Merge = %+v, %v", res, err)
	}
	sound(t, m)
}

func TestMergedBranchIsDeletedUnlessItMoved(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	r.Commit("gone", "a", "1")
	r.Commit("moves", "b", "1")
	mustWorktree(t, m, spec(r, "x"))
	if res := mustMerge(t, m, MergeRequest{Branch: "gone", DeleteBranch: true}, MergeDone); !res.BranchDeleted {
		t.Errorf("Merge = %+v", res)
	}
	res := mustMerge(t, m, MergeRequest{Branch: "moves", DeleteBranch: true, Gates: []Gate{{}}, Run: func(context.Context, GateRun, io.Writer) (int, error) {
		r.Commit("moves", "c", "2")
		return 0, nil
	}}, MergeDone)
	if res.BranchDeleted || r.Git("for-each-ref", "--format=%(refname)") != "refs/heads/main\nrefs/heads/moves" {
		t.Errorf("Merge = %+v, refs %s", res, r.Git("for-each-ref"))
	}
	if got := git(t, m.rigs["rig"].repo, "for-each-ref", "--format=%(refname)", "refs/remotes"); strings.Contains(got, "gone") {
		t.Errorf("here are %s", got)
	}
	sound(t, m)
}

// TestNewerOfTwoBranchesIsMerged: an agent's work may be here, on the remote, or both.
func TestNewerOfTwoBranchesIsMerged(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	dir := func(b string) string { return m.rigs["rig"].path(b) }
	here := branchWith(t, m, r, "a", "a=1", "a=2")
	git(t, dir("a"), "push", "--quiet", "origin", "a~1:refs/heads/a")
	if res := mustMerge(t, m, MergeRequest{Branch: "a"}, MergeDone); res.Head != here {
		t.Errorf("merged %s, newer is %s here", res.Head, here)
	}
	branchWith(t, m, r, "b", "b=1")
	git(t, dir("b"), "push", "--quiet", "origin", "b")
	there := r.Commit("b", "b2", "2")
	if res := mustMerge(t, m, MergeRequest{Branch: "b"}, MergeDone); res.Head != there {
		t.Errorf("merged %s, newer is %s on the remote", res.Head, there)
	}
	branchWith(t, m, r, "c", "c=1")
	git(t, dir("c"), "push", "--quiet", "origin", "c")
	git(t, dir("c"), "commit", "--quiet", "--amend", "-m", "again")
	rewritten := git(t, dir("c"), "rev-parse", "HEAD")
	if res := mustMerge(t, m, MergeRequest{Branch: "c"}, MergeDone); res.Head != rewritten {
		t.Errorf("merged %s, the agent here rewrote it to %s", res.Head, rewritten)
	}
}

func TestMergeRefusesWhatItCannotDo(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	mustWorktree(t, m, spec(r, "a"))
	for says, q := range map[string]MergeRequest{
		"is the target":             {RigID: "rig", Branch: "main"},
		"must not begin with -":     {RigID: "rig", Branch: "--exec=x"},
		"must not contain ..":       {RigID: "rig", Branch: "a", Target: "a..b"},
		"must be merge, squash":     {RigID: "rig", Branch: "a", Strategy: "ours"},
		"at most 65536 bytes":       {RigID: "rig", Branch: "a", Message: strings.Repeat("x", maxMessageBytes+1)},
		"remote helper":             {RigID: "rig", Branch: "a", URL: "ext::sh -c x"},
		"isolation is off":          {RigID: "rig", Branch: "a", Owner: Owner{UID: 5}},
		"begin with a letter or di": {RigID: "../x", Branch: "a"},
	} {
		_, err := m.Merge(t.Context(), q)
		wantKind(t, err, town.ErrInvalid, says)
	}
	for says, q := range map[string]MergeRequest{
		"neither here nor on the remote": {RigID: "rig", Branch: "unknown"},
		"the remote has no such branch":  {RigID: "rig", Branch: "a", Target: "unknown"},
		"has no clone here":              {RigID: "other", Branch: "a"},
	} {
		_, err := m.Merge(t.Context(), q)
		wantKind(t, err, town.ErrNotFound, says)
	}
	r.Import("commit refs/heads/alien\ncommitter S <s@example.com> now\ndata 1\nc\nM 100644 inline z\ndata 1\nz\n", "--date-format=now")
	if res := mustMerge(t, m, MergeRequest{Branch: "alien"}, MergeConflict); !strings.Contains(res.Message, "no commit in common") {
		t.Errorf("Merge = %+v", res)
	}
}

func TestRemoteThatFailsInAMergeIsToldApart(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("", "")
	m := newManager(t, func(c *Config) { c.Timeout = 2 * time.Second })
	r.Commit("a", "a", "1")
	for fault, want := range map[gittest.Fault]MergeStatus{
		gittest.Unauthorized: MergeAuth, gittest.Forbidden: MergeAuth, gittest.NotFound: MergeAuth,
		gittest.Broken: MergeNetwork, gittest.Busy: MergeNetwork, gittest.Hang: MergeNetwork,
	} {
		_, err := m.Worktree(t.Context(), httpSpec(h, "w"))
		must(t, err)
		h.Set(fault)
		res, err := m.Merge(t.Context(), MergeRequest{RigID: "rig", Branch: "a"})
		if err != nil || res.Status != want || res.Message == "" {
			t.Errorf("fault %d: Merge = %+v, %v, want %s", fault, res, err, want)
		}
		h.Set(gittest.Serve)
	}
	// A push whose answer is lost has been done: the merge finds it and says so.
	h.SetPush(gittest.Swallow)
	res, err := m.Merge(t.Context(), MergeRequest{RigID: "rig", Branch: "a"})
	if err != nil || res.Status != MergeDone || res.Attempts != 2 || r.Git("rev-parse", "main") != res.Commit {
		t.Errorf("Merge = %+v, %v", res, err)
	}
	r.Commit("b", "b", "1")
	h.SetPush(gittest.Forbidden)
	if res, err := m.Merge(t.Context(), MergeRequest{RigID: "rig", Branch: "b"}); err != nil || res.Status != MergeAuth {
		t.Errorf("Merge = %+v, %v", res, err)
	}
	sound(t, m)
}

func TestRemoteWhoseHookRefusesIsNoRace(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	branchWith(t, m, r, "a", "a=1")
	write(t, filepath.Join(r.Path, "hooks/pre-receive"), "#!/bin/sh\necho protected >&2\nexit 1\n")
	must(t, os.Chmod(filepath.Join(r.Path, "hooks/pre-receive"), 0o755))
	res := mustMerge(t, m, MergeRequest{Branch: "a"}, MergeAuth)
	if !strings.Contains(res.Message, "hook declined") || res.Attempts != 1 {
		t.Errorf("Merge = %+v", res)
	}
}

// TestMergeKilledAnywhereIsDoneByTheNext kills git, with its group, at a growing
// distance from the start, and merges again.
func TestMergeKilledAnywhereIsDoneByTheNext(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 200})
	dir := filepath.Join(t.TempDir(), "rigs")
	m := newManager(t, home(dir))
	for i := range 25 {
		branch, file := fmt.Sprint("b", i), fmt.Sprint("f", i)
		branchWith(t, m, r, branch, file+"=1")
		r.Commit("main", "moves", fmt.Sprint(i))
		q := MergeRequest{RigID: "rig", Branch: branch, Strategy: []Strategy{StrategyMerge, StrategySquash, StrategyRebase}[i%3]}
		gated := q
		gated.Gates = []Gate{{Name: "g", Command: "test -f " + file}}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			res, err := m.Merge(ctx, gated)
			t.Logf("killed after %d ms: %s %v", 3*i, res.Status, err)
		})
		time.Sleep(time.Duration(i) * 3 * time.Millisecond) // the moment is any, nothing is waited for
		for _, pid := range gitsBelow(dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		cancel()
		wg.Wait()
		res, err := m.Merge(t.Context(), q)
		if err != nil || res.Status != MergeDone && res.Status != MergeNothing || r.Git("rev-parse", "main") != res.Commit {
			t.Errorf("Merge = %+v, %v", res, err)
		}
		if got := r.Git("log", "--oneline", "--no-merges", "main", "--", file); strings.Count(got, "\n") != 0 || got == "" {
			t.Errorf("%s came into main by %q", file, got)
		}
	}
	sound(t, m)
	r.Git("fsck", "--full", "--strict", "--no-dangling")
}

func FuzzParseConflicts(f *testing.F) {
	f.Add("100644 1 2\tf\x00\x001\x00f\x00CONFLICT (contents)\x00text\n\x00")
	f.Add("\x00\x00-1\x00")
	f.Add("9999999999999999999\x00\x00")
	f.Fuzz(func(t *testing.T, s string) {
		if found, _ := parseConflicts(s); len(found) > maxConflicts {
			t.Fatal("too many")
		}
	})
}
