package townhall

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"townd/api"
	"townd/town"
)

// maxAgentsShown bounds lists of agents: an agent is as old as its bead.
const maxAgentsShown = 500

// Agents returns the agents that the town knows, live ones first, then those that
// were seen last, at most 500 of these.
func (h *Hall) Agents(ctx context.Context) (agents []town.TownAgent, err error) {
	err = h.read(ctx, func(r reader) error {
		if agents, err = collect(r, scanAgent, `SELECT `+agentColumns+liveAgents+` ORDER BY a.id`); err != nil {
			return err
		}
		others, err := collect(r, scanAgent, `SELECT `+agentColumns+agentTables+` WHERE a.status NOT IN ('starting', 'running', 'stopping')
			ORDER BY a.last_seen_at DESC LIMIT ?`, maxAgentsShown)
		agents = append(agents, others...)
		return err
	})
	return agents, err
}

// Prime returns what an agent must know to begin or go on.
func (h *Hall) Prime(ctx context.Context, c Caller, agentID string) (p town.Prime, err error) {
	if err := c.as(agentID); err != nil {
		return p, err
	}
	err = h.read(ctx, func(r reader) error {
		p, err = prime(r, agentID)
		return err
	})
	return p, err
}

func prime(r reader, agentID string) (p town.Prime, err error) {
	a, err := loadAgent(r, agentID)
	if err != nil {
		return p, err
	}
	p = town.Prime{Agent: a.TownAgent, Notes: []town.Note{}, Reviews: []town.Merge{}}
	b, err := agentsBead(r, agentID)
	if err == nil && b.Lease != nil {
		p.Bead = &b.Bead
		if p.Notes, err = notesOf(r, b.ID); err != nil {
			return p, err
		}
	} else if err != nil && !errors.Is(err, town.ErrNotFound) {
		return p, err
	}
	if p.Mail, err = collect(r, scanMail, `SELECT `+mailColumns+` FROM mail WHERE recipient = ? AND acked_at IS NULL ORDER BY n LIMIT ?`, agentID, maxMail); err != nil {
		return p, err
	}
	if p.OpenBeads, err = othersBeads(r, a.TownAgent); err != nil {
		return p, err
	}
	if p.Questions, err = questionsOf(r, agentID); err != nil {
		return p, err
	}
	if p.Escalations, err = collect(r, scanEscalation, `SELECT `+escalationColumns+` FROM escalations WHERE status <> 'closed' AND (agent_id = ? OR ?)
		ORDER BY n LIMIT 100`, agentID, a.Role == town.RoleMayor); err != nil {
		return p, err
	}
	if a.Role == town.RoleRefinery {
		p.Reviews, err = collect(r, scanMerge, `SELECT `+mergeColumns+` FROM merges WHERE reviewer = ? AND status = 'reviewing' ORDER BY n`, agentID)
	}
	return p, err
}

// maxOpenBeads is how many beads of others an agent is shown.
const maxOpenBeads = 20

// othersBeads returns beads of an agent's rig (of all rigs for the mayor) that have
// not ended: those that someone works on, then the next ones.
func othersBeads(r reader, a town.TownAgent) (beads []town.Bead, err error) {
	beads = []town.Bead{}
	rig := a.RigID
	if a.Role == town.RoleMayor {
		rig = ""
	}
	for _, of := range []string{
		` FROM beads INDEXED BY beads_status WHERE status IN ('in_progress', 'in_review')`,
		` FROM beads INDEXED BY beads_open WHERE status = 'open'`,
	} {
		some, err := collect(r, scanBead, `SELECT `+beadColumns+of+` AND (rig_id = ?1 OR ?1 = '') AND agent_id <> ?2 ORDER BY due LIMIT ?3`,
			rig, a.AgentID, maxOpenBeads-len(beads))
		if err != nil {
			return nil, err
		}
		beads = append(beads, some...)
	}
	return beads, nil
}

