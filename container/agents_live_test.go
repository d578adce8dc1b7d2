package container_test

import (
	"bufio"
	"encoding/json"
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
	stream := tt.openEvents("/agents")
	lines := bufio.NewScanner(stream)
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
	tt.endsCleanly(stream)
}

// How long someone looks on says nothing of how fast the town answers.
func TestFollowedAgentsAreTimedToTheirBeginning(t *testing.T) {
	tt := newTown(t)
	stream := tt.openEvents("/agents")
	lines := bufio.NewScanner(stream)
	eventData(lines)
	began := time.Now()
	tt.start("toast", "echo")
	eventData(lines) // a second after the first at the earliest
	watched := time.Since(began)
	tt.endsCleanly(stream)
	const name = `townd_http_request_duration_seconds_sum{code="200",method="GET",route="/agents"} `
	figures := string(tt.call(http.MethodGet, "/metrics", "").body)
	_, rest, found := strings.Cut(figures, name)
	text, _, _ := strings.Cut(rest, "\n")
	var seconds float64
	if err := json.Unmarshal([]byte(text), &seconds); !found || err != nil || seconds > watched.Seconds()/2 {
		t.Errorf("%s is %q (%v) after %v", name, text, err, watched)
	}
}
