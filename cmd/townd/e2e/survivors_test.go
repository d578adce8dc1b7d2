package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/town"
)

// How many hostile trees are stopped, so many at a time. With -short it is a
// tenth.
const (
	hostileStops = 1000
	stopsAtOnce  = 40
)

// Of a thousand hostile trees nothing is left when their stop is answered,
// counted in /proc by their users: trees of five with a session of its own, a double
// fork and one that ignores SIGTERM; a deaf one; one that forks away for ever; one
// whose program has gone and left a child. Half of them are stopped as soon as they
// are started, half when they have become what they are, every third by SIGKILL.
func TestNothingSurvivesAThousandStops(t *testing.T) {
	t.Parallel()
	needRoot(t)
	tt := newTown(t, nil)
	rounds := hostileStops / stopsAtOnce
	if testing.Short() {
		rounds /= 10
	}
	counts := make(chan int, stopsAtOnce*rounds)
	for round := range rounds {
		var wg sync.WaitGroup
		for n := range stopsAtOnce {
			wg.Go(func() { counts <- tt.stopHostile(round, n) })
		}
		wg.Wait()
		if left := tt.ofAgents(); len(left) > 0 || t.Failed() {
			t.Fatalf("round %d: left %v", round, left)
		}
	}
	close(counts)
	stopped, killed, most := len(counts), 0, 0
	for n := range counts {
		killed += n
		most = max(most, n)
	}
	t.Logf("%d stops, %d processes were there when they were asked for, at most %d in a tree, none afterwards", stopped, killed, most)
	if killed < stopped {
		t.Errorf("only %d processes were there at %d stops: nothing was proven", killed, stopped)
	}
}

// stopHostile starts one hostile tree and stops it; it returns how many processes
// it had then.
func (tt *testTown) stopHostile(round, n int) (processes int) {
	t := tt.t
	modes := []string{"tree", "deaf", "hopper", "fork"}
	id := fmt.Sprint("toast-", n)
	a, err := tt.Start(t.Context(), tt.request(id, tt.mode(modes[n%len(modes)])...))
	if err != nil {
		t.Errorf("start %s: %v", id, err)
		return 0
	}
	var st syscall.Stat_t
	if err := syscall.Stat(a.Workdir, &st); err != nil || st.Uid < tt.users {
		t.Errorf("user of %s: %d, %v", id, st.Uid, err)
		return 0
	}
	if (round+n)%2 == 0 {
		tt.ready(id)
	} else {
		time.Sleep(rand.N(20 * time.Millisecond)) // while the tree grows
	}
	grace := 0.2
	req := town.StopRequest{GraceSeconds: &grace}
	if (round+n)%3 == 0 {
		req = town.StopRequest{Signal: "SIGKILL"}
	}
	before := len(ofUser(st.Uid))
	ended, err := tt.Stop(t.Context(), id, req)
	if left := ofUser(st.Uid); len(left) > 0 || err != nil || ended.Status.Live() {
		t.Errorf("round %d: stop of %s (%s): %s %s, %v, left %v", round, id, modes[n%len(modes)], ended.Status, ended.Reason, err, left)
	}
	return before
}

// ofUser lists the processes of a user, as cheaply as can be.
func ofUser(uid uint32) (pids []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		panic(err) // there is no Linux without it
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what has ended meanwhile does not matter
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		if p, ok := statusOf(name); ok && p.uid == uid {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// The same without users of their own, where trees are found by descent and mark.
// The hopper is left out: it can outrun every look (docs/isolation.md).
func TestNothingSurvivesStopsWithoutUsers(t *testing.T) {
	t.Parallel()
	tt := newTown(t, map[string]string{"TOWND_UID_COUNT": "0"})
	grace := 0.2
	for round := range 5 {
		var wg sync.WaitGroup
		for n, mode := range []string{"tree", "deaf", "fork", "tree", "deaf", "fork", "tree", "tree"} {
			wg.Go(func() {
				id := fmt.Sprint("toast-", n)
				a, err := tt.Start(t.Context(), tt.request(id, tt.mode(mode)...))
				if err != nil {
					t.Error(err)
					return
				}
				tt.ready(id)
				_, err = tt.Stop(t.Context(), id, town.StopRequest{GraceSeconds: &grace})
				if left := ofRun(a.RunID); len(left) > 0 || err != nil {
					t.Errorf("round %d: stop of %s (%s): %v, left %v", round, id, mode, err, left)
				}
			})
		}
		wg.Wait()
	}
}
