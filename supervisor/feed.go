package supervisor

import (
	"context"
	"sync"
	"time"

	"townd/supervisor/keeper"
)

// Feed tells how far a run's transcript has been written, so that any number of
// readers can wait for more without anything being queued for them. Safe for
// concurrent use.
type Feed struct {
	mu         sync.Mutex
	size       int64
	cols, rows uint16
	exit       *keeper.Exit // of the newest process that ended, whose Spawn.Seq is exitSeq
	exitSeq    int
	ended      bool
	activity   time.Time
	changed    chan struct{} // closed and replaced at each change, nil while nobody waits
}

func newFeed(cols, rows uint16) *Feed {
	return &Feed{cols: cols, rows: rows}
}

// Size returns the transcript's size in bytes and whether the run has ended.
func (f *Feed) Size() (size int64, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size, f.ended
}

// Terminal returns the size of the run's terminal now.
func (f *Feed) Terminal() (cols, rows uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cols, f.rows
}

// Wait returns as soon as the transcript is larger than after bytes or the run
// has ended, else ctx's error.
func (f *Feed) Wait(ctx context.Context, after int64) (size int64, ended bool, err error) {
	err = f.await(ctx, func() bool {
		size, ended = f.size, f.ended
		return size > after || ended
	})
	return size, ended, err
}

// waitProcess is Wait for the process seq of the run: exit is non-nil once that
// process has ended and its last byte is in the transcript.
func (f *Feed) waitProcess(ctx context.Context, seq int, after int64) (size int64, exit *keeper.Exit, err error) {
	err = f.await(ctx, func() bool {
		size = f.size
		if f.exitSeq >= seq {
			exit = f.exit
		}
		return size > after || exit != nil
	})
	return size, exit, err
}

// await blocks until ready, called under the lock, is true.
func (f *Feed) await(ctx context.Context, ready func() bool) error {
	f.mu.Lock()
	for !ready() {
		if f.changed == nil {
			f.changed = make(chan struct{})
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		f.mu.Lock()
	}
	f.mu.Unlock()
	return nil
}

// update records what the keeper told about the run.
func (f *Feed) update(size int64, seq int, exit *keeper.Exit, now time.Time) {
	f.change(func() {
		if size > f.size {
			f.size, f.activity = size, now
		}
		if exit != nil {
			f.exit, f.exitSeq = exit, seq
		}
	})
}

func (f *Feed) resize(cols, rows uint16) { f.change(func() { f.cols, f.rows = cols, rows }) }

func (f *Feed) touch(now time.Time) { f.change(func() { f.activity = now }) }

// end marks the run as over: no process of it lives and none will follow.
func (f *Feed) end() { f.change(func() { f.ended = true }) }

func (f *Feed) lastActivity() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.activity
}

func (f *Feed) change(set func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	set()
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}
