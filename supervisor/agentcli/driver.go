package agentcli

import (
	"bytes"
	"cmp"

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

// driven is a CLI behind a driver, kept running over many turns.
type driven struct{}

func (driven) PerTurn() bool      { return false }
func (driven) Structured() bool   { return true }
func (driven) ResumesTurns() bool { return false }
func (driven) Interrupt() []byte  { return line(DriverInput{Type: DriverInterrupt}) }

func (driven) Input(text, messageID string) []byte {
	return line(DriverInput{Type: DriverMessage, ID: messageID, Text: text})
}

// drive returns the arguments that start the driver of a program, up to the
// program's own. The text of the system prompt is in systemFile, "" for none.
func (s *Spec) drive(name, program, model, systemFile string) ([]string, error) {
	townd, err := s.townd()
	if err != nil {
		return nil, err
	}
	argv := []string{townd, "drive"}
	flag := func(name, value string) {
		if value != "" {
			argv = append(argv, name, value)
		}
	}
	flag("--system-file", systemFile)
	flag("--session", s.SessionID)
	if s.SessionID != "" && s.Fork {
		argv = append(argv, "--fork")
	}
	flag("--model", model)
	flag("--effort", string(s.Effort))
	return append(argv, name, program), nil
}

// decodeDriver emits the events of a driver's own line, and reports ours as false
// for a line that is the CLI's. A fault is what the driver tells for the CLI.
func decodeDriver(line []byte, emit emitFunc) (ours, fault bool) {
	if !bytes.HasPrefix(line, []byte(`{"townd":`)) {
		return false, false
	}
	var o DriverOutput
	if !parse(line, &o) {
		return false, false
	}
	switch {
	case o.Townd == DriverFault, o.Townd == DriverRefused && o.ID == "":
		emit(town.EventError, town.ErrorData{Kind: cmp.Or(town.ErrorKind(o.Kind), town.KindUnknown), Message: cut(o.Message)})
		return true, true
	case o.ID == "": // a prompt of which no receipt is asked
	case o.Townd == DriverAccepted:
		emit(town.EventMessage, town.MessageData{MessageID: o.ID, Receipt: town.ReceiptDelivered})
	case o.Townd == DriverRefused:
		emit(town.EventMessage, town.MessageData{MessageID: o.ID, Receipt: town.ReceiptFailed})
	}
	return true, false
}
