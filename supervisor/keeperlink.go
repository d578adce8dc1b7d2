package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"townd/supervisor/keeper"
	"townd/town"
)

// keeperTimeout bounds a call to the keeper that has nothing to wait for.
const keeperTimeout = 10 * time.Second

// keeperLink is the way to the keeper, which may die and be replaced.
type keeperLink struct {
	dir  string
	argv []string
	log  *slog.Logger

	mu   sync.Mutex
	c    *keeper.Client // the newest, even when it is lost
	info keeper.Info
	lost bool
}

// connect finds the keeper, or starts one.
func (l *keeperLink) connect(ctx context.Context) error {
	c, info, err := l.reach(ctx)
	if errors.Is(err, town.ErrUnavailable) && ctx.Err() == nil {
		c, info, err = l.reach(ctx) // the one that was there was just ending: it had nothing left to keep
	}
	if err != nil {
		return fmt.Errorf("reach keeper: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.c != nil {
		l.c.Close() // of a keeper that is gone
	}
	l.c, l.info, l.lost = c, info, false
	return nil
}

func (l *keeperLink) reach(ctx context.Context) (*keeper.Client, keeper.Info, error) {
	c, err := keeper.Ensure(ctx, l.dir, l.argv)
	if err != nil {
		return nil, keeper.Info{}, err
	}
	info, err := c.Info(ctx)
	if err != nil {
		c.Close()
		return nil, keeper.Info{}, err
	}
	return c, info, nil
}

func (l *keeperLink) client() *keeper.Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.c
}

func (l *keeperLink) rung() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.info.Rung)
}

// describe returns the keeper's pid, 0 while it is lost, and how it ends trees.
func (l *keeperLink) describe() (pid int, rung string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		return 0, string(l.info.Rung)
	}
	return l.info.PID, string(l.info.Rung)
}

// same reports whether the keeper that the link was made to is still there.
func (l *keeperLink) same(ctx context.Context) bool {
	c, err := keeper.Dial(ctx, l.dir)
	if err != nil {
		return false
	}
	defer c.Close()
	info, err := c.Info(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	return err == nil && info.PID == l.info.PID && info.StartedAt.Equal(l.info.StartedAt)
}

func (l *keeperLink) setLost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = true
}

// shutdown tells the keeper to end. One that is gone has nothing left to keep.
func (l *keeperLink) shutdown(ctx context.Context) error {
	err := l.client().Shutdown(ctx)
	if errors.Is(err, town.ErrUnavailable) && !l.same(ctx) {
		return nil
	}
	return err
}

func (l *keeperLink) close() { l.client().Close() }

// followKeeper delivers the keeper's news. When the keeper dies it settles what
// that one held and finds the next. It ends with the supervisor.
func (s *Supervisor) followKeeper() {
	for s.ctx.Err() == nil {
		err := s.keeper.client().Watch(s.ctx, s.keeperNews)
		if s.ctx.Err() != nil {
			return
		}
		if s.keeper.same(s.ctx) {
			s.log.Warn("keeper's news were cut, asking again", "error", err)
			continue
		}
		s.log.Error("keeper died", "error", err)
		s.keeper.setLost()
		for _, a := range s.all() {
			a.post(func() {
				if a.rec.Agent.Status.Live() && a.launch == nil {
					a.lost()
				}
			})
		}
		s.reconnect()
	}
}

// reconnect tries to get a keeper until there is one or the supervisor ends.
func (s *Supervisor) reconnect() {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
		err := s.keeper.connect(s.ctx)
		if err == nil {
			return
		}
		s.log.Error("no keeper", "error", err, "retry_in", wait)
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
			return
		}
	}
}

// keeperNews takes in one update of a run.
func (s *Supervisor) keeperNews(u keeper.Update) {
	s.mu.Lock()
	a := s.runs[u.Run]
	s.mu.Unlock()
	switch {
	case a != nil:
		a.feed.Load().update(u.Size, u.Seq, u.Exit, time.Now())
		a.stalled.Store(&u.Stalled)
	// Else its start was asked for by a call that was given up, by us or by a
	// server that died.
	case u.Exit != nil:
		s.wg.Go(func() { s.forgetRun(u.Run) })
	case !s.strays[u.Run]:
		s.strays[u.Run] = true
		s.log.Warn("run without an agent, ended", "run", u.Run)
		s.wg.Go(func() { s.endStray(u.Run) })
	}
}
