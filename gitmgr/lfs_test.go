package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/gitmgr/gittest"
	"townd/town"
)

func needLFS(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(lfsProgram); err != nil {
		t.Skip("git-lfs is not installed")
	}
}

const lfsSecret = "canary-lfs-5512"

// lfsRig is a Manager of one rig with LFS, its proxy, and a remote with two large files.
type lfsRig struct {
	*Manager
	remote *gittest.Remote
	lfs    *gittest.LFS
	proxy  *httptest.Server
	branch string
	uid    uint32
}

func newLFSRig(t *testing.T, uid uint32) *lfsRig {
	t.Helper()
	needLFS(t)
	l := &lfsRig{remote: gittest.New(t, gittest.Options{}), uid: uid}
	l.lfs = l.remote.ServeLFS("x-access-token", lfsSecret)
	l.remote.Commit("main", ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
	l.remote.Commit("main", "big.bin", l.lfs.Put("the first large file"))
	l.remote.Commit("main", "deep/in/other.bin", l.lfs.Put("the other large file"))
	credential := func(c *Config) {
		c.Credential = func(context.Context, string, string) (Credential, error) {
			return Credential{User: "x-access-token", Secret: lfsSecret}, nil
		}
	}
	if uid != 0 {
		l.Manager = isolated(t, credential)
	} else {
		l.Manager = newManager(t, credential)
	}
	must(t, l.SetRig("rig", RigSettings{LFS: true}))
	l.proxy = httptest.NewServer(NewProxy(l.Manager, func(_ context.Context, capability string) (Caller, error) {
		if capability != "capability-1" {
			return Caller{}, town.ErrUnauthorized
		}
		return Caller{RigID: "rig", Branch: l.branch}, nil
	}))
	t.Cleanup(l.proxy.Close)
	return l
}

func (l *lfsRig) worktree(t *testing.T, branch string, uid uint32) Worktree {
	t.Helper()
	s := Spec{RigID: "rig", URL: l.lfs.URL, Branch: branch, Name: "Toast", Email: "toast@example.com", Owner: Owner{UID: uid}}
	return mustWorktree(t, l.Manager, s)
}

// agent runs a script as the agent of a worktree does.
func (l *lfsRig) agent(t *testing.T, w Worktree, script string) (string, error) {
	t.Helper()
	l.branch = w.Branch
	settings, env, err := l.AgentLFS("rig", w.Branch, l.proxy.URL)
	must(t, err)
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = w.Dir
	cmd.Env = append(append(gittest.Env(), env...), ConfigEnv(append(AgentConfig(l.proxy.URL, "rig", l.lfs.URL, "capability-1"), settings...))...)
	if l.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: l.uid, Gid: w.GID}}
	}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), lfsSecret) {
		t.Errorf("an agent sees the town's credential:\n%s", out)
	}
	return string(out), err
}

// W4: a new worktree holds large files, brought once per rig; what an agent adds gets to
// the remote before its commits, through the proxy, and the town's credential stays here.
func TestWorktreesHoldLargeFilesAndAgentsPushThem(t *testing.T) {
	for _, uid := range []uint32{0, uidA} {
		for _, kind := range []string{"own host", "echo", "elsewhere"} {
			t.Run(fmt.Sprintf("uid %d %s", uid, kind), func(t *testing.T) {
				l := newLFSRig(t, uid)
				l.lfs.Echo, l.lfs.Elsewhere = kind == "echo", kind == "elsewhere"
				for _, branch := range []string{"polecat/a/1", "polecat/a/2"} {
					w := l.worktree(t, branch, uid)
					if got := read(t, filepath.Join(w.Dir, "big.bin")) + read(t, filepath.Join(w.Dir, "deep/in/other.bin")); got != "the first large filethe other large file" {
						t.Errorf("the worktree holds %q", got)
					}
					if isDir(filepath.Join(l.rigs["rig"].admin(branch), lfsName)) {
						t.Error("a checkout has copied files to the agent's own store")
					}
					if out, err := l.agent(t, w, "git status --porcelain"); err != nil || out != "" {
						t.Errorf("status: %v\n%s", err, out)
					}
					if cp, err := l.Checkpoint(t.Context(), "rig", branch, "agent", Owner{UID: uid, GID: w.GID}); err != nil || !cp.Clean {
						t.Errorf("Checkpoint() = %+v, %v; want it clean", cp, err)
					}
				}
				if n := l.lfs.Gets("the first large file"); n != 1 {
					t.Errorf("a file was fetched %d times for two worktrees", n)
				}
				w := l.worktree(t, "polecat/a/3", uid)
				out, err := l.agent(t, w, "printf 'made by an agent' >new.bin; printf changed >big.bin; git add .; git commit -qm large; git push -q origin HEAD; git status --porcelain")
				t.Log(out)
				if err != nil {
					t.Fatal(err)
				}
				if !l.lfs.Has("made by an agent") || !l.lfs.Has("changed") || !strings.HasPrefix(l.remote.Git("show", "polecat/a/3:new.bin"), "version https://git-lfs") {
					t.Error("the remote lacks what an agent pushed")
				}
				out, err = l.agent(t, w, "git lfs locks 2>&1 || true; git checkout -q "+w.Base+"; cat big.bin")
				if err != nil || !strings.HasSuffix(out, "the first large file") {
					t.Errorf("an agent's checkout: %v\n%s", err, out)
				}
			})
		}
	}
}

