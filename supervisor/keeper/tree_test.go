package keeper

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/town"
)

// testUID is a user of ours alone; each test takes its own.
const testUID = 61000

// rungs runs f on each way of ending trees.
func rungs(t *testing.T, uid uint32, f func(t *testing.T, c *Client, uid uint32)) {
	t.Run("uid", func(t *testing.T) {
		c, _ := newTestKeeper(t, RungUID)
		f(t, c, uid)
	})
	t.Run("subreaper", func(t *testing.T) {
		c, _ := newTestKeeper(t, RungSubreaper)
		f(t, c, 0)
	})
}

func spawnAs(t *testing.T, c *Client, uid uint32, argv ...string) Run {
	t.Helper()
	s := newSpawn(t, argv...)
	s.UID, s.GID = uid, uid
	return mustSpawn(t, c, s)
}

func TestEndLeavesNothingOfATreeOfAHundred(t *testing.T) {
	rungs(t, testUID, func(t *testing.T, c *Client, uid uint32) {
		r := spawnAs(t, c, uid, program("tree")...)
		waitOutput(t, c, r, "ready")
		if got := len(alive(t, r.ID, uid)); !eventually(10*time.Second, func() bool { return len(alive(t, r.ID, uid)) == 102 }) {
			t.Fatalf("the tree has %d processes, want 102", got)
		}
		began := time.Now()
		exit, err := c.End(t.Context(), r.ID, End{Grace: 200 * time.Millisecond})
		took := time.Since(began)
		if left := alive(t, r.ID, uid); err != nil || len(left) > 0 {
			t.Fatalf("End() = %+v, %v; left: %v", exit, err, left)
		}
		if !exit.Asked || !exit.Escalated || exit.Signal == "" || len(exit.Survivors) > 0 {
			t.Errorf("exit = %+v, want asked, escalated, ended by a signal", exit)
		}
		if took > 200*time.Millisecond+500*time.Millisecond {
			t.Errorf("End took %v", took)
		}
	})
}

func TestEndIsGentleWithATreeThatListens(t *testing.T) {
	rungs(t, testUID+1, func(t *testing.T, c *Client, uid uint32) {
		r := spawnAs(t, c, uid, program("rest")...)
		waitOutput(t, c, r, "ready")
		exit, err := c.End(t.Context(), r.ID, End{Grace: time.Minute})
		if err != nil || exit.Escalated || exit.Signal != "SIGTERM" || exit.Code != 143 {
			t.Errorf("End() = %+v, %v, want SIGTERM, 143, not escalated", exit, err)
		}
	})
}

func TestWhatForksAwayForEverIsCaughtByItsUser(t *testing.T) {
	c, _ := newTestKeeper(t, RungUID)
	for i := range uint32(20) {
		uid := testUID + 100 + i
		r := spawnAs(t, c, uid, program("hopper")...)
		waitOutput(t, c, r, "ready")
		exit, err := c.End(t.Context(), r.ID, End{Signal: syscall.SIGKILL})
		if err != nil || len(exit.Survivors) > 0 {
			t.Fatalf("End() = %+v, %v", exit, err)
		}
		if left := alive(t, r.ID, uid); len(left) > 0 {
			t.Fatalf("left of stop %d: %v", i, left)
		}
	}
}

func TestALeaderThatEndsTakesTheDeafOnesAlong(t *testing.T) {
	rungs(t, testUID+2, func(t *testing.T, c *Client, uid uint32) {
		r := spawnAs(t, c, uid, program("leave-deaf")...)
		exit := waitExit(t, c, r.ID)
		if left := alive(t, r.ID, uid); len(left) > 0 || exit.Code != 0 || exit.Asked || !exit.Escalated {
			t.Errorf("exit = %+v, left %v, want code 0, escalated, nobody left", exit, left)
		}
	})
}

func TestALeakedChildThatHoldsTheTerminalHoldsNoOneUp(t *testing.T) {
	rungs(t, testUID+3, func(t *testing.T, c *Client, uid uint32) {
		r := spawnAs(t, c, uid, program("leave-holder")...)
		exit := waitExit(t, c, r.ID)
		if left := alive(t, r.ID, uid); len(left) > 0 || exit.Code != 0 {
			t.Errorf("exit = %+v, left %v", exit, left)
		}
	})
}

func TestEndsOfOneRunJoinAndTheShortestGraceHolds(t *testing.T) {
	rungs(t, testUID+4, func(t *testing.T, c *Client, uid uint32) {
		r := spawnAs(t, c, uid, program("deaf")...)
		waitOutput(t, c, r, "ready")
		var wg sync.WaitGroup
		for _, e := range []End{{Grace: time.Hour}, {Grace: 30 * time.Minute}, {Grace: 100 * time.Millisecond}} {
			wg.Go(func() {
				if exit, err := c.End(t.Context(), r.ID, e); err != nil || !exit.Escalated || exit.Signal != "SIGKILL" {
					t.Errorf("End(%v) = %+v, %v", e, exit, err)
				}
			})
		}
		wg.Wait()
		again, err := c.End(t.Context(), r.ID, End{})
		if err != nil || !again.Escalated {
			t.Errorf("End() of an ended run = %+v, %v, want its exit", again, err)
		}
	})
}

