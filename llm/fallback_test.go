package llm

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"townd/town"
)

const good = `{"usage":{"input_tokens":1,"output_tokens":1}}`

// deadURL is where nobody listens.
func deadURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// TestFaultsAreToldApart (C25, F22): by status and structure, and which of them
// another provider makes good (L8).
func TestFaultsAreToldApart(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		kind   town.ErrorKind
		agent  int // the status that the agent gets when there is no other provider
	}{
		{"Anthropic, key", 401, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, town.KindAuth, 401},
		{"Anthropic, permission", 403, `{"type":"error","error":{"type":"permission_error","message":"no"}}`, town.KindAuth, 403},
		{"Anthropic, no credit", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API"}}`, town.KindBilling, 400},
		{"Anthropic, billing", 402, `{"type":"error","error":{"type":"billing_error","message":"pay"}}`, town.KindBilling, 402},
		{"Anthropic, rate", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}`, town.KindRateLimit, 429},
		{"Anthropic, overloaded", 529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, town.KindOverloaded, 529},
		{"Anthropic, context", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 213462 tokens > 200000 maximum"}}`, town.KindContextFull, 400},
		{"Anthropic, size", 413, `{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}`, town.KindContextFull, 413},
		{"Anthropic, model", 404, `{"type":"error","error":{"type":"not_found_error","message":"model: x"}}`, town.KindUnknown, 404},
		{"Anthropic, request", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: required"}}`, town.KindUnknown, 400},
		{"OpenAI, key", 401, `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}`, town.KindAuth, 401},
		{"OpenAI, quota", 429, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`, town.KindBilling, 429},
		{"OpenAI, rate", 429, `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`, town.KindRateLimit, 429},
		{"OpenAI, context", 400, `{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}`, town.KindContextFull, 400},
		{"OpenAI, policy", 400, `{"error":{"message":"no","type":"invalid_request_error","code":"content_policy_violation"}}`, town.KindRefused, 400},
		{"OpenAI, server", 500, `{"error":{"message":"oops","type":"server_error","code":null}}`, town.KindOverloaded, 500},
		{"OpenRouter, credits", 402, `{"error":{"code":402,"message":"Insufficient credits"}}`, town.KindBilling, 402},
		{"OpenRouter, moderation", 403, `{"error":{"code":403,"message":"flagged","metadata":{"reasons":["violence"],"flagged_input":"x"}}}`, town.KindRefused, 403},
		{"OpenRouter, timeout", 408, `{"error":{"code":408,"message":"timeout"}}`, town.KindOverloaded, 408},
		{"Gemini, key", 400, `{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}`, town.KindAuth, 401},
		{"Gemini, rate", 429, `{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"36s"}]}}`, town.KindRateLimit, 429},
		{"Gemini, permission", 403, `{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED"}}`, town.KindAuth, 403},
		{"no JSON", 502, `<html>Bad gateway</html>`, town.KindOverloaded, 502},
		{"nothing", 503, ``, town.KindOverloaded, 503},
		{"a redirect", 301, ``, town.KindNetwork, 502},
		{"a stream's error", 200, `{"error":{"code":429,"message":"slow"}}`, town.KindRateLimit, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := upstream(t, says(tt.status, nil, tt.body))
			alone := open(t, Provider{Name: "claude", BaseURL: base})
			a := alone.ask(t, "POST", messages, `{"model":"m"}`)
			call := alone.agents.called(t)
			if call.Kind != tt.kind || a.status != tt.agent {
				t.Errorf("the agent got %d, the town kind %q; want %d, %q", a.status, call.Kind, tt.agent, tt.kind)
			}
			if passed := a.body == tt.body; passed != (tt.kind != town.KindAuth && tt.kind != town.KindNetwork) {
				t.Errorf("body %s", a.body)
			}
			if tt.kind == town.KindAuth && !strings.Contains(a.body, "claude does not accept the town's credential") {
				t.Errorf("body %s", a.body)
			}
			// With another provider:
			two := open(t, Provider{Name: "claude", BaseURL: base}, Provider{Name: "openrouter", BaseURL: upstream(t, says(200, nil, good))})
			b := two.ask(t, "POST", messages, `{"model":"m"}`)
			madeGood := b.status == 200 && b.body == good
			if want := another(tt.kind) && tt.status != 200; madeGood != want {
				t.Errorf("made good by another provider: %v, want %v", madeGood, want)
			}
			call = two.agents.called(t)
			if madeGood && (call.Provider != "openrouter" || call.Kind != "" || call.Usage.InputTokens != 1) {
				t.Errorf("call %+v", call)
			}
			two.agents.none(t)
		})
	}
}

