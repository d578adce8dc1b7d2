package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/api"
	"townd/gitmgr/gittest"
	"townd/town"
)

func killProcess(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

// A keeper that is killed takes its agents along; they are told killed, also by a
// server that was killed with it, and the town goes on with a new keeper.
func TestKilledKeeperEndsItsAgents(t *testing.T) {
	t.Parallel()
	tt := newTown(t, nil)
	modes := []string{"tree", "deaf"}
	if os.Getuid() == 0 {
		modes = append(modes, "hopper") // without users of their own it can outrun every look (docs/isolation.md)
	}
	for _, both := range []bool{false, true} {
		for _, mode := range modes {
			tt.start(tt.request(mode, tt.mode(mode)...))
			tt.ready(mode)
		}
		killProcess(t, tt.keeperPID())
		if both { // and a stale socket is left
			tt.restart()
		}
		for _, id := range modes {
			tt.until(id, func(a town.Agent) bool { return a.Status == town.StatusFailed })
			if a := tt.status(id); a.Reason != town.ReasonKilled || !strings.Contains(a.Error, "keeper") {
				t.Errorf("%s is %s %s: %q; want failed killed, and why", id, a.Status, a.Reason, a.Error)
			}
			if left := tt.ofAgent(id); len(left) > 0 {
				t.Errorf("left of %s: %v", id, left)
			}
		}
		if left := tt.ofAgents(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		waitFor(t, "healthy town", func() bool { return tt.health().Status == api.HealthOK })
	}
	tt.start(tt.request("next", tt.mode("sleep")...))
}

// until waits until ok says true of what the town tells of an agent.
func (tt *testTown) until(id string, ok func(town.Agent) bool) {
	tt.t.Helper()
	waitFor(tt.t, "other status of "+id, func() bool { return ok(tt.status(id)) })
}

func (tt *testTown) health() api.Health {
	tt.t.Helper()
	h, err := tt.Health(tt.t.Context())
	if err != nil {
		tt.t.Fatal(err)
	}
	return h
}

// What a killed leader leaves behind ends with it.
func TestKilledLeaderLeavesNothing(t *testing.T) {
	t.Parallel()
	tt := newTown(t, nil)
	a := tt.start(tt.request("toast", tt.mode("tree")...))
	tt.ready("toast")
	if n := len(tt.ofAgents()); n != 5 {
		t.Errorf("%d processes, want a tree of 5", n)
	}
	killProcess(t, *a.PID)
	a = tt.untilStatus("toast", town.StatusFailed)
	if a.Reason != town.ReasonCrashed || a.Signal != "SIGKILL" {
		t.Errorf("agent is %s %s, signal %q; want failed crashed SIGKILL", a.Status, a.Reason, a.Signal)
	}
	if left := tt.ofAgents(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A git that is killed in a clone fails the start with 502, and nothing of it is
// left; the repeated start clones anew.
func TestKilledCloneIsMadeAnew(t *testing.T) {
	t.Parallel()
	tt := newTown(t, nil)
	c := tt.beginClone("rig")
	tt.killGit()
	if err := <-c.answer; !errors.Is(err, town.ErrGit) {
		t.Errorf("start whose git was killed: %v; want 502", err)
	}
	if _, err := tt.Agent(t.Context(), "toast"); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("the agent is there afterwards: %v", err)
	}
	c.remote.Set(gittest.Serve)
	tt.start(c.request)
	c.check(t)
}

// A server that is killed in a clone leaves a git behind, on which its successor
// does not trip: a repeated start waits for it to end.
func TestServerKilledInACloneIsFollowed(t *testing.T) {
	t.Parallel()
	tt := newTown(t, nil)
	c := tt.beginClone("rig")
	tt.restart()
	if <-c.answer == nil {
		t.Error("the start was answered well by a server that was killed before")
	}
	c.remote.Set(gittest.Serve)
	go func() {
		_, err := tt.Start(t.Context(), c.request)
		c.answer <- err
	}()
	waitFor(t, "repeated start", func() bool { _, err := tt.Agent(t.Context(), "toast"); return err == nil })
	tt.killGit() // as its own time limit would
	if err := <-c.answer; err != nil {
		t.Errorf("repeated start: %v", err)
	}
	c.check(t)
}

// clone is a start that hangs while it clones.
type clone struct {
	request town.StartRequest
	remote  *gittest.HTTP
	answer  chan error
	repo    string
}

func (tt *testTown) beginClone(rig string) *clone {
	tt.t.Helper()
	c := &clone{
		request: tt.request("toast", tt.mode("sleep")...), answer: make(chan error, 1), repo: filepath.Join(tt.home, "rigs", rig, "repo.git"),
		remote: gittest.New(tt.t, gittest.Options{Files: 300, FileBytes: 2000}).ServeHTTP("", ""),
	}
	c.request.GitURL, c.request.RigID = c.remote.URL, rig
	c.remote.Set(gittest.Stall)
	go func() {
		_, err := tt.Start(tt.t.Context(), c.request)
		c.answer <- err
	}()
	<-c.remote.Reached
	return c
}

// killGit kills every git of the town.
func (tt *testTown) killGit() {
	tt.t.Helper()
	killed := 0
	for _, p := range tt.processes() {
		name, _, _ := strings.Cut(p.command, " ")
		if strings.HasPrefix(filepath.Base(name), "git") && syscall.Kill(p.pid, syscall.SIGKILL) == nil {
			killed++ // or has ended with the one before
		}
	}
	if killed == 0 {
		tt.t.Error("no git is there to be killed")
	}
}

// check wants the repository whole.
func (c *clone) check(t *testing.T) {
	t.Helper()
	if complaints := gitOutput(t, c.repo, "fsck", "--full", "--strict"); complaints != "" {
		t.Errorf("git fsck: %s", complaints)
	}
}

// mount makes dir a file system of its own of a size, for as long as the town is.
func (tt *testTown) mount(dir, size string) {
	t := tt.t
	t.Helper()
	needRoot(t)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("townd-e2e", dir, "tmpfs", 0, fmt.Sprintf("size=%s,mode=%o", size, info.Mode().Perm())); err != nil {
		t.Skipf("this machine lets nobody mount a tmpfs: %v", err)
	}
	tt.after = append(tt.after, func() {
		waitFor(t, "unmounting of "+dir, func() bool { return syscall.Unmount(dir, 0) == nil })
	})
}

// An agent whose transcript's disk is full waits: nothing of its output is lost,
// and /health says so; it goes on when there is room.
func TestFullTranscriptDiskMakesTheAgentWait(t *testing.T) {
	t.Parallel()
	tt := prepareTown(t, map[string]string{"TOWND_TRANSCRIPT_BYTES": fmt.Sprint(200 << 20)})
	runs := filepath.Join(tt.home, "runs")
	tt.mount(runs, "96m") // 64 MiB of them stay free
	tt.serve()
	a := tt.start(tt.request("toast", tt.mode("flood", fmt.Sprint(floodBytes), "0")...))
	tt.degraded("agent toast waits: disk full")
	if err := syscall.Mount("", runs, "", syscall.MS_REMOUNT, "size=256m"); err != nil {
		t.Fatal(err)
	}
	if a := tt.untilStatus("toast", town.StatusExited); a.Reason != town.ReasonExited {
		t.Errorf("agent is %s %s, want exited", a.Status, a.Reason)
	}
	checkSegments(t, filepath.Join(runs, a.RunID))
	if h := tt.health(); h.Status != api.HealthOK {
		t.Errorf("health is %s: %q", h.Status, h.Degraded)
	}
}

// degraded waits until /health tells why the town is degraded.
func (tt *testTown) degraded(want string) {
	tt.t.Helper()
	var h api.Health
	waitFor(tt.t, "degraded town", func() bool {
		h = tt.health()
		return h.Status == api.HealthDegraded && strings.Contains(strings.Join(h.Degraded, "; "), want)
	})
	if tt.t.Failed() {
		tt.t.Logf("health: %+v", h)
	}
}

// On a full disk a start is refused and says why, and leaves nothing; what runs
// goes on.
func TestFullHomeRefusesStarts(t *testing.T) {
	t.Parallel()
	tt := prepareTown(t, map[string]string{"TOWND_POOL_SIZE": "0"}) // what waits there comes and goes
	tt.mount(tt.home, "200m")
	tt.serve()
	tt.start(tt.request("toast", tt.mode("lines", "20")...))
	tt.start(tt.request("unlucky", tt.mode("tree")...))
	tt.ready("unlucky")
	before := tt.listing()
	filler := filepath.Join(tt.home, "filler")
	fill(t, filler)
	_, err := tt.Start(t.Context(), tt.request("next", tt.mode("sleep")...))
	if !errors.Is(err, town.ErrNoSpace) {
		t.Errorf("start on a full disk: %v; want 507", err)
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		t.Logf("%d %s", e.Status, e.Text)
	}
	if a := tt.status("toast"); a.Status != town.StatusRunning || len(tt.ofAgent("toast")) != 1 {
		t.Errorf("the running agent is %s %s", a.Status, a.Reason)
	}
	if len(tt.ofAgent("next")) > 0 {
		t.Error("the agent that was refused runs")
	}
	tt.degraded("disk full")
	if a := tt.stop("unlucky", town.StopRequest{Signal: "SIGKILL"}); a.Status != town.StatusExited || len(tt.ofAgent("unlucky")) > 0 {
		t.Errorf("stopped on a full disk: %s %s, left %v", a.Status, a.Reason, tt.ofAgent("unlucky"))
	}
	tt.restart() // also a server starts on a full disk
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if after := tt.listing(); after != before {
		t.Errorf("before the refused start there were\n%s\nand now\n%s", before, after)
	}
	waitFor(t, "healthy town", func() bool { return tt.health().Status == api.HealthOK })
	tt.start(tt.request("next", tt.mode("sleep")...))
	tt.follow("toast", func(p []byte) bool { return bytes.Contains(p, []byte("line 100\r\n")) })
}

// fill writes a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill %s: %v", path, err)
	}
}

// listing is what the town keeps of agents, runs and worktrees.
func (tt *testTown) listing() string {
	tt.t.Helper()
	var names []string
	for _, pattern := range []string{"agents/*", "runs/*", "rigs/rig/worktrees/*/*", "rigs/*", "rigs/rig/repo.git/worktrees/*", "rigs/rig/repo.git/refs/heads/polecat/*"} {
		found, err := filepath.Glob(filepath.Join(tt.home, pattern))
		if err != nil {
			tt.t.Fatal(err)
		}
		names = append(names, found...)
	}
	return strings.Join(names, "\n")
}

// A server that cannot start says why; the agents that run do not notice.
func TestServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	tt := newTown(t, nil)
	tt.start(tt.request("toast", tt.mode("lines", "20")...))
	pid := *tt.status("toast").PID
	fails := func(what string, env map[string]string, want ...string) {
		t.Helper()
		cmd := tt.command("serve")
		for name, value := range env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }) // one that serves, against all expectation
		out, err := cmd.CombinedOutput()
		late.Stop()
		t.Logf("%s: %v: %s", what, err, bytes.TrimSpace(out))
		if strings.Contains(string(out), "occurred") {
			t.Errorf("%s: it is told like a list: %s", what, out)
		}
		for _, text := range want {
			if err == nil || !strings.Contains(string(out), text) {
				t.Errorf("%s: %q is not in what it said", what, text)
			}
		}
		if p, ok := readProc(pid); !ok || p.agentID != "toast" {
			t.Errorf("%s: the agent has gone", what)
		}
	}
	fails("second server on the same home", map[string]string{"TOWND_LISTEN": freeAddress(t)}, tt.home, "runs already", "TOWND_HOME")
	other := t.TempDir()
	fails("port in use", map[string]string{"TOWND_HOME": other}, tt.address, "in use", "TOWND_LISTEN")
	if os.Getuid() == 0 {
		fails("users in use", map[string]string{"TOWND_HOME": other, "TOWND_LISTEN": freeAddress(t)}, "another town", "TOWND_UID_BASE")
	}
	tt.kill()
	taken, err := net.Listen("tcp", tt.address)
	if err != nil {
		t.Fatal(err)
	}
	fails("port in use after a crash", nil, tt.address, "in use", "TOWND_LISTEN")
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	restore := tt.pretendOtherKeeper()
	fails("keeper of another version", nil, "speaks protocol 99 and this program 1", "its agents go on")
	restore()
	tt.serve()
	if a := tt.status("toast"); a.PID == nil || *a.PID != pid || a.Status != town.StatusRunning {
		t.Errorf("after all that the agent is %s %s, pid %v; want pid %d running", a.Status, a.Reason, a.PID, pid)
	}
}

// pretendOtherKeeper puts a keeper that speaks another protocol in the place of
// the town's, which keeps its agents, until restore is called.
func (tt *testTown) pretendOtherKeeper() (restore func()) {
	tt.t.Helper()
	socket := filepath.Join(tt.home, "keeper/keeper.sock")
	if err := os.Rename(socket, socket+".real"); err != nil {
		tt.t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		tt.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Townd-Keeper-Protocol", "99")
		w.Header().Set("Townd-Keeper-Version", "v9.9.9")
		w.Header().Set("Townd-Keeper-Pid", "4242")
		w.WriteHeader(http.StatusUpgradeRequired)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	return func() {
		if err := server.Close(); err != nil {
			tt.t.Error(err)
		}
		<-served
		if err := os.Rename(socket+".real", socket); err != nil {
			tt.t.Fatal(err)
		}
	}
}
