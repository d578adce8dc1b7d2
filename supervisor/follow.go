package supervisor

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"time"

	"townd/supervisor/agentcli"
	"townd/supervisor/keeper"
	"townd/supervisor/transcript"
	"townd/town"
)

// follow reads the output of the run's present process as it is written: to
// decode it, or to answer a terminal's queries. It ends with the process, whose
// exit it hands over when all output before it has been read.
func (a *agent) follow() {
	if a.stop == nil {
		ctx, cancel := context.WithCancelCause(a.s.ctx)
		a.stop = cancel
		a.runCtx = ctx
	}
	f := &follower{
		a: a, feed: a.feed.Load(), seq: a.rec.Seq, offset: a.rec.Decoded,
		transcript: transcript.NewReader(a.s.runDir(a.rec.Agent.RunID)),
	}
	if a.structured.Load() {
		f.decoder = a.cli.NewDecoder()
		if len(a.rec.Decoder) > 0 {
			if err := f.decoder.Restore(a.rec.Decoder); err != nil {
				a.log.Error("decoder not restored", "error", err)
			}
		}
	} else if size, _ := f.feed.Size(); a.adopted {
		f.offset = size // what was asked before has been answered
	}
	a.s.wg.Go(func() { f.run(a.runCtx) })
}

// follower is one process's reader.
type follower struct {
	a          *agent
	feed       *runFeed
	seq        int
	offset     int64
	transcript *transcript.Reader
	decoder    agentcli.Decoder // nil for a terminal
	terminal   terminalQueries
}

// followBytes is how much is decoded at a time.
const followBytes = 64 << 10

func (f *follower) run(ctx context.Context) {
	defer func() { _ = f.transcript.Close() }()
	buf := make([]byte, followBytes)
	for ctx.Err() == nil {
		size, exit, err := f.feed.waitProcess(ctx, f.seq, f.offset)
		if err != nil {
			return
		}
		if exit != nil {
			size = math.MaxInt64 // all there is
		}
		before := f.offset
		f.read(ctx, buf, size)
		if ctx.Err() == nil && exit != nil && (f.offset >= exit.Size || f.offset == before) { // all, or all there is
			f.finish(exit)
			return
		}
	}
}

// read takes in what the transcript holds from the offset to size. It does not
// look for more: finding the end costs several times what reading does.
func (f *follower) read(ctx context.Context, buf []byte, size int64) {
	for ctx.Err() == nil && f.offset < size {
		n, err := f.transcript.ReadAt(buf, f.offset)
		if n > 0 {
			f.take(ctx, buf[:n])
		}
		if gone, ok := errors.AsType[*transcript.GoneError](err); ok {
			f.offset = gone.First
			continue
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				f.a.log.Error("output not read", "offset", f.offset, "error", err)
				f.offset, _ = f.feed.Size() // go on with what follows
			}
			return
		}
	}
}

// take decodes p, or answers the queries in it.
func (f *follower) take(ctx context.Context, p []byte) {
	if f.decoder == nil {
		f.offset += int64(len(p))
		if reply := f.terminal.answer(p); len(reply) > 0 {
			f.reply(ctx, reply)
		}
		return
	}
	var events []agentcli.Decoded
	f.decoder.Decode(p, f.offset, func(d agentcli.Decoded) { events = append(events, d) })
	f.offset += int64(len(p))
	f.hand(events, nil)
}

// reply types the answer to a terminal's query. A program that does not read
// its terminal gets none.
func (f *follower) reply(ctx context.Context, p []byte) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := f.a.s.keeper.client().Input(ctx, f.feed.run, "", p); err != nil {
		f.a.log.Debug("terminal query not answered", "error", err)
	}
}

// finish hands over the process's end.
func (f *follower) finish(exit *keeper.Exit) {
	var events []agentcli.Decoded
	if f.decoder != nil {
		code := exit.Code
		if exit.Asked {
			code = 0 // we ended it: whatever it says is no failure of its own
		}
		f.decoder.Finish(code, exit.Size, func(d agentcli.Decoded) { events = append(events, d) })
	}
	f.hand(events, exit)
}

// hand gives decoded events, and the exit when there is one, to the agent.
func (f *follower) hand(events []agentcli.Decoded, exit *keeper.Exit) {
	var state []byte
	if f.decoder != nil {
		var err error
		if state, err = f.decoder.State(); err != nil {
			f.a.log.Error("decoder not saved", "error", err)
		}
	}
	run, seq, offset := f.feed.run, f.seq, f.offset
	f.a.post(func() {
		a := f.a
		if a.rec.Agent.RunID != run {
			return
		}
		a.rec.Decoder, a.rec.Decoded, a.dirty = state, offset, true // saved with what the events say
		if exit != nil {
			// Before the decoder's word that this ended the turn.
			a.rec.Cut = a.rec.Agent.Turn.State == town.TurnWorking
		}
		a.decoded(run, events)
		if exit != nil {
			a.processEnded(seq, *exit)
			return
		}
		if refused(events) && a.rec.Agent.Status == town.StatusRunning {
			a.rec.FailureText = cmp.Or(a.rec.FailureText, "the model's provider refuses the credential")
			a.end(town.ReasonAuth, town.StopRequest{})
		}
		a.checkLimits()
		a.turnOver()
	})
}

