package supervisor

import (
	"encoding/json"
	"fmt"
	"strings"

	"townd/supervisor/keeper"
	"townd/town"
)

// sessionState is how the run stands with the session that it goes on with.
type sessionState struct {
	Resuming bool `json:"resuming,omitempty"` // process Seq was started with a session and has begun no turn yet
	Failures int  `json:"failures,omitempty"` // processes of the run, one after another, that could not go on with it
	Renewed  int  `json:"renewed,omitempty"`  // sessions given up in this run
}

// The bounds of a session that cannot be resumed: it is tried again once, for it
// may have been the machine, and given up once, for a CLI that cannot begin a new
// one either is broken.
const (
	resumeAttempts  = 2
	sessionRenewals = 1
)

// resumeFailed takes in that a process ended before it could go on with its
// session, and starts the next one: with the same session, then with a new one
// that is told what is known of the old. It reports false when that was done
// already, or it is not what happened.
func (a *agent) resumeFailed(exit keeper.Exit) bool {
	st := &a.rec.Session
	failed := st.Resuming && !exit.Asked && !exit.OOM && (exit.Code != 0 || exit.Signal != "")
	if !failed || a.rec.Failure == town.KindAuth || !a.structured.Load() {
		return false
	}
	st.Resuming = false
	st.Failures++
	if st.Failures >= resumeAttempts {
		if st.Renewed >= sessionRenewals {
			return false
		}
		st.Renewed++
		st.Failures = 0
		a.log.Warn("session given up, going on with a new one", "session", a.rec.Agent.SessionID)
		a.rec.Agent.SessionID = ""
		a.tellOldSession()
	}
	a.betweenProcesses()
	if idle := a.rec.Agent.Status == town.StatusRunning && a.launch == nil; idle && !a.cli.PerTurn() { // there is no message to start it with
		a.nextProcess(message{})
	}
	return true
}

// tellOldSession puts what is known of a lost session before the message that the
// new one begins with.
func (a *agent) tellOldSession() {
	summary := a.summary()
	for i := range a.rec.Queue {
		if m := &a.rec.Queue[i]; m.ID == a.rec.Giving.ID {
			m.Text = summary + "\n\n" + m.Text
			return
		}
	}
	a.enqueue(message{ID: a.ownID("resume"), Text: summary + "\n\n" + continueText})
}

// continueText is what an agent is told whose program ended in the middle of its work.
const continueText = "Your program ended unexpectedly and was started again. Look at `git status` and `git log`, then go on with your work from where it was."

// The bounds of what a new session is told of the old one.
const (
	summaryEvents = 200
	summaryTexts  = 6
	summaryBytes  = 4 << 10
)

// summary tells what is known of the agent's conversation so far.
func (a *agent) summary() string {
	var b strings.Builder
	b.WriteString("Your earlier conversation could not be opened again. What is known of it:\n")
	if task := a.rec.Task; task != "" {
		fmt.Fprintf(&b, "\nIt began with this task:\n%s\n", clip(task, summaryBytes))
	}
	page, err := a.events.page("", max(0, a.events.newest()-summaryEvents), summaryEvents)
	if err != nil {
		a.log.Warn("events not read for a summary", "error", err)
	}
	var said []string
	tools := 0
	for _, e := range page.Events {
		switch e.Event {
		case town.EventText:
			var d town.TextData
			if json.Unmarshal(e.Data, &d) == nil {
				said = append(said, clip(d.Text, summaryBytes/summaryTexts))
			}
		case town.EventToolCall:
			tools++
		default: // says nothing to a successor
		}
	}
	if len(said) > 0 {
		said = said[max(0, len(said)-summaryTexts):]
		fmt.Fprintf(&b, "\nThe last things you said in it, the newest last:\n- %s\n", strings.Join(said, "\n- "))
	}
	fmt.Fprintf(&b, "\nYou called tools %d times lately; what they changed is in your worktree.", tools)
	return b.String()
}

// clip returns at most n bytes of s, whole characters only.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " […]"
}
