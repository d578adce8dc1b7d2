package agentcli

import (
	"fmt"

	"townd/town"
)

// turns is what every decoder knows of its CLI: part of its state.
type turns struct {
	Session string
	Working bool   // a turn is open
	Text    string // what it ends with: the agent's newest words
}

// session tells a session that is another than before.
func (t *turns) session(id string, emit emitFunc) {
	if id != "" && id != t.Session {
		t.Session = id
		emit(town.EventSession, town.SessionData{ID: id})
	}
}

// begin opens a turn, and reports false when one is open.
func (t *turns) begin(emit emitFunc) bool {
	if t.Working {
		return false
	}
	t.Working, t.Text = true, ""
	emit(town.EventTurnStarted, struct{}{})
	return true
}

// say tells words of the agent.
func (t *turns) say(text string, emit emitFunc) {
	t.Text = cut(text)
	emit(town.EventText, town.TextData{Text: t.Text})
}

// end closes the turn, if one is open.
func (t *turns) end(ok bool, emit emitFunc) {
	if t.Working {
		t.Working = false
		emit(town.EventTurnEnded, town.TurnEndedData{OK: ok, Text: t.Text})
	}
}

// crashed is the error of a program that ended by itself, with what it said last.
func crashed(code int, said string) town.ErrorData {
	return town.ErrorData{Kind: town.KindCrashed, Message: firstOf(said, fmt.Sprintf("exited with code %d", code))}
}

// statusKind classes the HTTP status of a model's provider.
func statusKind(status int) town.ErrorKind {
	switch {
	case status == 401, status == 403:
		return town.KindAuth
	case status == 402:
		return town.KindBilling
	case status == 413:
		return town.KindContextFull
	case status == 429:
		return town.KindRateLimit
	case status >= 500:
		return town.KindOverloaded
	}
	return town.KindUnknown
}

// plus returns what a and b use together.
func plus(a, b town.UsageData) town.UsageData {
	return town.UsageData{
		InputTokens:      a.InputTokens + b.InputTokens,
		OutputTokens:     a.OutputTokens + b.OutputTokens,
		CacheReadTokens:  a.CacheReadTokens + b.CacheReadTokens,
		CacheWriteTokens: a.CacheWriteTokens + b.CacheWriteTokens,
		CostUSD:          a.CostUSD + b.CostUSD,
	}
}

// less returns what a uses besides b.
func less(a, b town.UsageData) town.UsageData {
	return town.UsageData{
		InputTokens:      max(0, a.InputTokens-b.InputTokens),
		OutputTokens:     max(0, a.OutputTokens-b.OutputTokens),
		CacheReadTokens:  max(0, a.CacheReadTokens-b.CacheReadTokens),
		CacheWriteTokens: max(0, a.CacheWriteTokens-b.CacheWriteTokens),
		CostUSD:          max(0, a.CostUSD-b.CostUSD),
	}
}
