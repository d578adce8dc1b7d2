package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// event is what decides about an event of a server: whether the town needs it,
// and what is to be done. Which fields a type has was read off kilo 7.7.7 and
// opencode 1.18.33.
type event struct {
	Type       string `json:"type"`
	Properties struct {
		ID        string      `json:"id"` // of what asks
		SessionID string      `json:"sessionID"`
		Info      messageInfo `json:"info"`
		Part      struct {
			ID        string `json:"id"`
			Type      string `json:"type"`
			MessageID string `json:"messageID"`
			Time      struct {
				End int64 `json:"end"`
			} `json:"time"`
			State struct {
				Status string `json:"status"`
			} `json:"state"`
			Metadata struct {
				Sent string `json:"sent"` // the number of a message of ours
			} `json:"metadata"`
		} `json:"part"`
		Status struct {
			Type string `json:"type"`
		} `json:"status"`
	} `json:"properties"`
}

type messageInfo struct {
	ID       string          `json:"id"`
	Role     string          `json:"role"`
	ParentID string          `json:"parentID"` // the message that it answers
	Error    json.RawMessage `json:"error"`
}

// questions are the events with which the server waits for a person, and what to
// answer: the path after the id, and the body.
var questions = map[string]struct {
	path, answer string
	body         any
}{
	"permission.asked": {"/permission/", "/reply", map[string]string{"reply": "always"}},
	"question.asked":   {"/question/", "/reject", nil},
	"suggestion.shown": {"/suggestion/", "/dismiss", nil},
}

// maxOffline is how often a model that cannot be reached is tried again, as often
// as after other errors.
const maxOffline = 5

// quiet is how long nothing is heard before a turn's end counts as missed.
const quiet = time.Second

// hear takes the next event. Every session of this server is the agent's own: what
// is not ours is of its subagents.
func (c *conversation) hear(ctx context.Context, data []byte) error {
	c.heard = time.Now()
	if data == nil {
		return c.catchUp(ctx)
	}
	var e event
	if err := json.Unmarshal(data, &e); err != nil && e.Type == "" {
		return nil // not an event of a version that we know
	}
	if q, ok := questions[e.Type]; ok {
		// One that is answered already is no more.
		_ = c.server.ask(ctx, http.MethodPost, q.path+e.Properties.ID+q.answer, q.body, nil)
		return nil
	}
	if e.Type == "session.network.asked" {
		c.reconnect(e.Properties.ID)
		return nil
	}
	if !c.wants(&e) {
		return nil
	}
	if err := c.out.line(data); err != nil {
		return err
	}
	return c.act(ctx, &e)
}

// wants reports whether an event tells the town something: pieces of a text that
// grows, and news of the server, do not.
func (c *conversation) wants(e *event) bool {
	p := &e.Properties
	switch e.Type {
	case "session.status", "session.idle", "session.error":
		return true
	case "message.updated":
		return p.Info.Role == "assistant" && p.Info.ID > c.opened && c.once(p.Info.ID)
	case "message.part.updated":
		part := &p.Part
		if part.MessageID <= c.opened {
			return false // a copy of a session is told as if it happened
		}
		switch part.Type {
		case "text", "reasoning":
			return (part.Time.End != 0 || part.Metadata.Sent != "") && c.once(part.ID)
		case "tool":
			switch part.State.Status {
			case "running":
				return !c.told[part.ID] && !c.toldBefore[part.ID] && c.once(part.ID+" running")
			case "completed", "error":
				return c.once(part.ID)
			}
		case "step-start", "step-finish":
			return c.once(part.ID)
		}
	}
	return false
}

// once reports whether id was told neither in this turn nor in the one before.
func (c *conversation) once(id string) bool {
	was := c.told[id] || c.toldBefore[id]
	c.told[id] = true
	return !was
}

// act does what an event calls for.
func (c *conversation) act(ctx context.Context, e *event) error {
	p := &e.Properties
	if p.SessionID != c.session {
		return nil
	}
	switch e.Type {
	case "session.status":
		if p.Status.Type == "idle" {
			c.turnEnded()
			return nil
		}
		c.busy = true
		if c.abort {
			c.abort = false
			return c.interrupt(ctx)
		}
	case "session.idle":
		c.turnEnded()
	case "session.error":
		if !c.busy && len(c.sent) > 0 && c.sent[0].message == "" {
			c.sent = c.sent[1:] // it could not even be kept
		}
	case "message.updated":
		c.newest = max(c.newest, p.Info.ID)
		c.offline = 0
		i := slices.IndexFunc(c.sent, func(m sent) bool { return m.message == p.Info.ParentID })
		c.sent = c.sent[i+1:]
	case "message.part.updated":
		if p.Part.Metadata.Sent != "" {
			c.kept(e)
		}
	}
	return nil
}

