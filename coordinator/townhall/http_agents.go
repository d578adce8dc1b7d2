package townhall

import (
	"context"
	"fmt"

	"townd/api"
	"townd/api/wire"
	"townd/town"
)

func (f *face) agents(c *request) (any, error) {
	agents, err := f.hall.Agents(c.Context())
	return api.TownAgentList{Agents: list(agents)}, err
}

func (f *face) prime(c *request) (any, error) {
	return found(f.hall.Prime(c.Context(), c.caller, c.ids["agentId"]))
}

func (f *face) done(c *request, req town.DoneRequest) (any, error) {
	return found(f.hall.Done(c.Context(), c.caller, c.ids["agentId"], req))
}

func (f *face) requestChanges(c *request, req api.ChangesRequest) (any, error) {
	bead, err := f.hall.RequestChanges(c.Context(), c.caller, c.ids["agentId"], req)
	return api.BeadAnswer{Bead: bead}, err
}

func (f *face) checkpoint(c *request, req api.CheckpointRequest) (any, error) {
	bead, err := f.hall.SaveCheckpoint(c.Context(), c.caller, c.ids["agentId"], req)
	return api.BeadAnswer{Bead: bead}, err
}

func (f *face) sayStatus(c *request, req api.SayRequest) (any, error) {
	return found(f.hall.SayStatus(c.Context(), c.caller, c.ids["agentId"], req.Message))
}

func (f *face) ask(c *request, req town.AskRequest) (any, error) {
	question, err := f.hall.Ask(c.Context(), c.caller, c.ids["agentId"], req)
	return answerMade(question, true, err)
}

func (f *face) nudge(c *request, req api.NudgeRequest) (any, error) {
	order, err := f.hall.Nudge(c.Context(), c.caller, c.ids["agentId"], req)
	return api.Nudged{Nudged: true, OrderID: order}, err
}

func (f *face) stop(c *request, req api.ReasonRequest) (any, error) {
	order, err := f.hall.OrderStop(c.Context(), c.caller, c.ids["agentId"], req.Reason)
	return api.Ordered{Ordered: true, OrderID: order}, err
}

func (f *face) agentMail(c *request) (any, error) {
	mail, err := f.hall.Mail(c.Context(), c.caller, MailQuery{To: c.ids["agentId"]})
	return api.MailList{Mail: list(mail)}, err
}

func (f *face) ackMail(c *request, req api.AckRequest) (any, error) {
	n, err := f.hall.AckMail(c.Context(), c.caller, c.ids["agentId"], req.IDs)
	return api.Acked{Acked: n}, err
}

func (f *face) mail(c *request) (any, error) {
	var q MailQuery
	if err := c.texts(map[string]*string{"to": &q.To}); err != nil {
		return nil, err
	}
	all, err := choice(c, "all", "true", "false")
	if err != nil {
		return nil, err
	}
	q.All = all == "true"
	mail, err := f.hall.Mail(c.Context(), c.caller, q)
	return api.MailList{Mail: list(mail)}, err
}

func (f *face) sendMail(c *request, req town.MailRequest) (any, error) {
	mail, err := f.hall.SendMail(c.Context(), c.caller, req)
	return answerMade(mail, true, err)
}

func (f *face) escalations(c *request) (any, error) {
	status, err := choice(c, "status", "open", "acknowledged", "closed")
	if err != nil {
		return nil, err
	}
	all, err := f.hall.Escalations(c.Context(), status)
	return api.EscalationList{Escalations: list(all)}, err
}

func (f *face) escalate(c *request, req town.EscalationRequest) (any, error) {
	e, created, err := f.hall.Escalate(c.Context(), c.caller, req)
	return answerMade(e, created, err)
}

func (f *face) acknowledge(c *request, req api.EscalationAnswer) (any, error) {
	return found(f.hall.AcknowledgeEscalation(c.Context(), c.caller, c.ids["escalationId"], req.Answer))
}

func (f *face) closeEscalation(c *request, req api.EscalationAnswer) (any, error) {
	return found(f.hall.CloseEscalation(c.Context(), c.caller, c.ids["escalationId"], req.Answer))
}

func (f *face) questions(c *request) (any, error) {
	status, err := choice(c, "status", "open", "answered", "expired", "cancelled")
	if err != nil {
		return nil, err
	}
	all, err := f.hall.Questions(c.Context(), status)
	return api.QuestionList{Questions: list(all)}, err
}

func (f *face) question(c *request) (any, error) {
	wait, err := c.wait("waitSeconds")
	if err != nil {
		return nil, err
	}
	question, err := f.hall.Question(c.Context(), c.ids["questionId"], 0)
	if err != nil {
		return nil, err
	}
	if a := c.caller; a.AgentID != "" && a.Role != town.RoleMayor && question.AgentID != a.AgentID {
		return nil, fmt.Errorf("question %s is not one of agent %s: %w", question.ID, a.AgentID, town.ErrForbidden)
	}
	if wait == 0 || question.Status != "open" {
		return question, nil
	}
	err = f.waiting(c, func(ctx context.Context) error {
		question, err = f.hall.Question(ctx, question.ID, wait)
		return err
	})
	return question, err
}

func (f *face) answerQuestion(c *request, req api.AnswerRequest) (any, error) {
	if req.Answer == "" {
		return nil, wire.BadBody("answer", "is required")
	}
	return found(f.hall.AnswerQuestion(c.Context(), c.caller, c.ids["questionId"], req.Answer))
}

func (f *face) cancelQuestion(c *request) (any, error) {
	return found(f.hall.CancelQuestion(c.Context(), c.caller, c.ids["questionId"]))
}
