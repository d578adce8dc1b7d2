package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// bulky makes a remote whose pack does not fit in one write.
func bulky(t testing.TB) *gittest.Remote {
	return gittest.New(t, gittest.Options{Files: 300, FileBytes: 2000, Commits: 50})
}

func httpSpec(h *gittest.HTTP, branch string) Spec {
	return Spec{RigID: "rig", URL: h.URL, Branch: branch}
}

func TestRemoteThatFailsIsAGitError(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("", "")
	m := newManager(t)
	for fault, says := range map[gittest.Fault]string{
		gittest.Unauthorized: "could not read Username", gittest.Forbidden: "403", gittest.NotFound: "not found",
		gittest.Broken: "500", gittest.Reset: "git clone: ",
	} {
		h.Set(fault)
		_, err := m.Worktree(t.Context(), httpSpec(h, "a"))
		wantKind(t, err, town.ErrGit, says)
		if entries, _ := os.ReadDir(filepath.Join(m.c.Home, "rig/tmp")); len(entries) > 0 {
			t.Errorf("fault %d left %v", fault, entries)
		}
	}
	h.Set(gittest.Serve)
	w, err := m.Worktree(t.Context(), httpSpec(h, "a"))
	must(t, err)
	git(t, w.Dir, "fetch", "--quiet")
	sound(t, m)

	for _, fault := range []gittest.Fault{gittest.Forbidden, gittest.Reset, gittest.Broken} { // now it has a clone
		m.rigs["rig"].fetchDue = time.Time{}
		r.Commit("main", fmt.Sprint("f", fault), strings.Repeat("more", 4000))
		h.Set(fault)
		if _, err := m.Worktree(t.Context(), httpSpec(h, fmt.Sprint("b", fault))); err != nil {
			t.Errorf("a failed fetch ended the start: %v", err)
		}
	}
	s := httpSpec(h, "c")
	s.StartPoint = "unknown"
	_, err = m.Worktree(t.Context(), s)
	wantKind(t, err, town.ErrGit, `start point "unknown" is not here`)
}

func TestRemoteBehindAPasswordSaysWhatItNeeds(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("user", "s3cret")
	m := newManager(t)
	_, err := m.Worktree(t.Context(), httpSpec(h, "a"))
	wantKind(t, err, town.ErrGit, "could not read Username")
	_, err = m.Worktree(t.Context(), Spec{RigID: "rig", URL: h.URLWith("user", "s3cret"), Branch: "a"})
	wantKind(t, err, town.ErrInvalid, "GH_TOKEN")
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error tells the password: %v", err)
	}
}

func TestUnreachableRemote(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	m := newManager(t)
	for url, says := range map[string]string{
		"http://" + l.Addr().String() + "/r": "Failed to connect",
		"file:///nonexistent/r":              "does not",
	} {
		_, err := m.Worktree(t.Context(), Spec{RigID: "rig", URL: url, Branch: "a"})
		wantKind(t, err, town.ErrGit, says)
	}
}

func TestHangingRemoteIsGivenUpWhole(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("", "")
	for _, fault := range []gittest.Fault{gittest.Hang, gittest.Stall} {
		h.Set(fault)
		m := newManager(t, func(c *Config) { c.CloneTimeout = 300 * time.Millisecond })
		start := time.Now()
		_, err := m.Worktree(t.Context(), httpSpec(h, "a"))
		wantKind(t, err, town.ErrGit, "stopped after 300ms, the remote does not answer")
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %s", d)
		}
		if left := gitsBelow(m.c.Home); len(left) > 0 {
			t.Errorf("git processes are left: %v", left)
		}
		if entries, _ := os.ReadDir(filepath.Join(m.c.Home, "rig/tmp")); len(entries) > 0 {
			t.Errorf("left %v", entries)
		}
	}
}

