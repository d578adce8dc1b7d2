package keeper

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// table is one scan of /proc, indexed for finding trees.
type table struct {
	at       time.Time // when the scan began
	procs    []Proc
	byPID    map[int]Proc
	children map[int][]int
	markers  map[int]string // of processes asked about
}

func newTable(what scanWhat) (*table, error) {
	t := &table{at: time.Now(), markers: map[int]string{}}
	var err error
	if t.procs, err = scan(what); err != nil {
		return nil, err
	}
	if what&scanStat == 0 {
		return t, nil
	}
	t.byPID = make(map[int]Proc, len(t.procs))
	t.children = make(map[int][]int, len(t.procs))
	for _, p := range t.procs {
		t.byPID[p.PID] = p
		t.children[p.PPID] = append(t.children[p.PPID], p.PID)
	}
	return t, nil
}

func (t *table) marker(pid int) string {
	m, ok := t.markers[pid]
	if !ok {
		m = marker(pid)
		t.markers[pid] = m
	}
	return m
}

// pack is the processes of one run, found and signalled by one of two ways. It is
// used by one goroutine at a time.
type pack interface {
	// needs says what a scan must read for find.
	needs() scanWhat
	// find returns the processes that are alive.
	find(t *table) []Proc
	// signal sends each signal to all; found is what find returned last.
	signal(found []Proc, signals ...syscall.Signal) error
	// late returns those of found that a first signal to all, sent before, has
	// missed though they had started by then (in clock ticks since boot).
	late(found []Proc, asked uint64) []Proc
	// patience is how long after an empty scan the one that proves it may wait.
	patience() time.Duration
	// proven reports whether an empty find of a scan that began at one time
	// proves, after SIGKILL was sent at another, that nothing is left or can come.
	proven(killed, firstEmpty, scanned time.Time) bool
}

// userPack is every process of an agent's own user.
type userPack struct {
	uid  uint32
	send func(uid uint32, signals ...syscall.Signal) error
}

func (u userPack) needs() scanWhat { return scanUsers }

func (u userPack) find(t *table) []Proc {
	var found []Proc
	for _, p := range t.procs {
		if p.owned(u.uid) && p.Alive() {
			found = append(found, p)
		}
	}
	return found
}

func (u userPack) signal(_ []Proc, signals ...syscall.Signal) error {
	return u.send(u.uid, signals...)
}

func (u userPack) late([]Proc, uint64) []Proc { return nil }
func (u userPack) patience() time.Duration    { return 0 }

// After SIGKILL to all at once nothing can fork any more: one later look is enough.
func (u userPack) proven(killed, _, scanned time.Time) bool {
	return !killed.IsZero() && scanned.After(killed)
}

// treePack is a leader, its descendants, and the orphans among them that a
// subreaper has inherited. It remembers who belonged to it: a parent's death
// does not free its children.
type treePack struct {
	run     string
	leader  procKey
	reaper  int              // the process that inherits orphans; 0 when any process with the marker belongs
	adopt   bool             // every orphan belongs
	members map[int]uint64   // pid to start time
	told    map[procKey]bool // who was sent a signal
}

// confirmAfter lies between two scans that must both be empty.
const confirmAfter = 50 * time.Millisecond

func newTreePack(run string, reaper int) *treePack {
	return &treePack{run: run, reaper: reaper, members: map[int]uint64{}, told: map[procKey]bool{}}
}

// lead makes a process the leader: it and what descends from it belong.
func (g *treePack) lead(leader procKey) {
	g.leader, g.members[leader.pid] = leader, leader.start
}

func (g *treePack) needs() scanWhat { return scanStat }

func (g *treePack) find(t *table) []Proc {
	now := make(map[int]uint64, len(g.members))
	var queue []int
	add := func(pid int) {
		p, ok := t.byPID[pid]
		if _, known := now[pid]; ok && !known {
			now[pid] = p.Start
			queue = append(queue, pid)
		}
	}
	for pid, start := range g.members {
		if t.byPID[pid].Start == start {
			add(pid)
		}
	}
	for _, pid := range g.strays(t) {
		add(pid)
	}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		for _, child := range t.children[next] {
			add(child)
		}
	}
	g.members = now
	var found []Proc
	for pid := range now {
		if p := t.byPID[pid]; p.Alive() {
			found = append(found, p)
		}
	}
	return found
}

// strays returns processes that belong to the run but hang from none of its members.
func (g *treePack) strays(t *table) []int {
	var strays []int
	if g.reaper == 0 {
		for _, p := range t.procs {
			if p.Alive() && p.PID != os.Getpid() && t.marker(p.PID) == g.run {
				strays = append(strays, p.PID)
			}
		}
		return strays
	}
	// The number of a session is not given to another process while one of the
	// session lives; if it was given since, a process of that pid and another
	// start time exists.
	leader, exists := t.byPID[g.leader.pid]
	session := !exists || leader.Start == g.leader.start
	for _, pid := range t.children[g.reaper] {
		p := t.byPID[pid]
		if p.Alive() && (g.adopt || session && p.SID == g.leader.pid || t.marker(pid) == g.run) {
			strays = append(strays, pid)
		}
	}
	return strays
}

func (g *treePack) signal(found []Proc, signals ...syscall.Signal) error {
	var errs []error
	for _, p := range found {
		g.told[p.key()] = true
		if err := signalProcess(p.key(), signals...); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (g *treePack) late(found []Proc, asked uint64) []Proc {
	var late []Proc
	for _, p := range found {
		if p.Start <= asked && !g.told[p.key()] {
			late = append(late, p)
		}
	}
	return late
}

func (g *treePack) patience() time.Duration { return confirmAfter }

// A walk compares snapshots, and a process may be born between: it takes two
// empty ones some time apart.
func (g *treePack) proven(_, firstEmpty, scanned time.Time) bool {
	return !firstEmpty.IsZero() && scanned.Sub(firstEmpty) >= confirmAfter
}
