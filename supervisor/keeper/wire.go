package keeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"townd/town"
)

// Headers of every request and answer.
const (
	headerProtocol = "Townd-Keeper-Protocol"
	headerPID      = "Townd-Keeper-Pid"
	headerVersion  = "Townd-Keeper-Version"
	headerTimeout  = "Townd-Timeout-Ms" // how long an input may wait, in the request
)

// statusVersion answers a client of another protocol.
const statusVersion = http.StatusUpgradeRequired

// exactStrings are strings of any bytes: JSON's own would turn those that are
// not UTF-8 into others, and an environment must arrive as it is.
type exactStrings []string

func (s exactStrings) MarshalJSON() ([]byte, error) {
	raw := make([][]byte, len(s))
	for i, v := range s {
		raw[i] = []byte(v)
	}
	return json.Marshal(raw)
}

func (s *exactStrings) UnmarshalJSON(p []byte) error {
	var raw [][]byte
	if err := json.Unmarshal(p, &raw); err != nil {
		return err
	}
	*s = make(exactStrings, len(raw))
	for i, v := range raw {
		(*s)[i] = string(v)
	}
	return nil
}

// plainSpawn is Spawn without its methods and with exact strings.
type plainSpawn struct {
	Argv exactStrings `json:"argv"`
	Env  exactStrings `json:"env"`
	*spawnAlias
}

type spawnAlias Spawn

// MarshalJSON encodes argv and environment byte by byte.
func (s Spawn) MarshalJSON() ([]byte, error) {
	return marshal(plainSpawn{Argv: s.Argv, Env: s.Env, spawnAlias: (*spawnAlias)(&s)})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (s *Spawn) UnmarshalJSON(p []byte) error {
	plain := plainSpawn{spawnAlias: (*spawnAlias)(s)}
	if err := json.Unmarshal(p, &plain); err != nil {
		return err
	}
	s.Argv, s.Env = plain.Argv, plain.Env
	return nil
}

// marshal is json.Marshal that leaves <, > and & of a note as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// problem is the body of an answer that is an error.
type problem struct {
	Error        string `json:"error"`
	RetryAfterMs int64  `json:"retryAfterMs,omitempty"`
	Written      int    `json:"written,omitempty"` // of a PartialInputError
	Total        int    `json:"total,omitempty"`
}

// encodeError returns the status and body that stand for err.
func encodeError(err error) (int, problem) {
	if partial, ok := errors.AsType[*PartialInputError](err); ok {
		return http.StatusMultiStatus, problem{Error: partial.Reason, Written: partial.Written, Total: partial.Total}
	}
	p := problem{Error: err.Error()}
	if full, ok := errors.AsType[*town.CapacityError](err); ok {
		p.RetryAfterMs = full.RetryAfter.Milliseconds()
	}
	if kind := town.KindOf(town.HTTPStatus(err)); kind != nil {
		p.Error = strings.TrimSuffix(p.Error, ": "+kind.Error())
	}
	return town.HTTPStatus(err), p
}

// decodeError is the reverse of encodeError; it also knows a VersionError.
func decodeError(resp *http.Response) error {
	if resp.StatusCode == statusVersion {
		v := &VersionError{Client: Protocol, Version: resp.Header.Get(headerVersion)}
		v.Keeper, _ = strconv.Atoi(resp.Header.Get(headerProtocol))
		v.PID, _ = strconv.Atoi(resp.Header.Get(headerPID))
		return v
	}
	var p problem
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("read the keeper's answer: %v: %w", err, town.ErrUnavailable)
	}
	if json.Unmarshal(body, &p) != nil || p.Error == "" {
		p.Error = fmt.Sprintf("keeper answered %s", resp.Status)
	}
	if resp.StatusCode == http.StatusMultiStatus {
		return &PartialInputError{Written: p.Written, Total: p.Total, Reason: p.Error}
	}
	switch kind := town.KindOf(resp.StatusCode); {
	case kind == nil:
		return errors.New(p.Error)
	case errors.Is(kind, town.ErrCapacity):
		return &town.CapacityError{What: p.Error, RetryAfter: time.Duration(p.RetryAfterMs) * time.Millisecond}
	default:
		return fmt.Errorf("%s: %w", p.Error, kind)
	}
}

// maxUpdateBytes bounds one record of a watch.
const maxUpdateBytes = 256 << 10

// decodeUpdate reads one line of a watch.
func decodeUpdate(line []byte) (Update, error) {
	var u Update
	if err := json.Unmarshal(line, &u); err != nil {
		return Update{}, fmt.Errorf("watch record: %w", err)
	}
	if u.Run == "" || u.Size < 0 || u.Seq < 0 {
		return Update{}, fmt.Errorf("watch record %.100q: run, seq or size is missing or negative", line)
	}
	return u, nil
}