func TestCallerWhoGivesUpEndsItsClone(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("", "")
	h.Set(gittest.Hang)
	m := newManager(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller is gone")
	done := make(chan error)
	go func() {
		_, err := m.Worktree(ctx, httpSpec(h, "a"))
		done <- err
	}()
	<-h.Reached
	waiter := make(chan error)
	go func() { // waits for the clone; it does not share its caller's end
		_, err := m.Worktree(t.Context(), httpSpec(h, "b"))
		waiter <- err
	}()
	h.Set(gittest.Serve)
	cancel(gone)
	if err := <-done; !errors.Is(err, gone) {
		t.Errorf("error is %v", err)
	}
	if err := <-waiter; err != nil {
		t.Error(err)
	}
	sound(t, m)
}

func TestCloseEndsWhatRuns(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("", "")
	h.Set(gittest.Hang)
	m := newManager(t)
	done := make(chan error)
	go func() {
		_, err := m.Worktree(t.Context(), httpSpec(h, "a"))
		done <- err
	}()
	<-h.Reached
	closed := make(chan error)
	go func() { closed <- m.Close() }()
	wantKind(t, <-done, town.ErrUnavailable, "closed")
	must(t, <-closed)
	if left := gitsBelow(m.c.Home); len(left) > 0 {
		t.Errorf("git processes are left: %v", left)
	}
}

func TestWaitersShareAFailedClone(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("", "")
	h.Set(gittest.Hang)
	m := newManager(t, func(c *Config) { c.CloneTimeout = 500 * time.Millisecond })
	start := time.Now()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := m.Worktree(t.Context(), httpSpec(h, fmt.Sprint("b", i))); !errors.Is(err, town.ErrGit) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("20 callers of one dead remote waited %s", d)
	}
	h.Set(gittest.Serve)
	if _, err := m.Worktree(t.Context(), httpSpec(h, "later")); err != nil {
		t.Errorf("the failure stuck: %v", err)
	}
}

func TestServerKilledInACloneLeavesNothingBehind(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("", "")
	h.Set(gittest.Stall)
	dir := filepath.Join(t.TempDir(), "rigs")
	server := startServer(t, dir, h.URL, "a")
	<-h.Reached
	must(t, server.Process.Kill())
	_ = server.Wait()
	orphans := gitsBelow(dir)
	if len(orphans) == 0 {
		t.Fatal("no git outlived its server: nothing is tested")
	}

	m := newManager(t, home(dir))
	m.orphans = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := m.Worktree(ctx, httpSpec(h, "b")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a living orphan: %v", err)
	}
	m.orphans = 100 * time.Millisecond
	h.Set(gittest.Serve)
	w, err := m.Worktree(t.Context(), httpSpec(h, "a"))
	must(t, err)
	if git(t, w.Dir, "status", "--porcelain") != "" || !w.Created {
		t.Errorf("Worktree = %+v", w)
	}
	eventually(t, "the orphans are gone", func() bool { return len(gitsBelow(dir)) == 0 })
	must(t, m.Close())
	for _, sub := range []string{"tmp", "trash"} {
		if left, _ := os.ReadDir(filepath.Join(dir, "rig", sub)); len(left) > 0 {
			t.Errorf("%s holds %v", sub, left)
		}
	}
	sound(t, m)
}

func TestGitKilledInACloneIsRepeated(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("", "")
	h.Set(gittest.Stall)
	m := newManager(t)
	done := make(chan error)
	go func() {
		_, err := m.Worktree(t.Context(), httpSpec(h, "a"))
		done <- err
	}()
	<-h.Reached
	for _, pid := range gitsBelow(m.c.Home) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) { // gone with its parent
			t.Fatal(err)
		}
	}
	wantKind(t, <-done, town.ErrGit, "git clone: ")
	h.Set(gittest.Serve)
	if _, err := m.Worktree(t.Context(), httpSpec(h, "a")); err != nil {
		t.Fatal(err)
	}
	sound(t, m)
}

// slowGit puts a git before the real one that stops where a test wants it to.
func slowGit(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "git")
	write(t, path, "#!/bin/sh\n"+script+"\nexec git \"$@\"\n")
	must(t, os.Chmod(path, 0o755))
	return path
}

func TestServerKilledWhileFilesAreWritten(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 1500, FileBytes: 2000})
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "rigs")
			server := startServer(t, dir, r.URL(), "a/b")
			files := filepath.Join(dir, "rig/worktrees/a/b")
			eventually(t, "some files are there", func() bool {
				n, _ := os.ReadDir(files)
				return len(n) > 1+3*i
			})
			must(t, server.Process.Kill())
			if i%2 == 0 { // and its git with it
				for _, pid := range gitsBelow(dir) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			_ = server.Wait()
			m := newManager(t, home(dir))
			w := mustWorktree(t, m, spec(r, "a/b"))
			if got := git(t, w.Dir, "status", "--porcelain"); got != "" {
				t.Errorf("status %q", got[:min(len(got), 200)])
			}
			if got := git(t, w.Dir, "symbolic-ref", "HEAD"); got != "refs/heads/a/b" {
				t.Errorf("HEAD is %s", got)
			}
			sound(t, m)
		})
	}
}

