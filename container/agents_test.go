package container_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/container"
	"townd/town"
)

func asList(v any) []any {
	list, _ := v.([]any)
	return list
}

func contains(all []string, want string) bool { return slices.Contains(all, want) }

func TestAgentLivesThroughTheClient(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "echo")
	first, err := tt.Start(t.Context(), req)
	if err != nil || !first.Created {
		t.Fatalf("Start() = %+v, %v", first, err)
	}
	again, err := tt.Start(t.Context(), req)
	if err != nil || again.Created || again.RunID != first.RunID {
		t.Errorf("Start() again = %+v, %v; want the same run, not created", again, err)
	}
	req.Prompt = "something else"
	if _, err := tt.Start(t.Context(), req); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Start() to another specification = %v, want ErrConflict", err)
	}
	if agents, err := tt.Agents(t.Context()); err != nil || len(agents) != 1 || agents[0].AgentID != "toast" {
		t.Errorf("Agents() = %+v, %v", agents, err)
	}
	key := "k-1"
	id, err := tt.Message(t.Context(), "toast", town.MessageRequest{Prompt: "hello"}, key)
	if err != nil || id == "" {
		t.Errorf("Message() = %q, %v", id, err)
	}
	if same, err := tt.Message(t.Context(), "toast", town.MessageRequest{Prompt: "hello"}, key); err != nil || same != id {
		t.Errorf("Message() with the same key = %q, %v; want %q", same, err, id)
	}
	if err := tt.Resize(t.Context(), "toast", 100, 30); err != nil {
		t.Errorf("Resize() = %v", err)
	}
	if err := tt.Delete(t.Context(), "toast"); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Delete() of a live agent = %v, want ErrConflict", err)
	}
	diff, err := tt.Diff(t.Context(), "toast", 0)
	if err != nil || diff.Base == "" || len(diff.Files) != 0 {
		t.Errorf("Diff() = %+v, %v; want a base and no files", diff, err)
	}
	stopped, err := tt.Stop(t.Context(), "toast", town.StopRequest{})
	if err != nil || stopped.Status != town.StatusExited {
		t.Errorf("Stop() = %+v, %v; want exited", stopped, err)
	}
	if _, err := tt.Message(t.Context(), "toast", town.MessageRequest{Prompt: "late"}, ""); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Message() to an ended agent = %v, want ErrConflict", err)
	}
	if err := tt.Delete(t.Context(), "toast"); err != nil {
		t.Errorf("Delete() = %v", err)
	}
	if _, err := tt.Agent(t.Context(), "toast"); !errors.Is(err, town.ErrNotFound) || err.Error() != `agent "toast": not found` {
		t.Errorf("Agent() of a forgotten one = %v, want ErrNotFound with the town's text", err)
	}
}

