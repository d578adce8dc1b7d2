package container_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"townd/supervisor/agenttest"
)

// TestOlderClientWorksUnchanged is a client of the first version of this
// contract (paths, fields, codes, {error} and issues), which sends nothing new
// but its Authorization header. It never says what type its bodies are.
func TestOlderClientWorksUnchanged(t *testing.T) {
	tt := newTown(t)
	// The first version knew one CLI; everything else is as it was sent.
	const common = `"rigId":"r1","townId":"t1","role":"polecat","name":"Toast","identity":"Toast-polecat-r1","prompt":"Fix it",` +
		`"model":"anthropic/claude-sonnet-4.5","systemPrompt":"You are Toast.","branch":"gt/toast/6f2c1a90","defaultBranch":"main"`
	argv := `["` + agenttest.Program(t, "echo")[0] + `","agenttest","echo"]`
	body := `{"agentId":"a1",` + common + `,"gitUrl":"` + tt.remote + `","envVars":{"CI":"true"},"cli":"command","command":` + argv + `}`

	health := tt.callAs("", http.MethodGet, "/health", "").object(t)
	if health["status"] != "ok" || health["agents"] != 0.0 || health["uptime"].(float64) < 0 {
		t.Errorf("GET /health = %v, want ok, no agents, uptime in ms", health)
	}
	got := tt.call(http.MethodPost, "/agents/start", body)
	if got.StatusCode != http.StatusCreated {
		t.Fatalf("start answered %s %s, want 201", got.Status, got.body)
	}
	agent := got.object(t)
	for field, want := range map[string]any{
		"agentId": "a1", "rigId": "r1", "townId": "t1", "role": "polecat", "name": "Toast", "status": "running", "exitCode": nil,
	} {
		if agent[field] != want {
			t.Errorf("start answered %s %v, want %v", field, agent[field], want)
		}
	}
	if agent["pid"].(float64) < 1 || agent["workdir"] == "" {
		t.Errorf("start answered pid %v and workdir %q", agent["pid"], agent["workdir"])
	}
	for _, field := range []string{"startedAt", "lastActivityAt"} {
		if _, err := time.Parse(time.RFC3339, agent[field].(string)); err != nil {
			t.Errorf("start answered %s %v: %v", field, agent[field], err)
		}
	}
	status := tt.call(http.MethodGet, "/agents/a1/status", "").object(t)
	for _, field := range []string{"agentId", "status", "pid", "exitCode", "startedAt", "lastActivityAt"} {
		if _, ok := status[field]; !ok {
			t.Errorf("status has no %s: %v", field, status)
		}
	}
	if health := tt.callAs("", http.MethodGet, "/health", "").object(t); health["agents"] != 1.0 {
		t.Errorf("GET /health = %v, want one agent", health)
	}
	if got := tt.call(http.MethodPost, "/agents/a1/message", `{"prompt":"go on"}`); got.StatusCode != http.StatusOK || got.object(t)["sent"] != true {
		t.Errorf("message answered %s %s, want 200 and sent", got.Status, got.body)
	}
	ticket := tt.call(http.MethodPost, "/agents/a1/stream-ticket", "").object(t)
	expires, err := time.Parse(time.RFC3339, ticket["expiresAt"].(string))
	if life := time.Until(expires); err != nil || ticket["ticket"] == "" || life < 55*time.Second || life > 60*time.Second {
		t.Errorf("stream-ticket answered %v, want a ticket for a minute", ticket)
	}
	refusedAsBefore(t, tt)
	if got := tt.call(http.MethodPost, "/agents/a1/stop", `{"signal":"SIGTERM"`); got.StatusCode != http.StatusOK || got.object(t)["stopped"] != true {
		t.Errorf("stop with a body that is no JSON answered %s %s, want 200 and stopped", got.Status, got.body)
	}
	if got := tt.call(http.MethodPost, "/agents/a1/stop", ""); got.StatusCode != http.StatusOK {
		t.Errorf("stop of an agent that ended answered %s, want 200", got.Status)
	}
	if status := tt.call(http.MethodGet, "/agents/a1/status", "").object(t); status["status"] != "exited" {
		t.Errorf("status = %v, want exited", status)
	}
}

// refusedAsBefore checks the refusals that an older client reads.
func refusedAsBefore(t *testing.T, tt *testTown) {
	t.Helper()
	for _, c := range []struct {
		method, path, body string
		status             int
		text               string
		issues             []string
	}{
		{"POST", "/agents/start", `{"agentId":7}`, 400, "Invalid request body", []string{"agentId"}},
		{"POST", "/agents/start", `{"agentId":"a2"}`, 400, "Invalid request body", []string{"rigId", "townId", "role", "name", "gitUrl", "branch"}},
		{"POST", "/agents/a1/message", `{}`, 400, "Invalid request body", []string{"prompt"}},
		{"POST", "/agents/a1/message", `nonsense`, 400, "Invalid request body", []string{"body"}},
		{"POST", "/agents/nobody/message", `{"prompt":"x"}`, 404, `agent "nobody": not found`, nil},
		{"POST", "/agents/nobody/stop", ``, 404, `agent "nobody": not found`, nil},
		{"GET", "/agents/nobody/status", ``, 404, `agent "nobody": not found`, nil},
		{"POST", "/agents/nobody/stream-ticket", ``, 404, `agent "nobody": not found`, nil},
		{"GET", "/nowhere", ``, 404, "Not found", nil},
	} {
		got := tt.call(c.method, c.path, c.body)
		object := got.object(t)
		if got.StatusCode != c.status || object["error"] != c.text {
			t.Errorf("%s %s %s answered %s %s, want %d %q", c.method, c.path, c.body, got.Status, got.body, c.status, c.text)
		}
		var paths []string
		for _, issue := range asList(object["issues"]) {
			paths = append(paths, issue.(map[string]any)["path"].(string))
		}
		for _, want := range c.issues {
			if !contains(paths, want) {
				t.Errorf("%s %s %s has issues for %q, want one for "+strconv.Quote(want), c.method, c.path, c.body, paths)
			}
		}
	}
}
