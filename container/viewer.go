package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"nhooyr.io/websocket"

	"townd/api"
	"townd/supervisor/screen"
	"townd/supervisor/transcript"
	"townd/town"
)

// How a viewer is served (research/limits.md, 3.2: what costs is frames a second).
const (
	frameBytes  = 64 << 10
	window      = 16 * time.Millisecond // between frames that carry all there is
	windowMany  = 33 * time.Millisecond
	manyViewers = 50
	pingEvery   = 20 * time.Second // and how long an answer may take
)

// frames are the buffers of viewers that are sending; an idle viewer has none.
var frames = sync.Pool{New: func() any { return new([frameBytes]byte) }}

// viewer is one open stream: its place in a run's output and in the agent's
// events. Nothing is queued for it. One goroutine sends output, one sends events,
// one reads; all end with watch.
//
// Calls on conn take a context that never ends, because the library closes the
// connection at once when it does, without a word to the viewer. What ends a
// blocked one is the connection: a write by its deadline, a read by Close.
type viewer struct {
	s      *Server
	run    *run
	conn   *websocket.Conn
	share  *share          // the link that it came by, nil for a person
	mode   town.TicketMode // what the ticket allows
	turn   *turn           // nil unless mode is TicketWrite
	drawn  *screen.Screen  // goes first; nil for none
	pos    int64           // of the next byte to send
	caught bool            // it has had the history there was
	sized  int64           // marks before this offset have been looked at
	cols   uint16          // the size last told
	rows   uint16
	epoch  string

	eventMu sync.Mutex
	eventID int64 // of the last event sent

	wantedMu sync.Mutex
	wanted   api.ResizeFrame // the size it wants its terminal to be; zero if it has not said

	sent atomic.Int64 // frames sent, to tell a quiet stream from a busy one
}

// The ends of a stream that we bring about.
var (
	errRunEnded   = errors.New("the run has ended")
	errViewerGone = errors.New("the viewer left")
	errNoPong     = errors.New("the viewer does not answer pings")
)

// watch serves the viewer until it leaves, its link ends, the run ends or the server closes.
func (v *viewer) watch(conn *websocket.Conn) {
	v.conn = conn
	conn.SetReadLimit(api.MaxInputBytes)
	if !v.s.enter() {
		v.close(context.Cause(v.s.ctx))
		return
	}
	defer v.s.wg.Done()
	v.s.viewers.Add(1)
	defer v.s.viewers.Add(-1)
	v.s.metrics.viewers.Inc()
	defer v.s.metrics.viewers.Dec()
	if v.mode == town.TicketWrite {
		v.turn = v.s.writers.join(v.run.agent)
		defer v.s.writers.leave(v.run.agent, v.turn)
	}
	ctx, cancel := context.WithCancelCause(v.s.ctx)
	defer v.share.whenOver(func() { cancel(errShareOver) })()
	var wg sync.WaitGroup
	wg.Go(func() { cancel(v.receive(ctx)) })
	err := v.serve(ctx, &wg, cancel)
	cancel(err)
	v.close(context.Cause(ctx))
	wg.Wait()
}

// serve sends hello, then output and events side by side.
func (v *viewer) serve(ctx context.Context, wg *sync.WaitGroup, cancel context.CancelCauseFunc) error {
	hello, err := v.hello()
	if err != nil {
		return err
	}
	v.cols, v.rows, v.sized = hello.Cols, hello.Rows, v.pos+1
	if err := v.tell(hello); err != nil {
		return err
	}
	if v.drawn != nil {
		if err := v.tell(api.ScreenFrame{Type: api.FrameScreen, Data: v.drawn.ANSI}); err != nil {
			return err
		}
		v.drawn = nil
	}
	wg.Go(func() { cancel(v.sendEvents(ctx)) })
	if hello.Waiting {
		wg.Go(func() {
			if err := v.awaitTurn(ctx); err != nil {
				cancel(err)
			}
		})
	}
	return v.sendOutput(ctx)
}

