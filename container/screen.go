package container

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/supervisor/screen"
	"townd/town"
)

const (
	drawerLife  = time.Minute // a drawer nobody asked is dropped after
	longLife    = time.Hour   // the same of a long run's
	drawerLimit = 64          // each is half a megabyte and more (screen.Drawer)
)

// drawers keeps the terminals of runs whose screens were drawn lately, so that
// drawing again draws only what came since. The zero value is ready for use. Safe
// for concurrent use.
type drawers struct {
	mu   sync.Mutex
	held map[string]*drawer // by run
}

type drawer struct {
	*screen.Drawer
	used time.Time
}

// of returns the drawer of a run.
func (d *drawers) of(r *run, now time.Time) *screen.Drawer {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, ok := d.held[r.id]
	if !ok {
		if d.held == nil {
			d.held = make(map[string]*drawer)
		}
		if len(d.held) >= drawerLimit {
			d.dropOldest()
		}
		cols, rows := r.terminal()
		found = &drawer{Drawer: screen.NewDrawer(cols, rows)}
		d.held[r.id] = found
	}
	found.used = now
	return found.Drawer
}

func (d *drawers) dropOldest() {
	var oldest string
	for id, held := range d.held {
		if oldest == "" || held.used.Before(d.held[oldest].used) {
			oldest = id
		}
	}
	delete(d.held, oldest)
}

// room reports whether the drawer of a run can be had without dropping another.
func (d *drawers) room(r *run) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held[r.id] != nil || len(d.held) < drawerLimit
}

// expire drops the drawers that nobody asked for as long as they are worth.
func (d *drawers) expire(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, held := range d.held {
		life := drawerLife
		if held.Drawn() >= paintBehind {
			life = longLife
		}
		if now.Sub(held.used) >= life {
			delete(d.held, id)
		}
	}
}

// newDrawGate bounds the screens drawn at once: each takes a core, for seconds
// when a long run is drawn for the first time.
func newDrawGate() chan struct{} { return make(chan struct{}, max(1, runtime.NumCPU()/2)) }

// draw draws the screen of a run as it is now. That of a long run that is over is drawn
// once, and kept with its output.
func (s *Server) draw(ctx context.Context, r *run) (screen.Screen, error) {
	end, ended, err := r.size()
	if err != nil {
		return screen.Screen{}, err
	}
	long := ended && end >= paintBehind
	if long {
		if kept, ok := screen.Kept(r.dir, end); ok {
			return kept, nil
		}
	}
	select {
	case s.drawGate <- struct{}{}:
		defer func() { <-s.drawGate }()
	case <-ctx.Done():
		return screen.Screen{}, context.Cause(ctx)
	}
	drawn, err := s.drawers.of(r, time.Now()).Draw(ctx, r.reader, -1)
	if errors.Is(err, town.ErrNotFound) { // the program has not been started yet
		cols, rows := r.terminal()
		return screen.Screen{Cols: int(cols), Rows: int(rows), CursorVisible: true, Exact: true}, nil
	}
	if long && err == nil {
		if err := screen.Keep(r.dir, end, drawn); err != nil { // it is drawn again
			s.log.Warn("last screen not kept", "agent", r.agent, "run", r.id, "error", err)
		}
	}
	return drawn, err
}

// screen answers with an agent's screen, as JSON or as text.
func (s *Server) screen(r *http.Request) (any, error) {
	id, runID, err := runOf(r)
	if err != nil {
		return nil, err
	}
	run, err := s.openRun(r.Context(), id, runID)
	if err != nil {
		return nil, err
	}
	defer run.close()
	drawn, err := s.draw(r.Context(), run)
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(strings.Join(drawn.Lines, "\n"), "\n")
	if wire.Accepts(r, "text/plain") {
		return wire.Writer(func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(text + "\n"))
		}), nil
	}
	return api.Screen{
		RunID: run.id, Offset: drawn.Offset, Cols: drawn.Cols, Rows: drawn.Rows, Text: text, ANSI: drawn.ANSI, Title: drawn.Title,
		Cursor:    api.Cursor{Col: drawn.CursorX, Row: drawn.CursorY, Visible: drawn.CursorVisible},
		AltScreen: drawn.AltScreen, Exact: drawn.Exact,
	}, nil
}
