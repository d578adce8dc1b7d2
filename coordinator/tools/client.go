package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"

	"townd/api"
	"townd/sock"
	"townd/town"
)

// Patience is how long a call waits for a server that restarts; a hook's answer and
// that to a report come within it.
const Patience = 30 * time.Second

// answerPatience is how long a server may take for a call of a tool: it looks at the
// worktree, and pushes.
const answerPatience = time.Minute

// The wait between attempts grows from the first to the second.
const (
	firstPause = 10 * time.Millisecond
	maxPause   = 500 * time.Millisecond
)

// maxAnswerBytes is how much of an answer is read.
const maxAnswerBytes = 1 << 20

// Client is an agent's way to its town. It is safe for concurrent use.
type Client struct {
	capability string
	http       *http.Client
}

// NewClient returns a client of the socket at path. It does not connect.
func NewClient(path, capability string) *Client {
	return &Client{capability: capability, http: &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return sock.Dial(ctx, path) },
		DisableKeepAlives:  true, // a program calls once
		DisableCompression: true,
	}}}
}

// Hook asks what is to be done at a point of a CLI's work.
func (c *Client) Hook(ctx context.Context, call town.HookCall) (town.HookAnswer, error) {
	var answer town.HookAnswer
	err := c.call(ctx, http.MethodPost, "/hook", call, &answer)
	return answer, err
}

// Report says what became of the agent's work.
func (c *Client) Report(ctx context.Context, r town.Report) error {
	return c.call(ctx, http.MethodPost, "/report", r, &struct{}{})
}

// Tools returns the tools that the agent has.
func (c *Client) Tools(ctx context.Context) ([]Tool, error) {
	var list toolList
	err := c.call(ctx, http.MethodGet, "/tools", nil, &list)
	return list.Tools, err
}

// Tool calls a tool and waits for its answer, which for a question to people may take
// as long as the call says. waiting, if set, is told now and then meanwhile.
func (c *Client) Tool(ctx context.Context, name string, arguments json.RawMessage, waiting func()) (Result, error) {
	call := Call{Tool: name, Arguments: arguments, CallID: town.NewID(time.Now())}
	for {
		var r Result
		if err := c.call(ctx, http.MethodPost, "/tool", call, &r); err != nil || !r.Pending {
			return r, err
		}
		if waiting != nil {
			waiting()
		}
	}
}

// call asks until it is answered. What was answered is not asked again: its error
// has the kind of its status. town.ErrUnavailable means that no server answered
// within Patience.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %v: %w", path, err, town.ErrInvalid)
	}
	limited, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	answered := limited
	if path == "/tool" {
		var cancel context.CancelFunc
		answered, cancel = context.WithTimeout(ctx, Patience+answerPatience)
		defer cancel()
	}
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := c.once(answered, method, path, body, out)
		again, ok := errors.AsType[*unanswered](err)
		if !ok {
			return err
		}
		if errors.Is(again.err, fs.ErrPermission) {
			return fmt.Errorf("the town's socket: %v: %w", again.err, town.ErrForbidden)
		}
		select {
		case <-time.After(pause):
		case <-limited.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("ask the town: %w", context.Cause(ctx))
			}
			return fmt.Errorf("no answer from the town within %v: %v: %w", Patience, again.err, town.ErrUnavailable)
		}
	}
}

// unanswered is a call that no server has answered, or one that is closing.
type unanswered struct{ err error }

func (e *unanswered) Error() string { return e.err.Error() }

func (c *Client) once(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://town"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the town: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.capability)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return &unanswered{err}
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil { // cut while it was answered: the server is gone
		return &unanswered{err}
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("read the town's answer: %w", err)
		}
		return nil
	case http.StatusServiceUnavailable:
		return &unanswered{readProblem(resp.StatusCode, answer)}
	}
	return readProblem(resp.StatusCode, answer)
}

// readProblem returns an answer that is not a success as an error of its kind.
func readProblem(status int, answer []byte) error {
	var p api.Problem
	if json.Unmarshal(answer, &p) != nil || p.Error == "" {
		p.Error = http.StatusText(status)
	}
	if len(p.Issues) > 0 {
		return &town.InvalidError{Issues: p.Issues}
	}
	if kind := town.KindOf(status); kind != nil {
		return &answered{p.Error, kind}
	}
	return errors.New(p.Error)
}

// answered is an error that the town told: its text, and the kind of its status.
type answered struct {
	text string
	kind error
}

func (e *answered) Error() string { return e.text }

// Unwrap returns the error's kind.
func (e *answered) Unwrap() error { return e.kind }