// close tells the viewer why its stream ends, if it is still there.
func (v *viewer) close(cause error) {
	var refused *frameError
	switch {
	case errors.Is(cause, errRunEnded):
		_ = v.conn.Close(websocket.StatusNormalClosure, "the run has ended")
	case errors.Is(cause, errViewerGone), errors.Is(cause, errNoPong):
		_ = v.conn.CloseNow()
	case errors.Is(cause, errShareOver):
		_ = v.conn.Close(websocket.StatusPolicyViolation, errShareOver.Error())
	case errors.Is(cause, town.ErrUnavailable):
		_ = v.conn.Close(websocket.StatusGoingAway, "the town goes away; come back with your position")
	case errors.As(cause, &refused):
		_ = v.conn.Close(websocket.StatusPolicyViolation, refused.text)
	default:
		v.s.log.Warn("stream broken", "agent", v.run.agent, "run", v.run.id, "offset", v.pos, "error", cause)
		_ = v.conn.Close(websocket.StatusInternalError, "the output cannot be read; come back with your position")
	}
}

// sendOutput sends what the run prints, from pos on: at once when the viewer has
// had everything, then all there is once a window.
func (v *viewer) sendOutput(ctx context.Context) error {
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	for {
		size, ended, err := v.run.wait(ctx, v.pos)
		if err != nil {
			return err
		}
		if ended {
			end, err := v.run.end() // after the keeper's death more than it could tell
			if err != nil {
				return err
			}
			size = max(size, end)
		}
		if err := v.sendUpTo(ctx, size); err != nil {
			return err
		}
		if ended {
			return v.finish()
		}
		pause.Reset(v.s.window())
		select {
		case <-pause.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// window is how long a viewer's output is gathered.
func (s *Server) window() time.Duration {
	if s.viewers.Load() > manyViewers {
		return windowMany
	}
	return window
}

// sendUpTo sends the output from pos to size in as few frames as it takes.
func (v *viewer) sendUpTo(ctx context.Context, size int64) error {
	if v.pos >= size {
		return nil
	}
	buf := frames.Get().(*[frameBytes]byte)
	defer frames.Put(buf)
	resizes, err := v.resizes(size)
	if err != nil {
		return err
	}
	for v.pos < size {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for len(resizes) > 0 && resizes[0].Offset <= v.pos {
			if err := v.tellSize(resizes[0].Cols, resizes[0].Rows); err != nil {
				return err
			}
			resizes = resizes[1:]
		}
		to := min(size, v.pos+frameBytes)
		if len(resizes) > 0 {
			to = min(to, resizes[0].Offset)
		}
		if err := v.sendFrame(buf[:to-v.pos]); err != nil {
			return err
		}
	}
	return nil
}

// sendFrame reads at pos what fits into buf and sends it, or the gap that is there.
func (v *viewer) sendFrame(buf []byte) error {
	n, err := v.run.reader.ReadAt(buf, v.pos)
	if gone, ok := errors.AsType[*transcript.GoneError](err); ok && gone.First > v.pos {
		from := v.pos
		v.pos = gone.First
		return v.tell(api.GapFrame{Type: api.FrameGap, From: from, To: gone.First})
	}
	if n == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			err = fmt.Errorf("output ends at %d, before the size that was told", v.pos)
		}
		return err
	}
	if err := v.write(websocket.MessageBinary, buf[:n]); err != nil {
		return err
	}
	v.pos += int64(n)
	v.s.metrics.streamBytes.Add(float64(n))
	return nil
}

// resizes returns the marks of other sizes that were not looked at, up to size.
// It looks at none while the terminal keeps its size and the viewer keeps up:
// reading marks is not free.
func (v *viewer) resizes(size int64) ([]transcript.Mark, error) {
	cols, rows := v.run.terminal()
	same := cols == v.cols && rows == v.rows
	if v.caught && same && size-v.pos <= transcript.DefaultSegmentBytes {
		v.sized = size
		return nil, nil
	}
	var marks []transcript.Mark
	for m, err := range v.run.reader.Marks(v.sized, size) {
		if err != nil {
			return nil, err
		}
		if m.Cols != 0 && m.Rows != 0 && (m.Kind == transcript.MarkResize || m.Kind == transcript.MarkStart) {
			marks = append(marks, m)
		}
	}
	v.sized = size
	if v.caught && !same && len(marks) == 0 {
		return nil, v.tellSize(cols, rows) // its mark is among what was sent already
	}
	v.caught = true
	return marks, nil
}

// tellSize tells the viewer a size unless it is the one it knows.
func (v *viewer) tellSize(cols, rows uint16) error {
	if cols == v.cols && rows == v.rows {
		return nil
	}
	v.cols, v.rows = cols, rows
	return v.tell(api.ResizeFrame{Type: api.FrameResize, Cols: cols, Rows: rows})
}

// finish sends the rest of the events and the exit.
func (v *viewer) finish() error {
	if err := v.flushEvents(); err != nil {
		return err
	}
	exit := api.ExitFrame{Type: api.FrameExit, Offset: v.pos, Status: town.StatusExited}
	if agent, err := v.s.cfg.Supervisor.Agent(v.run.agent); err == nil && agent.RunID == v.run.id {
		exit.Status, exit.Reason, exit.Error = agent.Status, agent.Reason, agent.Error
		exit.ExitCode, exit.Signal = agent.ExitCode, agent.Signal
	}
	if err := v.tell(exit); err != nil {
		return err
	}
	return errRunEnded
}

// sendEvents sends the agent's events as they happen. A viewer that nothing was
// sent to for pingEvery is pinged, so that what lies between keeps the
// connection, and dropped when it does not answer. One with output under way is
// not: its answer would wait behind that, and the deadline of each write finds
// out whether it is there.
func (v *viewer) sendEvents(ctx context.Context) error {
	for {
		sent := v.sent.Load()
		err := v.waitEvents(ctx)
		switch {
		case err == nil:
			err = v.flushEvents()
		case errors.Is(err, errQuiet):
			err = nil
			if v.sent.Load() == sent && v.ping() != nil && v.sent.Load() == sent {
				err = errNoPong
			}
		}
		if err != nil {
			return err
		}
	}
}

// waitEvents waits for an event to send, for pingEvery at most: then it returns errQuiet.
func (v *viewer) waitEvents(ctx context.Context) error {
	if v.share == nil {
		return v.s.waitEvents(ctx, v.run.agent, v.lastEvent(), v.s.pingEvery)
	}
	pause := time.NewTimer(v.s.pingEvery)
	defer pause.Stop()
	select {
	case <-pause.C:
		return errQuiet
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (v *viewer) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), v.s.pingEvery)
	defer cancel()
	return v.conn.Ping(ctx)
}

func (v *viewer) lastEvent() int64 {
	v.eventMu.Lock()
	defer v.eventMu.Unlock()
	return v.eventID
}

// flushEvents sends the events there are.
func (v *viewer) flushEvents() error {
	const pageEvents = 100
	if v.share != nil {
		return nil
	}
	v.eventMu.Lock()
	defer v.eventMu.Unlock()
	for {
		page, err := v.s.cfg.Supervisor.Events(v.run.agent, v.eventID, pageEvents)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			if err := v.tell(api.EventFrame{Type: api.FrameEvent, Event: e}); err != nil {
				return err
			}
		}
		v.eventID = page.Next
		if len(page.Events) < pageEvents {
			return nil
		}
	}
}

// tell sends a text frame.
func (v *viewer) tell(frame any) error {
	data, err := json.Marshal(frame)
	if err != nil {
		return err
	}
	return v.write(websocket.MessageText, data)
}

func (v *viewer) write(typ websocket.MessageType, p []byte) error {
	v.sent.Add(1)
	if err := v.conn.Write(context.Background(), typ, p); err != nil {
		return fmt.Errorf("%w: %w", errViewerGone, err)
	}
	return nil
}
