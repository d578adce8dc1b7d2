package townhall

import (
	"context"

	"townd/town"
)

// MailQuery selects mail; without All only what is not acknowledged.
type MailQuery struct {
	To  string // everyone's when empty
	All bool
}

// Mail returns mail, oldest first. An agent reads only its own.
func (h *Hall) Mail(ctx context.Context, c Caller, q MailQuery) ([]town.Mail, error) {
	return nil, errNotYet
}

// AckMail acknowledges mail of an agent, and returns how many were not before.
func (h *Hall) AckMail(ctx context.Context, c Caller, agentID string, ids []string) (int, error) {
	return 0, errNotYet
}

// SendMail sends mail. An agent sends it as itself.
func (h *Hall) SendMail(ctx context.Context, c Caller, req town.MailRequest) (town.Mail, error) {
	return town.Mail{}, errNotYet
}
