package container

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"townd/api"
	"townd/api/wire"
	"townd/town"
)

// Coordinator is the way to the town's coordinator, as far as its face needs it.
type Coordinator interface {
	// State tells how the way is now, and what is wrong.
	State(ctx context.Context) CoordinatorState
	// SetToken changes the credential that the coordinator is shown. ok is false when
	// that is not for callers to change.
	SetToken(token string) (ok bool)
	// CheckCallback returns why a URL cannot be called back, nil if it can.
	CheckCallback(url string) error
	// MergeEnded keeps the outcome of a merge until the coordinator has it. run tells one
	// try from the next; callback is where it goes, "" for the coordinator's own place.
	MergeEnded(ctx context.Context, rigID, run, callback string, o town.MergeOutcome) error
}

// CoordinatorState is what /health and the figures show.
type CoordinatorState struct {
	api.Coordinator
	Degraded       []string      // what is wrong, for people
	Sends          map[int]int64 // requests with reports, by status; 0 for no answer
	Heartbeats     int64
	HeartbeatsLost int64 // of them, without a reply
	HeartbeatsTook time.Duration
	PendingBytes   int64
}

// Resources returns the machine's figures for a heartbeat, zero before they were read.
func (s *Server) Resources() town.HostResources {
	sample := s.host.Load()
	if sample == nil || sample.host == nil {
		return town.HostResources{}
	}
	h := sample.host
	return town.HostResources{
		CPUPercent: sample.cpu, MemoryUsed: int64(h.MemoryTotalBytes - h.MemoryAvailableBytes), //nolint:gosec // of this machine
		MemoryTotal: int64(h.MemoryTotalBytes), DiskFreeBytes: int64(h.DiskFreeBytes), //nolint:gosec // likewise
	}
}

// refreshCoordinator changes the credential for the coordinator, whose town the
// request names. It reports false when there is none that takes it.
func (s *Server) refreshCoordinator(req *api.RefreshTokenRequest) bool {
	return req.TownID != "" && req.Host == "" && s.cfg.Coordinator != nil && s.cfg.Coordinator.SetToken(req.Token)
}

// coordinatorCollector turns the state of the way to the coordinator into figures.
type coordinatorCollector struct{ coordinator Coordinator }

var (
	outboxPendingDesc = prometheus.NewDesc("townd_outbox_pending", "Reports that the coordinator has not yet taken.", nil, nil)
	outboxBytesDesc   = prometheus.NewDesc("townd_outbox_pending_bytes", "Their size on disk.", nil, nil)
	outboxDeadDesc    = prometheus.NewDesc("townd_outbox_dead", "Reports that the coordinator refused for good.", nil, nil)
	outboxAgeDesc     = prometheus.NewDesc("townd_outbox_oldest_age_seconds", "Age of the oldest pending report.", nil, nil)
	outboxSendsDesc   = prometheus.NewDesc("townd_outbox_sends_total", "Requests with reports, by status; none for no answer.", []string{"code"}, nil)
	heartbeatsDesc    = prometheus.NewDesc("townd_heartbeat_duration_seconds", "Time until heartbeats were answered, or given up.", nil, nil)
	heartbeatLostDesc = prometheus.NewDesc("townd_heartbeat_failures_total", "Heartbeats without a reply.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (c coordinatorCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		outboxPendingDesc, outboxBytesDesc, outboxDeadDesc, outboxAgeDesc, outboxSendsDesc, heartbeatsDesc, heartbeatLostDesc,
	} {
		ch <- desc
	}
}

// Collect is part of prometheus.Collector.
func (c coordinatorCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.coordinator.State(context.Background()) // a scrape has no context of its own
	gauge := func(desc *prometheus.Desc, value float64) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	gauge(outboxPendingDesc, float64(st.Outbox.Pending))
	gauge(outboxBytesDesc, float64(st.PendingBytes))
	gauge(outboxDeadDesc, float64(st.Outbox.Dead))
	age := 0.0
	if at := st.Outbox.OldestAt; at != nil {
		age = max(time.Since(*at).Seconds(), 0)
	}
	gauge(outboxAgeDesc, age)
	for status, n := range st.Sends {
		code := "none"
		if status != 0 {
			code = strconv.Itoa(status)
		}
		ch <- prometheus.MustNewConstMetric(outboxSendsDesc, prometheus.CounterValue, float64(n), code)
	}
	ch <- prometheus.MustNewConstSummary(heartbeatsDesc, uint64(st.Heartbeats), st.HeartbeatsTook.Seconds(), nil) //nolint:gosec // a count
	ch <- prometheus.MustNewConstMetric(heartbeatLostDesc, prometheus.CounterValue, float64(st.HeartbeatsLost))
}

// checkCallback refuses a URL that the outcome of a merge cannot go to.
func (s *Server) checkCallback(callback string) error {
	if callback == "" {
		return nil
	}
	if err := s.cfg.Coordinator.CheckCallback(callback); err != nil {
		return wire.BadBody("callbackUrl", "%v", err)
	}
	return nil
}

// accepted is the answer to what is done after it.
func accepted(req *api.MergeRequest, ignored []string) wire.Reply {
	return wire.Reply{Status: http.StatusAccepted, Value: api.MergeAccepted{
		Status: api.MergeStatusAccepted, Message: fmt.Sprintf("the outcome of entry %s is told to the coordinator", req.EntryID), Ignored: ignored,
	}}
}
