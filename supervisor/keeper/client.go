package keeper

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"townd/sock"
	"townd/town"
)

// Client talks to a keeper. It is safe for concurrent use. Close it.
type Client struct {
	http *http.Client
}

// Dial returns a client of the keeper that listens in dir. The error is
// town.ErrUnavailable when none does, a *VersionError when it speaks another
// protocol.
func Dial(ctx context.Context, dir string) (*Client, error) {
	c := &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return sock.Dial(ctx, filepath.Join(dir, socketName))
		},
		MaxIdleConns:       16,
		DisableCompression: true,
	}}}
	if _, err := c.Info(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close gives up the client's connections; a Watch under way goes on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Info asks the keeper who it is.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var info Info
	err := c.call(ctx, http.MethodGet, "/hello", nil, &info)
	return info, err
}

// Spawn runs a program. Errors: town.ErrInvalid, town.ErrStartFailed with the
// reason, *town.CapacityError when the machine has no terminal, process or
// memory left, town.ErrConflict for a Seq out of order or a user in use,
// town.ErrNoSpace when the transcript cannot be made.
func (c *Client) Spawn(ctx context.Context, s Spawn) (Run, error) {
	var run Run
	err := c.call(ctx, http.MethodPost, "/runs", s, &run)
	return run, err
}

// Runs lists every run that is not forgotten.
func (c *Client) Runs(ctx context.Context) ([]Run, error) {
	var runs []Run
	err := c.call(ctx, http.MethodGet, "/runs", nil, &runs)
	return runs, err
}

// Input writes p to the run's input, whole or with an error: town.ErrUnavailable
// when nothing went in before ctx's deadline, *PartialInputError when some did.
// An id that is not empty makes it idempotent: the last 64 of a run are known.
// town.ErrTooLarge, with nothing written, for a line over MaxLineBytes to a
// terminal that collects lines: it would drop the rest.
func (c *Client) Input(ctx context.Context, run, id string, p []byte) error {
	if len(p) > MaxInputBytes {
		return fmt.Errorf("input of %d bytes, the most is %d: %w", len(p), MaxInputBytes, town.ErrTooLarge)
	}
	target := runPath(run, "input") + "?" + url.Values{"id": {id}}.Encode()
	call, stop := untilAnswered(ctx)
	defer stop()
	req, err := newRequest(call, http.MethodPost, target, bytes.NewReader(p))
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := min(max(time.Until(deadline), time.Millisecond), maxGrace)
		req.Header.Set(headerTimeout, strconv.FormatInt(left.Milliseconds(), 10))
	}
	return c.do(req, nil)
}

// untilAnswered returns a context that outlives ctx's deadline by a second: the
// keeper keeps that deadline and then says how much of an input went in.
func untilAnswered(ctx context.Context) (context.Context, func()) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	call, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(time.Second))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel()
		}
	})
	return call, func() { stop(); cancel() }
}

// CloseInput ends the run's input after what is being written. It is
// town.ErrConflict for a run whose input is its terminal.
func (c *Client) CloseInput(ctx context.Context, run string) error {
	return c.call(ctx, http.MethodPost, runPath(run, "close-input"), nil, nil)
}

// Terminal returns what the kernel knows of the input of the run's terminal, and
// whether the Input with that id, if it is not empty, went in. It is
// town.ErrConflict for a run whose input is a pipe or that has ended.
func (c *Client) Terminal(ctx context.Context, run, id string) (Terminal, error) {
	var t Terminal
	err := c.call(ctx, http.MethodGet, runPath(run, "terminal")+"?"+url.Values{"id": {id}}.Encode(), nil, &t)
	return t, err
}

// TakeBack takes the input that no program has read out of the run's terminal
// again, and returns it without the line that is unfinished, which is erased: no
// program can read that. What is returned, no program has got. Errors as
// Terminal's.
func (c *Client) TakeBack(ctx context.Context, run string) ([]byte, error) {
	var taken takenBack
	err := c.call(ctx, http.MethodPost, runPath(run, "take-back"), nil, &taken)
	return taken.Bytes, err
}

