package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"townd/town"
)

// EventPage is the body of GET /agents/{id}/events.
type EventPage struct {
	Epoch  string       `json:"epoch"` // ids of another epoch are not comparable
	Events []town.Event `json:"events"`
	Next   int64        `json:"next"` // the after of the next page
}

// Cursor returns the cursor of the next page, valid in its epoch only.
func (p EventPage) Cursor() string { return EventCursor(p.Epoch, p.Next) }

// EventCursor returns the cursor after the event id of epoch.
func EventCursor(epoch string, id int64) string { return epoch + ":" + strconv.FormatInt(id, 10) }

// Events returns at most limit events after a cursor, which is an EventCursor or
// a number; "" means from the first. limit 0 means the town's default.
func (c *Client) Events(ctx context.Context, id, after string, limit int) (EventPage, error) {
	query := url.Values{}
	if after != "" {
		query.Set("after", after)
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var out EventPage
	_, err := c.ask(ctx, call{method: http.MethodGet, path: agentPath(id, "/events"), query: query}, &out)
	return out, err
}

// maxEventBytes bounds one event on the wire: a line of a CLI's output is
// bounded at 1 MiB, and JSON may write each byte as six.
const maxEventBytes = 8 << 20

// FollowEvents yields the agent's events after a cursor, and those that happen
// from then on, until ctx ends or the connection breaks; that error is yielded
// last. Go on with the cursor of the last event seen.
func (c *Client) FollowEvents(ctx context.Context, id, after string) iter.Seq2[FollowedEvent, error] {
	return func(yield func(FollowedEvent, error) bool) {
		call := call{method: http.MethodGet, path: agentPath(id, "/events"), header: http.Header{"Accept": {"text/event-stream"}}}
		if after != "" {
			call.query = url.Values{"after": {after}}
		}
		resp, err := c.do(ctx, call)
		if err != nil {
			yield(FollowedEvent{}, err)
			return
		}
		defer resp.Body.Close()
		for e, err := range readSSE(resp.Body) {
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// FollowedEvent is an event and the cursor to go on after it.
type FollowedEvent struct {
	town.Event
	Cursor string
}

// readSSE yields the events of a stream of server-sent events, and why it ended.
func readSSE(r io.Reader) iter.Seq2[FollowedEvent, error] {
	return func(yield func(FollowedEvent, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 4096), maxEventBytes)
		var e FollowedEvent
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ":")
			value = strings.TrimPrefix(value, " ")
			switch field {
			case "id":
				e.Cursor = value
			case "data":
				if err := json.Unmarshal([]byte(value), &e.Event); err != nil {
					yield(FollowedEvent{}, fmt.Errorf("read events: %w", err))
					return
				}
				if !yield(e, nil) {
					return
				}
				e = FollowedEvent{}
			}
		}
		err := lines.Err()
		if err == nil {
			err = fmt.Errorf("the town closed the stream: %w", io.ErrUnexpectedEOF)
		}
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("an event of more than %d bytes: %w", maxEventBytes, town.ErrTooLarge)
		}
		yield(FollowedEvent{}, fmt.Errorf("read events: %w", err))
	}
}
