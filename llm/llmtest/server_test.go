package llmtest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"townd/llm/llmtest"
)

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); code == 0 && n > before {
		println("goroutines left over:", n-before)
		code = 1
	}
	os.Exit(code)
}

const anthropicBody = `{"model":"m","stream":%STREAM%,"system":[{"type":"text","text":"be good"}],
	"messages":[{"role":"user","content":"write it"}],
	"tools":[{"name":"Write","input_schema":{"properties":{"file_path":{"type":"string"},"content":{"type":"string"},"why":{"type":"string"}},"required":["file_path","content","why"]}}]}`

const openaiBody = `{"model":"m","stream":%STREAM%,"messages":[{"role":"system","content":"be good"},{"role":"user","content":[{"type":"text","text":"write it"}]}],
	"tools":[{"type":"function","function":{"name":"write","parameters":{"properties":{"filePath":{"type":"string"},"content":{"type":"string"}},"required":["filePath","content"]}}}]}`

// reply is a response whose body is closed with the test.
type reply struct {
	status int
	header http.Header
	body   io.Reader
}

func post(t *testing.T, url, body, stream string) reply {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(strings.ReplaceAll(body, "%STREAM%", stream)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return reply{resp.StatusCode, resp.Header, resp.Body}
}

// data returns the data lines of a stream of events.
func data(t *testing.T, r io.Reader) []string {
	t.Helper()
	var lines []string
	for s := bufio.NewScanner(r); s.Scan(); {
		if line, ok := strings.CutPrefix(s.Text(), "data: "); ok {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestBothProtocolsAreUnderstoodAlike(t *testing.T) {
	for _, c := range []struct{ path, body, call string }{
		{"/v1/messages?beta=true", anthropicBody, `"partial_json":"{\"content\":\"x\",\"file_path\":\"a.txt\",\"why\":\"scripted\"}"`},
		{"/prefix/v1/chat/completions", openaiBody, `"arguments":"{\"content\":\"x\",\"filePath\":\"a.txt\"}","name":"write"`},
	} {
		model, url := llmtest.Serve(t, llmtest.WriteFile("a.txt", "x"))
		resp := post(t, url+c.path, c.body, "true")
		lines := strings.Join(data(t, resp.body), "\n")
		if resp.status != http.StatusOK || !strings.Contains(lines, c.call) {
			t.Errorf("%s: %d\n%s\nwant in it %s", c.path, resp.status, lines, c.call)
		}
		requests := model.Requests()
		if len(requests) != 1 {
			t.Fatalf("%s: %d requests", c.path, len(requests))
		}
		r := requests[0]
		if r.Model != "m" || r.System != "be good" || !r.Stream || len(r.Tools) != 1 || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: request %+v", c.path, r)
		}
		if diff := cmp.Diff([]llmtest.Message{{Role: "user", Text: "write it"}}, r.Messages); diff != "" {
			t.Errorf("%s: messages (-want +got):\n%s", c.path, diff)
		}
	}
}

func TestAnswersAtOnceWithoutStreaming(t *testing.T) {
	_, url := llmtest.Serve(t, llmtest.Steps(
		llmtest.Step{Text: "hi", Usage: llmtest.Usage{Input: 1, Output: 2, CacheRead: 3, CacheWrite: 4}},
		llmtest.Step{Text: "hi"},
	))
	var a struct {
		Content []struct{ Text string }
		Stop    string `json:"stop_reason"`
		Usage   struct {
			Input     int `json:"input_tokens"`
			Output    int `json:"output_tokens"`
			CacheRead int `json:"cache_read_input_tokens"`
		}
	}
	if err := json.NewDecoder(post(t, url+"/v1/messages", anthropicBody, "false").body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	if a.Stop != "end_turn" || len(a.Content) != 1 || a.Content[0].Text != "hi" || a.Usage.Input != 1 || a.Usage.Output != 2 || a.Usage.CacheRead != 3 {
		t.Errorf("answer %+v", a)
	}
	var o struct {
		Choices []struct {
			Message      struct{ Content string }
			FinishReason string `json:"finish_reason"`
		}
	}
	if err := json.NewDecoder(post(t, url+"/v1/chat/completions", openaiBody, "false").body).Decode(&o); err != nil {
		t.Fatal(err)
	}
	if len(o.Choices) != 1 || o.Choices[0].Message.Content != "hi" || o.Choices[0].FinishReason != "stop" {
		t.Errorf("answer %+v", o)
	}
}

func TestFaultsAreAnsweredAsTheProvidersDo(t *testing.T) {
	_, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step {
		return llmtest.Step{Status: 429, RetryAfter: 7 * time.Second}
	})
	for _, path := range []string{"/v1/messages", "/v1/chat/completions"} {
		resp := post(t, url+path, anthropicBody, "true")
		body, err := io.ReadAll(resp.body)
		if err != nil || resp.status != 429 || resp.header.Get("Retry-After") != "7" || !bytes.Contains(body, []byte(`"rate_limit_error"`)) {
			t.Errorf("%s: %d, Retry-After %q, %s, %v", path, resp.status, resp.header.Get("Retry-After"), body, err)
		}
	}
	for path, want := range map[string]int{"/v1/messages/count_tokens": 200, "/v1/models": 200, "/v1/nothing": 404} {
		if got := post(t, url+path, anthropicBody, "true").status; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := post(t, url+"/v1/messages", "{", "").status; got != 400 {
		t.Errorf("a body that is not JSON: %d, want 400", got)
	}
}

// TestAHangEndsWithTheServer, after what was said has arrived.
func TestAHangEndsWithTheServer(t *testing.T) {
	model, url := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Text: "wait", Hang: true}))
	body := post(t, url+"/v1/messages", anthropicBody, "true").body
	r := bufio.NewReader(body)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, `"text":"wait"`) {
			break
		}
	}
	model.Close()
	rest, err := io.ReadAll(r)
	if err != nil || bytes.Contains(rest, []byte("message_stop")) {
		t.Errorf("after the hang: %q, %v", rest, err)
	}
}

