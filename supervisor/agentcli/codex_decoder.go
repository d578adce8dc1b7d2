package agentcli

import (
	"encoding/json"
	"slices"
	"strings"

	"townd/town"
)

// codexDecoder reads the lines of codex app-server and of its driver. Its fields
// are its state.
type codexDecoder struct {
	turns
	Opened  bool                      // this process has a thread
	Failed  bool                      // the turn's error is told
	Faulted bool                      // the driver told why it could not go on
	Attempt int                       // retries since the model last answered
	Retried town.ErrorKind            // why the newest of them
	Asked   []string                  // messages that the model has not answered yet
	Totals  map[string]town.UsageData // of each thread, as told last: a subagent is a thread
}

type codexUsage struct {
	Input      int64 `json:"inputTokens"` // with what came from or went to the cache
	CacheRead  int64 `json:"cachedInputTokens"`
	CacheWrite int64 `json:"cacheWriteInputTokens"`
	Output     int64 `json:"outputTokens"` // with reasoning
}

func (u codexUsage) data() town.UsageData {
	return town.UsageData{
		InputTokens:      max(0, u.Input-u.CacheRead-u.CacheWrite),
		OutputTokens:     u.Output,
		CacheReadTokens:  u.CacheRead,
		CacheWriteTokens: u.CacheWrite,
	}
}

// codexLine is one line, of any kind. Which fields a kind has was read off the
// schema that codex 0.169.0 prints.
type codexLine struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Result struct {
		Thread struct {
			ID string `json:"id"`
		} `json:"thread"`
	} `json:"result"`
	Error  json.RawMessage `json:"error"`
	Params struct {
		ThreadID  string     `json:"threadId"`
		WillRetry bool       `json:"willRetry"`
		Error     codexFault `json:"error"`
		Item      codexItem  `json:"item"`
		Turn      struct {
			Status string      `json:"status"`
			Error  *codexFault `json:"error"`
		} `json:"turn"`
		Usage struct {
			Total codexUsage `json:"total"`
			Last  codexUsage `json:"last"`
		} `json:"tokenUsage"`
	} `json:"params"`
}

func (d *codexDecoder) decode(line []byte, emit emitFunc) bool {
	if driver, fault := decodeDriver(line, emit); driver {
		d.Faulted = d.Faulted || fault
		return true
	}
	var l codexLine
	if !parse(line, &l) || l.Method == "" && l.ID == nil {
		return false
	}
	if l.Method == "" {
		d.opened(l.Result.Thread.ID, emit)
		return true
	}
	if l.Method == "thread/tokenUsage/updated" {
		d.usage(&l, emit)
		return true
	}
	if l.Params.ThreadID != d.Session {
		return true // a subagent's, which is a tool of ours
	}
	switch l.Method {
	case "turn/started":
		d.begin(emit)
	case "turn/completed":
		d.completed(l.Params.Turn.Status, l.Params.Turn.Error, emit)
	case "item/started":
		d.call(&l.Params.Item, emit)
	case "item/completed":
		d.item(&l.Params.Item, emit)
	case "error":
		d.fault(&l.Params.Error, l.Params.WillRetry, emit)
	}
	return true
}

func (d *codexDecoder) opened(thread string, emit emitFunc) {
	if thread == "" {
		return
	}
	d.Opened = true
	d.session(thread, emit)
}

func (d *codexDecoder) begin(emit emitFunc) {
	if d.turns.begin(emit) {
		d.Failed, d.Attempt = false, 0
	}
}

func (d *codexDecoder) completed(status string, fault *codexFault, emit emitFunc) {
	if !d.Working {
		return
	}
	if status == "failed" && !d.Failed {
		if fault == nil {
			fault = &codexFault{}
		}
		d.fault(fault, false, emit)
	}
	d.end(status == "completed" && !d.Failed, emit)
	d.Asked = nil
}

// usage tells what was used besides what is told already. The first total of a
// thread is told without a turn when it holds a history: what a session that is
// gone on with, or its copy, used before.
func (d *codexDecoder) usage(l *codexLine, emit emitFunc) {
	total := l.Params.Usage.Total.data()
	before, known := d.Totals[l.Params.ThreadID]
	if !known || total.InputTokens < before.InputTokens || total.OutputTokens < before.OutputTokens {
		before = less(total, l.Params.Usage.Last.data())
	}
	if d.Totals == nil {
		d.Totals = map[string]town.UsageData{}
	}
	d.Totals[l.Params.ThreadID] = total
	if used := less(total, before); used != (town.UsageData{}) && (known || d.Working) {
		emit(town.EventUsage, used)
	}
}

// item emits what a finished item tells.
func (d *codexDecoder) item(i *codexItem, emit emitFunc) {
	switch i.Type {
	case "userMessage":
		if i.ClientID != "" && !slices.Contains(d.Asked, i.ClientID) {
			d.Asked = append(d.Asked, i.ClientID)
		}
		return
	case "agentMessage":
		d.answered(emit)
		d.say(i.Text, emit)
	case "reasoning":
		d.answered(emit)
		if text := strings.Join(append(i.Summary, i.reasoning()...), "\n"); strings.TrimSpace(text) != "" {
			emit(town.EventThinking, town.TextData{Text: cut(text)})
		}
	default:
		if name, _ := i.tool(); name == "" {
			return
		}
		if i.Type == "webSearch" { // begins before its query is known
			d.tell(i, emit)
		}
		emit(town.EventToolResult, town.ToolResultData{ID: i.ID, OK: i.ok(), Output: cut(i.output())})
	}
}

// call emits the call of a tool that an item begins with.
func (d *codexDecoder) call(i *codexItem, emit emitFunc) {
	if i.Type != "webSearch" {
		d.tell(i, emit)
	}
}

func (d *codexDecoder) tell(i *codexItem, emit emitFunc) {
	name, input := i.tool()
	if name == "" {
		return
	}
	d.answered(emit)
	emit(town.EventToolCall, town.ToolCallData{ID: i.ID, Name: name, Input: cutJSON(input)})
}

// answered tells that the model has seen what it was asked.
func (d *codexDecoder) answered(emit emitFunc) {
	d.Attempt = 0
	for _, id := range d.Asked {
		emit(town.EventMessage, town.MessageData{MessageID: id, Receipt: town.ReceiptSeen})
	}
	d.Asked = nil
}

// finish ends a turn that was open.
func (d *codexDecoder) finish(code int, said string, emit emitFunc) {
	if code != 0 && (d.Working || !d.Opened) && !d.Faulted {
		emit(town.EventError, crashed(code, said))
	}
	d.end(false, emit)
	*d = codexDecoder{turns: turns{Session: d.Session}, Totals: d.Totals}
}
