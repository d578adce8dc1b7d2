package keeper

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"townd/supervisor/transcript"
	"townd/town"
)

// runs are the runs of a keeper. It is safe for concurrent use.
type runs struct {
	log       *slog.Logger
	rung      Rung
	freeBytes int64
	self      int // pid, to which orphans fall
	reaper    *reaper
	spawner   *spawner
	killer    *killer // nil but on RungUID
	warden    *warden
	watchers  *watchers
	emptied   func() // called when there may be no run any more

	lives sync.WaitGroup // run.live and run.firstInput of every run

	mu        sync.Mutex
	closed    bool // no more spawns
	byID      map[string]*slot
	forgotten map[string]int // id to last Seq
	order     []string       // keys of forgotten, oldest first
}

// slot is the place of a run: its newest process, or one that is being started.
type slot struct {
	run      *run          // nil until the first has started
	starting chan struct{} // closed when the start under way is over; nil when none is
	uid      uint32        // of the start under way
}

// maxForgotten bounds how many forgotten runs are known, so that a spawn repeated
// after Forget does not run twice.
const maxForgotten = 4096

// start runs a program, or returns what the same spawn has started before.
func (k *runs) start(s Spawn) (Run, error) {
	if err := s.validate(k.rung); err != nil {
		return Run{}, err
	}
	for {
		known, wait, err := k.claim(s)
		switch {
		case err != nil:
			return Run{}, err
		case known != nil:
			return known.snapshot(), nil
		case wait != nil:
			<-wait
			continue
		}
		r, err := k.launch(s)
		k.settle(s.Run, r)
		if err != nil {
			return Run{}, err
		}
		return r.snapshot(), nil
	}
}

// claim returns the run that s has started, or what to wait for, or neither:
// then the caller launches it and calls settle.
func (k *runs) claim(s Spawn) (known *run, wait <-chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	sl := k.byID[s.Run]
	if sl != nil && sl.starting != nil {
		return nil, sl.starting, nil
	}
	if sl != nil && sl.run.spawn.Seq == s.Seq {
		return sl.run, nil, nil
	}
	if err := k.refusalLocked(s, sl); err != nil {
		return nil, nil, err
	}
	if sl == nil {
		sl = &slot{}
		k.byID[s.Run] = sl
	}
	sl.starting, sl.uid = make(chan struct{}), s.UID
	return nil, nil, nil
}

// refusalLocked says why s cannot follow what is in its slot, nil for an empty one.
func (k *runs) refusalLocked(s Spawn, sl *slot) error {
	if k.closed {
		return fmt.Errorf("keeper is ending: %w", town.ErrUnavailable)
	}
	if sl == nil {
		if last, ok := k.forgotten[s.Run]; ok && s.Seq <= last {
			return fmt.Errorf("run %s is over and forgotten with seq %d: %w", s.Run, last, town.ErrConflict)
		}
		if len(k.byID) >= maxRuns {
			return &town.CapacityError{What: fmt.Sprintf("%d runs are held, the most there may be", maxRuns), RetryAfter: time.Second}
		}
	} else {
		now := sl.run.spawn.Seq
		if s.Seq != now+1 {
			return fmt.Errorf("run %s is at seq %d, %d does not follow: %w", s.Run, now, s.Seq, town.ErrConflict)
		}
		if !sl.run.isOver() {
			return fmt.Errorf("run %s still runs seq %d: %w", s.Run, now, town.ErrConflict)
		}
	}
	if s.UID == 0 {
		return nil
	}
	// Ending one run of a user would end the others.
	for id, other := range k.byID {
		if other.starting != nil && other.uid == s.UID || other.run != nil && other.run.spawn.UID == s.UID && !other.run.isOver() {
			return fmt.Errorf("user %d is used by run %s: %w", s.UID, id, town.ErrConflict)
		}
	}
	return nil
}

// settle fills the slot that claim reserved, or gives it back when r is nil.
func (k *runs) settle(id string, r *run) {
	k.mu.Lock()
	sl := k.byID[id]
	close(sl.starting)
	sl.starting = nil
	switch {
	case r != nil:
		sl.run = r
		delete(k.forgotten, id)
		k.order = slices.DeleteFunc(k.order, func(other string) bool { return other == id })
	case sl.run == nil:
		delete(k.byID, id)
	}
	k.mu.Unlock()
	if r != nil {
		k.watchers.changed(r, false)
	} else {
		k.emptied()
	}
}

