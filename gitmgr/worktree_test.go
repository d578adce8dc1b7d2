package gitmgr

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/gitmgr/gittest"
	"townd/town"
)

func TestWorktreeStartsFromTheRemotesDefaultBranch(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 3, Commits: 2, Branch: "trunk"})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "polecat/toast/1a2b3c4d"))

	if want := filepath.Join(m.c.Home, "rig/worktrees/polecat/toast/1a2b3c4d"); w.Dir != want {
		t.Errorf("Dir = %s, want %s", w.Dir, want)
	}
	if tip := r.Git("rev-parse", "trunk"); w.Base != tip || git(t, w.Dir, "rev-parse", "HEAD") != tip {
		t.Errorf("Base = %s, HEAD = %s, want %s", w.Base, git(t, w.Dir, "rev-parse", "HEAD"), tip)
	}
	if got := git(t, w.Dir, "symbolic-ref", "HEAD"); got != "refs/heads/polecat/toast/1a2b3c4d" {
		t.Errorf("HEAD is %s", got)
	}
	if got := git(t, w.Dir, "status", "--porcelain"); got != "" || !w.Created {
		t.Errorf("status %q, Created %v", got, w.Created)
	}
	if got := git(t, w.Dir, "worktree", "list"); !strings.Contains(got, w.Dir) {
		t.Errorf("git does not list it: %s", got)
	}
	if got := git(t, w.Dir, "reflog", "-1", "--format=%gn %ge", "polecat/toast/1a2b3c4d"); got != "Toast toast@example.com" {
		t.Errorf("reflog names %q", got)
	}
	sound(t, m)
}

func TestWorktreeAgainReturnsItsWork(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a/b"))
	write(t, filepath.Join(w.Dir, "new.txt"), "unsaved")
	write(t, filepath.Join(w.Dir, "staged.txt"), "staged")
	git(t, w.Dir, "add", "staged.txt")
	git(t, w.Dir, "commit", "--quiet", "--allow-empty", "-m", "work")
	git(t, w.Dir, "switch", "--quiet", "-c", "elsewhere")
	before := git(t, w.Dir, "status", "--porcelain") + git(t, w.Dir, "rev-parse", "HEAD")

	for _, m := range []*Manager{m, newManager(t, home(m.c.Home))} { // also after a restart
		again := mustWorktree(t, m, spec(r, "a/b"))
		if again.Created || again.Base != w.Base || again.Dir != w.Dir {
			t.Errorf("Worktree again = %+v, first %+v", again, w)
		}
	}
	if after := git(t, w.Dir, "status", "--porcelain") + git(t, w.Dir, "rev-parse", "HEAD"); after != before {
		t.Errorf("its state was %q and is %q", before, after)
	}
}