// refused reports whether the model's provider refuses the CLI's credential. Some
// CLIs go on trying for minutes then, others wait for somebody to come: for nothing.
func refused(events []agentcli.Decoded) bool {
	return slices.ContainsFunc(events, func(d agentcli.Decoded) bool {
		switch data := d.Data.(type) {
		case town.RetryData:
			return data.Kind == town.KindAuth
		case town.ErrorData:
			return data.Kind == town.KindAuth
		}
		return false
	})
}

// decoded records events found in the run's output and what they say of the agent.
func (a *agent) decoded(run string, events []agentcli.Decoded) {
	at := &a.rec.Position
	for _, d := range events {
		if d.Offset == at.Offset {
			at.Nth++
		} else {
			*at = position{Offset: d.Offset}
		}
		d.Data = a.explain(d.Data)
		a.learn(d)
		a.keep(d.Event, d.Data, run, at)
	}
	if len(events) > 0 {
		a.publish()
	}
}

// explain adds to what a CLI tells of its model's failure what the gateway knows.
func (a *agent) explain(data any) any {
	fault := a.rec.ModelFault
	switch d := data.(type) {
	case town.RetryData:
		if d.Kind == town.KindUnknown && fault != "" {
			d.Kind = fault
			return d
		}
	case town.ErrorData:
		if d.Kind == town.KindUnknown && fault != "" {
			d.Kind = fault
			return d
		}
	}
	return data
}

// learn takes over what an event says of the agent.
func (a *agent) learn(d agentcli.Decoded) {
	view := &a.rec.Agent
	switch data := d.Data.(type) {
	case town.SessionData:
		view.SessionID = data.ID
	case town.UsageData:
		addUsage(&a.rec.Told, data)
		a.tellUsage()
	case town.ToolCallData:
		a.rec.Told.ToolCalls++
		a.tellUsage()
		a.toolCalled(data)
	case town.ToolResultData:
		a.toolEnded(data)
	case town.TurnEndedData:
		view.Turn.State = town.TurnIdle
		a.rec.TurnOK = data.OK
	case town.ErrorData:
		a.rec.Failure, a.rec.FailureText = data.Kind, data.Message
	case town.MessageData:
		a.acknowledged(data.MessageID, data.Receipt)
	}
	if d.Event == town.EventTurnStarted {
		a.turnStarted()
	}
	if d.Event == town.EventText || d.Event == town.EventThinking || d.Event == town.EventToolCall {
		a.seen()
	}
}

// turnStarted takes in that the CLI works on what it was given. One that runs each
// turn in a process of its own acknowledges its message with that.
func (a *agent) turnStarted() {
	view := &a.rec.Agent
	view.Turn.State = town.TurnWorking
	view.Turn.Count++
	a.rec.Failure, a.rec.FailureText, a.rec.TurnOK = "", "", false
	a.rec.Session = sessionState{Renewed: a.rec.Session.Renewed}
	if id := a.rec.Giving.ID; id != "" && a.cli.PerTurn() {
		a.acknowledge(id, town.ReceiptDelivered)
	}
}

// processEnded takes in that a process of the run has ended. With it the agent
// has, unless another one follows.
func (a *agent) processEnded(seq int, exit keeper.Exit) {
	if seq != a.rec.Seq || !a.rec.Agent.Status.Live() {
		return
	}
	running := a.rec.Agent.Status == town.StatusRunning
	switch {
	case running && a.rec.Replacing:
		a.betweenProcesses()
	case running && a.cli.PerTurn() && a.endedTurn(exit):
		a.unanswered()
		a.betweenProcesses()
	case running && a.resumeFailed(exit):
	default:
		a.settle(exit)
	}
}

// endedTurn reports whether the process of a CLI that ends with each turn ended
// with one: well, or with an error of its model's, which is told.
func (a *agent) endedTurn(exit keeper.Exit) bool {
	switch {
	case exit.Signal != "" || exit.OOM:
		return false
	case exit.Code == 0:
		return true
	}
	return a.rec.Failure != "" && a.rec.Failure != town.KindCrashed && a.rec.Failure != town.KindAuth
}

// betweenProcesses records that the run has no process until the next message.
func (a *agent) betweenProcesses() {
	a.rec.Agent.PID, a.rec.Agent.Turn.State = nil, town.TurnIdle
	a.rec.Replacing, a.rec.Giving = false, giving{} // what was not acknowledged is given again
	a.publish()
	a.turnOver()
}

// unanswered fails the message that a process was started with and ended well
// without having begun a turn.
func (a *agent) unanswered() {
	if id := a.rec.Giving.ID; id != "" {
		a.acknowledge(id, town.ReceiptFailed)
	}
}
