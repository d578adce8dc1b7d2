package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"townd/supervisor/transcript"
	"townd/town"
)

// drainTime bounds how long output is read after the tree is gone: somebody else
// may hold the terminal open.
const drainTime = 2 * time.Second

// run is one process of a run, from its spawn until it is forgotten.
type run struct {
	log     *slog.Logger
	spawn   Spawn // without Stdin
	term    *terminal
	input   *input
	out     *transcript.Writer
	space   *space
	hunt    *hunt // guarded by the warden
	changed func(r *run, urgent bool)
	size    atomic.Int64

	gone chan struct{} // closed when the tree is gone
	over chan struct{} // closed when the exit is final

	spoke   bool // has printed; live's own
	waiting bool // for the disk; live's own

	mu         sync.Mutex
	pid        int
	start      uint64
	spawned    time.Time
	cols, rows uint16
	oomBefore  int64
	ended      *syscall.WaitStatus // of the leader
	ending     bool
	asked      bool
	escalated  bool
	survivors  []int
	drain      time.Time // until when output is read; set with gone
	stalled    string
	exit       *Exit
}

// snapshot returns the run as clients see it.
func (r *run) snapshot() Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Run{
		ID: r.spawn.Run, Seq: r.spawn.Seq, PID: r.pid, Start: r.start, Transcript: r.spawn.Transcript, Size: r.size.Load(),
		Cols: r.cols, Rows: r.rows, Raw: r.spawn.Raw, PipeInput: r.spawn.PipeInput, UID: r.spawn.UID, SpawnedAt: r.spawned,
		Note: r.spawn.Note, Ending: r.ending, Exit: r.exit, Stalled: r.stalled,
	}
}

// update returns the run as a watch tells it.
func (r *run) update() Update {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Update{Run: r.spawn.Run, Seq: r.spawn.Seq, Size: r.size.Load(), Exit: r.exit, Stalled: r.stalled}
}

func (r *run) isOver() bool {
	select {
	case <-r.over:
		return true
	default:
		return false
	}
}

// started is called by the reaper between the fork and the first reaping.
func (r *run) started(pid int) {
	start, err := startTime(pid)
	if err != nil {
		r.log.Error("no start time", "pid", pid, "error", err) // an unreaped child always has one
	}
	r.mu.Lock()
	r.pid, r.start, r.spawned = pid, start, time.Now()
	r.mu.Unlock()
}

// leaderEnded is called by the reaper.
func (r *run) leaderEnded(status syscall.WaitStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended, r.ending = &status, true
}

func (r *run) reaped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended != nil
}

// noteAsked is called by the warden when End is called.
func (r *run) noteAsked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = true
	if r.ended == nil {
		r.asked = true
	}
}

// treeGone is called by the warden, once: what is left to do is to drain.
func (r *run) treeGone(escalated bool, survivors []int) {
	r.mu.Lock()
	r.escalated, r.survivors = escalated, survivors
	r.drain = time.Now().Add(drainTime)
	r.mu.Unlock()
	// Our own descriptor was what kept reads from ending.
	_ = r.term.slave.Close()
	_ = r.term.SetReadDeadline(r.drain)
	close(r.gone)
}

// live copies output to the transcript until the tree is gone and its terminal
// drained, and then makes the exit final.
func (r *run) live() {
	out, err := r.term.newOutputReader()
	for err == nil {
		var p []byte
		p, err = out.read()
		if len(p) > 0 {
			r.store(p)
		}
	}
	<-r.gone
	r.finish()
}

