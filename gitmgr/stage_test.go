package gitmgr

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"townd/gitmgr/gittest"
)

// look is a checkpoint of a branch with something done between the two halves of it:
// once git status has said what changed, and before that is taken. named is what came
// of taking that alone, on an index of its own.
func look(t *testing.T, m *Manager, branch string, between func()) (cp Checkpoint, named error) {
	t.Helper()
	r := m.rigs["rig"]
	own, release, err := r.acquireWorktree(t.Context(), branch)
	must(t, err)
	defer release()
	s := &saving{rig: r, own: own, branch: branch, agentID: "agent", owner: Owner{}}
	_, err = s.sift(t.Context())
	must(t, err)
	s.head, err = r.head(branch)
	must(t, err)
	if between != nil {
		between()
	}
	index, err := r.copyIndex(branch, s.owner)
	must(t, err)
	defer index.discard()
	s.index = index.path
	named = s.addNamed(t.Context())
	cp, err = s.save(t.Context())
	must(t, err)
	return cp, named
}

// allOf is the tree that git makes of a worktree by itself.
func allOf(t *testing.T, m *Manager, w Worktree) string {
	t.Helper()
	index, err := m.rigs["rig"].copyIndex(w.Branch, Owner{})
	must(t, err)
	defer index.discard()
	run := func(args ...string) string {
		cmd := gittest.Command(w.Dir, args...)
		cmd.Env = append(cmd.Env, "GIT_INDEX_FILE="+index.path)
		out, err := cmd.Output()
		if err != nil && args[0] != "add" { // what cannot be added is told
			t.Fatalf("git %s: %v", args[0], err)
		}
		return strings.TrimSpace(string(out))
	}
	run("add", "--all", "--sparse", "--ignore-errors", ".")
	return run("write-tree")
}

// place is a worktree to do things in.
type place struct {
	*testing.T
	dir string
}

func (p place) at(name string) string    { return filepath.Join(p.dir, name) }
func (p place) write(name, text string)  { p.Helper(); write(p, p.at(name), text) }
func (p place) remove(name string)       { p.Helper(); must(p, os.RemoveAll(p.at(name))) }
func (p place) git(args ...string)       { p.Helper(); git(p, p.dir, args...) }
func (p place) link(target, name string) { p.Helper(); must(p, os.Symlink(target, p.at(name))) }
func (p place) mkdir(name string)        { p.Helper(); must(p, os.MkdirAll(p.at(name), 0o755)) }
func (p place) rename(from, to string)   { p.Helper(); must(p, os.Rename(p.at(from), p.at(to))) }

func (p place) commit(name, text string) {
	p.Helper()
	p.write(name, text)
	p.git("add", "--force", name)
	p.git("commit", "--quiet", "-m", name)
}

// conflict leaves a merge of two branches undone.
func (p place) conflict() {
	p.Helper()
	p.commit("both", "base")
	p.commit("ours", "base")
	p.git("switch", "--quiet", "-c", "theirs/"+filepath.Base(p.dir))
	p.commit("both", "theirs")
	p.commit("ours", "theirs")
	p.git("switch", "--quiet", "-")
	p.commit("both", "ours")
	p.git("rm", "--quiet", "ours")
	p.git("commit", "--quiet", "-m", "gone")
	if out, err := gittest.Command(p.dir, "merge", "theirs/"+filepath.Base(p.dir)).CombinedOutput(); err == nil {
		p.Fatalf("no conflict: %s", out)
	}
}

