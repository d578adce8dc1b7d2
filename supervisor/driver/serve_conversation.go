package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"townd/supervisor/agentcli"
	"townd/town"
)

// conversation is one session of a server. All but what reads is done by run, one
// thing after another.
type conversation struct {
	server  *server
	options Options
	out     *output
	session string
	busy    bool   // a turn is open
	abort   bool   // the next turn is to end as it begins
	offline int    // waits for the network since the model last answered
	count   int    // of messages sent
	sent    []sent // those that no turn has taken up

	// What the output has, for what a new connection to the events may have missed.
	told       map[string]bool // in this turn
	toldBefore map[string]bool // in the last one
	opened     string          // id of the newest message when it was opened
	before     string          // id of the newest message of the last turn
	newest     string          // id of the newest message; they grow
	heard      time.Time       // when the newest event came

	alarms []alarm
	timer  *time.Timer // rings for the first of alarms
}

// sent is a message that the server has accepted.
type sent struct {
	id, text      string
	number        string // ours, for what has no id
	message, part string // the server's ids, "" until it tells them
	tries         int    // to have it taken up
}

type alarm struct {
	at   time.Time
	ring func(context.Context) error
}

func newConversation(s *server, o Options, out *output) *conversation {
	return &conversation{server: s, options: o, out: out, told: map[string]bool{}, timer: time.NewTimer(time.Hour)}
}

// run converses until the input has ended and what it held is done, the server
// has ended, or ctx has. What it starts in wg ends with ctx, but for the reading
// of input, which ends with that.
func (c *conversation) run(ctx context.Context, wg *sync.WaitGroup) error {
	defer c.timer.Stop()
	if err := c.server.wait(ctx); err != nil {
		return err
	}
	if err := c.open(ctx); err != nil {
		return err
	}
	events := stream{events: make(chan []byte), get: func(ctx context.Context) (*http.Response, error) {
		return c.server.do(ctx, http.MethodGet, "/event", nil)
	}}
	wg.Go(func() { events.run(ctx) })
	select {
	case <-events.events: // connected, so that nothing of the first message is missed
	case <-c.server.ended:
		return nil
	case <-ctx.Done():
		return nil
	}
	wanted := inputs(c.options.In, ctx.Done())
	for closing := false; !closing || c.busy || len(c.sent) > 0; {
		var err error
		select {
		case data := <-events.events:
			err = c.hear(ctx, data)
		case in, ok := <-wanted:
			if !ok {
				closing, wanted = true, nil
			} else {
				err = c.input(ctx, in)
			}
		case <-c.timer.C:
			err = c.ring(ctx)
		case <-c.server.ended:
			return nil
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open makes the session, or finds or copies the one to go on with, and writes it
// as the first line.
func (c *conversation) open(ctx context.Context) error {
	method, path, body := http.MethodPost, "/session", any(map[string]string{"title": agentcli.EngineAgent})
	if id := c.options.Session; id != "" && c.options.Fork {
		path, body = "/session/"+id+"/fork", struct{}{}
	} else if id != "" {
		method, path, body = http.MethodGet, "/session/"+id, nil
	}
	var session json.RawMessage
	if err := c.server.ask(ctx, method, path, body, &session); err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	var is struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(session, &is); err != nil || is.ID == "" {
		return errors.New("open session: the server's answer has no id")
	}
	c.session = is.ID
	history, err := c.messages(ctx, c.session, 1)
	if err != nil {
		return err
	}
	for _, m := range history {
		c.newest = max(c.newest, m.id())
	}
	c.opened, c.before = c.newest, c.newest
	return c.out.line(session)
}

func (c *conversation) input(ctx context.Context, in agentcli.DriverInput) error {
	switch in.Type {
	case agentcli.DriverMessage:
		c.count++
		m := sent{id: in.ID, text: in.Text, number: strconv.Itoa(c.count)}
		if err := c.send(ctx, m); err != nil {
			return c.out.say(agentcli.DriverOutput{Townd: agentcli.DriverRefused, ID: in.ID, Message: err.Error()})
		}
		c.sent = append(c.sent, m)
		return c.out.say(agentcli.DriverOutput{Townd: agentcli.DriverAccepted, ID: in.ID})
	case agentcli.DriverInterrupt:
		return c.interrupt(ctx)
	}
	return fault(c.out, town.KindUnknown, strange(in))
}

// send posts a message. With the ids that the server gave it before, it is the
// same message.
func (c *conversation) send(ctx context.Context, m sent) error {
	part := map[string]any{"type": "text", "text": m.text, "metadata": map[string]string{"townd": m.id, "sent": m.number}}
	body := map[string]any{"agent": agentcli.EngineAgent, "parts": []any{part}}
	if m.message != "" {
		body["messageID"], part["id"] = m.message, m.part
	}
	if provider, model, ok := strings.Cut(c.options.Model, "/"); ok {
		body["model"] = map[string]string{"providerID": provider, "modelID": model}
	}
	if c.options.Effort != "" {
		body["variant"] = c.options.Effort
	}
	return c.server.ask(ctx, http.MethodPost, "/session/"+c.session+"/prompt_async", body, nil)
}

// interrupt ends the turn that is open, or the one that is about to begin.
func (c *conversation) interrupt(ctx context.Context) error {
	if !c.busy {
		if len(c.sent) > 0 {
			c.sent, c.abort = c.sent[1:], true
		}
		return nil
	}
	if err := c.server.ask(ctx, http.MethodPost, "/session/"+c.session+"/abort", nil, nil); err != nil {
		return fault(c.out, town.KindUnknown, fmt.Errorf("interrupt: %w", err))
	}
	return nil
}

// takeUp sees to it that the first message is taken up. OpenCode keeps, but does
// not answer, a message that comes while a turn is about to end, and Kilo drops
// what it has queued when a turn is interrupted.
func (c *conversation) takeUp(ctx context.Context) error {
	if c.busy || len(c.sent) == 0 || c.sent[0].message == "" {
		return nil
	}
	m := &c.sent[0]
	status, err := c.status(ctx)
	if err != nil || status != nil { // it is at it, or gone
		return nil
	}
	if m.tries++; m.tries > 3 {
		err := fault(c.out, town.KindUnknown, fmt.Errorf("message %s is not answered, though the server has it", m.id))
		c.sent = c.sent[1:]
		return err
	}
	c.after(5*time.Second, c.takeUp)
	if err := c.send(ctx, *m); err != nil {
		return fault(c.out, town.KindUnknown, fmt.Errorf("send message %s again: %w", m.id, err))
	}
	return nil
}

// status returns what the server says of the session, nil when it is idle.
func (c *conversation) status(ctx context.Context) (json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := c.server.ask(ctx, http.MethodGet, "/session/status", nil, &all); err != nil {
		return nil, err
	}
	return all[c.session], nil
}

// after has ring called by run in a while.
func (c *conversation) after(d time.Duration, ring func(context.Context) error) {
	c.alarms = append(c.alarms, alarm{time.Now().Add(d), ring})
	slices.SortStableFunc(c.alarms, func(a, b alarm) int { return a.at.Compare(b.at) })
	c.timer.Reset(time.Until(c.alarms[0].at))
}

func (c *conversation) ring(ctx context.Context) error {
	for len(c.alarms) > 0 && !c.alarms[0].at.After(time.Now()) {
		first := c.alarms[0]
		c.alarms = c.alarms[1:]
		if err := first.ring(ctx); err != nil {
			return err
		}
	}
	if len(c.alarms) > 0 {
		c.timer.Reset(time.Until(c.alarms[0].at))
	}
	return nil
}