func TestUnknownFieldsAreNamedAndWrongOnesRefused(t *testing.T) {
	tt := newTown(t)
	start := func(change string) answer {
		body := `{"agentId":"a1","rigId":"r1","townId":"t1","role":"polecat","name":"a","identity":"","prompt":"","model":"","gitUrl":"` +
			tt.remote + `","branch":"b","defaultBranch":"main","cli":"command","command":["/bin/true"]` + change + `}`
		return tt.call(http.MethodPost, "/agents/start", body)
	}
	for _, c := range []struct{ change, path, message string }{
		{`,"cols":"80"`, "cols", "must be a whole number from 0 to 65535, not a string"},
		{`,"cols":70000`, "cols", "must be a whole number from 0 to 65535, not 70000"},
		{`,"rows":-1`, "rows", "not -1"},
		{`,"generation":1.5`, "generation", "must be a whole number, not 1.5"},
		{`,"limits":{"seconds":"60"}`, "limits.seconds", "must be a number, not a string"},
		{`,"limits":[]`, "limits", "must be an object, not an array"},
		{`,"envVars":{"A":1}`, "envVars.A", "must be a string"},
		{`,"envVars":{"A":null}`, "envVars.A", "not null"},
		{`,"envVars":{"PATH":"/x"}`, "envVars.PATH", "is set by the town"},
		{`,"command":["a",2]`, "command[1]", "must be a string"},
		{`,"command":"a"`, "command", "must be an array"},
		{`,"resume":"yes"`, "resume", "must be true or false"},
		{`,"prompt":{}`, "prompt", "must be a string, not an object"},
		{`,"prompt":"\ud800"`, "prompt", "surrogate"},
		{`,"role":"boss"`, "role", `"mayor", "polecat"`},
		{`,"agentId":"../x"`, "agentId", "must be 1 to 128"},
		{`,"restart":"always"`, "restart", "never"},
		{`,"branch":"a..b"`, "branch", ""},
		{`,"gitUrl":"ext::sh -c id"`, "gitUrl", ""},
		{`,"cli":"nonesuch"`, "cli", "claude"},
	} {
		got := start(c.change)
		refused(t, got, 400, c.message)
		var paths []string
		for _, issue := range asList(got.object(t)["issues"]) {
			paths = append(paths, issue.(map[string]any)["path"].(string))
		}
		if !contains(paths, c.path) {
			t.Errorf("start with %s has issues for %q, want one for %q", c.change, paths, c.path)
		}
	}
	refused(t, tt.call(http.MethodPost, "/agents/start", ""), 400, "is empty")
	refused(t, tt.call(http.MethodPost, "/agents/start", "{} {}"), 400, "more follows")
	refused(t, tt.call(http.MethodPost, "/agents/start", "[]"), 400, "must be an object, not an array")
	refused(t, tt.call(http.MethodPost, "/agents/start", "\"\xff\""), 400, "is not UTF-8")
	refused(t, tt.call(http.MethodPost, "/agents/start", strings.Repeat(" ", 8<<20)+"{}"), 413, "larger than 8388608 bytes")
	refused(t, tt.call(http.MethodPost, "/agents/start", "{}", "Content-Encoding", "gzip"), 400, "Content-Encoding")
	if agents, err := tt.Agents(t.Context()); err != nil || len(agents) != 0 {
		t.Errorf("after refusals Agents() = %+v, %v; want none", agents, err)
	}
	got := start(`,"lightweight":true,"limits":{"fuel":1},"cols":null,"gitPushFlags":["-f"]`)
	ignored := asList(got.object(t)["ignored"])
	if got.StatusCode != http.StatusCreated || fmt.Sprint(ignored) != "[gitPushFlags lightweight limits.fuel]" {
		t.Errorf("start with unknown fields answered %s %s, want 201 naming them", got.Status, got.body)
	}
}