// TestChoresDoNotUseUpTheScript: a CLI asks for titles when it likes.
func TestChoresDoNotUseUpTheScript(t *testing.T) {
	model, url := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Text: "one"}, llmtest.Step{Text: "two"}))
	arrived := model.Arrived()
	post(t, url+"/v1/messages", `{"messages":[{"role":"user","content":"a title"}]}`, "")
	<-arrived
	for _, want := range []string{"one", "two", "Done."} {
		body, err := io.ReadAll(post(t, url+"/v1/messages", anthropicBody, "false").body)
		if err != nil || !bytes.Contains(body, []byte(`"`+want+`"`)) {
			t.Errorf("answer %s, %v, want %q", body, err, want)
		}
	}
	if turns, all := len(model.Requests()), len(model.All()); turns != 3 || all != 4 {
		t.Errorf("%d turns of %d requests, want 3 of 4", turns, all)
	}
}

func TestResultsOfToolsAreMessagesOfTheRoleTool(t *testing.T) {
	model, url := llmtest.Serve(t, nil)
	post(t, url+"/v1/messages", `{"tools":[{"name":"Write"}],"messages":[
		{"role":"assistant","content":[{"type":"tool_use","name":"Write","id":"1"}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"ok"}]},{"type":"text","text":"reminder"}]}]}`, "")
	post(t, url+"/v1/chat/completions", `{"tools":[{"function":{"name":"write"}}],"messages":[
		{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"write"}}]},
		{"role":"tool","tool_call_id":"1","content":"ok"}]}`, "")
	for i, call := range []string{"Write", "write"} {
		want := []llmtest.Message{{Role: "assistant", Calls: []string{call}}, {Role: "tool", Text: "ok"}}
		if diff := cmp.Diff(want, model.Requests()[i].Messages); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	}
}