func TestAHundredEndsShareTheirScans(t *testing.T) {
	rungs(t, testUID+200, func(t *testing.T, c *Client, uid uint32) {
		var all []Run
		for i := range uint32(100) {
			user := uint32(0)
			if uid != 0 {
				user = uid + i
			}
			all = append(all, spawnAs(t, c, user, "/bin/sh", "-c", "trap '' TERM; sleep 1000 & setsid sleep 1000 & (setsid sleep 1000 &) ; echo ready; sleep 1000"))
		}
		for _, r := range all {
			waitOutput(t, c, r, "ready")
		}
		began := time.Now()
		var wg sync.WaitGroup
		for _, r := range all {
			wg.Go(func() {
				if exit, err := c.End(t.Context(), r.ID, End{Grace: 300 * time.Millisecond}); err != nil || len(exit.Survivors) > 0 {
					t.Errorf("End() = %+v, %v", exit, err)
				}
			})
		}
		wg.Wait()
		t.Logf("100 ends took %v with a grace of 300 ms", time.Since(began))
		for _, r := range all {
			if left := alive(t, r.ID, r.UID); len(left) > 0 {
				t.Fatalf("left: %v", left)
			}
		}
	})
}

func TestOneUsersEndLeavesTheOthersAlone(t *testing.T) {
	c, _ := newTestKeeper(t, RungUID)
	a := spawnAs(t, c, testUID+5, program("rest")...)
	b := spawnAs(t, c, testUID+6, program("rest")...)
	if _, err := c.Spawn(t.Context(), func() Spawn { s := newSpawn(t, program("rest")...); s.UID, s.GID = testUID+5, testUID+5; return s }()); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Spawn() as a user in use = %v, want conflict", err)
	}
	waitOutput(t, c, b, "ready")
	if _, err := c.End(t.Context(), a.ID, End{Signal: syscall.SIGKILL}); err != nil {
		t.Fatal(err)
	}
	if !exists(b.PID) {
		t.Error("the other user's program has ended, too")
	}
	if _, err := c.Info(t.Context()); err != nil {
		t.Errorf("Info() = %v after an end by user", err)
	}
}

func TestAnAgentCannotTouchTheThreadThatEndsIt(t *testing.T) {
	c, _ := newTestKeeper(t, RungUID)
	var wg sync.WaitGroup
	for i := range uint32(4) {
		wg.Go(func() {
			r := spawnAs(t, c, testUID+40+i, program("attack")...)
			waitOutput(t, c, r, "ready")
			exit, err := c.End(t.Context(), r.ID, End{Grace: 500 * time.Millisecond})
			if got := output(t, r.Transcript); err != nil || exit.Signal != "SIGKILL" || string(got) != "ready\n" {
				t.Errorf("End() = %+v, %v; the attacker says %.300q", exit, err, got)
			}
		})
	}
	wg.Wait()
}

func TestKeeperKilledThenSweepLeavesNothing(t *testing.T) {
	rungs(t, testUID+7, func(t *testing.T, c *Client, uid uint32) {
		r := spawnAs(t, c, uid, program("tree")...)
		waitOutput(t, c, r, "ready")
		info, err := c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(info.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if !eventually(10*time.Second, func() bool { return !exists(info.PID) }) {
			t.Fatal("keeper is still there")
		}
		if len(alive(t, r.ID, uid)) == 0 {
			t.Fatal("nothing outlived the keeper: this test shows nothing")
		}
		m := Match{UID: uid}
		if uid == 0 {
			m = Match{Marker: r.ID}
		}
		n, err := Sweep(t.Context(), m, 100*time.Millisecond)
		if left := alive(t, r.ID, uid); err != nil || n == 0 || len(left) > 0 {
			t.Errorf("Sweep() = %d, %v; left %v", n, err, left)
		}
		if n, err := Sweep(t.Context(), m, 0); n != 0 || err != nil {
			t.Errorf("second Sweep() = %d, %v, want nothing", n, err)
		}
	})
}

func TestSweepRefusesWhatWouldHitOthers(t *testing.T) {
	for _, m := range []Match{{}, {UID: 1, Marker: "x"}, {UID: GuardUID}, {Marker: "../x"}, {UID: uint32(os.Getuid())}} {
		if _, err := Sweep(t.Context(), m, 0); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("Sweep(%+v) = %v, want invalid", m, err)
		}
	}
}

func TestScanSeesUsProcessByProcess(t *testing.T) {
	procs, err := Scan()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(procs, func(p Proc) bool { return p.PID == os.Getpid() })
	if i < 0 {
		t.Fatal("Scan() does not see its own process")
	}
	p := procs[i]
	if p.PPID != os.Getppid() || p.UID != uint32(os.Getuid()) || p.RSSBytes < 1<<20 || !p.Alive() || p.Start == 0 || p.Threads < 2 {
		t.Errorf("Scan() shows us as %+v", p)
	}
	if now := ticksSinceBoot(); p.Start > now || now-p.Start > 100*3600 {
		t.Errorf("started at tick %d, now is %d", p.Start, now)
	}
}

func TestAProcessWhoseFirstThreadEndedIsAlive(t *testing.T) {
	for _, tc := range []struct {
		p    Proc
		want bool
	}{
		{Proc{State: 'Z', Threads: 1}, false}, {Proc{State: 'Z', Threads: 2}, true}, {Proc{State: 'X', Threads: 0}, false}, {Proc{State: 'T', Threads: 1}, true},
	} {
		if got := tc.p.Alive(); got != tc.want {
			t.Errorf("Alive(%+v) = %v", tc.p, got)
		}
	}
}

func TestEndGoesOnWhenItsCallerGivesUp(t *testing.T) {
	c, _ := newTestKeeper(t, RungSubreaper)
	r := spawnAs(t, c, 0, program("deaf")...)
	waitOutput(t, c, r, "ready")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.End(ctx, r.ID, End{Grace: 500 * time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("End() = %v, want the caller's deadline", err)
	}
	if exit := waitExit(t, c, r.ID); !exit.Asked || !exit.Escalated {
		t.Errorf("exit = %+v, want asked and escalated", exit)
	}
}
