package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"townd/supervisor"
)

// houseSettings are what people say of the disk.
type houseSettings struct{ supervisor.Housekeeping }

func (h *houseSettings) settings() []setting {
	return []setting{
		{"sweep-seconds", "TOWND_SWEEP_SECONDS", "time between two looks for what ended agents have left; 0 never looks", duration(&h.Every, time.Second, 10*time.Minute)},
		{"workspace-cleanup-ttl-ms", "WORKSPACE_CLEANUP_TTL_MS", "time for which the worktree of an ended agent is kept; its work is saved before it goes; 0 keeps it as long as the agent is known", duration(&h.KeepWorktrees, time.Millisecond, time.Hour)},
		{"min-free-bytes", "TOWND_MIN_FREE_BYTES", "disk that is left free: with less, what may be collected goes before its time", whole(&h.MinFreeBytes, 1<<30)},
		{"rig-quota-bytes", "TOWND_RIG_QUOTA_BYTES", "disk that a rig may take whose settings say nothing of it; 0 for any", whole(&h.QuotaBytes, 0)},
		{"checkpoints-days", "TOWND_CHECKPOINTS_DAYS", "age at which checkpoints are deleted of agents whose worktrees are collected; 0 never", duration(&h.CheckpointsOlderThan, 24*time.Hour, 30*24*time.Hour)},
	}
}

// notDisks are file systems whose content ends with the machine or the container.
var notDisks = map[int64]string{
	unix.TMPFS_MAGIC:           "tmpfs, in memory",
	unix.RAMFS_MAGIC:           "ramfs, in memory",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay, part of the container",
}

// homeWarning says why what is kept in home may not last, "" for a real disk.
func homeWarning(home string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(home, &st); err != nil {
		return "", fmt.Errorf("look at the disk of %s: %w", home, err)
	}
	return diskWarning(home, st.Type), nil
}

func diskWarning(home string, kind int64) string {
	what, ok := notDisks[kind]
	if !ok {
		return ""
	}
	return fmt.Sprintf("the town's home %s is on a file system that does not outlive this container (%s): put a volume there, or set TOWND_PUSH_CHECKPOINTS", home, what)
}
