package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"townd/llm"
	"townd/town"
)

// modelSettings is what people say of model providers. Names of models are by
// provider, those without one under "".
type modelSettings struct {
	Provider string            // the preferred one
	APIKey   string            // of Provider alone
	BaseURL  string            // of Provider alone
	Fallback []string          // who stands in for it, in this order; "none" for nobody
	Dialects []string          // that "compatible" speaks; all when empty
	Default  map[string]string // models
	Fast     map[string]string
	Standard map[string]string
	Strong   map[string]string
	Prices   map[string]llm.Price
	HTTP     []string // hosts that keys may be sent to without TLS

	QuotaProbe string // command that measures what the gateway does not see

	OpenRouterKey, GatewayKey, GatewayToken, GatewayURL, AnthropicKey, OpenAIKey, GeminiKey string
}

func (m *modelSettings) settings() []setting {
	return []setting{
		{"llm-provider", "LLM_PROVIDER", "preferred model provider, of " + strings.Join(llm.Known(), ", ") + " (default openrouter with LLM_API_KEY, else the first one that has a key)", text(&m.Provider, "")},
		{"", "LLM_API_KEY", "key of that provider; it goes to no other", text(&m.APIKey, "")},
		{"llm-base-url", "LLM_BASE_URL", "base URL of that provider, where it is not the known one", text(&m.BaseURL, "")},
		{"llm-model", "LLM_MODEL", "model of agents that name none: MODEL for the preferred provider, PROVIDER=MODEL for another, several with commas", named(&m.Default)},
		{"llm-model-fast", "LLM_MODEL_FAST", `model of agents that ask for "fast", like LLM_MODEL, which it is when unset`, named(&m.Fast)},
		{"llm-model-standard", "LLM_MODEL_STANDARD", `model of agents that ask for "standard"`, named(&m.Standard)},
		{"llm-model-strong", "LLM_MODEL_STRONG", `model of agents that ask for "strong"`, named(&m.Strong)},
		{"llm-fallback", "LLM_FALLBACK", "providers that stand in for the preferred one, in this order, or none (default: " + strings.Join(chain, ", ") + ", as far as they have keys)", list(&m.Fallback, "")},
		{"llm-dialects", "LLM_DIALECTS", "what the provider compatible speaks, of openai, responses, anthropic (default all)", list(&m.Dialects, "")},
		{"llm-prices", "LLM_PRICES", "USD for a million tokens, as MODEL=INPUT/OUTPUT or MODEL=INPUT/OUTPUT/CACHEREAD/CACHEWRITE, several with commas", prices(&m.Prices)},
		{"llm-http-hosts", "LLM_HTTP_HOSTS", "hosts that keys may be sent to by http, without TLS, besides this machine", list(&m.HTTP, "")},
		{"quota-probe", "TOWND_QUOTA_PROBE", "shell command, run each minute, that tells as JSON how many percent of a quota are left which the town does not see by itself", text(&m.QuotaProbe, "")},
		{"", "OPENROUTER_API_KEY", "key of openrouter", text(&m.OpenRouterKey, "")},
		{"", "ANTHROPIC_API_KEY", "key of claude", text(&m.AnthropicKey, "")},
		{"", "OPENAI_API_KEY", "key of openai", text(&m.OpenAIKey, "")},
		{"", "GEMINI_API_KEY", "key of gemini", text(&m.GeminiKey, "")},
		{"", "AI_GATEWAY_API_KEY", "key of the provider behind ai-gateway, unless Cloudflare keeps it", text(&m.GatewayKey, "")},
		{"", "AI_GATEWAY_TOKEN", "Cloudflare token that opens ai-gateway itself", text(&m.GatewayToken, "")},
		{"ai-gateway-base-url", "AI_GATEWAY_BASE_URL", "base URL of ai-gateway: https://gateway.ai.cloudflare.com/v1/ACCOUNT/GATEWAY", text(&m.GatewayURL, "")},
	}
}

// chain is who stands in for whom when nobody says otherwise.
var chain = []string{"openrouter", "ai-gateway", "claude", "openai", "gemini"}

