package keeper

import (
	"context"
	"os"
	"syscall"
	"time"
)

// A server that dies is started again at once, then after 1 s, doubling to 30 s;
// a minute of life makes it good again.
const (
	firstRestart = time.Second
	lastRestart  = 30 * time.Second
	goodAfter    = time.Minute
)

// guard runs the server and runs it again whenever it dies, until ctx ends or
// the keeper is told to shut down. When ctx ends the server gets SIGTERM, and
// SIGKILL after the stop budget; guard returns when it is gone.
func (k *keeper) guard(ctx context.Context, argv []string) {
	var wait time.Duration
	for ctx.Err() == nil {
		began := time.Now()
		k.serveOnce(ctx, argv)
		if _, _, shutdown := k.life.state(); shutdown || ctx.Err() != nil {
			return
		}
		if time.Since(began) >= goodAfter {
			wait = 0
		}
		k.log.Warn("server died", "after", time.Since(began).String(), "restart_in", wait.String())
		pause(ctx, wait)
		wait = min(max(firstRestart, 2*wait), lastRestart)
	}
}

// serveOnce runs the server until it has ended.
func (k *keeper) serveOnce(ctx context.Context, argv []string) {
	var pid int
	ended := make(chan syscall.WaitStatus, 1)
	err := k.runs.reaper.start(
		func() (int, error) {
			return syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
		},
		func(child int) { pid = child },
		func(status syscall.WaitStatus) { ended <- status })
	if err != nil {
		k.log.Error("server not started", "program", argv[0], "error", err)
		return
	}
	k.log.Info("server started", "pid", pid)
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	k.tell(pid, syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(k.budget):
		k.log.Warn("server did not end in time", "pid", pid)
		k.tell(pid, syscall.SIGKILL)
		<-ended
	}
}

func (k *keeper) tell(pid int, sig syscall.Signal) {
	if _, err := k.runs.reaper.ifRunning(pid, func() error { return syscall.Kill(pid, sig) }); err != nil {
		k.log.Warn("server not signalled", "pid", pid, "error", err)
	}
}
