package llmtest_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/llm/llmtest"
)

const geminiBody = `{"systemInstruction":{"role":"user","parts":[{"text":"be good"}]},
	"contents":[{"role":"user","parts":[{"text":"write it"}]},
		{"role":"model","parts":[{"text":"hm","thought":true},{"text":"Well."},{"functionCall":{"name":"ls","args":{}}}]},
		{"role":"user","parts":[{"functionResponse":{"name":"ls","response":{"output":"a"}}}]}],
	"tools":[{"functionDeclarations":[{"name":"write_file","parametersJsonSchema":{"properties":{"file_path":{"type":"string"},"content":{"type":"string"}},"required":["file_path"]}}]}]}`

func TestGeminisProtocolIsUnderstood(t *testing.T) {
	model, url := llmtest.Serve(t, llmtest.Steps(llmtest.Step{
		Text: "I write.", Tools: []llmtest.Tool{{Name: "write", Input: map[string]any{"filePath": "a.txt"}}},
		Usage: llmtest.Usage{Input: 1, Output: 2, CacheRead: 4},
	}, llmtest.Step{Text: "hi"}))
	lines := data(t, post(t, url+"/llm/g/v1beta/models/m-1:streamGenerateContent?alt=sse", geminiBody, "").body)
	want := []string{
		`{"candidates":[{"content":{"parts":[{"text":"I write."}],"role":"model"},"index":0}],`,
		`{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"file_path":"a.txt"},"id":"call_000001","name":"write_file"}}],"role":"model"},"finishReason":"STOP","index":0}],`,
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	const usage = `"usageMetadata":{"cachedContentTokenCount":4,"candidatesTokenCount":2,"promptTokenCount":5,"thoughtsTokenCount":0,"totalTokenCount":7}}`
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) || !strings.HasSuffix(line, usage) {
			t.Errorf("line %d: %s\nwant %s … %s", i, line, want[i], usage)
		}
	}
	r := model.Requests()[0]
	if r.Model != "m-1" || r.System != "be good" || !r.Stream {
		t.Errorf("request %+v", r)
	}
	messages := []llmtest.Message{
		{Role: "user", Text: "write it"}, {Role: "assistant", Text: "Well.", Calls: []string{"ls"}}, {Role: "tool", Text: `{"output":"a"}`},
	}
	if diff := cmp.Diff(messages, r.Messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	whole, err := io.ReadAll(post(t, url+"/v1beta/models/m:generateContent", geminiBody, "").body)
	if err != nil || !strings.Contains(string(whole), `"text":"hi"`) {
		t.Errorf("an answer at once: %s, %v", whole, err)
	}
}

func TestGeminisFaultsAreGoogles(t *testing.T) {
	status := 0
	_, url := llmtest.Serve(t, func(*llmtest.Request) llmtest.Step { return llmtest.Step{Status: status} })
	for code, word := range map[int]string{400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"} {
		status = code
		resp := post(t, url+"/v1beta/models/m:streamGenerateContent", geminiBody, "")
		var got struct {
			Error struct {
				Code   int
				Status string
			}
		}
		if err := json.NewDecoder(resp.body).Decode(&got); err != nil || resp.status != code || got.Error.Code != code || got.Error.Status != word {
			t.Errorf("%d: status %d, %+v, %v", code, resp.status, got, err)
		}
	}
	for method, want := range map[string]int{"countTokens": 200, "embedContent": 404} {
		if got := post(t, url+"/v1beta/models/m:"+method, geminiBody, "").status; got != want {
			t.Errorf("%s: %d, want %d", method, got, want)
		}
	}
}

func TestARequestOfGeminiWithoutToolsIsAChore(t *testing.T) {
	model, url := llmtest.Serve(t, nil)
	post(t, url+"/v1beta/models/m:generateContent", `{"contents":[{"role":"user","parts":[{"text":"which model?"}]}]}`, "")
	if turns, all := len(model.Requests()), len(model.All()); turns != 0 || all != 1 {
		t.Errorf("%d turns of %d requests, want none of 1", turns, all)
	}
}
