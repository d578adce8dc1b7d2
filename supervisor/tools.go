package supervisor

import (
	"time"

	"townd/town"
)

// toolCall is a call of a tool that is under way.
type toolCall struct {
	name  string
	began time.Time
}

// maxToolCalls bounds the calls of an agent that are timed at once.
const maxToolCalls = 256

// toolCalled notes when a tool was called. The events carry no times of the CLI's
// own: a call lasts as long as the town sees it last.
func (a *agent) toolCalled(d town.ToolCallData) {
	if len(a.tools) < maxToolCalls {
		a.tools[d.ID] = toolCall{d.Name, time.Now()}
		a.nameTools()
	}
}

func (a *agent) toolEnded(d town.ToolResultData) {
	call, ok := a.tools[d.ID]
	if !ok {
		return
	}
	delete(a.tools, d.ID)
	a.nameTools()
	if a.s.cfg.ToolUsed != nil {
		a.s.cfg.ToolUsed(call.name, d.OK, time.Since(call.began))
	}
}
