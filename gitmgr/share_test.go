package gitmgr

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/gitmgr/gittest"
	"townd/town"
)

const (
	gidBase = 910_000
	uidA    = 920_001
	uidB    = 920_002
)

// openTemp is a temporary directory that every user can pass.
func openTemp(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

// isolated returns a Manager that gives worktrees to users of their own.
func isolated(t testing.TB, change ...func(*Config)) *Manager {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("isolation by user needs root")
	}
	return newManager(t, append(change, home(filepath.Join(openTemp(t), "rigs")), func(c *Config) { c.GIDBase = gidBase })...)
}

func ownedSpec(r *gittest.Remote, branch string, uid uint32) Spec {
	s := spec(r, branch)
	s.Owner = Owner{UID: uid}
	return s
}

func uidOf(t testing.TB, path string) uint32 {
	t.Helper()
	fi, err := os.Lstat(path)
	must(t, err)
	st, _ := fi.Sys().(*syscall.Stat_t)
	return st.Uid
}

func TestAgentCanWorkInItsOwnWorktree(t *testing.T) {
	for _, umask := range []int{0o022, 0o077} {
		m := isolated(t)
		r := gittest.New(t, gittest.Options{Files: 150})
		a, b := func() (a, b Worktree) {
			defer syscall.Umask(syscall.Umask(umask))
			return mustWorktree(t, m, ownedSpec(r, "polecat/alice/1", uidA)), mustWorktree(t, m, ownedSpec(r, "polecat/bob/2", uidB))
		}()
		for _, w := range []struct {
			Worktree
			uid uint32
			me  string
		}{{a, uidA, "alice"}, {b, uidB, "bob"}} {
			if uidOf(t, w.Dir) != w.uid || uidOf(t, filepath.Join(w.Dir, "dir001/file00149.txt")) != w.uid {
				t.Errorf("%s does not own its files", w.me)
			}
			as := func(args ...string) {
				t.Helper()
				out, err := gitAs(w.uid, w.GID, w.Dir, args...)
				t.Logf("%s: git %s: %s", w.me, strings.Join(args, " "), out)
				if err != nil {
					t.Errorf("%s: git %s: %v", w.me, strings.Join(args, " "), err)
				}
			}
			as("status", "--short")
			must(t, os.WriteFile(filepath.Join(w.Dir, "n.txt"), []byte(w.me), 0o644))
			must(t, os.Lchown(filepath.Join(w.Dir, "n.txt"), int(w.uid), int(w.GID)))
			as("add", "n.txt")
			as("commit", "-q", "-m", "work of "+w.me)
			as("tag", "tag-"+w.me)
			as("switch", "-q", "-c", "side-"+w.me)
			as("commit", "-q", "--allow-empty", "-m", "side")
			as("switch", "-q", "-c", w.me+"/deep")
			as("switch", "-q", "polecat/"+strings.TrimPrefix(w.Branch, "polecat/"))
			as("rm", "-q", "dir000/file00001.txt")
			as("stash")
			as("stash", "pop")
			as("commit", "-q", "-am", "removed one")
			as("reset", "-q", "--soft", "HEAD~1")
			as("commit", "-q", "-m", "again")
			as("rebase", "-q", "--force-rebase", "HEAD~2")
			as("merge", "-q", "--no-ff", "-m", "merge", "side-"+w.me)
			as("log", "--oneline", "main")
			as("fsck")
		}
		if _, err := gitAs(uidB, b.GID, b.Dir, "merge", "-q", "-m", "take alice's", "polecat/alice/1"); err == nil {
			t.Error("the two branches do not conflict in n.txt: the test means nothing")
		}
		if out, err := gitAs(uidB, b.GID, b.Dir, "show", "polecat/alice/1:n.txt"); err != nil || out != "alice" {
			t.Errorf("bob cannot read what alice committed: %q %v", out, err)
		}
		sound(t, m)
	}
}