func TestBadCallsAreToldWhatWouldBeRight(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "echo")
	for _, c := range []struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		{"PUT", "/agents/toast/stop", "", nil, 405, "allowed: POST"},
		{"BREW", "/agents", "", nil, 405, "allowed: GET, HEAD"},
		{"DELETE", "/agents/start", "", nil, 404, `agent "start"`},
		{"PUT", "/agents/start", "", nil, 405, "allowed: POST, DELETE"},
		{"GET", "/agents/", "", nil, 404, "no such path"},
		{"GET", "//agents", "", nil, 404, "no such path"},
		{"GET", "/agents/../health", "", nil, 404, "no such path"},
		{"GET", "/agents/a%2Fb/status", "", nil, 400, "must be 1 to 128"},
		{"GET", "/agents/%2e%2e/status", "", nil, 400, "must be 1 to 128"},
		{"GET", "/agents/" + strings.Repeat("a", 129) + "/status", "", nil, 400, "must be 1 to 128"},
		{"POST", "/agents/toast/stop", `{"signal":"SIGHUP"}`, nil, 400, "SIGTERM"},
		{"POST", "/agents/toast/stop", `{"graceSeconds":-1}`, nil, 400, "0 to 3600"},
		{"POST", "/agents/toast/stop", `{"graceSeconds":"5"}`, nil, 400, "must be a number"},
		{"POST", "/agents/toast/stop", `[]`, nil, 400, "must be an object"},
		{"POST", "/agents/toast/message", `{"prompt":""}`, nil, 400, "is required"},
		{"POST", "/agents/toast/message", `{"prompt":"x","deliver":"soon"}`, nil, 400, `"turn-end"`},
		{"POST", "/agents/toast/message", `{"prompt":"x"}`, []string{"Idempotency-Key", "a b"}, 400, "visible ASCII"},
		{"POST", "/agents/toast/message", `{"prompt":"x"}`, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "1 to 255"},
		{"POST", "/agents/toast/message", `{"prompt":"x"}`, []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}, 400, "given once"},
		{"POST", "/agents/toast/message", `{"prompt":"` + strings.Repeat("x", 1<<20+1) + `"}`, nil, 400, "the most is 1048576"},
		{"POST", "/agents/toast/resize", `{"cols":0,"rows":24}`, nil, 400, "1 to 1000"},
		{"POST", "/agents/toast/resize", `{"cols":1001,"rows":24}`, nil, 400, "at most 1000"},
		{"POST", "/agents/toast/stream-ticket", `{"mode":"own"}`, nil, 400, `"read" or "write"`},
		{"POST", "/agents/toast/stream-ticket", `read`, nil, 400, "is not JSON"},
		{"GET", "/agents/toast/events?after=-1", "", nil, 400, "id of an event"},
		{"GET", "/agents/toast/events?after=x:y", "", nil, 400, "id of an event"},
		{"GET", "/agents/toast/events?after=1&after=2", "", nil, 400, "given 2 times"},
		{"GET", "/agents/toast/events?after=%zz", "", nil, 400, "percent-encoded"},
		{"GET", "/agents/toast/events?limit=0", "", nil, 400, "from 1 to 2000"},
		{"GET", "/agents/toast/events", "", []string{"Last-Event-ID", "nine"}, 400, "Last-Event-ID"},
		{"GET", "/agents/toast/transcript?format=mp4", "", nil, 400, "raw or asciicast"},
		{"GET", "/agents/toast/transcript?run=../../etc", "", nil, 400, "no run's id"},
		{"GET", "/agents/toast/transcript?run=nonesuch", "", nil, 404, "is not held"},
		{"GET", "/agents/toast/diff?maxBytes=0", "", nil, 400, "from 1 to"},
		{"DELETE", "/agents/toast", "", nil, 409, "toast"},
	} {
		refused(t, tt.call(c.method, c.path, c.body, c.header...), c.status, c.want)
	}
	if got := tt.call("PUT", "/agents/toast/stop", ""); got.Header.Get("Allow") != "POST" {
		t.Errorf("405 has Allow %q, want POST", got.Header.Get("Allow"))
	}
	if a, err := tt.Agent(t.Context(), "toast"); err != nil || a.Status != town.StatusRunning {
		t.Errorf("after bad calls the agent is %+v, %v; want it running", a, err)
	}
}

func TestOnlyTheTokenOpens(t *testing.T) {
	tt := newTown(t)
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Basic " + testToken, testToken, "Bearer " + testToken + "x"} {
		got := tt.callAs(header, http.MethodGet, "/agents", "")
		refused(t, got, 401, "townd token")
		if got.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("401 without WWW-Authenticate")
		}
	}
	if got := tt.callAs("bearer "+testToken, http.MethodGet, "/agents", ""); got.StatusCode != http.StatusOK {
		t.Errorf("with the token GET /agents answered %s", got.Status)
	}
	for _, path := range []string{"/health", "/openapi.json"} {
		if got := tt.callAs("", http.MethodGet, path, ""); got.StatusCode != http.StatusOK {
			t.Errorf("without a token GET %s answered %s, want 200", path, got.Status)
		}
	}
	refused(t, tt.callAs("", http.MethodGet, "/metrics", ""), 401, "Bearer")
	open := newTownWith(t, func(c *container.Config) { c.Token = "" })
	for _, header := range []string{"", "Bearer ", "Bearer " + testToken} {
		refused(t, open.callAs(header, http.MethodGet, "/agents", ""), 401, "townd token")
	}
}