// keyVariables are the variables that give each provider its key.
var keyVariables = map[string]string{
	"openrouter": "OPENROUTER_API_KEY", "ai-gateway": "AI_GATEWAY_API_KEY or AI_GATEWAY_TOKEN", "claude": "ANTHROPIC_API_KEY",
	"openai": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY",
}

// config returns what the gateway needs, or everything that is wrong.
func (m *modelSettings) config() (llm.Config, error) {
	c := llm.Config{Prices: m.Prices, HTTPHosts: m.HTTP}
	preferred, names, err := m.order()
	if err != nil {
		return c, err
	}
	errs := m.unused(names)
	for _, name := range names {
		p := m.provider(name, name == preferred)
		variable := keyVariables[name]
		if name == preferred {
			variable = "LLM_PROVIDER"
		}
		one := llm.Config{Providers: []llm.Provider{p}, HTTPHosts: m.HTTP}
		if err := one.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", variable, err))
		}
		c.Providers = append(c.Providers, p)
	}
	return c, errors.Join(errs...)
}

// order returns the preferred provider, which may be none, and all in order.
func (m *modelSettings) order() (preferred string, names []string, err error) {
	var errs []error
	known := func(variable, name string) bool {
		ok := slices.Contains(llm.Known(), name)
		if !ok {
			errs = append(errs, fmt.Errorf("%s: must be one of %s, not %q", variable, strings.Join(llm.Known(), ", "), name))
		}
		return ok
	}
	if preferred = m.Provider; preferred == "" && m.APIKey != "" {
		preferred = chain[0]
	}
	if preferred != "" && known("LLM_PROVIDER", preferred) {
		names = []string{preferred}
		if p := m.provider(preferred, true); p.Key == "" && p.Token == "" && preferred != "compatible" {
			errs = append(errs, fmt.Errorf("LLM_PROVIDER: %s has no key: set LLM_API_KEY or %s", preferred, keyVariables[preferred]))
		}
	}
	stand := m.Fallback
	if len(stand) == 0 {
		for _, name := range chain {
			if p := m.provider(name, false); p.Key != "" || p.Token != "" {
				stand = append(stand, name)
			}
		}
	}
	for _, name := range stand {
		switch p := m.provider(name, false); {
		case name == "none" && len(stand) == 1, slices.Contains(names, name), !known("LLM_FALLBACK", name):
		case name == "compatible":
			errs = append(errs, errors.New("LLM_FALLBACK: compatible can only be the preferred provider, LLM_PROVIDER"))
		case p.Key == "" && p.Token == "":
			errs = append(errs, fmt.Errorf("LLM_FALLBACK: %s has no key of its own: set %s", name, keyVariables[name]))
		default:
			names = append(names, name)
		}
	}
	return preferred, names, errors.Join(errs...)
}

// provider returns the settings of a provider.
func (m *modelSettings) provider(name string, preferred bool) llm.Provider {
	p := llm.Provider{Name: name, Models: make(map[string]string)}
	switch name {
	case "openrouter":
		p.Key = llm.Secret(m.OpenRouterKey)
	case "ai-gateway":
		p.Key, p.Token, p.BaseURL = llm.Secret(m.GatewayKey), llm.Secret(m.GatewayToken), m.GatewayURL
	case "claude":
		p.Key = llm.Secret(m.AnthropicKey)
	case "openai":
		p.Key = llm.Secret(m.OpenAIKey)
	case "gemini":
		p.Key = llm.Secret(m.GeminiKey)
	case "compatible":
		for _, d := range m.Dialects {
			p.Dialects = append(p.Dialects, town.Dialect(d))
		}
	}
	for tier, models := range map[string]map[string]string{
		llm.Default: m.Default, llm.Fast: m.Fast, llm.Standard: m.Standard, llm.Strong: m.Strong,
	} {
		if model := models[name]; model != "" {
			p.Models[tier] = model
		} else if model := models[""]; model != "" && preferred {
			p.Models[tier] = model
		}
	}
	if preferred && m.APIKey != "" {
		p.Key = llm.Secret(m.APIKey)
	}
	if preferred && m.BaseURL != "" {
		p.BaseURL = m.BaseURL
	}
	return p
}

