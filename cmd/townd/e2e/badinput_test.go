package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// badTown is a town that bad input is sent to: an agent runs in it, and afterwards
// nothing else does, or is there.
type badTown struct {
	*testTown
	agents string
	files  string
	procs  int
}

func newBadTown(t *testing.T) *badTown {
	t.Helper()
	bt := &badTown{testTown: newTown(t, map[string]string{"TOWND_POOL_SIZE": "0"})}
	bt.start(bt.request("toast", bt.mode("echo")...))
	bt.ready("toast")
	bt.files, bt.agents, bt.procs = bt.listing(), bt.everything(), len(bt.ofAgents())
	return bt
}

// everything is what the town says of its agents, but for what changes by itself.
func (bt *badTown) everything() string {
	bt.t.Helper()
	list, err := bt.Agents(bt.t.Context())
	if err != nil {
		bt.t.Fatal(err)
	}
	var all []string
	for _, a := range list {
		all = append(all, fmt.Sprint(a.AgentID, a.RunID, a.Status, *a.PID, a.Generation))
	}
	return strings.Join(all, "\n")
}

// unchanged wants the town as it was.
func (bt *badTown) unchanged(after string) {
	bt.t.Helper()
	if got := bt.everything(); got != bt.agents {
		bt.t.Errorf("after %s the agents are %s, want %s", after, got, bt.agents)
	}
	if got := bt.listing(); got != bt.files {
		bt.t.Errorf("after %s there are\n%s\nwant\n%s", after, got, bt.files)
	}
	if got := len(bt.ofAgents()); got != bt.procs {
		bt.t.Errorf("after %s there are %d processes of agents, want %d", after, got, bt.procs)
	}
}

// raw is a request as it goes over the wire.
type raw struct {
	method, target string
	header         []string // whole lines, besides Host, Authorization and Content-Length
	body           string
	noAuth, noHost bool
	any            bool // refused by net/http itself, in plain text
	hurry          bool // the status is all that is wanted
}

// send sends a request byte for byte and returns the answer, nil when there was none.
func (bt *badTown) send(r raw) (*answer, string) {
	bt.t.Helper()
	conn, err := net.DialTimeout("tcp", bt.address, patience)
	if err != nil {
		bt.t.Fatal(err)
	}
	defer conn.Close()
	lines := []string{r.method + " " + r.target + " HTTP/1.1"}
	switch {
	case r.hurry:
		lines = append(lines, "Connection: Upgrade")
	case !slices.ContainsFunc(r.header, func(h string) bool { return strings.HasPrefix(h, "Connection:") }):
		lines = append(lines, "Connection: close")
	}
	if !r.noHost {
		lines = append(lines, "Host: "+bt.address)
	}
	if !r.noAuth {
		lines = append(lines, "Authorization: Bearer "+bt.token)
	}
	if r.body != "" && !slices.ContainsFunc(r.header, func(h string) bool {
		return strings.Contains(h, "-Length:") || strings.Contains(h, "-Encoding: chunked")
	}) {
		lines = append(lines, fmt.Sprintf("Content-Length: %d", len(r.body)))
	}
	lines = append(lines, r.header...)
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		bt.t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() { // the town may answer, and close, before it has read it all
		defer close(sent)
		_, _ = io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+r.body)
	}()
	defer func() { _ = conn.Close(); <-sent }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.method})
	if err != nil {
		return nil, err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return answerOf(resp), ""
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, max(resp.ContentLength, 1<<20)))
	if err != nil {
		bt.t.Errorf("answer to %s: %v", r, err)
	}
	return answerOf(resp), string(body)
}

// answer is the head of an answer; its body, if any, has been read.
type answer struct {
	StatusCode    int
	Status        string
	Header        http.Header
	ContentLength int64
}

func answerOf(resp *http.Response) *answer {
	return &answer{StatusCode: resp.StatusCode, Status: resp.Status, Header: resp.Header, ContentLength: resp.ContentLength}
}

func (r raw) String() string {
	return fmt.Sprintf("%s %.100q %.200q %.200q", r.method, r.target, r.header, r.body)
}

