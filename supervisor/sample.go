package supervisor

import (
	"time"

	"townd/supervisor/keeper"
	"townd/town"
)

// sampleEvery is how often the trees are measured: one pass over /proc for all
// of them costs about 15 us a process (limits.md section 6).
const sampleEvery = 2 * time.Second

// ticksPerSecond is the unit of CPU times in /proc, fixed for user space (USER_HZ).
const ticksPerSecond = 100

// sampleTrees measures all trees as long as there are any, saves what changed,
// and has limits checked. It ends with the supervisor.
func (s *Supervisor) sampleTrees() {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	trees := treeSampler{ticks: make(map[string]uint64), run: make(map[procID]string)}
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		live := s.liveTrees()
		if len(live) == 0 {
			continue
		}
		procs, err := keeper.Scan()
		if err != nil {
			s.log.Error("processes not scanned", "error", err)
			continue
		}
		used := trees.sample(procs, live, time.Now())
		for _, tree := range live {
			tree.agent.resources.Store(new(used[tree.run]))
			tree.agent.post(func() {
				tree.agent.checkLimits()
				tree.agent.save()
			})
		}
	}
}

// tree names the processes of one agent: all of a user, or a leader's.
type tree struct {
	agent  *agent
	run    string
	uid    uint32
	leader int
}

func (s *Supervisor) liveTrees() []tree {
	var live []tree
	for _, a := range s.all() {
		view := a.snapshot.Load()
		if view.Status.Live() && view.PID != nil {
			live = append(live, tree{agent: a, run: view.RunID, uid: a.uid.Load(), leader: *view.PID})
		}
	}
	return live
}

// procID identifies a process beyond the reuse of its pid.
type procID struct {
	pid   int
	start uint64
}

// treeSampler turns scans into what each run uses. It remembers which run a
// process belonged to, for those whose parents have gone.
type treeSampler struct {
	at    time.Time
	ticks map[string]uint64 // CPU time of each run at the scan before
	run   map[procID]string
}

func (t *treeSampler) sample(procs []keeper.Proc, live []tree, now time.Time) map[string]town.Resources {
	byUID, byLeader := make(map[uint32]string), make(map[int]string)
	for _, tree := range live {
		if tree.uid != 0 {
			byUID[tree.uid] = tree.run
		} else {
			byLeader[tree.leader] = tree.run
		}
	}
	member := t.members(procs, byUID, byLeader)
	used, ticks := make(map[string]town.Resources), make(map[string]uint64)
	for _, p := range procs {
		run, ok := member[procID{p.PID, p.Start}]
		if !ok || p.State == 'Z' {
			continue
		}
		r := used[run]
		r.Processes++
		r.RSSBytes += p.RSSBytes
		used[run] = r
		ticks[run] += p.CPUTicks
	}
	if elapsed := now.Sub(t.at).Seconds(); !t.at.IsZero() && elapsed > 0 {
		for run, r := range used {
			if before, ok := t.ticks[run]; ok && ticks[run] > before { // less when a member has gone
				r.CPUPercent = float64(ticks[run]-before) / ticksPerSecond / elapsed * 100
				used[run] = r
			}
		}
	}
	t.at, t.ticks, t.run = now, ticks, member
	return used
}

// members finds the run of every process: by its user, else by its nearest
// ancestor that is a leader, else as at the scan before.
func (t *treeSampler) members(procs []keeper.Proc, byUID map[uint32]string, byLeader map[int]string) map[procID]string {
	byPID := make(map[int]keeper.Proc, len(procs))
	for _, p := range procs {
		byPID[p.PID] = p
	}
	member := make(map[procID]string)
	for _, p := range procs {
		if run, ok := byUID[p.UID]; ok {
			member[procID{p.PID, p.Start}] = run
			continue
		}
		if len(byLeader) == 0 {
			continue
		}
		for q, ok := p, true; ok && q.PID > 1; q, ok = byPID[q.PPID] {
			run, is := byLeader[q.PID]
			if !is {
				run, is = t.run[procID{q.PID, q.Start}]
			}
			if is {
				member[procID{p.PID, p.Start}] = run
				break
			}
		}
	}
	return member
}
