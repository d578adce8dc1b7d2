package main

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"townd/llm"
	"townd/town"
)

// modelsOf does what serve does with the variables of model providers.
func modelsOf(env map[string]string) (llm.Config, error) {
	all := map[string]string{"TOWND_HOME": "/h"}
	maps.Copy(all, env)
	c, err := parseSettings(nil, all)
	if err != nil {
		return llm.Config{}, err
	}
	return c.Models.config()
}

// TestProvidersAreChosenByWhatIsSet (L1, L2, L8, F27): in order, each with its own
// key and no other's.
func TestProvidersAreChosenByWhatIsSet(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want string // names with keys
	}{
		{"nothing", nil, ""},
		{"a key alone is of openrouter", map[string]string{"LLM_API_KEY": "k"}, "openrouter:k"},
		{"a key goes to the one that is named", map[string]string{"LLM_API_KEY": "k", "LLM_PROVIDER": "claude"}, "claude:k"},
		{
			"a key goes to nobody else",
			map[string]string{"LLM_API_KEY": "k", "LLM_PROVIDER": "claude", "OPENROUTER_API_KEY": "o"},
			"claude:k openrouter:o",
		},
		{
			"keys alone make the chain",
			map[string]string{"GEMINI_API_KEY": "g", "OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "c", "OPENROUTER_API_KEY": "o"},
			"openrouter:o claude:c openai:a gemini:g",
		},
		{
			"a chain of one's own", map[string]string{
				"LLM_PROVIDER": "claude", "ANTHROPIC_API_KEY": "c", "OPENROUTER_API_KEY": "o", "OPENAI_API_KEY": "a", "LLM_FALLBACK": "openai, claude",
			}, "claude:c openai:a",
		},
		{"no chain", map[string]string{"LLM_PROVIDER": "claude", "ANTHROPIC_API_KEY": "c", "OPENROUTER_API_KEY": "o", "LLM_FALLBACK": "none"}, "claude:c"},
		{"Cloudflare's gateway by token", map[string]string{"AI_GATEWAY_TOKEN": "t", "AI_GATEWAY_BASE_URL": "https://gateway.ai.cloudflare.com/v1/a/g"}, "ai-gateway:"},
		{"a server of one's own needs no key", map[string]string{"LLM_PROVIDER": "compatible", "LLM_BASE_URL": "http://localhost:11434/v1"}, "compatible:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := modelsOf(tt.env)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range c.Providers {
				got = append(got, fmt.Sprintf("%s:%s", p.Name, string(p.Key)))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("providers %q, want %q", s, tt.want)
			}
		})
	}
}

