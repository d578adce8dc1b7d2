package supervisor_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/supervisor"
	"townd/town"
)

// eventually waits for what has no event.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func isGone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

// looked waits until the disk was looked at once more, from beginning to end.
func (tt *testTown) looked() {
	tt.t.Helper()
	for range 2 {
		before := tt.Stats().Disk.LookedAt
		eventually(tt.t, "another look at the disk", func() bool { return tt.Stats().Disk.LookedAt.After(before) })
	}
}

// W2, F11: the worktree of an ended agent goes after its time and not before, the agent
// and its output stay known, and a later start has its work again.
func TestWorktreeOfAnEndedAgentGoesAndComesBack(t *testing.T) {
	tt := newTown(t)
	tt.config.Housekeeping = supervisor.Housekeeping{Every: 20 * time.Millisecond, KeepWorktrees: 50 * time.Millisecond}
	tt.reopen()
	live := tt.start(tt.script("live", "echo ready; exec sleep 10000"))
	first := tt.start(tt.script("toast", "echo one >one.txt; git add .; git commit -qm one; echo two >two.txt; echo three >>one.txt; echo ready"))
	tt.untilStatus("toast", town.StatusExited)
	eventually(t, "the ended agent's worktree gone", func() bool { return isGone(first.Workdir) && tt.Stats().Disk.Removed > 0 })
	if a, err := tt.Agent("toast"); err != nil || a.RunID != first.RunID || !strings.Contains(string(tt.output("toast", 1<<40)), "ready") {
		t.Errorf("the agent is known as %+v, %v", a, err)
	}
	tt.looked()
	if isGone(live.Workdir) {
		t.Error("the worktree of a live agent is gone")
	}
	tt.start(tt.script("toast", "cat one.txt two.txt; git --no-pager log -1 --format=%s; git status --porcelain; echo ready; exec sleep 10000"))
	var found string
	eventually(t, "the agent ready", func() bool {
		found = strings.ReplaceAll(string(tt.output("toast", 5)), "\r", "")
		return strings.HasSuffix(found, "ready\n")
	})
	if found != "one\nthree\ntwo\none\n M one.txt\n?? two.txt\nready\n" {
		t.Errorf("the agent finds %q", found)
	}
	tt.looked()
	if isGone(first.Workdir) {
		t.Error("the worktree of an agent that runs again is gone")
	}
}

func TestWorktreesAreKeptForTheirTimeAndWithoutOneForGood(t *testing.T) {
	for _, keep := range []time.Duration{0, time.Hour} {
		tt := newTown(t)
		tt.config.Housekeeping = supervisor.Housekeeping{Every: 10 * time.Millisecond, KeepWorktrees: keep, MinFreeBytes: 1 << 60}
		tt.reopen()
		a := tt.start(tt.script("toast", "echo work >work.txt"))
		tt.untilStatus("toast", town.StatusExited)
		old := time.Now().Add(-30 * time.Minute)
		for _, path := range []string{a.Workdir, filepath.Join(tt.home, "rigs/rig/branches")} {
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
		tt.looked()
		if isGone(a.Workdir) || tt.Stats().Disk.Removed != 0 {
			t.Errorf("keeping for %s the worktree is gone", keep)
		}
		tt.shutdown()
	}
}

// Settings of rigs outlive the server, without what may be secret in them.
func TestRigSettingsAreUsedAndOutliveTheServer(t *testing.T) {
	tt := newTown(t)
	if err := tt.SetRig("rig", town.RigSettings{EnvVars: map[string]string{"KEY": "secret-4711"}, Git: town.GitSettings{Sparse: []string{"nowhere"}}}); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join(tt.home, "rig-settings.json"))
	if err != nil || strings.Contains(string(kept), "secret") {
		t.Errorf("kept are %s, %v", kept, err)
	}
	tt.reopen()
	a := tt.start(tt.script("toast", "echo ready; exec sleep 10000"))
	if !isGone(filepath.Join(a.Workdir, "dir000")) {
		t.Error("a worktree of a sparse rig holds all")
	}
	if err := tt.SetRig("rig", town.RigSettings{Git: town.GitSettings{Sparse: []string{".."}}}); !errors.Is(err, town.ErrInvalid) {
		t.Errorf("SetRig() = %v, want ErrInvalid", err)
	}
	if err := tt.SetRig("rig", town.RigSettings{}); err != nil {
		t.Fatal(err)
	}
	if a := tt.start(tt.script("all", "echo ready; exec sleep 10000")); isGone(filepath.Join(a.Workdir, "dir000")) {
		t.Error("a worktree of a rig that is sparse no more does not hold all")
	}
}
