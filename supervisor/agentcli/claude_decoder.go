package agentcli

import (
	"encoding/json"
	"slices"
	"strings"

	"townd/town"
)

// claudeDecoder reads claude's stream-json. Its fields are its state.
type claudeDecoder struct {
	turns
	Answered bool           // this process has ended a turn
	Fault    string         // the kind of error told by a message in the place of the model's
	Message  string         // id of the model's newest message, whose usage is counted
	Counted  town.UsageData // told since the last result
	Cost     float64        // total told by the last result
	Calls    []string       // ids of this turn's newest tool calls, at most maxCalls
	Dead     []string       // names of the MCP servers told to be dead
}

// maxCalls is how many tool calls are remembered, so that each is told once even
// if claude repeats a message.
const maxCalls = 256

// claudeLine is one line, of any type. Which fields a type has was read off
// claude 2.1.329.
type claudeLine struct {
	Type      string  `json:"type"`
	Subtype   string  `json:"subtype"`
	SessionID string  `json:"session_id"`
	UUID      string  `json:"uuid"`
	Parent    *string `json:"parent_tool_use_id"` // set in what a subagent says and does
	Error     string  `json:"error"`              // of assistant and api_retry
	// user and assistant
	IsReplay bool `json:"isReplay"`
	Message  struct {
		ID      string          `json:"id"`
		Content json.RawMessage `json:"content"`
		Usage   claudeUsage     `json:"usage"`
	} `json:"message"`
	// system, subtype init
	MCPServers []claudeServer `json:"mcp_servers"`
	// system, subtype api_retry
	Attempt      int     `json:"attempt"`
	RetryDelayMS float64 `json:"retry_delay_ms"`
	ErrorStatus  int     `json:"error_status"`
	// result
	claudeResult
}

type claudeResult struct {
	IsError        bool                        `json:"is_error"`
	APIErrorStatus int                         `json:"api_error_status"`
	TerminalReason string                      `json:"terminal_reason"`
	StopReason     string                      `json:"stop_reason"`
	Result         string                      `json:"result"`
	Errors         []string                    `json:"errors"`
	Usage          claudeUsage                 `json:"usage"`
	StartupFailure string                      `json:"startup_failure_reason"`
	TotalCostUSD   float64                     `json:"total_cost_usd"`
	SinceLast      map[string]claudeModelUsage `json:"model_usage_since_last_result"`
}

type claudeServer struct {
	Name   string `json:"name"`
	Status string `json:"status"`
}

type claudeUsage struct {
	Input      int64 `json:"input_tokens"`
	Output     int64 `json:"output_tokens"`
	CacheRead  int64 `json:"cache_read_input_tokens"`
	CacheWrite int64 `json:"cache_creation_input_tokens"`
}

func (u claudeUsage) data() town.UsageData {
	return town.UsageData{InputTokens: u.Input, OutputTokens: u.Output, CacheReadTokens: u.CacheRead, CacheWriteTokens: u.CacheWrite}
}

type claudeModelUsage struct {
	Input      int64   `json:"inputTokens"`
	Output     int64   `json:"outputTokens"`
	CacheRead  int64   `json:"cacheReadInputTokens"`
	CacheWrite int64   `json:"cacheCreationInputTokens"`
	CostUSD    float64 `json:"costUSD"`
}

type claudeBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Thinking  string          `json:"thinking"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	IsError   bool            `json:"is_error"`
	Content   any             `json:"content"` // of a result: a string, or blocks
}

func (d *claudeDecoder) decode(line []byte, emit emitFunc) bool {
	var l claudeLine
	if !parse(line, &l) || l.Type == "" {
		return false
	}
	switch l.Type {
	case "system":
		d.system(&l, emit)
	case "assistant":
		d.assistant(&l, emit)
	case "user":
		if l.IsReplay && l.UUID != "" {
			emit(town.EventMessage, town.MessageData{MessageID: l.UUID, Receipt: town.ReceiptDelivered})
		}
		toolResults(l.Message.Content, emit)
	case "result":
		d.result(&l, emit)
	}
	return true
}

func (d *claudeDecoder) system(l *claudeLine, emit emitFunc) {
	switch l.Subtype {
	case "init": // each turn begins with one
		d.session(l.SessionID, emit)
		d.begin(emit)
		d.servers(l.MCPServers, emit)
	case "api_retry":
		emit(town.EventRetry, town.RetryData{
			Kind: claudeKind(l.Error, l.ErrorStatus), Attempt: l.Attempt, DelaySeconds: l.RetryDelayMS / 1000,
		})
	}
}

// servers tells each MCP server that could not be started, once: claude goes on
// without its tools.
func (d *claudeDecoder) servers(servers []claudeServer, emit emitFunc) {
	for _, s := range servers {
		if s.Status != "failed" || slices.Contains(d.Dead, s.Name) || len(d.Dead) >= maxCalls {
			continue
		}
		d.Dead = append(d.Dead, s.Name)
		emit(town.EventError, town.ErrorData{Kind: town.KindUnknown, Message: "MCP server " + cut(s.Name) + " is dead: its tools are missing"})
	}
}

func (d *claudeDecoder) begin(emit emitFunc) {
	if d.turns.begin(emit) {
		d.Fault = ""
	}
}

func (d *claudeDecoder) assistant(l *claudeLine, emit emitFunc) {
	d.begin(emit)
	if l.Error != "" { // claude speaks here, not the model; the result tells it again
		d.Fault = l.Error
		return
	}
	// Each block of a message is a line of its own with the usage of all. A
	// subagent's is in the result alone.
	if l.Parent == nil && l.Message.ID != d.Message {
		d.Message = l.Message.ID
		d.count(l.Message.Usage.data(), emit)
	}
	var blocks []claudeBlock
	parse(l.Message.Content, &blocks)
	for _, b := range blocks {
		switch b.Type {
		case "text":
			emit(town.EventText, town.TextData{Text: cut(b.Text)})
		case "thinking":
			if b.Thinking != "" {
				emit(town.EventThinking, town.TextData{Text: cut(b.Thinking)})
			}
		case "tool_use":
			d.call(&b, emit)
		}
	}
}

func (d *claudeDecoder) call(b *claudeBlock, emit emitFunc) {
	if slices.Contains(d.Calls, b.ID) {
		return
	}
	if len(b.ID) <= maxSaid { // no id that a model's provider makes is near that
		d.Calls = append(d.Calls, b.ID)
		d.Calls = d.Calls[max(0, len(d.Calls)-maxCalls):]
	}
	emit(town.EventToolCall, town.ToolCallData{ID: b.ID, Name: b.Name, Input: cutJSON(b.Input)})
}

// count tells what was used besides what is counted, if anything.
func (d *claudeDecoder) count(u town.UsageData, emit emitFunc) {
	if u == (town.UsageData{}) {
		return
	}
	d.Counted = plus(d.Counted, u)
	emit(town.EventUsage, u)
}

func toolResults(content json.RawMessage, emit emitFunc) {
	var blocks []claudeBlock
	parse(content, &blocks)
	for _, b := range blocks {
		if b.Type == "tool_result" {
			emit(town.EventToolResult, town.ToolResultData{ID: b.ToolUseID, OK: !b.IsError, Output: cut(plainContent(b.Content))})
		}
	}
}

func (d *claudeDecoder) result(l *claudeLine, emit emitFunc) {
	d.count(d.rest(&l.claudeResult), emit)
	d.Counted, d.Cost, d.Message = town.UsageData{}, l.TotalCostUSD, ""
	ok := !l.IsError && l.StopReason != "refusal"
	interrupted := strings.HasPrefix(l.TerminalReason, "aborted_")
	if !ok && !interrupted {
		message := firstOf(l.Result, strings.Join(l.Errors, "; "), l.TerminalReason, l.Subtype)
		emit(town.EventError, town.ErrorData{Kind: d.kind(l), Message: cut(message)})
	}
	d.Text = cut(l.Result)
	d.end(ok, emit) // of none if nothing began: a session that could not be resumed
	d.Answered, d.Fault, d.Calls = true, "", nil
}

// rest returns what a turn used besides what its messages told: they carry the
// output of their first moment, and nothing of subagents or cost.
func (d *claudeDecoder) rest(r *claudeResult) town.UsageData {
	var total town.UsageData
	for _, m := range r.SinceLast {
		total = plus(total, town.UsageData{
			InputTokens: m.Input, OutputTokens: m.Output, CacheReadTokens: m.CacheRead, CacheWriteTokens: m.CacheWrite, CostUSD: m.CostUSD,
		})
	}
	if r.SinceLast == nil { // a version that does not tell the difference
		total = r.Usage.data()
		total.CostUSD = r.TotalCostUSD
		if r.TotalCostUSD >= d.Cost {
			total.CostUSD -= d.Cost
		}
	}
	return less(total, d.Counted)
}

// kind classes a failed turn by what claude says of it, never by its text.
func (d *claudeDecoder) kind(l *claudeLine) town.ErrorKind {
	switch l.TerminalReason {
	case "prompt_too_long", "blocking_limit", "rapid_refill_breaker":
		return town.KindContextFull
	case "api_error", "model_error":
		return claudeKind(d.Fault, l.APIErrorStatus)
	}
	if slices.Contains(claudeSignIns, l.StartupFailure) {
		return town.KindAuth
	}
	if l.StopReason == "refusal" {
		return town.KindRefused
	}
	if l.APIErrorStatus != 0 {
		return claudeKind(d.Fault, l.APIErrorStatus)
	}
	return town.KindUnknown
}

// claudeKind translates claude's own word for an error, and the status where the
// word says nothing. No status at all means that no answer came.
func claudeKind(word string, status int) town.ErrorKind {
	switch word {
	case "authentication_failed", "oauth_org_not_allowed", "account_on_hold", "verification_required", "cloud_credential_error":
		return town.KindAuth
	case "billing_error":
		return town.KindBilling
	case "rate_limit":
		return town.KindRateLimit
	case "overloaded", "server_error":
		return town.KindOverloaded
	}
	if status == 0 && (word == "" || word == "unknown") {
		return town.KindNetwork
	}
	return statusKind(status)
}

// claudeSignIns are the reasons for which claude does not start that a person
// mends by signing in otherwise.
var claudeSignIns = []string{
	"gateway_access_denied", "gateway_signin_required", "org_pin_api_key_conflict", "org_pin_mismatch", "org_verify_failed",
	"provider_not_allowed",
}

// finish ends a turn that was open. A process that never answered tells why in
// plain text, as "No conversation found with session ID"; one that did exits 1
// after a failed turn, which is told already. One that hangs after its result and
// is killed has no open turn.
func (d *claudeDecoder) finish(code int, said string, emit emitFunc) {
	if code != 0 && (d.Working || !d.Answered) {
		fault := crashed(code, said)
		if claudeSignedOut(said) {
			fault.Kind = town.KindAuth
		}
		emit(town.EventError, fault)
	}
	d.end(false, emit)
	*d = claudeDecoder{turns: turns{Session: d.Session}, Cost: d.Cost}
}

// claudeSignedOutTexts begin what claude 2.1.329 prints when it has no credential
// that works and says so in no other way.
var claudeSignedOutTexts = []string{
	"Not logged in", "Login expired", "Login reached its time limit", "Please run /login", "OAuth token revoked",
	"OAuth token has expired", "Invalid API key", "Invalid auth token", "Failed to authenticate",
	"Your organization has disabled API key authentication",
}

// claudeSignedOut reports whether a line of what claude said itself, as it ended,
// begins with one of those texts. What a model or a tool says is not among said.
func claudeSignedOut(said string) bool {
	for text := range strings.Lines(said) {
		text = strings.TrimPrefix(strings.TrimSpace(text), "Error: ")
		if slices.ContainsFunc(claudeSignedOutTexts, func(begin string) bool { return strings.HasPrefix(text, begin) }) {
			return true
		}
	}
	return false
}
