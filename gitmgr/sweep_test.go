package gitmgr

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/gitmgr/gittest"
	"townd/town"
)

func keepOnly(branches ...string) func(string, string) bool {
	return func(_, branch string) bool { return slices.Contains(branches, branch) }
}

// age makes a branch one that nobody has used for a time.
func age(t testing.TB, m *Manager, branch string, d time.Duration) {
	t.Helper()
	r := m.rigs["rig"]
	when := time.Now().Add(-d)
	for _, top := range []string{r.factsPath(branch), filepath.Join(r.repo, headsPrefix+branch), filepath.Join(r.repo, "logs", headsPrefix+branch), r.path(branch), r.admin(branch)} {
		_ = filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				must(t, os.Chtimes(path, when, when))
			}
			return nil
		})
	}
}

func mustSweep(t testing.TB, m *Manager, p Policy) Swept {
	t.Helper()
	s, err := m.Sweep(t.Context(), p)
	must(t, err)
	return s
}

func (s Swept) of(branch string) *Removed {
	for _, r := range s.Removed {
		if r.Branch == branch {
			return &r
		}
	}
	return nil
}

func TestSweepCollectsTheForgottenByAgeAndLosesNothing(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	trees := map[string]Worktree{}
	for _, b := range []string{"clean", "dirty", "committed", "secret", "known", "young", "rebasing", "nested", "detached", "locked"} {
		trees[b] = mustWorktree(t, m, spec(r, b))
	}
	commit := func(branch string) string {
		dir := trees[branch].Dir
		write(t, filepath.Join(dir, "new"), branch)
		git(t, dir, "add", ".")
		git(t, dir, "commit", "--quiet", "-m", branch)
		return git(t, dir, "rev-parse", "HEAD")
	}
	write(t, filepath.Join(trees["dirty"].Dir, "unsaved"), "work")
	tip := commit("committed")
	write(t, filepath.Join(trees["secret"].Dir, ".env"), "A=b")
	must(t, os.Mkdir(filepath.Join(m.rigs["rig"].admin("rebasing"), "rebase-merge"), 0o755))
	git(t, trees["nested"].Dir, "init", "--quiet", "inner")
	git(t, filepath.Join(trees["nested"].Dir, "inner"), "commit", "--quiet", "--allow-empty", "-m", "x")
	git(t, trees["detached"].Dir, "checkout", "--quiet", "--detach")
	lone := commit("detached")
	for b := range trees {
		if b != "young" {
			age(t, m, b, 2*time.Hour)
		}
	}
	_, busy, err := m.rigs["rig"].acquireBranch(t.Context(), "locked")
	must(t, err)
	defer busy()

	s := mustSweep(t, m, Policy{OlderThan: time.Hour, Keep: keepOnly("known")})
	for b, gone := range map[string]bool{
		"clean": true, "dirty": true, "committed": true, "detached": true,
		"secret": false, "known": false, "young": false, "rebasing": false, "nested": false, "locked": false,
	} {
		if isDir(trees[b].Dir) == gone || (s.of(b) != nil) != gone {
			t.Errorf("worktree %s: gone is %v, told %+v", b, !isDir(trees[b].Dir), s.of(b))
		}
	}
	if s.Unsaved != 3 || s.Branches != 3 || len(s.Rigs) != 1 || s.Rigs[0].Count != 6 || s.Rigs[0].Repo == 0 || s.FreeBytes == 0 {
		t.Errorf("swept %+v", s)
	}
	repo := m.rigs["rig"].repo
	if got := git(t, repo, "cat-file", "-p", s.of("dirty").Checkpoint+":unsaved"); got != "work" {
		t.Errorf("saved work is %q", got)
	}
	if got := git(t, repo, "rev-parse", headsPrefix+"committed"); got != tip {
		t.Errorf("branch with unpushed commits is at %s, want %s", got, tip)
	}
	git(t, repo, "merge-base", "--is-ancestor", lone, s.of("detached").Checkpoint)
	if w := mustWorktree(t, m, spec(r, "committed")); git(t, w.Dir, "rev-parse", "HEAD") != tip {
		t.Error("the branch does not go on from its commits")
	}
	must(t, os.Remove(filepath.Join(m.rigs["rig"].admin("rebasing"), "rebase-merge")))
	sound(t, m)
}