// TestModelsAreMappedOnTheWay (L4 to L6, L9): tiers and defaults to the other
// provider's own, what it does not know to its default.
func TestModelsAreMappedOnTheWay(t *testing.T) {
	base, got := recorder(t, says(200, nil, good))
	f := open(t,
		Provider{Name: "openrouter", BaseURL: deadURL(t), Models: map[string]string{Fast: "or/fast"}},
		Provider{Name: "openai", BaseURL: base},
		Provider{Name: "gemini", BaseURL: base, Models: map[string]string{Default: "g-default", Strong: "g-strong"}},
		Provider{Name: "ai-gateway", BaseURL: base + "/v1/a/g"},
		Provider{Name: "claude", BaseURL: base, Models: map[string]string{Fast: "c-fast", Strong: "c-strong"}},
	)
	for _, tt := range []struct{ provider, asked, want, by string }{
		{"openrouter", "fast", "claude-sonnet-4", "ai-gateway"},
		{"openrouter", "or/fast", "claude-sonnet-4", "ai-gateway"},
		{"openrouter", "anthropic/claude-sonnet-4", "claude-sonnet-4", "ai-gateway"},
		{"openrouter", "some/other", "claude-sonnet-4", "ai-gateway"},
		{"claude", "fast", "c-fast", "claude"},
		{"claude", "standard", "claude-sonnet-4-20250514", "claude"},
		{"claude", "strong", "c-strong", "claude"},
		{"claude", "default", "claude-sonnet-4-20250514", "claude"},
		{"claude", "claude-anything", "claude-anything", "claude"},
	} {
		a := f.ask(t, "POST", path(tt.provider, town.DialectAnthropic), `{"max_tokens":1,"model":"`+tt.asked+`","messages":[]}`)
		call := f.agents.called(t)
		if a.status != 200 || call.Provider != tt.by || call.Model != tt.want {
			t.Errorf("%s at %s: %d, by %s as %s", tt.asked, tt.provider, a.status, call.Provider, call.Model)
		}
		if s := <-got; s.body != `{"max_tokens":1,"model":"`+tt.want+`","messages":[]}` {
			t.Errorf("%s at %s: body %s", tt.asked, tt.provider, s.body)
		}
	}
	// Gemini's model is in the path. Without a default of its own a provider is no stand-in.
	f.ask(t, "POST", "/llm/gemini/gemini/v1beta/models/strong:streamGenerateContent", `{}`)
	if s := <-got; s.uri != "/v1beta/models/g-strong:streamGenerateContent" || s.body != "{}" {
		t.Errorf("Gemini: %s %s", s.uri, s.body)
	}
	f.agents.called(t)
	if a := f.ask(t, "POST", path("openai", town.DialectOpenAI), `{"model":"fast"}`); a.status != 400 || !strings.Contains(a.body, "no model for fast") {
		t.Errorf("a tier that nobody has set: %+v", a)
	}
}