// refused wants a request refused with a problem that says what is wrong.
func (bt *badTown) refused(r raw) api.Problem {
	t := bt.t
	t.Helper()
	resp, body := bt.send(r)
	if resp == nil {
		t.Errorf("%s: no answer (%s)", r, body)
		return api.Problem{}
	}
	if resp.StatusCode < 400 || resp.StatusCode > 499 {
		t.Errorf("%s: %s %.300s; want a 4xx", r, resp.Status, body)
		return api.Problem{}
	}
	var p api.Problem
	if r.any || r.method == http.MethodHead {
		return p
	}
	if kind := resp.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("%s: %s as %s: %.300s; want a problem", r, resp.Status, kind, body)
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Error == "" || p.Detail == "" || p.Status != resp.StatusCode {
		t.Errorf("%s: %v %.300s; want error, detail and the status %d", r, err, body, resp.StatusCode)
	}
	for _, issue := range p.Issues {
		if issue.Path == "" || issue.Message == "" {
			t.Errorf("%s: an issue says nothing: %s", r, body)
		}
	}
	if strings.Contains(body, bt.token) || strings.Contains(body, "internal error") || strings.Contains(body, "panic") {
		t.Errorf("%s: answered %s", r, body)
	}
	return p
}

// targets are the paths of the API with the methods they take.
func targets(id string) map[string][]string {
	agent := "/agents/" + id
	return map[string][]string{
		"/health": {"GET", "HEAD"}, "/openapi.json": {"GET", "HEAD"}, "/metrics": {"GET", "HEAD"}, "/agents": {"GET", "HEAD"},
		"/agents/start": {"POST"}, agent: {"DELETE"}, agent + "/status": {"GET", "HEAD"}, agent + "/stop": {"POST"}, agent + "/message": {"POST"},
		agent + "/resize": {"POST"}, agent + "/stream-ticket": {"POST"}, agent + "/stream": {"GET"}, agent + "/events": {"GET", "HEAD"},
		agent + "/screen": {"GET", "HEAD"}, agent + "/transcript": {"GET", "HEAD"}, agent + "/diff": {"GET", "HEAD"},
	}
}

func TestWrongMethodsAndPathsAreRefused(t *testing.T) {
	t.Parallel()
	bt := newBadTown(t)
	for target, methods := range targets("toast") {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"} {
			if slices.Contains(methods, method) || target == "/agents/start" && method == "DELETE" { // of an agent "start", which is not there
				continue
			}
			p := bt.refused(raw{method: method, target: target, body: "{}"})
			if method != "HEAD" && (p.Status != http.StatusMethodNotAllowed || !strings.Contains(p.Error, methods[0])) {
				t.Errorf("%s %s: %d %s; want 405 and what is allowed", method, target, p.Status, p.Error)
			}
		}
	}
	segments := []string{
		"..", ".", "%2e%2e", "%2e", "a..b", "%2f", "a%2fb", "..%2ftoast", "toast%2f..%2ftoast", "%00", "toast%00", "%0a", "toast%0d%0a", "%ff%fe", "%20",
		"toast%20", "t%C3%B6st", "%F0%9F%90%88", ".hidden", "-x", "_x", "toast.", "TOAST", "toas", "toast1", "%252e%252e", strings.Repeat("x", 129),
		strings.Repeat("x", 20_000), strings.Repeat("%41", 5_000), "", "*", "{id}", "start%3f", "toast;x=1",
	}
	for _, segment := range segments {
		for target, methods := range targets(segment) {
			if strings.HasPrefix(target, "/agents/"+segment) && target != "/agents/start" {
				bt.refused(raw{method: methods[0], target: target, body: `{"prompt":"x","cols":1,"rows":1}`})
			}
		}
	}
	for _, target := range []string{
		"//", "/ui/", "/ui/none.js", "/ui/../agents", "/agents/", "/agents//", "/agents/toast/", "/agents/toast/status/", "/agents/toast//status", "//agents", "/./agents", "/x/../agents",
		"/agents/../agents", "/AGENTS", "/agents/toast/nothing", "/agents/toast/status/more", "/.git/config", "/%2e%2e/%2e%2e/etc/passwd", "/../../etc/passwd",
		"/agents/start/status/x", "/debug/pprof/", "/api/towns/x", "/agents%00", "/agents%2ftoast%2fstatus",
	} {
		if p := bt.refused(raw{method: "GET", target: target}); p.Status != http.StatusNotFound && p.Status != http.StatusBadRequest && p.Status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d %s; want 404", target, p.Status, p.Error)
		}
	}
	for _, target := range []string{"/agents/%zz/status", "/agents/%/status", "agents", "http://", "/agents/toast status", "/\x01", "*"} {
		bt.refused(raw{method: "GET", target: target, any: true})
	}
	bt.unchanged("wrong methods and paths")
}

