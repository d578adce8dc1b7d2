package llmtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"townd/llm/llmtest"
)

const responsesBody = `{"model":"m","stream":%STREAM%,"instructions":"be good","input":[
	{"type":"additional_tools","role":"developer","tools":[{"type":"namespace","name":"mcp__town","tools":[{"type":"function","name":"gt_done","parameters":{"properties":{"summary":{"type":"string"}}}}]}]},
	{"type":"message","role":"developer","content":[{"type":"input_text","text":"and brief"}]},
	{"role":"user","content":"write it"},
	{"type":"function_call","call_id":"c","name":"exec_command","arguments":"{}"},
	{"type":"function_call_output","call_id":"c","output":"said"}],
	"tools":[{"type":"custom","name":"apply_patch"},{"type":"function","name":"exec_command","parameters":{"properties":{"cmd":{"type":"string"}}}},
		{"type":"local_shell"},{"type":"web_search"}]}`

func TestResponsesAreReadAsTheOthers(t *testing.T) {
	model, url := llmtest.Serve(t, llmtest.Steps())
	post(t, url+"/prefix/v1/responses", responsesBody, "true")
	r := model.Requests()[0]
	var names []string
	for _, tool := range r.Tools {
		names = append(names, tool.Name)
	}
	if got := strings.Join(names, " "); got != "apply_patch exec_command local_shell gt_done" {
		t.Errorf("tools %s", got)
	}
	if r.System != "be good\nand brief" || len(r.Messages) != 3 || r.Last().Role != "tool" || r.Last().Text != "said" || r.Messages[1].Calls[0] != "exec_command" {
		t.Errorf("system %q, messages %+v", r.System, r.Messages)
	}
	post(t, url+"/v1/responses", `{"model":"m","input":"just this"}`, "")
	if all := model.All(); !all[1].Chore || all[1].Last().Text != "just this" {
		t.Errorf("a request without tools: %+v", all[1])
	}
}

func TestResponsesCallEachToolAsItIsOffered(t *testing.T) {
	for name, c := range map[string]struct {
		tool llmtest.Tool
		want string
	}{
		"custom":      {llmtest.Tool{Name: "apply_patch", Input: map[string]any{"input": "PATCH"}}, `"input":"PATCH","name":"apply_patch","status":"completed","type":"custom_tool_call"`},
		"function":    {llmtest.Tool{Name: "ExecCommand", Input: map[string]any{"Cmd": "ls"}}, `"arguments":"{\"cmd\":\"ls\"}","call_id":"call_000001","id":"fc_000001","name":"exec_command"`},
		"namespace":   {llmtest.Tool{Name: "gt_done"}, `"name":"gt_done","namespace":"mcp__town","status":"completed","type":"function_call"`},
		"local shell": {llmtest.Tool{Name: "local_shell", Input: map[string]any{"command": []string{"ls"}}}, `"action":{"command":["ls"],"type":"exec"}`},
		"write":       {llmtest.Tool{Name: "write", Input: map[string]any{"file_path": "a", "content": "b\nc\n"}}, `"input":"*** Begin Patch\n*** Add File: a\n+b\n+c\n*** End Patch\n"`},
	} {
		_, url := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Text: "So.", Tools: []llmtest.Tool{c.tool}, Usage: llmtest.Usage{Input: 1, Output: 2, CacheRead: 3}}))
		stream := strings.Join(data(t, post(t, url+"/v1/responses", responsesBody, "true").body), "\n")
		for _, want := range []string{c.want, `"type":"response.created"`, `"delta":"So."`, `"cached_tokens":3`, `"input_tokens":4`, `"output_tokens":2`} {
			if !strings.Contains(stream, want) {
				t.Errorf("%s: no %s in\n%s", name, want, stream)
			}
		}
	}
}

func TestResponsesWholeAndFailed(t *testing.T) {
	_, url := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Text: "So."}, llmtest.Step{Status: http.StatusTooManyRequests, RetryAfter: 1e9}))
	whole := post(t, url+"/v1/responses", responsesBody, "false")
	var answer struct {
		Status string
		Output []struct{ Content []struct{ Text string } }
	}
	if err := json.NewDecoder(whole.body).Decode(&answer); err != nil || answer.Status != "completed" || answer.Output[0].Content[0].Text != "So." {
		t.Errorf("%+v, %v", answer, err)
	}
	failed := post(t, url+"/v1/responses", responsesBody, "true")
	body, err := io.ReadAll(failed.body)
	if err != nil || failed.status != http.StatusTooManyRequests || failed.header.Get("Retry-After") != "1" || !strings.Contains(string(body), `"rate_limit_error"`) {
		t.Errorf("%d %v %s %v", failed.status, failed.header, body, err)
	}
}