func TestAgentCannotReachWhatIsNotItsOwn(t *testing.T) {
	m := isolated(t)
	r := gittest.New(t, gittest.Options{Files: 3})
	other := gittest.New(t, gittest.Options{})
	a := mustWorktree(t, m, ownedSpec(r, "polecat/alice/1", uidA))
	b := mustWorktree(t, m, ownedSpec(r, "polecat/bob/2", uidB))
	foreign := ownedSpec(other, "polecat/eve/3", uidB+1)
	foreign.RigID = "other"
	e := mustWorktree(t, m, foreign)
	if _, err := gitAs(uidA, a.GID, a.Dir, "commit", "-q", "--allow-empty", "-m", "hers"); err != nil {
		t.Fatal(err)
	}
	repo := m.rigs["rig"].repo
	state := func() string {
		return git(t, repo, "-c", "safe.directory=*", "rev-parse", "polecat/alice/1", "main", "origin/main") +
			read(t, filepath.Join(repo, "config")) + read(t, filepath.Join(repo, "HEAD")) + read(t, filepath.Join(repo, "packed-refs"))
	}
	was := state()
	evil := git(t, repo, "-c", "safe.directory=*", "commit-tree", "-m", "evil", "main^{tree}")
	for _, attempt := range []string{
		"git branch -f polecat/alice/1 " + evil,
		"git update-ref refs/heads/polecat/alice/1 " + evil,
		"git update-ref refs/heads/polecat/alice/evil " + evil,
		"git branch -f main " + evil,
		"git update-ref refs/heads/main " + evil,
		"git update-ref refs/remotes/origin/main " + evil,
		"git update-ref refs/town/checkpoints/alice " + evil,
		"git replace -f main " + evil,
		"git branch -D main",
		"git branch -D polecat/alice/1",
		"git branch -m polecat/alice/1 mine",
		"git config core.hooksPath /tmp/evil",
		"git config --file " + repo + "/config core.fsmonitor /tmp/evil",
		"git symbolic-ref HEAD refs/heads/main && git commit --allow-empty -m evil",
		"echo x > " + repo + "/HEAD",
		"echo x > " + repo + "/config",
		"mv " + repo + "/config " + repo + "/config.old",
		"rm -f " + repo + "/packed-refs && ! test -e " + repo + "/packed-refs",
		"mv " + repo + "/packed-refs " + repo + "/p",
		"touch " + repo + "/hooks/pre-commit",
		"mv " + repo + "/hooks " + repo + "/h",
		"rm -rf " + repo + "/refs/remotes && ! test -e " + repo + "/refs/remotes",
		"touch " + repo + "/info/attributes",
		"touch " + repo + "/objects/info/alternates",
		"touch " + repo + "/objects/pack/x.pack",
		"touch " + repo + "/refs/heads/polecat/alice/x",
		"echo " + evil + " > " + repo + "/refs/heads/main",
		"mv -f " + repo + "/refs/heads/polecat/bob/2 " + repo + "/refs/heads/main",
		"echo /tmp > " + repo + "/commondir",
		"ln -sf /tmp " + repo + "/commondir",
		"ln -s /tmp/x " + repo + "/logs/refs/town/checkpoints",
		"ln -s /tmp/x " + repo + "/logs/refs/tags/v9",
		"ln -s /tmp/x " + repo + "/logs/refs/remotes/origin/new",
		"ln -sf /tmp/x " + repo + "/logs/refs/heads/main",
		"touch " + repo + "/refs/town/x",
		"touch " + repo + "/refs/replace/x",
		"touch " + a.Dir + "/x",
		"cat " + a.Dir + "/dir000/file00000.txt",
		"echo x > " + a.Dir + "/.git",
		"touch " + m.rigs["rig"].admin(a.Branch) + "/x",
		"mkdir " + repo + "/worktrees/x",
		"mkdir " + filepath.Dir(a.Dir) + "/x",
		"mkdir " + m.rigs["rig"].dir + "/worktrees/x",
		"cat " + m.rigs["rig"].dir + "/lock",
		"ls " + m.rigs["rig"].dir + "/branches",
		"ls " + m.rigs["rig"].dir + "/trash",
		"ls " + m.rigs["other"].dir,
		"ls " + e.Dir,
		"touch " + m.c.Home + "/x",
		"cat " + m.c.Home + "/.groups.json",
	} {
		out, err := shellAs(uidB, b.GID, b.Dir, "", attempt)
		t.Logf("%s\n\t%s", attempt, out)
		if err == nil {
			t.Errorf("an agent can: %s", attempt)
		}
		if now := state(); now != was {
			t.Fatalf("after %q the repository is\n%s\nit was\n%s", attempt, now, was)
		}
		_, _ = gitAs(uidB, b.GID, b.Dir, "symbolic-ref", "HEAD", "refs/heads/polecat/bob/2")
	}
	sound(t, m)
}