func TestWrongHeadersAndQueriesAreRefused(t *testing.T) {
	t.Parallel()
	bt := newBadTown(t)
	for _, header := range [][]string{
		nil,
		{"Authorization:"},
		{"Authorization: Bearer"},
		{"Authorization: Bearer "},
		{"Authorization: " + bt.token},
		{"Authorization: Basic " + bt.token},
		{"Authorization: Bearer x" + bt.token},
		{"Authorization: Bearer " + bt.token + "x"},
		{"Authorization: Bearer " + bt.token[:len(bt.token)-1]},
		{"Authorization: Bearer " + strings.ToLower(bt.token)},
		{"Authorization: Bearer " + bt.token + "," + bt.token},
		{"Authorization: Bearer \xff\xfe"},
		{"Authorization: Bearer " + strings.Repeat("x", 60_000)},
		{"Authorization: Bearer " + bt.token, "Authorization: Bearer " + bt.token},
		{"Authorization: Bearer wrong", "Authorization: Bearer " + bt.token},
		{"X-Authorization: Bearer " + bt.token, "Cookie: token=" + bt.token, "Proxy-Authorization: Bearer " + bt.token},
	} {
		for target, methods := range targets("toast") {
			if target == "/health" || target == "/openapi.json" {
				continue
			}
			p := bt.refused(raw{method: methods[0], target: target, header: header, noAuth: true, body: "{}"})
			if p.Status != http.StatusUnauthorized && !strings.HasSuffix(target, "/stream") {
				t.Errorf("%s %s with %.100q: %d %s; want 401", methods[0], target, header, p.Status, p.Error)
			}
		}
	}
	for _, header := range []string{"Host: example.com", "Host: 127.0.0.1.example.com", "Host: localhost.example.com:8080", "Host: [::2]"} {
		if p := bt.refused(raw{method: "GET", target: "/agents", header: []string{header}, noHost: true}); p.Status != http.StatusForbidden {
			t.Errorf("%s: %d %s; want 403", header, p.Status, p.Error)
		}
	}
	for _, header := range []string{"Origin: https://example.com", "Origin: null", "Origin: http://localhost.example.com", "Origin: \x7f"} {
		bt.refused(raw{method: "GET", target: "/agents", header: []string{header}, any: strings.Contains(header, "\x7f")})
	}
	for _, r := range []raw{
		{method: "GET", target: "/agents", header: []string{"X-Large: " + strings.Repeat("x", 2<<20)}},
		{method: "GET", target: "/agents", header: slices.Repeat([]string{"X-Many: x"}, 200_000)},
		{method: "GET", target: "/agents", header: []string{"no colon"}},
		{method: "GET", target: "/agents", header: []string{"Bad Name: x"}},
		{method: "GET", target: "/agents", header: []string{"X: \x00"}},
		{method: "GET", target: "/agents", noHost: true},
		{method: "GET", target: "/agents", header: []string{"Host: a", "Host: b"}},
		{method: "POST", target: "/agents/start", header: []string{"Content-Length: -1"}, body: "{}"},
		{method: "POST", target: "/agents/start", header: []string{"Content-Length: 2", "Content-Length: 3"}, body: "{}"},
		{method: "POST", target: "/agents/start", header: []string{"Transfer-Encoding: chunked"}, body: "zz\r\n"},
		{method: "POST", target: "/agents/start", header: []string{"Transfer-Encoding: chunked"}, body: "-1\r\n{}\r\n0\r\n\r\n"},
	} {
		r.any = true
		bt.refused(r)
	}
	bt.refused(raw{method: "POST", target: "/agents/start", header: []string{"Content-Encoding: gzip"}, body: "\x1f\x8b"})
	for _, key := range []string{strings.Repeat("k", 5000), "a\x01b"} {
		bt.refused(raw{method: "POST", target: "/agents/toast/message", header: []string{"Idempotency-Key: " + key}, body: `{"prompt":"x"}`, any: strings.Contains(key, "\x01")})
	}
	bt.refused(raw{method: "POST", target: "/agents/toast/message", header: []string{"Idempotency-Key: a", "Idempotency-Key: b"}, body: `{"prompt":"x"}`})
	for _, query := range []string{
		"events?after=x", "events?after=-1", "events?after=1e3", "events?after=99999999999999999999", "events?after=a/b:1", "events?after=1&after=2", "events?limit=0",
		"events?limit=-1", "events?limit=1000000", "events?limit=x", "events?limit=1&limit=2", "events?after=%zz", "events?after=%00",
		"transcript?format=exe", "transcript?run=..", "transcript?run=none", "transcript?run=%2e%2e%2f", "transcript?run=a&run=b", "transcript?format=raw;x",
		"diff?maxBytes=0", "diff?maxBytes=-1", "diff?maxBytes=x", "diff?maxBytes=99999999999999999999",
	} {
		bt.refused(raw{method: "GET", target: "/agents/toast/" + query})
	}
	for _, value := range []string{"bytes=9-1", "bytes=1000000-", "bytes=-", "bytes=x-y", "lines=1-2", "bytes=" + strings.Repeat("0-0,", 50) + "0-0", "bytes=--1"} {
		if p := bt.refused(raw{method: "GET", target: "/agents/toast/transcript", header: []string{"Range: " + value}}); p.Status != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("Range %s: %d %s; want 416", value, p.Status, p.Error)
		}
	}
	bt.refused(raw{method: "GET", target: "/agents/toast/events", header: []string{"Last-Event-ID: x", "Accept: text/event-stream"}})
	bt.unchanged("wrong headers and queries")
}

