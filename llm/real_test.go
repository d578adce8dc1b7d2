package llm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"townd/llm/llmtest"
	"townd/town"
)

// realCLI is how a real CLI is pointed at the gateway.
type realCLI struct {
	name    string
	dialect town.Dialect
	args    []string
	env     func(base, key, home string) []string
	files   map[string]string // below its home
	slow    bool              // to start, where it finds no internet
}

// opencode is also Kilo's engine.
func opencode(base, key, _ string) []string {
	b, err := json.Marshal(map[string]any{"provider": map[string]any{"house": map[string]any{
		"npm": "@ai-sdk/openai-compatible", "name": "House", "options": map[string]any{"baseURL": base, "apiKey": key},
		"models": map[string]any{"m": map[string]any{"name": "M", "tool_call": true, "limit": map[string]any{"context": 100000, "output": 8000}}},
	}}})
	if err != nil {
		panic(err) // of strings
	}
	return []string{"OPENCODE_CONFIG_CONTENT=" + string(b), "OPENCODE_DISABLE_MODELS_FETCH=1"}
}

var realCLIs = []realCLI{
	{
		name: "claude", dialect: town.DialectAnthropic,
		args: []string{"-p", "say hi", "--output-format", "stream-json", "--verbose", "--model", "m"},
		env: func(base, key, home string) []string {
			return []string{"ANTHROPIC_BASE_URL=" + base, "ANTHROPIC_API_KEY=" + key, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1"}
		},
	},
	{
		name: "codex", dialect: town.DialectResponses,
		args: []string{
			"exec", "--json", "--skip-git-repo-check", "-m", "m", "-c", `model_provider="house"`, "-c", "BASE", "say hi",
		},
		env: func(base, key, home string) []string { return []string{"HOUSE_KEY=" + key, "CODEX_HOME=" + home} },
	},
	{name: "opencode", dialect: town.DialectOpenAI, args: []string{"run", "--format", "json", "--model", "house/m", "say hi"}, env: opencode, slow: true},
	{
		name: "gemini", dialect: town.DialectGemini,
		args: []string{"-p", "say hi", "--output-format", "stream-json", "--approval-mode", "yolo", "--skip-trust", "-m", "m"},
		env: func(base, key, home string) []string {
			return []string{"GOOGLE_GEMINI_BASE_URL=" + base, "GEMINI_API_KEY=" + key, "GEMINI_CLI_HOME=" + home}
		},
		files: map[string]string{".gemini/settings.json": `{"security":{"auth":{"selectedType":"gemini-api-key"}},"privacy":{"usageStatisticsEnabled":false}}`},
		slow:  true,
	},
}

// run runs the CLI to its end and returns what it printed.
func (c *realCLI) run(t *testing.T, base, key string) string {
	t.Helper()
	home, work := t.TempDir(), t.TempDir()
	for name, text := range c.files {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := append([]string(nil), c.args...)
	for i := range args {
		if args[i] == "BASE" {
			args[i] = fmt.Sprintf("model_providers.house={name=%q, base_url=%q, env_key=%q, wire_api=%q}", "House", base, "HOUSE_KEY", "responses")
		}
	}
	cmd := exec.CommandContext(ctx, llmtest.Program(t, c.name), args...)
	cmd.Dir = work
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home + "/.config", "XDG_DATA_HOME=" + home + "/.local/share",
		"XDG_CACHE_HOME=" + home + "/.cache", "XDG_STATE_HOME=" + home + "/.local/state", "IS_SANDBOX=1",
	}, c.env(base, key, home)...)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Run()
	t.Logf("%s ended after %v: %v\n%s", c.name, time.Since(began).Round(time.Millisecond), err, strings.TrimSpace(out.String()))
	if ctx.Err() != nil {
		t.Errorf("%s did not end", c.name)
	}
	return out.String()
}

// TestEveryCLIStopsAtOnceWhenItsBudgetIsUsedUp: it does not try again, and it shows
// the reason.
func TestEveryCLIStopsAtOnceWhenItsBudgetIsUsedUp(t *testing.T) {
	for _, c := range realCLIs {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			llmtest.Program(t, c.name)
			if c.slow && testing.Short() {
				t.Skipf("%s takes half a minute to start without internet", c.name)
			}
			f := open(t, Provider{Name: "ai-gateway", BaseURL: deadURL(t)})
			refused := new(atomic.Int32)
			hs := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "POST" {
					refused.Add(1)
				}
				f.Handler(f.agents).ServeHTTP(w, r)
			})
			at, ok := f.Endpoint([]town.Dialect{c.dialect}, "m")
			if !ok {
				t.Fatal("no endpoint")
			}
			out := c.run(t, strings.Replace(at.BaseURL, f.url, hs, 1), ofSpender)
			if n := refused.Load(); n < 1 || n > 2 { // OpenCode asks for a title besides
				t.Errorf("%d calls were refused", n)
			}
			if !strings.Contains(out, "limits.costUsd") {
				t.Error("the reason is not shown")
			}
		})
	}
}

// TestClaudeWorksThroughTheGateway, knowing no key but its capability.
func TestClaudeWorksThroughTheGateway(t *testing.T) {
	model, base := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Text: "Hello from the model.", Usage: llmtest.Usage{Input: 1000, Output: 50, CacheRead: 7}}))
	f := openConfig(t, Config{
		Providers: []Provider{{Name: "claude", BaseURL: base, Models: map[string]string{Strong: "m"}}},
		Prices:    map[string]Price{"m": {Input: 3, Output: 15}},
	})
	at, ok := f.Endpoint([]town.Dialect{town.DialectAnthropic}, Strong)
	if !ok || at.Model != "m" {
		t.Fatalf("Endpoint() = %+v, %v", at, ok)
	}
	out := realCLIs[0].run(t, at.BaseURL, ofAgent)
	if !strings.Contains(out, "Hello from the model.") || strings.Contains(out, canary) {
		t.Error("it did not answer, or knows the key")
	}
	if r := model.Requests(); len(r) == 0 || r[0].Header.Get("X-Api-Key") != canary || r[0].Model != "m" {
		t.Errorf("%d requests reached the model", len(r))
	}
	var tokens int64
	for _, u := range f.Stats().Tokens {
		if u.Type == "input" && u.Model == "m" {
			tokens = u.Count
		}
	}
	if tokens < 1000 || f.Stats().CostUSD == 0 {
		t.Errorf("counted %+v", f.Stats())
	}
}
