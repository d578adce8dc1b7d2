package tools

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"townd/api"
	"townd/town"
)

func workTools() []*entry {
	return []*entry{
		tool("gt_prime", everyone, "Who you are, the bead on your hook with its notes, your mail, questions and calls for help. Call it first, and again after a restart.", nil, prime),
		tool("gt_bead_status", everyone, "One bead in full: text, state, what it waits for, notes.", nil, beadStatus),
		tool("gt_bead_create", hands, "File work that you came across and that is not yours. Do not do it yourself.",
			map[string]rule{"title": length(3, 200), "type": workTypes, "priority": oneOf(town.Priorities()...), "labels": items(0, 20), "depends_on_ids": items(0, 50)}, beadCreate),
		tool("gt_note", askers, "Write a finding into a bead, where its next reader looks.", map[string]rule{"text": length(1, 8000)}, note),
		tool("gt_checkpoint", polecats, "Note your progress for whoever goes on after a crash, and save your worktree. After each step.",
			map[string]rule{"done": length(1, 8000), "next": length(0, 8000), "found": length(0, 8000)}, checkpoint),
		tool("gt_status", everyone, "One short line for people that says what you do now. When a new phase of the work begins.",
			map[string]rule{"message": length(1, 280)}, status),
		tool("gt_done", enders, "Hand over your finished, committed work: it ends your work on the bead. Last of all, once.",
			map[string]rule{"summary": length(minSummary, 16000), "verified": oneOf(verdicts...), "pr_url": length(0, 500)}, done),
		tool("gt_bead_close", []town.Role{town.RolePolecat, town.RoleMayor}, "Close a bead that needs no change (any more), with the reason. It ends your work on it.",
			map[string]rule{"reason": length(minSummary, 8000)}, beadClose),
		tool("gt_request_changes", reviewers, "Send the branch that you judge back to its author, with every finding at once.",
			map[string]rule{"feedback": length(minSummary, 32000), "files": items(0, 200)}, requestChanges),
	}
}

// minSummary is the least evidence of what was done (K10), in characters.
const minSummary = 20

// minReason is the least explanation of work that differs from what was asked (K10).
const minReason = 80

// verdicts are what an agent may find its work to be, held against what was asked (K10).
var verdicts = []string{"ALIGNED", "PARTIAL", "DIVERGENT", "EMPTY"}

var workTypes = oneOf(town.BeadIssue, town.BeadBug, town.BeadFeature, town.BeadChore, town.BeadDocs)

func beadPath(id, rest string) string  { return "/beads/" + url.PathEscape(id) + rest }
func agentPath(id, rest string) string { return "/agents/" + url.PathEscape(id) + rest }

// brief is a bead in a list.
type brief struct {
	ID        string          `json:"id"`
	RigID     string          `json:"rigId"`
	Title     string          `json:"title"`
	Type      town.BeadType   `json:"type"`
	Status    town.BeadStatus `json:"status"`
	Why       string          `json:"why"`
	Priority  town.Priority   `json:"priority"`
	Labels    []string        `json:"labels"`
	DependsOn []string        `json:"dependsOn"`
	ConvoyID  string          `json:"convoyId"`
	AgentID   string          `json:"agentId"`
}

func briefs(beads []town.Bead) []brief {
	list := make([]brief, len(beads))
	for i, b := range beads {
		list[i] = brief{b.ID, b.RigID, b.Title, b.Type, b.Status, b.Why, b.Priority, b.Labels, b.DependsOn, b.ConvoyID, b.AgentID}
	}
	return list
}

