package llm

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"townd/llm/llmtest"
	"townd/town"
)

// seen is what a provider got.
type seen struct {
	method, uri string
	header      http.Header
	body        string
}

// recorder is a provider that notes what it gets, and then answers.
func recorder(t *testing.T, answer http.HandlerFunc) (base string, got chan seen) {
	got = make(chan seen, 100)
	return upstream(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- seen{r.Method, r.RequestURI, r.Header.Clone(), string(b)}
		answer(w, r)
	}), got
}

// TestTheKeyReplacesTheCapabilityInEveryDialect and goes nowhere else (F5, L1, L5).
func TestTheKeyReplacesTheCapabilityInEveryDialect(t *testing.T) {
	for _, tt := range []struct {
		provider   string
		below      string // of LLM_BASE_URL
		dialect    town.Dialect
		wantPath   string
		wantHeader map[string]string
	}{
		{"openrouter", "/api/v1", town.DialectAnthropic, "/api/v1/messages", map[string]string{"Authorization": "Bearer " + canary}},
		{"openrouter", "/api", town.DialectOpenAI, "/api/v1/chat/completions", map[string]string{"Authorization": "Bearer " + canary}},
		{"openrouter", "/api/v1/", town.DialectResponses, "/api/v1/responses", map[string]string{"Authorization": "Bearer " + canary}},
		{"claude", "/v1", town.DialectAnthropic, "/v1/messages", map[string]string{"X-Api-Key": canary}},
		{"claude", "", town.DialectAnthropic, "/v1/messages", map[string]string{"X-Api-Key": canary}},
		{"openai", "/v1", town.DialectOpenAI, "/v1/chat/completions", map[string]string{"Authorization": "Bearer " + canary}},
		{"openai", "", town.DialectResponses, "/v1/responses", map[string]string{"Authorization": "Bearer " + canary}},
		{"gemini", "", town.DialectGemini, "/v1beta/models/gemini-x:generateContent", map[string]string{"X-Goog-Api-Key": canary}},
		{"ai-gateway", "/v1/acct/gw", town.DialectAnthropic, "/v1/acct/gw/anthropic/v1/messages", map[string]string{"X-Api-Key": canary, "Cf-Aig-Authorization": "Bearer cf-token-12345"}},
		{"ai-gateway", "/v1/acct/gw/anthropic", town.DialectOpenAI, "/v1/acct/gw/compat/chat/completions", map[string]string{"Authorization": "Bearer " + canary, "Cf-Aig-Authorization": "Bearer cf-token-12345"}},
		{"ai-gateway", "/v1/acct/gw", town.DialectGemini, "/v1/acct/gw/google-ai-studio/v1beta/models/gemini-x:generateContent", map[string]string{"X-Goog-Api-Key": canary, "Cf-Aig-Authorization": "Bearer cf-token-12345"}},
		{"compatible", "/paas/v4", town.DialectOpenAI, "/paas/v4/chat/completions", map[string]string{"Authorization": "Bearer " + canary}},
		{"compatible", "", town.DialectAnthropic, "/v1/messages", map[string]string{"X-Api-Key": canary, "Authorization": "Bearer " + canary}},
	} {
		for _, carry := range []string{"X-Api-Key", "Authorization", "X-Goog-Api-Key", "key"} {
			t.Run(fmt.Sprint(tt.provider, tt.below, "/", tt.dialect, " ", carry), func(t *testing.T) {
				base, got := recorder(t, says(200, nil, `{}`))
				p := Provider{Name: tt.provider, BaseURL: base + tt.below}
				if tt.provider == "ai-gateway" {
					p.Token = "cf-token-12345"
				}
				f := open(t, p)
				target, header := path(tt.provider, tt.dialect)+"?beta=true&alt=sse&$httpMethod=DELETE", []string{
					"X-Api-Key", "", "Cookie", "a=b", "Connection", "X-Hop", "X-Hop", "1", "Cf-Aig-Authorization", "Bearer mine",
					"X-Forwarded-For", "1.2.3.4", "X-Echo", "my key is " + ofAgent, "Anthropic-Version", "2023-06-01", "X-Http-Method-Override", "DELETE",
				}
				switch carry {
				case "key":
					target += "&key=" + ofAgent
				case "Authorization":
					header = append(header, carry, "Bearer "+ofAgent)
				default:
					header = append(header, carry, ofAgent)
				}
				const body = `{ "model":"m",  "x": 1.0}`
				if a := f.ask(t, "POST", target, body, header...); a.status != 200 || a.body != "{}" {
					t.Fatalf("answer %+v", a)
				}
				s := <-got
				if s.method != "POST" || s.uri != tt.wantPath+"?alt=sse&beta=true" || s.body != body {
					t.Errorf("the provider got %s %s %s", s.method, s.uri, s.body)
				}
				if all := fmt.Sprint(s); strings.Contains(all, ofAgent) {
					t.Errorf("the provider got the agent's capability: %s", all)
				}
				for _, name := range []string{"X-Api-Key", "Authorization", "X-Goog-Api-Key", "Cf-Aig-Authorization"} {
					if got := s.header.Get(name); got != tt.wantHeader[name] {
						t.Errorf("%s: %q, want %q", name, got, tt.wantHeader[name])
					}
				}
				for _, name := range []string{"Cookie", "X-Hop", "X-Forwarded-For", "X-Echo", "X-Http-Method-Override"} {
					if s.header.Get(name) != "" {
						t.Errorf("%s was passed on", name)
					}
				}
				if s.header.Get("Anthropic-Version") != "2023-06-01" {
					t.Error("the client's own header was not passed on")
				}
				f.agents.called(t)
			})
		}
	}
}