// TestPlantedTrapsRunNothing lets an agent put everything that makes git run a
// program where it can write, and then has our own git work there.
func TestPlantedTrapsRunNothing(t *testing.T) {
	m := isolated(t)
	r := gittest.New(t, gittest.Options{Files: 3})
	w := mustWorktree(t, m, ownedSpec(r, "polecat/alice/1", uidA))
	repo, admin := m.rigs["rig"].repo, m.rigs["rig"].admin(w.Branch)
	trap := filepath.Join(openTemp(t), "trap")
	must(t, os.Chmod(filepath.Dir(trap), 0o777))
	script := fmt.Sprintf("#!/bin/sh\necho $0 >> %s\nexit 1\n", trap)
	evil := filepath.Join(filepath.Dir(trap), "evil")
	config := fmt.Sprintf("[core]\n\trepositoryformatversion = 0\n\thooksPath = %[1]s\n\tfsmonitor = %[1]s/x\n\tsshCommand = %[1]s/x\n\tpager = %[1]s/x\n"+
		"[filter \"trap\"]\n\tclean = %[1]s/x\n\tsmudge = %[1]s/x\n\trequired = true\n[diff]\n\texternal = %[1]s/x\n[diff \"trap\"]\n\ttextconv = %[1]s/x\n\tcommand = %[1]s/x\n[merge \"trap\"]\n\tdriver = %[1]s/x\n"+
		"[remote \"origin\"]\n\turl = ext::%[1]s/x\n\tuploadpack = %[1]s/x\n[gc]\n\tauto = 1\n[credential]\n\thelper = %[1]s/x\n", evil)
	plant := func(path, text string, mode os.FileMode) { // as the agent, who may fail
		_, err := shellAs(uidA, w.GID, w.Dir, text, `mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"`, path, fmt.Sprintf("%o", mode))
		t.Logf("plant %s: %v", path, err)
	}
	for _, hook := range []string{"x", "post-checkout", "post-index-change", "reference-transaction", "pre-commit", "post-commit", "fsmonitor-watchman", "post-merge", "pre-auto-gc"} {
		plant(filepath.Join(evil, hook), script, 0o755)
		plant(filepath.Join(repo, "hooks", hook), script, 0o755)
		plant(filepath.Join(admin, "hooks", hook), script, 0o755)
	}
	plant(filepath.Join(w.Dir, ".gitattributes"), "* filter=trap diff=trap merge=trap\n", 0o644)
	plant(filepath.Join(w.Dir, "work.txt"), "work\n", 0o644)
	plant(filepath.Join(evil, "config"), config, 0o644)
	plant(filepath.Join(evil, "HEAD"), "ref: refs/heads/main\n", 0o644)
	plant(filepath.Join(evil, "objects/x"), "", 0o644)
	plant(filepath.Join(evil, "refs/x"), "", 0o644)
	plant(filepath.Join(admin, "config"), config, 0o644)
	plant(filepath.Join(admin, "config.worktree"), config, 0o644)
	plant(filepath.Join(admin, "commondir"), evil+"\n", 0o644)
	plant(filepath.Join(repo, "commondir"), evil+"\n", 0o644)
	plant(filepath.Join(repo, "config.worktree"), config, 0o644)
	plant(filepath.Join(w.Dir, ".git"), "gitdir: "+evil+"\n", 0o644)

	o := Owner{UID: uidA}
	if cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "alice", o); err != nil || cp.Clean {
		t.Errorf("Checkpoint = %+v, %v", cp, err)
	}
	if d, err := m.Diff(t.Context(), "rig", w.Branch, w.Base, o, 1<<20); err != nil || !strings.Contains(string(d.Patch), "+work") {
		t.Errorf("Diff = %+v, %v", d, err)
	}
	if l, err := m.Log("rig", w.Branch, "", 9); err != nil || len(l) != 1 {
		t.Errorf("Log = %+v, %v", l, err)
	}
	m.rigs["rig"].fetchDue = time.Time{}
	tip := r.Commit("main", "more", "more")
	if b := mustWorktree(t, m, ownedSpec(r, "polecat/bob/2", uidB)); b.Base != tip {
		t.Errorf("fetch did not reach the true remote: %s", b.Base)
	}
	err := m.Remove(t.Context(), "rig", w.Branch, false)
	wantKind(t, err, town.ErrConflict, "untracked")
	mustWorktree(t, m, ownedSpec(r, w.Branch, uidA)) // links are put right again
	if got := read(t, filepath.Join(w.Dir, ".git")); got != "gitdir: "+admin+"\n" {
		t.Errorf(".git is %q", got)
	}
	if pushed, err := m.PushCheckpoint(t.Context(), "rig", w.Branch, "alice"); err != nil || !pushed {
		t.Errorf("PushCheckpoint = %v, %v", pushed, err)
	}
	must(t, m.Remove(t.Context(), "rig", w.Branch, true))
	res, err := m.Restore(t.Context(), ownedSpec(r, w.Branch, uidA), "alice")
	if err != nil || !res.Applied {
		t.Errorf("Restore = %+v, %v", res, err)
	}
	// The attributes are in the branch now, and both sides change a file.
	_, err = shellAs(uidA, w.GID, w.Dir, "", "printf '1\n2\n3\n4\nfive\n' > both && git add . && git commit -qm attributes")
	must(t, err)
	r.Commit("main", "both", "1\n2\n3\n4\nfive\n")
	r.Commit("main", ".gitattributes", "* filter=trap diff=trap merge=trap\n")
	for _, s := range []Strategy{StrategyRebase, StrategySquash, StrategyMerge} {
		_, err = shellAs(uidA, w.GID, w.Dir, "", "echo "+string(s)+" >> both && git commit -qam more")
		must(t, err)
		q := MergeRequest{RigID: "rig", Branch: w.Branch, Strategy: s, Owner: Owner{UID: uidB}, Gates: []Gate{{Name: "g", Command: "true"}}}
		if res, err := m.Merge(t.Context(), q); err != nil || res.Status == MergeAuth || res.Status == MergeNetwork {
			t.Errorf("Merge = %+v, %v", res, err)
		} else {
			t.Logf("%s: %s", s, res.Status)
		}
	}
	warmed(t, m, Owner{UID: uidB + 1})
	mustWorktree(t, m, ownedSpec(r, "polecat/carol/3", uidB+1))
	must(t, m.Remove(t.Context(), "rig", w.Branch, true))
	if b, err := os.ReadFile(trap); err == nil {
		t.Errorf("our git ran:\n%s", b)
	}
}

