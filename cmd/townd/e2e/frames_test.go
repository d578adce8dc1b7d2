package e2e_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// handshake are the headers that ask for a WebSocket.
var handshake = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}

// ticket gets a ticket for an agent.
func (bt *badTown) ticket(id string, mode town.TicketMode) string {
	bt.t.Helper()
	ticket, err := bt.Ticket(bt.t.Context(), id, mode)
	if err != nil {
		bt.t.Fatal(err)
	}
	return ticket.Ticket
}

// open sends a handshake, with other headers instead of the usual when given, and
// returns the connection and the answer.
func (bt *badTown) open(target string, header ...string) (net.Conn, *bufio.Reader, *answer) {
	bt.t.Helper()
	if header == nil {
		header = handshake
	}
	conn, err := net.DialTimeout("tcp", bt.address, patience)
	if err != nil {
		bt.t.Fatal(err)
	}
	bt.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		bt.t.Fatal(err)
	}
	lines := append([]string{"GET " + target + " HTTP/1.1", "Host: " + bt.address}, header...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		bt.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		bt.t.Fatal(err)
	}
	bt.t.Cleanup(func() { _ = resp.Body.Close() })
	return conn, in, answerOf(resp)
}

func TestWrongTicketsAreRefused(t *testing.T) {
	t.Parallel()
	bt := newBadTown(t)
	bt.start(bt.request("other", bt.mode("sleep")...))
	bt.files, bt.agents, bt.procs = bt.listing(), bt.everything(), len(bt.ofAgents())
	used := bt.ticket("toast", town.TicketRead)
	if _, _, resp := bt.open("/agents/toast/stream?ticket=" + used); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("a good ticket: %s", resp.Status)
	}
	good := bt.ticket("toast", town.TicketRead)
	for _, c := range []struct {
		target string
		header []string
		want   int
	}{
		{"/agents/toast/stream", handshake, http.StatusUnauthorized},
		{"/agents/toast/stream?ticket=", handshake, http.StatusUnauthorized},
		{"/agents/toast/stream?ticket=" + used, handshake, http.StatusUnauthorized},
		{"/agents/toast/stream?ticket=" + bt.token, handshake, http.StatusUnauthorized},
		{"/agents/toast/stream?ticket=" + strings.Repeat("x", 60_000), handshake, http.StatusUnauthorized},
		{"/agents/toast/stream?ticket=%00", handshake, http.StatusUnauthorized},
		{"/agents/toast/stream?ticket=%zz", handshake, http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good + "x", handshake, http.StatusUnauthorized},
		{"/agents/toast/stream?ticket=" + strings.ToUpper(good), handshake, http.StatusUnauthorized},
		{"/agents/toast/stream?ticket=" + good + "&ticket=" + good, handshake, http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good, append([]string{"Sec-WebSocket-Protocol: ticket.other"}, handshake...), http.StatusBadRequest},
		{"/agents/toast/stream", append([]string{"Sec-WebSocket-Protocol: ticket." + used}, handshake...), http.StatusUnauthorized},
		{"/agents/toast/stream", append([]string{"Authorization: Bearer " + bt.token}, handshake...), http.StatusUnauthorized},
		{"/agents/other/stream?ticket=" + good, handshake, http.StatusForbidden},
		{"/agents/none/stream?ticket=" + good, handshake, http.StatusForbidden},
		{"/agents/none/stream?ticket=guess", handshake, http.StatusUnauthorized},
		{"/agents/%2e%2e/stream?ticket=" + good, handshake, http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good, handshake[2:], http.StatusUpgradeRequired},
		{"/agents/toast/stream?ticket=" + good, handshake[:2], http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good, append([]string{"Sec-WebSocket-Version: 8"}, handshake[:2]...), http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good, append([]string{"Sec-WebSocket-Key: x"}, handshake[:3]...), http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good + "&after=x", handshake, http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good + "&after=none:0", handshake, http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good + "&after=" + bt.status("toast").RunID + ":999999", handshake, http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good + "&after=" + bt.status("toast").RunID + ":-1", handshake, http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good + "&after=" + bt.status("other").RunID + ":0", handshake, http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good + "&after=live&after=live", handshake, http.StatusBadRequest},
		{"/agents/toast/stream?ticket=" + good + "&events=x", handshake, http.StatusBadRequest},
	} {
		p := bt.refused(raw{method: "GET", target: c.target, header: c.header, noAuth: true})
		if p.Status != c.want {
			t.Errorf("GET %.120s: %d %s; want %d", c.target, p.Status, p.Error, c.want)
		}
		if strings.Contains(p.Error, good) {
			t.Errorf("GET %.120s: the answer tells the ticket: %s", c.target, p.Error)
		}
	}
	if _, _, resp := bt.open("/agents/toast/stream?ticket=" + good); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("the ticket was spent by a request that was refused: %s", resp.Status)
	}
	bt.unchanged("wrong tickets")
}