func TestBranchWithoutWorktreeGoesOn(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a/b"))
	git(t, w.Dir, "commit", "--quiet", "--allow-empty", "-m", "work")
	tip := git(t, w.Dir, "rev-parse", "HEAD")
	if err := m.Remove(t.Context(), "rig", "a/b", false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(w.Dir); err == nil {
		t.Error("removed worktree is still there")
	}
	again := mustWorktree(t, m, spec(r, "a/b"))
	if got := git(t, again.Dir, "rev-parse", "HEAD"); got != tip || !again.Created || again.Base != w.Base {
		t.Errorf("HEAD = %s, want %s; %+v", got, tip, again)
	}
	if err := os.Remove(filepath.Join(m.c.Home, "rig/branches/a%2Fb.json")); err != nil {
		t.Fatal(err)
	}
	if again = mustWorktree(t, m, spec(r, "a/b")); again.Base != w.Base {
		t.Errorf("Base found again = %s, want %s", again.Base, w.Base)
	}
}

func TestBranchOfTheRemoteIsCheckedOut(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	mustWorktree(t, m, spec(r, "other"))
	base := r.Git("rev-parse", "main")
	tip := r.Commit("feature/x", "f.txt", "text")
	m.rigs["rig"].fetchDue = time.Time{} // half a minute passes
	w := mustWorktree(t, m, spec(r, "feature/x"))
	if got := git(t, w.Dir, "rev-parse", "HEAD"); got != tip || w.Base != base {
		t.Errorf("HEAD = %s, Base = %s, want %s and %s", got, w.Base, tip, base)
	}
	if read(t, filepath.Join(w.Dir, "f.txt")) != "text" {
		t.Error("its file is missing")
	}
}

func TestStartPoints(t *testing.T) {
	r := gittest.New(t, gittest.Options{Commits: 3})
	m := newManager(t)
	first := r.Git("rev-list", "--max-parents=0", "main")
	r.Git("tag", "-a", "-m", "tag", "v1", first)
	another := mustWorktree(t, m, spec(r, "another"))
	git(t, another.Dir, "commit", "--quiet", "--allow-empty", "-m", "work")
	late := r.Commit("late", "l", "l") // after the clone: unknown until fetched

	for i, c := range []struct{ from, want string }{
		{first, first},
		{first[:10], first},
		{"v1", first},
		{"refs/tags/v1", first},
		{"another", git(t, another.Dir, "rev-parse", "HEAD")},
		{"main", r.Git("rev-parse", "main")},
		{"origin/main", r.Git("rev-parse", "main")},
		{"late", late},
		{late, late},
	} {
		s := spec(r, fmt.Sprintf("from/%d", i))
		s.StartPoint = c.from
		w := mustWorktree(t, m, s)
		if w.Base != c.want || git(t, w.Dir, "rev-parse", "HEAD") != c.want {
			t.Errorf("from %s: Base %s, want %s", c.from, w.Base, c.want)
		}
	}
	for _, from := range []string{"nowhere", strings.Repeat("1", 40), "refs/heads/nowhere"} {
		s := spec(r, "from/nowhere")
		s.StartPoint = from
		_, err := m.Worktree(t.Context(), s)
		wantKind(t, err, town.ErrNotFound, "no such branch, tag or commit")
	}
	for _, from := range []string{"main~1", "--help", "@{-1}", ":/x", "HEAD", "main:f"} {
		s := spec(r, "from/nowhere")
		s.StartPoint = from
		_, err := m.Worktree(t.Context(), s)
		wantKind(t, err, town.ErrInvalid, "start point")
	}
}

func TestDefaultBranches(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	develop := r.Commit("develop", "d", "d")
	s := spec(r, "a")
	s.DefaultBranch = "develop"
	if w := mustWorktree(t, m, s); w.Base != develop {
		t.Errorf("Base = %s, want the tip of develop %s", w.Base, develop)
	}
	for _, c := range []struct{ branch, trunk string }{{"main", ""}, {"main", "main"}, {"main", "develop"}, {"develop", "develop"}} {
		s := spec(r, c.branch)
		s.DefaultBranch = c.trunk
		_, err := m.Worktree(t.Context(), s)
		wantKind(t, err, town.ErrInvalid, "is the default branch")
	}
	s = spec(r, "b")
	s.DefaultBranch = "gone"
	_, err := m.Worktree(t.Context(), s)
	wantKind(t, err, town.ErrNotFound, `"gone": the remote has no such branch, only develop, main`)

	tip := r.Commit("main", "more", "more")
	m.rigs["rig"].fetchDue = time.Time{}
	if w := mustWorktree(t, m, spec(r, "c")); w.Base != tip {
		t.Errorf("Base = %s, want the moved tip %s", w.Base, tip)
	}
	if got := git(t, m.rigs["rig"].repo, "rev-parse", "refs/heads/main"); got != tip {
		t.Errorf("local main = %s, want %s", got, tip)
	}
}

func TestEmptyRepositoryGivesAnUnbornBranch(t *testing.T) {
	r := gittest.New(t, gittest.Options{Empty: true})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "polecat/toast/1"))
	if w.Base != "" || !w.Created {
		t.Errorf("Worktree = %+v", w)
	}
	cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{})
	if err != nil || !cp.Clean {
		t.Fatalf("Checkpoint of nothing = %+v, %v", cp, err)
	}
	write(t, filepath.Join(w.Dir, "first.txt"), "first\n")
	if again := mustWorktree(t, m, spec(r, w.Branch)); again.Created || read(t, filepath.Join(w.Dir, "first.txt")) != "first\n" {
		t.Errorf("Worktree again = %+v", again)
	}
	cp, err = m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{})
	if err != nil || cp.Clean || git(t, w.Dir, "show", cp.Commit+":first.txt") != "first" {
		t.Fatalf("Checkpoint = %+v, %v", cp, err)
	}
	d, err := m.Diff(t.Context(), "rig", w.Branch, w.Base, Owner{}, 1<<20)
	if err != nil || len(d.Files) != 1 || d.Files[0].Path != "first.txt" || d.Head != "" {
		t.Fatalf("Diff = %+v, %v", d, err)
	}
	git(t, w.Dir, "add", "-A")
	git(t, w.Dir, "commit", "--quiet", "-m", "first")
	git(t, w.Dir, "push", "--quiet", "origin", "HEAD:main")
	if again := mustWorktree(t, m, spec(r, w.Branch)); again.Base != "" {
		t.Errorf("the base became %s", again.Base)
	}
	if w := mustWorktree(t, m, spec(r, "polecat/toast/2")); w.Base == "" {
		t.Error("the repository has a commit now, the next worktree does not start from it")
	}
	if l, err := m.Log("rig", w.Branch, "", 10); err != nil || len(l) != 1 || l[0].Subject != "first" {
		t.Errorf("Log = %+v, %v", l, err)
	}
}