func prime(ctx context.Context, c *call, _ none) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	p, err := hall.Prime(ctx, c.agent.AgentID)
	if err != nil {
		return answer{}, err
	}
	text := fmt.Sprintf("You are %s of rig %s, role %s.", c.agent.AgentID, c.agent.RigID, c.agent.Role)
	if p.Bead != nil {
		text += fmt.Sprintf(" On your hook is bead %s, attempt %d of %d: do it now.", p.Bead.ID, p.Bead.Attempts, p.Bead.MaxAttempts)
		if p.Bead.Reworks > 0 {
			text += " It came back from review: its feedback says why."
		}
		if len(p.Bead.Checkpoint) > 0 {
			text += " Its checkpoint says how far the work was: go on from there."
		}
	} else {
		text += " There is no bead on your hook."
	}
	text += fmt.Sprintf(" Letters: %d; acknowledge those that you have read by gt_mail_check.", len(p.Mail))
	return answer{text: text, data: map[string]any{
		"bead": p.Bead, "notes": p.Notes, "mail": p.Mail, "questions": p.Questions, "escalations": p.Escalations, "openBeads": briefs(p.OpenBeads),
	}, longest: maxInPrime}, nil
}

// maxInPrime is how much of each text is shown at the start, in characters.
const maxInPrime = 16000

type beadArgs struct {
	BeadID string `json:"bead_id,omitempty" jsonschema:"id of the bead; yours when absent"`
}

// own returns the id of a bead that the agent named, or of its own.
func (c *call) own(id string) (string, error) {
	if id = cmp.Or(id, c.agent.BeadID); id == "" {
		return "", refuse("There is no bead on your hook: name one with bead_id.")
	}
	return id, nil
}

// onlyOwn is own for what only the mayor may do with others' beads.
func (c *call) onlyOwn(id string) (string, error) {
	if id != "" && id != c.agent.BeadID && c.agent.Role != town.RoleMayor {
		return "", refuse("Bead %.64q is not yours: you may do this with your own bead only, which is %q.", id, c.agent.BeadID)
	}
	return c.own(id)
}

func beadStatus(ctx context.Context, c *call, a beadArgs) (answer, error) {
	id, err := c.own(a.BeadID)
	if err != nil {
		return answer{}, err
	}
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	bead, err := hall.Bead(ctx, id)
	if err != nil {
		return answer{}, err
	}
	notes, err := hall.Notes(ctx, id)
	if err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("Bead %s is %s.", bead.ID, bead.Status), data: map[string]any{"bead": bead, "notes": notes}}, nil
}

type newBead struct {
	Title     string        `json:"title" jsonschema:"the outcome, in one line"`
	Body      string        `json:"body,omitempty" jsonschema:"what is wanted, where it is, what must stay as it is, how to check it; for a reader who knows nothing of it"`
	Type      town.BeadType `json:"type,omitempty" jsonschema:"what it is; issue when absent"`
	Priority  town.Priority `json:"priority,omitempty" jsonschema:"how much it presses; medium when absent"`
	Labels    []string      `json:"labels,omitempty" jsonschema:"words to find it by"`
	DependsOn []string      `json:"depends_on_ids,omitempty" jsonschema:"ids of beads that must be closed before"`
}

func beadCreate(ctx context.Context, c *call, a newBead) (answer, error) {
	return c.file(ctx, c.agent.RigID, a, "Filed as bead %s. It is not yours: go on with your own work.")
}

func (c *call) file(ctx context.Context, rig string, a newBead, text string) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	bead, _, err := hall.CreateBead(ctx, rig, town.BeadRequest{
		Type: a.Type, Title: a.Title, Body: a.Body, Priority: a.Priority, Labels: a.Labels, DependsOn: a.DependsOn,
		Source: "agent:" + c.agent.AgentID,
	})
	if err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf(text, bead.ID), data: briefs([]town.Bead{bead})[0]}, nil
}

type noteArgs struct {
	Text   string `json:"text" jsonschema:"what you found"`
	BeadID string `json:"bead_id,omitempty" jsonschema:"id of the bead; yours when absent"`
}