// store writes all of p, however long the disk takes to have room for it.
func (r *run) store(p []byte) {
	for len(p) > 0 {
		draining := isClosed(r.gone)
		if err := r.space.check(len(p)); err != nil && !draining {
			r.stall(err.Error())
			continue
		}
		n, err := r.out.Write(p)
		p = p[n:]
		if n > 0 {
			r.size.Add(int64(n))
			r.changed(r, !r.spoke)
			r.spoke = true
		}
		switch {
		case err == nil:
			if r.waiting {
				r.waiting = false
				r.setStalled("")
			}
		case draining && time.Now().After(r.drainUntil()):
			r.setStalled(fmt.Sprintf("the last %d bytes read are lost: %v", len(p), err))
			r.log.Error("output lost", "bytes", len(p), "error", err)
			return
		default:
			r.stall(err.Error())
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// retryAfter is how often a full disk is tried again.
const retryAfter = 500 * time.Millisecond

// stall shows why output is not read and waits until it is worth trying again.
func (r *run) stall(why string) {
	r.waiting = true
	r.setStalled(why)
	gone := r.gone
	wait := retryAfter
	if isClosed(r.gone) {
		gone, wait = nil, retryAfter/5
	}
	select {
	case <-gone:
	case <-time.After(wait):
	}
}

func (r *run) setStalled(why string) {
	r.mu.Lock()
	changed := r.stalled != why
	first := r.stalled == ""
	r.stalled = why
	r.mu.Unlock()
	if !changed {
		return
	}
	if why == "" {
		r.log.Info("output goes on")
	} else if first {
		r.log.Warn("output stalled", "reason", why)
	}
	r.changed(r, true)
}

func (r *run) drainUntil() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drain
}

// finish closes what the run had open and publishes its exit.
func (r *run) finish() {
	r.input.close()
	_ = r.term.Close()
	r.mu.Lock()
	exit := r.exitLocked()
	cols, rows := r.cols, r.rows
	r.mu.Unlock()
	if err := errors.Join(r.out.Mark(transcript.MarkExit, cols, rows), r.out.Close()); err != nil {
		r.log.Warn("transcript not closed in order", "error", err)
	}
	r.mu.Lock()
	r.exit = exit
	r.mu.Unlock()
	r.log.Info("ended", "code", exit.Code, "signal", exit.Signal, "asked", exit.Asked, "escalated", exit.Escalated,
		"oom", exit.OOM, "survivors", exit.Survivors, "bytes", exit.Size)
	close(r.over)
	r.changed(r, true)
}

func (r *run) exitLocked() *Exit {
	e := &Exit{Code: -1, Asked: r.asked, Escalated: r.escalated, Survivors: r.survivors, At: time.Now(), Size: r.size.Load()}
	if r.ended == nil {
		return e // the leader is one of the survivors
	}
	e.Code = r.ended.ExitStatus()
	if r.ended.Signaled() {
		e.Signal = signalName(r.ended.Signal())
		e.Code = 128 + int(r.ended.Signal())
		e.OOM = r.ended.Signal() == syscall.SIGKILL && !r.asked && oomKills() > r.oomBefore
	}
	return e
}

// resize sizes the terminal and marks it.
func (r *run) resize(cols, rows uint16) error {
	if r.isOver() {
		return fmt.Errorf("run %s has ended: %w", r.spawn.Run, town.ErrConflict)
	}
	if err := r.term.resize(cols, rows); err != nil {
		return fmt.Errorf("resize run %s: %v: %w", r.spawn.Run, err, town.ErrConflict)
	}
	r.mu.Lock()
	r.cols, r.rows = cols, rows
	r.mu.Unlock()
	if err := r.out.Mark(transcript.MarkResize, cols, rows); err != nil {
		r.log.Warn("resize not marked", "error", err) // the terminal has its size; only a replay will not
	}
	return nil
}

// firstInput writes what Spawn brought along. It ends with the run.
func (r *run) firstInput(p []byte, thenClose bool) {
	ctx := context.Background() // the run's end closes the input under a pending write
	if len(p) > 0 {
		if err := r.input.write(ctx, "", p); err != nil {
			r.log.Warn("first input not written", "error", err)
		}
	}
	if thenClose {
		if err := r.input.finish(ctx); err != nil {
			r.log.Warn("input not closed", "error", err)
		}
	}
}