// unused returns what was said for nobody: a base URL that the key of another
// provider might go to, and models of providers that are not there.
func (m *modelSettings) unused(names []string) []error {
	var errs []error
	preferred := m.Provider != "" || m.APIKey != ""
	if m.BaseURL != "" && !preferred {
		errs = append(errs, errors.New("LLM_BASE_URL: is nobody's: set LLM_PROVIDER, too"))
	}
	for _, s := range []struct {
		variable string
		models   map[string]string
	}{{"LLM_MODEL", m.Default}, {"LLM_MODEL_FAST", m.Fast}, {"LLM_MODEL_STANDARD", m.Standard}, {"LLM_MODEL_STRONG", m.Strong}} {
		for _, name := range slices.Sorted(maps.Keys(s.models)) {
			switch {
			case name == "" && !preferred:
				errs = append(errs, fmt.Errorf("%s: is nobody's: set LLM_PROVIDER, too, or write PROVIDER=MODEL", s.variable))
			case name != "" && !slices.Contains(llm.Known(), name):
				errs = append(errs, fmt.Errorf("%s: there is no provider %q; there are %s", s.variable, name, strings.Join(llm.Known(), ", ")))
			}
		}
	}
	if len(m.Dialects) > 0 && !slices.Contains(names, "compatible") {
		errs = append(errs, errors.New("LLM_DIALECTS: is for the provider compatible alone"))
	}
	return errs
}

// named is a list of MODEL and PROVIDER=MODEL.
func named(p *map[string]string) pflag.Value {
	return &value[map[string]string]{
		p, "models",
		func(s string) (map[string]string, error) {
			models := make(map[string]string)
			for item := range strings.SplitSeq(s, ",") {
				name, model, ok := strings.Cut(strings.TrimSpace(item), "=")
				if !ok {
					name, model = "", name
				}
				if _, twice := models[name]; model == "" || twice || strings.ContainsAny(model, " \t=") {
					return nil, fmt.Errorf("must be MODEL or PROVIDER=MODEL, each provider once, not %q", item)
				}
				models[name] = model
			}
			return models, nil
		},
		func(models map[string]string) string {
			var items []string
			for _, name := range slices.Sorted(maps.Keys(models)) {
				items = append(items, strings.TrimPrefix(name+"="+models[name], "="))
			}
			return strings.Join(items, ",")
		},
	}
}

// prices is a list of MODEL=INPUT/OUTPUT.
func prices(p *map[string]llm.Price) pflag.Value {
	return &value[map[string]llm.Price]{
		p, "prices",
		func(s string) (map[string]llm.Price, error) {
			all := make(map[string]llm.Price)
			for item := range strings.SplitSeq(s, ",") {
				model, numbers, _ := strings.Cut(strings.TrimSpace(item), "=")
				price, ok := parsePrice(numbers)
				if model == "" || !ok {
					return nil, fmt.Errorf("must be MODEL=INPUT/OUTPUT in USD, as small=0.25/1.25, not %q", item)
				}
				all[model] = price
			}
			return all, nil
		},
		func(all map[string]llm.Price) string {
			var items []string
			for _, model := range slices.Sorted(maps.Keys(all)) {
				price := all[model]
				items = append(items, fmt.Sprintf("%s=%v/%v/%v/%v", model, price.Input, price.Output, price.CacheRead, price.CacheWrite))
			}
			return strings.Join(items, ",")
		},
	}
}

// maxPrice is more than any model costs, in USD for a million tokens.
const maxPrice = 1e5

func parsePrice(s string) (llm.Price, bool) {
	var n [4]float64
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > len(n) {
		return llm.Price{}, false
	}
	for i, part := range parts {
		v, err := strconv.ParseFloat(part, 64)
		if err != nil || !(v >= 0 && v <= maxPrice) {
			return llm.Price{}, false
		}
		n[i] = v
	}
	return llm.Price{Input: n[0], Output: n[1], CacheRead: n[2], CacheWrite: n[3]}, true
}