func TestOnlyCallsOfModelsArePassedOn(t *testing.T) {
	base, got := recorder(t, says(200, nil, `{}`))
	f := open(t, Provider{Name: "claude", BaseURL: base}, Provider{Name: "gemini", BaseURL: base}, Provider{Name: "openrouter", BaseURL: base})
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/llm/claude/anthropic/v1/messages/count_tokens", 200},
		{"GET", "/llm/claude/anthropic/v1/models", 200},
		{"GET", "/llm/claude/anthropic/v1/models/claude-x", 200},
		{"GET", "/llm/openrouter/openai/models", 200},
		{"POST", "/llm/gemini/gemini/v1beta/models/g-1.5:streamGenerateContent?alt=sse", 200},
		{"POST", "/llm/gemini/gemini/v1beta/models/g-1.5:countTokens", 200},
		{"GET", "/llm/claude/anthropic/v1/messages", 405},
		{"DELETE", "/llm/claude/anthropic/v1/messages", 405},
		{"POST", "/llm/claude/anthropic/v1/models", 405},
		{"GET", "/llm/claude/anthropic/v1/organizations/api_keys", 404},
		{"POST", "/llm/claude/anthropic/v1/messages/batches", 404},
		{"POST", "/llm/claude/anthropic/v1/files", 404},
		{"GET", "/llm/openrouter/openai/credits", 404},
		{"GET", "/llm/openrouter/openai/key", 404},
		{"POST", "/llm/openrouter/anthropic/v1/messages/../../v1/keys", 404},
		{"POST", "/llm/openrouter/anthropic/v1/messages/%2e%2e/keys", 404},
		{"POST", "/llm/openrouter/anthropic%2fv1/messages", 404},
		{"POST", "/llm/openrouter/anthropic//v1/messages", 404},
		{"GET", "/llm/claude/anthropic/v1/models/a/b/c", 404},
		{"GET", "/llm/claude/anthropic/v1/models/..", 404},
		{"POST", "/llm/gemini/gemini/v1beta/models/../x:generateContent", 404},
		{"POST", "/llm/gemini/gemini/v1beta/models/g@x:generateContent", 404},
		{"POST", "/llm/gemini/gemini/v1beta/models/g:batchGenerateContent", 404},
		{"POST", "/llm/gemini/gemini/v1beta/cachedContents", 404},
		{"POST", "/llm/claude/openai/chat/completions", 404},
		{"POST", "/llm/openai/openai/chat/completions", 404},
		{"POST", "/llm/169.254.169.254/anthropic/v1/messages", 404},
		{"POST", "/llm/", 404},
	} {
		w := httptest.NewRecorder()
		in, err := http.NewRequestWithContext(t.Context(), tt.method, "http://gateway"+tt.path, strings.NewReader(`{"model":"m"}`))
		if err != nil {
			t.Fatal(err)
		}
		in.Header.Set("X-Api-Key", ofAgent)
		f.Handler(f.agents).ServeHTTP(w, in)
		if w.Code != tt.want {
			t.Errorf("%s %s: %d %s, want %d", tt.method, tt.path, w.Code, w.Body, tt.want)
		}
		if reached := len(got) > 0; reached != (tt.want == 200) {
			t.Errorf("%s %s: reached the provider: %v", tt.method, tt.path, reached)
		}
		for len(got) > 0 {
			<-got
		}
	}
	if a := f.ask(t, "POST", messages, "", "Connection", "Upgrade", "Upgrade", "websocket"); a.status != 405 || len(got) > 0 {
		t.Errorf("a WebSocket: %+v", a)
	}
	if a := f.ask(t, "POST", messages, "{}", "Content-Encoding", "zstd"); a.status != 415 || len(got) > 0 {
		t.Errorf("a compressed body: %+v", a)
	}
	if a := f.ask(t, "POST", messages, "no json"); a.status != 400 || len(got) > 0 {
		t.Errorf("a body that is not JSON: %+v", a)
	}
	if a := f.ask(t, "POST", messages, `{"a":"`+strings.Repeat("x", MaxBodyBytes)+`"}`); a.status != 413 || len(got) > 0 {
		t.Errorf("a body that is too large: %d", a.status)
	}
}