// Done takes an agent's word that its bead is finished; a refinery's, that it has
// nothing against the branch that it looks at.
func (h *Hall) Done(ctx context.Context, c Caller, agentID string, req town.DoneRequest) (api.DoneAnswer, error) {
	var ck check
	if req.Epoch < 1 {
		ck.add("epoch", "is required: that of the agent's lease")
	}
	ck.ref("branch", req.Branch)
	ck.ref("commit", req.Commit)
	ck.text("summary", req.Summary, maxNote)
	ck.line("prUrl", req.PRURL, maxLine)
	if err := firstOf(c.as(agentID), ck.err()); err != nil {
		return api.DoneAnswer{}, err
	}
	return once(ctx, h, fact, func(t *tx) (api.DoneAnswer, error) {
		a, err := loadAgent(t, agentID)
		if err == nil && a.Role == town.RoleRefinery {
			b, err := approve(t, agentID)
			return api.DoneAnswer{Bead: b}, err
		}
		b, err := agentsBead(t, agentID)
		if err != nil {
			return api.DoneAnswer{}, err
		}
		outcome, err := applyTo(t, &b, Call{
			Event: EventDone, By: agentID, Epoch: req.Epoch, Branch: req.Branch, Commit: req.Commit, Summary: req.Summary, PullRequest: req.PRURL,
		})
		if err == nil && outcome == Applied {
			err = mergeNothing(t, &b)
		}
		return api.DoneAnswer{Bead: b.Bead, Kept: outcome == Kept}, err
	})
}

// RequestChanges sends a bead that is reviewed back to open.
func (h *Hall) RequestChanges(ctx context.Context, c Caller, agentID string, req api.ChangesRequest) (town.Bead, error) {
	var ck check
	ck.required("feedback", req.Feedback)
	ck.text("feedback", req.Feedback, maxNote)
	if len(req.Files) > 500 {
		ck.add("files", "are %d, the most is 500", len(req.Files))
	}
	for i, f := range req.Files[:min(len(req.Files), 500)] {
		ck.line(fmt.Sprintf("files[%d]", i), f, maxLine)
	}
	if err := firstOf(c.as(agentID), ck.err()); err != nil {
		return town.Bead{}, err
	}
	if c.agent() && c.Role != town.RoleRefinery && c.Role != town.RoleMayor {
		return town.Bead{}, fmt.Errorf("%s, a %s, reviews nothing: %w", agentID, c.Role, town.ErrForbidden)
	}
	return once(ctx, h, fact, func(t *tx) (town.Bead, error) {
		m, err := reviewed(t, agentID, req.MergeID)
		if err != nil {
			return town.Bead{}, err
		}
		b, err := loadBead(t, m.BeadID)
		if err != nil {
			return town.Bead{}, err
		}
		feedback := req.Feedback
		if len(req.Files) > 0 {
			feedback += "\n\nFiles:\n- " + strings.Join(req.Files, "\n- ")
		}
		return endMerge(t, m, verdictOfReview(b.Bead, agentID, feedback))
	})
}

// SaveCheckpoint keeps an agent's checkpoint with its bead. An old epoch is
// town.ErrConflict.
func (h *Hall) SaveCheckpoint(ctx context.Context, c Caller, agentID string, req api.CheckpointRequest) (town.Bead, error) {
	var ck check
	if len(req.Data) == 0 {
		ck.add("data", "is required")
	}
	ck.json("data", req.Data, maxCheckpoint)
	if err := firstOf(c.as(agentID), ck.err()); err != nil {
		return town.Bead{}, err
	}
	return once(ctx, h, fact, func(t *tx) (town.Bead, error) {
		b, err := agentsBead(t, agentID)
		if err != nil {
			return town.Bead{}, err
		}
		if b.Lease == nil || b.Epoch != req.Epoch {
			return town.Bead{}, fmt.Errorf("bead %s: the lease of epoch %d is over: %w", b.ID, req.Epoch, town.ErrConflict)
		}
		err = saveCheckpointOf(t, &b, req.Data)
		return b.Bead, err
	})
}

// SayStatus keeps what an agent says of itself, at most 280 characters.
func (h *Hall) SayStatus(ctx context.Context, c Caller, agentID, message string) (a town.TownAgent, err error) {
	var ck check
	ck.line("message", message, maxSays)
	if err := firstOf(c.as(agentID), ck.err()); err != nil {
		return a, err
	}
	err = h.write(ctx, news, func(t *tx) error {
		if _, err := t.exec(`UPDATE agents SET says = ? WHERE id = ?`, message, agentID); err != nil {
			return err
		}
		row, err := loadAgent(t, agentID)
		a = row.TownAgent
		t.tell(topicWork)
		return err
	})
	return a, err
}