// TestEachProviderIsAskedOnce, and the failure that leaves most hope is shown.
func TestEachProviderIsAskedOnce(t *testing.T) {
	asked := make(chan string, 10)
	provider := func(name string, status int) Provider {
		return Provider{Name: name, Models: map[string]string{Default: "m"}, BaseURL: upstream(t, func(w http.ResponseWriter, r *http.Request) {
			asked <- name
			says(status, nil, `{"error":{"message":"of `+name+`"}}`)(w, r)
		})}
	}
	f := open(t, provider("claude", 401), provider("openrouter", 503), provider("compatible", 402))
	a := f.ask(t, "POST", messages, `{"model":"m"}`)
	if got := len(asked); a.status != 503 || !strings.Contains(a.body, "of openrouter") || got != 3 {
		t.Errorf("%d providers were asked, answer %+v", got, a)
	}
	if call := f.agents.called(t); call.Provider != "openrouter" || call.Kind != town.KindOverloaded {
		t.Errorf("call %+v", call)
	}
	f.agents.none(t)
	want := []Requests{
		{"claude", "m", "auth", 1}, {"compatible", "m", "billing", 1}, {"openrouter", "m", "overloaded", 1},
	}
	if diff := cmp.Diff(want, f.Stats().Requests); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// TestARefusedKeyMarksItsProviderUntilItWorks again (C25): it is asked last, but
// asked.
func TestARefusedKeyMarksItsProviderUntilItWorks(t *testing.T) {
	status := 401
	asked := 0
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		says(status, nil, good)(w, r)
	})
	other := upstream(t, says(200, nil, good))
	f := open(t, Provider{Name: "claude", BaseURL: base}, Provider{Name: "openrouter", BaseURL: other})
	for range 3 {
		if a := f.ask(t, "POST", messages, `{"model":"m"}`); a.status != 200 {
			t.Fatalf("answer %+v", a)
		}
	}
	h := f.Stats().Providers
	if asked != 1 || h[0].Kind != town.KindAuth || h[0].Since.IsZero() || !strings.Contains(h[0].Message, "credential") || h[1].Kind != "" {
		t.Errorf("asked %d times, health %+v", asked, h)
	}
	alone := open(t, Provider{Name: "claude", BaseURL: base})
	asked = 0
	for range 2 {
		alone.ask(t, "POST", messages, `{"model":"m"}`)
	}
	if asked != 2 || alone.Stats().Providers[0].Kind != town.KindAuth {
		t.Errorf("with nobody else, asked %d times, want 2", asked)
	}
	status = 200
	if a := alone.ask(t, "POST", messages, `{"model":"m"}`); a.status != 200 || alone.Stats().Providers[0].Kind != "" {
		t.Errorf("after it was renewed: %+v, %+v", a, alone.Stats().Providers[0])
	}
	if n := strings.Count(alone.logs.String(), "refuses the town's account"); n != 1 {
		t.Errorf("the log says it %d times, want once", n)
	}
}

// TestAProviderKnownToBeUsedUpIsNotAsked (C4, C6, F3).
func TestAProviderKnownToBeUsedUpIsNotAsked(t *testing.T) {
	asked := 0
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		says(429, map[string]string{"Retry-After": "600", "Anthropic-Ratelimit-Requests-Limit": "50", "Anthropic-Ratelimit-Requests-Remaining": "0"}, `{"error":{}}`)(w, r)
	})
	f := open(t, Provider{Name: "claude", BaseURL: base})
	for i := range 3 {
		a := f.ask(t, "POST", messages, `{"model":"m"}`)
		call := f.agents.called(t)
		if a.status != 429 || call.Kind != town.KindRateLimit || call.Delay < 599*time.Second || asked != 1 {
			t.Errorf("%d: answer %+v, call %+v, asked %d times", i, a, call, asked)
		}
		if i > 0 && (a.header.Get("Retry-After") < "599" || !strings.Contains(a.body, "rate_limit_error")) {
			t.Errorf("%d: %+v", i, a)
		}
	}
	f.ask(t, "POST", messages, `{"model":"of another limit"}`)
	if asked != 2 {
		t.Error("another model was not asked for")
	}
	if r := f.Stats().Requests; len(r) != 2 || r[0].Status != "rate_limited" || r[0].Count != 3 {
		t.Errorf("counted %+v", r)
	}
}

// TestAProviderWithNothingLeftRestsWhileAnotherCanServe: it says so before it refuses.
func TestAProviderWithNothingLeftRestsWhileAnotherCanServe(t *testing.T) {
	header := map[string]string{
		"X-Ratelimit-Limit-Requests": "100", "X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "6m0s",
		"X-Ratelimit-Limit-Tokens": "1000", "X-Ratelimit-Remaining-Tokens": "900", "X-Ratelimit-Reset-Tokens": "1s",
	}
	first, second := upstream(t, says(200, header, good)), upstream(t, says(200, nil, good))
	f := open(t, Provider{Name: "openrouter", BaseURL: first}, Provider{Name: "claude", BaseURL: second})
	var by []string
	for range 2 {
		f.ask(t, "POST", path("openrouter", town.DialectAnthropic), `{"model":"m"}`)
		by = append(by, f.agents.called(t).Provider)
	}
	if diff := cmp.Diff([]string{"openrouter", "claude"}, by); diff != "" {
		t.Error(diff)
	}
	if q := f.Stats().Providers[0].Quota; q == nil || q.Name != "requests" || q.Percent != 0 || q.Provider != "openrouter" || time.Until(q.ResetAt) < 5*time.Minute {
		t.Errorf("quota %+v", q)
	}
	alone := open(t, Provider{Name: "openrouter", BaseURL: first})
	for range 2 {
		if a := alone.ask(t, "POST", path("openrouter", town.DialectAnthropic), `{"model":"m"}`); a.status != 200 {
			t.Errorf("with nobody else: %+v", a)
		}
	}
}