type signalRequest struct {
	Signal syscall.Signal `json:"signal"`
}

// Signal sends sig to the process group of the run's leader, and to no other.
func (c *Client) Signal(ctx context.Context, run string, sig syscall.Signal) error {
	return c.call(ctx, http.MethodPost, runPath(run, "signal"), signalRequest{sig}, nil)
}

type resizeRequest struct {
	Cols uint16 `json:"cols"`
	Rows uint16 `json:"rows"`
}

// Resize sets the size of the run's terminal and marks it in the transcript.
func (c *Client) Resize(ctx context.Context, run string, cols, rows uint16) error {
	return c.call(ctx, http.MethodPost, runPath(run, "resize"), resizeRequest{cols, rows}, nil)
}

// End ends the run's whole tree and returns when it is provably empty and its
// output is written. Concurrent calls join; a shorter grace or SIGKILL in a later
// one shortens. When ctx ends first, the keeper still goes on ending.
func (c *Client) End(ctx context.Context, run string, e End) (Exit, error) {
	var exit Exit
	err := c.call(ctx, http.MethodPost, runPath(run, "end"), e, &exit)
	return exit, err
}

// Forget acknowledges the run's exit: the keeper drops its record. It is
// town.ErrConflict while the run lives.
func (c *Client) Forget(ctx context.Context, run string) error {
	return c.call(ctx, http.MethodDelete, runPath(run, ""), nil, nil)
}

// Shutdown makes the keeper end as soon as its last run is forgotten, whoever is
// connected, and start nothing more: neither runs nor, as PID 1, the server.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/shutdown", nil, nil)
}

// Watch calls f with the current state of every run and then with each change,
// sizes coalesced to one call in 2 ms, until ctx ends or the keeper goes away
// (town.ErrUnavailable). It always returns an error. f is called by one
// goroutine, the caller's; being slow in it delays nothing but itself.
func (c *Client) Watch(ctx context.Context, f func(Update)) error {
	req, err := newRequest(ctx, http.MethodGet, "/watch", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unavailable(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return decodeError(resp)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 4096), maxUpdateBytes)
	for lines.Scan() {
		u, err := decodeUpdate(lines.Bytes())
		if err != nil {
			return err
		}
		f(u)
	}
	if err := lines.Err(); err != nil {
		return unavailable(ctx, err)
	}
	return unavailable(ctx, io.EOF)
}

func runPath(run, verb string) string {
	p := "/runs/" + url.PathEscape(run)
	if verb != "" {
		p += "/" + verb
	}
	return p
}

// call sends in as JSON when it is not nil and decodes the answer into out.
func (c *Client) call(ctx context.Context, method, target string, in, out any) error {
	var body io.Reader
	if in != nil {
		p, err := marshal(in)
		if err != nil {
			return fmt.Errorf("encode %s %s: %v: %w", method, target, err, town.ErrInvalid)
		}
		body = bytes.NewReader(p)
	}
	req, err := newRequest(ctx, method, target, body)
	if err != nil {
		return err
	}
	return c.do(req, out)
}

func newRequest(ctx context.Context, method, target string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://keeper"+target, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %v: %w", method, target, err, town.ErrInvalid)
	}
	req.Header.Set(headerProtocol, strconv.Itoa(Protocol))
	return req, nil
}

func (c *Client) do(req *http.Request, out any) error {
	resp, err := c.http.Do(req)
	if err != nil {
		return unavailable(req.Context(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return decodeError(resp)
	}
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	} else {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	if err != nil {
		return unavailable(req.Context(), err)
	}
	return nil
}

// unavailable is what a failure to talk to the keeper means: the caller's own
// context first, else no keeper.
func unavailable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("keeper: %w", context.Cause(ctx))
	}
	return fmt.Errorf("keeper: %v: %w", err, town.ErrUnavailable)
}

const (
	socketName = "keeper.sock"
	lockName   = "keeper.lock"
	logName    = "keeper.log"
)
