package container

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"nhooyr.io/websocket"

	"townd/api"
	"townd/api/wire"
	"townd/supervisor/transcript"
	"townd/town"
)

// ticketProtocol is how a ticket comes as a WebSocket protocol, from callers that
// keep it out of the address.
const ticketProtocol = "ticket."

// stream opens a stream. The ticket is spent last: a caller whose parameters are
// wrong may use it again. Without a valid ticket a caller learns nothing else.
func (s *Server) stream(r *http.Request) (any, error) {
	id, err := agentID(r)
	if err != nil {
		return nil, err
	}
	if err := checkHandshake(r); err != nil {
		return nil, err
	}
	p, err := wire.ParseParams(r)
	if err != nil {
		return nil, err
	}
	value, protocol, err := ticketOf(r, p)
	if err != nil {
		return nil, err
	}
	ticket, err := s.tickets.look(value)
	if err != nil {
		return nil, err
	}
	if ticket.agent != id {
		return nil, fmt.Errorf("the ticket is for another agent: %w", town.ErrForbidden)
	}
	v, err := s.newViewer(r, p, ticket)
	if err != nil {
		return nil, err
	}
	if err := s.tickets.spend(value); err != nil {
		v.run.close()
		return nil, err
	}
	return wire.Writer(func(w http.ResponseWriter) { s.watch(w, r, v, protocol) }), nil
}

// watch makes the connection a WebSocket and runs the viewer on it.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, v *viewer, protocol string) {
	defer v.run.close()
	o := &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the ticket is the authority; the Worker's Origin is not ours
		CompressionMode:    websocket.CompressionDisabled,
	}
	if protocol != "" {
		o.Subprotocols = []string{protocol} // browsers want one of theirs chosen
	}
	conn, err := websocket.Accept(w, r, o)
	if err != nil {
		s.log.Info("stream not opened", "agent", v.run.agent, "error", err)
		return
	}
	log := s.log
	if v.share != nil {
		log = log.With("share", v.share.ID)
	}
	log.Info("stream opened", "agent", v.run.agent, "run", v.run.id, "offset", v.pos, "mode", v.mode, "remote", r.RemoteAddr)
	v.watch(conn)
}

// checkHandshake refuses what is no WebSocket handshake (RFC 6455, section
// 4.2.1). The library looks too, but only when the ticket has been spent.
func checkHandshake(r *http.Request) error {
	if !headerHas(r.Header, "Connection", "upgrade") || !headerHas(r.Header, "Upgrade", "websocket") {
		return &wire.Refusal{
			Status: http.StatusUpgradeRequired,
			Text:   "a stream is a WebSocket: send Connection: Upgrade and Upgrade: websocket",
			Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}},
		}
	}
	if version := r.Header.Get("Sec-WebSocket-Version"); version != "13" {
		return &wire.Refusal{
			Status: http.StatusBadRequest,
			Text:   fmt.Sprintf("Sec-WebSocket-Version is %.20q; it must be 13", version),
			Header: http.Header{"Sec-Websocket-Version": {"13"}},
		}
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) == 1 {
		if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err == nil && len(key) == 16 {
			return nil
		}
	}
	return wire.BadParam("Sec-WebSocket-Key", "must be given once, 16 bytes in base64")
}

// headerHas reports whether a header that is a list has the word.
func headerHas(h http.Header, name, word string) bool {
	return slices.ContainsFunc(headerList(h, name), func(got string) bool { return strings.EqualFold(got, word) })
}

func headerList(h http.Header, name string) []string {
	var words []string
	for _, line := range h.Values(name) {
		for word := range strings.SplitSeq(line, ",") {
			words = append(words, strings.TrimSpace(word))
		}
	}
	return words
}

// ticketOf returns the ticket of the query or of the WebSocket protocols, and
// the protocol it came as.
func ticketOf(r *http.Request, p wire.Params) (value, protocol string, err error) {
	if value, err = p.One("ticket"); err != nil {
		return "", "", err
	}
	for _, offered := range headerList(r.Header, "Sec-WebSocket-Protocol") {
		if carried, ok := strings.CutPrefix(offered, ticketProtocol); ok {
			if value != "" && value != carried {
				return "", "", wire.BadParam("ticket", "is given twice and differs")
			}
			value, protocol = carried, offered
		}
	}
	if value == "" {
		return "", "", fmt.Errorf("a ticket is needed, as ?ticket=… or as the WebSocket protocol ticket.…; "+
			"POST /agents/{id}/stream-ticket gives one: %w", town.ErrUnauthorized)
	}
	return value, protocol, nil
}