// TestAnAgentWithoutBudgetIsToldSoBeforeACall, in the words of its client's
// dialect, and so is one that is none.
func TestAnAgentWithoutBudgetIsToldSoBeforeACall(t *testing.T) {
	base, got := recorder(t, says(200, nil, `{}`))
	f := open(t, Provider{Name: "openrouter", BaseURL: base}, Provider{Name: "gemini", BaseURL: base})
	for d, provider := range map[town.Dialect]string{
		town.DialectAnthropic: "openrouter", town.DialectOpenAI: "openrouter", town.DialectResponses: "openrouter", town.DialectGemini: "gemini",
	} {
		for capability, want := range map[string]struct {
			status int
			text   string
			words  words
		}{
			ofSpender:  {402, "limits.costUsd", words{"billing_error", "insufficient_quota", "FAILED_PRECONDITION"}},
			"unknown":  {401, "no key of a living agent", words{"authentication_error", "invalid_api_key", "UNAUTHENTICATED"}},
			ofNewAgent: {503, "not ready", words{"overloaded_error", "server_error", "UNAVAILABLE"}},
		} {
			a := f.ask(t, "POST", path(provider, d), `{"model":"m"}`, "X-Api-Key", capability)
			var shape struct {
				Type  string
				Error struct{ Type, Message, Status string }
			}
			if err := json.Unmarshal([]byte(a.body), &shape); err != nil {
				t.Fatalf("%s: %v", a.body, err)
			}
			word := want.words.openai
			switch d {
			case town.DialectResponses:
				if want.status == 402 {
					want.status = 400 // for Codex
				}
			case town.DialectAnthropic:
				word = want.words.anthropic
			case town.DialectGemini:
				word, shape.Error.Type = want.words.gemini, shape.Error.Status
			default:
			}
			if a.status != want.status || shape.Error.Type != word || !strings.Contains(shape.Error.Message, want.text) || (shape.Type == "error") != (d == town.DialectAnthropic) {
				t.Errorf("%s %s: %d %s", d, capability, a.status, a.body)
			}
			if retry := a.header.Get("X-Should-Retry"); (retry == "false") != (a.status < 500) {
				t.Errorf("%s %s: X-Should-Retry %q", d, capability, retry)
			}
		}
	}
	long := `{"model":"m","x":"` + strings.Repeat("x", 8<<20) + `"}`
	if a := f.ask(t, "POST", path("openrouter", town.DialectAnthropic), long, "X-Api-Key", ofSpender); a.status != 402 {
		t.Errorf("a long conversation: %+v", a)
	}
	f.agents.none(t)
	if len(got) > 0 {
		t.Error("a provider was asked")
	}
}

