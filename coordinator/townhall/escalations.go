package townhall

import (
	"context"

	"townd/town"
)

// Escalate makes an escalation; created is false when an open one of its cause was
// counted up instead.
func (h *Hall) Escalate(ctx context.Context, c Caller, req town.EscalationRequest) (e town.Escalation, created bool, err error) {
	return town.Escalation{}, false, errNotYet
}

// Escalations returns escalations of that status (of all when ""), newest first, at most 500.
func (h *Hall) Escalations(ctx context.Context, status string) ([]town.Escalation, error) {
	return nil, errNotYet
}

// AcknowledgeEscalation tells that someone looks at it. An answer goes to its agent
// as mail and as a message.
func (h *Hall) AcknowledgeEscalation(ctx context.Context, c Caller, id, answer string) (town.Escalation, error) {
	return town.Escalation{}, errNotYet
}

// CloseEscalation ends it. An answer goes to its agent as mail and as a message.
func (h *Hall) CloseEscalation(ctx context.Context, c Caller, id, answer string) (town.Escalation, error) {
	return town.Escalation{}, errNotYet
}