func TestSweptAgentIsRestored(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	write(t, filepath.Join(w.Dir, "f"), "first")
	_, err := m.Checkpoint(t.Context(), "rig", "a", "toast", Owner{})
	must(t, err)
	write(t, filepath.Join(w.Dir, "f"), "last")
	age(t, m, "a", time.Hour)
	s := mustSweep(t, m, Policy{OlderThan: time.Minute, Keep: keepOnly()})
	if got := s.of("a"); got == nil || got.Checkpoint != "refs/town/checkpoints/toast" {
		t.Fatalf("swept %+v", s)
	}
	res, err := m.Restore(t.Context(), spec(r, "a"), "toast")
	if err != nil || !res.Applied || read(t, filepath.Join(res.Dir, "f")) != "last" {
		t.Errorf("Restore = %+v, %v", res, err)
	}
}

// Proves W12.
func TestSweepMakesRoomFromThePoolAndTheOldest(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 300, FileBytes: 9000})
	m := newManager(t)
	for i, b := range []string{"oldest", "older", "newer"} {
		mustWorktree(t, m, spec(r, b))
		age(t, m, b, time.Duration(9-i)*time.Hour)
	}
	mustWorktree(t, m, spec(r, "now"))
	warmed(t, m, Owner{})
	u, err := m.rigs["rig"].usage()
	must(t, err)
	one := diskBytes(m.rigs["rig"].path("newer"))

	s := mustSweep(t, m, Policy{QuotaBytes: u.Total() - one - one/2, Keep: keepOnly()})
	if len(s.Removed) != 1 || s.of("oldest") == nil || s.Rigs[0].OverQuota {
		t.Errorf("a quota that lacks the room of one and a half worktrees swept %+v", s)
	}
	if ready, err := m.Ready("rig"); err != nil || len(ready) != 0 {
		t.Errorf("the pool still has %v, %v", ready, err)
	}
	s = mustSweep(t, m, Policy{MinFreeBytes: math.MaxInt64, Keep: keepOnly("newer")})
	if len(s.Removed) != 1 || s.of("older") == nil {
		t.Errorf("a full disk swept %+v", s)
	}
	if s = mustSweep(t, m, Policy{QuotaBytes: 1, Keep: keepOnly("newer")}); len(s.Removed) != 0 || !s.Rigs[0].OverQuota {
		t.Errorf("swept %+v", s)
	}
	if left, err := os.ReadDir(filepath.Join(m.rigs["rig"].dir, "trash")); err != nil || len(left) > 0 {
		t.Errorf("trash holds %v, %v", left, err)
	}
}

func TestSweepRemovesOldLocksOnly(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	mustWorktree(t, m, spec(r, "a"))
	g := m.rigs["rig"]
	old := []string{filepath.Join(g.repo, "packed-refs.lock"), filepath.Join(g.repo, headsPrefix+"a.lock"), filepath.Join(g.admin("a"), "index.lock")}
	for _, path := range append(old, filepath.Join(g.repo, "young.lock")) {
		write(t, path, "")
	}
	when := time.Now().Add(-time.Hour)
	for _, path := range old {
		must(t, os.Chtimes(path, when, when))
	}
	if s := mustSweep(t, m, Policy{Keep: keepOnly("a")}); s.Locks != len(old) {
		t.Errorf("swept %d locks, want %d", s.Locks, len(old))
	}
	if got := lockPaths(t, g.repo); len(got) != 1 || got[0] != "young.lock" {
		t.Errorf("locks left: %v", got)
	}
}

func TestForgottenCheckpointsGoHereAndOnTheRemote(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	for _, b := range []string{"work", "pushed", "known", "other"} {
		w := mustWorktree(t, m, spec(r, b))
		write(t, filepath.Join(w.Dir, "f"), b)
		if b == "pushed" {
			git(t, w.Dir, "add", ".")
			git(t, w.Dir, "commit", "--quiet", "-m", b)
		} else if _, err := m.Checkpoint(t.Context(), "rig", b, "agent-"+b, Owner{}); err != nil {
			t.Fatal(err)
		}
		if ok, err := m.PushCheckpoint(t.Context(), "rig", b, "agent-"+b); err != nil || !ok {
			t.Fatal(ok, err)
		}
		git(t, w.Dir, "push", "--quiet", r.URL(), b)
		must(t, m.Remove(t.Context(), "rig", b, true))
	}
	_, err := m.Prepare(t.Context(), "rig", r.URL(), true, nil)
	must(t, err)
	has := func(ref string) bool { return strings.Contains(r.Git("for-each-ref"), ref) }
	r.Git("update-ref", "refs/town/checkpoints/agent-other", "refs/heads/main") // another town went on

	s := mustSweep(t, m, Policy{OlderThan: 1, Keep: keepOnly("known")})
	if s.Checkpoints != 1 || has("checkpoints/agent-pushed") || !has("checkpoints/agent-work") || !has("checkpoints/agent-known") {
		t.Errorf("swept %+v, the remote has\n%s", s, r.Git("for-each-ref"))
	}
	s = mustSweep(t, m, Policy{OlderThan: 1, CheckpointsOlderThan: 1, Keep: keepOnly("known")})
	if s.Checkpoints != 1 || has("checkpoints/agent-work") || !has("checkpoints/agent-known") || !strings.Contains(r.Git("for-each-ref"), "checkpoints/agent-other") {
		t.Errorf("swept %+v, the remote has\n%s", s, r.Git("for-each-ref"))
	}
	if left, err := m.Checkpoints("rig"); err != nil || len(left) != 2 || slices.ContainsFunc(left, func(s SavedState) bool { return s.Branch != "known" && s.Branch != "other" }) {
		t.Errorf("Checkpoints = %+v, %v", left, err)
	}
}