func TestWrongBodiesAreRefused(t *testing.T) {
	t.Parallel()
	bt := newBadTown(t)
	routes := []string{"/agents/start", "/agents/toast/message", "/agents/toast/resize", "/agents/toast/stream-ticket"}
	for _, body := range []string{
		"", " ", "null", "[]", `"x"`, "1", "true", "{", "}", `{"a":}`, "{}{}", "{} x", "\xef\xbb\xbf{}", "{\"prompt\":\"\xff\"}", `{"prompt":"\ud800"}`, "not json",
		"<xml/>", "a=b&c=d", strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000), strings.Repeat("x", api.MaxBodyBytes+1),
		`{"prompt":` + strings.Repeat("1", 1<<20) + `}`, "\x00", `{"a":1,"a":2}`,
	} {
		for _, target := range routes {
			if strings.HasSuffix(target, "/stream-ticket") && (body == "" || body == "null" || strings.HasPrefix(body, `{"`) && json.Valid([]byte(body))) {
				continue // a ticket's body may be left out, and hold what we do not know
			}
			p := bt.refused(raw{method: "POST", target: target, body: body})
			if want := http.StatusBadRequest; p.Status != want && p.Status != http.StatusRequestEntityTooLarge || p.Status == want && len(p.Issues) == 0 {
				t.Errorf("POST %s %.100q: %d %s %v; want 400 with issues", target, body, p.Status, p.Error, p.Issues)
			}
		}
	}
	for field, values := range wrongFields(bt) {
		for _, value := range values {
			bt.wrongField(field, value)
		}
	}
	for target, bodies := range map[string][]string{
		"/agents/toast/stop": {`{"signal":"SIGHUP"}`, `{"signal":9}`, `{"graceSeconds":-1}`, `{"graceSeconds":3601}`, `{"graceSeconds":"1"}`, `{"graceSeconds":1e400}`, `[]`},
		"/agents/toast/message": {
			`{}`, `{"prompt":""}`, `{"prompt":1}`, `{"prompt":"a\u0000b"}`, `{"prompt":"x","deliver":"never"}`, `{"prompt":"x","deliver":1}`, `{"Prompt":"x"}`,
			`{"prompt":"` + strings.Repeat("x", 1<<20+1) + `"}`, `{"prompt":"` + strings.Repeat("x", 5000) + `"}`, // longer than a line of a terminal
		},
		"/agents/toast/resize": {
			`{}`, `{"cols":80}`, `{"rows":24}`, `{"cols":0,"rows":24}`, `{"cols":80,"rows":0}`, `{"cols":1001,"rows":24}`, `{"cols":80,"rows":70000}`,
			`{"cols":-1,"rows":24}`, `{"cols":1.5,"rows":24}`, `{"cols":"80","rows":24}`,
		},
		"/agents/toast/stream-ticket": {`{"mode":"admin"}`, `{"mode":1}`, `{"mode":["read"]}`, `[]`},
	} {
		for _, body := range bodies {
			bt.refused(raw{method: "POST", target: target, body: body})
		}
	}
	bt.unchanged("wrong bodies")
}