func note(ctx context.Context, c *call, a noteArgs) (answer, error) {
	id, err := c.onlyOwn(a.BeadID)
	if err != nil {
		return answer{}, err
	}
	return c.told(c.tell(ctx, beadPath(id, "/notes"), api.NoteRequest{Text: a.Text}, nil))("Noted in bead %s.", id)
}

// told turns what tell returns into an answer.
func (c *call) told(delivered bool, err error) func(format string, args ...any) (answer, error) {
	return func(format string, args ...any) (answer, error) {
		if err != nil {
			return answer{}, err
		}
		return answer{text: fmt.Sprintf(format, args...) + recorded(delivered)}, nil
	}
}

func recorded(delivered bool) string {
	if delivered {
		return ""
	}
	return " The coordinator does not answer now: recorded; will be delivered. Do not call again for it."
}

type checkpointArgs struct {
	Done  string         `json:"done" jsonschema:"what is done"`
	Next  string         `json:"next,omitempty" jsonschema:"what is next"`
	Found string         `json:"found,omitempty" jsonschema:"what you found out on the way"`
	Data  map[string]any `json:"data,omitempty" jsonschema:"whatever else the next one needs"`
}

// maxCheckpointBytes is what a coordinator takes of a checkpoint.
const maxCheckpointBytes = 64 << 10

func checkpoint(ctx context.Context, c *call, a checkpointArgs) (answer, error) {
	if c.agent.BeadID == "" {
		return answer{}, refuse("There is no bead on your hook, so there is nothing to note progress of.")
	}
	data, err := json.Marshal(a)
	if err != nil {
		return answer{}, fmt.Errorf("encode checkpoint: %w", err)
	}
	if len(data) > maxCheckpointBytes {
		return answer{}, refuse("A checkpoint is at most %d bytes, not %d: note what matters, and where the rest is.", maxCheckpointBytes, len(data))
	}
	delivered, err := c.tell(ctx, agentPath(c.agent.AgentID, "/checkpoint"), api.CheckpointRequest{Data: data, Epoch: c.agent.Generation}, nil)
	if err != nil {
		return answer{}, err
	}
	text := "Noted."
	saved, err := c.desk.cfg.Workers.SaveWork(ctx, c.capability)
	switch {
	case err != nil:
		c.desk.cfg.Log.Warn("worktree not saved for a checkpoint", "agent", c.agent.AgentID, "error", err)
		text += " Your worktree could not be saved: commit and push what you have."
	case saved.Commit != "":
		text += " What is in no commit was saved as " + saved.Commit + "."
	default:
		text += " All of your work is in commits."
	}
	return answer{text: text + recorded(delivered)}, nil
}

type statusArgs struct {
	Message string `json:"message" jsonschema:"what you do now, in one line of at most 280 characters"`
	Waiting bool   `json:"waiting,omitempty" jsonschema:"true when you wait for an answer and can do nothing before: then you may end your turn, and the answer comes as a message"`
}

func status(ctx context.Context, c *call, a statusArgs) (answer, error) {
	delivered, err := c.tell(ctx, agentPath(c.agent.AgentID, "/status"), api.SayRequest{Message: a.Message}, nil)
	if err != nil {
		return answer{}, err
	}
	if !a.Waiting {
		return answer{text: "Told." + recorded(delivered)}, nil
	}
	if err := c.desk.cfg.Workers.Report(ctx, c.capability, town.Report{State: town.ReasonWaiting, Text: a.Message}); err != nil {
		return answer{}, err
	}
	return answer{text: "Told. You may end your turn: the answer comes as a message." + recorded(delivered)}, nil
}

type doneArgs struct {
	Summary  string `json:"summary" jsonschema:"what you did, what you checked and how it came out, what is left"`
	Verified string `json:"verified,omitempty" jsonschema:"your work held against what was asked: ALIGNED, PARTIAL, DIVERGENT (say why in the summary) or EMPTY (nothing was to be changed)"`
	PRURL    string `json:"pr_url,omitempty" jsonschema:"address of the pull request, if the town opened one for this work"`
}