func TestMaintenancePacksTrueObjectsAndKeepsTheModes(t *testing.T) {
	m := isolated(t)
	r := gittest.New(t, gittest.Options{Files: 10})
	w := mustWorktree(t, m, ownedSpec(r, "polecat/a/1", uidA))
	script := `umask 077; i=0; while [ $i -lt 2600 ]; do echo $i > f$i; i=$((i+1)); done; git add . && git commit --quiet -m many`
	if out, err := shellAs(uidA, w.GID, w.Dir, "", script); err != nil {
		t.Fatal(out)
	}
	repo := m.rigs["rig"].repo
	forged := filepath.Join(repo, "objects/12/"+strings.Repeat("3", 38))
	genuine := git(t, repo, "-c", "safe.directory=*", "rev-parse", headsPrefix+"polecat/a/1:f1")
	if out, err := shellAs(uidA, w.GID, w.Dir, "", `cp "$1" "$2" && mkfifo "$3"`, filepath.Join(repo, "objects", genuine[:2], genuine[2:]), forged, forged[:len(forged)-1]+"4"); err != nil {
		t.Fatal(out)
	}
	s := mustSweep(t, m, Policy{Keep: keepOnly("polecat/a/1")})
	if s.Packed < 2600 || m.rigs["rig"].countLoose() > 64 || !isRegular(forged) {
		t.Errorf("packed %d, about %d are left, forged one is there: %v", s.Packed, m.rigs["rig"].countLoose(), isRegular(forged))
	}
	packs, err := filepath.Glob(filepath.Join(repo, "objects/pack/*"))
	must(t, err)
	for _, path := range packs {
		if fi, err := os.Lstat(path); err != nil || fi.Mode().Perm()&0o444 != 0o444 || uidOf(t, path) != 0 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
	}
	if out, err := gitAs(uidA, w.GID, w.Dir, "show", "HEAD:f2599"); err != nil || out != "2599" {
		t.Errorf("the agent reads %q, %v", out, err)
	}
	if out, err := shellAs(uidA, w.GID, w.Dir, "", `echo again > f0 && git commit --quiet -am again`); err != nil {
		t.Error("the agent goes on:", out)
	}
	must(t, os.Remove(forged))
	must(t, os.Remove(forged[:len(forged)-1]+"4"))
	sound(t, m)
}

func TestManyPacksBecomeOne(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	g := m.rigs["rig"]
	l, release, err := g.acquire(t.Context())
	must(t, err)
	for i := range maxPacks {
		write(t, filepath.Join(w.Dir, "f"), fmt.Sprint(i))
		git(t, w.Dir, "commit", "--quiet", "-a", "--allow-empty", "-m", fmt.Sprint(i))
		if _, err := g.packLoose(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	release()
	mustSweep(t, m, Policy{Keep: keepOnly("a")})
	if n := g.countPacks(); n > 2 {
		t.Errorf("%d packs are left", n)
	}
	if log, err := m.Log("rig", "a", w.Base, 100); err != nil || len(log) != maxPacks {
		t.Errorf("Log holds %d, %v", len(log), err)
	}
	sound(t, m)
}

func TestSweepSaysWhatIsMissing(t *testing.T) {
	m := newManager(t)
	_, err := m.Sweep(t.Context(), Policy{})
	wantKind(t, err, town.ErrInvalid, "what to keep")
	if s, err := m.Sweep(t.Context(), Policy{Keep: keepOnly()}); err != nil || len(s.Rigs) != 0 {
		t.Errorf("an empty home: %+v, %v", s, err)
	}
}
