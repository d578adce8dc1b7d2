// Package api is the town's control API as its callers see it: the document of
// the contract (openapi.yaml), the bodies that are not words of the domain, and
// a client. It knows nothing of how a town works.
package api

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"townd/town"
)

// OpenAPI is the contract, OpenAPI 3.0.3 in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// MaxBodyBytes is the largest request body a town takes.
const MaxBodyBytes = 8 << 20

// maxErrorBytes is how much of an error answer is read.
const maxErrorBytes = 1 << 20

// Client calls one town. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New returns a client of the town at baseURL, as http://127.0.0.1:8080; a path
// in it is a prefix of every call's. hc nil means http.DefaultClient. Deadlines
// are the caller's, by context: starting and stopping may take minutes.
func New(baseURL, token string, hc *http.Client) *Client {
	return &Client{base: strings.TrimRight(baseURL, "/"), token: token, http: cmp.Or(hc, http.DefaultClient)}
}

// Error is a town's answer that is not a success. errors.Is finds its kind
// (town.ErrConflict …), errors.AsType a *town.InvalidError with the issues of a
// 400 and a *town.CapacityError with the waiting time of a 429.
type Error struct {
	Status int
	Text   string // the town's own
	kind   error
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the error's kind, nil for a status that stands for none.
func (e *Error) Unwrap() error { return e.kind }

// Problem is the body of an answer that is not a success (RFC 9457).
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Error  string       `json:"error"`
	Issues []town.Issue `json:"issues,omitempty"`
}

// call is one request.
type call struct {
	method, path string
	query        url.Values
	header       http.Header
	body         any // encoded as JSON unless nil
}

// do sends a call and returns the answer to a success, whose body the caller
// closes, or the *Error the town answered with.
func (c *Client) do(ctx context.Context, call call) (*http.Response, error) {
	resp, err := c.send(ctx, call)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp, nil
}

// send sends a call and returns whatever the answer is.
func (c *Client) send(ctx context.Context, call call) (*http.Response, error) {
	req, err := c.request(ctx, call)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call town: %w", err)
	}
	return resp, nil
}

func (c *Client) request(ctx context.Context, call call) (*http.Request, error) {
	var body io.Reader
	if call.body != nil {
		data, err := json.Marshal(call.body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	target := c.base + call.path
	if len(call.query) > 0 {
		target += "?" + call.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, call.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("call town: %w", err)
	}
	maps.Copy(req.Header, call.header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	return req, nil
}

// ask sends a call and decodes the JSON answer into out. It returns the answer's
// status, 0 when there was none.
func (c *Client) ask(ctx context.Context, call call, out any) (status int, err error) {
	resp, err := c.do(ctx, call)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return 0, fmt.Errorf("read answer to %s %s: %w", call.method, call.path, err)
	}
	return resp.StatusCode, nil
}

// readError turns an answer back into the error the town had.
func readError(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, kind: town.KindOf(resp.StatusCode)}
	var p Problem
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)) // what came is what there is to tell
	if err := json.Unmarshal(data, &p); err == nil {
		e.Text = cmp.Or(p.Detail, p.Error)
	}
	e.Text = cmp.Or(e.Text, resp.Status) // not a town's: a proxy's
	switch {
	case errors.Is(e.kind, town.ErrInvalid) && len(p.Issues) > 0:
		e.kind = &town.InvalidError{Issues: p.Issues}
	case errors.Is(e.kind, town.ErrCapacity):
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // 0 when it is a date or absent
		e.kind = &town.CapacityError{What: e.Text, RetryAfter: time.Duration(seconds) * time.Second}
	}
	return e
}

func agentPath(id, rest string) string { return "/agents/" + url.PathEscape(id) + rest }