// nudgeModes are the modes of a nudge as the container's control API has them.
var nudgeModes = map[string]town.Delivery{
	"": town.DeliverIdle, "wait-idle": town.DeliverIdle, "immediate": town.DeliverNow, "queue": town.DeliverTurnEnd,
}

// Nudge gets a message to an agent. Everyone may. One that has ended to wait is started
// again with it; then there is no order. Others that have ended are town.ErrConflict.
func (h *Hall) Nudge(ctx context.Context, c Caller, agentID string, req api.NudgeRequest) (orderID string, err error) {
	var ck check
	ck.required("message", req.Message)
	ck.text("message", req.Message, maxNote)
	deliver, ok := nudgeModes[req.Mode]
	if !ok {
		ck.add("mode", `must be "wait-idle", "immediate" or "queue"`)
	}
	if err := ck.err(); err != nil {
		return "", err
	}
	return once(ctx, h, fact, func(t *tx) (string, error) {
		a, err := loadAgent(t, agentID)
		if err != nil {
			return "", err
		}
		order, heard, err := say(t, c, a, fmt.Sprintf("Message from %s:\n%s", c.by(), req.Message), deliver)
		if err == nil && !heard {
			err = fmt.Errorf("agent %s has ended (%s) and waits for no word: leave it as a note of its bead, which the next attempt is given, "+
				"or send it mail (townd mail send): %w", agentID, cmp.Or(a.Reason, "it is not known why"), town.ErrConflict)
		}
		return order, err
	})
}

// say gets text to an agent: into its session while it lives, and to one that has ended
// to wait as a note of its bead, with which it is started again. heard is false for one
// that has ended otherwise.
func say(t *tx, c Caller, a agentRow, text string, deliver town.Delivery) (orderID string, heard bool, err error) {
	if a.Status.Live() {
		o, err := message(t, a.AgentID, text, deliver)
		return o.ID, true, err
	}
	b, err := agentsBead(t, a.AgentID)
	if errors.Is(err, town.ErrNotFound) || err == nil && !waits(a, b) {
		return "", false, nil
	} else if err != nil {
		return "", false, err
	}
	if _, err := addNote(t, town.Note{BeadID: b.ID, Kind: "note", By: c.by(), Text: text}); err != nil {
		return "", false, err
	}
	return "", true, giveBack(t, &b, b.Epoch, "its agent was sent a message")
}

// waits reports whether an agent has ended to wait for a word about its bead.
func waits(a agentRow, b beadRow) bool {
	return b.Lease != nil && a.Reason == town.ReasonWaiting && a.Generation == b.Epoch
}

// message orders a message into an agent's session.
func message(t *tx, agentID, text string, deliver town.Delivery) (town.Order, error) {
	return order(t, town.Order{
		Kind: town.OrderMessage, AgentID: agentID, Data: json.RawMessage(jsonText(town.MessageRequest{Prompt: text, Deliver: deliver})),
	})
}

// OrderStop stops an agent, by an order, and holds its bead until it is retried.
func (h *Hall) OrderStop(ctx context.Context, c Caller, agentID, reason string) (orderID string, err error) {
	if err := firstOf(c.lead("stop agents"), checkReason(reason)); err != nil {
		return "", err
	}
	return once(ctx, h, fact, func(t *tx) (string, error) {
		if _, err := loadAgent(t, agentID); err != nil {
			return "", err
		}
		b, err := agentsBead(t, agentID)
		switch {
		case err == nil && b.Lease != nil:
			why := "stopped by " + c.by()
			if reason != "" {
				why += ": " + reason
			}
			_, err = applyTo(t, &b, Call{Event: EventHold, By: c.by(), Reason: why})
		case errors.Is(err, town.ErrNotFound):
			err = nil
		}
		if err != nil {
			return "", err
		}
		return orderOnce(t, town.OrderStop, agentID) // that of the hold, or of one who has no bead
	})
}