// kept notes the server's ids of a message.
func (c *conversation) kept(e *event) {
	part := &e.Properties.Part
	c.newest = max(c.newest, part.MessageID)
	for i := range c.sent {
		if m := &c.sent[i]; m.number == part.Metadata.Sent {
			m.message, m.part = part.MessageID, part.ID
		}
	}
	if !c.busy {
		c.after(5*time.Second, c.takeUp)
	}
}

func (c *conversation) turnEnded() {
	if c.busy {
		c.toldBefore, c.told = c.told, map[string]bool{}
	}
	c.busy, c.before = false, c.newest
	if len(c.sent) > 0 {
		c.after(time.Second, c.takeUp)
	}
}

// reconnect has Kilo, which waits for someone to say that the network is back, try
// again in a while, or give up.
func (c *conversation) reconnect(id string) {
	c.offline++
	answer := "/reply"
	if c.offline > maxOffline {
		answer = "/reject"
	}
	c.after(time.Second<<min(c.offline, maxOffline), func(ctx context.Context) error {
		_ = c.server.ask(ctx, http.MethodPost, "/network/"+id+answer, nil, nil) // the turn may have been interrupted
		return nil
	})
}

// message is one of a session's, with its parts.
type message struct {
	Info  json.RawMessage   `json:"info"`
	Parts []json.RawMessage `json:"parts"`
}

func (m *message) id() string {
	var info messageInfo
	_ = json.Unmarshal(m.Info, &info) // then it has none
	return info.ID
}

// messages returns the newest messages of a session, in order.
func (c *conversation) messages(ctx context.Context, session string, limit int) ([]message, error) {
	var all []message
	if err := c.server.ask(ctx, http.MethodGet, fmt.Sprintf("/session/%s/message?limit=%d", session, limit), nil, &all); err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	return all, nil
}

// catchUp tells what was missed while no one listened. A turn's end is told when
// it is quiet: it may be in the events that follow, after others.
func (c *conversation) catchUp(ctx context.Context) error {
	c.after(quiet, c.settle)
	return c.tellMissed(ctx)
}

// settle tells the end of a turn that was missed.
func (c *conversation) settle(ctx context.Context) error {
	if !c.busy {
		return nil
	}
	if time.Since(c.heard) < quiet {
		c.after(quiet, c.settle)
		return nil
	}
	if status, err := c.status(ctx); err != nil || status != nil {
		return nil
	}
	if err := c.tellMissed(ctx); err != nil {
		return err
	}
	return c.replay(ctx, "session.idle", c.session, "", nil)
}

// tellMissed tells what the messages since the last turn have that is not told.
// What is told here and is in the events that follow, too, is left out there.
func (c *conversation) tellMissed(ctx context.Context) error {
	sessions := []string{c.session}
	var children []messageInfo
	if err := c.server.ask(ctx, http.MethodGet, "/session/"+c.session+"/children", nil, &children); err != nil {
		return nil // the server is gone, or the next connection will tell
	}
	for _, child := range children {
		sessions = append(sessions, child.ID)
	}
	last := c.before // a turn's end in the middle would move it
	for _, session := range sessions {
		messages, err := c.messages(ctx, session, 200)
		if err != nil {
			return nil
		}
		for i := range messages {
			if m := &messages[i]; m.id() > last {
				if err := c.missed(ctx, session, m); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// missed tells one message.
func (c *conversation) missed(ctx context.Context, session string, m *message) error {
	var info messageInfo
	_ = json.Unmarshal(m.Info, &info) // what it lacks is not told
	if session == c.session && info.Role == "assistant" && !c.busy {
		if err := c.replay(ctx, "session.status", session, "status", json.RawMessage(`{"type":"busy"}`)); err != nil {
			return err
		}
	}
	if err := c.replay(ctx, "message.updated", session, "info", m.Info); err != nil {
		return err
	}
	for _, part := range m.Parts {
		if err := c.replay(ctx, "message.part.updated", session, "part", part); err != nil {
			return err
		}
	}
	if len(info.Error) > 0 && session == c.session {
		return c.replay(ctx, "session.error", session, "error", info.Error)
	}
	return nil
}

// replay hears an event made of what the server says when asked.
func (c *conversation) replay(ctx context.Context, kind, session, key string, value json.RawMessage) error {
	properties := map[string]any{"sessionID": session}
	if key != "" {
		properties[key] = value
	}
	data, err := json.Marshal(map[string]any{"type": kind, "properties": properties})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return c.hear(ctx, data)
}
