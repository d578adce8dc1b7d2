package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"townd/town"
)

// The headers of a transcript.
const (
	HeaderRunID       = "X-Townd-Run-Id"
	HeaderFirstOffset = "X-Townd-First-Offset" // of what is still held
	HeaderTruncated   = "X-Townd-Truncated"    // of a diff or an artifact: "true" when it was cut
)

// Screen is the body of GET /agents/{id}/screen.
type Screen struct {
	RunID  string `json:"runId"`
	Offset int64  `json:"offset"` // bytes that were drawn
	Cols   int    `json:"cols"`
	Rows   int    `json:"rows"`
	Text   string `json:"text"` // lines, without trailing blanks
	ANSI   string `json:"ansi"` // makes an empty terminal of that size show the same
	Title  string `json:"title,omitempty"`
	Cursor Cursor `json:"cursor"`

	AltScreen bool `json:"altScreen"` // the screen of full-screen programs
	Exact     bool `json:"exact"`     // false when the run's beginning is no longer held
}

// Cursor is where a terminal's cursor is, from 0.
type Cursor struct {
	Col     int  `json:"col"`
	Row     int  `json:"row"`
	Visible bool `json:"visible"`
}

// Diff is the body of GET /agents/{id}/diff.
type Diff struct {
	Base      string     `json:"base"` // commit the worktree started from
	Head      string     `json:"head"`
	Files     []DiffFile `json:"files"`
	Patch     string     `json:"patch"` // against base; bytes that are not UTF-8 are replaced
	Truncated bool       `json:"truncated"`
}

// DiffFile is one changed file.
type DiffFile struct {
	Path    string `json:"path"`
	OldPath string `json:"oldPath,omitempty"` // of a rename or copy
	Status  string `json:"status"`            // A, M, D, R, C or T, as git names them
	Added   int    `json:"added"`             // lines
	Deleted int    `json:"deleted"`
	Binary  bool   `json:"binary"`
}

// Screen returns the agent's screen as a person would see it.
func (c *Client) Screen(ctx context.Context, id string) (Screen, error) {
	var out Screen
	_, err := c.ask(ctx, call{method: http.MethodGet, path: agentPath(id, "/screen")}, &out)
	return out, err
}

// Diff returns what the agent changed, with at most maxBytes of the patch; 0
// means the town's default.
func (c *Client) Diff(ctx context.Context, id string, maxBytes int64) (Diff, error) {
	call := call{method: http.MethodGet, path: agentPath(id, "/diff")}
	if maxBytes > 0 {
		call.query = url.Values{"maxBytes": {strconv.FormatInt(maxBytes, 10)}}
	}
	var out Diff
	_, err := c.ask(ctx, call, &out)
	return out, err
}

// Patch writes what the agent changed to w, byte for byte, and reports whether
// it was cut at maxBytes; 0 means the town's default.
func (c *Client) Patch(ctx context.Context, id string, maxBytes int64, w io.Writer) (truncated bool, err error) {
	call := call{method: http.MethodGet, path: agentPath(id, "/diff"), header: http.Header{"Accept": {"text/x-diff"}}}
	if maxBytes > 0 {
		call.query = url.Values{"maxBytes": {strconv.FormatInt(maxBytes, 10)}}
	}
	resp, err := c.do(ctx, call)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return false, fmt.Errorf("read diff: %w", err)
	}
	return resp.Header.Get(HeaderTruncated) == "true", nil
}

// Transcript is a part of a run's output.
type Transcript struct {
	RunID string
	First int64         // the first offset still held
	Start int64         // offset of the body's first byte
	Body  io.ReadCloser // closed by the caller
}

// Transcript returns the output of a run from offset on, to its present end.
// run "" means the newest. An offset below what is held, and one at the end or
// beyond, is an *Error of status 416; offset -1 means from the first byte held.
func (c *Client) Transcript(ctx context.Context, id, run string, offset int64) (Transcript, error) {
	call := call{method: http.MethodGet, path: agentPath(id, "/transcript"), query: runQuery(run)}
	if offset >= 0 {
		call.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", offset)}}
	}
	resp, err := c.do(ctx, call)
	if err != nil {
		return Transcript{}, err
	}
	t := Transcript{RunID: resp.Header.Get(HeaderRunID), Start: offset, Body: resp.Body}
	if t.First, err = strconv.ParseInt(resp.Header.Get(HeaderFirstOffset), 10, 64); err != nil {
		resp.Body.Close()
		return Transcript{}, fmt.Errorf("read transcript: %s: %w", HeaderFirstOffset, err)
	}
	if resp.StatusCode != http.StatusPartialContent {
		t.Start = t.First
	}
	return t, nil
}

// Recording writes a run as asciicast v2 to w. run "" means the newest.
func (c *Client) Recording(ctx context.Context, id, run string, w io.Writer) error {
	query := url.Values{"format": {"asciicast"}}
	if run != "" {
		query.Set("run", run)
	}
	resp, err := c.do(ctx, call{method: http.MethodGet, path: agentPath(id, "/transcript"), query: query})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("read recording: %w", err)
	}
	return nil
}

// Artifacts returns what is kept of a run besides its output. run "" means the newest.
func (c *Client) Artifacts(ctx context.Context, id, run string) (town.Artifacts, error) {
	var out town.Artifacts
	_, err := c.ask(ctx, call{method: http.MethodGet, path: agentPath(id, "/artifacts"), query: runQuery(run)}, &out)
	return out, err
}

// Artifact writes one of them to w. It returns an error also when what was written is not
// what the town told it would be. run "" means the newest.
func (c *Client) Artifact(ctx context.Context, id, run, name string, w io.Writer) error {
	resp, err := c.do(ctx, call{method: http.MethodGet, path: agentPath(id, "/artifacts/"+url.PathEscape(name)), query: runQuery(run)})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, sum), resp.Body); err != nil {
		return fmt.Errorf("read artifact: %w", err)
	}
	if got := `"` + hex.EncodeToString(sum.Sum(nil)) + `"`; got != resp.Header.Get("ETag") {
		return fmt.Errorf("read artifact: its digest is %s, not %s", got, resp.Header.Get("ETag"))
	}
	return nil
}

func runQuery(run string) url.Values {
	if run == "" {
		return nil
	}
	return url.Values{"run": {run}}
}
