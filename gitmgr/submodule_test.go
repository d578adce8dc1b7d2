package gitmgr

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/gitmgr/gittest"
	"townd/town"
)

// link puts a submodule and what .gitmodules says into a branch of a remote.
func link(r *gittest.Remote, branch, path, commit, modules string) {
	from := ""
	if r.Git("branch", "--list", branch) != "" {
		from = "from refs/heads/" + branch + "^0\n"
	}
	r.Import(fmt.Sprintf("commit refs/heads/%s\ncommitter Somebody <somebody@example.com> now\ndata 4\nlink\n%sM 160000 %s %s\nM 100644 inline .gitmodules\ndata %d\n%s\n",
		branch, from, commit, path, len(modules), modules), "--date-format=now")
}

func modulesText(name, path, url string) string {
	return fmt.Sprintf("[submodule %q]\n\tpath = %s\n\turl = %s\n", name, path, url)
}

// moduleTown is a remote with a submodule that has one, all behind one credential.
func moduleTown(t *testing.T, uid uint32) (m *Manager, top, sub *gittest.Remote, url string) {
	t.Helper()
	dir := t.TempDir()
	top = gittest.NewAt(t, filepath.Join(dir, "top.git"), gittest.Options{})
	sub = gittest.NewAt(t, filepath.Join(dir, "sub.git"), gittest.Options{})
	inner := gittest.NewAt(t, filepath.Join(dir, "inner.git"), gittest.Options{})
	link(sub, "main", "in/ner", inner.Commit("main", "inner.txt", "inner"), modulesText("inner", "in/ner", "../inner.git"))
	link(top, "main", "libs/sub", sub.Commit("main", "sub.txt", "sub"), modulesText("a sub", "libs/sub", "../sub.git"))
	change := func(c *Config) {
		c.Credential = func(context.Context, string, string) (Credential, error) {
			return Credential{User: "me", Secret: "canary-modules-71"}, nil
		}
	}
	if m = newManager(t, change); uid != 0 {
		m = isolated(t, change)
	}
	must(t, m.SetRig("rig", RigSettings{Submodules: true}))
	return m, top, sub, top.ServeHTTP("me", "canary-modules-71").URL
}

