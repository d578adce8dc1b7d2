package tools

import (
	"context"
	"fmt"
	"slices"
	"time"

	"townd/api"
	"townd/town"
)

func talkTools() []*entry {
	wait := between(0, 3600)
	return []*entry{
		tool("gt_mail_check", everyone, "Your letters that you have not acknowledged, after acknowledging those in ack.", map[string]rule{"ack": items(0, 200)}, mailCheck),
		tool("gt_mail_send", everyone, "A letter to another agent or the mayor, which lasts until it is read. Findings belong into the bead.",
			map[string]rule{"subject": length(1, 200), "body": length(0, 32000)}, mailSend),
		tool("gt_nudge", everyone, "A short word to another agent that need not last.",
			map[string]rule{"message": length(1, 2000), "mode": oneOf("wait-idle", "immediate", "queue")}, nudge),
		tool("gt_escalate", everyone, "Call for help: what you tried, what you saw, what you need. When you are stuck.",
			map[string]rule{"title": length(3, 200), "body": length(0, 32000), "severity": oneOf(town.Priorities()...)}, escalate),
		tool("gt_ask", askers, "Ask a person a question with two to four answers to choose from, and wait for it. Only when the work cannot go on without.",
			map[string]rule{"question": length(5, 4000), "options": items(2, 4), "wait_seconds": wait}, askPerson),
		tool("gt_get_answer", askers, "The answer to a question that you asked before; waits for it if you say so.", map[string]rule{"wait_seconds": wait}, getAnswer),
		tool("gt_list_questions", askers, "Your questions that wait for an answer.", nil, listQuestions),
		tool("gt_cancel_question", askers, "Take a question back that needs no answer any more.", nil, cancelQuestion),
	}
}

type mailArgs struct {
	Ack []string `json:"ack,omitempty" jsonschema:"ids of letters that you have read and dealt with: they are not shown again"`
}

func mailCheck(ctx context.Context, c *call, a mailArgs) (answer, error) {
	acked := 0
	if len(a.Ack) > 0 {
		hall, ctx, end := c.ask(ctx, 0)
		defer end()
		var err error
		if acked, err = hall.AckMail(ctx, c.agent.AgentID, a.Ack...); err != nil {
			return answer{}, err
		}
	}
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	mail, err := hall.AgentMail(ctx, c.agent.AgentID)
	if err != nil {
		return answer{}, err
	}
	text := fmt.Sprintf("%d letters acknowledged, %d wait.", acked, len(mail))
	if len(mail) == 0 {
		return answer{text: text}, nil
	}
	return answer{text: text + " Acknowledge those that you have dealt with by their ids.", data: api.MailList{Mail: mail}}, nil
}

type letter struct {
	To      string `json:"to_agent_id" jsonschema:"id of the agent, or mayor"`
	Subject string `json:"subject" jsonschema:"what it is about, in one line"`
	Body    string `json:"body,omitempty" jsonschema:"the letter"`
}

func mailSend(ctx context.Context, c *call, a letter) (answer, error) {
	return c.told(c.tell(ctx, "/mail", town.MailRequest{To: a.To, Subject: a.Subject, Body: a.Body}, nil))("Sent to %s.", a.To)
}

type nudgeArgs struct {
	To      string `json:"target_agent_id" jsonschema:"id of the agent, or mayor"`
	Message string `json:"message" jsonschema:"a few words"`
	Mode    string `json:"mode,omitempty" jsonschema:"when it goes in: wait-idle (when absent), immediate, or queue"`
}

func nudge(ctx context.Context, c *call, a nudgeArgs) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	if _, err := hall.Nudge(ctx, a.To, api.NudgeRequest{Message: a.Message, Mode: a.Mode}); err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("Told %s.", a.To)}, nil
}

type escalateArgs struct {
	Title    string        `json:"title" jsonschema:"what is wrong, in one line"`
	Body     string        `json:"body,omitempty" jsonschema:"what you tried, what you saw, what you need"`
	Severity town.Priority `json:"severity,omitempty" jsonschema:"how much it presses; medium when absent"`
	Blocked  bool          `json:"blocked,omitempty" jsonschema:"true when nothing at all can be done before: it ends your work; commit and push first"`
}

func escalate(ctx context.Context, c *call, a escalateArgs) (answer, error) {
	delivered, err := c.tell(ctx, "/escalations", c.escalation(a.Severity, a.Title, a.Body, "agent:"+c.agent.AgentID+":"+a.Title), nil)
	if err != nil {
		return answer{}, err
	}
	if !a.Blocked {
		return answer{text: "Somebody is told. Do meanwhile what can be done without the answer." + recorded(delivered)}, nil
	}
	if err := c.desk.cfg.Workers.Report(ctx, c.capability, town.Report{State: town.ReasonBlocked, Text: a.Title}); err != nil {
		return answer{}, err
	}
	return answer{text: "Somebody is told. Your work ends as blocked: end your turn now." + recorded(delivered)}, nil
}