// The streams of each dialect as their providers write them, and what they use.
var streams = map[town.Dialect]struct {
	stream string
	want   town.UsageData
}{
	town.DialectAnthropic: {
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":7,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n" +
			"event: ping\ndata: {\"type\":\"ping\"}\n\n" +
			"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"usage\\\":{\\\"output_tokens\\\":999}\"}}\n\n" +
			"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n" +
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		town.UsageData{InputTokens: 25, OutputTokens: 15, CacheReadTokens: 5, CacheWriteTokens: 7},
	},
	town.DialectOpenAI: {
		": OPENROUTER PROCESSING\n\n" +
			"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\r\n\r\n" +
			"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":194,\"completion_tokens\":2,\"cost\":0.95,\"prompt_tokens_details\":{\"cached_tokens\":94,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\r\n\r\n" +
			"data: [DONE]\r\n\r\n",
		town.UsageData{InputTokens: 100, OutputTokens: 2, CacheReadTokens: 94, CostUSD: 0.95},
	},
	town.DialectResponses: {
		"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"error\":null,\"usage\":null}}\n\n" +
			"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"content\":[{\"text\":\"" + strings.Repeat("long", 50_000) + "\"}]}],\"usage\":{\"input_tokens\":328,\"input_tokens_details\":{\"cached_tokens\":28},\"output_tokens\":52,\"output_tokens_details\":{\"reasoning_tokens\":9}}}}\n\n",
		town.UsageData{InputTokens: 300, OutputTokens: 52, CacheReadTokens: 28},
	},
	town.DialectGemini: {
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}],\"usageMetadata\":{\"promptTokenCount\":40,\"totalTokenCount\":40}}\n\n" +
			"data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":40,\"candidatesTokenCount\":6,\"thoughtsTokenCount\":4,\"cachedContentTokenCount\":10,\"toolUsePromptTokenCount\":3}}\n\n",
		town.UsageData{InputTokens: 33, OutputTokens: 10, CacheReadTokens: 10},
	},
}

var providerOf = map[town.Dialect]string{
	town.DialectAnthropic: "claude", town.DialectOpenAI: "openai", town.DialectResponses: "openai", town.DialectGemini: "gemini",
}

// TestStreamsPassUntouchedAndAreCounted in every dialect, in pieces of any size.
func TestStreamsPassUntouchedAndAreCounted(t *testing.T) {
	for d, st := range streams {
		for _, size := range []int{1, 7, 1 << 20} {
			t.Run(fmt.Sprint(d, " by ", size), func(t *testing.T) {
				stream := st.stream
				if size == 1 {
					stream = strings.ReplaceAll(stream, strings.Repeat("long", 50_000), "long")
				}
				base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
					for rest := stream; rest != ""; {
						n := min(size, len(rest))
						io.WriteString(w, rest[:n])
						http.NewResponseController(w).Flush()
						rest = rest[n:]
					}
				})
				f := open(t, Provider{Name: providerOf[d], BaseURL: base})
				a := f.ask(t, "POST", path(providerOf[d], d), `{"model":"m","stream":true}`)
				if a.body != stream || a.status != 200 || a.err != nil || a.header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
					t.Errorf("%d %v, %d bytes, want %d", a.status, a.err, len(a.body), len(stream))
				}
				call := f.agents.called(t)
				if diff := cmp.Diff(st.want, call.Usage); diff != "" || call.Status != 200 || call.Kind != "" || call.Duration <= 0 {
					t.Errorf("call %+v (-want +got):\n%s", call, diff)
				}
			})
		}
	}
}

