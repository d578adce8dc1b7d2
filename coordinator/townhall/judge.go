package townhall

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"townd/town"
)

// MaxReworks is how often a bead comes back from review before it is given up.
const MaxReworks = 3

// MaxMergeAttempts is how often a merge is tried that a race or the network fails.
const MaxMergeAttempts = 10

// afterEnd says what becomes of a bead when a run of the agent that has it has
// ended; a Call without an event is nothing. Whether the work is done the agent
// said before, or never.
func afterEnd(b town.Bead, c town.Completion) Call {
	if b.Status != town.BeadInProgress || b.Lease == nil || b.Lease.Epoch != c.Generation {
		return Call{}
	}
	call := Call{By: c.AgentID, Epoch: c.Generation, Reason: endText(c)}
	switch c.Reason {
	case town.ReasonDone:
		call.Event, call.Branch, call.Summary = EventDone, c.Branch, c.Error
		call.Reason = ""
	case town.ReasonWaiting, town.ReasonCutOff:
		return Call{} // it is woken by an answer, or its lease ends; a start that was cut off is no attempt
	case town.ReasonBlocked:
		call.Event, call.Cause = EventBlock, "blocked:"+b.ID
	case town.ReasonStopped:
		call.Event = EventHold
	case town.ReasonAuth:
		call.Event, call.Cause = EventGiveUp, "auth:"+b.RigID
	case town.ReasonExited, town.ReasonKilled, town.ReasonOOM, town.ReasonTimeout, town.ReasonBudget, town.ReasonStartFailed, town.ReasonCrashed:
		call.Event = releaseOrGiveUp(b)
	default: // of a newer container
		call.Event = releaseOrGiveUp(b)
	}
	return call
}

// releaseOrGiveUp is what follows an attempt that failed.
func releaseOrGiveUp(b town.Bead) Event {
	if b.Attempts >= b.MaxAttempts {
		return EventGiveUp
	}
	return EventRelease
}

// endText tells people how a run ended.
func endText(c town.Completion) string {
	text := string(c.Reason)
	switch {
	case c.Reason == town.ReasonExited:
		text = "ended without saying that it is done"
	case c.ExitCode != nil && c.Reason == town.ReasonCrashed:
		text = fmt.Sprintf("crashed with code %d", *c.ExitCode)
	}
	if c.Error != "" {
		text += ": " + c.Error
	}
	return shorten(text, maxNoteBytes)
}

// verdict is what follows from a merge's outcome: the merge's next status, and what
// becomes of the bead; a Call without an event is nothing.
type verdict struct {
	status town.MergeStatus
	again  time.Duration // of a merge that waits: for so long
	call   Call
}

// The waits of a merge that is tried again, and of a pull request that is looked at again.
var (
	mergeDelays = []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute}
	pullDelays  = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute}
)

// afterMerge says what follows from the outcome of a merge.
func afterMerge(m town.Merge, b town.Bead, out town.MergeOutcome) verdict {
	call := Call{By: "town", Branch: m.Branch, Commit: out.Commit, PullRequest: out.PR, Reason: mergeText(m, out)}
	switch out.Status {
	case "merged", "nothing":
		call.Event = EventMerged
		return verdict{status: town.MergeMerged, call: call}
	case "conflict":
		return sentBack(town.MergeConflict, b, call, conflictText(m, out))
	case "gates_failed":
		return sentBack(town.MergeGatesFailed, b, call, gatesText(out))
	case "pull_request":
		return verdict{status: town.MergeAwaitingPR, again: pullDelays[0]}
	case "race", "network":
		if m.Attempts < MaxMergeAttempts {
			return verdict{status: town.MergeWaiting, again: mergeDelays[min(max(m.Attempts-1, 0), len(mergeDelays)-1)]}
		}
	case "auth":
		call.Cause = "merge-auth:" + m.RigID
	}
	call.Event = EventGiveUp
	return verdict{status: town.MergeFailed, call: call}
}

// sentBack is a rework, or the end of a bead that came back too often.
func sentBack(status town.MergeStatus, b town.Bead, call Call, feedback string) verdict {
	call.Event, call.Feedback = EventRework, feedback
	if b.Reworks >= MaxReworks {
		call.Event = EventGiveUp
		call.Reason = fmt.Sprintf("came back from review more than %d times; the last time: %s", MaxReworks, call.Reason)
	}
	return verdict{status: status, call: call}
}

func mergeText(m town.Merge, out town.MergeOutcome) string {
	text := map[string]string{
		"merged": "merged", "nothing": "its target has all of it already", "conflict": "conflicts with its target", "gates_failed": "a check failed",
		"auth": "the remote does not let the town merge", "race": "its target kept moving", "network": "the remote is not reached",
		"closed": "its pull request was closed without a merge",
	}[out.Status]
	if text == "" {
		text = "could not be merged"
	}
	if m.Attempts > 1 && out.Status != "merged" {
		text += fmt.Sprintf(" (attempt %d)", m.Attempts)
	}
	if out.Message != "" && out.Status != "merged" {
		text += ": " + out.Message
	}
	return shorten(text, maxNoteBytes)
}

// conflictText tells who made a branch which files conflict, and how.
func conflictText(m town.Merge, out town.MergeOutcome) string {
	var files []struct{ Path, Kind, Hunks string }
	_ = json.Unmarshal(out.Conflicts, &files) // what cannot be read is told by the message alone
	var t strings.Builder
	fmt.Fprintf(&t, "The branch conflicts with %s: %s\n", mergeTarget(m), out.Message)
	for _, f := range files {
		fmt.Fprintf(&t, "\n%s (%s)\n", f.Path, f.Kind)
		if f.Hunks != "" {
			fmt.Fprintf(&t, "%s\n", strings.TrimRight(f.Hunks, "\n"))
		}
	}
	fmt.Fprintf(&t, "\nMerge %s into the branch, keep what both sides meant, run the checks, push, and hand it over again.", mergeTarget(m))
	return shorten(t.String(), maxSectionBytes)
}

// gatesText tells which check failed, with the end of what it printed.
func gatesText(out town.MergeOutcome) string {
	var gates []struct {
		Name     string
		ExitCode int
		TimedOut bool
		Output   string
	}
	_ = json.Unmarshal(out.Gates, &gates) // as above
	var t strings.Builder
	t.WriteString("A check failed on the result of the merge.")
	for _, g := range gates {
		switch {
		case g.TimedOut:
			fmt.Fprintf(&t, "\n\n%s ran out of its time.", g.Name)
		case g.ExitCode != 0:
			fmt.Fprintf(&t, "\n\n%s ended with code %d.", g.Name, g.ExitCode)
		default:
			continue
		}
		if g.Output != "" {
			fmt.Fprintf(&t, " The end of its output:\n%s", lastBytes(g.Output, maxSectionBytes/2))
		}
	}
	if len(gates) == 0 && out.Message != "" {
		t.WriteString(" " + out.Message)
	}
	return shorten(t.String(), maxSectionBytes)
}

// lastBytes returns the end of s, whole lines of it.
func lastBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	if _, rest, ok := strings.Cut(s, "\n"); ok {
		s = rest
	}
	return "…\n" + s
}

func mergeTarget(m town.Merge) string {
	if m.Target == "" {
		return "the default branch"
	}
	return m.Target
}
