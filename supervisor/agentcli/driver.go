package agentcli

import (
	"bytes"

	"townd/town"
)

// A CLI whose protocol is a conversation, with requests and answers that belong
// together, is run by `townd drive NAME`: a process of the agent's own, between
// the town and the CLI. It lives as long as the CLI, so nothing of the
// conversation has to outlive it. Its input is one DriverInput a line. Its output
// is the CLI's own lines as they are, and one DriverOutput a line among them.

// DriverInput is a line of input to a driver.
type DriverInput struct {
	Type string `json:"type"` // DriverMessage or DriverInterrupt
	ID   string `json:"id,omitempty"`
	Text string `json:"text,omitempty"`
}

// The types of DriverInput.
const (
	DriverMessage   = "message"   // the next thing for the agent to do
	DriverInterrupt = "interrupt" // end the turn, go on listening
)

// DriverOutput is a line that a driver says itself.
type DriverOutput struct {
	Townd   string `json:"townd"`          // DriverAccepted, DriverRefused or DriverFault; first, so that the line is told apart
	ID      string `json:"id,omitempty"`   // of the message
	Kind    string `json:"kind,omitempty"` // town.ErrorKind
	Message string `json:"message,omitempty"`
}

// The kinds of DriverOutput.
const (
	DriverAccepted = "accepted" // the CLI has taken the message
	DriverRefused  = "refused"  // it has not, and will not
	DriverFault    = "fault"    // what the CLI did not say itself: it could not be started or reached
)

// decodeDriver emits the events of a driver's own line, and reports false for a
// line that is the CLI's.
func decodeDriver(line []byte, emit emitFunc) bool {
	var o DriverOutput
	if !bytes.HasPrefix(line, []byte(`{"townd":`)) || !parse(line, &o) {
		return false
	}
	switch o.Townd {
	case DriverAccepted:
		if o.ID == "" {
			break // a prompt of which no receipt is asked
		}
		emit(town.EventMessage, town.MessageData{MessageID: o.ID, Receipt: town.ReceiptDelivered})
	case DriverRefused:
		if o.ID == "" {
			emit(town.EventError, town.ErrorData{Kind: town.ErrorKind(firstOf(o.Kind, string(town.KindUnknown))), Message: cut(o.Message)})
			break
		}
		emit(town.EventMessage, town.MessageData{MessageID: o.ID, Receipt: town.ReceiptFailed})
	case DriverFault:
		emit(town.EventError, town.ErrorData{Kind: town.ErrorKind(firstOf(o.Kind, string(town.KindUnknown))), Message: cut(o.Message)})
	}
	return true
}
