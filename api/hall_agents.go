package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"townd/town"
)

// TownAgentList is the body of GET /api/towns/{townId}/agents.
type TownAgentList struct {
	Agents []town.TownAgent `json:"agents"`
}

// Agents returns the agents that the coordinator knows, live ones first.
func (h *HallClient) Agents(ctx context.Context) ([]town.TownAgent, error) {
	out, err := get[TownAgentList](ctx, h, "/agents", nil)
	return out.Agents, err
}

// Prime returns what an agent must know to begin or go on.
func (h *HallClient) Prime(ctx context.Context, agentID string) (town.Prime, error) {
	return get[town.Prime](ctx, h, agentPath(agentID, "/prime"), nil)
}

// DoneAnswer is the answer to gt_done.
type DoneAnswer struct {
	Bead town.Bead `json:"bead"`
	Kept bool      `json:"kept"` // the epoch was old: it was kept as an attempt
}

// Done tells that an agent has finished its bead.
func (h *HallClient) Done(ctx context.Context, agentID string, req town.DoneRequest) (DoneAnswer, error) {
	return post[DoneAnswer](ctx, h, agentPath(agentID, "/done"), req)
}

// BeadAnswer is the answer of calls that change an agent's bead.
type BeadAnswer struct {
	Bead town.Bead `json:"bead"`
}

// ChangesRequest sends a branch back to who made it.
type ChangesRequest struct {
	MergeID  string   `json:"mergeId,omitempty"` // what the refinery looks at, when empty
	Feedback string   `json:"feedback"`
	Files    []string `json:"files,omitempty"`
}

// RequestChanges sends a branch back that a refinery looks at.
func (h *HallClient) RequestChanges(ctx context.Context, agentID string, req ChangesRequest) (town.Bead, error) {
	out, err := post[BeadAnswer](ctx, h, agentPath(agentID, "/request-changes"), req)
	return out.Bead, err
}

// CheckpointRequest keeps what an agent wants its next attempt to know.
type CheckpointRequest struct {
	Data  json.RawMessage `json:"data"` // any JSON up to 64 KiB
	Epoch int64           `json:"epoch"`
}

// SaveCheckpoint keeps an agent's checkpoint with its bead.
func (h *HallClient) SaveCheckpoint(ctx context.Context, agentID string, req CheckpointRequest) (town.Bead, error) {
	out, err := post[BeadAnswer](ctx, h, agentPath(agentID, "/checkpoint"), req)
	return out.Bead, err
}

// SayRequest is what an agent says of itself, at most 280 characters.
type SayRequest struct {
	Message string `json:"message"`
}

// SayStatus tells people what an agent does.
func (h *HallClient) SayStatus(ctx context.Context, agentID, message string) (town.TownAgent, error) {
	return post[town.TownAgent](ctx, h, agentPath(agentID, "/status"), SayRequest{message})
}

// Ask asks people something.
func (h *HallClient) Ask(ctx context.Context, agentID string, req town.AskRequest) (town.Question, error) {
	return post[town.Question](ctx, h, agentPath(agentID, "/ask"), req)
}

// NudgeRequest wakes an agent. Mode is wait-idle (when empty), immediate or queue.
type NudgeRequest struct {
	Message string `json:"message"`
	Mode    string `json:"mode,omitempty"`
}

// Nudged is the answer to a nudge. There is no order where the agent had ended to wait,
// and is started again with the message.
type Nudged struct {
	Nudged  bool   `json:"nudged"`
	OrderID string `json:"orderId,omitempty"`
}

// Ordered is the answer to a stop.
type Ordered struct {
	Ordered bool   `json:"ordered"`
	OrderID string `json:"orderId"`
}

// Nudge says something into an agent's session and returns the order that does it.
func (h *HallClient) Nudge(ctx context.Context, agentID string, req NudgeRequest) (orderID string, err error) {
	out, err := post[Nudged](ctx, h, agentPath(agentID, "/nudge"), req)
	return out.OrderID, err
}

// OrderStop stops an agent and returns the order that does it.
func (h *HallClient) OrderStop(ctx context.Context, agentID, reason string) (orderID string, err error) {
	out, err := post[Ordered](ctx, h, agentPath(agentID, "/stop"), ReasonRequest{reason})
	return out.OrderID, err
}

// MailList is the body of calls that return mail.
type MailList struct {
	Mail []town.Mail `json:"mail"`
}

