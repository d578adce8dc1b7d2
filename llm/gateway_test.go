package llm

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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

