package container

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"townd/api/wire"
	"townd/supervisor"
	"townd/town"
)

// Metrics are the town's figures for Prometheus, in a registry of their own. A
// Metrics serves one Server; make it first, for gitmgr's Config.Observe. Safe
// for concurrent use.
type Metrics struct {
	registry    *prometheus.Registry
	requests    *prometheus.HistogramVec
	git         *prometheus.HistogramVec
	tools       *toolMetrics
	streamBytes prometheus.Counter
	viewers     prometheus.Gauge
}

// NewMetrics returns empty Metrics.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "townd_http_request_duration_seconds",
			Help:    "Time to answer calls of the control API, to the first byte of streams.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120},
		}, []string{"route", "method", "code"}),
		git: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "townd_git_duration_seconds",
			Help:    "Duration of git operations.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
		}, []string{"op", "outcome"}),
		tools: newToolMetrics(),
		streamBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "townd_stream_bytes_total",
			Help: "Terminal bytes sent to viewers.",
		}),
		viewers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "townd_viewers",
			Help: "Open streams.",
		}),
	}
	m.registry.MustRegister(m.requests, m.git, m.tools.calls, m.tools.duration, m.streamBytes, m.viewers,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe records a git operation that took d and ended with err.
func (m *Metrics) Observe(op string, d time.Duration, err error) {
	m.git.WithLabelValues(op, gitOutcome(err)).Observe(d.Seconds())
}

func gitOutcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled), errors.Is(err, town.ErrUnavailable):
		return "canceled"
	case errors.Is(err, town.ErrGit):
		return "remote"
	case errors.Is(err, town.ErrConflict), errors.Is(err, town.ErrInvalid), errors.Is(err, town.ErrNotFound):
		return "refused"
	case errors.Is(err, town.ErrNoSpace):
		return "no_space"
	}
	return "error"
}

// request records an answered call. Methods are bounded by the routes; others
// are callers' inventions.
func (m *Metrics) request(rt route, method string, status int, d time.Duration) {
	if rt.method != method && (rt.method != http.MethodGet || method != http.MethodHead) {
		method = "other"
	}
	m.requests.WithLabelValues(rt.path, method, strconv.Itoa(status)).Observe(d.Seconds())
}

// follow shows the figures of the server's supervisor, read at each scrape.
func (m *Metrics) follow(s *Server) {
	m.registry.MustRegister(townCollector{s.cfg.Supervisor}, diskCollector{s.cfg.Supervisor})
	if s.cfg.Coordinator != nil {
		m.registry.MustRegister(coordinatorCollector{s.cfg.Coordinator})
	}
	if s.cfg.Models != nil {
		m.registry.MustRegister(modelCollector{s.cfg.Models})
	}
}

// handler serves the registry.
func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

func (s *Server) scrape(r *http.Request) (any, error) {
	return wire.Writer(func(w http.ResponseWriter) { s.metrics.handler().ServeHTTP(w, r) }), nil
}

// townCollector turns the supervisor's Stats into figures.
type townCollector struct{ supervisor *supervisor.Supervisor }

var (
	agentsDesc      = prometheus.NewDesc("townd_agents", "Agents that are not forgotten, by status.", []string{"status"}, nil)
	startsDesc      = prometheus.NewDesc("townd_starts_total", "Programs of agents started.", nil, nil)
	stopsDesc       = prometheus.NewDesc("townd_stops_total", "Ends of agents, by reason.", []string{"reason"}, nil)
	poolDesc        = prometheus.NewDesc("townd_git_pool_ready", "Worktrees that are ready for the next starts, by rig.", []string{"rig"}, nil)
	escalationsDesc = prometheus.NewDesc("townd_kill_escalations_total", "Ends of agents that needed SIGKILL.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (c townCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{agentsDesc, startsDesc, stopsDesc, poolDesc, escalationsDesc} {
		ch <- desc
	}
}

// Collect is part of prometheus.Collector.
func (c townCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.supervisor.Stats()
	for _, status := range []town.Status{
		town.StatusStarting, town.StatusRunning, town.StatusStopping, town.StatusExited, town.StatusFailed,
	} {
		ch <- prometheus.MustNewConstMetric(agentsDesc, prometheus.GaugeValue, float64(st.Agents[status]), string(status))
	}
	ch <- prometheus.MustNewConstMetric(startsDesc, prometheus.CounterValue, float64(st.Starts))
	for reason, n := range st.Stops {
		ch <- prometheus.MustNewConstMetric(stopsDesc, prometheus.CounterValue, float64(n), string(reason))
	}
	for rig, n := range c.supervisor.PoolsReady() {
		ch <- prometheus.MustNewConstMetric(poolDesc, prometheus.GaugeValue, float64(n), rig)
	}
	ch <- prometheus.MustNewConstMetric(escalationsDesc, prometheus.CounterValue, float64(st.Escalations))
}