// escalation is a call for help of this agent. With the same cause it is counted up
// instead of made again.
func (c *call) escalation(severity town.Priority, title, body, cause string) town.EscalationRequest {
	return town.EscalationRequest{
		Severity: severity, Title: title, Body: body, Cause: cause,
		AgentID: c.agent.AgentID, BeadID: c.agent.BeadID, RigID: c.agent.RigID,
	}
}

type questionArgs struct {
	Question    string   `json:"question" jsonschema:"the question, for a person who knows nothing of your work"`
	Options     []string `json:"options" jsonschema:"two to four answers to choose from"`
	WaitSeconds float64  `json:"wait_seconds,omitempty" jsonschema:"how long you wait; 600 when absent, at most 3600"`
}

// defaultWait is how long an agent waits for an answer that says nothing of it (K11).
const defaultWait = 600

// pollPatience bounds one wait for an answer; then the call is made again.
const pollPatience = 25 * time.Second

func askPerson(ctx context.Context, c *call, a questionArgs) (answer, error) {
	if a.WaitSeconds == 0 {
		a.WaitSeconds = defaultWait
	}
	hall, asking, end := c.ask(ctx, 0)
	defer end()
	q, err := hall.Ask(asking, c.agent.AgentID, town.AskRequest{Question: a.Question, Options: a.Options, WaitSeconds: a.WaitSeconds})
	if err != nil {
		return answer{}, err
	}
	// The same question comes back when this call is made again: its time goes on.
	return c.await(ctx, q, q.CreatedAt.Add(time.Duration(a.WaitSeconds*float64(time.Second))))
}

// await waits for an answer until then, or for as long as one call may take.
func (c *call) await(ctx context.Context, q town.Question, until time.Time) (answer, error) {
	if wait := min(time.Until(until), pollPatience); q.Status == "open" && wait > 0 {
		hall, waiting, end := c.ask(ctx, wait)
		defer end()
		switch now, err := hall.Question(waiting, q.ID, wait); {
		case err == nil:
			q = now
		case refused(err) || ctx.Err() != nil:
			return answer{}, err
		default: // the question stands, and the coordinator comes back
			pause(ctx, min(wait, time.Second))
		}
	}
	switch {
	case q.Status == "answered":
		return answer{text: "The answer to your question has come.", data: map[string]string{"questionId": q.ID, "answer": q.Answer}}, nil
	case q.Status == "cancelled":
		return answer{text: fmt.Sprintf("Question %s was taken back: decide yourself, and say so in your summary.", q.ID)}, nil
	case time.Now().Before(until):
		return answer{text: fmt.Sprintf("Question %s waits for its answer.", q.ID), pending: true}, nil
	}
	return answer{text: fmt.Sprintf("No answer in time; question %[1]s goes on waiting. Go on with what does not need it. When nothing is left to do without it, "+
		"call gt_status with waiting true and end your turn: the answer comes as a message. gt_get_answer with question_id %[1]s asks again.", q.ID)}, nil
}

// pause waits, for a coordinator that does not answer not to be asked all the time.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

type answerArgs struct {
	QuestionID  string  `json:"question_id" jsonschema:"id of the question"`
	WaitSeconds float64 `json:"wait_seconds,omitempty" jsonschema:"how long you wait, at most 25; not at all when absent"`
}

func getAnswer(ctx context.Context, c *call, a answerArgs) (answer, error) {
	q, err := c.ownQuestion(ctx, a.QuestionID)
	if err != nil {
		return answer{}, err
	}
	wait := min(time.Duration(a.WaitSeconds*float64(time.Second)), pollPatience)
	ans, err := c.await(ctx, q, time.Now().Add(wait))
	ans.pending = false
	return ans, err
}

// ownQuestion returns a question of this agent's; the mayor has those of all.
func (c *call) ownQuestion(ctx context.Context, id string) (town.Question, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	q, err := hall.Question(ctx, id, 0)
	if err != nil {
		return q, err
	}
	if q.AgentID != c.agent.AgentID && c.agent.Role != town.RoleMayor {
		return q, refuse("Question %s is another agent's.", id)
	}
	return q, nil
}

func listQuestions(ctx context.Context, c *call, _ none) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	var all []town.Question
	var err error
	if c.agent.Role == town.RoleMayor {
		all, err = hall.Questions(ctx, "open")
	} else {
		var p town.Prime // others may see their own only
		p, err = hall.Prime(ctx, c.agent.AgentID)
		all = p.Questions
	}
	if err != nil {
		return answer{}, err
	}
	all = slices.DeleteFunc(all, func(q town.Question) bool { return q.Status != "open" })
	return answer{text: fmt.Sprintf("%d questions are open.", len(all)), data: api.QuestionList{Questions: all}}, nil
}

type cancelArgs struct {
	QuestionID string `json:"question_id" jsonschema:"id of the question"`
}

func cancelQuestion(ctx context.Context, c *call, a cancelArgs) (answer, error) {
	if _, err := c.ownQuestion(ctx, a.QuestionID); err != nil {
		return answer{}, err
	}
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	if _, err := hall.CancelQuestion(ctx, a.QuestionID); err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("Question %s is taken back.", a.QuestionID)}, nil
}
