package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"nhooyr.io/websocket"

	"townd/town"
)

// The types of the text frames of a stream.
const (
	FrameHello  = "hello"
	FrameScreen = "screen"
	FrameResize = "resize"
	FrameEvent  = "event"
	FrameGap    = "gap"
	FrameMode   = "mode"
	FrameError  = "error"
	FrameExit   = "exit"
)

// MaxInputBytes bounds one binary frame of a viewer.
const MaxInputBytes = 1 << 20

// maxFrameBytes bounds a frame of a town: an event or a drawn screen.
const maxFrameBytes = 16 << 20

// The text frames of a stream, each with its Type.
type (
	// Hello comes first.
	Hello struct {
		Type       string          `json:"type"`
		AgentID    string          `json:"agentId"`
		RunID      string          `json:"runId"`
		Offset     int64           `json:"offset"` // of the first byte that follows
		Cols       uint16          `json:"cols"`
		Rows       uint16          `json:"rows"`
		Mode       town.TicketMode `json:"mode"`
		Waiting    bool            `json:"waiting,omitempty"` // came to type, and does when those before it have left
		Status     town.Status     `json:"status"`
		Structured bool            `json:"structured"` // the bytes are a protocol: draw the events
		Epoch      string          `json:"epoch"`
		EventID    int64           `json:"eventId"` // events after this one follow
	}
	// ScreenFrame draws the screen as it was at Hello's offset on an empty terminal.
	ScreenFrame struct {
		Type string `json:"type"`
		Data string `json:"data"`
	}
	// ResizeFrame gives the size of the terminal for the bytes that follow. A
	// viewer sends it to size the terminal.
	ResizeFrame struct {
		Type string `json:"type"`
		Cols uint16 `json:"cols"`
		Rows uint16 `json:"rows"`
	}
	// EventFrame is an event of the agent.
	EventFrame struct {
		Type  string     `json:"type"`
		Event town.Event `json:"event"`
	}
	// GapFrame says that bytes From to To are no longer held; To is the position now.
	GapFrame struct {
		Type string `json:"type"`
		From int64  `json:"from"`
		To   int64  `json:"to"`
	}
	// ModeFrame says whether this viewer may type from now on.
	ModeFrame struct {
		Type string          `json:"type"`
		Mode town.TicketMode `json:"mode"`
	}
	// ErrorFrame says why input was not delivered.
	ErrorFrame struct {
		Type  string `json:"type"`
		Error string `json:"error"`
	}
	// ExitFrame ends a run, after its last byte.
	ExitFrame struct {
		Type     string      `json:"type"`
		Offset   int64       `json:"offset"` // the run's size
		Status   town.Status `json:"status"`
		Reason   town.Reason `json:"reason,omitempty"`
		ExitCode *int        `json:"exitCode,omitempty"`
		Signal   string      `json:"signal,omitempty"`
		Error    string      `json:"error,omitempty"`
	}
)

// TicketRequest is the body of POST /agents/{id}/stream-ticket.
type TicketRequest struct {
	Mode town.TicketMode `json:"mode,omitempty"` // TicketRead when empty
}

// TicketResponse is a ticket for one stream.
type TicketResponse struct {
	Ticket    string    `json:"ticket"`
	ExpiresAt time.Time `json:"expiresAt"`
	URL       string    `json:"url"` // opens the stream; relative to the address of the server
}

// Ticket returns a ticket that opens one stream of the agent within a minute.
func (c *Client) Ticket(ctx context.Context, id string, mode town.TicketMode) (TicketResponse, error) {
	var out TicketResponse
	_, err := c.ask(ctx, call{method: http.MethodPost, path: agentPath(id, "/stream-ticket"), body: TicketRequest{mode}}, &out)
	return out, err
}

// Stream is an open stream. One goroutine may read while others send.
type Stream struct {
	Hello Hello
	conn  *websocket.Conn
	pos   int64
	buf   bytes.Buffer
}

// Message is what a stream brings: bytes of the terminal, or one of the frames
// ScreenFrame, ResizeFrame, EventFrame, GapFrame, ModeFrame, ErrorFrame and
// ExitFrame. A frame of a type we do not know has neither.
type Message struct {
	Data  []byte
	Frame any
}

// StreamOptions say what a stream shows.
type StreamOptions struct {
	Mode   town.TicketMode // TicketRead when empty
	After  string          // "<runId>:<offset>", "screen", "live"; "" is the start of the newest run
	Events string          // an EventCursor; "" sends the events that happen from now on
}

