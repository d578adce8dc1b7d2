package agentcli

import (
	"encoding/json"
	"slices"
	"strings"

	"townd/town"
)

// engineDecoder reads the events of Kilo's and OpenCode's server, after a line
// that is the session itself. Its fields are its state.
type engineDecoder struct {
	turns
	Failed  bool   // the turn's error is told
	Faulted bool   // the driver told why it could not go on
	Reason  string // why the turn's newest step ended

	Sent   []engineSent // messages that the model has not answered
	Answer string       // the newest message of the model
	To     string       // the message that it answers
	Open   []string     // tool calls told whose results are not
	Clock  int64        // newest time told, in ms
}

// engineSent is a message of ours and the engine's id for it.
type engineSent struct{ Engine, Ours string }

// engineLine is one line, of any type. Which fields a type has was read off kilo
// 7.7.7 and opencode 1.18.33.
type engineLine struct {
	ID         string `json:"id"`
	Slug       string `json:"slug"` // of a session
	Type       string `json:"type"`
	Properties struct {
		SessionID string          `json:"sessionID"`
		Time      int64           `json:"time"`
		Info      engineInfo      `json:"info"`
		Part      enginePart      `json:"part"`
		Error     json.RawMessage `json:"error"`
		Status    struct {
			Type    string `json:"type"`
			Attempt int    `json:"attempt"`
			Message string `json:"message"`
			Next    int64  `json:"next"` // ms
			Action  struct {
				Reason string `json:"reason"`
			} `json:"action"`
		} `json:"status"`
	} `json:"properties"`
}

type engineInfo struct {
	ID       string `json:"id"`
	Role     string `json:"role"`
	ParentID string `json:"parentID"` // of a message: which it answers
	Time     struct {
		Created int64 `json:"created"` // ms
	} `json:"time"`
}

// enginePart is a piece of a message of the engine's.
type enginePart struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	SessionID string `json:"sessionID"`
	MessageID string `json:"messageID"`
	Text      string `json:"text"`
	Synthetic bool   `json:"synthetic"` // the engine's own words
	Time      struct {
		End int64 `json:"end"` // ms, 0 while it grows
	} `json:"time"`
	Metadata struct {
		Townd string `json:"townd"` // our id of a message that the driver sent, if it has one
		Sent  string `json:"sent"`  // the driver's number of it
	} `json:"metadata"`
	CallID string `json:"callID"`
	Tool   string `json:"tool"`
	State  struct {
		Status string          `json:"status"`
		Input  json.RawMessage `json:"input"`
		Output string          `json:"output"`
		Error  string          `json:"error"`
		Time   struct {
			Compacted int64 `json:"compacted"` // ms, when its output was let go of
		} `json:"time"`
	} `json:"state"`
	Reason string  `json:"reason"`
	Cost   float64 `json:"cost"`
	Tokens struct {
		Input     int64 `json:"input"`
		Output    int64 `json:"output"`
		Reasoning int64 `json:"reasoning"`
		Cache     struct {
			Read  int64 `json:"read"`
			Write int64 `json:"write"`
		} `json:"cache"`
	} `json:"tokens"`
}

func (d *engineDecoder) decode(line []byte, emit emitFunc) bool {
	if driver, fault := decodeDriver(line, emit); driver {
		d.Failed, d.Faulted = d.Failed || fault, d.Faulted || fault
		return true
	}
	var l engineLine
	ok := parse(line, &l)
	session := l.Type == "" && l.Slug != "" && strings.HasPrefix(l.ID, "ses")
	if !ok || l.Type == "" && !session {
		return false
	}
	p := &l.Properties
	own := p.SessionID == "" && p.Part.SessionID == "" || firstOf(p.SessionID, p.Part.SessionID) == d.Session
	d.Clock = max(d.Clock, p.Time, p.Info.Time.Created)
	switch l.Type {
	case "":
		d.session(l.ID, emit)
	case "session.status":
		d.status(&l, own, emit)
	case "session.idle":
		if own {
			d.end(emit)
		}
	case "session.error":
		if own {
			d.fail(p.Error, emit)
		}
	case "message.updated":
		if own && p.Info.Role == "assistant" {
			d.Answer, d.To = p.Info.ID, p.Info.ParentID
		}
	case "message.part.updated":
		d.part(&p.Part, own, emit)
	}
	return true
}

// status tells of turns, and of retries whosever they are: a subagent's wait is
// its parent's.
func (d *engineDecoder) status(l *engineLine, own bool, emit emitFunc) {
	switch st := &l.Properties.Status; st.Type {
	case "busy":
		if own {
			d.begin(emit)
		}
	case "idle":
		if own {
			d.end(emit)
		}
	case "retry":
		delay := 0.0
		if d.Clock > 0 && st.Next > d.Clock {
			delay = float64(st.Next-d.Clock) / 1000
		}
		d.Clock = max(d.Clock, st.Next)
		emit(town.EventRetry, town.RetryData{Kind: retryKind(st.Action.Reason, st.Message), Attempt: max(st.Attempt, 1), DelaySeconds: delay})
	case "offline": // kilo waits to be told that the network is back; the driver tells it
		emit(town.EventRetry, town.RetryData{Kind: town.KindNetwork, Attempt: 1})
	}
}