// AckRequest acknowledges mail.
type AckRequest struct {
	IDs []string `json:"ids"`
}

// Acked is its answer.
type Acked struct {
	Acked int `json:"acked"` // how many were not acknowledged before
}

// AgentMail returns the mail that an agent has not acknowledged, oldest first.
func (h *HallClient) AgentMail(ctx context.Context, agentID string) ([]town.Mail, error) {
	out, err := get[MailList](ctx, h, agentPath(agentID, "/mail"), nil)
	return out.Mail, err
}

// AckMail acknowledges mail of an agent, and returns how many were not before.
func (h *HallClient) AckMail(ctx context.Context, agentID string, ids ...string) (int, error) {
	out, err := post[Acked](ctx, h, agentPath(agentID, "/mail/ack"), AckRequest{ids})
	return out.Acked, err
}

// Mail returns mail to an agent ("" for everyone's), oldest first; with all also
// what is acknowledged.
func (h *HallClient) Mail(ctx context.Context, to string, all bool) ([]town.Mail, error) {
	query := filter(map[string]string{"to": to})
	if all {
		query.Set("all", "true")
	}
	out, err := get[MailList](ctx, h, "/mail", query)
	return out.Mail, err
}

// SendMail sends mail.
func (h *HallClient) SendMail(ctx context.Context, req town.MailRequest) (town.Mail, error) {
	return post[town.Mail](ctx, h, "/mail", req)
}

// EscalationList is the body of GET /escalations.
type EscalationList struct {
	Escalations []town.Escalation `json:"escalations"`
}

// EscalationAnswer acknowledges or closes an escalation; the answer goes to its agent.
type EscalationAnswer struct {
	Answer string `json:"answer,omitempty"`
}

// Escalate asks for someone's judgement; created is false when an open escalation
// of its cause was counted up instead.
func (h *HallClient) Escalate(ctx context.Context, req town.EscalationRequest) (e town.Escalation, created bool, err error) {
	e, status, err := ask[town.Escalation](ctx, h, http.MethodPost, "/escalations", nil, req)
	return e, status == http.StatusCreated, err
}

// Escalations returns escalations in a status ("" for all), newest first.
func (h *HallClient) Escalations(ctx context.Context, status string) ([]town.Escalation, error) {
	out, err := get[EscalationList](ctx, h, "/escalations", filter(map[string]string{"status": status}))
	return out.Escalations, err
}

// AcknowledgeEscalation tells that someone looks at it.
func (h *HallClient) AcknowledgeEscalation(ctx context.Context, id, answer string) (town.Escalation, error) {
	return post[town.Escalation](ctx, h, segment("escalations", id, "/acknowledge"), EscalationAnswer{answer})
}

// CloseEscalation ends it.
func (h *HallClient) CloseEscalation(ctx context.Context, id, answer string) (town.Escalation, error) {
	return post[town.Escalation](ctx, h, segment("escalations", id, "/close"), EscalationAnswer{answer})
}

// QuestionList is the body of GET /questions.
type QuestionList struct {
	Questions []town.Question `json:"questions"`
}

// AnswerRequest answers a question: one of its options, or something else.
type AnswerRequest struct {
	Answer string `json:"answer"`
}

// Questions returns questions in a status ("" for all), newest first.
func (h *HallClient) Questions(ctx context.Context, status string) ([]town.Question, error) {
	out, err := get[QuestionList](ctx, h, "/questions", filter(map[string]string{"status": status}))
	return out.Questions, err
}

// Question returns a question, as soon as it is no longer open but after wait, at
// most 55 s, at the latest.
func (h *HallClient) Question(ctx context.Context, id string, wait time.Duration) (town.Question, error) {
	return get[town.Question](ctx, h, segment("questions", id, ""), filter(map[string]string{"waitSeconds": seconds(wait)}))
}

// AnswerQuestion answers a question.
func (h *HallClient) AnswerQuestion(ctx context.Context, id, answer string) (town.Question, error) {
	return post[town.Question](ctx, h, segment("questions", id, "/answer"), AnswerRequest{answer})
}

// CancelQuestion takes a question back.
func (h *HallClient) CancelQuestion(ctx context.Context, id string) (town.Question, error) {
	return post[town.Question](ctx, h, segment("questions", id, "/cancel"), nil)
}
