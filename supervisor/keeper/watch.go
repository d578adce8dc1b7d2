package keeper

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// watchGap is the least time between two rounds of records to one watcher.
const watchGap = 2 * time.Millisecond

// watchers tell clients what has changed. Each keeps the set of runs that it has
// not told about: a slow one costs no more than that and holds up nobody. It is
// safe for concurrent use.
type watchers struct {
	mu  sync.Mutex
	all map[*watcher]struct{}
}

type watcher struct {
	wake  chan struct{} // holds 1
	hurry chan struct{} // holds 1; cuts watchGap short

	mu    sync.Mutex
	dirty map[*run]struct{}
}

// add returns a new watcher, nil when there are too many; the caller removes it.
func (ws *watchers) add() *watcher {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.all) >= maxWatchers {
		return nil
	}
	w := &watcher{wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), dirty: map[*run]struct{}{}}
	ws.all[w] = struct{}{}
	return w
}

func (ws *watchers) remove(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.all, w)
}

// changed notes that a run has something new to tell, urgent or as soon as the
// watcher's gap allows.
func (ws *watchers) changed(r *run, urgent bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		w.changed(r, urgent)
	}
}

func (w *watcher) changed(r *run, urgent bool) {
	w.mu.Lock()
	w.dirty[r] = struct{}{}
	w.mu.Unlock()
	raise(w.wake)
	if urgent {
		raise(w.hurry)
	}
}

// raise makes a channel that holds 1 ready.
func raise(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take empties the set of runs to tell about; those of one id are in order.
func (w *watcher) take() []*run {
	w.mu.Lock()
	taken := slices.Collect(maps.Keys(w.dirty))
	clear(w.dirty)
	w.mu.Unlock()
	slices.SortFunc(taken, func(a, b *run) int { return a.spawn.Seq - b.spawn.Seq })
	return taken
}

// tell writes a line for each run that changed, the first at once and then at
// most every watchGap, until ctx ends or out fails.
func (w *watcher) tell(ctx context.Context, out io.Writer, flush func() error) {
	enc := json.NewEncoder(out)
	for {
		for _, r := range w.take() {
			if err := enc.Encode(r.update()); err != nil {
				return
			}
		}
		if flush() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-w.hurry:
		case <-time.After(watchGap):
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
	}
}