// launch starts a program and the goroutines that serve it.
func (k *runs) launch(s Spawn) (*run, error) {
	first := s.Stdin
	s.Stdin = nil
	r := &run{
		log: k.log.With("run", s.Run, "seq", s.Seq), spawn: s, cols: s.Cols, rows: s.Rows,
		space: &space{dir: s.Transcript, reserve: k.freeBytes}, changed: k.watchers.changed, oomBefore: oomKills(),
		gone: make(chan struct{}), over: make(chan struct{}),
	}
	stdin, stdout, err := r.open()
	if err != nil {
		return nil, err
	}
	if s.PipeInput {
		defer func() { _ = stdin.Close() }()
	}
	if err := r.space.check(0); err != nil {
		r.discard()
		return nil, fmt.Errorf("%v: %w", err, town.ErrNoSpace)
	}
	if _, err := r.input.checkLines(first); err != nil {
		r.discard()
		return nil, err
	}
	tree := newTreePack(s.Run, k.self)
	r.hunt = &hunt{pack: tree}
	if s.UID != 0 {
		r.hunt.pack = userPack{s.UID, k.killer.signalUser}
	}
	if err := k.spawner.do(func() error {
		return k.reaper.start(
			func() (int, error) { return r.fork(stdin, stdout) },
			func(pid int) {
				r.started(pid)
				tree.lead(procKey{r.pid, r.start})
				if err := r.out.Mark(transcript.MarkStart, s.Cols, s.Rows); err != nil {
					r.log.Warn("start not marked", "error", err)
				}
			},
			func(status syscall.WaitStatus) {
				r.leaderEnded(status)
				k.warden.leaderEnded(r)
			})
	}); err != nil {
		r.discard()
		return nil, err
	}
	r.log.Info("started", "pid", r.pid, "uid", s.UID, "program", s.Argv[0])
	k.lives.Go(r.live)
	if len(first) > 0 || s.CloseStdin {
		k.lives.Go(func() { r.firstInput(first, s.CloseStdin) })
	}
	return r, nil
}

// get returns the newest process of a run.
func (k *runs) get(id string) (*run, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if sl := k.byID[id]; sl != nil && sl.run != nil {
		return sl.run, nil
	}
	return nil, fmt.Errorf("run %q: %w", id, town.ErrNotFound)
}

// list returns every run, in the order of their ids.
func (k *runs) list() []*run {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]*run, 0, len(k.byID))
	for _, sl := range k.byID {
		if sl.run != nil {
			all = append(all, sl.run)
		}
	}
	slices.SortFunc(all, func(a, b *run) int { return cmp.Compare(a.spawn.Run, b.spawn.Run) })
	return all
}

// forget drops a run that is over.
func (k *runs) forget(id string) error {
	k.mu.Lock()
	sl := k.byID[id]
	switch {
	case sl == nil || sl.run == nil && sl.starting == nil:
		k.mu.Unlock()
		return fmt.Errorf("run %q: %w", id, town.ErrNotFound)
	case sl.starting != nil || !sl.run.isOver():
		k.mu.Unlock()
		return fmt.Errorf("run %s is alive: %w", id, town.ErrConflict)
	}
	delete(k.byID, id)
	k.forgotten[id] = sl.run.spawn.Seq
	if k.order = append(k.order, id); len(k.order) > maxForgotten {
		delete(k.forgotten, k.order[0])
		k.order = slices.Delete(k.order, 0, 1)
	}
	k.mu.Unlock()
	k.emptied()
	return nil
}

// empty reports whether there is no run.
func (k *runs) empty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.byID) == 0
}

// closeIfEmpty is close when there is no run; it reports whether.
func (k *runs) closeIfEmpty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.byID) > 0 {
		return false
	}
	k.closed = true
	return true
}

// close refuses further spawns.
func (k *runs) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

// settled returns when every start that is under way now is over; after close none
// follows.
func (k *runs) settled() {
	var starts []chan struct{}
	k.mu.Lock()
	for _, sl := range k.byID {
		if sl.starting != nil {
			starts = append(starts, sl.starting)
		}
	}
	k.mu.Unlock()
	for _, start := range starts {
		<-start
	}
}

// signal sends sig to the process group of the run's leader.
func (k *runs) signal(r *run, sig syscall.Signal) error {
	pid := r.snapshot().PID
	alive, err := k.reaper.ifRunning(pid, func() error { return syscall.Kill(-pid, sig) })
	if err != nil {
		return fmt.Errorf("signal run %s: %w", r.spawn.Run, err)
	}
	if !alive {
		return fmt.Errorf("run %s has no leader any more: %w", r.spawn.Run, town.ErrConflict)
	}
	return nil
}
