package container

import (
	"slices"
	"sync"
)

// writerQueues decides who types: of an agent's viewers in mode write the first,
// until it leaves. The zero value is ready for use. Safe for concurrent use.
type writerQueues struct {
	mu     sync.Mutex
	queues map[string][]*turn // by agent; the first of each types
}

// turn is a viewer's place in an agent's queue. granted is closed when it is
// that viewer's turn to type.
type turn struct{ granted chan struct{} }

// mine reports whether the turn has come.
func (t *turn) mine() bool {
	select {
	case <-t.granted:
		return true
	default:
		return false
	}
}

// join queues for the agent's terminal. The caller must leave.
func (w *writerQueues) join(agent string) *turn {
	t := &turn{granted: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queues == nil {
		w.queues = make(map[string][]*turn)
	}
	if len(w.queues[agent]) == 0 {
		close(t.granted)
	}
	w.queues[agent] = append(w.queues[agent], t)
	return t
}

// leave gives the turn up, to the next if it was this one's.
func (w *writerQueues) leave(agent string, t *turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := slices.DeleteFunc(w.queues[agent], func(other *turn) bool { return other == t })
	if len(queue) == 0 {
		delete(w.queues, agent)
		return
	}
	w.queues[agent] = queue
	if !queue[0].mine() {
		close(queue[0].granted)
	}
}
