package townhall

import (
	"context"
	"time"

	"townd/town"
)

// Ask keeps an agent's question to people.
func (h *Hall) Ask(ctx context.Context, c Caller, agentID string, req town.AskRequest) (town.Question, error) {
	return town.Question{}, errNotYet
}

// Questions returns questions of that status (of all when ""), newest first, at most 500.
func (h *Hall) Questions(ctx context.Context, status string) ([]town.Question, error) {
	return nil, errNotYet
}

// Question returns a question, as soon as it is no longer open but after wait at the latest.
func (h *Hall) Question(ctx context.Context, id string, wait time.Duration) (town.Question, error) {
	return town.Question{}, errNotYet
}

// AnswerQuestion answers a question. When nobody waits for it any more the agent is
// told by a message.
func (h *Hall) AnswerQuestion(ctx context.Context, c Caller, id, answer string) (town.Question, error) {
	return town.Question{}, errNotYet
}

// CancelQuestion takes a question back.
func (h *Hall) CancelQuestion(ctx context.Context, c Caller, id string) (town.Question, error) {
	return town.Question{}, errNotYet
}
