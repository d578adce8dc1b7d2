package container_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nhooyr.io/websocket"

	"townd/api"
	"townd/supervisor/agenttest"
	"townd/town"
)

// readUntil reads a stream until its bytes satisfy ok and returns them.
func readUntil(t testing.TB, s *api.Stream, ok func(data []byte) bool) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var data []byte
	for !ok(data) {
		m, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("reading stream after %d bytes, the last %.100q: %v", len(data), data[max(0, len(data)-100):], err)
		}
		data = append(data, m.Data...)
	}
	return data
}

// nextFrame reads a stream until a frame of type T.
func nextFrame[T any](t testing.TB, s *api.Stream) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		m, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %T: %v", *new(T), err)
		}
		if frame, ok := m.Frame.(T); ok {
			return frame
		}
	}
}

func holds(text string) func([]byte) bool {
	return func(data []byte) bool { return bytes.Contains(data, []byte(text)) }
}

func (tt *testTown) stream(id string, o api.StreamOptions) *api.Stream {
	tt.t.Helper()
	s, err := tt.Stream(tt.t.Context(), id, o)
	if err != nil {
		tt.t.Fatalf("Stream(%s, %+v) = %v", id, o, err)
	}
	tt.t.Cleanup(func() { s.Close() })
	return s
}

// checkFlood compares what flood printed from offset on with what it must be.
func checkFlood(t testing.TB, got []byte, offset int64) {
	t.Helper()
	for i, b := range got {
		if want := agenttest.Byte(offset + int64(i)); b != want {
			t.Fatalf("byte %d is %#x, want %#x", offset+int64(i), b, want)
		}
	}
}

func TestStreamShowsARunFromItsStartToItsExit(t *testing.T) {
	tt := newTown(t)
	const total = 300_000
	a := tt.start("toast", "flood", fmt.Sprint(total), "0")
	s := tt.stream("toast", api.StreamOptions{})
	if h := s.Hello; h.RunID != a.RunID || h.Offset != 0 || h.Mode != town.TicketRead || h.Cols != town.DefaultCols || h.Rows != town.DefaultRows || h.Epoch == "" {
		t.Errorf("hello = %+v", h)
	}
	var data []byte
	var exit *api.ExitFrame
	var states []town.Status
	for {
		m, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, m.Data...)
		switch f := m.Frame.(type) {
		case api.ExitFrame:
			exit = &f
		case api.EventFrame:
			var state town.StateData
			if f.Event.Event == town.EventState && json.Unmarshal(f.Event.Data, &state) == nil {
				states = append(states, state.Status)
			}
			if exit != nil {
				t.Errorf("event %+v came after the exit", f.Event)
			}
		}
	}
	if len(data) != total {
		t.Errorf("got %d bytes, want %d", len(data), total)
	}
	checkFlood(t, data, 0)
	if exit == nil || exit.Offset != total || exit.Status != town.StatusExited || exit.Reason != town.ReasonExited || exit.ExitCode == nil || *exit.ExitCode != 0 {
		t.Errorf("exit = %+v, want exited with code 0 at %d", exit, total)
	}
	if len(states) == 0 || states[len(states)-1] != town.StatusExited {
		t.Errorf("state events = %q, want the last exited", states)
	}
	if want := fmt.Sprintf("%s:%d", a.RunID, total); s.Position() != want {
		t.Errorf("Position() = %s, want %s", s.Position(), want)
	}
	if text := string(tt.call(http.MethodGet, "/metrics", "").body); !strings.Contains(text, "townd_stream_bytes_total 300000\n") {
		t.Errorf("GET /metrics does not count the %d bytes sent", total)
	}
}

