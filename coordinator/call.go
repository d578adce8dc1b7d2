package coordinator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// The bounds of answers that are read.
const (
	maxAnswerBytes = 8 << 20 // of a heartbeat: orders may be many
	maxErrorBytes  = 64 << 10
	maxErrorText   = 500
)

// answer is what the coordinator said.
type answer struct {
	status int
	body   []byte        // JSON, of a success
	after  time.Duration // not to come back before
	text   string        // of a refusal, for people
}

// call posts body to a path below the coordinator's URL. An error means that it is not
// known whether the coordinator took it: no answer, half of one, or none of its own.
func (l *Link) call(ctx context.Context, path string, header http.Header, body []byte) (answer, error) {
	target := l.base.Scheme + "://" + l.base.Host + l.base.EscapedPath() + path
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("call coordinator: %w", err)
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	if token := *l.token.Load(); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("call coordinator: %w", err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, after: retryAfter(resp.Header, time.Now())}
	if a.status >= 200 && a.status < 300 {
		a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
		switch {
		case err != nil:
			return a, fmt.Errorf("read the coordinator's answer: %w", err)
		case a.status != http.StatusNoContent && !json.Valid(a.body):
			return a, fmt.Errorf("the coordinator answered %d with what is not JSON", a.status)
		}
		return a, nil
	}
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)) // what came is what there is to tell
	a.text = refusalText(data, resp.Status)
	return a, nil
}

// refusalText is what a refusal says, or its status.
func refusalText(data []byte, status string) string {
	var p struct{ Detail, Error string }
	_ = json.Unmarshal(data, &p) // not a town's: a proxy's
	text := cmp.Or(p.Detail, p.Error, status)
	return strings.ToValidUTF8(text[:min(len(text), maxErrorText)], "")
}
