package container

import (
	"github.com/prometheus/client_golang/prometheus"

	"townd/supervisor"
)

// diskCollector turns what the housekeeping found and did into figures (M9). There
// are none before its first look.
type diskCollector struct{ supervisor *supervisor.Supervisor }

var (
	workspaceDesc   = prometheus.NewDesc("agent_workspace_bytes", "Bytes of disk that the worktrees of a rig take.", []string{"rig"}, nil)
	rigBytesDesc    = prometheus.NewDesc("townd_rig_bytes", "Bytes of disk that a rig takes, by part: repo, worktrees or other.", []string{"rig", "part"}, nil)
	worktreesDesc   = prometheus.NewDesc("townd_worktrees", "Worktrees of branches in a rig.", []string{"rig"}, nil)
	diskFreeDesc    = prometheus.NewDesc("townd_disk_free_bytes", "Bytes of disk that are left for repositories.", nil, nil)
	unsavedDesc     = prometheus.NewDesc("townd_worktrees_unsaved", "Worktrees of agents that are gone which hold what cannot be saved.", nil, nil)
	collectedDesc   = prometheus.NewDesc("townd_collected_total", "What was collected of agents that are gone, by kind: worktree, branch, checkpoint, lfs or lock.", []string{"kind"}, nil)
	lastCollectDesc = prometheus.NewDesc("townd_collect_timestamp_seconds", "When the repositories were looked at last.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (c diskCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{workspaceDesc, rigBytesDesc, worktreesDesc, diskFreeDesc, unsavedDesc, collectedDesc, lastCollectDesc} {
		ch <- desc
	}
}

// Collect is part of prometheus.Collector.
func (c diskCollector) Collect(ch chan<- prometheus.Metric) {
	disk := c.supervisor.Stats().Disk
	if disk.LookedAt.IsZero() {
		return
	}
	gauge := func(desc *prometheus.Desc, n float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, n, labels...)
	}
	for _, rig := range disk.Rigs {
		gauge(workspaceDesc, float64(rig.Worktrees), rig.RigID)
		gauge(worktreesDesc, float64(rig.Count), rig.RigID)
		gauge(rigBytesDesc, float64(rig.Repo), rig.RigID, "repo")
		gauge(rigBytesDesc, float64(rig.Worktrees), rig.RigID, "worktrees")
		gauge(rigBytesDesc, float64(rig.Other), rig.RigID, "other")
	}
	gauge(diskFreeDesc, float64(disk.FreeBytes))
	gauge(unsavedDesc, float64(disk.Unsaved))
	gauge(lastCollectDesc, float64(disk.LookedAt.UnixMilli())/1000)
	for kind, n := range map[string]int64{
		"worktree": disk.Removed, "branch": disk.Branches, "checkpoint": disk.Checkpoints, "lfs": disk.LFS, "lock": disk.Locks,
	} {
		ch <- prometheus.MustNewConstMetric(collectedDesc, prometheus.CounterValue, float64(n), kind)
	}
}