func TestEmptyRepositoryThatIsGoneStillStarts(t *testing.T) {
	r := gittest.New(t, gittest.Options{Empty: true})
	m := newManager(t)
	mustWorktree(t, m, spec(r, "a"))
	must(t, os.Rename(r.Path, r.Path+".gone"))
	mustWorktree(t, m, spec(r, "b"))
}

func TestRemoteWithoutADefaultBranch(t *testing.T) {
	r := gittest.New(t, gittest.Options{Commits: 2})
	tip := r.Git("rev-parse", "main")
	r.Git("update-ref", "--no-deref", "HEAD", "main~1")
	m := newManager(t)
	_, err := m.Worktree(t.Context(), spec(r, "a"))
	wantKind(t, err, town.ErrInvalid, "names no default branch")
	s := spec(r, "a")
	s.DefaultBranch = "main"
	if w := mustWorktree(t, m, s); w.Base != tip {
		t.Errorf("Base = %s, want %s", w.Base, tip)
	}
	s = spec(r, "b")
	s.StartPoint = tip
	mustWorktree(t, m, s)
}

func TestOtherURLForARigIsAConflict(t *testing.T) {
	r, other := gittest.New(t, gittest.Options{}), gittest.New(t, gittest.Options{})
	m := newManager(t)
	mustWorktree(t, m, spec(r, "a"))
	for _, m := range []*Manager{m, newManager(t, home(m.c.Home))} {
		_, err := m.Worktree(t.Context(), spec(other, "b"))
		wantKind(t, err, town.ErrConflict, "is a clone of file://"+r.Path)
		s := spec(r, "c")
		s.URL = strings.TrimSuffix(s.URL, ".git") + "/"
		mustWorktree(t, m, s) // the same to a server
	}
}