// TestPlantedLinksLeadNowhere puts links where the server, as root, makes
// directories, changes owners and reads files.
func TestPlantedLinksLeadNowhere(t *testing.T) {
	m := isolated(t)
	r := gittest.New(t, gittest.Options{Files: 3})
	b := mustWorktree(t, m, ownedSpec(r, "polecat/bob/2", uidB))
	g := m.rigs["rig"]
	victim := filepath.Join(openTemp(t), "victim")
	must(t, os.Mkdir(victim, 0o755))
	write(t, filepath.Join(victim, "secret"), "s3cret\n")
	must(t, os.Chmod(filepath.Join(victim, "secret"), 0o600))
	asBob := func(args ...string) {
		t.Helper()
		if out, err := shellAs(uidB, b.GID, b.Dir, "", `"$@"`, args...); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
	}
	asBob("ln", "-s", victim, filepath.Join(g.repo, "refs/heads/polecat/alice"))
	_, err := m.Worktree(t.Context(), ownedSpec(r, "polecat/alice/1", uidA))
	wantKind(t, err, town.ErrConflict, "alice")
	asBob("ln", "-s", g.repo+"/hooks", filepath.Join(g.repo, "refs/heads/polecat/carol"))
	_, err = m.Worktree(t.Context(), ownedSpec(r, "polecat/carol/1", uidA))
	wantKind(t, err, town.ErrConflict, "carol")
	for _, name := range []string{"alice", "carol"} {
		if _, err := os.Lstat(filepath.Join(g.dir, "worktrees/polecat", name, "1")); err == nil {
			t.Errorf("the refused worktree of %s is there", name)
		}
	}
	asBob("ln", "-s", filepath.Join(victim, "secret"), filepath.Join(g.repo, "refs/heads/polecat/link"))
	_, err = m.Worktree(t.Context(), ownedSpec(r, "polecat/link", uidA))
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a ref that is a link: %v", err)
	}
	asBob("mkfifo", filepath.Join(g.repo, "refs/heads/polecat/pipe"))
	if _, err = m.Worktree(t.Context(), ownedSpec(r, "polecat/pipe", uidA)); err == nil {
		t.Error("a ref that is a pipe was taken")
	}
	if _, err := m.Log("rig", "polecat/pipe", "", 1); err == nil {
		t.Error("a ref that is a pipe was read")
	}
	asBob("rm", filepath.Join(g.repo, "refs/heads/polecat/pipe"), filepath.Join(g.repo, "refs/heads/polecat/link"))

	admin := g.admin(b.Branch)
	for _, name := range []string{"index", "HEAD", "gitdir", "commondir"} {
		asBob("ln", "-sfn", filepath.Join(victim, "secret"), filepath.Join(admin, name))
	}
	asBob("ln", "-sfn", victim, filepath.Join(b.Dir, "dir"))
	write(t, filepath.Join(victim, "x.lock"), "")
	asBob("ln", "-sfn", filepath.Join(victim, "x.lock"), filepath.Join(admin, "x.lock"))
	asBob("ln", "-sfn", filepath.Join(victim, "secret"), filepath.Join(b.Dir, ".git"))
	if cp, err := m.Checkpoint(t.Context(), "rig", b.Branch, "bob", Owner{UID: uidB}); err == nil {
		t.Errorf("Checkpoint with an index that is a link = %+v", cp)
	}
	if _, err := m.Diff(t.Context(), "rig", b.Branch, b.Base, Owner{UID: uidB}, 1000); err == nil {
		t.Error("Diff read an index that is a link")
	}
	_, _ = m.Worktree(t.Context(), ownedSpec(r, b.Branch, uidB+5)) // changes owners, if it gets so far
	must(t, m.Remove(t.Context(), "rig", b.Branch, true))
	must(t, m.Close())
	if uidOf(t, victim) != 0 || uidOf(t, filepath.Join(victim, "secret")) != 0 || read(t, filepath.Join(victim, "secret")) != "s3cret\n" {
		t.Error("the victim's files were changed")
	}
	if _, err := os.Stat(filepath.Join(victim, "x.lock")); err != nil {
		t.Error("the victim's file was deleted")
	}
	if uidOf(t, filepath.Join(g.repo, "hooks")) != 0 {
		t.Error("hooks were given away")
	}
}

