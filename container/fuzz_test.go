package container_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"townd/api"
)

// FuzzRequest sends requests as no client would. Each is answered, with 4xx and
// a text unless it happens to be right, and the town goes on.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, target, header, value, body string }{
		{"GET", "/agents", "X", "y", ""},
		{"BREW", "/agents/toast/status", "Accept", "text/plain;q=x", ""},
		{"POST", "/agents/start", "Content-Type", "application/x-www-form-urlencoded", "a=b"},
		{"POST", "/agents/start", "Content-Type", "application/json", "{\"agentId\":{}}"},
		{"GET", "/agents/%00/status", "Connection", "Upgrade", ""},
		{"GET", "/agents/%zz/status", "Range", "bytes=-", ""},
		{"GET", "http://localhost/agents?after=;;;", "Range", "bytes=0-1,2-3", ""},
		{"GET", "*", "Upgrade", "websocket", ""},
		{"OPTIONS", "*", "Origin", "https://evil.example", ""},
		{"GET", "/agents/toast/stream?ticket=%ff", "Upgrade", "websocket", ""},
		{"GET", "/agents/toast/transcript?format=asciicast&run=..", "Range", "bytes=0-", ""},
		{"GET", "/agents/toast/events?after=9223372036854775808", "Last-Event-ID", "\xff", ""},
		{"HEAD", "/agents/toast/events", "Accept", "text/event-stream", ""},
		{"HEAD", "/agents", "Accept", "text/event-stream", ""},
		{"GET", "/agents/toast/diff?maxBytes=-1", "Accept", ",,,text/x-diff", ""},
		{"POST", "/agents/toast/message", "Idempotency-Key", "\x01", "{\"prompt\":1}"},
		{"DELETE", "/agents/../..", "Host", "evil.example", ""},
		{"G\x00T", "/", "A b", "c", ""},
		{"GET", "//", "Authorization", "Bearer", ""},
	} {
		f.Add(seed.method, seed.target, seed.header, seed.value, seed.body)
	}
	tt := newTown(f)
	tt.start("toast", "sleep")
	address := strings.TrimPrefix(tt.url, "http://")
	f.Fuzz(func(t *testing.T, method, target, header, value, body string) {
		if strings.ContainsAny(method+target+header+value, "\r\n") || strings.EqualFold(header, "Transfer-Encoding") || strings.EqualFold(header, "Expect") {
			return // another request than this, or HTTP's own answer
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n%s: %s\r\n\r\n%s",
			method, target, testToken, len(body), header, value, body)
		resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q %q is not answered: %v", method, target, err)
		}
		defer resp.Body.Close()
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") && resp.StatusCode >= 400 || resp.StatusCode < 300 {
			return // net/http's own refusal, or it happened to be right
		}
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var p api.Problem
		if method == http.MethodHead {
			return
		}
		if json.Unmarshal(data, &p) != nil || p.Status != resp.StatusCode || p.Error == "" || p.Detail == "" || resp.StatusCode >= 500 {
			t.Errorf("%q %q %q %q %q answered %s %q, want 4xx with a text", method, target, header, value, body, resp.Status, data)
		}
	})
}
