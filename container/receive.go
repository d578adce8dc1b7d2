package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"nhooyr.io/websocket"

	"townd/api"
	"townd/town"
)

// writeTimeout is how long a caller may take to take what is sent to it.
const writeTimeout = 10 * time.Second

// inputTimeout is how long a program may take to read what is typed.
const inputTimeout = 10 * time.Second

// sendBufferBytes is what the kernel holds for one viewer. Its own choice grows
// to megabytes for each viewer that stopped reading, and hides for as long that
// it did.
const sendBufferBytes = 256 << 10

// viewerConn is a connection whose writes have a deadline.
type viewerConn struct {
	net.Conn
	set time.Time // when the deadline was last moved
}

func newViewerConn(conn net.Conn) *viewerConn {
	if tcp, ok := conn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = tcp.SetWriteBuffer(sendBufferBytes) // without it a stream works as well
	}
	return &viewerConn{Conn: conn}
}

// Write moves the deadline at most once a second: it costs a timer each time.
// The WebSocket library writes one frame at a time.
func (c *viewerConn) Write(p []byte) (int, error) {
	if now := time.Now(); now.Sub(c.set) > time.Second {
		c.set = now
		if err := c.SetWriteDeadline(now.Add(writeTimeout + time.Second)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// frameError is a frame that a viewer may not send; text tells it why.
type frameError struct{ text string }

func (e *frameError) Error() string { return e.text }

// What a viewer is told of a frame that it may not send; at most 123 bytes
// (RFC 6455, section 5.5).
var (
	errReadOnly  = &frameError{"this stream is for watching; to type, open one with a ticket of mode write"}
	errTextFrame = &frameError{`text frames may only be {"type":"resize","cols":120,"rows":40}, each 1 to 1000`}
)

// receive takes what the viewer sends until it leaves or sends what it may not.
func (v *viewer) receive(ctx context.Context) error {
	var filter inputFilter
	for {
		typ, data, err := v.conn.Read(context.Background())
		if err != nil {
			return fmt.Errorf("%w: %w", errViewerGone, err)
		}
		switch {
		case v.mode != town.TicketWrite:
			return errReadOnly
		case typ == websocket.MessageText:
			err = v.resize(ctx, data)
		case !v.turn.mine():
			err = v.tell(api.ModeFrame{Type: api.FrameMode, Mode: town.TicketRead}) // once more: it typed
		default:
			if keys := filter.keys(data); len(keys) > 0 {
				err = v.input(ctx, func(ctx context.Context) error { return v.s.cfg.Supervisor.Input(ctx, v.run.agent, keys) })
			}
		}
		if err != nil {
			return err
		}
	}
}

func parseResize(data []byte) (api.ResizeFrame, error) {
	var f api.ResizeFrame
	if err := json.Unmarshal(data, &f); err != nil || f.Type != api.FrameResize {
		return f, errTextFrame
	}
	if err := town.CheckTerminalSize(f.Cols, f.Rows); err != nil {
		return f, errTextFrame
	}
	return f, nil
}

// resize takes the size a viewer wants, for when it is its turn.
func (v *viewer) resize(ctx context.Context, frame []byte) error {
	f, err := parseResize(frame)
	if err != nil {
		return err
	}
	v.wantedMu.Lock()
	v.wanted = f
	v.wantedMu.Unlock()
	return v.applySize(ctx)
}

// applySize gives the terminal the size this viewer wants, if it is its turn.
func (v *viewer) applySize(ctx context.Context) error {
	v.wantedMu.Lock()
	defer v.wantedMu.Unlock()
	f := v.wanted
	if f.Cols == 0 || !v.turn.mine() {
		return nil
	}
	return v.input(ctx, func(ctx context.Context) error { return v.s.cfg.Supervisor.Resize(ctx, v.run.agent, f.Cols, f.Rows) })
}

// input carries out what a viewer did to the terminal. That the program takes
// none is told to the viewer and ends nothing.
func (v *viewer) input(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, inputTimeout)
	defer cancel()
	if agent, err := v.s.cfg.Supervisor.Agent(v.run.agent); err != nil || agent.RunID != v.run.id {
		return nil // another run has begun; this stream is about to end
	}
	err := do(ctx)
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	text := "the agent takes no input"
	if town.HTTPStatus(err) != http.StatusInternalServerError {
		text = v.s.cfg.Secrets.Mask(err.Error())
	}
	return v.tell(api.ErrorFrame{Type: api.FrameError, Error: text})
}

// awaitTurn tells a viewer that came to type, after others, when its turn has come.
func (v *viewer) awaitTurn(ctx context.Context) error {
	select {
	case <-v.turn.granted:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := v.tell(api.ModeFrame{Type: api.FrameMode, Mode: town.TicketWrite}); err != nil {
		return err
	}
	return v.applySize(ctx)
}