// N8, W13: a viewer that comes back continues at its exact offset.
func TestViewerThatComesBackGetsEachByteOnce(t *testing.T) {
	tt := newTown(t)
	const total = 900_000 // under the transcript's bound, over many of its segments
	tt.start("toast", "flood", fmt.Sprint(total), "3000000")
	var got []byte
	after := ""
	for visit := 0; ; visit++ {
		s := tt.stream("toast", api.StreamOptions{After: after})
		if s.Hello.Offset != int64(len(got)) {
			t.Fatalf("visit %d began at %d, want %d", visit, s.Hello.Offset, len(got))
		}
		leave := len(got) + 1 + rand.IntN(20_000)
		var err error
		for len(got) < leave && err == nil {
			var m api.Message
			m, err = s.Next(t.Context())
			got = append(got, m.Data...)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		after = s.Position()
		s.Close()
	}
	if len(got) != total {
		t.Errorf("got %d bytes, want %d", len(got), total)
	}
	checkFlood(t, got, 0)
}

func TestOutputNoLongerHeldIsAnnouncedAsAGap(t *testing.T) {
	tt := newTown(t)
	const total = 3 << 20 // the town keeps 1 MiB of a run
	tt.start("toast", "flood", fmt.Sprint(total), "0")
	if _, err := tt.Follow(t.Context(), "toast", api.StreamOptions{}, func(api.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
	var first int64
	var data []byte
	exit, err := tt.Follow(t.Context(), "toast", api.StreamOptions{}, func(m api.Message) error {
		if gap, ok := m.Frame.(api.GapFrame); ok {
			if gap.From != 0 || len(data) > 0 {
				t.Errorf("gap = %+v after %d bytes, want one at the start", gap, len(data))
			}
			first = gap.To
		}
		data = append(data, m.Data...)
		return nil
	})
	if err != nil || exit.Offset != total {
		t.Fatalf("Follow() = %+v, %v", exit, err)
	}
	if first == 0 || first+int64(len(data)) != total {
		t.Errorf("gap to %d and %d bytes, want them to make %d", first, len(data), total)
	}
	checkFlood(t, data, first)
}

func TestStreamBeginsWhereItIsAsked(t *testing.T) {
	tt := newTown(t)
	a := tt.start("toast", "echo")
	w := tt.stream("toast", api.StreamOptions{Mode: town.TicketWrite})
	readUntil(t, w, holds("ready\r\n"))
	live := tt.stream("toast", api.StreamOptions{After: "live"})
	if live.Hello.Offset != 7 {
		t.Errorf("live begins at %d, want 7", live.Hello.Offset)
	}
	if err := w.Input(t.Context(), []byte("first\n")); err != nil {
		t.Fatal(err)
	}
	got := readUntil(t, live, holds("first\r\nfirst\r\n"))
	if !bytes.HasPrefix(got, []byte("first")) {
		t.Errorf("live got %q, want it to begin with what was typed since", got)
	}
	at := tt.stream("toast", api.StreamOptions{After: a.RunID + ":2"})
	if got := readUntil(t, at, holds("\n")); !bytes.HasPrefix(got, []byte("ady\r\n")) {
		t.Errorf("from offset 2 got %q, want ady", got)
	}
	for _, c := range []struct {
		after string
		want  string
	}{
		{a.RunID + ":999999", "which is 21"},
		{"nonesuch:0", "is not held"},
		{a.RunID, "must be <runId>:<offset>, screen or live"},
		{a.RunID + ":-1", "must be <runId>:<offset>, screen or live"},
		{a.RunID + ":1e3", "must be <runId>:<offset>, screen or live"},
		{"../../etc:0", "must be <runId>:<offset>, screen or live"},
		{"end", "must be <runId>:<offset>, screen or live"},
	} {
		_, err := tt.Stream(t.Context(), "toast", api.StreamOptions{After: c.after})
		if !errors.Is(err, town.ErrInvalid) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("Stream(after %s) = %v, want ErrInvalid with %q", c.after, err, c.want)
		}
	}
}

func TestEarlierRunIsServedToItsEnd(t *testing.T) {
	tt := newTown(t)
	first := tt.start("toast", "exit", "3")
	if exit, err := tt.Follow(t.Context(), "toast", api.StreamOptions{}, func(api.Message) error { return nil }); err != nil || exit.ExitCode == nil || *exit.ExitCode != 3 {
		t.Errorf("Follow() = %+v, %v; want exit code 3", exit, err)
	}
	second := tt.start("toast", "echo")
	if first.RunID == second.RunID {
		t.Fatalf("both runs are %s", first.RunID)
	}
	s := tt.stream("toast", api.StreamOptions{Mode: town.TicketWrite, After: first.RunID + ":0"})
	if s.Hello.RunID != first.RunID || s.Hello.Mode != town.TicketRead || s.Hello.Status != town.StatusExited {
		t.Errorf("hello = %+v, want the first run, exited, to read", s.Hello)
	}
	nextFrame[api.ExitFrame](t, s)
	if got := tt.call(http.MethodGet, "/agents/toast/transcript?run="+first.RunID, ""); got.StatusCode != http.StatusOK || got.Header.Get(api.HeaderRunID) != first.RunID {
		t.Errorf("transcript of the first run answered %s, run %s", got.Status, got.Header.Get(api.HeaderRunID))
	}
}

// A run that is replaced while it is watched ends for its viewers.
func TestViewerOfAReplacedRunGetsItsExit(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "echo")
	s := tt.stream("toast", api.StreamOptions{})
	readUntil(t, s, holds("ready"))
	req := tt.request("toast", "sleep")
	req.Generation = 1
	if _, err := tt.Start(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	nextFrame[api.ExitFrame](t, s)
	if _, err := s.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the exit Next() = %v, want io.EOF", err)
	}
}

func TestFirstWriterTypesUntilItLeaves(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "echo")
	first := tt.stream("toast", api.StreamOptions{Mode: town.TicketWrite})
	second := tt.stream("toast", api.StreamOptions{Mode: town.TicketWrite})
	reader := tt.stream("toast", api.StreamOptions{})
	if first.Hello.Mode != town.TicketWrite || second.Hello.Mode != town.TicketRead || !second.Hello.Waiting || reader.Hello.Waiting {
		t.Fatalf("hello modes are %+v, %+v, %+v", first.Hello, second.Hello, reader.Hello)
	}
	readUntil(t, reader, holds("ready"))
	if err := first.Resize(t.Context(), 90, 25); err != nil {
		t.Fatal(err)
	}
	if err := second.Resize(t.Context(), 101, 31); err != nil { // kept for its turn
		t.Fatal(err)
	}
	if err := second.Input(t.Context(), []byte("not mine\n")); err != nil {
		t.Fatal(err)
	}
	if f := nextFrame[api.ModeFrame](t, second); f.Mode != town.TicketRead {
		t.Errorf("typing out of turn is answered with %+v, want mode read", f)
	}
	if err := first.Input(t.Context(), []byte("mine\n")); err != nil {
		t.Fatal(err)
	}
	sized := nextFrame[api.ResizeFrame](t, reader)
	if sized.Cols != 90 || sized.Rows != 25 {
		t.Errorf("resize = %+v, want 90x25, the first writer's", sized)
	}
	got := readUntil(t, reader, holds("mine\r\nmine\r\n"))
	if bytes.Contains(got, []byte("not")) {
		t.Errorf("output is %q, with what was typed out of turn", got)
	}
	first.Close()
	if f := nextFrame[api.ModeFrame](t, second); f.Mode != town.TicketWrite {
		t.Errorf("promotion = %+v, want mode write", f)
	}
	if err := second.Input(t.Context(), []byte("now\n")); err != nil {
		t.Fatal(err)
	}
	sized = nextFrame[api.ResizeFrame](t, reader)
	if sized.Cols != 101 || sized.Rows != 31 {
		t.Errorf("resize = %+v, want 101x31, the second writer's", sized)
	}
	readUntil(t, reader, holds("now\r\nnow\r\n"))
	late := tt.stream("toast", api.StreamOptions{})
	if late.Hello.Cols != town.DefaultCols {
		t.Errorf("hello at the start says %d columns, want %d", late.Hello.Cols, town.DefaultCols)
	}
	for _, want := range []uint16{90, 101} {
		if f := nextFrame[api.ResizeFrame](t, late); f.Cols != want {
			t.Errorf("history has a resize to %d columns, want %d", f.Cols, want)
		}
	}
}

