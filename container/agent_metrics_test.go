package container_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"townd/container"
	"townd/llm"
	"townd/town"
)

// M4 to M7, T9: calls of tools and requests of models are counted, and agents
// cannot make labels without end.
func TestToolsAndModelsAreCounted(t *testing.T) {
	metrics := container.NewMetrics()
	for i := range 200 {
		metrics.ToolUsed(fmt.Sprintf("tool-%d", i), true, time.Second)
	}
	metrics.ToolUsed("tool-1", false, 3*time.Second)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"type":"message","usage":{"input_tokens":7,"output_tokens":5}}`)
	}))
	defer provider.Close()
	models, err := llm.New(llm.Config{Providers: []llm.Provider{{Name: "claude", Key: "k", BaseURL: provider.URL}}, Log: slog.New(slog.NewJSONHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer models.Close()
	call := httptest.NewRequest(http.MethodPost, "/llm/claude/anthropic/v1/messages", strings.NewReader(`{"model":"m"}`))
	call.Header.Set("X-Api-Key", "capability")
	models.Handler(anyAgent{}).ServeHTTP(httptest.NewRecorder(), call)
	tt := newTownWith(t, func(c *container.Config) { c.Metrics, c.Models = metrics, models })
	body := string(tt.call(http.MethodGet, "/metrics", "").body)
	for _, want := range []string{
		`agent_tool_executions_total{status="ok",tool="tool-1"} 1`,
		`agent_tool_executions_total{status="error",tool="tool-1"} 1`,
		`agent_tool_executions_total{status="ok",tool="other"} 100`,
		`agent_tool_duration_seconds_bucket{tool="tool-1",le="5"} 2`,
		`agent_llm_requests_total{model="m",provider="claude",status="ok"} 1`,
		`agent_llm_tokens_total{model="m",provider="claude",type="input"} 7`,
		`agent_llm_tokens_total{model="m",provider="claude",type="output"} 5`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("/metrics has no %s", want)
		}
	}
}

// anyAgent admits everybody.
type anyAgent struct{}

func (anyAgent) AdmitModelCall(string) (town.Agent, error) { return town.Agent{AgentID: "a1"}, nil }
func (anyAgent) ModelCalled(string, town.ModelCall)        {}
