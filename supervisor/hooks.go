package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"townd/prompts"
	"townd/supervisor/rules"
	"townd/town"
)

// Hook takes in what a hook of the CLI of the agent with this capability tells,
// and answers whether the CLI may go on.
func (s *Supervisor) Hook(ctx context.Context, capability string, call town.HookCall) (town.HookAnswer, error) {
	a, err := s.holder(capability)
	if err != nil {
		return town.HookAnswer{}, err
	}
	var answer town.HookAnswer
	switch {
	case call.Told:
	case call.Point == town.HookToolBefore:
		answer = a.judge(call)
	case call.Point == town.HookStop:
		if answer, err = ask(ctx, a, func(reply func(town.HookAnswer, error)) {
			reason := a.reminder()
			reply(town.HookAnswer{Deny: reason != "", Reason: reason}, nil)
		}); err != nil {
			return town.HookAnswer{}, err
		}
	}
	data := town.HookData{Name: call.Point, Tool: call.Tool, Decision: "allow"}
	if answer.Deny {
		data.Decision, data.Reason = "deny", answer.Reason
	}
	a.emit(town.EventHook, data)
	return answer, nil
}

// judge says whether the agent may make this call of a tool. It may take a while,
// so it is not live's business.
func (a *agent) judge(call town.HookCall) town.HookAnswer {
	view, req := a.snapshot.Load(), a.request.Load()
	rule, reason, deny := rules.Judge(call, rules.Where{
		Workdir: view.Workdir, Home: filepath.Join(a.dir, "home"), Tmp: filepath.Join(a.dir, "tmp"),
		Branch: view.Branch, DefaultBranch: req.DefaultBranch,
	}, a.s.cfg.Rules)
	if deny {
		a.log.Info("tool denied", "tool", call.Tool, "rule", rule)
	}
	return town.HookAnswer{Deny: deny, Reason: reason}
}

// maxReminders bounds how often in a row an agent is told that its work is still
// open, by its stop hook or by a turn of the supervisor's: each costs a turn.
const maxReminders = 5

// open reports whether there is work on the agent's hook: a bead of which it has
// said neither that it is done nor that it cannot be.
func (a *agent) open() bool { return a.rec.Request.BeadID != "" && a.rec.Report.State == "" }

// reminder returns what to tell an agent that is about to stop, "" when it may.
func (a *agent) reminder() string {
	if !a.open() || a.rec.Reminders >= maxReminders {
		return ""
	}
	a.rec.Reminders++
	a.dirty = true
	done, blocked, waiting := "run `townd report done SUMMARY`", "`townd report blocked REASON`", "`townd report waiting QUESTION`"
	if tools := a.s.townTools(a.rec.Request.Role); slices.Contains(tools, "gt_done") {
		prefix := cmp.Or(a.cli.ToolPrefix(toolServer), prompts.ShellPrefix)
		done = fmt.Sprintf("call `%sgt_done` with a summary", prefix)
		blocked, waiting = fmt.Sprintf("`%sgt_escalate` with blocked true", prefix), fmt.Sprintf("`%sgt_status` with waiting true", prefix)
	}
	return fmt.Sprintf("Your work on %s is still open: the end of a turn does not end it. Go on with it. "+
		"When it is finished, committed and checked, %s; when you cannot go on, %s; when you need an answer first, %s.",
		a.rec.Request.BeadID, done, blocked, waiting)
}

// Report takes in what the agent with this capability says of its work. When it is
// done or blocked, the agent ends with its turn.
func (s *Supervisor) Report(ctx context.Context, capability string, r town.Report) error {
	if err := r.Validate(); err != nil {
		return err
	}
	a, err := s.holder(capability)
	if err != nil {
		return err
	}
	_, err = ask(ctx, a, func(reply func(struct{}, error)) {
		a.rec.Report = r
		a.log.Info("reported", "state", r.State)
		a.publish()
		a.emit(town.EventState, town.StateData{Status: a.rec.Agent.Status, Reason: r.State})
		if r.State == town.ReasonDone && a.rec.Agent.Status == town.StatusRunning {
			a.saveBeside(endPatience, true, func() {})
		}
		reply(struct{}{}, nil)
		a.turnOver()
	})
	return err
}

// turnOver decides what follows when the agent has nothing to do: its end, when
// its work has ended; the next message; or a reminder that its work is open, for
// a CLI whose own hook did not keep it from stopping.
func (a *agent) turnOver() {
	view := &a.rec.Agent
	idle := view.Status == town.StatusRunning && view.Turn.State == town.TurnIdle && a.launch == nil && !a.rec.Replacing
	if !idle || !a.structured.Load() {
		a.deliverQueue()
		return
	}
	switch state := a.rec.Report.State; {
	case len(a.rec.Queue) > 0: // what people have said goes first
	case state == town.ReasonDone || state == town.ReasonBlocked:
		a.end(state, town.StopRequest{})
		return
	case a.rec.TurnOK && a.rec.Giving == (giving{}):
		if text := a.reminder(); text != "" {
			a.enqueue(message{ID: fmt.Sprintf("%s-reminder-%d", view.RunID, a.rec.Reminders), Text: text})
			a.publish()
		}
	}
	a.deliverQueue()
}