func TestPathInsideAnotherWorktreeIsRefused(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	_, err := m.Worktree(t.Context(), spec(r, "a/b"))
	wantKind(t, err, town.ErrConflict, `inside that of branch "a"`)
	git(t, w.Dir, "switch", "--quiet", "--detach")
	git(t, w.Dir, "branch", "--quiet", "-D", "a") // now git would take a/b
	_, err = m.Worktree(t.Context(), spec(r, "a/b/c"))
	wantKind(t, err, town.ErrConflict, `inside that of branch "a"`)
	mustWorktree(t, m, spec(r, "x/y/z"))
	_, err = m.Worktree(t.Context(), spec(r, "x/y"))
	wantKind(t, err, town.ErrConflict, `hold that of branch "x/y/z"`)
	if err := m.Remove(t.Context(), "rig", "x/y/z", false); err != nil {
		t.Fatal(err)
	}
	_, err = m.Worktree(t.Context(), spec(r, "x/y")) // its branch is still there
	wantKind(t, err, town.ErrConflict, "x/y")
	mustWorktree(t, m, spec(r, "x/yy"))
	sound(t, m)
}

func TestBranchCheckedOutElsewhereIsRefused(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	git(t, w.Dir, "switch", "--quiet", "-c", "b")
	_, err := m.Worktree(t.Context(), spec(r, "b"))
	wantKind(t, err, town.ErrConflict, "is checked out in the worktree a")
}