// Of a thousand who come with one ticket at once, one gets in.
func TestOneTicketOpensOneStream(t *testing.T) {
	t.Parallel()
	bt := newBadTown(t)
	target := "/agents/toast/stream?ticket=" + bt.ticket("toast", town.TicketRead)
	var mu sync.Mutex
	answers := make(map[int]int)
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			resp, text := bt.send(raw{method: "GET", target: target, header: handshake[1:], noAuth: true, hurry: true})
			mu.Lock()
			defer mu.Unlock()
			if resp == nil {
				t.Errorf("no answer: %s", text)
				return
			}
			answers[resp.StatusCode]++
		})
	}
	wg.Wait()
	if answers[http.StatusSwitchingProtocols] != 1 || answers[http.StatusUnauthorized] != 999 {
		t.Errorf("answers: %v; want 101 once and 401 999 times", answers)
	}
}

// frame is a WebSocket frame (RFC 6455, section 5.2), as a client sends it unless
// bent.
type frame struct {
	opcode   byte
	payload  string
	more     bool // not the last of its message
	reserved byte // bits
	claim    uint64
	short    bool // the connection ends in the middle
}

func (f frame) bytes() []byte {
	first := f.opcode | f.reserved<<4
	if !f.more {
		first |= 0x80
	}
	const mask = byte(0x80)
	out := []byte{first}
	switch n := len(f.payload); {
	case f.claim > 0:
		out = binary.BigEndian.AppendUint64(append(out, mask|127), f.claim)
	case n < 126:
		out = append(out, mask|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, mask|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, mask|127), uint64(n))
	}
	out = append(out, 0, 0, 0, 0) // a mask that changes nothing
	return append(out, f.payload...)
}

// readClose reads what the town sends until it closes the stream, and returns the
// code and text of that; 0 when it just closed the connection.
func readClose(in io.Reader) (code uint16, text string, err error) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return 0, "", nil
		}
		n := uint64(head[1] & 0x7f)
		if n >= 126 {
			wide := make([]byte, map[uint64]int{126: 2, 127: 8}[n])
			if _, err := io.ReadFull(in, wide); err != nil {
				return 0, "", err
			}
			n = 0
			for _, b := range wide {
				n = n<<8 | uint64(b)
			}
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(in, payload); err != nil {
			return 0, "", err
		}
		if head[0]&0x0f == 8 && n >= 2 {
			return binary.BigEndian.Uint16(payload), string(payload[2:]), nil
		}
	}
}