// F11: a large file that is nowhere else survives its worktree.
func TestLargeFileThatWasNotPushedOutlivesItsWorktree(t *testing.T) {
	l := newLFSRig(t, uidA)
	w := l.worktree(t, "polecat/a/1", uidA)
	if out, err := l.agent(t, w, "printf committed >c.bin; git add .; git commit -qm c; printf uncommitted >u.bin"); err != nil {
		t.Fatal(err, out)
	}
	age(t, l.Manager, "polecat/a/1", time.Hour*2)
	swept := mustSweep(t, l.Manager, Policy{Keep: keepOnly(), OlderThan: time.Hour})
	if len(swept.Removed) != 1 {
		t.Fatalf("Sweep() = %+v", swept)
	}
	res, err := l.Restore(t.Context(), Spec{RigID: "rig", URL: l.lfs.URL, Branch: "polecat/a/1", Owner: Owner{UID: uidA}}, "agent")
	if err != nil || !res.Applied {
		t.Fatalf("Restore() = %+v, %v", res, err)
	}
	if got := read(t, filepath.Join(res.Dir, "c.bin")) + " " + read(t, filepath.Join(res.Dir, "u.bin")); got != "committed uncommitted" {
		t.Errorf("the worktree holds %q", got)
	}
}

// Agents of one rig cannot give each other another file for the same name.
func TestLargeFilesOfARigAreWhatTheirNamesSay(t *testing.T) {
	l := newLFSRig(t, uidA)
	w := l.worktree(t, "polecat/a/1", uidA)
	repo := l.rigs["rig"].repo
	late := l.lfs.Put("a file that is not here yet")
	l.remote.Commit("late", "late.bin", late)
	p, _ := parsePointer([]byte(late))
	out, err := l.agent(t, w, fmt.Sprintf("! cp big.bin %s/lfs/x; ! rm -rf %[1]s/lfs/objects; mkdir -p $(git rev-parse --git-dir)/lfs/%s; printf %%s 'a file that is forged here ' >$(git rev-parse --git-dir)/lfs/%s",
		repo, filepath.Dir(p.path()), p.path()))
	t.Log(out)
	if err != nil {
		t.Errorf("an agent could: %v", err)
	}
	_, err = l.Prepare(t.Context(), "rig", l.lfs.URL, true, nil)
	must(t, err)
	other := l.worktree(t, "late", uidB)
	if got := read(t, filepath.Join(other.Dir, "late.bin")); got != "a file that is not here yet" {
		t.Errorf("another agent reads %q", got)
	}
}