func done(ctx context.Context, c *call, a doneArgs) (answer, error) {
	switch {
	case a.Verified == "EMPTY" && c.agent.Role == town.RolePolecat:
		return answer{}, refuse("Work that needed no change is closed, not handed over: call gt_bead_close with the reason.")
	case a.Verified == "DIVERGENT" && len(strings.TrimSpace(a.Summary)) < minReason:
		return answer{}, refuse("Work that differs from what was asked needs its reasons in the summary, at least %d characters.", minReason)
	}
	req := town.DoneRequest{Epoch: c.agent.Generation, Branch: c.agent.Branch, Summary: a.Summary, PRURL: a.PRURL}
	if a.Verified != "" {
		req.Summary = "Verified: " + a.Verified + "\n\n" + a.Summary
	}
	text := ""
	if c.agent.Role == town.RolePolecat && c.agent.BeadID != "" {
		h, err := c.handOver(ctx)
		if err != nil {
			return answer{}, err
		}
		if h.Commits == 0 {
			return answer{}, refuse("Your branch has no commit of its own. Commit your work first; if nothing was to be changed, call gt_bead_close with the reason.")
		}
		if req.Commit = h.Commit; h.PushError != "" {
			text = " The push of your branch failed; the town goes on from its own copy: " + c.marks.text(cut(h.PushError, maxSaid))
		}
	}
	return c.end(ctx, agentPath(c.agent.AgentID, "/done"), req, a.Summary, "Handed over."+text)
}

// handOver looks at the agent's work. Changes that are in no commit are refused
// once: a second hand-over with the same ones says that they are not wanted.
func (c *call) handOver(ctx context.Context) (town.HandOver, error) {
	h, err := c.desk.cfg.Workers.HandOver(ctx, c.capability)
	if err != nil || h.ChangedCount == 0 {
		return h, err
	}
	if again := c.desk.warn(c.agent.AgentID, fmt.Sprint(c.agent.RunID, h.Changed, h.ChangedCount)); again && h.Commits > 0 {
		return h, nil
	}
	names := c.marks.text(strings.Join(h.Changed, "\n"))
	return h, refuse("%d files of your worktree are in no commit: %s Commit what belongs to the work, remove what does not, then call again. "+
		"What is in no commit is not handed over.", h.ChangedCount, names)
}

// warn remembers what an agent's hand-over was refused for, and reports whether it
// was for the same before. What is remembered is lost with this process.
func (d *Desk) warn(agentID, why string) (again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	again = d.warned[agentID] == why
	d.warned[agentID] = why
	return again
}

func (d *Desk) unwarn(agentID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.warned, agentID)
}

// end tells the coordinator of the end of the agent's work, and then the one that
// owns its life: what comes first must not get lost by the second.
func (c *call) end(ctx context.Context, path string, body any, summary, text string) (answer, error) {
	var got struct {
		Kept bool `json:"kept"`
	}
	delivered := true
	// Who was started by hand has no lease: nobody at the coordinator waits for its end.
	if c.agent.Generation > 0 && (c.agent.BeadID != "" || c.agent.Role == town.RoleRefinery) {
		var err error
		if delivered, err = c.tell(ctx, path, body, &got); err != nil {
			return answer{}, err
		}
	}
	c.desk.unwarn(c.agent.AgentID)
	if err := c.desk.cfg.Workers.Report(ctx, c.capability, town.Report{State: town.ReasonDone, Text: cut(summary, MaxReportBytes/4)}); err != nil {
		return answer{}, err
	}
	if got.Kept {
		text = "Your claim of the bead had ended before: your work is kept as an attempt."
	}
	return answer{text: text + recorded(delivered) + " End your turn now."}, nil
}

type closeArgs struct {
	Reason string `json:"reason" jsonschema:"why nothing is to be changed"`
	BeadID string `json:"bead_id,omitempty" jsonschema:"id of the bead; yours when absent"`
}

