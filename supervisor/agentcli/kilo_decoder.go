package agentcli

import (
	"encoding/json"
	"fmt"

	"townd/town"
)

// kiloDecoder reads the events of `kilo run --format json`. A process is a turn:
// no event ends it. Its fields are its state.
type kiloDecoder struct {
	Session string
	Working bool   // a turn is open
	Failed  bool   // its error is told
	Reason  string // why its newest step ended
	Text    string // its newest text
}

type kiloLine struct {
	Type      string          `json:"type"`
	SessionID string          `json:"sessionID"`
	Error     json.RawMessage `json:"error"`
	Part      struct {
		Text   string `json:"text"`
		CallID string `json:"callID"`
		Tool   string `json:"tool"`
		State  struct {
			Status string          `json:"status"`
			Input  json.RawMessage `json:"input"`
			Output string          `json:"output"`
			Error  string          `json:"error"`
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
	} `json:"part"`
}

func (d *kiloDecoder) decode(line []byte, emit emitFunc) bool {
	var l kiloLine
	if !parse(line, &l) || l.Type == "" || l.SessionID == "" {
		return false
	}
	if l.SessionID != d.Session {
		d.Session = l.SessionID
		emit(town.EventSession, town.SessionData{ID: l.SessionID})
	}
	d.begin(emit)
	switch l.Type {
	case "text":
		d.Text = cut(l.Part.Text)
		emit(town.EventText, town.TextData{Text: d.Text})
	case "reasoning":
		emit(town.EventThinking, town.TextData{Text: cut(l.Part.Text)})
	case "tool_use":
		st := l.Part.State
		emit(town.EventToolCall, town.ToolCallData{ID: l.Part.CallID, Name: l.Part.Tool, Input: cutJSON(st.Input)})
		emit(town.EventToolResult, town.ToolResultData{
			ID: l.Part.CallID, OK: st.Status == "completed", Output: cut(firstOf(st.Output, st.Error)),
		})
	case "step_finish":
		d.Reason = l.Part.Reason
		emit(town.EventUsage, town.UsageData{
			InputTokens:      l.Part.Tokens.Input,
			OutputTokens:     l.Part.Tokens.Output + l.Part.Tokens.Reasoning,
			CacheReadTokens:  l.Part.Tokens.Cache.Read,
			CacheWriteTokens: l.Part.Tokens.Cache.Write,
			CostUSD:          l.Part.Cost,
		})
	case "error":
		d.fail(l.Error, emit)
	}
	return true
}

func (d *kiloDecoder) begin(emit emitFunc) {
	if !d.Working {
		d.Working = true
		emit(town.EventTurnStarted, struct{}{})
	}
}

func (d *kiloDecoder) fail(raw json.RawMessage, emit emitFunc) {
	var e struct {
		Name string `json:"name"`
		Data struct {
			Message    string `json:"message"`
			StatusCode int    `json:"statusCode"`
		} `json:"data"`
	}
	var text string
	if json.Unmarshal(raw, &text) != nil { // an error of its own making is a mere text
		parse(raw, &e)
	}
	d.Failed = true
	emit(town.EventError, town.ErrorData{Kind: kiloKind(e.Name, e.Data.StatusCode), Message: cut(firstOf(e.Data.Message, text, e.Name))})
}

func kiloKind(name string, status int) town.ErrorKind {
	switch name {
	case "ProviderAuthError":
		return town.KindAuth
	case "ContextOverflowError":
		return town.KindContextFull
	}
	return statusKind(status)
}

// finish ends the turn that the process was.
func (d *kiloDecoder) finish(code int, said string, emit emitFunc) {
	if !d.Working && code == 0 {
		return
	}
	d.begin(emit)
	if code != 0 && !d.Failed {
		emit(town.EventError, crashed(code, said))
	}
	emit(town.EventTurnEnded, town.TurnEndedData{OK: code == 0 && !d.Failed && d.Reason == "stop", Text: d.Text})
	*d = kiloDecoder{Session: d.Session}
}

// crashed is the error of a program that ended by itself, with what it said last.
func crashed(code int, said string) town.ErrorData {
	return town.ErrorData{Kind: town.KindCrashed, Message: firstOf(said, fmt.Sprintf("exited with code %d", code))}
}