func TestTerminalsOwnRepliesAreNotTyped(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "echo")
	s := tt.stream("toast", api.StreamOptions{Mode: town.TicketWrite})
	readUntil(t, s, holds("ready"))
	for _, part := range []string{"a\x1b[?62;22cb", "\x1b]11;rgb:1010/10", "10/1010\x1b\\c\n"} {
		if err := s.Input(t.Context(), []byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if got := readUntil(t, s, holds("\nabc\r\n")); bytes.ContainsAny(got, ";?[") {
		t.Errorf("output is %q, with a terminal's reply typed", got)
	}
}

func TestWrongFramesCloseWithTheReason(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "echo")
	for _, c := range []struct {
		mode town.TicketMode
		typ  websocket.MessageType
		data string
		code websocket.StatusCode
		want string
	}{
		{town.TicketRead, websocket.MessageBinary, "rm -rf /\n", websocket.StatusPolicyViolation, "ticket of mode write"},
		{town.TicketRead, websocket.MessageText, `{"type":"resize","cols":80,"rows":24}`, websocket.StatusPolicyViolation, "ticket of mode write"},
		{town.TicketWrite, websocket.MessageText, `{"type":"resize","cols":0,"rows":24}`, websocket.StatusPolicyViolation, "each 1 to 1000"},
		{town.TicketWrite, websocket.MessageText, `{"type":"resize","cols":80,"rows":1e9}`, websocket.StatusPolicyViolation, "each 1 to 1000"},
		{town.TicketWrite, websocket.MessageText, `{"type":"subscribe","agentId":"x"}`, websocket.StatusPolicyViolation, "only be"},
		{town.TicketWrite, websocket.MessageText, `ls`, websocket.StatusPolicyViolation, "only be"},
		{town.TicketWrite, websocket.MessageBinary, strings.Repeat("x", api.MaxInputBytes+1), websocket.StatusMessageTooBig, "limited"},
	} {
		conn := tt.dial("toast", c.mode)
		if err := conn.Write(t.Context(), c.typ, []byte(c.data)); err != nil {
			t.Fatal(err)
		}
		err := drain(t, conn)
		closed, _ := errors.AsType[websocket.CloseError](err)
		if closed.Code != c.code || !strings.Contains(closed.Reason, c.want) {
			t.Errorf("%s frame %.50q in mode %s closed with %v, want %d %q", c.typ, c.data, c.mode, err, c.code, c.want)
		}
	}
	s := tt.stream("toast", api.StreamOptions{})
	if got := readUntil(t, s, holds("ready")); bytes.Contains(got, []byte("rm")) {
		t.Errorf("a reader has typed: %q", got)
	}
}

