package container

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"townd/llm"
)

// toolMetrics are the figures about what agents do with tools (M4, M5). The names
// of tools are agents' own words, so only so many become labels.
type toolMetrics struct {
	calls    *prometheus.CounterVec
	duration *prometheus.HistogramVec

	mu    sync.Mutex
	names map[string]bool
}

const (
	maxToolNames = 100
	otherTool    = "other"
)

func newToolMetrics() *toolMetrics {
	return &toolMetrics{
		names: make(map[string]bool),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agent_tool_executions_total",
			Help: "Calls of tools by agents, by tool and status: ok or error.",
		}, []string{"tool", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "agent_tool_duration_seconds",
			Help:    "Duration of calls of tools by agents, as far as it was seen.",
			Buckets: []float64{.1, .5, 1, 2, 5, 10, 30},
		}, []string{"tool"}),
	}
}

// ToolUsed records a call of a tool that an agent made.
func (m *Metrics) ToolUsed(tool string, ok bool, took time.Duration) {
	tool = m.tools.label(tool)
	status := "ok"
	if !ok {
		status = "error"
	}
	m.tools.calls.WithLabelValues(tool, status).Inc()
	m.tools.duration.WithLabelValues(tool).Observe(took.Seconds())
}

func (m *toolMetrics) label(tool string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.names[tool]:
	case len(m.names) >= maxToolNames || len(tool) > 100 || tool == "":
		return otherTool
	default:
		m.names[tool] = true
	}
	return tool
}

// modelCollector turns the gateway's counts into figures (M6, M7).
type modelCollector struct{ models *llm.Gateway }

var (
	modelRequestsDesc = prometheus.NewDesc("agent_llm_requests_total", "Requests of models through the gateway.", []string{"provider", "model", "status"}, nil)
	modelTokensDesc   = prometheus.NewDesc("agent_llm_tokens_total", "Tokens used through the gateway.", []string{"provider", "model", "type"}, nil)
	modelCostDesc     = prometheus.NewDesc("agent_llm_cost_usd_total", "Cost of models through the gateway, as far as it is known.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (c modelCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{modelRequestsDesc, modelTokensDesc, modelCostDesc} {
		ch <- desc
	}
}

// Collect is part of prometheus.Collector.
func (c modelCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.models.Stats()
	for _, r := range st.Requests {
		ch <- prometheus.MustNewConstMetric(modelRequestsDesc, prometheus.CounterValue, float64(r.Count), r.Provider, r.Model, r.Status)
	}
	for _, n := range st.Tokens {
		ch <- prometheus.MustNewConstMetric(modelTokensDesc, prometheus.CounterValue, float64(n.Count), n.Provider, n.Model, n.Type)
	}
	ch <- prometheus.MustNewConstMetric(modelCostDesc, prometheus.CounterValue, st.CostUSD)
}