func TestBrokenWorktreesAreRepaired(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 2})
	file := "dir000/file00000.txt"
	for name, breakIt := range map[string]func(t *testing.T, m *Manager, w Worktree, admin string){
		"directory vanished": func(t *testing.T, m *Manager, w Worktree, admin string) { must(t, os.RemoveAll(w.Dir)) },
		"parents vanished":   func(t *testing.T, m *Manager, w Worktree, admin string) { must(t, os.RemoveAll(filepath.Dir(w.Dir))) },
		".git lost": func(t *testing.T, m *Manager, w Worktree, admin string) {
			must(t, os.Remove(filepath.Join(w.Dir, ".git")))
		},
		".git a repository": func(t *testing.T, m *Manager, w Worktree, admin string) {
			must(t, os.Remove(filepath.Join(w.Dir, ".git")))
			git(t, w.Dir, "init")
		},
		".git points away": func(t *testing.T, m *Manager, w Worktree, admin string) {
			write(t, filepath.Join(w.Dir, ".git"), "gitdir: /tmp")
		},
		"HEAD empty": func(t *testing.T, m *Manager, w Worktree, admin string) { write(t, filepath.Join(admin, "HEAD"), "") },
		"HEAD lost": func(t *testing.T, m *Manager, w Worktree, admin string) {
			must(t, os.Remove(filepath.Join(admin, "HEAD")))
		},
		"commondir lost": func(t *testing.T, m *Manager, w Worktree, admin string) {
			must(t, os.Remove(filepath.Join(admin, "commondir")))
		},
		"gitdir lost": func(t *testing.T, m *Manager, w Worktree, admin string) {
			must(t, os.Remove(filepath.Join(admin, "gitdir")))
		},
		"index lost": func(t *testing.T, m *Manager, w Worktree, admin string) {
			must(t, os.Remove(filepath.Join(admin, "index")))
		},
		"index and file lost": func(t *testing.T, m *Manager, w Worktree, admin string) {
			must(t, os.Remove(filepath.Join(admin, "index")))
			must(t, os.Remove(filepath.Join(w.Dir, file)))
		},
		"stale index.lock": func(t *testing.T, m *Manager, w Worktree, admin string) {
			write(t, filepath.Join(admin, "index.lock"), "")
		},
		"stale HEAD.lock": func(t *testing.T, m *Manager, w Worktree, admin string) {
			write(t, filepath.Join(admin, "HEAD.lock"), "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newManager(t)
			w := mustWorktree(t, m, spec(r, "a/b"))
			git(t, w.Dir, "commit", "--quiet", "--allow-empty", "-m", "work")
			tip := git(t, w.Dir, "rev-parse", "HEAD")
			write(t, filepath.Join(w.Dir, "new.txt"), "unsaved")
			breakIt(t, m, w, m.rigs["rig"].admin("a/b"))
			again := mustWorktree(t, m, spec(r, "a/b"))
			if again.Created || git(t, w.Dir, "rev-parse", "a/b", "HEAD") != tip+"\n"+tip {
				t.Errorf("Worktree = %+v, HEAD %s, want %s", again, git(t, w.Dir, "rev-parse", "HEAD"), tip)
			}
			if _, err := os.Stat(filepath.Join(w.Dir, file)); err != nil {
				t.Error(err)
			}
			status := git(t, w.Dir, "status", "--porcelain", "--untracked-files=no")
			kept := strings.Contains(name, "vanished") || read(t, filepath.Join(w.Dir, "new.txt")) == "unsaved"
			if status != "" || !kept {
				t.Errorf("status %q, kept %v", status, kept)
			}
			git(t, w.Dir, "commit", "--quiet", "--allow-empty", "-m", "more")
			sound(t, m)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestForeignDirectoryIsKeptAside(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	mustWorktree(t, m, spec(r, "a"))
	write(t, filepath.Join(m.rigs["rig"].path("b"), "somebodys.txt"), "work")
	w := mustWorktree(t, m, spec(r, "b"))
	if got := git(t, w.Dir, "status", "--porcelain"); got != "" {
		t.Errorf("status = %q", got)
	}
	found, err := filepath.Glob(filepath.Join(m.c.Home, "rig/lost/*/somebodys.txt"))
	if err != nil || len(found) != 1 || read(t, found[0]) != "work" {
		t.Errorf("kept: %v, %v", found, err)
	}
}

// Proves W16.
func TestFiftyWorktreesAtOnceOnANewRig(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 20, Commits: 5})
	m := newManager(t)
	clones := 0
	m.c.Observe = func(op string, _ time.Duration, _ error) {
		if op == "clone" {
			clones++ // the rig is held: no two at once
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		wg.Go(func() {
			w, err := m.Worktree(t.Context(), spec(r, fmt.Sprintf("polecat/p%d/bead", i)))
			if err == nil {
				_, err = gittest.Command(w.Dir, "commit", "--quiet", "--allow-empty", "-m", "work").Output()
			}
			if err == nil {
				_, err = gittest.Command(w.Dir, "switch", "--quiet", "-c", fmt.Sprintf("side/%d", i)).Output()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || clones != 1 {
		t.Errorf("%d clones, %v", clones, err)
	}
	sound(t, m)
	if n := strings.Count(git(t, m.rigs["rig"].repo, "worktree", "list"), "\n"); n != 50 {
		t.Errorf("git lists %d worktrees besides the repository", n)
	}
}

func TestSameWorktreeAtOnceIsMadeOnce(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	a := newManager(t)
	b := newManager(t, home(a.c.Home)) // as another process: only the lock files are between them
	var wg sync.WaitGroup
	created := make([]bool, 20)
	for i := range created {
		wg.Go(func() {
			w, err := []*Manager{a, b}[i%2].Worktree(t.Context(), spec(r, "x"))
			if err != nil {
				t.Error(err)
			}
			created[i] = w.Created
		})
	}
	wg.Wait()
	if n := strings.Count(fmt.Sprint(created), "true"); n != 1 {
		t.Errorf("created %d times", n)
	}
	sound(t, a)
}

func TestHostileBranchesTouchNothing(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	mustWorktree(t, m, spec(r, "good"))
	canary := filepath.Join(t.TempDir(), "canary")
	before := tree(t, m.c.Home)
	for _, branch := range []string{
		"--upload-pack=touch " + canary, "-b", "../../../x", "a/../../x", "..", "a..b", "/etc/x", "a/.git", ".git/hooks/x", "a.lock", "a.lock/b",
		"a\nb", "a\x00b", "a\tb", "$(touch " + canary + ")", "a b", "@", "HEAD", "@{-1}", "a@{1}", "x\u202ey", "x\u200by", "a//b", "a/", "/a", "", "a\x7f", "a\\b", "a:b",
	} {
		_, err := m.Worktree(t.Context(), spec(r, branch))
		wantKind(t, err, town.ErrInvalid, "branch")
		s := spec(r, "fine")
		s.StartPoint = branch
		if _, err := m.Worktree(t.Context(), s); branch != "" && !errors.Is(err, town.ErrInvalid) {
			t.Errorf("start point %q: %v", branch, err)
		} else if err == nil {
			must(t, m.Remove(t.Context(), "rig", "fine", true))
			before = tree(t, m.c.Home)
		}
		wantKind(t, m.Remove(t.Context(), "rig", branch, true), town.ErrInvalid, "branch")
	}
	for _, id := range []string{"", "..", "../x", "a/b", ".home", "-x", "a\x00"} {
		s := spec(r, "fine")
		s.RigID = id
		_, err := m.Worktree(t.Context(), s)
		wantKind(t, err, town.ErrInvalid, "rig id")
	}
	if after := tree(t, m.c.Home); after != before {
		t.Errorf("home was\n%s\nand is\n%s", before, after)
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("a command ran")
	}
}

func TestHostileURLsRunNothing(t *testing.T) {
	m := newManager(t, func(c *Config) { c.Protocols = []string{"https", "ssh"} })
	canary := filepath.Join(t.TempDir(), "canary")
	before := tree(t, m.c.Home)
	for _, url := range []string{
		"ext::sh -c 'touch " + canary + "'", "--upload-pack=touch " + canary, "-u" + canary, "ssh://-oProxyCommand=touch " + canary + "/x",
		"git@-oProxyCommand=touch${IFS}" + canary + ":x", "file:///etc", "/etc", "http://127.0.0.1/x", "fd::0", "https://x:secret@127.0.0.1/x", "https://127.0.0.1/x\n[core]\nsshCommand=touch " + canary,
	} {
		_, err := m.Worktree(t.Context(), Spec{RigID: "rig", URL: url, Branch: "a"})
		wantKind(t, err, town.ErrInvalid, "git url")
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	if after := tree(t, m.c.Home); after != before {
		t.Errorf("home was\n%s\nand is\n%s", before, after)
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("a command ran")
	}
}

// tree lists every path below dir but what is collected, and the records of
// branches, which come with a lock.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if e != nil && e.IsDir() && (e.Name() == "trash" || e.Name() == "branches" || e.Name() == "objects" || e.Name() == "logs") {
			return filepath.SkipDir
		}
		fmt.Fprintln(&b, path)
		return nil
	})
	must(t, err)
	return b.String()
}

func TestUnknownOwnersAndHomesAreRefused(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	s := spec(r, "a")
	s.Owner = Owner{UID: 4242}
	_, err := m.Worktree(t.Context(), s)
	wantKind(t, err, town.ErrInvalid, "isolation is off")
	_, err = New(Config{Home: "relative"})
	wantKind(t, err, town.ErrInvalid, "absolute")
	_, err = New(Config{Home: t.TempDir(), Protocols: []string{"ext"}})
	wantKind(t, err, town.ErrInvalid, `"ext"`)
}

func TestOddNamesBecomeIdentities(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	for i, c := range []struct{ name, want string }{{"<>\n.,", "townd"}, {"Mad <Max>\nsigned", "Mad Maxsigned"}, {" Zoë. ", "Zoë"}} {
		s := spec(r, fmt.Sprint("b", i))
		s.Name, s.Email = c.name, ""
		w := mustWorktree(t, m, s)
		if got := git(t, w.Dir, "reflog", "-1", "--format=%gn %ge", s.Branch); got != c.want+" townd@localhost" {
			t.Errorf("%q became %q", c.name, got)
		}
	}
}

func TestClosedManagerRefuses(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	mustWorktree(t, m, spec(r, "a"))
	must(t, m.Close())
	_, err := m.Worktree(t.Context(), spec(r, "b"))
	wantKind(t, err, town.ErrUnavailable, "closed")
	wantKind(t, m.Remove(t.Context(), "rig", "a", true), town.ErrUnavailable, "closed")
}
