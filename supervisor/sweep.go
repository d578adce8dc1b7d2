package supervisor

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"townd/gitmgr"
	"townd/town"
)

// Housekeeping says what becomes of the worktrees of agents that have ended, and how
// much of the disk repositories may take.
type Housekeeping struct {
	Every                time.Duration // between two looks, the first at once; 0 for none at all
	KeepWorktrees        time.Duration // of agents that ended less than so long ago; 0 for as long as they are known
	MinFreeBytes         int64         // with less left on the disk, what is not kept goes before its time
	QuotaBytes           int64         // of a rig that has no other in its settings; 0 for none
	CheckpointsOlderThan time.Duration // checkpoints of agents whose worktrees are gone are deleted after this; 0 never
}

// Disk is what the town's repositories take and what was collected of them. Its zero
// value is that of a town that has not looked yet.
type Disk struct {
	LookedAt    time.Time
	FreeBytes   int64
	Rigs        []gitmgr.RigUsage
	Unsaved     int   // worktrees that would have gone but hold what cannot be saved
	Removed     int64 // worktrees since this process began
	Branches    int64 // likewise, whose commits the remote has
	Checkpoints int64
	LFS         int64 // files of Git LFS that nobody needed
	Locks       int64 // of dead git processes
}

// disk is the newest Disk.
type disk struct {
	mu  sync.Mutex
	now Disk
}

func (d *disk) get() Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// add takes in what a look found and did.
func (d *disk) add(s gitmgr.Swept) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now.LookedAt, d.now.FreeBytes, d.now.Rigs, d.now.Unsaved = time.Now().UTC(), s.FreeBytes, s.Rigs, s.Unsaved
	d.now.Removed += int64(len(s.Removed))
	d.now.Branches += int64(s.Branches)
	d.now.Checkpoints += int64(s.Checkpoints)
	d.now.LFS += int64(s.LFS)
	d.now.Locks += int64(s.Locks)
}

func (d Disk) overQuota(rig string) bool {
	return slices.ContainsFunc(d.Rigs, func(u gitmgr.RigUsage) bool { return u.RigID == rig && u.OverQuota })
}

// wrong says what of it a person should see to.
func (d Disk) wrong() (all []string) {
	for _, r := range d.Rigs {
		if r.OverQuota {
			all = append(all, fmt.Sprintf("rig %s takes %d bytes of the disk, more than its quota; nothing more of it may be collected", r.RigID, r.Total()))
		}
	}
	if d.Unsaved > 0 {
		all = append(all, fmt.Sprintf("%d worktrees of agents that are gone hold work that cannot be saved; the log names them", d.Unsaved))
	}
	return all
}

// keepHouse collects what ended agents have left, at once and then on time. It ends
// with the supervisor.
func (s *Supervisor) keepHouse() {
	h := s.cfg.Housekeeping
	if h.Every <= 0 {
		return
	}
	tick := time.NewTicker(h.Every)
	defer tick.Stop()
	for {
		swept, err := s.cfg.Git.Sweep(s.ctx, gitmgr.Policy{
			Keep: s.keepsBranch, OlderThan: h.KeepWorktrees, MinFreeBytes: h.MinFreeBytes, QuotaBytes: h.QuotaBytes,
			CheckpointsOlderThan: h.CheckpointsOlderThan,
		})
		if s.ctx.Err() != nil {
			return
		}
		if err != nil {
			s.log.Error("repositories not swept", "error", err)
		}
		s.disk.add(swept)
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// keepsBranch reports whether a branch is an agent's that works there, is about to, or
// ended a short time ago.
func (s *Supervisor) keepsBranch(rig, branch string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.branches[branchKey(rig, branch)] != "" {
		return true
	}
	for _, a := range s.agents {
		if view := a.snapshot.Load(); view.RigID == rig && view.Branch == branch && s.keepsWorktree(view) {
			return true
		}
	}
	return false
}

func (s *Supervisor) keepsWorktree(view *town.Agent) bool {
	keep := s.cfg.Housekeeping.KeepWorktrees
	again := view.Restart != nil && view.Restart.NextAt != nil
	return again || keep == 0 || view.Status.Live() || view.ExitedAt == nil || time.Since(*view.ExitedAt) < keep
}