func TestWholeAnswersAreCounted(t *testing.T) {
	for d, body := range map[town.Dialect]string{
		town.DialectAnthropic: `{"type":"message","content":[{"text":"x"}],"usage":{"input_tokens":25,"cache_creation_input_tokens":7,"cache_read_input_tokens":5,"output_tokens":15}}`,
		town.DialectOpenAI:    "\n\n  " + `{"choices":[],"usage":{"prompt_tokens":194,"completion_tokens":2,"cost":0.95,"prompt_tokens_details":{"cached_tokens":94}}}`,
		town.DialectResponses: `{"id":"r","error":null,"usage":{"input_tokens":328,"input_tokens_details":{"cached_tokens":28},"output_tokens":52}}`,
		town.DialectGemini:    `[{"candidates":[]},{"usageMetadata":{"promptTokenCount":40,"candidatesTokenCount":6,"thoughtsTokenCount":4,"cachedContentTokenCount":10,"toolUsePromptTokenCount":3}}]`,
	} {
		base := upstream(t, says(200, nil, body))
		f := open(t, Provider{Name: providerOf[d], BaseURL: base})
		if a := f.ask(t, "POST", path(providerOf[d], d), `{"model":"m"}`); a.body != body || a.header.Get("Content-Length") != fmt.Sprint(len(body)) {
			t.Errorf("%s: %+v", d, a)
		}
		if diff := cmp.Diff(streams[d].want, f.agents.called(t).Usage); diff != "" {
			t.Errorf("%s: usage (-want +got):\n%s", d, diff)
		}
	}
}

func TestCostComesFromPricesWhereTheAnswerHasNone(t *testing.T) {
	base := upstream(t, says(200, nil, `{"usage":{"input_tokens":1000000,"cache_creation_input_tokens":1000000,"cache_read_input_tokens":1000000,"output_tokens":1000000}}`))
	f := openConfig(t, Config{
		Providers: []Provider{{Name: "claude", BaseURL: base, Models: map[string]string{Strong: "big"}}},
		Prices:    map[string]Price{"big": {Input: 3, Output: 15, CacheRead: 0.25}},
	})
	for model, want := range map[string]float64{"strong": 3 + 15 + 0.25 + 3, "big": 21.25, "unpriced": 0} {
		f.ask(t, "POST", messages, `{"model":"`+model+`"}`)
		if got := f.agents.called(t).Usage.CostUSD; got != want {
			t.Errorf("%s costs %v, want %v", model, got, want)
		}
	}
}

// TestAnAnswerThatBreaksOffBreaksOffForTheAgent, and what it told is counted.
func TestAnAnswerThatBreaksOffBreaksOffForTheAgent(t *testing.T) {
	half := streams[town.DialectAnthropic].stream[:300]
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, half)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	f := open(t, Provider{Name: "claude", BaseURL: base})
	if a := f.ask(t, "POST", messages, `{"model":"m","stream":true}`); a.body != half || a.err == nil {
		t.Errorf("%q, %v: the agent takes it for the end", a.body, a.err)
	}
	if call := f.agents.called(t); call.Kind != town.KindNetwork || call.Usage.InputTokens != 25 {
		t.Errorf("call %+v", call)
	}
}

func TestAProviderThatSaysNothingIsGivenUp(t *testing.T) {
	for _, begins := range []bool{false, true} {
		gone := make(chan struct{})
		base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			io.Copy(io.Discard, r.Body)
			if begins {
				io.WriteString(w, "data")
				http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		f := open(t, Provider{Name: "claude", BaseURL: base})
		f.stall = 50 * time.Millisecond
		a := f.ask(t, "POST", messages, `{"model":"m"}`)
		if begins && a.err == nil || !begins && a.status != 502 {
			t.Errorf("begins %v: %+v", begins, a)
		}
		if call := f.agents.called(t); call.Kind != town.KindNetwork || !strings.Contains(call.Message, "said nothing") {
			t.Errorf("call %+v", call)
		}
		<-gone
	}
}

// TestTheProviderIsLetGoWhenTheAgentLeaves, and what was told until then is counted.
func TestTheProviderIsLetGoWhenTheAgentLeaves(t *testing.T) {
	model, base := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Text: "wait", Hang: true}))
	_ = model
	f := open(t, Provider{Name: "claude", BaseURL: base})
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", f.url+messages, strings.NewReader(`{"model":"m","stream":true,"tools":[{"name":"t"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", ofAgent)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line == "" {
		t.Fatal(line, err)
	}
	leave()
	if call := f.agents.called(t); call.Kind != "" || call.Status != 200 || call.Usage.InputTokens != 100 {
		t.Errorf("call %+v", call)
	}
	if r := f.Stats().Requests; len(r) != 1 || r[0].Status != "canceled" {
		t.Errorf("counted %+v", r)
	}
}

