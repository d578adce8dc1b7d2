package container_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// eventData returns the data of the next event of a stream, "" at its end.
func eventData(lines *bufio.Scanner) string {
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			return data
		}
	}
	return ""
}

// C41: the agents are followed by one call.
func TestAgentsAreFollowed(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "echo")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, tt.url+"/agents", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := tt.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("Content-Type = %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	until := func(why string, is func([]town.Agent) bool) {
		t.Helper()
		for data := "null"; data != ""; data = eventData(lines) {
			var list api.AgentList
			if err := json.Unmarshal([]byte(data), &list); err != nil {
				t.Fatalf("%q: %v", data, err)
			}
			if is(list.Agents) {
				return
			}
		}
		t.Fatalf("the stream ended (%v) before %s", lines.Err(), why)
	}
	until("toast was there", func(all []town.Agent) bool { return len(all) == 1 && all[0].AgentID == "toast" })
	tt.start("rye", "echo")
	until("rye had come", func(all []town.Agent) bool { return len(all) == 2 && all[0].AgentID == "rye" })
	if _, err := tt.Stop(t.Context(), "rye", town.StopRequest{}); err != nil {
		t.Fatal(err)
	}
	until("rye was stopped", func(all []town.Agent) bool { return len(all) == 2 && all[0].Status == town.StatusExited })
	tt.server.Close() // ends it, so that the HTTP server can shut down
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the stream ended with %v, want a clean end", err)
	}
}

// How long someone looks on says nothing of how fast the town answers.
func TestFollowedAgentsAreTimedToTheirBeginning(t *testing.T) {
	tt := newTown(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, tt.url+"/agents", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := tt.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	eventData(lines)
	began := time.Now()
	tt.start("toast", "echo")
	eventData(lines) // a second after the first at the earliest
	watched := time.Since(began)
	tt.server.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	const name = `townd_http_request_duration_seconds_sum{code="200",method="GET",route="/agents"} `
	figures := string(tt.call(http.MethodGet, "/metrics", "").body)
	_, rest, found := strings.Cut(figures, name)
	text, _, _ := strings.Cut(rest, "\n")
	var seconds float64
	if err := json.Unmarshal([]byte(text), &seconds); !found || err != nil || seconds > watched.Seconds()/2 {
		t.Errorf("%s is %q (%v) after %v", name, text, err, watched)
	}
}