// TestEndpointsFollowTheSettings (L4 to L6, L9, F5).
func TestEndpointsFollowTheSettings(t *testing.T) {
	c, err := modelsOf(map[string]string{
		"LLM_API_KEY": "k", "ANTHROPIC_API_KEY": "c", "OPENAI_API_KEY": "o", "LLM_BASE_URL": "https://openrouter.ai/api/v1",
		"LLM_MODEL": "house/model,claude=claude-house", "LLM_MODEL_FAST": "house/fast", "LLM_PRICES": "house/model=3/15,house/fast=0.25/1.25/0.03/0.3",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Prices["house/fast"] != (llm.Price{Input: 0.25, Output: 1.25, CacheRead: 0.03, CacheWrite: 0.3}) || c.Prices["house/model"].Output != 15 {
		t.Errorf("prices %v", c.Prices)
	}
	c.URL = "http://127.0.0.1:8080/"
	g, err := llm.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for _, tt := range []struct {
		dialects []town.Dialect
		model    string
		want     town.ModelEndpoint
	}{
		{[]town.Dialect{town.DialectAnthropic}, "", town.ModelEndpoint{BaseURL: "http://127.0.0.1:8080/llm/openrouter/anthropic", Model: "house/model"}},
		{[]town.Dialect{town.DialectOpenAI, town.DialectAnthropic}, "fast", town.ModelEndpoint{BaseURL: "http://127.0.0.1:8080/llm/openrouter/openai", Model: "house/fast"}},
		{[]town.Dialect{town.DialectResponses}, "strong", town.ModelEndpoint{BaseURL: "http://127.0.0.1:8080/llm/openrouter/responses", Model: "house/model"}},
		{[]town.Dialect{town.DialectAnthropic}, "my/own", town.ModelEndpoint{BaseURL: "http://127.0.0.1:8080/llm/openrouter/anthropic", Model: "my/own"}},
	} {
		tt.want.Dialect = tt.dialects[0]
		if got, ok := g.Endpoint(tt.dialects, tt.model); !ok || got != tt.want {
			t.Errorf("Endpoint(%v, %q) = %+v, %v, want %+v", tt.dialects, tt.model, got, ok, tt.want)
		}
	}
	if at, ok := g.Endpoint([]town.Dialect{town.DialectGemini}, ""); ok {
		t.Errorf("Endpoint(gemini) = %+v", at)
	}
}

func TestSettingsOfModelsThatCannotBeUsedAreAllNamed(t *testing.T) {
	const secret = "do-not-print-me"
	for _, tt := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"unknown names", map[string]string{"LLM_PROVIDER": "closedai", "LLM_API_KEY": secret, "LLM_FALLBACK": "nobody"}, []string{
			"LLM_PROVIDER", `"closedai"`, "openrouter, ai-gateway, claude", "LLM_FALLBACK", `"nobody"`,
		}},
		{"no key", map[string]string{"LLM_PROVIDER": "claude", "LLM_FALLBACK": "openai,compatible"}, []string{"ANTHROPIC_API_KEY", "compatible can only", "OPENAI_API_KEY", "LLM_FALLBACK"}},
		{"a key that is none", map[string]string{"LLM_API_KEY": secret + " x"}, []string{"LLM_PROVIDER", "printable"}},
		{"a base URL for nobody", map[string]string{"ANTHROPIC_API_KEY": secret, "LLM_BASE_URL": "https://example.com", "LLM_MODEL": "m"}, []string{"LLM_BASE_URL", "LLM_MODEL"}},
		{"no TLS", map[string]string{"LLM_API_KEY": secret, "LLM_BASE_URL": "http://models.example.com/v1"}, []string{"models.example.com", "without TLS"}},
		{"a URL with a password", map[string]string{"LLM_API_KEY": "k", "LLM_BASE_URL": "https://u:" + secret + "@example.com"}, []string{"no user"}},
		{"a URL that is none", map[string]string{"LLM_API_KEY": "k", "LLM_BASE_URL": "https://u:" + secret + "@exa mple.com"}, []string{"cannot be parsed"}},
		{"no URL", map[string]string{"LLM_PROVIDER": "compatible"}, []string{"LLM_PROVIDER", "no base URL"}},
		{"no URL of the gateway", map[string]string{"AI_GATEWAY_TOKEN": secret}, []string{"AI_GATEWAY", "no base URL"}},
		{"prices and models", map[string]string{"LLM_PRICES": "m=1", "LLM_MODEL": "a,b", "LLM_MODEL_FAST": "=x=y"}, []string{"LLM_PRICES", "LLM_MODEL:", "LLM_MODEL_FAST"}},
		{"models for nobody", map[string]string{"LLM_API_KEY": "k", "LLM_MODEL_STRONG": "closedai=x"}, []string{"LLM_MODEL_STRONG", `"closedai"`}},
		{"dialects", map[string]string{"LLM_PROVIDER": "compatible", "LLM_BASE_URL": "http://localhost/v1", "LLM_DIALECTS": "latin"}, []string{`"latin"`}},
		{"dialects for nobody", map[string]string{"LLM_API_KEY": "k", "LLM_DIALECTS": "openai"}, []string{"LLM_DIALECTS"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := modelsOf(tt.env)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error %q shows a secret", err)
			}
		})
	}
	if _, err := modelsOf(map[string]string{"LLM_API_KEY": "k", "LLM_BASE_URL": "http://litellm:4000/v1", "LLM_PROVIDER": "compatible", "LLM_HTTP_HOSTS": "litellm"}); err != nil {
		t.Errorf("a host that was named: %v", err)
	}
}
