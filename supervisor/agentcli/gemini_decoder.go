package agentcli

import (
	"encoding/json"
	"strings"

	"townd/town"
)

// geminiDecoder reads the events of gemini's stream-json. A process is a turn. Why
// it failed is told by the exit code, so an error waits for the end of the process.
// Its fields are its state.
type geminiDecoder struct {
	turns
	Answered bool   // this process has ended its turn well
	Piece    string // the text at hand, which comes in pieces
	Retried  bool   // told since the model last answered
	Failed   bool   // the turn's result is an error
	Type     string // of that error
	Message  string
}

type geminiLine struct {
	Type      string          `json:"type"`
	SessionID string          `json:"session_id"`
	Role      string          `json:"role"`
	Content   string          `json:"content"`
	ToolName  string          `json:"tool_name"`
	ToolID    string          `json:"tool_id"`
	Input     json.RawMessage `json:"parameters"`
	Status    string          `json:"status"`
	Output    string          `json:"output"`
	Severity  string          `json:"severity"`
	Message   string          `json:"message"`
	Error     *struct {
		Type    string `json:"type"`
		Message string `json:"message"`
		Code    int    `json:"code"` // of an answer of the API
	} `json:"error"`
	Stats struct {
		Total  int64 `json:"total_tokens"`
		Prompt int64 `json:"input_tokens"` // cached ones too
		Output int64 `json:"output_tokens"`
		Cached int64 `json:"cached"`
	} `json:"stats"`
}

func (d *geminiDecoder) decode(line []byte, emit emitFunc) bool {
	var l geminiLine
	if !parse(line, &l) {
		return false
	}
	if l.Type == "" && l.Error != nil && l.Error.Code != 0 {
		d.retry(l.Error.Code, emit)
		return true
	}
	if !d.Working && l.Type != "init" {
		return false
	}
	switch l.Type {
	case "init":
		d.session(l.SessionID, emit)
		d.begin(emit)
	case "message":
		if l.Role == "assistant" && len(d.Piece) <= maxText {
			d.Piece += l.Content
			d.Retried = false
		}
	case "tool_use":
		d.flush(emit)
		d.Retried = false
		emit(town.EventToolCall, town.ToolCallData{ID: l.ToolID, Name: l.ToolName, Input: cutJSON(l.Input)})
	case "tool_result":
		d.flush(emit)
		output := l.Output
		if output == "" && l.Error != nil {
			output = l.Error.Message
		}
		emit(town.EventToolResult, town.ToolResultData{ID: l.ToolID, OK: l.Status == "success", Output: cut(output)})
	case "error":
		if l.Severity == "error" { // a warning is of hooks and loops, and the turn goes on
			d.Message = cut(l.Message)
		}
	case "result":
		d.flush(emit)
		d.result(&l, emit)
	default:
		return false
	}
	return true
}

// retry tells that gemini waits and asks its model again: it prints the API's answer
// each time, also the one that it gives up on.
func (d *geminiDecoder) retry(status int, emit emitFunc) {
	if !d.Working || d.Retried || status != 429 && status < 499 {
		return
	}
	d.Retried = true
	emit(town.EventRetry, town.RetryData{Kind: statusKind(status), Attempt: 1, DelaySeconds: 5})
}

// flush tells the text whose pieces have come.
func (d *geminiDecoder) flush(emit emitFunc) {
	if strings.TrimSpace(d.Piece) != "" {
		d.say(d.Piece, emit)
	}
	d.Piece = ""
}

func (d *geminiDecoder) result(l *geminiLine, emit emitFunc) {
	u := l.Stats
	if u.Total > 0 {
		emit(town.EventUsage, town.UsageData{
			InputTokens:     max(0, u.Prompt-u.Cached),
			OutputTokens:    max(u.Output, u.Total-u.Prompt), // thoughts are in the total alone
			CacheReadTokens: u.Cached,
		})
	}
	if l.Status == "success" {
		d.close(true, emit)
		d.Answered = true
		return
	}
	d.Failed = true
	if l.Error != nil {
		d.Type, d.Message = l.Error.Type, cut(l.Error.Message)
	}
}

func (d *geminiDecoder) close(ok bool, emit emitFunc) {
	d.end(ok, emit)
	*d = geminiDecoder{turns: turns{Session: d.Session}}
}

// The exit codes of gemini's own (geminicli.com/docs/cli/headless).
const (
	geminiAuthFailed = 41
	geminiCancelled  = 130
)

// finish ends a turn that is still open, or never began.
func (d *geminiDecoder) finish(code int, said string, emit emitFunc) {
	if !d.Working && (code == 0 || d.Answered) {
		*d = geminiDecoder{turns: turns{Session: d.Session}}
		return
	}
	d.begin(emit)
	d.flush(emit)
	switch {
	case d.Failed && code == geminiCancelled:
	case d.Failed:
		emit(town.EventError, town.ErrorData{Kind: geminiKind(d.Type, code, d.Message), Message: firstOf(d.Message, "the turn failed")})
	case code == geminiAuthFailed:
		emit(town.EventError, town.ErrorData{Kind: town.KindAuth, Message: crashed(code, said).Message})
	case code != 0:
		emit(town.EventError, crashed(code, said))
	}
	d.close(false, emit)
}

// geminiKind classes a failed turn. gemini exits with the HTTP status of its model's
// answer, of which a process keeps the lowest byte.
func geminiKind(kind string, code int, message string) town.ErrorKind {
	switch kind {
	case "FatalAuthenticationError":
		return town.KindAuth
	case "TerminalQuotaError", "RetryableQuotaError":
		return town.KindRateLimit
	}
	switch {
	case code == geminiAuthFailed:
		return town.KindAuth
	case code == 400&0xff && strings.Contains(message, "API key"): // Google's 400 for a key that it does not know
		return town.KindAuth
	case code >= 400&0xff:
		return statusKind(code + 256) // 400 to 511
	case code > 1 && code < 600&0xff && code < geminiAuthFailed:
		return statusKind(code + 512) // 514 to 552, as 529
	}
	return town.KindUnknown
}