func TestServerKilledBetweenFilesAndBranch(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a/b"))
	// What the one git command that makes files, index and branch leaves when it is
	// killed before its last step.
	g := m.rigs["rig"]
	git(t, w.Dir, "switch", "--quiet", "--detach")
	git(t, w.Dir, "branch", "--quiet", "-D", "a/b")
	must(t, g.writeFacts(facts{Branch: "a/b", Base: w.Base, Making: true}))
	write(t, filepath.Join(g.repo, "refs/heads/a/b.lock"), "")
	mustWorktree(t, m, spec(r, "a/b"))
	if got := git(t, w.Dir, "symbolic-ref", "HEAD"); got != "refs/heads/a/b" || git(t, w.Dir, "rev-parse", "a/b") != w.Base {
		t.Errorf("HEAD is %s", got)
	}
	sound(t, m)
}

func TestStaleLocksOfDeadGitAreRemoved(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	mustWorktree(t, m, spec(r, "a"))
	g := m.rigs["rig"]
	r.Commit("other", "f", "f")
	r.Git("branch", "-m", "other", "renamed")
	tip := r.Commit("main", "g", "g")
	for _, lock := range []string{"packed-refs.lock", "refs/heads/main.lock", "refs/remotes/origin/main.lock", "refs/heads/b.lock"} {
		write(t, filepath.Join(g.repo, lock), "")
	}
	g.fetchDue = time.Time{}
	w := mustWorktree(t, m, spec(r, "b"))
	if w.Base != tip {
		t.Errorf("started from %s, the remote has %s: the fetch failed", w.Base, tip)
	}
	sound(t, m)
}

func TestLockOfALivingGitStays(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	lock := filepath.Join(m.rigs["rig"].admin("a"), "index.lock")
	living := gittest.Command(w.Dir, "cat-file", "--batch") // waits for its input
	in, err := living.StdinPipe()
	must(t, err)
	must(t, living.Start())
	write(t, lock, "")
	mustWorktree(t, m, spec(r, "a"))
	if _, err := os.Stat(lock); err != nil {
		t.Error("the lock of a living git was taken away")
	}
	must(t, in.Close())
	must(t, living.Wait())
	mustWorktree(t, m, spec(r, "a"))
	if _, err := os.Stat(lock); err == nil {
		t.Error("the lock of a dead git is left")
	}
}

// killedInDelete is a script for slowGit: the first git that deletes a branch is killed
// when it holds its locks, as git itself says.
const killedInDelete = `case "$1 $3" in "update-ref -d") if mkdir %[1]q; then
	mkfifo %[1]q/wait
	(printf 'start\ndelete %%s\nprepare\n' "$4"; read x <%[1]q/wait) | git update-ref --no-deref --stdin >%[1]q/said &
	until grep -q "prepare: ok" %[1]q/said; do :; done
	kill -9 $!
	kill -9 $$
fi; esac`

// The agent cannot remove a lock of ours, and nobody else looks for it: with a git of
// another agent at work in the repository, which might have made it, and without.
func TestLockOfAKilledDeleteStopsNoAgent(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	for name, busy := range map[string]bool{"alone": false, "beside another": true} {
		t.Run(name, func(t *testing.T) {
			seen := filepath.Join(t.TempDir(), "seen")
			m := newManager(t, func(c *Config) { c.Git = slowGit(t, fmt.Sprintf(killedInDelete, seen)) })
			mustWorktree(t, m, spec(r, "a/1"))
			b := mustWorktree(t, m, spec(r, "b/1"))
			g := m.rigs["rig"]
			living := gittest.Command(b.Dir, "cat-file", "--batch") // waits for its input
			in, err := living.StdinPipe()
			must(t, err)
			if busy {
				must(t, living.Start())
			}
			p := Policy{OlderThan: 1, Keep: keepOnly("b/1")}
			if s, err := m.Sweep(t.Context(), p); err == nil || s.Branches != 0 {
				t.Fatalf("swept %+v, %v: its git was not killed", s, err)
			}
			if left := lockPaths(t, g.repo); !busy && len(left) > 0 || busy && len(left) != 2 {
				t.Errorf("locks left: %v", left)
			}
			w := mustWorktree(t, m, spec(r, "a/1"))
			git(t, w.Dir, "commit", "--quiet", "--allow-empty", "-m", "work")
			if busy {
				must(t, in.Close())
				must(t, living.Wait())
			}
			git(t, w.Dir, "reset", "--quiet", "--hard", "HEAD~")
			if s := mustSweep(t, m, p); s.Branches != 1 {
				t.Errorf("swept %+v", s)
			}
			sound(t, m)
		})
	}
}