// TestOneCallTriesWhetherAProviderIsBack while the others still wait; and who
// says nothing of when to come back is asked less and less.
func TestOneCallTriesWhetherAProviderIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(slog.New(slog.DiscardHandler))
		check := func(want bool) verdict {
			t.Helper()
			v := q.check("p", "m")
			if v.open != want {
				t.Fatalf("open %v, want %v: %+v", v.open, want, v)
			}
			return v
		}
		check(true)
		q.failed("p", "m", town.KindRateLimit, "", 20*time.Second)
		v := check(false)
		if v.soft || v.wait < 20*time.Second || v.wait > 22*time.Second+time.Millisecond {
			t.Errorf("verdict %+v", v)
		}
		time.Sleep(v.wait)
		check(true)
		if v := check(false); v.wait <= 0 || v.wait > probeTime {
			t.Errorf("beside the one that tries: %+v", v)
		}
		time.Sleep(probeTime) // it never said how it went
		check(true)
		last := time.Duration(0)
		for i := range 10 {
			q.failed("p", "m", town.KindRateLimit, "", 0)
			v := check(false)
			if want := min(firstWait<<(i+1), longestWait); v.wait < want || v.wait > want+want/10+time.Millisecond {
				t.Errorf("after %d refusals: %v, want %v", i+1, v.wait, want)
			}
			last = v.wait
		}
		q.worked("p", "m")
		check(true)
		q.failed("p", "m", town.KindRateLimit, "", 24*time.Hour)
		if v := check(false); v.wait < longest*9/10 || v.wait > longest || last > longest {
			t.Errorf("asked to wait a day: %v", v.wait)
		}
		if v := q.check("p", "other"); !v.open {
			t.Errorf("another model: %+v", v)
		}
		q.failed("p", "other", town.KindAuth, "", 0)
		if v := q.check("p", "third"); v.open || !v.soft {
			t.Errorf("with a refused key: %+v", v)
		}
		if v := check(false); v.soft {
			t.Errorf("used up and refused: %+v", v)
		}
		for i := range 2 * maxGates {
			q.failed("p", fmt.Sprint(i), town.KindRateLimit, "", time.Hour)
		}
		if len(q.gates) > maxGates {
			t.Errorf("%d gates are kept", len(q.gates))
		}
	})
}

func TestLimitsAreReadInTheFormsOfAllProviders(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		header map[string]string
		body   told
		want   time.Duration
	}{
		{map[string]string{"Retry-After": "7"}, told{}, 7 * time.Second},
		{map[string]string{"Retry-After": "Sun, 01 Mar 2026 12:01:00 GMT"}, told{}, time.Minute},
		{map[string]string{"Retry-After": "Sun, 01 Mar 2020 12:01:00 GMT"}, told{}, 0},
		{map[string]string{"Retry-After-Ms": "1500", "Retry-After": "2"}, told{}, 1500 * time.Millisecond},
		{map[string]string{"Retry-After": "-3"}, told{}, 0},
		{map[string]string{"Retry-After": "1e300"}, told{}, 0},
		{map[string]string{"Retry-After": "soon"}, told{}, 0},
		{nil, told{retryDelay: "36.5s"}, 36500 * time.Millisecond},
		{map[string]string{"Anthropic-Ratelimit-Tokens-Limit": "10", "Anthropic-Ratelimit-Tokens-Remaining": "0", "Anthropic-Ratelimit-Tokens-Reset": "2026-03-01T12:00:30Z"}, told{}, 30 * time.Second},
		{map[string]string{"X-Ratelimit-Limit": "10", "X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "1772366460000"}, told{}, time.Minute},
		{map[string]string{"X-Ratelimit-Limit": "10", "X-Ratelimit-Remaining": "5", "X-Ratelimit-Reset": "1772366460000"}, told{}, 0},
		{map[string]string{"X-Ratelimit-Limit-Requests": "10", "X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "20ms"}, told{}, 20 * time.Millisecond},
		{map[string]string{"X-Ratelimit-Limit": "x", "X-Ratelimit-Remaining": "NaN", "X-Ratelimit-Reset": "?"}, told{}, 0},
	} {
		h := make(http.Header)
		for name, value := range tt.header {
			h.Set(name, value)
		}
		if got := readDelay(h, &tt.body, now); got != tt.want {
			t.Errorf("%v %v: %v, want %v", tt.header, tt.body.retryDelay, got, tt.want)
		}
	}
}
