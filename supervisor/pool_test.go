package supervisor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/gitmgr"
	"townd/gitmgr/gittest"
	"townd/town"
)

// newPoolTown is a town that keeps ready worktrees, with so many users for agents.
func newPoolTown(t *testing.T, size int, users uint32) (*testTown, *gittest.Remote) {
	t.Helper()
	tt := newTown(t)
	remote := gittest.New(t, gittest.Options{Files: 20})
	tt.remote, tt.config.PoolSize, tt.config.UIDCount = remote.URL(), size, users
	tt.reopen()
	return tt, remote
}

// untilReady waits until the pool of a rig has n worktrees.
func (tt *testTown) untilReady(rig string, n int) {
	tt.t.Helper()
	tt.eventually(fmt.Sprintf("%d worktrees of %s are ready", n, rig), func() bool { return tt.PoolsReady()[rig] == n })
}

// eventually polls for what is told to nobody.
func (tt *testTown) eventually(what string, ok func() bool) {
	tt.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tt.t.Fatalf("never happened: %s", what)
		}
	}
}

func (tt *testTown) prepare(rig string) {
	tt.t.Helper()
	if _, err := tt.PrepareRig(tt.t.Context(), rig, tt.remote); err != nil {
		tt.t.Fatal(err)
	}
}

// slots returns the inode of a file of each worktree in the pool of a rig, by the user that has it.
func (tt *testTown) slots(rig string) map[uint64]uint32 {
	tt.t.Helper()
	files, err := filepath.Glob(filepath.Join(tt.home, "rigs", rig, "worktrees/-pool/*/dir000/file00001.txt"))
	if err != nil {
		tt.t.Fatal(err)
	}
	found := make(map[uint64]uint32)
	for _, file := range files {
		var st syscall.Stat_t
		if err := syscall.Stat(file, &st); err == nil {
			found[st.Ino] = st.Uid
		} else if !errors.Is(err, syscall.ENOENT) { // it has just been given up
			tt.t.Fatal(err)
		}
	}
	return found
}

func (tt *testTown) stat(path string) (st syscall.Stat_t) {
	tt.t.Helper()
	if err := syscall.Stat(path, &st); err != nil {
		tt.t.Fatal(err)
	}
	return st
}

// taken fails unless the agent has one of slots, and runs as its user.
func (tt *testTown) taken(a town.Agent, slots map[uint64]uint32) {
	tt.t.Helper()
	st := tt.stat(filepath.Join(a.Workdir, "dir000/file00001.txt"))
	uid, ok := slots[st.Ino]
	if !ok {
		tt.t.Errorf("agent %s has a worktree that was made anew", a.AgentID)
	}
	if program := tt.stat(fmt.Sprintf("/proc/%d", *a.PID)); program.Uid != uid || st.Uid != uid {
		tt.t.Errorf("agent %s runs as %d in a worktree of %d, want %d", a.AgentID, program.Uid, st.Uid, uid)
	}
}

// W1, W13: a start takes a worktree that waits and runs as its user; the pool is filled
// again, and outlives the server.
func TestStartTakesAReadyWorktree(t *testing.T) {
	tt, _ := newPoolTown(t, 2, 1000)
	tt.prepare("rig")
	tt.untilReady("rig", 2)
	slots := tt.slots("rig")
	for _, id := range []string{"toast", "jam"} {
		tt.taken(tt.start(tt.request(id, "sleep")), slots)
		tt.eventually("the pool is filled again", func() bool { return tt.PoolsReady()["rig"] == 2 })
		slots = tt.slots("rig")
	}
	tt.reopen()
	tt.untilReady("rig", 2)
	if again := tt.slots("rig"); fmt.Sprint(again) != fmt.Sprint(slots) {
		t.Errorf("after a restart ready are %v, were %v", again, slots)
	}
	tt.taken(tt.start(tt.request("crumb", "sleep")), slots)
	tt.untilReady("rig", 2)
	if os.Getuid() != 0 {
		return
	}
	seen := map[uint32]string{}
	for _, a := range tt.Agents() {
		uid := tt.stat(a.Workdir).Uid
		if other, twice := seen[uid]; twice {
			t.Errorf("%s and %s both run as %d", a.AgentID, other, uid)
		}
		seen[uid] = a.AgentID
	}
	for _, uid := range tt.slots("rig") {
		if other, twice := seen[uid]; twice {
			t.Errorf("%s runs as %d, as whom a worktree waits", other, uid)
		}
	}
}

