package gitmgr

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/gitmgr/gittest"
)

var sequences = flag.Int("sequences", 8, "how many times three agents walk at random")

// walker is an agent that works, is killed, moves to another machine and goes on.
type walker struct {
	t      *testing.T
	rnd    *rand.Rand
	remote *gittest.Remote
	m      *Manager
	branch string
	dir    string
	n      int
	owed   map[string]string // file -> text that was committed or saved, and merged or not
	loose  map[string]string // written since the last checkpoint: may be lost with the machine
}

// TestNoWorkIsLostByAnySequence walks random sequences of start, work, commit, save,
// crash of git, loss of the machine, being forgotten, restore and merge, by three agents of one rig
// at once. What was committed or saved when the machine was lost is there at the end.
func TestNoWorkIsLostByAnySequence(t *testing.T) {
	for seed := range *sequences {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := gittest.New(t, gittest.Options{Files: 20})
			m := newManager(t)
			var wg sync.WaitGroup
			for a := range 3 {
				w := &walker{
					t: t, rnd: rand.New(rand.NewPCG(uint64(seed), uint64(a))), remote: r, m: m,
					branch: fmt.Sprintf("polecat/p%d/1", a), owed: map[string]string{}, loose: map[string]string{},
				}
				wg.Go(w.walk)
			}
			wg.Wait()
			sound(t, m)
			r.Git("fsck", "--full", "--strict", "--no-dangling")
		})
	}
}

func (w *walker) walk() {
	w.restore()
	for range 16 {
		if w.t.Failed() {
			return
		}
		switch w.rnd.IntN(12) {
		case 0, 1, 2:
			w.write()
		case 3:
			w.commit()
		case 4:
			w.save()
		case 5:
			w.crash(func(ctx context.Context) { _, _ = w.m.Checkpoint(ctx, "rig", w.branch, w.agent(), Owner{}) })
		case 6: // asked again, as whoever asked would
			w.commit()
			w.crash(func(ctx context.Context) { _, _ = w.m.Merge(ctx, MergeRequest{RigID: "rig", Branch: w.branch}) })
			w.merge()
		case 7:
			w.commit()
			w.merge()
		case 8, 9:
			w.lose()
		case 10:
			w.sweep(w.t.Context())
			w.restore()
		case 11:
			w.crash(w.sweep)
			w.restore()
		}
	}
	w.commit()
	w.merge()
	for file, text := range w.owed {
		if out, err := gittest.Command(w.remote.Path, "show", "main:"+file).Output(); err != nil || string(out) != text {
			w.t.Errorf("%s: %s holds %q in main, want %q: %v", w.branch, file, out, text, err)
		}
	}
}

func (w *walker) agent() string { return strings.ReplaceAll(w.branch, "/", "-") }

func (w *walker) write() {
	w.n++
	file := fmt.Sprintf("%s-%d", w.agent(), w.rnd.IntN(6))
	w.loose[file] = fmt.Sprint(w.branch, " ", w.n)
	if err := os.WriteFile(filepath.Join(w.dir, file), []byte(w.loose[file]), 0o644); err != nil {
		w.t.Error(err)
	}
}

// commit is the agent's own: it survives with the machine, or once it was saved.
func (w *walker) commit() {
	for _, args := range [][]string{{"add", "-A"}, {"commit", "--quiet", "--allow-empty", "-m", fmt.Sprint("work ", w.n)}} {
		if out, err := gittest.Command(w.dir, args...).CombinedOutput(); err != nil {
			w.t.Errorf("git %s: %s", args[0], out)
		}
	}
}

// save is what a drain does.
func (w *walker) save() {
	if _, err := w.m.Checkpoint(w.t.Context(), "rig", w.branch, w.agent(), Owner{}); err != nil {
		w.t.Error(err)
	}
	if _, err := w.m.PushCheckpoint(w.t.Context(), "rig", w.branch, w.agent()); err != nil {
		w.t.Error(err)
	}
	maps.Copy(w.owed, w.loose)
	clear(w.loose)
}

// crash kills what f runs at any moment.
func (w *walker) crash(f func(context.Context)) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	time.Sleep(time.Duration(w.rnd.IntN(30)) * time.Millisecond) // any moment, nothing is waited for
	for _, pid := range gitsBelow(filepath.Join(w.m.c.Home, "rig")) {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		for _, name := range []string{w.branch, branchID(w.branch), w.agent()} {
			if strings.Contains(string(env)+string(args), name) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	cancel()
	<-done
}

func (w *walker) merge() {
	for range 20 {
		res, err := w.m.Merge(w.t.Context(), MergeRequest{RigID: "rig", Branch: w.branch, Strategy: StrategyMerge})
		if err != nil {
			w.t.Error(err)
			return
		}
		if res.Status == MergeDone || res.Status == MergeNothing {
			w.save()
			return
		}
		if res.Status != MergeRace && res.Status != MergeNetwork {
			w.t.Errorf("%s: Merge = %+v", w.branch, res)
			return
		}
	}
	w.t.Errorf("%s: never merged", w.branch)
}

// sweep collects what the agent left, as if it had been forgotten for long.
func (w *walker) sweep(ctx context.Context) {
	p := Policy{OlderThan: 1, QuotaBytes: 1, Keep: func(_, branch string) bool { return branch != w.branch }}
	if _, err := w.m.Sweep(ctx, p); err != nil && ctx == w.t.Context() {
		w.t.Error(err)
	}
}

// lose takes the agent to a new machine, where it goes on from what was saved.
func (w *walker) lose() {
	w.m = newManager(w.t)
	clear(w.loose)
	w.restore()
}

func (w *walker) restore() {
	s := Spec{RigID: "rig", URL: w.remote.URL(), Branch: w.branch, Name: "Walker", Email: "walker@example.com"}
	res, err := w.m.Restore(w.t.Context(), s, w.agent())
	if err != nil {
		w.t.Error(err)
		return
	}
	w.dir = res.Dir
	want := maps.Clone(w.owed)
	maps.Copy(want, w.loose)
	for file, text := range want {
		if b, err := os.ReadFile(filepath.Join(w.dir, file)); err != nil || string(b) != text {
			w.t.Errorf("%s: %s holds %q after the move, want %q: %v, %+v", w.branch, file, b, text, err, res)
		}
	}
}