// Completed takes the end of an agent's run. It may be told more than once.
func (h *Hall) Completed(ctx context.Context, agentID string, done town.Completion) error {
	done.AgentID = cmp.Or(done.AgentID, agentID)
	var c check
	c.id("agentId", done.AgentID)
	if done.AgentID != agentID {
		c.add("agentId", "is not that of the path")
	}
	if done.RunID != "" {
		c.id("runId", done.RunID)
	}
	oneOf(&c, "status", done.Status, []string{town.CompletionCompleted, town.CompletionFailed})
	c.ref("branch", done.Branch)
	if err := c.err(); err != nil {
		return err
	}
	done.Error = cut(done.Error, maxNote)
	_, err := once(ctx, h, fact, func(t *tx) (struct{}, error) { return struct{}{}, completed(t, done) })
	if err != nil {
		return fmt.Errorf("agent %s completed: %w", agentID, err)
	}
	return nil
}

func completed(t *tx, c town.Completion) error {
	t.tell(topicWork)
	if c.RunID != "" {
		told, err := endRun(t, c)
		if err != nil || !told {
			return err
		}
	}
	status := town.StatusExited
	if c.Status == town.CompletionFailed {
		status = town.StatusFailed
	}
	if _, err := t.exec(`UPDATE agents SET status = ?, reason = ?, turn_state = 'none', active_tools = '[]' WHERE id = ? AND generation <= ?`,
		string(status), string(c.Reason), c.AgentID, c.Generation); err != nil {
		return err
	}
	b, err := agentsBead(t, c.AgentID)
	if errors.Is(err, town.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return beadCompleted(t, &b, c)
}

// beadCompleted carries out what the end of its agent's run means for a bead.
func beadCompleted(t *tx, b *beadRow, c town.Completion) error {
	if b.Lease == nil || b.Epoch != c.Generation {
		return nil
	}
	if c.Reason == town.ReasonWaiting {
		return waitForAnswer(t, b)
	}
	if c.Reason == town.ReasonCutOff {
		return cutOff(t, b, "its server ended while it was started")
	}
	if c.Reason == town.ReasonStopped || c.Reason == town.ReasonKilled {
		draining, err := isDraining(t)
		if err != nil {
			return err
		}
		if draining { // nobody stopped this agent, and it did not fail: its container ends
			return giveBack(t, b, c.Generation, "its container ends")
		}
	}
	call := afterEnd(b.Bead, c)
	if call.Event == "" {
		return nil
	}
	outcome, err := applyTo(t, b, call)
	if err != nil || outcome != Applied {
		return err
	}
	if call.Event == EventDone {
		return mergeNothing(t, b)
	}
	if call.Event == EventRelease || call.Event == EventGiveUp {
		return failed(t, b.ID, call.Reason)
	}
	return nil
}

// giveBack ends the lease of a bead through no fault of its own: that was no attempt,
// and it is ready again at once.
func giveBack(t *tx, b *beadRow, epoch int64, reason string) error {
	outcome, err := applyTo(t, b, Call{Event: EventRelease, Epoch: epoch, Reason: reason})
	if err != nil || outcome != Applied {
		return err
	}
	_, err = t.exec(`UPDATE beads SET attempts = max(attempts - 1, 0), not_before = NULL, why = ? WHERE id = ?`, waitsForAgent+": "+reason, b.ID)
	return err
}

// cutOff gives back a bead whose agent never ran: the server that was to start it
// ended. That was no attempt of the bead's, but it counts for the breaker: there may be
// something in the bead that ends servers.
func cutOff(t *tx, b *beadRow, reason string) error {
	if err := giveBack(t, b, b.Epoch, reason); err != nil {
		return err
	}
	return failed(t, b.ID, reason)
}

// waitForAnswer keeps the lease of a bead whose agent has ended to wait for an
// answer: until nobody waits any more.
func waitForAnswer(t *tx, b *beadRow) error {
	open, err := questionsOf(t, b.AgentID)
	if err != nil {
		return err
	}
	end := t.leaseEnd()
	for _, q := range open {
		if q.Status == questionOpen && q.ExpiresAt.Add(t.h.cfg.Lease).After(end) {
			end = q.ExpiresAt.Add(t.h.cfg.Lease)
		}
	}
	_, err = applyTo(t, b, Call{Event: EventRenew, Epoch: b.Epoch, LeaseEnd: end})
	return err
}