// TestCloseEndsCallsUnderWay, also that of a client that does not read.
func TestCloseEndsCallsUnderWay(t *testing.T) {
	filled := make(chan struct{})
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		piece := bytes.Repeat([]byte("x"), 1<<16)
		for i := 0; ; i++ {
			if _, err := w.Write(piece); err != nil {
				return
			}
			if i == 10 {
				close(filled)
			}
		}
	})
	f := open(t, Provider{Name: "claude", BaseURL: base})
	req, err := http.NewRequestWithContext(t.Context(), "POST", f.url+messages, strings.NewReader(`{"model":"m"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", ofAgent)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-filled
	f.Close()
	if call := f.agents.called(t); call.Message != "the town is ending" {
		t.Errorf("call %+v", call)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the agent takes it for the end")
	}
	if a := f.ask(t, "POST", messages, `{"model":"m"}`); a.status != 503 {
		t.Errorf("after Close: %+v", a)
	}
}

// TestNobodySeesTheKeyOfAProviderThatEchoesIt, in headers, errors or streams.
func TestNobodySeesTheKeyOfAProviderThatEchoesIt(t *testing.T) {
	for _, status := range []int{200, 400, 401, 402, 403, 404, 429, 500, 302} {
		for _, pieces := range []int{1, 3, 100_000} {
			base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				dump, err := httputil.DumpRequest(r, true)
				if err != nil {
					t.Error(err)
				}
				body := fmt.Sprintf(`{"error":{"message":%q,"code":%q}}`, dump, r.Header.Get("X-Api-Key"))
				w.Header().Set("X-Echo", r.Header.Get("X-Api-Key"))
				w.Header().Set("Location", "/?key="+r.Header.Get("X-Api-Key"))
				w.Header().Set("Set-Cookie", "k="+r.Header.Get("X-Api-Key"))
				w.WriteHeader(status)
				for len(body) > 0 {
					n := min(pieces, len(body))
					io.WriteString(w, body[:n])
					http.NewResponseController(w).Flush()
					body = body[n:]
				}
			})
			f := open(t, Provider{Name: "claude", BaseURL: base})
			a := f.ask(t, "POST", messages, `{"model":"m"}`) // fails on the canary
			call := f.agents.called(t)
			if all := fmt.Sprintf("%+v %+v", call, f.Stats()); strings.Contains(all, canary) {
				t.Errorf("%d: the town sees the key: %s", status, all)
			}
			if a.header.Get("Set-Cookie") != "" || a.header.Get("Location") != "" {
				t.Errorf("%d: header %v", status, a.header)
			}
			if want := strings.Repeat("*", len(canary)); status == 200 && !strings.Contains(a.body, want) {
				t.Errorf("%d by %d: body %s", status, pieces, a.body)
			}
		}
	}
	for _, v := range []any{Secret(canary), &Provider{Key: canary}, Config{Providers: []Provider{{Key: canary, Token: canary}}}} {
		if s := fmt.Sprintf("%v %+v %#v", v, v, v); strings.Contains(s, canary) {
			t.Errorf("printed: %s", s)
		}
		if b, _ := json.Marshal(v); bytes.Contains(b, []byte(canary)) {
			t.Errorf("marshalled: %s", b)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	asked := atomic.Bool{}
	elsewhere := upstream(t, func(http.ResponseWriter, *http.Request) { asked.Store(true) })
	base := upstream(t, says(307, map[string]string{"Location": elsewhere + "/v1/messages"}, ""))
	f := open(t, Provider{Name: "claude", BaseURL: base})
	if a := f.ask(t, "POST", messages, `{"model":"m"}`); a.status != 502 || asked.Load() {
		t.Errorf("answer %+v, asked elsewhere: %v", a, asked.Load())
	}
}

func TestACompressedAnswerIsReadAllTheSame(t *testing.T) {
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if enc := r.Header.Get("Accept-Encoding"); enc != "" {
			t.Errorf("asked for %s", enc)
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, `{"usage":{"input_tokens":4}}`)
		z.Close()
	})
	f := open(t, Provider{Name: "claude", BaseURL: base})
	a := f.ask(t, "POST", messages, `{"model":"m"}`, "Accept-Encoding", "gzip")
	if call := f.agents.called(t); a.body != `{"usage":{"input_tokens":4}}` || call.Usage.InputTokens != 4 {
		t.Errorf("answer %+v, call %+v", a, call)
	}
}

// TestAHundredStreamsAtOnce are each their own.
func TestAHundredStreamsAtOnce(t *testing.T) {
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Model string }
		json.NewDecoder(r.Body).Decode(&in)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 20 {
			fmt.Fprintf(w, "data: {\"model\":%q,\"usage\":{\"output_tokens\":%d}}\n\n", in.Model, i+1)
			http.NewResponseController(w).Flush()
		}
	})
	f := open(t, Provider{Name: "claude", BaseURL: base})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			model := fmt.Sprint("m", i)
			a := f.ask(t, "POST", messages, `{"stream":true,"model":"`+model+`"}`)
			if n := strings.Count(a.body, `"model":"`+model+`"`); n != 20 {
				t.Errorf("%s: %d events", model, n)
			}
		})
	}
	wg.Wait()
	var total int64
	for range 100 {
		total += f.agents.called(t).Usage.OutputTokens
	}
	if total != 2000 {
		t.Errorf("counted %d, want 2000", total)
	}
	st := f.Stats()
	if len(st.Requests) != 100 && len(st.Requests) != 101 {
		t.Errorf("%d models in the counters", len(st.Requests))
	}
	f.ask(t, "POST", messages, `{"model":"one too many"}`)
	f.agents.called(t)
	st = f.Stats()
	if last := st.Requests[len(st.Requests)-1]; last.Model != otherModel {
		t.Errorf("the last model is %q: names have no bound", last.Model)
	}
}

func TestBothWireProtocolsOfTheScriptedServer(t *testing.T) {
	model, base := llmtest.Serve(t, llmtest.Steps(
		llmtest.Step{Text: "hi", Usage: llmtest.Usage{Input: 10, Output: 2, CacheRead: 3, CacheWrite: 4}},
		llmtest.Step{Text: "hi", Usage: llmtest.Usage{Input: 10, Output: 2, CacheRead: 3}},
	))
	f := open(t, Provider{Name: "compatible", BaseURL: base, Models: map[string]string{Default: "house-model"}})
	for _, d := range []town.Dialect{town.DialectAnthropic, town.DialectOpenAI} {
		at, ok := f.Endpoint([]town.Dialect{town.DialectGemini, d}, "")
		if !ok || at.Model != "house-model" || at.Dialect != d {
			t.Fatalf("Endpoint(%s) = %+v, %v", d, at, ok)
		}
		u, err := url.Parse(at.BaseURL)
		if err != nil {
			t.Fatal(err)
		}
		f.ask(t, "POST", u.Path+callPaths[d], `{"model":"`+at.Model+`","stream":true,"tools":[{"name":"t","function":{"name":"t"}}],"messages":[]}`)
		if call := f.agents.called(t); call.Usage.InputTokens != 10 || call.Usage.CacheReadTokens != 3 || call.Usage.OutputTokens != 2 {
			t.Errorf("%s: call %+v", d, call)
		}
	}
	if body := string(model.Requests()[1].Body); !strings.Contains(body, `"include_usage":true`) {
		t.Errorf("usage was not asked for: %s", body)
	}
}
