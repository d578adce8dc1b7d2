package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/coordinator/townhall"
)

// hallArgument makes the test binary a coordinator: the town hall as a process of its
// own, which reaches its container by the network.
const hallArgument = "a-town-hall"

func hallMain() {
	if len(os.Args) < 2 || os.Args[1] != hallArgument {
		return
	}
	if err := beHall(os.Args[2], os.Args[3], os.Args[4], os.Getenv("TOWND_TOKEN")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// beHall is the coordinator of the town at container until SIGTERM.
func beHall(path, address, container, token string) error {
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer release()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	hall, err := townhall.Open(ctx, townhall.Config{Path: path, TownID: "local", Log: log, HeartbeatEvery: time.Second})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return errors.Join(err, hall.Close())
	}
	web := &http.Server{
		Handler:           hall.Handler(townhall.HandlerConfig{Authorize: wire.NewToken(token).Authorize, Log: log, Done: ctx.Done()}),
		ReadHeaderTimeout: time.Minute,
	}
	client := api.New(container, token, &http.Client{Transport: &http.Transport{}})
	var wg sync.WaitGroup
	wg.Go(func() { _ = web.Serve(l) }) // ends with Close
	err = hall.Dispatch(ctx, townhall.DispatchConfig{Container: func() townhall.Container { return client }, MaxAgents: chaosAgents})
	err = errors.Join(err, web.Close())
	wg.Wait()
	return errors.Join(err, hall.Close())
}

// otherHall is such a process.
type otherHall struct {
	t    *testing.T
	argv []string
	cmd  *exec.Cmd
	log  *buffer
}

// begin starts it.
func (h *otherHall) begin(token string) {
	h.t.Helper()
	h.cmd = exec.Command(h.argv[0], h.argv[1:]...)
	h.cmd.Env, h.cmd.Stderr = []string{"TOWND_TOKEN=" + token}, h.log
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
}

// kill ends it as a crash would.
func (h *otherHall) kill() {
	_ = h.cmd.Process.Kill() // it may have ended
	_ = h.cmd.Wait()         // it was killed
}

// end ends it with the test; when that failed it tells what it was about.
func (h *otherHall) end() {
	if !h.t.Failed() {
		h.kill()
		return
	}
	_ = h.cmd.Process.Signal(syscall.SIGQUIT) // the runtime prints every goroutine
	_ = h.cmd.Wait()
	h.t.Logf("coordinator's log:\n%s", tail([]byte(h.log.String()), 60000))
}