// wrongFields is, by the path of a field of a start request, what it may not be.
func wrongFields(bt *badTown) map[string][]any {
	long := strings.Repeat("x", 5000)
	ids := []any{"", "..", ".", "a/b", "a b", "-a", ".a", "a..b", "a.", "ünï", "a\nb", "a\x00b", strings.Repeat("x", 129), 1, true, []any{}, map[string]any{}}
	line := []any{"a\nb", "a\x00b", "a\x1bb", long, 1, []any{}}
	limit := []any{-1, "1", true, []any{}}
	return map[string][]any{
		"agentId": ids, "rigId": ids, "townId": ids, "beadId": ids[1:],
		"role": {"", "king", "Polecat", "polecat ", 1, []any{"polecat"}},
		"name": append([]any{"", " "}, line...), "identity": line, "model": line,
		"gitUrl": append([]any{
			"", "repo", "/etc/passwd", "../x", "file:///nonexistent/x.git", "ext::sh -c id", "https://user:secret@example.com/x.git", "-oProxyCommand=id",
			"ssh://-oProxyCommand=id/x", "ftp://example.com/x", "http://", "https:///x", "http://127.0.0.1:1/x.git\n", "fd::17", "ssh://host/x",
		}, line...),
		"branch": append([]any{
			"", "..", "a..b", "-a", "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a\\b", "a.lock", "/a", "a/", "a//b", "a/.b", "@", "a@{b", "HEAD", bt.remote.Branch,
		}, line...),
		"defaultBranch": append([]any{"a..b", "-a", "no-such-branch", "--upload-pack=id"}, line...),
		"startPoint":    append([]any{"no-such-commit", "-a", "--upload-pack=id", "a..b", "0123456789012345678901234567890123456789"}, line...),
		"prompt":        {"a\x00b", strings.Repeat("x", 1<<20+1), 1, []any{"x"}},
		"systemPrompt":  {"a\x00b", strings.Repeat("x", 1<<20+1), 1},
		"cli":           append([]any{"nope", "Claude", "claude "}, line...),
		"command": {
			[]any{},
			[]any{""},
			[]any{"no-such-program"},
			[]any{"/no/such/program"},
			[]any{"./no-such"},
			[]any{"/"},
			[]any{"/etc/passwd"},
			[]any{"a\x00b"},
			[]any{1},
			[]any{nil},
			"sleep 1",
			map[string]any{},
			[]any{"/bin/true", strings.Repeat("x", 200_000)},
		},
		"envVars": {
			map[string]any{"PATH": "/"},
			map[string]any{"HOME": "/"},
			map[string]any{"LD_PRELOAD": "x"},
			map[string]any{"GIT_DIR": "x"},
			map[string]any{"TOWND_RUN_ID": "x"},
			map[string]any{"": "x"},
			map[string]any{"A=B": "x"},
			map[string]any{"1A": "x"},
			map[string]any{"A B": "x"},
			map[string]any{"A\x00": "x"},
			map[string]any{"A": "x\x00"},
			map[string]any{"A": 1},
			map[string]any{"A": nil},
			map[string]any{"A": []any{}},
			map[string]any{"A": strings.Repeat("x", 200_000)},
			map[string]any{"GASTOWN_AGENT_ID": "another"},
			[]any{"A=B"},
			"A=B",
		},
		"generation": {-1, 1.5, "1", 1e30, true}, "cols": {-1, 1.5, 1001, 70_000, "80"}, "rows": {-1, 1.5, 1001, 70_000, "24"},
		"resume": {"yes", 1, []any{}}, "restart": {"always", 1, true}, "limits": {[]any{}, "none", 1},
		"limits.turns": limit, "limits.seconds": append(limit, 1e300), "limits.idleSeconds": append(limit, 1e300), "limits.tokens": append(limit, 1.5), "limits.costUsd": limit,
		"limits.memoryBytes": append(limit, 1e30), "limits.processes": append(limit, 1.5),
	}
}