// TestCheckpointIsWhatGitAddsOfAll compares the tree of a checkpoint with that of git add
// --all, and has those taken by name alone that can be.
func TestCheckpointIsWhatGitAddsOfAll(t *testing.T) {
	const a, b, c = "dir000/file00000.txt", "dir000/file00001.txt", "dir001/file00100.txt"
	cases := map[string]struct {
		do    func(p place)
		walks bool // not by name alone
	}{
		"changed":           {do: func(p place) { p.write(a, "x"); p.write(c, "y") }},
		"executable":        {do: func(p place) { must(p, os.Chmod(p.at(a), 0o755)) }},
		"deleted":           {do: func(p place) { p.remove(a); p.git("rm", "--quiet", b) }},
		"directory deleted": {do: func(p place) { p.remove("dir000") }},
		"renamed":           {do: func(p place) { p.git("mv", a, "moved"); p.rename(b, "also moved") }},
		"renamed and changed": {do: func(p place) {
			p.git("mv", a, "moved")
			p.write("moved", "x")
		}},
		"directory renamed":    {do: func(p place) { p.rename("dir000", "dir999") }},
		"names exchanged":      {do: func(p place) { p.write(a, "x"); p.rename(a, "t"); p.rename(b, a); p.rename("t", b) }},
		"untracked directory":  {do: func(p place) { p.write("new/deep/er/f", "x"); p.write("new/g", "y"); p.mkdir("empty") }},
		"added":                {do: func(p place) { p.write("f", "x"); p.git("add", "f") }},
		"added, then changed":  {do: func(p place) { p.write("f", "x"); p.git("add", "f"); p.write("f", "y") }},
		"added, then deleted":  {do: func(p place) { p.write("f", "x"); p.git("add", "f"); p.remove("f") }},
		"intended to be added": {do: func(p place) { p.write("f", "x"); p.git("add", "--intent-to-add", "f") }},
		"no more in the index": {do: func(p place) { p.git("rm", "--cached", "--quiet", a) }},
		"symbolic links": {do: func(p place) {
			p.link("/nowhere", "dangling")
			p.link("dir000", "to-directory")
			p.remove(a)
			p.link(b, a)
		}},
		"symbolic link to file": {do: func(p place) { p.link("x", "l"); p.git("add", "l"); p.remove("l"); p.write("l", "x") }},
		"file to directory":     {do: func(p place) { p.remove(a); p.write(a+"/f", "x"); p.write(a+"/g/h", "y") }},
		"directory to file":     {do: func(p place) { p.remove("dir000"); p.write("dir000", "x") }},
		"directory to link":     {do: func(p place) { p.rename("dir000", "moved"); p.link("moved", "dir000") }, walks: true},
		"odd names": {do: func(p place) {
			for i, name := range []string{
				"new\nline", "\nfirst", "last\n", "-dash", "--all", ":(magic)", ":(exclude)*", ":!x", ":/", "*", "?[a]", " space ", "tab\t", "quo'te", `"`, `\`, "#", "~", "\xff\xfe", "é", "...",
				"add 'x'\nadd 'y'", ".gitmodules", "dir002/:(top)\n-",
			} {
				p.write(name, fmt.Sprint(i))
			}
		}},
		"odd names, changed and deleted": {do: func(p place) {
			for _, name := range []string{"new\nline", "-dash", ":(magic)", "*"} {
				p.write(name, "x")
				p.write("d/"+name, "x")
			}
			p.git("add", "--all")
			p.git("commit", "--quiet", "-m", "odd")
			for _, name := range []string{"new\nline", "-dash", ":(magic)", "*"} {
				p.write(name, "y")
				p.remove("d/" + name)
			}
		}},
		"a name that git refuses": {do: func(p place) { p.write("git~1", "x"); p.write("f", "x") }, walks: true},
		"ignored": {do: func(p place) {
			p.write(".gitignore", "*.log\n/out/\n")
			p.write("x.log", "x")
			p.write("out/x", "x")
			p.write("f", "x")
		}},
		"tracked in an ignored directory": {do: func(p place) {
			p.commit("out/tracked", "x")
			p.commit("out/gone", "x")
			p.commit(".gitignore", "/out/\n*.log\n")
			p.write("out/tracked", "y")
			p.remove("out/gone")
			p.write("out/ignored", "y")
		}},
		"ignored and no more in the index": {do: func(p place) {
			p.commit("x.log", "x")
			p.write(".gitignore", "*.log\n")
			p.git("rm", "--cached", "--quiet", "x.log")
		}},
		"ignored, added by force": {do: func(p place) {
			p.write(".gitignore", "*.log\n")
			p.write("x.log", "x")
			p.git("add", "--force", "x.log")
			p.write("x.log", "y")
		}},
		"conflict":                 {do: place.conflict},
		"conflict with no file":    {do: func(p place) { p.conflict(); p.remove("both"); p.remove("ours") }},
		"repository inside":        {do: func(p place) { p.git("init", "--quiet", "nested"); place{p.T, p.at("nested")}.commit("f", "x") }},
		"repository without files": {do: func(p place) { p.git("init", "--quiet", "nested"); p.write("f", "x") }, walks: true},
		"pipe in place of a file": {do: func(p place) {
			p.remove(a)
			must(p, syscall.Mkfifo(p.at(a), 0o644))
			p.write("f", "x")
		}, walks: true},
		"line ends": {do: func(p place) { p.write(".gitattributes", "*.txt text eol=lf\n"); p.write(a, "x\r\ny\r\n") }},
		"more names than are kept": {do: func(p place) {
			deep := strings.Repeat(strings.Repeat("d", 250)+"/", 12)
			p.remove(a)
			for i := range 2 * maxNamedBytes / len(deep) {
				p.write(fmt.Sprint(deep, i), "x")
			}
		}},
	}
	r := gittest.New(t, gittest.Options{Files: 300})
	m := newManager(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := mustWorktree(t, m, spec(r, "polecat/"+strings.Map(func(r rune) rune {
				if r == ' ' || r == ',' {
					return '-'
				}
				return r
			}, name)))
			c.do(place{t, w.Dir})
			cp, named := look(t, m, w.Branch, nil)
			if (named != nil) != c.walks {
				t.Errorf("taken by name: %v", named)
			}
			want, got := allOf(t, m, w), ""
			if cp.Clean {
				got = git(t, w.Dir, "rev-parse", "HEAD^{tree}")
			} else {
				got = git(t, w.Dir, "rev-parse", cp.Commit+"^{tree}")
			}
			if got != want {
				t.Errorf("the checkpoint differs from git's own:\n%s", git(t, w.Dir, "diff", "--stat", want, got))
			}
		})
	}
	sound(t, m)
}

// TestCheckpointTakesWhatChangesMeanwhile changes files again when git status has named
// them: what is there is saved, whatever the one that was named has become.
func TestCheckpointTakesWhatChangesMeanwhile(t *testing.T) {
	const a = "dir000/file00000.txt"
	cases := map[string]struct {
		before, between func(p place)
		want            map[string]string // "" for no such file
	}{
		"new file vanished": {
			func(p place) { p.write("f", "x"); p.write("g", "x") }, func(p place) { p.remove("f") },
			map[string]string{"f": "", "g": "x"},
		},
		"changed file vanished": {
			func(p place) { p.write(a, "x"); p.write("g", "x") }, func(p place) { p.remove(a) },
			map[string]string{a: "", "g": "x"},
		},
		"new file to directory": {
			func(p place) { p.write("f", "x") }, func(p place) { p.remove("f"); p.write("f/g", "y") },
			map[string]string{"f/g": "y"},
		},
		"changed file to directory": {
			func(p place) { p.write(a, "x") }, func(p place) { p.remove(a); p.write(a+"/g", "y") },
			map[string]string{a + "/g": "y"},
		},
		"directory to file": {
			func(p place) { p.write("d/f", "x"); p.write("d/g", "x") }, func(p place) { p.remove("d"); p.write("d", "y") },
			map[string]string{"d": "y"},
		},
		"directory to link": {
			func(p place) { p.write("dir000/new", "x") }, func(p place) { p.rename("dir000", "moved"); p.link("moved", "dir000") },
			map[string]string{"dir000": "moved", "moved/new": "x"},
		},
		"renamed": {
			func(p place) { p.write("f", "x") }, func(p place) { p.rename("f", "g") },
			map[string]string{"f": "", "g": "x"},
		},
		"deleted file back": {
			func(p place) { p.remove(a); p.write("g", "x") }, func(p place) { p.write(a, "back") },
			map[string]string{a: "back", "g": "x"},
		},
		"deleted file back as directory": {
			func(p place) { p.remove(a); p.write("g", "x") }, func(p place) { p.write(a+"/f", "back") },
			map[string]string{a: "", "g": "x"}, // the next one has it
		},
		"changed again, as long": {
			func(p place) { p.write(a, "new"); p.write("f", "new") }, func(p place) { p.write(a, "now"); p.write("f", "now") },
			map[string]string{a: "now", "f": "now"},
		},
		"ignored": {
			func(p place) { p.write("x.log", "x"); p.write("g", "x") }, func(p place) { p.write(".gitignore", "*.log\n") },
			map[string]string{"x.log": "x", "g": "x"},
		},
		"added by the agent": {
			func(p place) { p.write("f", "x") }, func(p place) { p.git("add", "f") },
			map[string]string{"f": "x"},
		},
		"no more added": {
			func(p place) { p.write("f", "x"); p.git("add", "f"); p.write(a, "y"); p.git("add", a) }, func(p place) { p.git("reset", "--quiet") },
			map[string]string{"f": "x", a: "y"},
		},
	}
	r := gittest.New(t, gittest.Options{Files: 10})
	m := newManager(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := mustWorktree(t, m, spec(r, strings.NewReplacer(" ", "-", ",", "").Replace(name)))
			p := place{t, w.Dir}
			c.before(p)
			cp, _ := look(t, m, w.Branch, func() { c.between(p) })
			for file, text := range c.want {
				out, err := gittest.Command(w.Dir, "cat-file", "blob", cp.Commit+":"+file).Output()
				if (err == nil) != (text != "") || string(out) != text {
					t.Errorf("%s holds %q, want %q", file, out, text)
				}
			}
		})
	}
}

// What is left out stays as in HEAD, also when the agent has added it to its index, or
// has it in a conflict.
func TestCheckpointLeavesOutWhatWasAdded(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t, func(c *Config) { c.CheckpointFileBytes = 1000 })
	for name, c := range map[string]func(p place){
		"by-name": func(place) {},
		"walking": func(p place) { p.write("git~1", "x") },
	} {
		w := mustWorktree(t, m, spec(r, name))
		p := place{t, w.Dir}
		p.conflict()
		p.write("both", strings.Repeat("b", 1001))
		p.write("added", fakeSecrets["github.txt"])
		p.write("README.md", fakeSecrets["github.txt"])
		p.git("add", "added", "README.md")
		p.write("f", "x")
		c(p)
		cp, _ := look(t, m, name, nil)
		if git(t, w.Dir, "show", cp.Commit+":f") != "x" || git(t, w.Dir, "show", cp.Commit+":both") != "ours" {
			t.Errorf("%s: the checkpoint holds %s", name, git(t, w.Dir, "ls-tree", cp.Commit))
		}
		if out, err := gittest.Command(w.Dir, "grep", "-l", "-F", strings.TrimSpace(fakeSecrets["github.txt"]), cp.Commit).Output(); err == nil {
			t.Errorf("%s: secrets are in %s", name, out)
		}
	}
}

// A giant that the agent no longer tracks is out of the checkpoint too.
func TestCheckpointHasWhatIsNoMoreTracked(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t, func(c *Config) { c.CheckpointFileBytes = 1000 })
	w := mustWorktree(t, m, spec(r, "a"))
	p := place{t, w.Dir}
	p.commit("giant", strings.Repeat("g", 1001))
	p.write(".gitignore", "giant\n")
	p.git("rm", "--cached", "--quiet", "giant")
	cp, err := m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	must(t, err)
	if got := git(t, w.Dir, "diff", "--name-status", "HEAD", cp.Commit); got != "A\t.gitignore\nD\tgiant" {
		t.Errorf("the checkpoint changes %q", got)
	}
}

// Submodules stay as in the index; a file in the place of one is saved.
func TestCheckpointLeavesSubmodulesOut(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	p := place{t, w.Dir}
	for _, name := range []string{"ahead", "deleted", "file"} {
		p.git("init", "--quiet", name)
		place{t, p.at(name)}.commit("f", "x")
		p.git("-c", "advice.addEmbeddedRepo=false", "add", name)
	}
	p.git("commit", "--quiet", "-m", "submodules")
	place{t, p.at("ahead")}.commit("f", "y")
	place{t, p.at("ahead")}.write("g", "dirty")
	p.remove("deleted")
	p.remove("file")
	p.write("file", "x")
	p.write("f", "x")
	cp, named := look(t, m, "a", nil)
	if got := git(t, w.Dir, "diff", "--name-status", "HEAD", cp.Commit); named != nil || got != "A\tf\nT\tfile" {
		t.Errorf("the checkpoint changes %q: %v", got, named)
	}
}

// The error of a git that was killed is no reason to walk all files.
func TestCheckpointOfAKilledGitFails(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	write(t, filepath.Join(w.Dir, "f"), "x")
	again := newManager(t, home(m.c.Home), func(c *Config) {
		c.Git = slowGit(t, `case "$1" in update-index) kill -9 $$;; add) exit 3;; esac`)
	})
	_, err := again.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	if e, ok := errors.AsType[*runError](err); !ok || e.exit != -1 {
		t.Errorf("Checkpoint: %v", err)
	}
}

func FuzzParseChange(f *testing.F) {
	f.Add("? new")
	f.Add("1 .M N... 100644 100644 100644 1 1 a b\nc")
	f.Add("u UU N... 100644 100644 100644 100644 1 2 3 f")
	f.Add("2 R. N... 100644 100644 100644 1 1 R100 f")
	f.Fuzz(func(t *testing.T, entry string) {
		if c, err := parseChange(entry); err == nil && (c.path == "" || !strings.HasSuffix(entry, c.path)) {
			t.Errorf("parseChange(%q) = %+v", entry, c)
		}
	})
}
