package agentcli

import (
	"encoding/json"

	"townd/town"
)

// Decoded is one event found in a CLI's output. Several may share an Offset.
type Decoded struct {
	Offset int64 // of the transcript, just after the line it came from
	Event  town.EventType
	Data   any // the data type of that event, as town.TextData
}

// Decoder turns a CLI's output into events. It is not safe for concurrent use.
type Decoder interface {
	// Decode takes the bytes of the transcript at off and emits the events that
	// they complete. Bytes taken before are skipped, so reading again adds
	// nothing; after a gap the line that was cut is skipped.
	Decode(p []byte, off int64, emit func(Decoded))
	// Finish tells that the process has ended with that exit code, off being the
	// end of its output. It emits what follows from that, as the end of a turn
	// that was open, and makes the decoder ready for the next process.
	Finish(code int, off int64, emit func(Decoded))
	// State returns all that decoding needs to go on elsewhere, for Restore.
	State() ([]byte, error)
	// Restore makes the decoder what it was when State was called.
	Restore([]byte) error
}

// dialect is what differs between CLIs that print lines of JSON. Its exported
// fields are its state.
type dialect interface {
	line(p []byte, emit func(town.EventType, any))
	finish(code int, lastText string, emit func(town.EventType, any))
}

// lineDecoder is a Decoder of lines.
type lineDecoder struct{ dialect dialect }

func newLineDecoder(d dialect) *lineDecoder { return &lineDecoder{dialect: d} }

func (d *lineDecoder) Decode([]byte, int64, func(Decoded)) {}
func (d *lineDecoder) Finish(int, int64, func(Decoded))    {}
func (d *lineDecoder) State() ([]byte, error)              { return json.Marshal(d.dialect) }
func (d *lineDecoder) Restore(b []byte) error              { return json.Unmarshal(b, d.dialect) }

// claudeDecoder reads claude's stream-json.
type claudeDecoder struct{}

func (*claudeDecoder) line([]byte, func(town.EventType, any))        {}
func (*claudeDecoder) finish(int, string, func(town.EventType, any)) {}
