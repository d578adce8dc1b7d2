package container

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"

	"townd/api"
	"townd/api/wire"
	"townd/supervisor"
	"townd/town"
)

// hostInterval is how old the host's figures in /health may be.
const hostInterval = 10 * time.Second

// hostSample is the host's figures, or why there are none.
type hostSample struct {
	host *api.Host
	cpu  float64 // percent of all cores since the sample before
	err  error
}

// health answers from what others have counted already: it must stay quick on a
// machine that is not.
func (s *Server) health(r *http.Request) (any, error) {
	h := s.look(r.Context())
	if h.Status == api.HealthUnhealthy {
		return wire.Reply{Status: http.StatusServiceUnavailable, Value: h}, nil
	}
	return h, nil
}

// Status is the town's in one word, as /health has it.
func (s *Server) Status(ctx context.Context) string { return s.look(ctx).Status }

// look is how the town is.
func (s *Server) look(ctx context.Context) api.Health {
	st := s.cfg.Supervisor.Stats()
	h := api.Health{
		Agents:    st.Agents[town.StatusStarting] + st.Agents[town.StatusRunning],
		Uptime:    time.Since(s.started).Milliseconds(),
		StartedAt: s.started,
		Version:   s.cfg.Version,
		Draining:  st.Draining,
		Isolation: st.Isolation,
		KillRung:  st.KillRung,
		MaxAgents: st.MaxAgents,
		Degraded:  st.Degraded,
		Warnings:  append([]string{}, s.cfg.Warnings...),
	}
	h.Providers = s.providers()
	if s.cfg.QuotaProbe != nil {
		var problem string
		if h.QuotaProbe, problem = s.cfg.QuotaProbe.Quota(); problem != "" {
			h.Warnings = append(h.Warnings, "quota probe: "+problem)
		}
	}
	for _, rig := range s.cfg.Supervisor.Rigs() {
		out := api.Rig{RigID: rig.ID, State: string(rig.State), Phase: rig.Phase, Progress: rig.Percent}
		if rig.Err != nil {
			out.Error = wire.ProblemOf(rig.Err, s.cfg.Secrets.Mask).Detail
		}
		h.Rigs = append(h.Rigs, out)
	}
	for _, p := range h.Providers {
		if p.Kind == town.KindAuth || p.Kind == town.KindBilling {
			h.Degraded = append(h.Degraded, fmt.Sprintf("model provider %s: %s: %s", p.Name, p.Kind, p.Message))
		}
	}
	if s.cfg.Coordinator != nil {
		st := s.cfg.Coordinator.State(ctx)
		h.Coordinator = &st.Coordinator
		for _, problem := range st.Degraded {
			h.Degraded = append(h.Degraded, s.cfg.Secrets.Mask(problem))
		}
	}
	if sample := s.host.Load(); sample != nil {
		h.Host = sample.host
		if sample.err != nil {
			h.Degraded = append(h.Degraded, "the host's figures cannot be read: "+sample.err.Error())
		}
	}
	h.Status = healthStatus(st, h.Degraded)
	return h
}

// providers tells how the model providers were when they were last asked.
func (s *Server) providers() []api.ModelProvider {
	if s.cfg.Models == nil {
		return nil
	}
	var all []api.ModelProvider
	for _, p := range s.cfg.Models.Stats().Providers {
		m := api.ModelProvider{Name: p.Provider, Kind: p.Kind, Message: p.Message, Quota: p.Quota}
		if !p.Until.IsZero() {
			m.Until = new(p.Until.UTC())
		}
		for _, c := range p.Cooling {
			m.Cooling = append(m.Cooling, api.CoolingModel{Model: c.Model, Until: c.Until.UTC()})
		}
		all = append(all, m)
	}
	return all
}

// Quota returns the scarcest of what is known to be left, nil when nothing is that
// still counts.
func (s *Server) Quota() *town.Quota {
	var all []*town.Quota
	if s.cfg.QuotaProbe != nil {
		q, _ := s.cfg.QuotaProbe.Quota()
		all = append(all, q)
	}
	if s.cfg.Models != nil {
		for _, p := range s.cfg.Models.Stats().Providers {
			all = append(all, p.Quota)
		}
	}
	return town.Scarcest(time.Now(), all...)
}

// healthStatus says the worst that is true.
func healthStatus(st supervisor.Stats, degraded []string) string {
	switch {
	case st.KeeperPID == 0:
		return api.HealthUnhealthy
	case st.Draining:
		return api.HealthDraining
	case len(degraded) > 0:
		return api.HealthDegraded
	}
	return api.HealthOK
}

// tend reads the host's figures now and every hostInterval, and lets go of what
// nobody asks for any more, until Close.
func (s *Server) tend() {
	tick := time.NewTicker(hostInterval)
	defer tick.Stop()
	for {
		s.host.Store(readHost(cmp.Or(s.cfg.Home, "/")))
		select {
		case now := <-tick.C:
			s.drawers.expire(now)
			s.cfg.Shares.tidy(func(sh api.Share) bool { return s.holds(s.ctx, sh) })
		case <-s.ctx.Done():
			return
		}
	}
}

func readHost(home string) *hostSample {
	host, err := readFigures(home)
	used, cpuErr := cpu.Percent(0, false) // since the last call
	sample := &hostSample{host: host, err: cmp.Or(err, cpuErr)}
	if len(used) > 0 {
		sample.cpu = used[0]
	}
	return sample
}

func readFigures(home string) (*api.Host, error) {
	memory, err := mem.VirtualMemory()
	if err != nil {
		return nil, err
	}
	avg, err := load.Avg()
	if err != nil {
		return nil, err
	}
	space, err := disk.Usage(home)
	if err != nil {
		return nil, err
	}
	return &api.Host{
		CPUs: runtime.NumCPU(), Load: [3]float64{avg.Load1, avg.Load5, avg.Load15},
		MemoryTotalBytes: memory.Total, MemoryAvailableBytes: memory.Available,
		DiskTotalBytes: space.Total, DiskFreeBytes: space.Free, SampledAt: time.Now().UTC(),
	}, nil
}