// retryKind classes what the engine says of a retry. It says no status, only the
// provider's message, unless it is one of these of its own.
func retryKind(reason, message string) town.ErrorKind {
	switch {
	case strings.HasSuffix(reason, "_limit"), message == "Too Many Requests", message == "Rate Limited":
		return town.KindRateLimit
	case message == "Provider is overloaded":
		return town.KindOverloaded
	case strings.HasPrefix(message, "Cannot connect to API"):
		return town.KindNetwork
	}
	return town.KindUnknown
}

func (d *engineDecoder) begin(emit emitFunc) {
	if d.turns.begin(emit) {
		d.Failed, d.Reason = false, ""
	}
}

// end ends the turn. The engine tells it up to four times. Kilo ends one after a
// step with tools when the next message waits.
func (d *engineDecoder) end(emit emitFunc) {
	ok := d.Reason == "stop" || d.Reason == "tool-calls" && len(d.Sent) > 0
	d.turns.end(ok && !d.Failed, emit)
}

// part tells of what is whole. What a subagent says is not the agent's word, but
// its tools and what it costs are.
func (d *engineDecoder) part(p *enginePart, own bool, emit emitFunc) {
	if p.Metadata.Townd != "" || p.Metadata.Sent != "" {
		d.Sent = append(d.Sent, engineSent{Engine: p.MessageID, Ours: p.Metadata.Townd})
		return
	}
	if own && p.MessageID == d.Answer {
		d.seen(emit)
	}
	switch p.Type {
	case "text":
		if own && p.Text != "" && !p.Synthetic && p.Time.End != 0 {
			d.say(p.Text, emit)
		}
	case "reasoning":
		if own && p.Text != "" && p.Time.End != 0 {
			emit(town.EventThinking, town.TextData{Text: cut(p.Text)})
		}
	case "tool":
		d.tool(p, emit)
	case "step-finish":
		if own {
			d.stepped(p.Reason, emit)
		}
		emit(town.EventUsage, town.UsageData{
			InputTokens:      p.Tokens.Input,
			OutputTokens:     p.Tokens.Output + p.Tokens.Reasoning,
			CacheReadTokens:  p.Tokens.Cache.Read,
			CacheWriteTokens: p.Tokens.Cache.Write,
			CostUSD:          p.Cost,
		})
	}
}

func (d *engineDecoder) stepped(reason string, emit emitFunc) {
	d.Reason = reason
	if reason == "content-filter" {
		d.Failed = true
		emit(town.EventError, town.ErrorData{Kind: town.KindRefused, Message: "The model's answer was withheld by a content filter."})
	}
}

// seen tells that the model answers d.To, and with it all that was sent before.
func (d *engineDecoder) seen(emit emitFunc) {
	n := 1 + slices.IndexFunc(d.Sent, func(s engineSent) bool { return s.Engine == d.To })
	for _, s := range d.Sent[:n] {
		if s.Ours == "" {
			continue
		}
		emit(town.EventMessage, town.MessageData{MessageID: s.Ours, Receipt: town.ReceiptSeen})
	}
	d.Sent = slices.Delete(d.Sent, 0, n)
}

func (d *engineDecoder) tool(p *enginePart, emit emitFunc) {
	st := &p.State
	done := st.Status == "completed" || st.Status == "error"
	if st.Time.Compacted != 0 || !done && st.Status != "running" {
		return
	}
	at := slices.Index(d.Open, p.CallID)
	if at < 0 {
		emit(town.EventToolCall, town.ToolCallData{ID: p.CallID, Name: p.Tool, Input: cutJSON(st.Input)})
	}
	switch {
	case done && at >= 0:
		d.Open = slices.Delete(d.Open, at, at+1)
	case !done && at < 0:
		d.Open = append(d.Open, p.CallID)
	}
	if done {
		emit(town.EventToolResult, town.ToolResultData{ID: p.CallID, OK: st.Status == "completed", Output: cut(firstOf(st.Output, st.Error))})
	}
}

// fail tells an error. One that comes with no turn open is of a message that the
// engine could not begin with, or tells the newest turn's once more.
func (d *engineDecoder) fail(raw json.RawMessage, emit emitFunc) {
	var e struct {
		Name string `json:"name"`
		Data struct {
			Message    string `json:"message"`
			StatusCode int    `json:"statusCode"`
		} `json:"data"`
	}
	parse(raw, &e)
	if d.Failed {
		return
	}
	open := d.Working
	d.begin(emit)
	d.Failed = true
	if e.Name != "MessageAbortedError" { // an interrupt, asked for
		emit(town.EventError, town.ErrorData{Kind: engineKind(e.Name, e.Data.StatusCode, e.Data.Message), Message: cut(firstOf(e.Data.Message, e.Name))})
	}
	if !open {
		d.end(emit)
	}
}

func engineKind(name string, status int, message string) town.ErrorKind {
	switch name {
	case "ProviderAuthError":
		return town.KindAuth
	case "ContextOverflowError":
		return town.KindContextFull
	case "ContentFilterError":
		return town.KindRefused
	}
	if status == 0 {
		return retryKind("", message)
	}
	return statusKind(status)
}

// finish ends a turn that was open.
func (d *engineDecoder) finish(code int, said string, emit emitFunc) {
	if code != 0 && !d.Faulted {
		emit(town.EventError, crashed(code, said))
	}
	d.Failed = d.Failed || code != 0
	d.end(emit)
	*d = engineDecoder{turns: turns{Session: d.Session}}
}