func TestWorktreePassesToANewUser(t *testing.T) {
	m := isolated(t)
	r := gittest.New(t, gittest.Options{Files: 3})
	w := mustWorktree(t, m, ownedSpec(r, "polecat/alice/1", uidA))
	if _, err := gitAs(uidA, w.GID, w.Dir, "commit", "-q", "--allow-empty", "-m", "hers"); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.Dir, "unsaved"), "x")
	must(t, os.Lchown(filepath.Join(w.Dir, "unsaved"), uidA, int(w.GID)))
	for i, again := range []bool{true, false} {
		uid := uint32(uidB + i)
		w := mustWorktree(t, m, ownedSpec(r, "polecat/alice/1", uid))
		for _, args := range [][]string{{"status"}, {"commit", "-q", "--allow-empty", "-m", "next"}, {"switch", "-q", "-c", fmt.Sprint("side", i)}, {"switch", "-q", "-"}} {
			if out, err := gitAs(uid, w.GID, w.Dir, args...); err != nil {
				t.Errorf("new owner: git %v: %s", args, out)
			}
		}
		if again {
			if uidOf(t, filepath.Join(w.Dir, "unsaved")) != uid {
				t.Error("a file did not pass")
			}
			must(t, m.Remove(t.Context(), "rig", "polecat/alice/1", true))
		}
	}
	if out, err := gitAs(uidA, w.GID, m.rigs["rig"].repo, "-c", "safe.directory=*", "branch", "-f", "polecat/alice/1", "main"); err == nil {
		t.Errorf("the old owner moved the branch: %s", out)
	}
}