// Worktrees hold their submodules and theirs, fetched once, by the town's credential.
func TestWorktreesHoldTheirSubmodules(t *testing.T) {
	for _, uid := range []uint32{0, uidA} {
		m, _, _, url := moduleTown(t, uid)
		fetches := 0
		m.c.Observe = func(op string, _ time.Duration, _ error) {
			if op == "fetch submodule" {
				fetches++
			}
		}
		for _, branch := range []string{"polecat/a/1", "polecat/a/2"} {
			w := mustWorktree(t, m, Spec{RigID: "rig", URL: url, Branch: branch, Owner: Owner{UID: uid}})
			if got := read(t, filepath.Join(w.Dir, "libs/sub/sub.txt")) + read(t, filepath.Join(w.Dir, "libs/sub/in/ner/inner.txt")); got != "subinner" {
				t.Errorf("the worktree holds %q", got)
			}
			for _, dir := range []string{"", "libs/sub", "libs/sub/in/ner"} {
				if out, err := gitAs(uid, w.GID, filepath.Join(w.Dir, dir), "-c", "safe.directory=*", "status", "--porcelain"); err != nil || out != "" {
					t.Errorf("status in %q: %v %s", dir, err, out)
				}
			}
			if out, err := gitAs(uid, w.GID, filepath.Join(w.Dir, "libs/sub"), "-c", "safe.directory=*", "commit", "--allow-empty", "-qm", "x"); branch == "polecat/a/1" && err != nil {
				t.Errorf("an agent's commit in a submodule: %v %s", err, out)
			}
		}
		if fetches != 2 {
			t.Errorf("two submodules were fetched %d times for two worktrees", fetches)
		}
		if err := filepath.WalkDir(m.c.Home, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && strings.Contains(read(t, path), "canary-modules-71") {
				t.Errorf("%s holds the credential", path)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
}

// A worktree whose submodules hold nothing new is collected, any other stays.
func TestSweepLooksIntoSubmodules(t *testing.T) {
	m, _, _, url := moduleTown(t, uidA)
	change := map[string]string{
		"clean": "true", "commit": "git commit --allow-empty -qm x", "branch": "git branch mine", "file": "echo x >new",
		"edit": "echo x >sub.txt", "inner": "echo x >in/ner/inner.txt", "stash": "echo x >sub.txt; git stash -q", "deleted": "rm sub.txt",
		"config": "git config core.fsmonitor 'touch /tmp/nowhere-else; false'; git config filter.x.clean 'false'",
	}
	for branch, script := range change {
		w := mustWorktree(t, m, Spec{RigID: "rig", URL: url, Branch: branch, Owner: Owner{UID: uidA}})
		if out, err := shellAs(uidA, w.GID, filepath.Join(w.Dir, "libs/sub"), "", script); err != nil {
			t.Fatal(branch, err, out)
		}
		age(t, m, branch, 2*time.Hour)
	}
	swept := mustSweep(t, m, Policy{Keep: keepOnly(), OlderThan: time.Hour})
	for branch := range change {
		if gone, want := swept.of(branch) != nil, branch == "clean" || branch == "config"; gone != want {
			t.Errorf("worktree %s collected: %v, want %v", branch, gone, want)
		}
	}
	if swept.Unsaved != len(change)-2 {
		t.Errorf("%d worktrees are told as unsaved", swept.Unsaved)
	}
}

// What a repository says of its submodules runs nothing and reaches no place that it
// should not.
func TestTricksOfSubmodulesDoNothing(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary")
	secret := gittest.New(t, gittest.Options{})
	for name, url := range map[string]string{
		"option": "--upload-pack=touch " + canary, "short": "-u" + canary, "helper": "ext::sh -c 'touch " + canary + "'",
		"protocol": "ssh://-oProxyCommand=touch/x", "password": "http://me:pw@127.0.0.1/x", "up": "../../../../../../../../x", "newline": "\"http://a/b\\nc\"",
	} {
		m, top, sub, rigURL := moduleTown(t, 0)
		link(top, "main", "evil", sub.Git("rev-parse", "main"), modulesText("../../../x/"+name, "evil", url))
		_, err := m.Worktree(t.Context(), Spec{RigID: "rig", URL: rigURL, Branch: "b"})
		if name != "up" {
			wantKind(t, err, town.ErrInvalid, "submodule")
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	m, top, sub, url := moduleTown(t, 0)
	link(top, "main", "libs/sub", sub.Git("rev-parse", "main"), modulesText("sub", "libs/sub", "../sub.git")+"\tupdate = !touch "+canary+"\n")
	if w := mustWorktree(t, m, Spec{RigID: "rig", URL: url, Branch: "update"}); !isRegular(filepath.Join(w.Dir, "libs/sub/sub.txt")) {
		t.Error("a submodule with a command for its update is not there")
	}
	link(top, "agents", "libs/sub", secret.Git("rev-parse", "main"), modulesText("x", "libs/sub", secret.URL()))
	_, err := m.Prepare(t.Context(), "rig", url, true, nil)
	must(t, err)
	w := mustWorktree(t, m, Spec{RigID: "rig", URL: url, Branch: "agents"})
	if left, err := os.ReadDir(filepath.Join(w.Dir, "libs/sub")); err != nil || len(left) != 0 {
		t.Errorf("a submodule that the default branch does not know holds %v, %v", left, err)
	}
	if _, err := os.Lstat(canary); err == nil {
		t.Error("a command ran")
	}
}

func TestSubmoduleThatCannotBeHadIsTold(t *testing.T) {
	m, top, sub, url := moduleTown(t, 0)
	link(top, "main", "libs/sub", strings.Repeat("ab", 20), modulesText("sub", "libs/sub", "../sub.git"))
	s := Spec{RigID: "rig", URL: url, Branch: "b"}
	_, err := m.Worktree(t.Context(), s)
	wantKind(t, err, town.ErrNotFound, `submodule "libs/sub": commit abab`)
	link(top, "main", "libs/sub", sub.Git("rev-parse", "main"), modulesText("sub", "libs/sub", "../nowhere.git"))
	_, err = m.Prepare(t.Context(), "rig", url, true, nil)
	must(t, err)
	_, err = m.Worktree(t.Context(), s)
	wantKind(t, err, ErrRepository, `submodule "libs/sub"`)
	link(top, "main", "libs/sub", sub.Git("rev-parse", "main"), modulesText("sub", "libs/sub", "./../sub.git"))
	_, err = m.Prepare(t.Context(), "rig", url, true, nil)
	must(t, err)
	if w := mustWorktree(t, m, s); !isRegular(filepath.Join(w.Dir, "libs/sub/sub.txt")) {
		t.Error("the next start has no submodule")
	}
}

func TestRelativeURLsOfSubmodules(t *testing.T) {
	for _, c := range [][3]string{
		{"https://h/a/b", "../c", "https://h/a/c"},
		{"https://h/a/b.git/", "./c", "https://h/a/b.git/c"},
		{"https://h/a/b", "../../c/d", "https://h/c/d"},
		{"https://h/a", "../../c", ""},
		{"git@h:a/b", "../c", "git@h:a/c"},
		{"git@h:a/b", "../../c", "git@h:c"},
		{"ssh://git@h/a/b", "../c", "ssh://git@h/a/c"},
		{"/srv/a", "../b", "/srv/b"},
		{"https://h/a/b", "https://x/y", "https://x/y"},
		{"https://h:8/a/b", "../../../c", ""},
	} {
		if got := resolveModule(c[0], c[1]); got != c[2] {
			t.Errorf("resolveModule(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func FuzzModuleURL(f *testing.F) {
	f.Add("https://h/a/b", "../c")
	f.Fuzz(func(t *testing.T, base, url string) {
		if got := resolveModule(base, url); len(got) > len(base)+len(url)+1 {
			t.Fatal(got)
		}
	})
}
