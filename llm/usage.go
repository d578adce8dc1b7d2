package llm

import (
	"bytes"
	"strconv"

	"townd/town"
)

// meter reads usage and faults from an answer while it passes by, a stream of
// events or one document, in bounded memory.
type meter struct {
	dialect town.Dialect
	events  bool // the answer is a stream of server-sent events
	scan    scanner
	line    []byte // the beginning of this line, until we know what it is
	kind    lineKind

	input, output, thoughts, cacheRead, cacheWrite, tools int64
	cost                                                  float64 // in USD; 0 when the answer does not say
	fault                                                 told
}

// told is what an error in an answer says of itself.
type told struct {
	kind, code, status, message string
	retryDelay                  string // as "36s"
	refused                     bool   // the provider's moderation took offence
}

func (t *told) empty() bool { return *t == told{} }

type lineKind byte

const (
	lineStart lineKind = iota
	lineData
	lineOther
)

func newMeter(dialect town.Dialect, events bool) *meter {
	m := &meter{dialect: dialect, events: events}
	m.scan.found = m.take
	return m
}

var dataField = []byte("data:")

// feed reads the next piece of the answer.
func (m *meter) feed(p []byte) {
	if !m.events {
		m.scan.feed(p)
		return
	}
	for len(p) > 0 {
		piece, end := p, bytes.IndexByte(p, '\n')
		if end >= 0 {
			piece = p[:end]
		}
		p = p[len(piece):]
		m.feedLine(piece)
		if end >= 0 {
			p = p[1:]
			m.endLine()
		}
	}
}

// feedLine reads a piece of one line. A carriage return at its end is white
// space to JSON.
func (m *meter) feedLine(p []byte) {
	if m.kind == lineStart {
		n := min(len(dataField)-len(m.line), len(p))
		m.line, p = append(m.line, p[:n]...), p[n:]
		switch {
		case !bytes.HasPrefix(dataField, m.line):
			m.kind = lineOther
		case len(m.line) == len(dataField):
			m.kind = lineData
			if m.scan.done() || m.scan.state == scanBroken { // servers forget the empty line between events
				m.scan.reset()
			}
		}
	}
	if m.kind == lineData {
		m.scan.feed(p)
	}
}

func (m *meter) endLine() {
	switch {
	case m.kind == lineData:
		m.scan.feed([]byte{'\n'})
	case len(m.line) == 0 || m.line[0] == '\r':
		m.scan.reset() // the event has ended
	}
	m.kind, m.line = lineStart, m.line[:0]
}

// take notes a value of the answer. Counts in a stream are totals so far, some
// of them 0 where they do not apply: the largest is the last that was meant.
func (m *meter) take(f *field) {
	path := bytes.TrimPrefix(bytes.TrimPrefix(f.path, []byte(".message")), []byte(".response"))
	switch string(path) {
	case ".usage.input_tokens", ".usage.prompt_tokens", ".usageMetadata.promptTokenCount":
		m.input = max(m.input, f.count())
	case ".usage.output_tokens", ".usage.completion_tokens", ".usageMetadata.candidatesTokenCount":
		m.output = max(m.output, f.count())
	case ".usageMetadata.thoughtsTokenCount":
		m.thoughts = max(m.thoughts, f.count())
	case ".usageMetadata.toolUsePromptTokenCount":
		m.tools = max(m.tools, f.count())
	case ".usage.cache_read_input_tokens", ".usage.prompt_tokens_details.cached_tokens",
		".usage.input_tokens_details.cached_tokens", ".usageMetadata.cachedContentTokenCount":
		m.cacheRead = max(m.cacheRead, f.count())
	case ".usage.cache_creation_input_tokens", ".usage.prompt_tokens_details.cache_write_tokens",
		".usage.input_tokens_details.cache_write_tokens":
		m.cacheWrite = max(m.cacheWrite, f.count())
	case ".usage.cost":
		if cost, err := strconv.ParseFloat(string(f.raw), 64); err == nil && cost > m.cost && cost < maxCost {
			m.cost = cost
		}
	default:
		m.fault.take(string(path), f)
	}
}

// maxCost is more than any honest call costs, in USD.
const maxCost = 1e5

func (t *told) take(path string, f *field) {
	switch path {
	case ".error":
		if f.kind == '"' {
			t.message = f.text() // as Ollama does
		}
	case ".error.type":
		t.kind = f.text()
	case ".error.code":
		if string(f.raw) != "null" {
			t.code = f.text() // a string, or a status
		}
	case ".error.status", ".error.details.reason":
		if t.status == "" || path != ".error.status" { // the reason is more exact
			t.status = f.text()
		}
	case ".error.message":
		t.message = f.text()
	case ".error.details.retryDelay":
		t.retryDelay = f.text()
	case ".error.metadata.reasons", ".error.metadata.flagged_input":
		t.refused = true
	}
}

// usage returns what was counted so far. InputTokens are those that no cache was
// read from or written for, in every dialect.
func (m *meter) usage(price Price) town.UsageData {
	u := town.UsageData{
		InputTokens: m.input + m.tools, OutputTokens: m.output + m.thoughts,
		CacheReadTokens: m.cacheRead, CacheWriteTokens: m.cacheWrite, CostUSD: m.cost,
	}
	if m.dialect != town.DialectAnthropic { // the others count cached tokens as input, too
		u.InputTokens = max(0, u.InputTokens-u.CacheReadTokens-u.CacheWriteTokens)
	}
	if u.CostUSD == 0 {
		u.CostUSD = price.of(u)
	}
	return u
}

// Price is what a model costs, in USD for a million tokens. CacheRead and
// CacheWrite are Input's where they are 0.
type Price struct{ Input, Output, CacheRead, CacheWrite float64 }

func (p Price) of(u town.UsageData) float64 {
	read, write := p.CacheRead, p.CacheWrite
	if read == 0 {
		read = p.Input
	}
	if write == 0 {
		write = p.Input
	}
	return (float64(u.InputTokens)*p.Input + float64(u.OutputTokens)*p.Output +
		float64(u.CacheReadTokens)*read + float64(u.CacheWriteTokens)*write) / 1e6
}