func TestGroupsStayAcrossRestarts(t *testing.T) {
	m := isolated(t)
	var wg sync.WaitGroup
	got := make([]uint32, 10)
	for i := range got {
		wg.Go(func() {
			gid, err := m.RigGroup(fmt.Sprintf("rig%d", i))
			if err != nil {
				t.Error(err)
			}
			got[i] = gid
		})
	}
	wg.Wait()
	seen := map[uint32]bool{}
	again := newManager(t, home(m.c.Home), func(c *Config) { c.GIDBase = gidBase })
	for i, gid := range got {
		if g, err := again.RigGroup(fmt.Sprintf("rig%d", i)); err != nil || g != gid || seen[gid] || gid < gidBase {
			t.Errorf("rig%d has group %d, had %d, %v", i, g, gid, err)
		}
		seen[gid] = true
	}
	if gid, err := newManager(t).RigGroup("rig"); gid != 0 || err != nil {
		t.Errorf("without isolation: %d, %v", gid, err)
	}
}

func TestIsolationComesToAnOldClone(t *testing.T) {
	m := isolated(t)
	r := gittest.New(t, gittest.Options{Files: 3})
	plain := newManager(t, home(m.c.Home))
	mustWorktree(t, plain, spec(r, "before"))
	w := mustWorktree(t, m, ownedSpec(r, "polecat/alice/1", uidA))
	if out, err := gitAs(uidA, w.GID, w.Dir, "commit", "-q", "--allow-empty", "-m", "hers"); err != nil {
		t.Errorf("commit: %s", out)
	}
	if out, err := gitAs(uidA, w.GID, w.Dir, "update-ref", "refs/heads/main", "HEAD"); err == nil {
		t.Errorf("main was moved: %s", out)
	}
}

func TestHomeThatAgentsCannotPassIsNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("isolation by user needs root")
	}
	dir := openTemp(t)
	must(t, os.Chmod(dir, 0o700))
	_, err := New(Config{Home: filepath.Join(dir, "a/rigs"), GIDBase: gidBase})
	wantKind(t, err, town.ErrInvalid, "cannot pass "+dir)
}
