package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"

	"townd/api"
	"townd/api/wire"
	"townd/container"
	"townd/coordinator/townhall"
)

// townHall is the coordinator in this server, for a town that is told of no other.
type townHall struct {
	hall    *townhall.Hall
	handler http.Handler
	leave   chan struct{} // closed when the server goes away: calls that wait end
	once    sync.Once

	stop context.CancelFunc // ends the dispatcher; nil before start
	wg   sync.WaitGroup
}

// openTownHall opens the coordinator of c, nil when it is elsewhere. Nothing is handed
// out before start.
func openTownHall(ctx context.Context, c *Config, token string, secrets *container.Secrets, log *slog.Logger) (*townHall, error) {
	if c.Coordinator.URL != "" {
		return nil, nil
	}
	log = log.With("room", "townhall")
	path := filepath.Join(c.Home, "town.db")
	hall, err := townhall.Open(ctx, townhall.Config{
		Path: path, TownID: c.Coordinator.TownID, Log: log, HeartbeatEvery: c.Coordinator.Heartbeat, Beads: c.Coordinator.Beads,
	})
	if errors.Is(err, townhall.ErrCorrupt) {
		return nil, fmt.Errorf("%w; to begin with an empty one, move %s and the files beside it away", err, path)
	}
	if err != nil {
		return nil, err
	}
	t := &townHall{hall: hall, leave: make(chan struct{})}
	t.handler = hall.Handler(townhall.HandlerConfig{Authorize: wire.NewToken(token).Authorize, Mask: secrets.Mask, Log: log, Done: t.leave})
	return t, nil
}

// start begins to hand out work to the town behind face.
func (t *townHall) start(ctx context.Context, face http.Handler, token string, maxAgents int) {
	ctx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
	near := api.New("http://127.0.0.1", token, &http.Client{Transport: api.HandlerTransport(face)})
	t.wg.Go(func() { // ends with close
		// Its one error is a configuration without a Container.
		_ = t.hall.Dispatch(ctx, townhall.DispatchConfig{Container: func() townhall.Container { return near }, MaxAgents: maxAgents})
	})
}

// endWaits answers the calls that wait, and hands out no more work.
func (t *townHall) endWaits() {
	t.once.Do(func() { close(t.leave) })
	if t.stop != nil {
		t.stop()
	}
	t.wg.Wait()
}

// close is called when nobody asks it any more.
func (t *townHall) close() error {
	t.endWaits()
	return t.hall.Close()
}

// handlerOf is t's handler, nil without a town hall in this server.
func (t *townHall) handlerOf() http.Handler {
	if t == nil {
		return nil
	}
	return t.handler
}