// wrongField wants a start refused of which one field is wrong, by its name.
func (bt *badTown) wrongField(path string, value any) {
	bt.t.Helper()
	req := bt.request("bad", bt.mode("sleep")...)
	var body map[string]any
	data, err := json.Marshal(req)
	if err == nil {
		err = json.Unmarshal(data, &body)
	}
	if err != nil {
		bt.t.Fatal(err)
	}
	if field, ok := strings.CutPrefix(path, "limits."); ok {
		body["limits"] = map[string]any{field: value}
	} else {
		body[path] = value
	}
	if data, err = json.Marshal(body); err != nil {
		bt.t.Fatal(err)
	}
	resp, text := bt.send(raw{method: "POST", target: "/agents/start", body: string(data)})
	if resp == nil {
		bt.t.Errorf("%s = %.60v: no answer (%s)", path, value, text)
		return
	}
	var p api.Problem
	if err := json.Unmarshal([]byte(text), &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
		bt.t.Errorf("%s = %.60q: %s %.300s", path, fmt.Sprint(value), resp.Status, text)
	}
	if resp.StatusCode == http.StatusBadRequest && len(p.Issues) == 0 {
		bt.t.Errorf("%s = %.60q: a 400 without issues: %.300s", path, fmt.Sprint(value), text)
	}
	gone := path == "gitUrl" && resp.StatusCode == http.StatusBadGateway // a repository that is not there
	named := strings.Contains(p.Detail, path) || strings.Contains(text, `"path":"`+path)
	if !gone && (resp.StatusCode < 400 || resp.StatusCode > 499 || !named && resp.StatusCode == http.StatusBadRequest) {
		bt.t.Errorf("%s = %.60q: %s %.300s; want a 4xx that names the field", path, fmt.Sprint(value), resp.Status, text)
	}
	if strings.Contains(text, "secret") {
		bt.t.Errorf("%s = %.60q: the answer tells the password: %.300s", path, fmt.Sprint(value), text)
	}
	if _, err := bt.Agent(bt.t.Context(), "bad"); err == nil {
		bt.t.Errorf("%s = %.60q: the agent is there", path, fmt.Sprint(value))
		bt.stop("bad", town.StopRequest{Signal: "SIGKILL"})
		_ = bt.Delete(bt.t.Context(), "bad") // so that the next can fail
	}
	if found, _ := filepath.Glob(filepath.Join(bt.home, "agents/bad*")); len(found) > 0 {
		bt.t.Errorf("%s = %.60q: %q is left", path, fmt.Sprint(value), found)
	}
}