func TestYoungerGitDoesNotKeepALock(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	lock := filepath.Join(m.rigs["rig"].admin("a"), "index.lock")
	write(t, lock, "")
	made := time.Now().Add(-2 * clockSlack)
	must(t, os.Chtimes(lock, made, made))
	living := gittest.Command(w.Dir, "cat-file", "--batch")
	in, err := living.StdinPipe()
	must(t, err)
	must(t, living.Start())
	mustWorktree(t, m, spec(r, "a"))
	if _, err := os.Stat(lock); err == nil {
		t.Error("a lock is left that no living git can have made")
	}
	must(t, in.Close())
	must(t, living.Wait())
}

// Proves W3.
func TestFailedCheckoutLeavesNothing(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	dir := filepath.Join(t.TempDir(), "rigs")
	for _, said := range []string{"fatal: write error: No space left on device", "fatal: sha1 file index.lock write error. Out of diskspace"} {
		m := newManager(t, home(dir), func(c *Config) {
			c.Git = slowGit(t, `if [ "$1" = checkout ]; then echo "`+said+`" >&2; exit 128; fi`)
		})
		_, err := m.Worktree(t.Context(), spec(r, "a"))
		wantKind(t, err, town.ErrNoSpace, said)
		if _, err := os.Lstat(filepath.Join(dir, "rig/worktrees/a")); err == nil {
			t.Error("its directory is left")
		}
	}
	m := newManager(t, home(dir))
	mustWorktree(t, m, spec(r, "a"))
	sound(t, m)
}

func TestMissingGitProgram(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t, func(c *Config) { c.Git = "no-such-git" })
	_, err := m.Worktree(t.Context(), spec(r, "a"))
	if err == nil || !strings.Contains(err.Error(), `start git clone: exec: "no-such-git"`) {
		t.Errorf("error is %v", err)
	}
}

func TestGitSeesNothingOfOurEnvironment(t *testing.T) {
	t.Setenv("GITMGR_SECRET", "s3cret")
	t.Setenv("GIT_DIR", "/tmp")
	t.Setenv("GIT_TRACE", "1")
	t.Setenv("https_proxy", "http://user:s3cret@127.0.0.1:1")
	r := gittest.New(t, gittest.Options{})
	seen := filepath.Join(t.TempDir(), "seen")
	m := newManager(t, func(c *Config) { c.Git = slowGit(t, "{ echo \"## $1\"; env; } >> "+seen) })
	mustWorktree(t, m, spec(r, "a"))
	remote, local, _ := strings.Cut(read(t, seen), "## checkout")
	for _, no := range []string{"GITMGR_SECRET", "GIT_TRACE", "GIT_DIR=/tmp\n"} {
		if strings.Contains(remote+local, no) {
			t.Errorf("git saw %s", no)
		}
	}
	if !strings.Contains(remote, "https_proxy=") || strings.Contains(local, "s3cret") {
		t.Error("the proxy belongs to git that calls a remote, and to no other")
	}
	for _, want := range []string{"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_ALLOW_PROTOCOL=file:http", "HOME=" + m.c.Home + "/.home", "LC_ALL=C"} {
		if !strings.Contains(remote, want) || !strings.Contains(local, want) {
			t.Errorf("git did not see %s", want)
		}
	}
}

func TestHangingFetchDelaysFewStarts(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("", "")
	m := newManager(t)
	_, err := m.Worktree(t.Context(), httpSpec(h, "first"))
	must(t, err)
	g := m.rigs["rig"]
	h.Set(gittest.Hang)
	g.fetchDue, g.patience = time.Time{}, 3*time.Second
	before := h.Requests()
	for i := range 5 {
		if _, err := m.Worktree(t.Context(), httpSpec(h, fmt.Sprint("b", i))); err != nil {
			t.Error(err)
		}
	}
	if n := h.Requests() - before; n != 1 || g.patience != 6*time.Second {
		t.Errorf("%d requests to a dead remote, the next may take %s", n, g.patience)
	}
	h.Set(gittest.Serve)
	g.fetchDue, g.patience = time.Time{}, time.Minute
	if _, err := m.Worktree(t.Context(), httpSpec(h, "last")); err != nil || g.patience != fetchPatience {
		t.Errorf("%v, patience %s", err, g.patience)
	}
}