func TestRepositoryDecidesNothingOfItsLargeFiles(t *testing.T) {
	l := newLFSRig(t, 0)
	asked := make(chan string, 100)
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { asked <- req.URL.Path }))
	defer evil.Close()
	canary := filepath.Join(t.TempDir(), "canary")
	l.remote.Commit("main", ".lfsconfig", "[lfs]\n\turl = "+evil.URL+"/x\n[lfs \"extension.x\"]\n\tclean = touch "+canary+"\n\tsmudge = touch "+canary+"\n[filter \"x\"]\n\tsmudge = touch "+canary+"\n")
	l.remote.Commit("main", ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n*.x filter=x\n")
	l.remote.Commit("main", "a.x", "x")
	l.remote.Commit("main", "gone.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:"+strings.Repeat("ab", 32)+"\nsize 5\n")
	w := l.worktree(t, "polecat/a/1", 0)
	if got := read(t, filepath.Join(w.Dir, "big.bin")); got != "the first large file" {
		t.Errorf("the worktree holds %q", got)
	}
	if got := read(t, filepath.Join(w.Dir, "gone.bin")); !strings.HasPrefix(got, "version") {
		t.Errorf("what the remote does not have is %q, want its pointer", got)
	}
	if out, err := l.agent(t, w, "printf more >more.bin; git add .; git commit -qm more; git push -q origin HEAD"); err != nil {
		t.Errorf("push: %v\n%s", err, out)
	}
	if _, err := os.Lstat(canary); err == nil || len(asked) > 0 {
		t.Errorf("a command ran: %v; another server was asked %d times", err == nil, len(asked))
	}
}

func TestRigWithoutLFSHoldsPointers(t *testing.T) {
	l := newLFSRig(t, 0)
	must(t, l.SetRig("rig", RigSettings{}))
	w := l.worktree(t, "polecat/a/1", 0)
	out, err := l.agent(t, w, "head -c 7 big.bin; git checkout -q HEAD~1; printf x >>big.bin; git add .; git commit -qm x; git push -q origin HEAD:refs/heads/polecat/a/1; git cat-file -p HEAD:big.bin | tail -c 1")
	if err != nil || out != "versionx" || l.lfs.Gets("the first large file") != 0 {
		t.Errorf("an agent without LFS: %v\n%s", err, out)
	}
	res, err := http.Post(l.proxy.URL+"/git/rig.git/info/lfs/objects/batch", lfsMedia, strings.NewReader("{}"))
	must(t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("the batch API answered nobody %s", res.Status)
	}
}

// A worktree that was made ready before LFS was switched on is not given to an agent.
func TestReadyWorktreeHoldsLargeFiles(t *testing.T) {
	l := newLFSRig(t, 0)
	must(t, l.SetRig("rig", RigSettings{}))
	l.worktree(t, "polecat/a/1", 0)
	warmed(t, l.Manager, Owner{})
	must(t, l.SetRig("rig", RigSettings{LFS: true}))
	if got := read(t, filepath.Join(l.worktree(t, "polecat/a/2", 0).Dir, "big.bin")); got != "the first large file" {
		t.Errorf("the worktree holds %q", got)
	}
	warmed(t, l.Manager, Owner{})
	l.lfs.Elsewhere = true
	if got := read(t, filepath.Join(l.worktree(t, "polecat/a/3", 0).Dir, "big.bin")); got != "the first large file" {
		t.Errorf("the worktree from the pool holds %q", got)
	}
}

// Where a remote sends us for its files must be public, too.
func TestLargeFilesAtAPrivateAddressAreNotFetched(t *testing.T) {
	l := newLFSRig(t, 0)
	l.lfs.Elsewhere = true // at localhost
	c := l.c
	c.PublicOnly, c.AllowHosts = true, []string{"127.0.0.1"}
	l.guard = newGuard(c)
	l.client.Transport = l.guard.transport()
	_, err := l.Worktree(t.Context(), Spec{RigID: "rig", URL: l.lfs.URL, Branch: "b"})
	if !errors.Is(err, ErrDenied) || l.lfs.Gets("the first large file") != 0 {
		t.Errorf("Worktree() = %v, want ErrDenied", err)
	}
}

func TestLFSThatFailsIsToldByItsKind(t *testing.T) {
	l := newLFSRig(t, 0)
	l.c.Credential = func(context.Context, string, string) (Credential, error) { return Credential{}, nil }
	_, err := l.Worktree(t.Context(), Spec{RigID: "rig", URL: l.lfs.URL, Branch: "b"})
	if !errors.Is(err, ErrAuth) {
		t.Errorf("Worktree() without a credential = %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	wantKind(t, l.SetRig("rig", RigSettings{LFS: true}), town.ErrInvalid, "git-lfs is not installed")
}

func FuzzPointer(f *testing.F) {
	f.Add([]byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0a", 32) + "\nsize 12\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, ok := parsePointer(text); ok && (!lfsOID.MatchString(p.OID) || p.Size < 0 || strings.Contains(p.path(), "..")) {
			t.Fatal(p)
		}
	})
}