func TestPoolFollowsTheDefaultBranch(t *testing.T) {
	tt, remote := newPoolTown(t, 1, 1000)
	tt.prepare("rig")
	tt.untilReady("rig", 1)
	slots := tt.slots("rig")
	remote.Commit("main", "moved", "on")
	tt.prepare("rig")
	files := filepath.Join(tt.home, "rigs/rig/worktrees/-pool/*/moved")
	tt.eventually("the worktree has what was pushed", func() bool {
		found, err := filepath.Glob(files)
		return err == nil && len(found) == 1 && tt.PoolsReady()["rig"] == 1
	})
	tt.taken(tt.start(tt.request("toast", "sleep")), slots)
}

// The users of worktrees that wait are the agents' when there are no others left.
func TestAgentsHaveTheUsersOfThePoolWhenThereAreNoOthers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("agents have users of their own only under root")
	}
	tt, _ := newPoolTown(t, 3, 4)
	tt.prepare("other")
	tt.untilReady("other", 3)
	tt.prepare("rig")
	for i := range 4 {
		tt.start(tt.request(fmt.Sprint("agent", i), "sleep"))
	}
	tt.untilReady("other", 0)
	tt.untilReady("rig", 0)
	if left := tt.slots("other"); len(left) != 0 {
		t.Errorf("worktrees wait for users of agents: %v", left)
	}
	if _, _, err := tt.Start(t.Context(), tt.request("more", "sleep")); town.HTTPStatus(err) != 503 && town.HTTPStatus(err) != 429 {
		t.Errorf("Start() without a user: %v", err)
	}
}

// Nothing runs as the user of a worktree that waits.
func TestWaitingWorktreeIsAlone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("agents have users of their own only under root")
	}
	tt, remote := newPoolTown(t, 1, 1000)
	tt.prepare("rig")
	tt.untilReady("rig", 1)
	stray, err := os.StartProcess("/bin/sleep", []string{"sleep", "10000"}, &os.ProcAttr{
		Dir: "/", Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tt.users, Gid: tt.users}},
	})
	if err != nil {
		t.Fatal(err)
	}
	remote.Commit("main", "moved", "on")
	tt.prepare("rig")
	state, err := stray.Wait()
	if err != nil || state.Success() {
		t.Errorf("a process of the user ended as %v, %v, want it killed", state, err)
	}
	tt.untilReady("rig", 1)
}

func TestSmallerPoolIsWhatARestartLeaves(t *testing.T) {
	tt, _ := newPoolTown(t, 3, 1000)
	tt.prepare("rig")
	tt.untilReady("rig", 3)
	for _, size := range []int{1, 0} {
		tt.config.PoolSize = size
		tt.reopen()
		tt.eventually("what is too much is gone", func() bool { return len(tt.slots("rig")) == size })
	}
	if a := tt.start(tt.request("toast", "sleep")); !strings.HasSuffix(a.Workdir, a.Branch) {
		t.Errorf("agent works in %s", a.Workdir)
	}
	if len(tt.PoolsReady()) != 0 {
		t.Errorf("pools are %v, want none", tt.PoolsReady())
	}
}

// Gates run as a user that no worktree waits for, and a merge takes the pool up to what it made.
func TestMergeLeavesThePoolAlone(t *testing.T) {
	tt, remote := newPoolTown(t, 2, 3)
	remote.Commit("work", "work.txt", "work\n")
	tt.prepare("rig")
	tt.untilReady("rig", 2)
	waiting := fmt.Sprint(tt.slots("rig"))
	res, err := tt.Merge(t.Context(), gitmgr.MergeRequest{RigID: "rig", Branch: "work", Gates: []gitmgr.Gate{{Name: "who", Command: "id -u"}}})
	if err != nil || res.Status != gitmgr.MergeDone {
		t.Fatalf("Merge() = %+v, %v", res, err)
	}
	if uid := strings.TrimSpace(res.Gates[0].Output); os.Getuid() == 0 && strings.Contains(waiting, ":"+uid) {
		t.Errorf("the gate ran as user %s, whose worktree waits: %s", uid, waiting)
	}
	tt.eventually("the worktrees have what was merged", func() bool {
		found, err := filepath.Glob(filepath.Join(tt.home, "rigs/rig/worktrees/-pool/*/work.txt"))
		return err == nil && len(found) == 2
	})
}
