package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// sendTimeout is how long a caller may take to take what is sent to it.
const sendTimeout = 10 * time.Second

// Quiet is sent when nothing happened for a while, so that neither end takes the
// other for dead.
const Quiet = ": quiet\n\n"

// WantsEvents reports whether the request asks for an answer of server-sent events.
func WantsEvents(r *http.Request) bool {
	return r.Method == http.MethodGet && Accepts(r, "text/event-stream")
}

// EventStream is an answer of server-sent events.
type EventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// NewEventStream begins one.
func NewEventStream(w http.ResponseWriter) *EventStream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	return &EventStream{w: w, control: http.NewResponseController(w)}
}

// WriteEvent writes one event to w, its data in JSON; id is "" for one without.
func WriteEvent(w io.Writer, id, event string, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	_, err = fmt.Fprintf(w, "%sevent: %s\ndata: %s\n\n", id, event, encoded)
	return err
}

// Send writes text, whole events, and gives the caller 10 s to take it.
func (s *EventStream) Send(text string) error {
	err := s.control.SetWriteDeadline(time.Now().Add(sendTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) { // as in the same process
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
