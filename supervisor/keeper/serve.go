package keeper

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

// How long a keeper without runs and clients waits for the next client: at its
// start, and after the last one has gone.
const (
	firstLinger = 15 * time.Second
	lastLinger  = 2 * time.Second
)

const (
	defaultFreeBytes  = 64 << 20
	defaultStopBudget = 8 * time.Second
)

// spareThreads is more than a keeper was ever seen to need.
const spareThreads = 32

// keeper is one Serve.
type keeper struct {
	log    *slog.Logger
	dir    string
	budget time.Duration
	info   Info
	runs   *runs

	life *life
}

// Serve runs a keeper in c.Dir until ctx ends or, without c.Server, until its
// last run is forgotten and its last client is gone. When ctx ends it ends the
// server first, then every tree, within c.StopBudget, and returns nil. Another
// keeper in c.Dir is town.ErrConflict. Serve needs a process of its own: it reaps
// every child, catches SIGHUP and SIGINT, and makes the process a subreaper.
func Serve(ctx context.Context, c Config) error {
	log := c.Log
	if log == nil {
		log = slog.Default()
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	listener, err := listen(c.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	k, stop, err := newKeeper(c, log)
	if err != nil {
		return err
	}
	defer stop()
	return k.serve(ctx, listener, c.Server)
}

// newKeeper makes the process a keeper. The caller calls stop when no run is left.
func newKeeper(c Config, log *slog.Logger) (k *keeper, stop func(), err error) {
	rung, why := c.Rung, "as configured"
	if rung == "" {
		rung, why = chooseRung()
	}
	if rung != RungUID && rung != RungSubreaper {
		return nil, nil, fmt.Errorf("rung %q must be %q or %q: %w", rung, RungUID, RungSubreaper, town.ErrInvalid)
	}
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, nil, fmt.Errorf("become a subreaper: %w", err)
		}
	}
	if err := keepDescriptors(); err != nil {
		return nil, nil, err
	}
	done := make(chan struct{})
	spawner, err := newSpawner(done)
	if err != nil {
		return nil, nil, err
	}
	var byUser *killer
	if rung == RungUID {
		if byUser, err = newKiller(done); err != nil {
			close(done)
			return nil, nil, err
		}
	}
	stockThreads(spareThreads)
	// Caught, not ignored: what is ignored stays ignored in every program that we
	// start. The channel is never read.
	unheard := make(chan os.Signal, 1)
	signal.Notify(unheard, syscall.SIGHUP, syscall.SIGINT)
	chld := make(chan os.Signal, 1)
	signal.Notify(chld, syscall.SIGCHLD)

	k = &keeper{log: log, dir: c.Dir, budget: cmp.Or(c.StopBudget, defaultStopBudget), life: newLife()}
	k.info = Info{PID: os.Getpid(), Version: version(), Protocol: Protocol, Rung: rung, StartedAt: time.Now()}
	w := newWarden(log)
	k.runs = &runs{
		log: log, rung: rung, freeBytes: cmp.Or(c.FreeBytes, defaultFreeBytes), self: os.Getpid(),
		reaper: newReaper(w.nudge), spawner: spawner, killer: byUser, warden: w, watchers: &watchers{all: map[*watcher]struct{}{}},
		emptied: k.life.look, byID: map[string]*slot{}, forgotten: map[string]int{},
	}
	ctx, cancel := context.WithCancel(context.Background()) // ends in stop, after the last run
	var wg sync.WaitGroup
	wg.Go(func() { w.loop(ctx) })
	wg.Go(func() { k.runs.reaper.loop(chld, done) })
	log.Info("keeper started", "pid", k.info.PID, "rung", rung, "why", why)
	return k, func() {
		cancel()
		close(done)
		wg.Wait()
		signal.Stop(chld)
		signal.Stop(unheard)
	}, nil
}

// keepDescriptors makes what we were started with, beyond standard input and
// output, end here: no program of ours shall inherit it.
func keepDescriptors() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("own descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// serve answers clients until the keeper's life ends.
func (k *keeper) serve(ctx context.Context, l net.Listener, server []string) error {
	ending, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	h := &http.Server{
		Handler:           k.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(k.log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ending },
		ConnState:         k.life.connState,
	}
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	wg.Go(func() { failed <- h.Serve(l) })
	wanted, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServer()
	var serverGone chan struct{} // nil without a server
	if len(server) > 0 {
		serverGone = make(chan struct{})
		wg.Go(func() { defer close(serverGone); k.guard(wanted, server) })
	}
	over := make(chan struct{})
	wg.Go(func() { defer close(over); k.life.last(ending, k.runs, serverGone) })

	var err error
	select {
	case <-ctx.Done():
		k.log.Info("told to end")
	case <-over:
		k.log.Info("nothing left to keep")
	case err = <-failed:
		err = fmt.Errorf("keeper socket: %w", err)
	}
	k.endAll(stopServer, serverGone)
	end(fmt.Errorf("keeper ended: %w", town.ErrUnavailable))
	// What is being answered, as the last Forget, has a moment to arrive.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if h.Shutdown(last) != nil {
		_ = h.Close()
	}
	wg.Wait()
	return err
}

// endAll ends the server, then every tree in what is left of the budget, then
// whatever else has fallen to us.
func (k *keeper) endAll(stopServer func(), serverGone <-chan struct{}) {
	deadline := time.Now().Add(k.budget)
	stopServer()
	if serverGone != nil {
		<-serverGone
	}
	k.runs.close()
	k.runs.settled()
	for _, r := range k.runs.list() {
		if !r.isOver() {
			k.runs.warden.end(r, End{Signal: syscall.SIGTERM, Grace: max(0, time.Until(deadline))})
		}
	}
	k.runs.lives.Wait()
	if os.Getpid() == 1 {
		return // the kernel ends what is left of a container
	}
	rest := newTreePack("", os.Getpid())
	rest.adopt = true
	if _, err := chase(context.Background(), rest, End{Signal: syscall.SIGKILL}); err != nil {
		k.log.Warn("something is left", "error", err)
	}
}

// version is that of the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
