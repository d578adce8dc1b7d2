package keeper

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// life knows how long a keeper is needed. It is safe for concurrent use.
type life struct {
	changed chan struct{} // holds 1

	mu       sync.Mutex
	clients  int
	linger   time.Duration
	shutdown bool
}

func newLife() *life {
	return &life{changed: make(chan struct{}, 1), linger: firstLinger}
}

// look makes last look again.
func (l *life) look() {
	raise(l.changed)
}

// connState counts clients; it is the http.Server's.
func (l *life) connState(_ net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateNew:
		l.clients++
	case http.StateClosed, http.StateHijacked:
		l.clients--
		l.linger = lastLinger
	case http.StateActive, http.StateIdle:
		return
	}
	l.look()
}

// end asks for the keeper's end as soon as there is no run.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shutdown = true
	l.look()
}

func (l *life) state() (clients int, linger time.Duration, shutdown bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clients, l.linger, l.shutdown
}

// last returns when the keeper is needed no more, having closed runs, or when ctx
// ends. serverGone is nil for a keeper without a server.
func (l *life) last(ctx context.Context, runs *runs, serverGone <-chan struct{}) {
	var patience *time.Timer // set while nobody needs us
	for {
		clients, linger, shutdown := l.state()
		var expired <-chan time.Time
		var gone <-chan struct{}
		switch {
		case shutdown && (serverGone == nil || isClosed(serverGone)):
			if runs.closeIfEmpty() {
				return
			}
		case shutdown:
			gone = serverGone
		case serverGone == nil && clients == 0 && runs.empty():
			if patience == nil {
				patience = time.NewTimer(linger)
			}
			expired = patience.C
		}
		if expired == nil && patience != nil {
			patience.Stop()
			patience = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
		case <-gone:
		case <-expired:
			if clients, _, _ := l.state(); clients == 0 && runs.closeIfEmpty() {
				return
			}
			patience = nil
		}
	}
}