// Stream gets a ticket and opens a stream with it. The caller closes it.
func (c *Client) Stream(ctx context.Context, id string, o StreamOptions) (*Stream, error) {
	ticket, err := c.Ticket(ctx, id, cmp.Or(o.Mode, town.TicketRead))
	if err != nil {
		return nil, err
	}
	query := url.Values{"ticket": {ticket.Ticket}}
	if o.After != "" {
		query.Set("after", o.After)
	}
	if o.Events != "" {
		query.Set("events", o.Events)
	}
	target := c.base + agentPath(id, "/stream") + "?" + query.Encode()
	conn, resp, err := websocket.Dial(ctx, target, &websocket.DialOptions{HTTPClient: c.http}) //nolint:bodyclose // done by Dial, see its comment
	if err != nil {
		if resp != nil && resp.StatusCode >= 300 {
			return nil, readError(resp)
		}
		return nil, fmt.Errorf("open stream: %w", withoutQuery(err))
	}
	conn.SetReadLimit(maxFrameBytes)
	s := &Stream{conn: conn}
	if err := s.readHello(ctx); err != nil {
		_ = conn.CloseNow()
		return nil, fmt.Errorf("open stream: %w", err)
	}
	return s, nil
}

// withoutQuery takes the address out of a failed dial: it holds the ticket.
func withoutQuery(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func (s *Stream) readHello(ctx context.Context) error {
	typ, data, err := s.conn.Read(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &s.Hello); err != nil || typ != websocket.MessageText || s.Hello.Type != FrameHello {
		return fmt.Errorf("the town did not say hello: %.100q", data)
	}
	s.pos = s.Hello.Offset
	return nil
}

// Position is where this viewer is, to come back to: "<runId>:<offset>".
func (s *Stream) Position() string { return s.Hello.RunID + ":" + strconv.FormatInt(s.pos, 10) }

// Next waits for the next message. io.EOF follows the ExitFrame; any other end
// is another error, after which a new stream may go on from Position. When ctx
// ends the stream is closed.
func (s *Stream) Next(ctx context.Context) (Message, error) {
	typ, data, err := s.read(ctx)
	if err != nil {
		if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			return Message{}, io.EOF
		}
		return Message{}, fmt.Errorf("read stream: %w", err)
	}
	if typ == websocket.MessageBinary {
		s.pos += int64(len(data))
		return Message{Data: data}, nil
	}
	frame, err := decodeFrame(data)
	if err != nil {
		return Message{}, err
	}
	if gap, ok := frame.(GapFrame); ok {
		s.pos = gap.To
	}
	return Message{Frame: frame}, nil
}

// read is conn.Read with a buffer that is kept: growing a new one for each frame
// costs more than reading it does.
func (s *Stream) read(ctx context.Context) (websocket.MessageType, []byte, error) {
	typ, r, err := s.conn.Reader(ctx)
	if err != nil {
		return 0, nil, err
	}
	s.buf.Reset()
	if _, err := s.buf.ReadFrom(r); err != nil {
		return 0, nil, err
	}
	return typ, bytes.Clone(s.buf.Bytes()), nil
}

// decodeFrame returns the frame in data, nil for a type we do not know.
func decodeFrame(data []byte) (any, error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("read stream: frame %.100q: %w", data, err)
	}
	switch head.Type {
	case FrameScreen:
		return decodeAs[ScreenFrame](data)
	case FrameResize:
		return decodeAs[ResizeFrame](data)
	case FrameEvent:
		return decodeAs[EventFrame](data)
	case FrameGap:
		return decodeAs[GapFrame](data)
	case FrameMode:
		return decodeAs[ModeFrame](data)
	case FrameError:
		return decodeAs[ErrorFrame](data)
	case FrameExit:
		return decodeAs[ExitFrame](data)
	}
	return nil, nil
}

func decodeAs[T any](data []byte) (any, error) {
	var frame T
	if err := json.Unmarshal(data, &frame); err != nil {
		return nil, fmt.Errorf("read stream: frame %.100q: %w", data, err)
	}
	return frame, nil
}

// Input types p, at most MaxInputBytes, into the agent's terminal. Only a viewer
// in mode write may.
func (s *Stream) Input(ctx context.Context, p []byte) error {
	if err := s.conn.Write(ctx, websocket.MessageBinary, p); err != nil {
		return fmt.Errorf("send input: %w", err)
	}
	return nil
}

// Resize sizes the agent's terminal. Only a viewer in mode write may; one that
// waits for its turn has its size taken when the turn comes.
func (s *Stream) Resize(ctx context.Context, cols, rows uint16) error {
	data, err := json.Marshal(ResizeFrame{Type: FrameResize, Cols: cols, Rows: rows})
	if err != nil {
		return err
	}
	if err := s.conn.Write(ctx, websocket.MessageText, data); err != nil {
		return fmt.Errorf("send size: %w", err)
	}
	return nil
}

// Close ends the stream and waits a few seconds at most for the town to agree.
func (s *Stream) Close() error { return s.conn.Close(websocket.StatusNormalClosure, "") }