// newViewer checks everything a stream was asked for that the ticket k is for.
func (s *Server) newViewer(r *http.Request, p wire.Params, k ticket) (*viewer, error) {
	after, err := p.One("after")
	if err != nil {
		return nil, err
	}
	events, err := p.One("events")
	if err != nil {
		return nil, err
	}
	run, at, err := s.openAfter(r.Context(), k, after)
	if err != nil {
		return nil, err
	}
	v := &viewer{s: s, run: run, share: k.share, mode: k.mode, pos: at}
	if run.feed == nil {
		v.mode = town.TicketRead // an earlier run takes no keys
	} else if k.mode == town.TicketWrite && run.structured {
		err = s.checkTypable(k.agent)
	}
	if err == nil && k.share == nil { // a link to a terminal shows that alone
		err = v.openEvents(events)
	}
	if err == nil && after == afterScreen {
		err = v.drawScreen(r.Context())
	}
	if err != nil {
		run.close()
		return nil, err
	}
	return v, nil
}

// The words that after may be instead of a position.
const (
	afterScreen = "screen"
	afterLive   = "live"
)

// openAfter opens the run that after names, of those that the ticket is for, and
// returns the offset to begin at.
func (s *Server) openAfter(ctx context.Context, k ticket, after string) (*run, int64, error) {
	var pos transcript.Position
	if after != "" && after != afterScreen && after != afterLive {
		var err error
		if pos, err = transcript.ParsePosition(after); err != nil {
			return nil, 0, wire.BadParam("after", "%.60q must be <runId>:<offset>, screen or live", after)
		}
	}
	if k.share != nil {
		if pos.Run != "" && pos.Run != k.share.Run {
			return nil, 0, fmt.Errorf("the ticket is for another run: %w", town.ErrForbidden)
		}
		pos.Run = k.share.Run
	}
	run, err := s.openRun(ctx, k.agent, pos.Run)
	if errors.Is(err, town.ErrNotFound) && pos.Run != "" {
		return nil, 0, wire.BadParam("after", "%v", err)
	}
	if err != nil {
		return nil, 0, err
	}
	end, err := run.end()
	switch {
	case err != nil:
	case after == afterScreen || after == afterLive:
		return run, end, nil
	case pos.Offset > end:
		err = wire.BadParam("after", "offset %d is beyond the end of run %s, which is %d", pos.Offset, run.id, end)
	default:
		return run, pos.Offset, nil
	}
	run.close()
	return nil, 0, err
}

// openEvents finds where the viewer's events begin: after the cursor, or now.
func (v *viewer) openEvents(text string) error {
	newest, err := v.s.cfg.Supervisor.Events(v.run.agent, math.MaxInt64, 1)
	if err != nil {
		return err
	}
	v.epoch, v.eventID = newest.Epoch, newest.Next
	if text == "" {
		return nil
	}
	c, err := parseCursor("events", text)
	if err != nil {
		return err
	}
	v.eventID = min(c.id, newest.Next)
	if c.epoch != "" && c.epoch != newest.Epoch {
		v.eventID = 0 // ids of another epoch say nothing here
	}
	return nil
}

// hello is the stream's first frame.
func (v *viewer) hello() (api.Hello, error) {
	h := api.Hello{
		Type: api.FrameHello, AgentID: v.run.agent, RunID: v.run.id, Offset: v.pos, Mode: v.mode, Status: v.run.status,
		Structured: v.run.structured, Epoch: v.epoch, EventID: v.eventID,
	}
	if v.turn != nil && !v.turn.mine() {
		h.Mode, h.Waiting = town.TicketRead, true
	}
	if v.drawn != nil {
		h.Cols, h.Rows = uint16(v.drawn.Cols), uint16(v.drawn.Rows)
		return h, nil
	}
	var err error
	h.Cols, h.Rows, err = v.run.sizeAt(v.pos)
	return h, err
}

// drawScreen draws the screen as it is and lets the viewer go on after it.
func (v *viewer) drawScreen(ctx context.Context) error {
	drawn, err := v.s.draw(ctx, v.run)
	if err != nil {
		return err
	}
	v.drawn, v.pos = &drawn, drawn.Offset
	return nil
}