func TestLoopbackTownRefusesForeignHostAndOrigin(t *testing.T) {
	tt := newTown(t)
	get := func(host, origin string) answer {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.url+"/agents", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Authorization", "Bearer "+testToken)
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		return tt.send(req)
	}
	for _, host := range []string{"evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example"} {
		refused(t, get(host, ""), 403, "loopback")
	}
	for _, origin := range []string{"https://evil.example", "null", "http://127.0.0.1.evil.example", "http://%zz"} {
		refused(t, get("localhost:8080", origin), 403, "origin")
	}
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "127.9.9.9"} {
		if got := get(host, "http://localhost:3000"); got.StatusCode != http.StatusOK {
			t.Errorf("Host %s answered %s %s, want 200", host, got.Status, got.body)
		}
	}
}

func TestHealthAndMetricsTellTheTown(t *testing.T) {
	metrics := container.NewMetrics()
	tt := newTownWith(t, func(c *container.Config) { c.Metrics = metrics })
	tt.start("one", "sleep")
	metrics.Observe("worktree", 20*time.Millisecond, nil)
	metrics.Observe("fetch", time.Second, fmt.Errorf("host unreachable: %w", town.ErrGit))
	if _, err := tt.Stop(t.Context(), "one", town.StopRequest{Signal: "SIGKILL"}); err != nil {
		t.Fatal(err)
	}
	tt.start("two", "sleep")
	h, err := tt.Health(t.Context())
	if err != nil || h.Status != "ok" || h.Agents != 1 || h.Version != "v0.0.0-test" || h.MaxAgents == 0 || h.Isolation == "" || h.KillRung == "" {
		t.Errorf("Health() = %+v, %v", h, err)
	}
	if h.Host == nil || h.Host.CPUs < 1 || h.Host.MemoryTotalBytes == 0 || h.Host.DiskTotalBytes == 0 {
		t.Errorf("Health().Host = %+v, want the host's figures", h.Host)
	}
	tt.call("BREW", "/nowhere", "")
	text := string(tt.call(http.MethodGet, "/metrics", "").body)
	for _, want := range []string{
		`townd_agents{status="running"} 1`, `townd_agents{status="exited"} 1`, `townd_agents{status="failed"} 0`,
		`townd_starts_total 2`, `townd_stops_total{reason="killed"} 1`, `townd_kill_escalations_total`,
		`townd_viewers 0`, `townd_stream_bytes_total 0`,
		`townd_http_request_duration_seconds_count{code="201",method="POST",route="/agents/start"} 2`,
		`townd_http_request_duration_seconds_count{code="200",method="POST",route="/agents/{id}/stop"} 1`,
		`townd_http_request_duration_seconds_count{code="404",method="other",route="none"} 1`,
		`townd_git_duration_seconds_count{op="worktree",outcome="ok"}`,
		`townd_git_duration_seconds_count{op="fetch",outcome="remote"} 1`, "go_goroutines", "process_open_fds",
		"# HELP townd_viewers ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("GET /metrics lacks %s", want)
		}
	}
	if strings.Contains(text, "BREW") {
		t.Errorf("GET /metrics has a label of a caller's invention")
	}
}

func TestAccessLogHasNoSecrets(t *testing.T) {
	tt := newTown(t)
	req := tt.request("toast", "sleep")
	req.EnvVars = map[string]string{"MY_API_KEY": "s3cr3t-value-of-the-caller", "CI": "true"}
	if _, err := tt.Start(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	s, err := tt.Stream(t.Context(), "toast", streamOptions)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	tt.call(http.MethodGet, "/agents/toast/stream?ticket=leaked-ticket-value", "")
	tt.call(http.MethodGet, "/agents?token="+testToken, "")
	tt.call(http.MethodGet, "/agents/"+testToken+"/status", "")
	tt.server.Close() // the stream's line is written when it has ended
	logs := tt.logs.String()
	for _, secret := range []string{testToken, "s3cr3t-value-of-the-caller", "leaked-ticket-value", "ticket="} {
		if strings.Contains(logs, secret) {
			t.Errorf("the log holds %q:\n%s", secret, logs)
		}
	}
	if !strings.Contains(logs, `"msg":"request","method":"POST","route":"/agents/start","path":"/agents/start","status":201`) {
		t.Errorf("the log has no line for the start:\n%s", logs)
	}
}