func TestWrongFramesEndTheStreamAndNothingElse(t *testing.T) {
	t.Parallel()
	bt := newBadTown(t)
	const text, bytes, closing, ping = 1, 2, 8, 9
	resize := `{"type":"resize","cols":100,"rows":30}`
	protocol, policy, data, size := []uint16{1002}, []uint16{1008}, []uint16{1007, 1008}, []uint16{1009}
	cut := []uint16{0} // the connection, without a word
	for name, c := range map[string]struct {
		mode   town.TicketMode
		frames []frame
		want   []uint16
	}{
		"typing by a reader":         {town.TicketRead, []frame{{opcode: bytes, payload: "x"}}, policy},
		"sizing by a reader":         {town.TicketRead, []frame{{opcode: text, payload: resize}}, policy},
		"text that is no JSON":       {town.TicketWrite, []frame{{opcode: text, payload: "x"}}, policy},
		"an empty text":              {town.TicketWrite, []frame{{opcode: text}}, policy},
		"an unknown type":            {town.TicketWrite, []frame{{opcode: text, payload: `{"type":"exit"}`}}, policy},
		"no type":                    {town.TicketWrite, []frame{{opcode: text, payload: `{"cols":1,"rows":1}`}}, policy},
		"a size of nothing":          {town.TicketWrite, []frame{{opcode: text, payload: `{"type":"resize"}`}}, policy},
		"a size of 0":                {town.TicketWrite, []frame{{opcode: text, payload: `{"type":"resize","cols":0,"rows":1}`}}, policy},
		"a size of 1001":             {town.TicketWrite, []frame{{opcode: text, payload: `{"type":"resize","cols":1001,"rows":1}`}}, policy},
		"a size of -1":               {town.TicketWrite, []frame{{opcode: text, payload: `{"type":"resize","cols":-1,"rows":1}`}}, policy},
		"a size in words":            {town.TicketWrite, []frame{{opcode: text, payload: `{"type":"resize","cols":"80","rows":1}`}}, policy},
		"a list":                     {town.TicketWrite, []frame{{opcode: text, payload: `[]`}}, policy},
		"a deep list":                {town.TicketWrite, []frame{{opcode: text, payload: strings.Repeat("[", 50_000)}}, policy},
		"text that is not UTF-8":     {town.TicketWrite, []frame{{opcode: text, payload: "\xff\xfe"}}, data},
		"2 MiB of keys":              {town.TicketWrite, []frame{{opcode: bytes, payload: strings.Repeat("x", 2<<20)}}, size},
		"2 MiB of keys in pieces":    {town.TicketWrite, []frame{{opcode: bytes, more: true, payload: strings.Repeat("x", 1<<20)}, {payload: strings.Repeat("x", 1<<20)}}, size},
		"a frame that claims 2^62":   {town.TicketWrite, []frame{{opcode: bytes, claim: 1 << 62, payload: strings.Repeat("x", 2<<20)}}, size},
		"a frame that claims 2^63":   {town.TicketWrite, []frame{{opcode: bytes, claim: 1 << 63, payload: strings.Repeat("x", 2<<20)}}, cut},
		"an unknown opcode":          {town.TicketWrite, []frame{{opcode: 3, payload: "x"}}, protocol},
		"an unknown control opcode":  {town.TicketWrite, []frame{{opcode: 11, payload: "x"}}, protocol},
		"reserved bits":              {town.TicketWrite, []frame{{opcode: bytes, reserved: 4, payload: "x"}}, protocol},
		"all reserved bits":          {town.TicketWrite, []frame{{opcode: bytes, reserved: 7, payload: "x"}}, protocol},
		"a piece of nothing":         {town.TicketWrite, []frame{{opcode: 0, payload: "x"}}, protocol},
		"a message within a message": {town.TicketWrite, []frame{{opcode: bytes, more: true, payload: "x"}, {opcode: text, payload: resize}}, protocol},
		"a ping in pieces":           {town.TicketWrite, []frame{{opcode: ping, more: true, payload: "x"}}, protocol},
		"a long ping":                {town.TicketWrite, []frame{{opcode: ping, payload: strings.Repeat("x", 126)}}, protocol},
		"a close of one byte":        {town.TicketWrite, []frame{{opcode: closing, payload: "x"}}, protocol},
		"a close with code 1005":     {town.TicketWrite, []frame{{opcode: closing, payload: "\x03\xed"}}, protocol},
		"a close with code 1":        {town.TicketWrite, []frame{{opcode: closing, payload: "\x00\x01"}}, protocol},
		"half a frame":               {town.TicketWrite, []frame{{opcode: bytes, claim: 100, payload: "x", short: true}}, nil},
	} {
		conn, in, resp := bt.open("/agents/toast/stream?ticket=" + bt.ticket("toast", c.mode))
		if resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s: %s", name, resp.Status)
		}
		sent := make(chan struct{})
		go func() { // the town may close before it has read it all
			defer close(sent)
			for _, f := range c.frames {
				if _, err := conn.Write(f.bytes()); err != nil || f.short {
					break
				}
			}
		}()
		if c.want == nil {
			<-sent
			_ = conn.Close()
			continue
		}
		code, why, err := readClose(in)
		t.Logf("%s: %d %s", name, code, why)
		if err != nil || !slices.Contains(c.want, code) || why == "" && code != 0 {
			t.Errorf("%s: closed with %d %q, %v; want %v and why", name, code, why, err, c.want)
		}
		_ = conn.Close()
		<-sent
	}
	bt.unchanged("wrong frames")
	bt.types(t)
}

// types wants a viewer to be able to type as ever.
func (bt *badTown) types(t *testing.T) {
	t.Helper()
	s, err := bt.Stream(bt.context(), "toast", api.StreamOptions{Mode: town.TicketWrite, After: "live"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	waiting := s.Hello.Waiting
	var seen string
	for sent := false; !strings.Contains(seen, "are you there?\r\nare you there?\r\n"); {
		if !sent && !waiting {
			if err := s.Input(bt.context(), []byte("are you there?\n")); err != nil {
				t.Fatal(err)
			}
			sent = true
		}
		m, err := s.Next(bt.context())
		if err != nil {
			t.Fatalf("%v; seen so far: %q", err, seen)
		}
		if f, ok := m.Frame.(api.ModeFrame); ok {
			waiting = f.Mode != town.TicketWrite
		}
		seen += string(m.Data)
	}
}
