package gitmgr

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/gitmgr/gittest"
)

// The test binary is also the server that is killed: TestMain hands over to it
// when this variable holds its command.
const serverEnv = "GITMGR_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		os.Exit(serverMain())
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // fuzzing leaves goroutines of its own
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond) // goroutines that are ending tell nobody
	}
	if n := runtime.NumGoroutine(); code == 0 && n > before {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%d goroutines before, %d after\n%s", before, n, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// serverMain makes one worktree, as a townd would, and waits to be killed.
func serverMain() int {
	args := strings.Split(os.Getenv(serverEnv), "\n")
	m, err := New(Config{Home: args[0], Protocols: []string{"http", "file"}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	w, err := m.Worktree(context.Background(), Spec{RigID: "rig", URL: args[1], Branch: args[2]})
	fmt.Println(w.Dir, err)
	select {}
}

// startServer runs serverMain in a process of its own.
func startServer(t *testing.T, home, url, branch string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"="+strings.Join([]string{home, url, branch}, "\n"))
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// newManager returns a Manager with a home of its own, or of a given one.
func newManager(t testing.TB, change ...func(*Config)) *Manager {
	t.Helper()
	c := Config{
		Home: filepath.Join(t.TempDir(), "rigs"), Protocols: []string{"file", "http"},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, f := range change {
		f(&c)
	}
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.orphans, m.pause = 200*time.Millisecond, time.Millisecond
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func home(dir string) func(*Config) { return func(c *Config) { c.Home = dir } }

func spec(r *gittest.Remote, branch string) Spec {
	return Spec{RigID: "rig", URL: r.URL(), Branch: branch, Name: "Toast", Email: "toast@example.com"}
}

func mustWorktree(t testing.TB, m *Manager, s Spec) Worktree {
	t.Helper()
	w, err := m.Worktree(t.Context(), s)
	if err != nil {
		t.Fatalf("Worktree(%s): %v", s.Branch, err)
	}
	return w
}

// git runs git in dir as a person would.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := gittest.Command(dir, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// gitAs runs git in dir as a user, with the environment that an agent has.
func gitAs(uid, gid uint32, dir string, args ...string) (string, error) {
	cmd := gittest.Command(dir, args...)
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// shellAs runs a script as a user, as an agent would.
func shellAs(uid, gid uint32, dir, stdin, script string, args ...string) (string, error) {
	cmd := exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Dir, cmd.Env = dir, gittest.Env()
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantKind fails unless err is of a kind and says text.
func wantKind(t testing.TB, err, kind error, text string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want the kind %q", err, kind)
	}
	if !strings.Contains(err.Error(), text) {
		t.Fatalf("error is %q, want it to say %q", err, text)
	}
}

// sound fails unless git finds nothing wrong with the rig.
func sound(t testing.TB, m *Manager) {
	t.Helper()
	repo := filepath.Join(m.c.Home, "rig", "repo.git")
	git(t, repo, "-c", "safe.directory=*", "fsck", "--full", "--strict", "--no-dangling")
	if left := lockPaths(t, repo); len(left) > 0 {
		t.Errorf("lock files are left: %v", left)
	}
}

func lockPaths(t testing.TB, dir string) []string {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var paths []string
	for _, l := range lockFiles(root, "") {
		paths = append(paths, l.path)
	}
	return paths
}

// gitsBelow returns the git processes that work below dir.
func gitsBelow(dir string) (found []int) {
	for _, pid := range pids() {
		proc := fmt.Sprintf("/proc/%d/", pid)
		comm, err := os.ReadFile(proc + "comm")
		if err != nil || !strings.HasPrefix(string(comm), "git") {
			continue
		}
		if _, err := startTime(pid); err == nil && worksBelow(proc, []string{dir}) {
			found = append(found, pid)
		}
	}
	return found
}

// eventually polls for what the system gives no event for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