func beadClose(ctx context.Context, c *call, a closeArgs) (answer, error) {
	id, err := c.onlyOwn(a.BeadID)
	if err != nil {
		return answer{}, err
	}
	if c.agent.Role == town.RoleMayor {
		return c.told(c.tell(ctx, beadPath(id, "/close"), api.CloseRequest{Reason: a.Reason}, nil))("Bead %s is closed.", id)
	}
	h, err := c.handOver(ctx)
	if err != nil {
		return answer{}, err
	}
	if h.Commits > 0 {
		return answer{}, refuse("Your branch has %d commits of its own: hand them over with gt_done. Only work without changes is closed.", h.Commits)
	}
	return c.close(ctx, a.Reason)
}

func (c *call) close(ctx context.Context, reason string) (answer, error) {
	body := api.CloseRequest{Reason: reason, Epoch: c.agent.Generation}
	return c.end(ctx, beadPath(c.agent.BeadID, "/close"), body, reason, "Closed without changes.")
}

type changesArgs struct {
	Feedback string   `json:"feedback" jsonschema:"every finding: file and line, what is wrong, what would be right"`
	Files    []string `json:"files,omitempty" jsonschema:"the files that the findings are in"`
}

func requestChanges(ctx context.Context, c *call, a changesArgs) (answer, error) {
	return c.told(c.tell(ctx, agentPath(c.agent.AgentID, "/request-changes"), api.ChangesRequest{Feedback: a.Feedback, Files: a.Files}, nil))("Sent back to its author. Now call gt_done with the verdict.")
}

// Report takes in what an agent says of its work by `townd report`: the same, for
// CLIs that have no tools, as gt_done, gt_bead_close, gt_escalate and gt_status.
// An agent without a bead tells only the one that owns its life.
func (d *Desk) Report(ctx context.Context, capability string, r town.Report) error {
	agent, err := d.cfg.Workers.Caller(capability)
	if err != nil {
		return err
	}
	if agent.BeadID == "" {
		return d.cfg.Workers.Report(ctx, capability, r)
	}
	sum := sha256.Sum256(fmt.Append(nil, agent.RunID, r.State, r.Text)) // the same again is the same report
	c := &call{desk: d, capability: capability, agent: agent, id: "report-" + hex.EncodeToString(sum[:10]), marks: newMarks()}
	switch r.State {
	case town.ReasonDone:
		err = c.reportDone(ctx, r.Text)
	case town.ReasonBlocked:
		if _, err = c.tell(ctx, beadPath(agent.BeadID, "/notes"), api.NoteRequest{Text: "Blocked: " + r.Text}, nil); err == nil {
			err = d.cfg.Workers.Report(ctx, capability, r)
		}
	default:
		if _, err = c.tell(ctx, "/escalations", c.escalation(town.PriorityMedium, "An agent waits for an answer", r.Text, "waiting:"+agent.BeadID), nil); err == nil {
			err = d.cfg.Workers.Report(ctx, capability, r)
		}
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("report: %w", context.Cause(ctx))
	case err != nil && town.HTTPStatus(err) == http.StatusInternalServerError:
		return fmt.Errorf("the coordinator does not answer: %v: %w", err, town.ErrUnavailable)
	}
	return err
}

func (c *call) reportDone(ctx context.Context, summary string) error {
	if n := len(strings.TrimSpace(summary)); n < minSummary {
		return refuse("a summary of at least %d characters is needed, not %d: what you did, what you checked, what is left", minSummary, n)
	}
	if c.agent.Role == town.RolePolecat {
		h, err := c.handOver(ctx)
		if err == nil && h.Commits == 0 {
			_, err = c.close(ctx, summary)
			return err
		}
		if err != nil {
			return err
		}
	}
	_, err := done(ctx, c, doneArgs{Summary: summary})
	return err
}