// dial opens a stream without the client.
func (tt *testTown) dial(id string, mode town.TicketMode) *websocket.Conn {
	tt.t.Helper()
	ticket, err := tt.Ticket(tt.t.Context(), id, mode)
	if err != nil {
		tt.t.Fatal(err)
	}
	conn, _, err := dial(tt.t.Context(), tt.url+ticket.URL, &websocket.DialOptions{HTTPClient: tt.http})
	if err != nil {
		tt.t.Fatal(err)
	}
	tt.t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// dial is websocket.Dial, with the answer's status.
func dial(ctx context.Context, url string, o *websocket.DialOptions) (conn *websocket.Conn, status int, err error) {
	conn, resp, err := websocket.Dial(ctx, url, o) //nolint:bodyclose // done by Dial, see its comment
	if resp != nil {
		status = resp.StatusCode
	}
	return conn, status, err
}

// drain reads until the connection ends and returns why.
func drain(t testing.TB, conn *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			return err
		}
	}
}

// Z7: of 1,000 concurrent redemptions of one ticket exactly one opens.
func TestTicketOpensOnce(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "sleep")
	ticket, err := tt.Ticket(t.Context(), "toast", town.TicketRead)
	if err != nil {
		t.Fatal(err)
	}
	var opened, refusals atomic.Int64
	var wg sync.WaitGroup
	plain := &http.Client{Transport: &http.Transport{}}
	defer plain.CloseIdleConnections()
	begin := make(chan struct{})
	for range 1000 {
		wg.Go(func() {
			<-begin
			conn, status, err := dial(t.Context(), tt.url+ticket.URL, &websocket.DialOptions{HTTPClient: plain})
			switch {
			case err == nil:
				opened.Add(1)
				conn.CloseNow()
			case status == http.StatusUnauthorized:
				refusals.Add(1)
			default:
				t.Errorf("redemption failed otherwise: %v", err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if opened.Load() != 1 || refusals.Load() != 999 {
		t.Errorf("%d opened and %d were refused, want 1 and 999", opened.Load(), refusals.Load())
	}
}

func TestStreamIsRefusedWithoutSpendingTheTicket(t *testing.T) {
	tt := newTown(t)
	a := tt.start("toast", "echo")
	tt.start("other", "sleep")
	ticket, err := tt.Ticket(t.Context(), "toast", town.TicketRead)
	if err != nil {
		t.Fatal(err)
	}
	value := url.QueryEscape(ticket.Ticket)
	shake := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	with := func(header ...string) []string { return append(header, shake...) }
	for _, c := range []struct {
		path   string
		header []string
		status int
		want   string
	}{
		{"/agents/toast/stream?ticket=" + value, nil, 426, "send Connection: Upgrade"},
		{"/agents/toast/stream?ticket=" + value, shake[:4], 400, "must be 13"},
		{"/agents/toast/stream?ticket=" + value, shake[:6], 400, "16 bytes in base64"},
		{"/agents/toast/stream?ticket=" + value, append(shake[:6:6], "Sec-WebSocket-Key", "short"), 400, "16 bytes in base64"},
		{"/agents/toast/stream", shake, 401, "a ticket is needed"},
		{"/agents/toast/stream?ticket=", shake, 401, "a ticket is needed"},
		{"/agents/toast/stream?ticket=wrong", shake, 401, "unknown, used or expired"},
		{"/agents/nobody/stream?ticket=wrong", shake, 401, "unknown, used or expired"},
		{"/agents/toast/stream?ticket=a&ticket=b", shake, 400, "given 2 times"},
		{"/agents/other/stream?ticket=" + value, shake, 403, "another agent"},
		{"/agents/toast/stream?after=nonsense&ticket=" + value, shake, 400, "screen or live"},
		{"/agents/toast/stream?after=" + a.RunID + ":9999&ticket=" + value, shake, 400, "beyond the end"},
		{"/agents/toast/stream?events=x&ticket=" + value, shake, 400, "id of an event"},
		{"/agents/toast/stream?ticket=" + value, with("Sec-WebSocket-Protocol", "ticket.other"), 400, "differs"},
	} {
		refused(t, tt.callAs("", http.MethodGet, c.path, "", c.header...), c.status, c.want)
	}
	conn, _, err := dial(t.Context(), tt.url+"/agents/toast/stream", &websocket.DialOptions{
		HTTPClient: tt.http, Subprotocols: []string{"ticket." + ticket.Ticket},
		HTTPHeader: http.Header{"Origin": {"https://worker.example"}}, // the ticket is the authority
	})
	if err != nil {
		t.Fatalf("the ticket was spent by a refusal: %v", err)
	}
	conn.CloseNow()
	refused(t, tt.callAs("", http.MethodGet, ticket.URL, "", shake...), 401, "unknown, used or expired")
}

func TestServerThatClosesSendsViewersAway(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "echo")
	conn := tt.dial("toast", town.TicketRead)
	if _, _, err := conn.Read(t.Context()); err != nil { // hello
		t.Fatal(err)
	}
	var ended error
	var wg sync.WaitGroup
	wg.Go(func() { ended = drain(t, conn) })
	tt.server.Close()
	wg.Wait()
	if code := websocket.CloseStatus(ended); code != websocket.StatusGoingAway {
		t.Errorf("stream ended with %v, want 1001", ended)
	}
	late := tt.dial("toast", town.TicketRead)
	if err := drain(t, late); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("stream after Close ended with %v, want 1001", err)
	}
}

// A viewer that reads nothing is dropped after the write deadline; others read on.
func TestViewerThatStopsReadingIsDropped(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "flood", fmt.Sprint(128<<20), "1000000")
	tt.dial("toast", town.TicketRead) // never read
	good := tt.stream("toast", api.StreamOptions{})
	gone := func() bool {
		return strings.Contains(string(tt.call(http.MethodGet, "/metrics", "").body), "townd_viewers 1\n")
	}
	begin := time.Now()
	for frames := 0; frames%100 != 0 || !gone(); frames++ {
		if _, err := good.Next(t.Context()); err != nil {
			t.Fatalf("the reading viewer: %v", err)
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatal("the viewer that stopped reading is still there after 30 s")
		}
	}
}

// A quiet stream is pinged, and a viewer that answers no ping is dropped.
func TestQuietViewerIsPingedAndMustAnswer(t *testing.T) {
	tt := newTown(t)
	tt.server.SetPingEvery(500 * time.Millisecond)
	tt.start("toast", "sleep")
	alive := tt.stream("toast", api.StreamOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // eight pings
	defer cancel()
	var dropped error
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil { // reading answers pings
			if _, err := alive.Next(ctx); err != nil && ctx.Err() == nil {
				dropped = err
				return
			}
		}
	})
	ticket, err := tt.Ticket(t.Context(), "toast", town.TicketRead)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(tt.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", ticket.URL)
	answer := bufio.NewReader(conn)
	resp, err := http.ReadResponse(answer, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake answered %v, %v", resp, err)
	}
	defer resp.Body.Close()
	pings := 0 // since something else was sent, which shows that the viewer is there
	for {
		opcode, err := readFrame(answer)
		if err != nil {
			break // dropped
		}
		if pings++; opcode != 9 {
			pings = 0
		}
	}
	if pings != 1 {
		t.Errorf("%d pings came before the viewer that answers none was dropped, want 1", pings)
	}
	wg.Wait()
	if dropped != nil {
		t.Errorf("the viewer that answers was dropped: %v", dropped)
	}
}

// readFrame reads one short frame of a server (RFC 6455, section 5.2).
func readFrame(r *bufio.Reader) (opcode byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	length := int64(head[1])
	if length == 126 {
		var more [2]byte
		if _, err := io.ReadFull(r, more[:]); err != nil {
			return 0, err
		}
		length = int64(more[0])<<8 | int64(more[1])
	}
	_, err = io.CopyN(io.Discard, r, length)
	return head[0] & 15, err
}
